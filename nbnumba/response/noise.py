"""Counts as a run or a sweep wants them, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nbnumba.response.chain import Rows, counts_of
from nbnumba.response.counts import UINT16, CountRange, automatic_scale
from nbnumba.response.readout import Readout

if TYPE_CHECKING:
    from nbnumba.image.image import Image

Say = Callable[[int], None]  # is told, after the last row, how many counts were more than the file holds


def noisy_counts(image: Image, seed: int, offset: float, held: CountRange = UINT16, say: Say | None = None) -> Iterator[NDArray[Any]]:
    """Rows of photons drawn for every pixel of the region of interest, plus ``offset``; what is not rendered is marked."""
    return alone(counts_of(image, Readout(seed, 1.0, offset, held=held)), say)


def expected_counts(image: Image, scale: float, offset: float, held: CountRange = UINT16, say: Say | None = None) -> Iterator[NDArray[Any]]:
    """Rows of photons times ``scale`` (0: automatic) plus ``offset``, rounded; what is not rendered is marked."""
    return alone(counts_of(image, Readout(None, scale or automatic_scale(image), offset, held=held)), say)


def alone(rows: Iterable[Rows], say: Say | None) -> Iterator[NDArray[Any]]:
    """Their counts."""
    cut = 0
    for some in rows:
        cut += some.cut
        yield some.counts
    if say and cut:
        say(cut)
