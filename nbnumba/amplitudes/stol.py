"""F by sin(theta)/wavelength in text, two columns, as nonBragg reads it (CLI-134)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text

LARGEST = 1e6  # 1/A, electrons


def read_stol(path: str | Path) -> NDArray[np.float64]:
    """(entries, 2): sin(theta)/wavelength in 1/m, F in electrons. Raises InputFileError with the line."""
    rows: list[tuple[float, float]] = []
    for row, line in enumerate(lines(read_text(path, comment="#")), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if words:
            rows.append(entry(path, row, words))
            if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
                raise InputFileError(path, f"sin(theta)/wavelength must rise from line to line, and {words[0][:60]} does not", row)
    if not rows:
        raise InputFileError(path, "holds no entries; expected lines of sin(theta)/wavelength (1/A) and F (electrons)")
    return np.array(rows) * [1e10, 1.0]


def entry(path: str | Path, row: int, words: list[str]) -> tuple[float, float]:
    if len(words) != 2:
        raise InputFileError(path, f"expected sin(theta)/wavelength (1/A) and F (electrons), found {len(words)} columns", row)
    values = []
    for name, word, least in zip(("sin(theta)/wavelength", "F"), words, (0.0, -LARGEST), strict=True):
        try:
            value = number(word)
        except ValueError:
            raise InputFileError(path, f"{name} = {word[:60]!r} is not a number", row) from None
        if not least <= value <= LARGEST:
            raise InputFileError(path, f"{name} = {word[:60]} is out of range; {least:g} to {LARGEST:g} is possible", row)
        values.append(value)
    return values[0], values[1]
