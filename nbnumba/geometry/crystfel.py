"""Detector geometry as CrystFEL has it (.geom), of any number of panels (FMT-23, FMT-80).

The meaning of keys is that of CrystFEL's manual (crystfel_geometry(5)): z along the beam, y up, x completing a right-handed frame; the
first pixel of a panel has its outer corner at (corner_x, corner_y) pixels, clen + coffset metres along z; fs and ss are the steps from a
pixel to the next, in pixels; res pixels are a metre.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.experiment.panel import Panel
from nbnumba.experiment.vectors import dot
from nbnumba.geometry.crystfel_data import Data, settled
from nbnumba.geometry.crystfel_entries import SHOWN, Entries, GeomFile, Stated, in_data, length, measured, read_entries
from nbnumba.geometry.crystfel_groups import groups_of, torn
from nbnumba.geometry.crystfel_masks import OF_REGION, Masks, Stored, masks_of
from nbnumba.geometry.exposure import Exposure, Vector
from nbnumba.geometry.recorded import Array, Entry, RecordedGeometry, detector_axes, first_corner, pixels, positive, square_pixel, vector

ALONG_BEAM, HORIZONTAL = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
WAVELENGTHS = {"m": 1.0, "A": 1e-10}
ENERGIES = {"": 1.0, "eV": 1.0, "keV": 1e3, "MeV": 1e6}
TERM = re.compile(r"([+-]?)((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?([xyz])")
OF_BEAM = ("wavelength", "photon_energy", "detector_shift_x", "detector_shift_y")  # stated once, wherever that is
OF_PANEL = re.compile(
    r"(min|max)_[fs]s|corner_[xy]|[fs]s|res|clen|coffset|data|dim.*|no_index|mask_edge_pixels|mask(_(file|good|bad))?"
    r"|mask[0-7]_(data|file|goodbits|badbits)"
)
GROUPS = re.compile(r"(rigid_)?group_.+")
NEARLY = 1e-2  # greatest relative difference of a pixel's edges, and cosine between them, of one panel of several
TOLD_APART = 1e-3  # pixels; files state directions to some six digits


class Place(NamedTuple):
    """A panel of square pixels, as near to where a file has it as such pixels can be."""

    origin: Vector
    fast_axis: Vector
    slow_axis: Vector
    pixel_size: float
    shape: tuple[int, int]  # slow, fast


def read_geom(path: str | Path, distance: float | None = None, stored: Stored | None = None, data: Data | None = None) -> RecordedGeometry:
    """The geometry of all panels; no crystal, no spindle. Raises InputFileError.

    distance: in m, from the crystal to the first panel along the beam where the file leaves it to the data (clen = /LCLS/...).
    stored: the numbers of a dataset in an HDF5 file, for masks; None: they are left out. data: what the file leaves to it.
    """
    with np.errstate(all="ignore"):  # what overflows is found not to be finite
        stated = read_entries(Path(path))
        if data is None:
            return recorded(stated, distance, stored)
        file = settled(stated, data)
        found = recorded(file, distance, stored, data.image - 1)
    unread = (f"{data.path}: not used: {path} leaves nothing to it",) if file == stated else ()
    return found._replace(notes=(*found.notes, *unread), files=tuple(file for file in found.files if file != data.path))


def recorded(file: GeomFile, distance: float | None, stored: Stored | None, image: int = 0) -> RecordedGeometry:
    """The same from what is stated; image: whose masks count, from 0, where each has its own."""
    path, panels = file.path, list(file.panels.values())
    if not panels:
        raise InputFileError(path, "the detector has no panels; give PANEL/corner_x and what else places one")
    if "electron_voltage" in file.common:
        raise InputFileError(
            path, "electron_voltage: electrons are not simulated; give photon_energy", file.common["electron_voltage"].line
        )
    corners = [corner_of(file, panel, distance) for panel in panels]
    place = as_stated if len(panels) == 1 else nearest_square
    places = [place(panel, corner) for panel, corner in zip(panels, corners, strict=True)]
    groups, masks = groups_of(file), masks_of(file, places, stored, image)
    exposure = Exposure(**places[0]._asdict(), incident=ALONG_BEAM, wavelength=wavelength(path, file.common), polarization_axis=HORIZONTAL)
    notes = (*unused(file), *moved(panels, corners, places), *masks.notes)
    if len(panels) == 1:
        return RecordedGeometry(replace(exposure, mask=masks.rendered[0]), notes=notes, files=masks.files)
    left_open = distance is not None and any(in_data(clen(file, panel)) for panel in panels)
    panels_in_place = in_groups(file, groups, places, masks)
    return RecordedGeometry(exposure, notes=(*notes, *torn(file)), panels=panels_in_place, files=masks.files, distance_is_given=left_open)


def in_groups(file: GeomFile, groups: dict[str, str], places: list[Place], masks: Masks) -> tuple[Panel, ...]:
    """The panels of a detector of several."""
    return tuple(
        Panel(
            origin=place.origin,
            fast_axis=place.fast_axis,
            slow_axis=place.slow_axis,
            pixel_size=place.pixel_size,
            fast_pixels=place.shape[1],
            slow_pixels=place.shape[0],
            mask=mask,
            name=name,
            group=groups[name],
        )
        for name, place, mask in zip(file.panels, places, masks.rendered, strict=True)
    )


def as_stated(panel: Stated, corner: Array) -> Place:
    """One panel, whose axes may be off a right angle as far as the last digits of a file."""
    path, (fs, ss) = panel.path, steps_of(panel)
    fast_axis, slow_axis = detector_axes(path, (panel.where("fs"), panel.where("ss")), fs, ss)
    return Place(
        first_corner(path, panel.where("clen + coffset"), corner, fast_axis, slow_axis),
        fast_axis,
        slow_axis,
        square_pixel(path, panel.where("pixel (|fs| / res, |ss| / res)"), edges_of(panel), 1.0),
        shape_of(panel),
    )


def nearest_square(panel: Stated, corner: Array) -> Place:
    """A panel of square pixels about the centre of the one that is stated; refinement leaves edges and angles a little off.

    The columns fs and ss are Q P with a symmetric P (polar decomposition): Q is the nearest pair of axes, half the trace of P the nearest
    scale. P is the root of the matrix of scalar products: P = (M + t) / s with t^2 = det M, s = trace P.
    """
    path, (fs, ss), shape = panel.path, steps_of(panel), shape_of(panel)
    detector_axes(path, (panel.where("fs"), panel.where("ss")), fs, ss, NEARLY)
    square_pixel(path, panel.where("pixel (|fs| / res, |ss| / res)"), edges_of(panel), 1.0, NEARLY)
    a, b, c = (float(dot(u, v)) for u, v in ((fs, fs), (ss, ss), (fs, ss)))
    t = math.sqrt(a * b - c * c)
    s = math.sqrt(a + b + 2.0 * t)
    fast, slow, scale = ((b + t) * fs - c * ss) / (s * t), ((a + t) * ss - c * fs) / (s * t), s / 2.0
    origin = corner + ((fs - scale * fast) * shape[1] + (ss - scale * slow) * shape[0]) / 2.0 / per_metre(panel)
    fast_axis, slow_axis = vector(path, panel.where("fs"), fast), vector(path, panel.where("ss"), slow)
    return Place(
        first_corner(path, panel.where("clen + coffset"), origin, fast_axis, slow_axis),
        fast_axis,
        slow_axis,
        scale / per_metre(panel),
        shape,
    )


def steps_of(panel: Stated) -> tuple[Array, Array]:
    """From a pixel to the next along fast and slow, in pixels."""
    return axis(panel, "fs", "x"), axis(panel, "ss", "y")


def edges_of(panel: Stated) -> tuple[float, float]:
    """Of a pixel, in m."""
    fast, slow = (math.sqrt(float(dot(v, v))) / per_metre(panel) for v in steps_of(panel))
    return fast, slow


def per_metre(panel: Stated) -> float:
    """Pixels."""
    return positive(panel.path, panel.where("res"), panel.number("res"))


def shape_of(panel: Stated) -> tuple[int, int]:
    """Pixels as (slow, fast)."""
    low_fs, high_fs, low_ss, high_ss = (panel.number(name) for name in ("min_fs", "max_fs", "min_ss", "max_ss"))
    names = panel.where("max_fs - min_fs + 1"), panel.where("max_ss - min_ss + 1")
    return pixels(panel.path, names, high_fs - low_fs + 1, high_ss - low_ss + 1)


def corner_of(file: GeomFile, panel: Stated, distance: float | None) -> Array:
    """Outer corner of the first pixel in m."""
    shift = [
        length(file.path, name, file.common[name]) if name in file.common else 0.0 for name in ("detector_shift_x", "detector_shift_y")
    ]
    across = [panel.number(name) / per_metre(panel) for name in ("corner_x", "corner_y")]
    return np.array([across[0] + shift[0], across[1] + shift[1], along_beam(file, panel, distance)])


def along_beam(file: GeomFile, panel: Stated, distance: float | None) -> float:
    """z of a panel's first corner in m: clen + coffset; where the file leaves clen to the data, the distance given is the first panel's."""
    stated = clen(file, panel)
    if not in_data(stated):
        return length(file.path, "clen", stated) + panel.length("coffset", 0.0)
    if distance is None:
        problem = f"clen = {stated.value[:SHOWN]} is a place in a data file; give --geom-data or -distance, or write the number there"
        raise InputFileError(file.path, problem, stated.line)
    first = next(iter(file.panels.values()))
    return distance if panel is first else distance + panel.length("coffset", 0.0) - first.length("coffset", 0.0)


def clen(file: GeomFile, panel: Stated) -> Entry:
    """A panel's own as older files have it, else that of the detector, which may come after the panel."""
    return panel.entry("clen") if "clen" in panel or "clen" not in file.common else file.common["clen"]


def axis(panel: Stated, name: str, default: str) -> Array:
    """A step by a pixel, in pixels, from its form ``+0.99x -0.01y``."""
    entry = panel.entries.get(name, Entry(default, 0))
    meant, found = "".join(entry.value.split()), np.zeros(3)
    if not meant or TERM.sub("", meant):
        raise InputFileError(panel.path, f"{name} = {entry.value[:SHOWN]!r} is not a sum such as +1.0x -0.002y", entry.line)
    for sign, size, letter in TERM.findall(meant):
        found["xyz".index(letter)] += float(f"{sign}{size or 1}")
    return found


def wavelength(path: Path, common: Entries) -> float | None:
    """In m, from wavelength or photon_energy; None where the file leaves it to the data."""
    for name, worth in (("wavelength", WAVELENGTHS), ("photon_energy", ENERGIES)):
        if name in common and not in_data(common[name]):
            value = positive(path, name, measured(path, name, common[name], worth))
            if name == "wavelength":
                return value
            if slip := units.slip_in_energy(value):
                raise InputFileError(path, f"{name}: {slip}", common[name].line)
            return units.wavelength_from_energy(value)
    return None


def unused(file: GeomFile) -> list[str]:
    """A line where something that is stated changes nothing: of counts, of peaks, too late for every panel, or not known."""
    taken = {entry for panel in file.panels.values() for key, entry in panel.entries.items() if OF_PANEL.fullmatch(key)}
    taken |= {clen(file, panel) for panel in file.panels.values()}
    known = {key for key in file.common if key in OF_BEAM or GROUPS.fullmatch(key)}
    left = {key for key, entry in file.common.items() if entry not in taken} - known
    left |= {key for panel in file.panels.values() for key in panel.entries if not OF_PANEL.fullmatch(key)} - known
    left |= {f"{key} of bad regions" for region in file.bad.values() for key in region.entries if not OF_REGION.fullmatch(key)}
    return [f"{file.path}: not used: {', '.join(sorted(left))[: SHOWN * 4]}"] if left else []


def moved(panels: list[Stated], corners: list[Array], places: list[Place]) -> list[str]:
    """A line where pixels are not quite where the file has them, because they are square."""
    off = [displacement(*one) for one in zip(panels, corners, places, strict=True)]
    if max(off) < TOLD_APART:
        return []
    name = panels[off.index(max(off))].name
    return [f"{panels[0].path}: pixels are taken to be square: up to {max(off):.2g} pixels from where the file has them ({name})"]


def displacement(panel: Stated, corner: Array, place: Place) -> float:
    """Of the corner of a panel that is farthest from where it is stated, in pixels."""
    stated = np.stack(steps_of(panel), axis=1) / per_metre(panel)
    taken = np.stack([place.fast_axis, place.slow_axis], axis=1) * place.pixel_size
    ends = np.array(list(product((0, place.shape[1]), (0, place.shape[0]))))
    off = np.array(place.origin) - corner + ends @ (taken - stated).T
    return float(np.linalg.norm(off, axis=1).max()) / place.pixel_size
