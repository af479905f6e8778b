"""Counting noise that depends on seed, image and pixel alone (FMT-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.device import compiled_alone
from nbnumba.response.philox import four_numbers
from nbnumba.response.poisson import invert_from_normal, poisson

if TYPE_CHECKING:
    from nbnumba.image.image import Block

BITS_DROPPED, UNIT = np.uint64(11), 2.0**-53  # 53 bits of a number are what a float64 holds


class CounterNoise:
    """Poisson deviates by inversion of one Philox number for each pixel of the detector, keyed by (seed, image, panel, pixel)."""

    def __init__(self, seed: int, image: int = 0) -> None:
        self._key = np.array([seed, image], np.uint64)

    def draw(self, block: Block) -> NDArray[np.float64]:
        """Deviates of the region of interest of some rows, [slow, fast]."""
        mean, width = np.ascontiguousarray(block.photons[block.region]), block.photons.shape[1]
        slow, fast = (part.start or 0 for part in block.region)
        first, drawn = (block.rows.start + slow) * width + fast, np.empty(mean.shape)
        if draw_pixels(mean, first, width, np.uint64(block.panel), *self._key, drawn):
            left = np.nonzero(drawn < 0.0)
            drawn[left] = invert_from_normal(-drawn[left], mean[left].astype(np.float64))
        return drawn


@compiled_alone(error_model="numpy", nogil=True)
def draw_pixels(mean, first, width, panel, seed, image, drawn):  # type: ignore[no-untyped-def]
    """Deviates as ``poisson`` has them, and how many it leaves; first: number of the first pixel, width: of the detector."""
    numbers, held, left = np.empty(4, np.uint64), -1, 0
    for slow in range(mean.shape[0]):
        for fast in range(mean.shape[1]):
            drawn[slow, fast] = 0.0
            if mean[slow, fast] > UNIT:  # less never gives a photon
                pixel = first + slow * width + fast
                if pixel // 4 != held:
                    held = pixel // 4
                    numbers[0], numbers[1], numbers[2], numbers[3] = four_numbers(np.uint64(held), panel, seed, image)  # type: ignore[no-untyped-call]
                uniform = max((numbers[pixel % 4] >> BITS_DROPPED) * UNIT, 0.5 * UNIT)
                drawn[slow, fast] = poisson(uniform, np.float64(mean[slow, fast]))  # type: ignore[no-untyped-call]
                left += drawn[slow, fast] < 0.0
    return left
