"""8-bit portable greymaps (FMT-7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.formats.smv_write import automatic_scale

if TYPE_CHECKING:
    from nbnumba.image.image import Image


def pgm_blocks(image: Image, scale: float = 0.0, smv_scale: float = 0.0) -> Iterator[bytes]:
    """A PGM file; ``scale`` 0: 250 levels for 5 rms deviations, or the SMV scale where there is no deviation."""
    deviation = image.statistics.rms_deviation
    scale = scale or (250.0 / (5.0 * deviation) if deviation > 0.0 else smv_scale or automatic_scale(image))
    slow, fast = image.shape
    yield f"P5\n{fast} {slow}\n# pixels scaled by {scale:g}\n255\n".encode("ascii")
    for block in image.blocks():
        levels = np.clip(block.photons[block.region].astype(np.float64) * scale, 0.0, 255.0)
        yield block.image(levels, np.uint8).tobytes()
