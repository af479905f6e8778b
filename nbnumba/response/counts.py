"""From photons to counts: one rule for every file of whole numbers (FMT-71)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.geometry.exposure import NOT_MEASURED

if TYPE_CHECKING:
    from nbnumba.image.image import Image

NO_COUNT = -np.inf  # of a pixel that is known to be bad, which files mark
BRIGHTEST = 55000.0  # counts of the brightest pixel, where no scale is given


class CountRange(NamedTuple):
    """The whole numbers that a file holds: their type, the least and the greatest."""

    dtype: type[Any]
    least: int
    most: int

    @property
    def mark(self) -> int:
        """The count of pixels that are not rendered; 0 where the range has nothing that says so."""
        return NOT_MEASURED if self.least < 0 else 0

    @property
    def simulated(self) -> CountRange:
        """The counts that an image can have: numbers below 0 are marks."""
        return self._replace(least=0)


UINT8, UINT16, INT32 = CountRange(np.uint8, 0, 255), CountRange(np.uint16, 0, 65535), CountRange(np.int32, -(2**31), 2**31 - 1)


def whole(values: NDArray[Any], held: CountRange) -> NDArray[Any]:
    """Fractions are dropped, and what is beyond the range is cut off."""
    if values.dtype.kind == "f":
        down = np.floor(values)
        return np.asarray(np.clip(down, held.least, held.most, out=down), held.dtype)
    numbers = values.astype(np.int8) if values.dtype.kind == "b" else values
    limits = np.iinfo(numbers.dtype)
    return np.asarray(np.clip(numbers, max(held.least, limits.min), min(held.most, limits.max)), held.dtype)


def with_half(values: NDArray[np.floating[Any]], held: CountRange) -> NDArray[Any]:
    """values + 1/2, whose whole part is the nearest number; for 16 bits that is a sum of float32, as nanoBragg has it (FMT-5)."""
    return (values + 0.5).astype(np.float32) if held.dtype is np.uint16 else values + 0.5


def rounded(values: NDArray[np.floating[Any]], held: CountRange) -> NDArray[Any]:
    """floor(values + 1/2) within the range."""
    return whole(with_half(np.clip(values, held.least, held.most), held), held)


def automatic_scale(image: Image) -> float:
    """Counts per photon that make the brightest pixel 55000."""
    return BRIGHTEST / image.statistics.maximum if image.statistics.maximum > 0.0 else 1.0
