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

BITS_DROPPED, UNIT = np.uint64(11), 2.0**-53  # 53 bits of a number are what a float64 holds; of fewer photons none is ever drawn
SPAN = 128  # pixels that are drawn together


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


def fill(uniform, pixel, count, panel, seed, image):  # type: ignore[no-untyped-def]
    """The numbers of so many pixels, 2^-54 to 1 - 2^-53; returns where the first is, since Philox makes four at a time."""
    for four in range((pixel % 4 + count + 3) // 4):
        numbers = four_numbers(np.uint64(pixel // 4 + four), panel, seed, image)  # type: ignore[no-untyped-call]
        for i in range(4):
            uniform[4 * four + i] = max((numbers[i] >> BITS_DROPPED) * UNIT, 0.5 * UNIT)
    return pixel % 4


@compiled_alone(error_model="numpy", nogil=True)
def draw_pixels(mean, first, width, panel, seed, image, drawn):  # type: ignore[no-untyped-def]
    """Deviates as ``poisson`` has them, and how many it leaves; first: number of the first pixel, width: of the detector.

    Of pixels side by side those that are not 0 come after all others, so that no branch is in the way of these.
    """
    uniform, waiting, left = np.empty(SPAN + 8), np.empty(SPAN, np.int64), 0
    for slow in range(mean.shape[0]):
        for begin in range(0, mean.shape[1], SPAN):
            count, bright, many = min(SPAN, mean.shape[1] - begin), 0, 0
            for i in range(count):
                drawn[slow, begin + i] = 0.0
                bright += mean[slow, begin + i] > UNIT
            if bright == 0:
                continue
            at = fill(uniform, first + slow * width + begin, count, panel, seed, image)  # type: ignore[no-untyped-call]
            for i in range(count):
                waiting[many] = i
                many += uniform[at + i] > 1.0 - mean[slow, begin + i]  # which is exp(-mean) at most
            for n in range(many):
                i = waiting[n]
                drawn[slow, begin + i] = poisson(uniform[at + i], np.float64(mean[slow, begin + i]))  # type: ignore[no-untyped-call]
                left += drawn[slow, begin + i] < 0.0
    return left
