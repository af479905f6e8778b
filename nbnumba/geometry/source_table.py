"""Source lists in text: ``X Y Z weight wavelength``, one source a line, in m (FMT-10)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text

COLUMNS = ("X", "Y", "Z", "weight", "wavelength")
LARGEST = 1e100  # whose square is a number
LIMITS = {"weight": (0.0, LARGEST), "wavelength": (1e-14, 1e-6)}


def read_sources(path: str | Path) -> NDArray[np.float64]:
    """(n, 5) numbers; NaN for columns left out at the end of a line. Raises InputFileError with the line."""
    rows = []
    for row, line in enumerate(lines(read_text(path, comment="#")), 1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if words:
            rows.append(source(path, row, words))
    if not rows:
        raise InputFileError(path, "holds no sources; expected lines of X Y Z weight wavelength, in m")
    return np.array(rows)


def source(path: str | Path, row: int, words: list[str]) -> list[float]:
    if len(words) > len(COLUMNS):
        raise InputFileError(path, f"expected {' '.join(COLUMNS)}, found {len(words)} columns", row)
    values = []
    for name, word in zip(COLUMNS, words, strict=False):
        try:
            value = number(word)
        except ValueError:
            raise InputFileError(path, f"{name} = {word[:60]!r} is not a number", row) from None
        least, most = LIMITS.get(name, (-LARGEST, LARGEST))
        if not least <= value <= most:
            raise InputFileError(path, f"{name} = {word[:60]} is out of range; {least:g} to {most:g} is possible", row)
        values.append(value)
    return values + [math.nan] * (len(COLUMNS) - len(values))
