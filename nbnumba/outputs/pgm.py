"""8-bit portable greymaps (FMT-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbnumba.outputs.smv import automatic_scale

if TYPE_CHECKING:
    from nbnumba.outputs.image import Image


def pgm_bytes(image: Image, scale: float = 0.0, smv_scale: float = 0.0) -> bytes:
    """A whole PGM file; ``scale`` 0: 250 levels for 5 rms deviations, or the SMV scale where there is no deviation."""
    deviation = image.statistics.rms_deviation
    scale = scale or (250.0 / (5.0 * deviation) if deviation > 0.0 else smv_scale or automatic_scale(image))
    levels = np.zeros(image.shape, np.uint8)
    levels[image.roi] = np.clip(image.float32[image.roi].astype(np.float64) * scale, 0.0, 255.0)
    slow, fast = image.shape
    return f"P5\n{fast} {slow}\n# pixels scaled by {scale:g}\n255\n".encode("ascii") + levels.tobytes()
