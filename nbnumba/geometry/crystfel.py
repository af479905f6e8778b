"""Detector geometry as CrystFEL has it (.geom), of one panel (FMT-23).

The meaning of keys is that of CrystFEL's manual (crystfel_geometry(5)): z along the beam, y up, x completing a right-handed frame; the
first pixel of a panel has its outer corner at (corner_x, corner_y) pixels, clen + coffset metres along z; fs and ss are the steps from a
pixel to the next, in pixels; res pixels are a metre.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.recorded import ONE_PANEL, Array, Entry, RecordedGeometry, detector_axes, first_corner, pixels, positive, square_pixel

NOT_PANELS = ("bad", "rigid_group", "group", "mask")
ALONG_BEAM, HORIZONTAL = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
METRES = {"": 1.0, "m": 1.0, "mm": 1e-3}
WAVELENGTHS = {"m": 1.0, "A": 1e-10}
ENERGIES = {"": 1.0, "eV": 1.0, "keV": 1e3, "MeV": 1e6}
TERM = re.compile(r"([+-]?)((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?([xyz])")


Entries = dict[str, Entry]


def read_geom(path: str | Path, distance: float | None = None) -> RecordedGeometry:
    """The geometry of one panel; no crystal, no spindle. Raises InputFileError.

    distance: in m, from the crystal to the panel along the beam where the file leaves it to the data (clen = /LCLS/...).
    """
    path = Path(path)
    with np.errstate(all="ignore"):  # what overflows is found not to be finite
        return of_one_panel(path, distance, *entries(path))


def of_one_panel(path: Path, distance: float | None, common: Entries, panels: dict[str, Entries]) -> RecordedGeometry:
    """The same from what is stated for all, and for each panel."""
    if len(panels) != 1:
        raise InputFileError(path, f"the detector has {len(panels) or 'no'} panels; {ONE_PANEL}")
    panel = next(iter(panels.values()))
    if "electron_voltage" in common:
        raise InputFileError(path, "electron_voltage: electrons are not simulated; give photon_energy", common["electron_voltage"].line)
    fs, ss = axis(path, "fs", panel, "x"), axis(path, "ss", panel, "y")
    fast_axis, slow_axis = detector_axes(path, ("fs", "ss"), fs, ss)
    per_metre = positive(path, "res", plain(path, "res", panel))
    low_fs, high_fs, low_ss, high_ss = (plain(path, name, panel) for name in ("min_fs", "max_fs", "min_ss", "max_ss"))
    corner = np.array(
        [plain(path, "corner_x", panel) / per_metre, plain(path, "corner_y", panel) / per_metre, along_beam(path, panel, distance)]
    )
    shift = [length(path, name, common[name]) if name in common else 0.0 for name in ("detector_shift_x", "detector_shift_y")]
    exposure = Exposure(
        shape=pixels(path, ("max_fs - min_fs + 1", "max_ss - min_ss + 1"), high_fs - low_fs + 1, high_ss - low_ss + 1),
        pixel_size=square_pixel(path, "pixel (|fs| / res, |ss| / res)", (norm(fs) / per_metre, norm(ss) / per_metre), 1.0),
        origin=first_corner(path, "clen + coffset", corner + np.array([*shift, 0.0]), fast_axis, slow_axis),
        fast_axis=fast_axis,
        slow_axis=slow_axis,
        incident=ALONG_BEAM,
        wavelength=wavelength(path, common),
        polarization_axis=HORIZONTAL,
    )
    return RecordedGeometry(exposure)


def entries(path: Path) -> tuple[Entries, dict[str, Entries]]:
    """What is stated for all, and for every panel its own over what was stated for all before the panel began."""
    common: Entries = {}
    panels: dict[str, Entries] = {}
    for row, line in enumerate(lines(read_text(path, comment=";")), 1):
        meant = line.partition(";")[0].strip()
        if not meant:
            continue
        key, equals, value = (part.strip() for part in meant.partition("="))
        if not (key and equals):
            raise InputFileError(path, f"{meant[:60]!r} is not KEY = VALUE", row)
        panel, slash, name = key.partition("/")
        if key.startswith(NOT_PANELS):
            continue
        if slash:
            panels.setdefault(panel, dict(common))[name] = Entry(value, row)
        else:
            common[key] = Entry(value, row)
    return common, panels


def norm(v: Array) -> float:
    return math.sqrt(float(v @ v))


def required(path: Path, name: str, panel: Entries) -> Entry:
    if name not in panel:
        raise InputFileError(path, f"the panel has no {name}; give it")
    return panel[name]


def plain(path: Path, name: str, panel: Entries) -> float:
    """A number without a unit."""
    return measured(path, name, required(path, name, panel), {"": 1.0})


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
        raise InputFileError(path, f"{name} = {entry.value[:60]!r} is not {wanted}", entry.line)
    return value * unit_values[unit.strip()]


def length(path: Path, name: str, entry: Entry) -> float:
    """In m."""
    if entry.value.startswith("/"):
        raise InputFileError(path, f"{name} = {entry.value[:60]} is a place in a data file; write the number there", entry.line)
    return measured(path, name, entry, METRES)


def along_beam(path: Path, panel: Entries, distance: float | None) -> float:
    """z of the panel's first corner in m: the distance given where the file leaves it to the data, else clen + coffset."""
    clen = required(path, "clen", panel)
    if clen.value.startswith("/"):
        if distance is None:
            raise InputFileError(path, f"clen = {clen.value[:60]} is a place in a data file; give -distance", clen.line)
        return distance
    return length(path, "clen", clen) + (length(path, "coffset", panel["coffset"]) if "coffset" in panel else 0.0)


def axis(path: Path, name: str, panel: Entries, default: str) -> Array:
    """A step by a pixel, in pixels, from its form ``+0.99x -0.01y``."""
    entry = panel.get(name, Entry(default, 0))
    meant, found = "".join(entry.value.split()), np.zeros(3)
    if not meant or TERM.sub("", meant):
        raise InputFileError(path, f"{name} = {entry.value[:60]!r} is not a sum such as +1.0x -0.002y", entry.line)
    for sign, size, letter in TERM.findall(meant):
        found["xyz".index(letter)] += float(f"{sign}{size or 1}")
    return found


def wavelength(path: Path, common: Entries) -> float | None:
    """In m, from wavelength or photon_energy; None where the file leaves it to the data."""
    for name, worth in (("wavelength", WAVELENGTHS), ("photon_energy", ENERGIES)):
        if name in common and not common[name].value.startswith("/"):
            value = positive(path, name, measured(path, name, common[name], worth))
            if name == "wavelength":
                return value
            if slip := units.slip_in_energy(value):
                raise InputFileError(path, f"{name}: {slip}", common[name].line)
            return units.wavelength_from_energy(value)
    return None
