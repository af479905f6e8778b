"""Random numbers of pixels that depend on seed, image and pixel alone (FMT-12, RSP-30)."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.device import compiled_alone
from nbnumba.response.philox import four_numbers
from nbnumba.response.poisson import invert_from_normal, normal_deviate, poisson

if TYPE_CHECKING:
    from nbnumba.image.image import Block

BITS_DROPPED, UNIT = np.uint64(11), 2.0**-53  # 53 bits of a number are what a float64 holds; of fewer photons none is ever drawn
SPAN = 128  # pixels that are drawn together
MOST_PANELS, MOST_COLUMNS = 1 << 20, 1 << 20


class CounterNoise:
    """Deviates of one Philox number for each pixel of the detector, keyed by (seed, image, panel, pixel).

    name: of whose numbers they are, where these are not the photons'; each name has numbers of its own.
    """

    def __init__(self, seed: int, image: int = 0, name: str = "") -> None:
        self._key = np.array([seed, image], np.uint64)
        self._streams = first_stream(name)

    def draw(self, block: Block) -> NDArray[np.float64]:
        """Poisson deviates of the region of interest of some rows, [slow, fast]."""
        return self.poisson(block.photons[block.region], block)

    def poisson(self, mean: NDArray[np.floating], block: Block) -> NDArray[np.float64]:
        """The same of other means, by inversion."""
        mean = np.ascontiguousarray(mean)
        drawn = np.empty(mean.shape)
        if draw_pixels(mean, *self._place(block), drawn):
            left = np.nonzero(drawn < 0.0)
            drawn[left] = invert_from_normal(-drawn[left], mean[left].astype(np.float64))
        return drawn

    def normal(self, block: Block) -> NDArray[np.float64]:
        """Normal deviates of the region of interest of some rows."""
        drawn = np.empty(block.photons[block.region].shape)
        draw_normal(drawn, *self._place(block))
        return drawn

    def uniform(self, block: Block) -> NDArray[np.float64]:
        """Uniform deviates between 0 and 1."""
        drawn = np.empty(block.photons[block.region].shape)
        draw_uniform(drawn, *self._place(block))
        return drawn

    def grid(self, slow: int, fast: int, panel: int) -> NDArray[np.float64]:
        """Normal deviates of what is larger than pixels, [slow, fast]; the same for any size of the grid."""
        drawn = np.empty((slow, fast))
        draw_normal(drawn, 0, MOST_COLUMNS, np.uint64(self._streams + panel), *self._key)
        return drawn

    def _place(self, block: Block) -> tuple[int, int, np.uint64, np.uint64, np.uint64]:
        """Number of the first pixel, pixels of a row, stream and key."""
        width = block.photons.shape[1]
        slow, fast = (part.start or 0 for part in block.region)
        return (block.rows.start + slow) * width + fast, width, np.uint64(self._streams + block.panel), self._key[0], self._key[1]


def first_stream(name: str) -> int:
    """The number of the first panel's stream: 0 for photons, else far from all others."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") // MOST_PANELS * MOST_PANELS if name else 0


def fill(uniform, pixel, count, stream, seed, image):  # type: ignore[no-untyped-def]
    """The numbers of so many pixels, 2^-54 to 1 - 2^-53; returns where the first is, since Philox makes four at a time."""
    for four in range((pixel % 4 + count + 3) // 4):
        numbers = four_numbers(np.uint64(pixel // 4 + four), stream, seed, image)  # type: ignore[no-untyped-call]
        for i in range(4):
            uniform[4 * four + i] = max((numbers[i] >> BITS_DROPPED) * UNIT, 0.5 * UNIT)
    return pixel % 4


@compiled_alone(error_model="numpy", nogil=True)
def draw_uniform(drawn, first, width, stream, seed, image):  # type: ignore[no-untyped-def]
    """Numbers of pixels as ``fill`` has them; first: number of the first pixel, width: of the detector."""
    uniform = np.empty(SPAN + 8)
    for slow in range(drawn.shape[0]):
        for begin in range(0, drawn.shape[1], SPAN):
            count = min(SPAN, drawn.shape[1] - begin)
            at = fill(uniform, first + slow * width + begin, count, stream, seed, image)  # type: ignore[no-untyped-call]
            for i in range(count):
                drawn[slow, begin + i] = uniform[at + i]


@compiled_alone(error_model="numpy", nogil=True)
def draw_normal(drawn, first, width, stream, seed, image):  # type: ignore[no-untyped-def]
    """The normal deviates of the same numbers."""
    uniform = np.empty(SPAN + 8)
    for slow in range(drawn.shape[0]):
        for begin in range(0, drawn.shape[1], SPAN):
            count = min(SPAN, drawn.shape[1] - begin)
            at = fill(uniform, first + slow * width + begin, count, stream, seed, image)  # type: ignore[no-untyped-call]
            for i in range(count):
                drawn[slow, begin + i] = normal_deviate(uniform[at + i])  # type: ignore[no-untyped-call]


@compiled_alone(error_model="numpy", nogil=True)
def draw_pixels(mean, first, width, stream, seed, image, drawn):  # type: ignore[no-untyped-def]
    """Deviates as ``poisson`` has them, and how many it leaves.

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
            at = fill(uniform, first + slow * width + begin, count, stream, seed, image)  # type: ignore[no-untyped-call]
            for i in range(count):
                waiting[many] = i
                many += uniform[at + i] > 1.0 - mean[slow, begin + i]  # which is exp(-mean) at most
            for n in range(many):
                i = waiting[n]
                drawn[slow, begin + i] = poisson(uniform[at + i], np.float64(mean[slow, begin + i]))  # type: ignore[no-untyped-call]
                left += drawn[slow, begin + i] < 0.0
    return left
