"""What a CrystFEL geometry file leaves to the data, read there (FMT-103)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.geometry.crystfel_entries import SHOWN, Entries, GeomFile, in_data
from nbnumba.geometry.recorded import Entry

UNITS = {"clen": "mm", "wavelength": "", "photon_energy": "eV", "detector_shift_x": "m", "detector_shift_y": "m"}  # where none is stated
IN_DATA = re.compile(r"(mask[0-7])_data|(mask)")


class Data(NamedTuple):
    """An HDF5 file, one of its images, from 1, and the numbers of a dataset in a file."""

    path: Path
    image: int
    numbers: Callable[[Path, str], NDArray[np.float64]]

    def entry(self, key: str, left: Entry) -> Entry:
        """The number that an entry leaves to the data, as it would be stated. Raises InputFileError."""
        place, _, unit = left.value.partition(" ")
        if "%" in place:
            raise InputFileError(self.path, f"{key} = {place[:SHOWN]} is a place for each image, of which none is known; give a plain one")
        return Entry(f"{self.of_image(place)!r} {unit.strip() or UNITS[key]}".strip(), left.line)

    def of_image(self, place: str) -> float:
        """The only number of a dataset, or that of the image. Raises InputFileError."""
        found = self.numbers(self.path, place).reshape(-1)
        if found.size > 1 and self.image > found.size:
            raise InputFileError(self.path, f"{place[:SHOWN]} has {found.size} values; there is none of image {self.image}")
        return float(found[self.image - 1 if found.size > 1 else 0])


def settled(file: GeomFile, data: Data) -> GeomFile:
    """The file with numbers where it leaves them to the data, and the data's name where a mask is in it. Raises InputFileError."""
    panels = {name: panel._replace(entries=entries_of(panel.entries, data)) for name, panel in file.panels.items()}
    return file._replace(common=entries_of(file.common, data), panels=panels)


def entries_of(entries: Entries, data: Data) -> Entries:
    """The same of what is stated in one place."""
    numbers = {key: data.entry(key, entry) for key, entry in entries.items() if key in UNITS and in_data(entry)}
    masks = {key: entry for key, entry in entries.items() if IN_DATA.fullmatch(key)}
    files = {f"{key.removesuffix('_data')}_file": Entry(str(data.path), entry.line) for key, entry in masks.items()}
    return {**files, **entries, **numbers}
