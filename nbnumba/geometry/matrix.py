"""Orientation matrices in MOSFLM's text form (FMT-2)."""

from __future__ import annotations

import math
from pathlib import Path

from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text


def read_matrix(path: str | Path) -> tuple[float, ...]:
    """The first nine numbers, row by row: columns a*, b*, c* times the wavelength. Raises InputFileError."""
    numbers: list[float] = []
    for row, line in enumerate(lines(read_text(path)), 1):
        for word in line.split():
            try:
                value = number(word)
            except ValueError:
                raise InputFileError(path, f"{word[:60]!r} is not a number", row) from None
            if not math.isfinite(value):
                raise InputFileError(path, f"{word[:60]} is not a finite number", row)
            numbers.append(value)
            if len(numbers) == 9:
                return tuple(numbers)
    raise InputFileError(path, f"expected 9 numbers (3 rows of a* b* c*), found {len(numbers)}")
