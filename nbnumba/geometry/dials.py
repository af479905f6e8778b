"""Experiments that DIALS keeps as JSON (.expt): beam, detector, goniometer, scan and crystal of dxtbx (FMT-21).

dxtbx (https://dxtbx.readthedocs.io, and the models' own docstrings) works in mm, Angstrom and degrees, in any right-handed frame. A
reflection h is at S R(phi) F A h of reciprocal space: A has the columns a*, b*, c*, F is the fixed rotation between crystal and spindle,
R the rotation about the spindle, S the setting rotation between spindle and laboratory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.experiment.panel import Panel
from nbnumba.files.text import read_text
from nbnumba.geometry.exposure import Exposure, Vector
from nbnumba.geometry.recorded import (
    Array,
    RecordedGeometry,
    detector_axes,
    direction,
    electric_field,
    first_corner,
    in_scan,
    kahn_fraction,
    not_a_count,
    panel_of,
    pixels,
    positive,
    reciprocal_rows,
    rotation,
    square_pixel,
)

PER_METRE = 1000.0  # mm
ANGSTROM = 1e-10
PARALLAX = "ParallaxCorrectedPxMmStrategy"
SHOWN = 60  # characters of a value in a message
DEPTH = 100  # of a detector's hierarchy
NUMERIC = "iufO"  # kinds of NumPy arrays whose elements may be numbers; whole numbers beyond 64 bits are objects


def as_json(found: Any) -> str:
    """A value as the file has it, cut to what a message can hold."""
    try:
        text = json.dumps(found)
    except (ValueError, RecursionError):
        return "what is there"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


class Node:
    """An object of the file; where: how messages name it."""

    def __init__(self, path: Path, where: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise InputFileError(path, f"{where} is not an object in braces")
        self.path, self.where, self.content = path, where, content

    def has(self, key: str) -> bool:
        """Whether the key has a value."""
        return self.content.get(key) is not None

    def node(self, key: str) -> Node:
        """An object in the object."""
        return Node(self.path, f"{self.where}.{key}", self.content.get(key))

    def list(self, key: str) -> list[Any]:
        """A list in the object, empty if it is not there."""
        found = self.content.get(key, [])
        if not isinstance(found, list):
            raise InputFileError(self.path, f"{self.where}.{key} is not a list in brackets")
        return found

    def numbers(self, key: str, *shape: int) -> Array:
        """Finite numbers in an array of this shape; -1: any number of rows."""
        return self.as_numbers(key, self.content.get(key), shape)

    def as_numbers(self, name: str, found: Any, shape: tuple[int, ...]) -> Array:
        """What was found under this name, as such an array. Raises InputFileError."""
        try:
            read = np.array(found)
            array = read.astype(np.float64).reshape(shape) if read.dtype.kind in NUMERIC else np.full((), math.nan)
        except (ValueError, TypeError, OverflowError, RecursionError):
            array = np.full((), math.nan)
        if not np.isfinite(array).all() or array.size == 0:
            rows = "several times " if -1 in shape else ""
            wanted = f"{rows}{abs(math.prod(shape))} finite number{'s' if shape else ''}"
            raise InputFileError(self.path, f"{self.where}.{name} = {as_json(found)} is not {wanted}")
        return array

    def number(self, key: str) -> float:
        """One finite number."""
        return float(self.numbers(key))

    def whole(self, key: str) -> int:
        """One whole number."""
        return self.as_whole(key, self.number(key))

    def as_whole(self, name: str, value: float) -> int:
        """What was found under this name, as a whole number that is a number of something. Raises InputFileError."""
        if problem := not_a_count(value):
            raise InputFileError(self.path, f"{self.where}.{name} = {value:g} {problem}")
        return int(value)


def read_expt(path: str | Path, image: int | None = None, index: int | None = None) -> RecordedGeometry:
    """One image of one experiment. Raises InputFileError.

    image: its number as the scan's image_range counts, by default the first; index: of the experiment, from 0.
    """
    path = Path(path)
    with np.errstate(all="ignore"):  # what overflows is found not to be finite
        return from_json(path, image, index)


def from_json(path: Path, image: int | None, index: int | None) -> RecordedGeometry:
    """The same."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputFileError(path, f"is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("__id__") != "ExperimentList":
        raise InputFileError(path, "is not an experiment list of DIALS (.expt); it has no __id__ ExperimentList")
    file = Node(path, "file", content)
    experiment = chosen(file, index)
    models = {name: model(file, experiment, name) for name in ("beam", "detector", "goniometer", "scan", "crystal")}
    beam, detector = models["beam"], models["detector"]
    if beam is None or detector is None:
        raise InputFileError(path, f"{experiment.where} has no {'beam' if beam is None else 'detector'}; export it with its geometry")
    goniometer, scan, crystal = models["goniometer"], models["scan"], models["crystal"]
    placed = placed_panels(detector)

    first, last = image_range(scan)
    number = in_scan(path, image, first, last)
    at = number - first
    start, width = rotated(scan, at, last - first + 1)
    fixed, setting, axis = rotations(goniometer, at, last - first + 1)
    A = orientation(crystal, at, last - first + 1)
    spindle = None if axis is None else direction(path, "goniometer.rotation_axis", setting @ axis)
    exposure = Exposure(
        **beam_values(beam, at, last - first + 1),
        **panel_values(placed[0]),
        spindle_axis=spindle,
        phi_start=0.0 if spindle is None else units.radians(start),
        oscillation=0.0 if spindle is None else units.radians(width),
        number=number,
        exposure_time=exposure_time(scan, at),
    )
    reciprocal = None if A is None else (setting @ fixed @ A).T / ANGSTROM
    return RecordedGeometry(exposure, reciprocal, notes=(*unused_sensors(placed), *one_range(placed)), panels=simulated(placed))


def chosen(file: Node, index: int | None) -> Node:
    """The experiment with this index, or the only one."""
    found = file.list("experiment")
    if not found:
        raise InputFileError(file.path, "holds no experiment")
    if index is None and len(found) > 1:
        raise InputFileError(
            file.path, f"holds {len(found)} experiments; say which: --expt {file.path} IMAGE EXPERIMENT, from 0 to {len(found) - 1}"
        )
    if index is not None and not 0 <= index < len(found):
        raise InputFileError(file.path, f"has experiments 0 to {len(found) - 1}; there is no experiment {index}")
    return Node(file.path, f"experiment[{index or 0}]", found[index or 0])


def model(file: Node, experiment: Node, name: str) -> Node | None:
    """One of an experiment's models, which it names by their index in the file's list."""
    if not experiment.has(name):
        return None
    index, listed = experiment.content[name], file.list(name)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(listed):
        raise InputFileError(file.path, f"{experiment.where}.{name} = {as_json(index)} is not an index of the list {name!r}")
    return None if listed[index] is None else Node(file.path, name, listed[index])


def image_range(scan: Node | None) -> tuple[int, int]:
    """Number of the first image and of the last; without a scan one still."""
    if scan is None:
        return 1, 1
    first, last = (scan.as_whole("image_range", value) for value in scan.numbers("image_range", 2).tolist())
    if last < first:
        raise InputFileError(scan.path, f"scan.image_range = {first} {last} holds no image")
    return first, last


def rotated(scan: Node | None, at: int, images: int) -> tuple[float, float]:
    """Start angle and width of an image in degrees."""
    if scan is None:
        return 0.0, 0.0
    if not scan.has("properties"):
        start, width = scan.numbers("oscillation", 2).tolist() if scan.has("oscillation") else (0.0, 0.0)
        return start + at * width, width
    # Since dxtbx 3.17 a scan lists the start of every image, and the width where there is one image only.
    listed = scan.node("properties")
    if not listed.has("oscillation"):
        return 0.0, 0.0
    starts = listed.numbers("oscillation", -1).tolist()
    if len(starts) != images:
        raise InputFileError(scan.path, f"{listed.where}.oscillation has {len(starts)} angles; a scan of {images} images has {images}")
    if images > 1:
        return starts[at], starts[1] - starts[0]
    return starts[0], float(listed.numbers("oscillation_width", -1)[0]) if listed.has("oscillation_width") else 0.0


def exposure_time(scan: Node | None, at: int) -> float | None:
    """Of the image, in s; None where it is not stated, or 0. The last that is listed stands for those that are not, as in dxtbx."""
    holder = scan.node("properties") if scan and scan.has("properties") else scan
    if holder is None or not holder.has("exposure_time"):
        return None
    found = holder.content["exposure_time"]
    times = found if isinstance(found, list) else [found]
    if not times:
        return None
    time = holder.as_numbers("exposure_time", times[min(at, len(times) - 1)], ()).item()
    return positive(holder.path, f"{holder.where}.exposure_time", time) if time else None


def between(node: Node, key: str, at: int, images: int, *shape: int) -> Array | None:
    """What a model is in the middle of an image, where it is stated at the beginning and the end of each; None where it is not."""
    points = node.list(key) if node.has(key) else []
    if not points:
        return None
    if len(points) != images + 1:
        raise InputFileError(node.path, f"{node.where}.{key} has {len(points)} points; a scan of {images} images has {images + 1}")
    ends = [node.as_numbers(f"{key}[{i}]", points[i], shape) for i in (at, at + 1)]
    return (ends[0] + ends[1]) / 2.0


def rotations(goniometer: Node | None, at: int, images: int) -> tuple[Array, Array, Array | None]:
    """Fixed and setting rotation, (3, 3), and the spindle before the latter; without a goniometer none of them turns anything.

    Several axes are listed from the crystal outward: those before the scanned one make up the fixed rotation, those after it the setting.
    """
    if goniometer is None:
        return np.eye(3), np.eye(3), None
    if not goniometer.has("axes"):
        fixed, setting = (
            rotation_matrix(goniometer, name, goniometer.numbers(name, 3, 3)) if goniometer.has(name) else np.eye(3)
            for name in ("fixed_rotation", "setting_rotation")
        )
        axis = goniometer.numbers("rotation_axis", 3)
    else:
        axes = goniometer.numbers("axes", -1, 3)
        angles, scanned = goniometer.numbers("angles", len(axes)), goniometer.whole("scan_axis")
        if not 0 <= scanned < len(axes):
            raise InputFileError(goniometer.path, f"goniometer.scan_axis = {scanned} is not the index of one of {len(axes)} axes")
        turns = [rotation(unit_axis(goniometer, i, axes[i]), math.radians(angles[i])) for i in range(len(axes))]
        fixed, setting, axis = (
            product(turns[:scanned]),
            product(turns[scanned + 1 :]),
            np.array(unit_axis(goniometer, scanned, axes[scanned])),
        )
    varied = between(goniometer, "setting_rotation_at_scan_points", at, images, 3, 3)
    return fixed, setting if varied is None else nearest_rotation(varied), axis


def unit_axis(goniometer: Node, index: int, axis: Array) -> Vector:
    return direction(goniometer.path, f"goniometer.axes[{index}]", axis)


def product(turns: list[Array]) -> Array:
    """Rotations one after the other, the first innermost."""
    whole = np.eye(3)
    for turn in turns:
        whole = turn @ whole
    return whole


def rotation_matrix(node: Node, name: str, matrix: Array) -> Array:
    """The matrix, if it is a rotation."""
    if not (np.allclose(matrix @ matrix.T, np.eye(3), rtol=0.0, atol=1e-4) and np.linalg.det(matrix) > 0.0):
        raise InputFileError(node.path, f"{node.where}.{name} is not a rotation")
    return matrix


def nearest_rotation(mean: Array) -> Array:
    """The rotation that is nearest to the mean of two."""
    u, _, v = np.linalg.svd(mean)
    return np.asarray(u @ v)


def orientation(crystal: Node | None, at: int, images: int) -> Array | None:
    """Columns a*, b*, c* in 1/A before the goniometer: of the image where they vary with it."""
    if crystal is None:
        return None
    varied = between(crystal, "A_at_scan_points", at, images, 3, 3)
    if varied is not None:
        reciprocal_rows(crystal.path, "crystal.A_at_scan_points", varied.T, 1.0)
        return varied
    axes = np.stack([crystal.numbers(f"real_space_{name}", 3) for name in "abc"])
    return reciprocal_rows(crystal.path, "crystal.real_space_a, _b, _c", axes, 1.0).T


def beam_values(beam: Node, at: int, images: int) -> dict[str, Any]:
    """Fields of an exposure; dxtbx's direction points from the sample to the source."""
    if not beam.has("wavelength"):
        raise InputFileError(beam.path, "beam.wavelength is missing; a beam of one wavelength is simulated")
    path, s0 = beam.path, between(beam, "s0_at_scan_points", at, images, 3)
    incident = direction(path, "beam.direction", -beam.numbers("direction", 3) if s0 is None else s0)
    found: dict[str, Any] = {
        "incident": incident,
        "wavelength": positive(path, "beam.wavelength", beam.number("wavelength")) * ANGSTROM,
    }
    if beam.has("polarization_fraction") and beam.has("polarization_normal"):
        kahn = kahn_fraction(path, "beam.polarization_fraction", beam.number("polarization_fraction"))
        found["polarization_fraction"] = kahn
        found["polarization_axis"] = electric_field(
            path, "beam.polarization_normal", beam.numbers("polarization_normal", 3), incident, kahn
        )
    return found


class Placed(NamedTuple):
    """A panel of the file. frame: that of the groups it is in, (4, 4); group: their names, the outermost first."""

    node: Node
    frame: Array
    group: str

    @property
    def name(self) -> str:
        """What the panel is called, if it is."""
        name = self.node.content.get("name")
        return name if isinstance(name, str) else ""


def placed_panels(detector: Node) -> list[Placed]:
    """Every panel of a detector, in the order in which images have them."""
    nodes = [Node(detector.path, f"detector.panels[{n}]", panel) for n, panel in enumerate(detector.list("panels"))]
    if not nodes:
        raise InputFileError(detector.path, "the detector has no panels")
    if not detector.has("hierarchy"):
        return [Placed(node, np.eye(4), "") for node in nodes]
    held: dict[int, tuple[Array, str]] = {}
    for number, place in held_panels(detector.node("hierarchy"), np.eye(4), (), len(nodes)):
        if number in held:
            raise InputFileError(detector.path, f"detector.hierarchy holds panel {number} twice")
        held[number] = place
    if missing := [number for number in range(len(nodes)) if number not in held]:
        which = "the panel" if len(nodes) == 1 else f"panel {missing[0]}"
        raise InputFileError(detector.path, f"detector.hierarchy does not hold {which}")
    return [Placed(node, *held[number]) for number, node in enumerate(nodes)]


def held_panels(group: Node, outer: Array, names: tuple[str, ...], panels: int) -> Iterator[tuple[int, tuple[Array, str]]]:
    """Number, frame and groups of every panel in a group and in those within it. names: of this one and those around it."""
    if len(names) == DEPTH:
        raise InputFileError(group.path, f"detector.hierarchy is more than {DEPTH} groups deep")
    frame = np.asarray(outer @ local_frame(group))
    children = [Node(group.path, group.where if names else f"{group.where}.children", child) for child in group.list("children")]
    for child, name in zip(children, group_names(children), strict=True):
        if child.has("panel"):
            number = child.whole("panel")
            if not 0 <= number < panels:
                raise InputFileError(group.path, f"detector.hierarchy holds panel {number}; there are 0 to {panels - 1}")
            yield number, (frame, "/".join(names))
        else:
            yield from held_panels(child, frame, (*names, name), panels)


def group_names(groups: list[Node]) -> list[str]:
    """Last parts of their names, which are paths where they come from NeXus; with numbers where these do not tell them apart."""
    names = [str(group.content.get("name") or "").strip("/").rpartition("/")[2] for group in groups]
    return [name if name and names.count(name) == 1 else f"{name or 'group'}{n}" for n, name in enumerate(names)]


def panel_values(placed: Placed) -> dict[str, Any]:
    """Fields of an exposure from a panel."""
    panel, path = placed.node, placed.node.path
    frame = placed.frame @ local_frame(panel)
    fast_axis, slow_axis = detector_axes(path, ("panel.fast_axis", "panel.slow_axis"), frame[:3, 0], frame[:3, 1])
    fast_edge, slow_edge = panel.numbers("pixel_size", 2).tolist()
    fast, slow = panel.numbers("image_size", 2).tolist()
    found: dict[str, Any] = {
        "shape": pixels(path, ("panel.image_size[0]", "panel.image_size[1]"), fast, slow),
        "pixel_size": square_pixel(path, "panel.pixel_size", (fast_edge, slow_edge), PER_METRE),
        "origin": first_corner(path, "panel.origin", frame[:3, 3] / PER_METRE, fast_axis, slow_axis),
        "fast_axis": fast_axis,
        "slow_axis": slow_axis,
    }
    thickness, mu = sensor(panel)
    if corrects_parallax(panel) and thickness > 0.0 and mu > 0.0:
        found |= {"sensor_thickness": thickness / PER_METRE, "sensor_attenuation": 1.0 / (mu * PER_METRE)}
    if material := panel.content.get("material"):
        if not isinstance(material, str):
            raise InputFileError(path, f"panel.material = {as_json(material)} is not a chemical formula such as Si or CdTe")
        found["sensor_material"] = material
    if panel.has("trusted_range"):
        found["trusted_range"] = tuple(panel.numbers("trusted_range", 2).tolist())
    if panel.has("pedestal"):
        found["pedestal"] = panel.number("pedestal")
    return found | {"mask": unmasked(panel, found["shape"])}


def simulated(placed: list[Placed]) -> tuple[Panel, ...]:
    """The panels of a detector of several."""
    if len(placed) == 1:
        return ()
    return tuple(panel_of(one.node.path, Exposure(**panel_values(one)), one.name, one.group) for one in placed)


def unmasked(panel: Node, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """True outside the rectangles that the panel lists, each from a first (fast, slow) up to a last that is not in it; None: all is."""
    if not panel.has("mask") or not panel.list("mask"):
        return None
    mask = np.ones(shape, bool)
    corners = panel.numbers("mask", -1, 4)
    wrong = (corners[:, :2] < 0).any(axis=1) | (corners[:, 2:] <= corners[:, :2]).any(axis=1)
    if wrong.any():
        at = int(wrong.argmax())
        problem = f"mask[{at}] = {as_json(panel.list('mask')[at])} is not first fast, first slow, end of fast, end of slow, from 0 up"
        raise InputFileError(panel.path, f"{panel.where}.{problem}")
    for f0, s0, f1, s1 in np.minimum(corners, max(shape)).astype(int):
        mask[s0:s1, f0:f1] = False
    return mask


def sensor(panel: Node) -> tuple[float, float]:
    """Thickness in mm and absorption coefficient in 1/mm of a panel's sensor; 0 where they are not stated."""
    thickness, mu = (not_negative(panel, name) if panel.has(name) else 0.0 for name in ("thickness", "mu"))
    return thickness, mu


def not_negative(node: Node, key: str) -> float:
    value = node.number(key)
    if value < 0.0:
        raise InputFileError(node.path, f"{node.where}.{key} = {value:g} must be at least 0")
    return value


def corrects_parallax(panel: Node) -> bool:
    """Whether DIALS takes spots to be at some depth in the sensor."""
    return panel.has("px_mm_strategy") and panel.node("px_mm_strategy").content.get("type") == PARALLAX


def one_range(placed: list[Placed]) -> tuple[str, ...]:
    """A line where panels do not have the first one's trusted range, which is taken for all."""
    ranges = [tuple(one.node.numbers("trusted_range", 2).tolist()) if one.node.has("trusted_range") else None for one in placed]
    others = sum(of != ranges[0] for of in ranges)
    return (f"{placed[0].node.path}: the trusted range of the first panel is taken for all; {others} have others",) if others else ()


def unused_sensors(placed: list[Placed]) -> tuple[str, ...]:
    """A line for every sensor that is stated and not simulated."""
    return tuple(dict.fromkeys(note for one in placed if (note := unused_sensor(one.node))))


def unused_sensor(panel: Node) -> str:
    thickness, mu = sensor(panel)
    if thickness <= 0.0 or (corrects_parallax(panel) and mu > 0.0):
        return ""
    why = "the panel does not correct for parallax" if mu > 0.0 else "it has no mu"
    return f"{panel.path}: the sensor of {thickness:g} mm is left out: {why}; give -detector_thick and -detector_abs"


def local_frame(node: Node) -> Array:
    """Fast axis, slow axis, normal and origin (mm) of a panel or group in the frame of the group that it is in, as a (4, 4) matrix."""
    fast, slow = (direction(node.path, f"{node.where}.{name}", node.numbers(name, 3)) for name in ("fast_axis", "slow_axis"))
    frame = np.eye(4)
    frame[:3, :] = np.stack([fast, slow, np.cross(fast, slow), node.numbers("origin", 3)], axis=1)
    return frame
