"""Random numbers of pixels that depend on seed, image and pixel alone (FMT-12, RSP-30)."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.device import compiled_alone
from nbnumba.response.poisson import FEW, invert_from_normal
from nbnumba.response.spans import ROOM, SPAN, UNIT, draw_few, draw_many, fill, normal

if TYPE_CHECKING:
    from nbnumba.image.image import Block

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
        photons = np.ascontiguousarray(mean, np.float64)
        drawn = np.empty(photons.shape)
        if draw_pixels(photons, *self._place(block), drawn):
            left = np.nonzero(drawn < 0.0)
            drawn[left] = invert_from_normal(-drawn[left], photons[left])
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


@compiled_alone(error_model="numpy", nogil=True)
def draw_uniform(drawn, first, width, stream, seed, image):  # type: ignore[no-untyped-def]
    """Numbers of pixels; first: number of the first pixel, width: of the detector."""
    numbers = np.empty(ROOM)
    for slow in range(drawn.shape[0]):
        for begin in range(0, drawn.shape[1], SPAN):
            here = drawn[slow, begin : begin + SPAN]
            here[:] = fill(numbers, first + slow * width + begin, here.size, stream, seed, image)  # type: ignore[no-untyped-call]


@compiled_alone(error_model="numpy", nogil=True)
def draw_normal(drawn, first, width, stream, seed, image):  # type: ignore[no-untyped-def]
    """The normal deviates of the same numbers."""
    numbers, waiting = np.empty(ROOM), np.empty(SPAN, np.int64)
    for slow in range(drawn.shape[0]):
        for begin in range(0, drawn.shape[1], SPAN):
            here = drawn[slow, begin : begin + SPAN]
            uniform = fill(numbers, first + slow * width + begin, here.size, stream, seed, image)  # type: ignore[no-untyped-call]
            normal(uniform, waiting, here)  # type: ignore[no-untyped-call]


@compiled_alone(error_model="numpy", nogil=True)
def draw_pixels(mean, first, width, stream, seed, image, drawn):  # type: ignore[no-untyped-def]
    """Poisson deviates of the same numbers, and how many are left, which are -uniform.

    Of pixels side by side those of few photons and those of many are drawn together, and none that are 0 for certain.
    """
    numbers, work, places, left = np.empty(ROOM), np.empty((5, SPAN)), np.empty((2, SPAN), np.int64), 0
    for slow in range(mean.shape[0]):
        for begin in range(0, mean.shape[1], SPAN):
            here, counts = mean[slow, begin : begin + SPAN], drawn[slow, begin : begin + SPAN]
            lit = bright = 0
            for i in range(here.size):
                counts[i] = 0.0
                lit += 1 if here[i] > UNIT else 0
                bright += 1 if here[i] > FEW else 0
            if lit == 0:
                continue
            uniform = fill(numbers, first + slow * width + begin, here.size, stream, seed, image)  # type: ignore[no-untyped-call]
            if bright < here.size:
                draw_few(uniform, here, places, work, counts)  # type: ignore[no-untyped-call]
            if bright > 0:
                left += draw_many(uniform, here, places, work, counts)  # type: ignore[no-untyped-call]
    return left
