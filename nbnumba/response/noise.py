"""Counts as a run or a sweep wants them, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nbnumba.response.chain import counts_of
from nbnumba.response.counts import UINT16, CountRange, automatic_scale
from nbnumba.response.readout import Readout

if TYPE_CHECKING:
    from nbnumba.image.image import Image


def noisy_counts(image: Image, seed: int, offset: float, held: CountRange = UINT16) -> Iterator[NDArray[Any]]:
    """Rows of photons drawn for every pixel of the region of interest, plus ``offset``; what is not rendered is marked."""
    return (rows.counts for rows in counts_of(image, Readout(seed, 1.0, offset, held=held)))


def expected_counts(image: Image, scale: float, offset: float, held: CountRange = UINT16) -> Iterator[NDArray[Any]]:
    """Rows of photons times ``scale`` (0: automatic) plus ``offset``, rounded; what is not rendered is marked."""
    return (rows.counts for rows in counts_of(image, Readout(None, scale or automatic_scale(image), offset, held=held)))
