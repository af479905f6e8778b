"""Tables of f' and f'' in text: ``element energy f' f''``, one energy a line (SF-51)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nbnumba.errors import InputFileError
from nbnumba.experiment.dispersion import Dispersion
from nbnumba.experiment.physics import CROMER_LIBERMAN
from nbnumba.files.text import lines, number, read_text

COLUMNS = ("energy", "f'", "f''")


def dispersion_of(name: str | None, folder: Path = Path()) -> Dispersion | None:
    """What the word, or the name of a file, stands for; None: nothing depends on the wavelength. Raises InputFileError."""
    if name is None:
        return None
    return Dispersion() if name == CROMER_LIBERMAN else read_dispersion(folder / name)


def read_dispersion(path: Path) -> Dispersion:
    """Of all elements that a file lists. Raises InputFileError with the line that is wrong."""
    rows: dict[str, list[list[float]]] = {}
    for row, line in enumerate(lines(read_text(path, comment="#")), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if words:
            rows.setdefault(element_of(path, row, words), []).append(numbers(path, row, words))
    if not rows:
        raise InputFileError(path, "holds no lines; expected element, energy in eV, f', f''")
    tables = {element: np.array(sorted(found)) for element, found in rows.items()}
    for element, table in tables.items():
        if len(table) > 1 and not np.diff(table[:, 0]).all():
            raise InputFileError(path, f"has an energy of {element} twice")
        table.setflags(write=False)
    return Dispersion(tuple(tables.items()))


def element_of(path: Path, row: int, words: list[str]) -> str:
    """The symbol at the beginning of a line."""
    import gemmi

    if len(words) != 1 + len(COLUMNS):
        raise InputFileError(path, f"expected element, energy in eV, f', f'', found {len(words)} columns", row)
    element = gemmi.Element(words[0])
    if element.name == "X":
        raise InputFileError(path, f"{words[0][:60]!r} is no element", row)
    return str(element.name)


def numbers(path: Path, row: int, words: list[str]) -> list[float]:
    found = []
    for name, word in zip(COLUMNS, words[1:], strict=True):
        try:
            found.append(number(word))
        except ValueError:
            raise InputFileError(path, f"{name} = {word[:60]!r} is not a number", row) from None
        if not math.isfinite(found[-1]) or (name == "energy" and found[-1] <= 0.0):
            raise InputFileError(path, f"{name} = {word[:60]} is not possible", row)
    return found
