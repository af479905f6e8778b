"""What a CrystFEL geometry file states, by panel, bad region and group, and the values of its words (FMT-23)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text
from nbnumba.geometry.recorded import Entry

Entries = dict[str, Entry]
RESERVED = ("group", "rigid_group")  # how no panel's name begins
BAD = "bad"  # how a bad region's does
PLAIN = {"": 1.0}
METRES = {"": 1.0, "m": 1.0, "mm": 1e-3}
SHOWN = 60  # characters of a value in a message


class Stated(NamedTuple):
    """What a file states of a panel or a bad region: its own entries over those that were stated for all before it began."""

    path: Path
    name: str
    entries: Entries

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def entry(self, key: str) -> Entry:
        """As it is written. Raises InputFileError."""
        if key not in self.entries:
            raise InputFileError(self.path, f"{self.name} has no {key}; give it")
        return self.entries[key]

    def number(self, key: str) -> float:
        """Without a unit."""
        return measured(self.path, key, self.entry(key), PLAIN)

    def length(self, key: str, default: float | None = None) -> float:
        """In m."""
        return length(self.path, key, self.entry(key)) if key in self.entries or default is None else default

    def where(self, key: str) -> str:
        """How messages name a value of several entries."""
        return f"{self.name}/{key}"


class GeomFile(NamedTuple):
    """common: what is stated without a name, the last of each key."""

    path: Path
    common: Entries
    panels: dict[str, Stated]
    bad: dict[str, Stated]


def read_entries(path: Path) -> GeomFile:
    """The file, line by line. Raises InputFileError."""
    file = GeomFile(path, {}, {}, {})
    for row, line in enumerate(lines(read_text(path, comment=";")), 1):
        meant = line.partition(";")[0].strip()
        if not meant:
            continue
        key, equals, value = (part.strip() for part in meant.partition("="))
        name, slash, field = key.partition("/")
        if not (name and equals and (field or not slash)):
            raise InputFileError(path, f"{meant[:SHOWN]!r} is not KEY = VALUE", row)
        if slash and name.startswith(RESERVED):
            raise InputFileError(path, f"{name[:SHOWN]}: a panel's name cannot begin with group or rigid_group", row)
        entries = file.common
        if slash:
            holders, before = (file.bad, {}) if name.startswith(BAD) else (file.panels, file.common)
            entries = holders.setdefault(name, Stated(path, name, dict(before))).entries
        entries[field if slash else key] = Entry(value, row)
    return file


def measured(path: Path, name: str, entry: Entry, unit_values: dict[str, float]) -> float:
    """A finite number, times what its unit is worth."""
    word, _, unit = entry.value.partition(" ")
    try:
        value = number(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or unit.strip() not in unit_values:
        shown = " or ".join(unit for unit in unit_values if unit)
        wanted = f"a finite number{f' in {shown}' if shown else ''}"
        raise InputFileError(path, f"{name} = {entry.value[:SHOWN]!r} is not {wanted}", entry.line)
    return value * unit_values[unit.strip()]


def length(path: Path, name: str, entry: Entry) -> float:
    """In m."""
    if in_data(entry):
        raise InputFileError(path, f"{name} = {entry.value[:SHOWN]} is a place in a data file; write the number there", entry.line)
    return measured(path, name, entry, METRES)


def in_data(entry: Entry) -> bool:
    """Whether the value is left to the data: a place in an HDF5 file."""
    return entry.value.startswith("/")
