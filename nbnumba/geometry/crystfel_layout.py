"""Where in a file's datasets the pixels of a CrystFEL panel are: dim0, dim1 ... (FMT-81)."""

from __future__ import annotations

import re
from typing import NamedTuple

from nbnumba.errors import InputFileError
from nbnumba.geometry.crystfel_entries import SHOWN, Stated

DIM = re.compile(r"dim(\d{1,2})")
SLOW, FAST, IMAGE = "ss", "fs", "%"
DEFAULTS = {0: SLOW, 1: FAST}


class Layout(NamedTuple):
    """A dataset, and what each of its axes counts: slow or fast pixels, images, or nothing: the number that it is fixed at."""

    data: str
    axes: tuple[str, ...]

    @property
    def slab(self) -> tuple[str, tuple[str, ...]]:
        """What panels share that are parts of one array of slow and fast pixels."""
        return self.data, tuple(axis for axis in self.axes if axis != IMAGE)

    def places(self, dimensions: int, slow: slice, fast: slice, image: int) -> tuple[int | slice, ...] | None:
        """Of the panel in an array of so many axes, which may do without those that count images; None where it does not fit."""
        axes = self.axes if dimensions == len(self.axes) else self.slab[1]
        meant: dict[str, int | slice] = {SLOW: slow, FAST: fast, IMAGE: image}
        return tuple(meant[axis] if axis in meant else int(axis) for axis in axes) if dimensions == len(axes) else None


def layout_of(panel: Stated) -> Layout:
    """As it is stated; an axis whose default is stated of another one counts images. Raises InputFileError."""
    found: dict[int, str] = {}
    for key, entry in panel.entries.items():
        if key.startswith("dim"):
            meant, number = entry.value, DIM.fullmatch(key)
            if number is None or not (meant in (SLOW, FAST, IMAGE) or (meant.isascii() and meant.isdecimal())):
                raise InputFileError(panel.path, f"{key[:SHOWN]} = {meant[:SHOWN]!r} is not dimN = ss, fs, % or a number", entry.line)
            found[int(number[1])] = meant
    found |= {n: IMAGE if meant in found.values() else meant for n, meant in DEFAULTS.items() if n not in found}
    axes = tuple(found.get(n, "") for n in range(max(found) + 1))
    if "" in axes:
        raise InputFileError(panel.path, f"{panel.name} has no dim{axes.index('')}; give it")
    if not (axes.count(SLOW) == axes.count(FAST) == 1 and axes.index(SLOW) < axes.index(FAST)):
        raise InputFileError(panel.path, f"{panel.name} has the axes {' '.join(axes)[:SHOWN]}; give ss and, after it, fs once each")
    return Layout(panel.entries["data"].value if "data" in panel else "/data/data", axes)
