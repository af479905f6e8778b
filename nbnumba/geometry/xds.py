"""Geometry and orientation as XDS has them: XDS.INP, or what it refined, XPARM.XDS and GXPARM.XDS (FMT-22).

The meaning of keywords is that of XDS's manual (https://xds.mr.mpg.de, "Input parameters", "Files"): lengths in mm, wavelength and cell
axes in Angstrom, angles in degrees, in any right-handed frame. The pixel with coordinates (1, 1) has its centre there: its outer corner is
at (1/2, 1/2). Pixel (x, y) is at (x - ORGX) QX EX + (y - ORGY) QY EY + DETECTOR_DISTANCE (EX x EY) from the crystal.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text
from nbnumba.geometry.exposure import Exposure, Vector
from nbnumba.geometry.recorded import (
    ONE_PANEL,
    Array,
    Entry,
    RecordedGeometry,
    detector_axes,
    direction,
    electric_field,
    first_corner,
    in_scan,
    kahn_fraction,
    not_a_count,
    pixels,
    positive,
    reciprocal_rows,
    square_pixel,
)

PER_METRE = 1000.0  # mm
ANGSTROM = 1e-10
KEYWORD = re.compile(r"([^\s=]+)=")
AXES = tuple(f"UNIT_CELL_{name}-AXIS" for name in "ABC")
XPARM = "XPARM.XDS"
# The lines of XPARM.XDS after the first: names that messages have for what is in them, and how many numbers each has.
ROWS = (
    ("starting frame, starting angle, oscillation range, rotation axis", 6),
    ("wavelength, incident beam", 4),
    ("space group, unit cell", 7),
    ("a axis", 3),
    ("b axis", 3),
    ("c axis", 3),
    ("segments, NX, NY, QX, QY", 5),
    ("ORGX, ORGY, distance", 3),
    ("detector x axis", 3),
    ("detector y axis", 3),
    ("detector normal", 3),
)
SEGMENT_ROWS = (("segment", 5), ("position of a segment", 9))
# Place and axes of a segment that is the detector itself.
IN_PLACE: dict[str, tuple[float, ...]] = {
    "SEGMENT_ORGX": (0.0,),
    "SEGMENT_ORGY": (0.0,),
    "SEGMENT_DISTANCE": (0.0,),
    "DIRECTION_OF_SEGMENT_X-AXIS": (1.0, 0.0, 0.0),
    "DIRECTION_OF_SEGMENT_Y-AXIS": (0.0, 1.0, 0.0),
}
# What XDS assumes where XDS.INP does not say (its manual), of what is used here; STARTING_FRAME is the first of DATA_RANGE.
DEFAULTS = {
    "STARTING_ANGLE": 0.0, "FRACTION_OF_POLARIZATION": 0.5, "SENSOR_THICKNESS": 0.0, "SPACE_GROUP_NUMBER": 0.0,
    "MINIMUM_VALID_PIXEL_VALUE": 0.0,
}  # fmt: skip


class Parameters:
    """The keywords of an XDS.INP; of one that is given repeatedly the last counts."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self.segments: list[Entry] = []
        for row, line in enumerate(lines(text), 1):
            found = KEYWORD.split(line.partition("!")[0])
            for keyword, value in zip(found[1::2], found[2::2], strict=True):
                self.entries[keyword] = Entry(value.strip(), row)
                if keyword == "SEGMENT":
                    self.segments.append(self.entries[keyword])

    def has(self, keyword: str) -> bool:
        """Whether the keyword is there."""
        return keyword in self.entries

    def numbers(self, keyword: str, count: int) -> Array:
        """So many finite numbers."""
        if keyword not in self.entries:
            raise InputFileError(self.path, f"has no {keyword}=; give it")
        return as_numbers(self.path, f"{keyword}=", self.entries[keyword], count)

    def number(self, keyword: str) -> float:
        """One number; XDS's default where it has one."""
        return DEFAULTS[keyword] if keyword in DEFAULTS and keyword not in self.entries else float(self.numbers(keyword, 1)[0])

    def whole(self, keyword: str) -> int:
        """One whole number that is stated."""
        return as_whole(self.path, f"{keyword}=", self.number(keyword), self.entries[keyword].line)


def as_numbers(path: Path, name: str, entry: Entry, count: int) -> Array:
    """The first numbers of a value; what follows them is XDS's."""
    words = entry.value.split()
    try:
        found = [number(word) for word in words[:count]]
    except ValueError:
        found = []
    if len(found) < count or not all(math.isfinite(value) for value in found):
        wanted = "a finite number" if count == 1 else f"{count} finite numbers"
        raise InputFileError(path, f"{name} {' '.join(words)[:60]!r} is not {wanted}", entry.line)
    return np.array(found)


def as_whole(path: Path, name: str, value: float, line: int) -> int:
    if problem := not_a_count(value):
        raise InputFileError(path, f"{name} {value:g} {problem}", line)
    return int(value)


def read_xds(path: str | Path, image: int | None = None) -> RecordedGeometry:
    """One image, by its number in XDS's count of frames, by default the first. Raises InputFileError."""
    path = Path(path)
    with np.errstate(all="ignore"):  # what overflows is found not to be finite
        return from_text(path, read_text(path, comment="!"), image)


def from_text(path: Path, text: str, image: int | None) -> RecordedGeometry:
    """The same."""
    if text.split(maxsplit=1)[:1] == [XPARM]:
        return from_xparm(path, text, image)
    parameters = Parameters(path, text)
    if not parameters.entries:
        raise InputFileError(path, f"is neither an XDS.INP (it has no KEYWORD= value) nor begins with {XPARM}")
    return from_input(parameters, image)


def from_input(p: Parameters, image: int | None) -> RecordedGeometry:
    """From the keywords of XDS.INP."""
    path = p.path
    if p.segments:
        check_whole_detector(p)
    fast, slow = detector_axes(
        path,
        ("DIRECTION_OF_DETECTOR_X-AXIS", "DIRECTION_OF_DETECTOR_Y-AXIS"),
        p.numbers("DIRECTION_OF_DETECTOR_X-AXIS", 3),
        p.numbers("DIRECTION_OF_DETECTOR_Y-AXIS", 3),
    )
    incident = direction(path, "INCIDENT_BEAM_DIRECTION", p.numbers("INCIDENT_BEAM_DIRECTION", 3))
    pixel = square_pixel(path, "QX QY", (p.number("QX"), p.number("QY")), PER_METRE)
    kahn = kahn_fraction(path, "FRACTION_OF_POLARIZATION", p.number("FRACTION_OF_POLARIZATION"))
    field = None
    if p.has("POLARIZATION_PLANE_NORMAL"):
        field = electric_field(path, "POLARIZATION_PLANE_NORMAL", p.numbers("POLARIZATION_PLANE_NORMAL", 3), incident, kahn)
    elif kahn != 0.0:
        raise InputFileError(path, "FRACTION_OF_POLARIZATION= needs POLARIZATION_PLANE_NORMAL=; give both")
    first, last = images(p)
    at = in_scan(path, image, first, last) if last is not None else first if image is None else image
    frame = p.whole("STARTING_FRAME") if p.has("STARTING_FRAME") else first
    oscillation = p.number("OSCILLATION_RANGE")
    thickness, attenuation, notes = sensor(p)
    exposure = Exposure(
        shape=pixels(path, ("NX", "NY"), p.number("NX"), p.number("NY")),
        pixel_size=pixel,
        origin=origin(path, p.number("ORGX"), p.number("ORGY"), p.number("DETECTOR_DISTANCE"), pixel, fast, slow),
        fast_axis=fast,
        slow_axis=slow,
        incident=incident,
        wavelength=positive(path, "X-RAY_WAVELENGTH", p.number("X-RAY_WAVELENGTH")) * ANGSTROM,
        polarization_axis=field,
        polarization_fraction=kahn,
        spindle_axis=direction(path, "ROTATION_AXIS", p.numbers("ROTATION_AXIS", 3)),
        phi_start=units.radians(p.number("STARTING_ANGLE") + (at - frame) * oscillation),
        oscillation=units.radians(oscillation),
        number=at,
        sensor_thickness=thickness,
        sensor_attenuation=attenuation,
        trusted_range=trusted_range(p),
    )
    if any(p.has(name) for name in AXES):
        axes = np.stack([p.numbers(name, 3) for name in AXES])
        return RecordedGeometry(exposure, reciprocal_rows(path, "UNIT_CELL_A-AXIS, _B, _C", axes, ANGSTROM), notes=notes)
    return RecordedGeometry(exposure, cell=cell(p), notes=notes)


def images(p: Parameters) -> tuple[int, int | None]:
    """The first frame and the last, as far as the file tells."""
    if not p.has("DATA_RANGE"):
        return (p.whole("STARTING_FRAME") if p.has("STARTING_FRAME") else 1), None
    found, line = p.numbers("DATA_RANGE", 2).tolist(), p.entries["DATA_RANGE"].line
    first, last = (as_whole(p.path, "DATA_RANGE=", value, line) for value in found)
    if last < first:
        raise InputFileError(p.path, f"DATA_RANGE= {first} {last} holds no image", line)
    return first, last


def cell(p: Parameters) -> tuple[float, float, float, float, float, float] | None:
    """The unit cell in m and rad. XDS takes it for unknown, like the numbers of a template, unless a space group goes with it."""
    if not p.has("UNIT_CELL_CONSTANTS") or p.number("SPACE_GROUP_NUMBER") == 0.0:
        return None
    found = p.numbers("UNIT_CELL_CONSTANTS", 6)
    if not (found > 0.0).all() or not (found[3:] < 180.0).all():
        raise InputFileError(
            p.path,
            f"UNIT_CELL_CONSTANTS= {' '.join(f'{v:g}' for v in found)}: lengths (A) must be greater than 0, angles (deg) between 0 and 180",
            p.entries["UNIT_CELL_CONSTANTS"].line,
        )
    a, b, c = (units.metres_from_angstrom(v) for v in found[:3].tolist())
    alpha, beta, gamma = (units.radians(v) for v in found[3:].tolist())
    return a, b, c, alpha, beta, gamma


def sensor(p: Parameters) -> tuple[float, float | None, tuple[str, ...]]:
    """Thickness and attenuation depth in m, where both are stated. Without SILICON XDS works it out from the wavelength: not done here."""
    thickness = p.number("SENSOR_THICKNESS")
    absorption = p.number("SILICON") if p.has("SILICON") else 0.0
    if thickness > 0.0 and absorption > 0.0:
        return thickness / PER_METRE, 1.0 / (absorption * PER_METRE), ()
    note = f"{p.path}: SENSOR_THICKNESS= {thickness:g} is left out; give SILICON= too (1/mm), or -detector_thick and -detector_abs"
    return 0.0, None, (note,) if thickness > 0.0 else ()


def trusted_range(p: Parameters) -> tuple[float, float] | None:
    """The least and the largest number that a pixel is taken at its word with, where the latter is stated."""
    return (p.number("MINIMUM_VALID_PIXEL_VALUE"), p.number("OVERLOAD")) if p.has("OVERLOAD") else None


def check_whole_detector(p: Parameters) -> None:
    """Refuse segments, but for a single one that is the detector as it stands."""
    stated = [as_numbers(p.path, "SEGMENT=", entry, 4).tolist() for entry in p.segments]
    whole = [1.0, p.number("NX"), 1.0, p.number("NY")]
    in_place = all(tuple(p.numbers(name, len(expected))) == expected for name, expected in IN_PLACE.items() if p.has(name))
    refuse_segments(p.path, stated, whole, in_place, p.segments[0].line)


def refuse_segments(path: Path, stated: list[list[float]], whole: list[float], in_place: bool, line: int) -> None:
    if len(stated) > 1:
        raise InputFileError(path, f"the detector has {len(stated)} segments; {ONE_PANEL}", line)
    if stated[0] != whole or not in_place:
        raise InputFileError(path, f"the detector has a segment that is not the whole of it, in its place; {ONE_PANEL}", line)


def origin(path: Path, orgx: float, orgy: float, distance: float, pixel: float, fast: Vector, slow: Vector) -> Vector:
    """The outer corner of the first pixel, in m from the crystal."""
    x, y = np.array(fast), np.array(slow)
    normal = np.cross(x, y) / np.linalg.norm(np.cross(x, y))
    corner = -(orgx - 0.5) * pixel * x - (orgy - 0.5) * pixel * y + distance / PER_METRE * normal
    return first_corner(path, "DETECTOR_DISTANCE", corner, fast, slow)


def from_xparm(path: Path, text: str, image: int | None) -> RecordedGeometry:
    """From the rows of XPARM.XDS; the crystal's axes are those at spindle angle 0."""
    written = [Entry(line, row) for row, line in enumerate(lines(text), 1) if line.strip()][1:]
    if len(written) < len(ROWS):
        raise InputFileError(path, f"is cut short: it ends before {ROWS[len(written)][0]!r}")
    start, wave, _, a, b, c, size, place, x, y, _ = (
        as_numbers(path, f"{name}:", entry, count) for (name, count), entry in zip(ROWS, written, strict=False)
    )
    count, nx, ny, qx, qy = size.tolist()
    if rest := written[len(ROWS) :]:
        read = [
            as_numbers(path, f"{name}:", entry, width).tolist()
            for (name, width), entry in zip(SEGMENT_ROWS * (len(rest) // 2 + 1), rest, strict=False)
        ]
        refuse_segments(
            path,
            [row[1:] for row in read[::2]],
            [1.0, nx, 1.0, ny],
            read[1:2] in ([], [[value for expected in IN_PLACE.values() for value in expected]]),
            rest[0].line,
        )
    elif count > 1.0:
        raise InputFileError(path, f"the detector has {count:g} segments; {ONE_PANEL}")
    fast, slow = detector_axes(path, ("detector x axis", "detector y axis"), x, y)
    pixel = square_pixel(path, "QX QY", (qx, qy), PER_METRE)
    first = as_whole(path, "starting frame", float(start[0]), written[0].line)
    at = first if image is None else image
    angle, oscillation = float(start[1]), float(start[2])
    orgx, orgy, distance = place.tolist()
    exposure = Exposure(
        shape=pixels(path, ("NX", "NY"), nx, ny),
        pixel_size=pixel,
        origin=origin(path, orgx, orgy, distance, pixel, fast, slow),
        fast_axis=fast,
        slow_axis=slow,
        incident=direction(path, "incident beam", wave[1:]),
        wavelength=positive(path, "wavelength", float(wave[0])) * ANGSTROM,
        spindle_axis=direction(path, "rotation axis", start[3:]),
        phi_start=units.radians(angle + (at - first) * oscillation),
        oscillation=units.radians(oscillation),
        number=at,
    )
    return RecordedGeometry(exposure, reciprocal_rows(path, "the unit cell axes", np.stack([a, b, c]), ANGSTROM))
