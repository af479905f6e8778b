"""What an image amounts to (FMT-8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nbnumba.image.image import Block, Image


@dataclass(frozen=True)
class Statistics:
    """Over the region of interest of all panels, from the float32 pixels that are written; positions are pixel numbers."""

    sum: float
    maximum: float
    maximum_fast: int
    maximum_slow: int
    mean: float
    rms: float
    rms_deviation: float
    pixels: int
    maximum_panel: int = 0


def statistics_of(image: Image) -> Statistics:
    """Sums are of float64, block by block."""
    total, squares, pixels = 0.0, 0.0, 0
    maximum = (-math.inf, 0, 0, 0)
    for block in image.blocks():
        region = block.photons[block.region]
        values = (region if block.mask is None else region[block.mask[block.region]]).astype(np.float64)
        total += float(values.sum())
        squares += float(np.square(values, out=values).sum())
        pixels += values.size
        maximum = max(maximum, brightest(block), key=itemgetter(0))
    mean = total / max(1, pixels)
    return Statistics(
        sum=total,
        maximum=maximum[0],
        maximum_fast=maximum[1],
        maximum_slow=maximum[2],
        mean=mean,
        rms=math.sqrt(squares / max(1, pixels - 1)),
        rms_deviation=rms_deviation(image, mean),
        pixels=pixels,
        maximum_panel=maximum[3],
    )


def brightest(block: Block) -> tuple[float, int, int, int]:
    """Photons, fast, slow and panel of the first of the brightest pixels in the region of interest."""
    slow, fast = block.region
    region = block.photons[slow, fast]
    if not region.size:
        return -math.inf, 0, 0, 0
    at = divmod(int(region.argmax()), region.shape[1])
    return float(region[at]), fast.start + at[1], block.rows.start + slow.start + at[0], block.panel


def rms_deviation(image: Image, mean: float) -> float:
    """Over the region of interest, masked or not."""
    squares, pixels = 0.0, 0
    for block in image.blocks():
        deviations = np.subtract(block.photons[block.region], mean, dtype=np.float64)
        squares += float(np.square(deviations, out=deviations).sum())
        pixels += deviations.size
    return math.sqrt(squares / max(1, pixels - 1))
