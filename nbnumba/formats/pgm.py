"""8-bit portable greymaps, which are written to be looked at, and not read (FMT-7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.formats.format import Format, Pixels, begins_with
from nbnumba.response.counts import UINT8, automatic_scale, whole

if TYPE_CHECKING:
    from nbnumba.image.image import Image


def header(shape: tuple[int, ...], remark: str = "") -> bytes:
    slow, fast = shape
    return f"P5\n{fast} {slow}\n{remark}255\n".encode("ascii")


def pgm_blocks(image: Image, scale: float = 0.0, smv_scale: float = 0.0) -> Iterator[bytes]:
    """A PGM file; ``scale`` 0: 250 levels for 5 rms deviations, or the SMV scale where there is no deviation."""
    deviation = image.statistics.rms_deviation
    scale = scale or (250.0 / (5.0 * deviation) if deviation > 0.0 else smv_scale or automatic_scale(image))
    yield header(image.shape, f"# pixels scaled by {scale:g}\n")
    for block in image.blocks():
        levels = block.photons[block.region].astype(np.float64) * scale
        yield block.image(whole(levels, UINT8), np.uint8).tobytes()


def write(pixels: Pixels, exposure: object) -> bytes:
    return header(pixels.shape) + np.ascontiguousarray(pixels).tobytes()


PGM = Format(name="PGM", endings=(".pgm",), understand=begins_with(b"P5\n"), write=write, counts=UINT8, photons=False, drawn=True)
