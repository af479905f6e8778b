"""Geometry of a full imgCIF: a detector and a goniometer as chains of axes (FMT-48).

Source: imgCIF dictionary 1.7, categories axis, array_structure_list, array_structure_list_axis, diffrn_scan_axis, diffrn_scan_frame_axis;
International Tables for Crystallography G (2005), chapter 3.7.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.geometry.exposure import Exposure, Vector
from nbnumba.geometry.recorded import detector_axes, direction, first_corner, rotation, square_pixel

if TYPE_CHECKING:
    import gemmi

Array = NDArray[np.float64]
Row = dict[str, str]
LARGEST = 1e9  # of numbers, whose units are mm, degrees, seconds, A and counts


class Axis(NamedTuple):
    """A translation or rotation at its setting, in mm or degrees; increment: of the setting, from pixel to pixel or over the image."""

    name: str
    rotates: bool
    parent: str
    along: Vector
    offset: Array
    setting: float = 0.0
    increment: float = 0.0


def unreadable(path: Path, error: Exception) -> InputFileError:
    """What gemmi says, in one line."""
    return InputFileError(path, f"its imgCIF header cannot be read: {' '.join(str(error).split())}")


class Header:
    """The categories of the header, each as its rows."""

    def __init__(self, path: Path, text: str) -> None:
        import gemmi

        self.path = path
        try:
            self.block: gemmi.cif.Block = gemmi.cif.read_string(f"{text}\n;\n")[0]  # the text ends where the pixels begin
        except Exception as error:
            raise unreadable(path, error) from None

    def rows(self, category: str) -> list[Row]:
        """Values by the name of their column, which is in small letters."""
        import gemmi

        try:
            columns = self.block.get_mmcif_category(f"_{category}.", raw=True)
        except RuntimeError as error:  # a loop of several categories
            raise unreadable(self.path, error) from None
        plain = {name.lower(): [gemmi.cif.as_string(value) for value in values] for name, values in columns.items()}
        return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]

    def first(self, category: str) -> Row:
        """An empty row where there is none."""
        return next(iter(self.rows(category)), {})

    def number(self, row: Row, name: str, default: float = 0.0) -> float:
        """A finite number; the default for what is not stated. Raises InputFileError."""
        word = row.get(name, "")
        if word in ("", ".", "?"):
            return default
        import gemmi

        value = float(gemmi.cif.as_number(word))
        if not abs(value) < LARGEST:
            raise InputFileError(self.path, f"its {name} is {word!r}, not a number below {LARGEST:g}")
        return value

    def vector(self, row: Row, name: str) -> Array:
        """Three numbers, 0 where they are not stated."""
        return np.array([self.number(row, f"{name}[{i}]") for i in (1, 2, 3)])

    def axes(self) -> dict[str, Axis]:
        """Every axis by its name, at its setting in the frame."""
        frames = {row.get("axis_id", ""): row for row in self.rows("diffrn_scan_frame_axis")}
        scans = {row.get("axis_id", ""): row for row in self.rows("diffrn_scan_axis")}
        return {row["id"]: self.axis(row, scans.get(row["id"], {}), frames.get(row["id"], {})) for row in self.rows("axis") if "id" in row}

    def axis(self, row: Row, scan: Row, frame: Row) -> Axis:
        """An axis with what the scan, and its frame before it, state of its setting."""
        rotates = row.get("type") == "rotation"
        kind, vector = "angle" if rotates else "displacement", self.vector(row, "vector")
        along = direction(self.path, f"the vector of axis {row['id']}", vector) if vector.any() else (0.0, 0.0, 0.0)
        setting = self.number(frame, kind, self.number(scan, f"{kind}_start"))
        increment = self.number(frame, f"{kind}_increment", self.number(scan, f"{kind}_increment"))
        return Axis(row["id"], rotates, row.get("depends_on", "."), along, self.vector(row, "offset"), setting, increment)

    def pixel_axes(self, axes: dict[str, Axis]) -> tuple[Axis, Axis]:
        """Of the columns and of the rows: those along which pixels follow each other, at the first pixel. Raises InputFileError."""
        array, steps = (
            self.rows("array_structure_list"),
            {row.get("axis_set_id", ""): row for row in self.rows("array_structure_list_axis")},
        )
        by_precedence = sorted(array, key=lambda row: self.number(row, "precedence"))
        if len(array) != 2 or any(row.get("direction", "increasing") != "increasing" for row in array):
            raise InputFileError(self.path, "has no array of two dimensions, both increasing; the geometry of others is not read")
        found = []
        for step in (steps.get(row.get("axis_set_id", ""), {}) for row in by_precedence):
            axis = axes.get(step.get("axis_id", ""))
            if axis is None or axis.rotates:
                raise InputFileError(self.path, "its pixels do not follow each other along axes that are stated")
            displacement, increment = (self.number(step, name) for name in ("displacement", "displacement_increment"))
            found.append(axis._replace(setting=displacement, increment=increment))
        return found[0], found[1]


def exposure_of_imgcif(path: Path, text: str, shape: tuple[int, int], sensor_thickness: float, sensor_material: str | None) -> Exposure:
    """Raises InputFileError."""
    header = Header(path, text)
    axes = header.axes()
    fast, slow = header.pixel_axes(axes)
    axes |= {fast.name: fast, slow.name: slow}
    names = ("its fast axis", "its slow axis")
    columns, rows = (math.copysign(1.0, axis.increment) * turned(path, axes, axis) for axis in (fast, slow))
    fast_axis, slow_axis = detector_axes(path, names, columns, rows)
    pixel = square_pixel(path, "its displacement_increment", (abs(fast.increment), abs(slow.increment)), 1e3)
    corner = place(path, axes, fast)[:3, 3] * 1e-3
    radiation, scan = header.first("diffrn_radiation"), header.first("diffrn_scan_frame")
    wavelength = header.number(header.first("diffrn_radiation_wavelength"), "wavelength")
    ratio = header.number(radiation, "polarizn_source_ratio", math.nan)
    if abs(ratio) > 1.0:
        raise InputFileError(path, f"its polarizn_source_ratio is {ratio:g}, which is not from -1 to 1")
    norm = math.radians(header.number(radiation, "polarizn_source_norm"))
    return Exposure(
        shape=shape,
        pixel_size=pixel,
        origin=first_corner(path, "the place of its first pixel", corner, fast_axis, slow_axis),
        fast_axis=fast_axis,
        slow_axis=slow_axis,
        incident=incident(header),
        wavelength=wavelength * 1e-10 if wavelength > 0.0 else None,
        polarization_axis=(math.cos(norm), -math.sin(norm), 0.0),
        polarization_fraction=None if math.isnan(ratio) else ratio,
        **spindle(path, header, axes),  # type: ignore[arg-type]
        exposure_time=header.number(scan, "integration_time") or None,
        exposure_period=header.number(scan, "exposure_time") or None,
        sensor_thickness=sensor_thickness,
        sensor_material=sensor_material,
        trusted_range=trusted_range(header),
    )


def chain(path: Path, axes: dict[str, Axis], axis: Axis) -> list[Axis]:
    """The axis, what it stands on, and so on. Raises InputFileError."""
    found = [axis]
    while (parent := found[-1].parent) not in (".", "?", ""):
        if parent not in axes or len(found) > len(axes):
            raise InputFileError(path, f"its axis {found[-1].name} depends on {parent}, which is not there or depends on it")
        found.append(axes[parent])
    return found


def place(path: Path, axes: dict[str, Axis], axis: Axis) -> Array:
    """Where the end of a chain is, and how it is turned, as a matrix (4, 4), in mm."""
    whole = np.eye(4)
    for link in chain(path, axes, axis):
        step = np.eye(4)
        step[:3, 3] = link.offset if link.rotates else link.offset + link.setting * np.array(link.along)
        step[:3, :3] = rotation(link.along, math.radians(link.setting)) if link.rotates else np.eye(3)
        whole = step @ whole
    return whole


def turned(path: Path, axes: dict[str, Axis], axis: Axis) -> Array:
    """The direction of an axis in the laboratory."""
    stands_on = chain(path, axes, axis)[1:]
    return np.asarray((place(path, axes, stands_on[0])[:3, :3] if stands_on else np.eye(3)) @ np.array(axis.along))


def incident(header: Header) -> Vector:
    """Away from the source, which is along z where nothing else is stated."""
    source = next((row for row in header.rows("axis") if row.get("equipment") == "source"), None)
    away = -header.vector(source, "vector") if source else np.array([0.0, 0.0, -1.0])
    return direction(header.path, "the vector to its source", away)


def spindle(path: Path, header: Header, axes: dict[str, Axis]) -> dict[str, object]:
    """The axis of the goniometer that turns, else the first one; none of a still without goniometer."""
    rows = [row for row in header.rows("axis") if row.get("equipment") == "goniometer" and row.get("type") == "rotation"]
    goniometer = [axes[row["id"]] for row in rows if row.get("id") in axes]
    turning = [axis for axis in goniometer if axis.increment] or goniometer[:1]
    if len(turning) > 1:
        raise InputFileError(path, f"its axes {' and '.join(axis.name for axis in turning)} turn together; rotations about one are read")
    if not turning:
        return {}
    (axis,) = turning
    along = direction(path, f"axis {axis.name}", turned(path, axes, axis))
    return {"spindle_axis": along, "phi_start": math.radians(axis.setting), "oscillation": math.radians(axis.increment)}


def trusted_range(header: Header) -> tuple[float, float] | None:
    """Above the number that stands for no measurement, up to the overload."""
    row = header.first("array_intensities")
    most = header.number(row, "overload")
    undefined = header.number(row, "undefined_value", -1.0)
    return (undefined + 1.0, most) if most > undefined + 1.0 else None
