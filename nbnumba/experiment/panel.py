"""A flat panel of a detector, in its place; what a detector of one is resolved to, and one of several is described by (EXP-30)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Vector
from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Limits, Part, quantity, shown, text
from nbnumba.experiment.sampling import Roi, checked_mask, region

if TYPE_CHECKING:
    import numpy as np

    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.frame import Frame
    from nbnumba.experiment.vectors import Array

PIXELS = Limits(1, 100_000)
UNIT = 1e-6  # what files leave of a unit vector's length, or of a right angle
PARALLEL = 1e-9  # cosine between the beam and a panel's normal, or of the smallest angle from the crystal to its plane
FORMULA = re.compile(r"[A-Za-z0-9_.()-]{1,40}")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel(Part):
    """Pixel (f, s) is at origin + f pixel_size fast_axis + s pixel_size slow_axis, in the laboratory of the detector's convention."""

    origin: Vector = quantity(MISSING, "m", "outer corner of the first pixel, seen from the crystal", size=3)
    fast_axis: Vector = quantity(MISSING, "", "unit vector along which a row's pixels follow each other", size=3)
    slow_axis: Vector = quantity(MISSING, "", "unit vector along which rows follow each other", size=3)
    pixel_size: float = quantity(MISSING, "m", "edge of a square pixel", POSITIVE)
    fast_pixels: int = quantity(MISSING, "", "number of pixels along the fast axis", PIXELS, whole=True)
    slow_pixels: int = quantity(MISSING, "", "number of pixels along the slow axis", PIXELS, whole=True)
    sensor_thickness: float = quantity(0.0, "m", "thickness of the sensor; 0: a surface that captures every photon", NOT_NEGATIVE)
    sensor_attenuation: float | None = quantity(
        None, "m", "attenuation depth of the sensor's material, 0: infinite; default: the sensor's thickness", NOT_NEGATIVE
    )
    sensor_material: str | None = field(default=None, metadata={"unit": "", "meaning": "chemical formula of the sensor's material"})
    roi: Roi | None = region("instead of that of the sampling")
    mask: np.ndarray | None = field(default=None, metadata={"unit": "", "meaning": "[slow, fast], true where to render"})
    name: str = text("what the panel is called in files")
    group: str = text("groups that the panel is in, the outermost first: quadrant0/module3")

    def __post_init__(self) -> None:
        import numpy as np

        from nbnumba.experiment.vectors import dot, length

        super().__post_init__()
        require_formula(self.where("sensor_material"), self.sensor_material)
        fast, slow = np.array(self.fast_axis), np.array(self.slow_axis)
        for name, axis in (("fast_axis", fast), ("slow_axis", slow)):
            if abs(length(axis) - 1.0) > UNIT:
                raise ParameterError(self.where(name), f"has the length {length(axis):g}; give a unit vector")
        if abs(dot(fast, slow)) > UNIT:
            raise ParameterError(self.where("slow_axis"), "is not at right angles to panel.fast_axis")
        if self.mask is not None:
            object.__setattr__(self, "mask", checked_mask(self.where("mask"), self.mask))
            if self.mask.shape != self.shape:
                raise ParameterError(self.where("mask"), f"has shape {self.mask.shape}, the panel (slow, fast) {self.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels as (slow, fast)."""
        return self.slow_pixels, self.fast_pixels

    @cached_property
    def plane(self) -> Plane:
        """Where it is, whatever the beam. Raises ParameterError."""
        import numpy as np

        from nbnumba.experiment.vectors import cross, dot, length

        origin, fast, slow = (np.array(v) for v in (self.origin, self.fast_axis, self.slow_axis))
        normal = cross(fast, slow)
        normal = -normal if dot(origin, normal) < 0.0 else normal
        close_distance = float(dot(origin, normal))
        if not close_distance > PARALLEL * length(origin):
            raise ParameterError("panel.origin", "puts the panel's plane through the crystal")
        return Plane(origin, fast, slow, normal, close_distance, float(dot(-origin, fast)), float(dot(-origin, slow)))


class Plane(NamedTuple):
    """A panel's plane: corner of the first pixel, axes, and the normal away from the crystal; its nearest point, m from that corner."""

    origin: Array
    fast: Array
    slow: Array
    normal: Array
    close_distance: float
    close_fast: float
    close_slow: float

    @property
    def numbers(self) -> tuple[list[float], ...]:
        """The normal, both axes and the corner."""
        return self.normal.tolist(), self.fast.tolist(), self.slow.tolist(), self.origin.tolist()


def require_formula(where: str, material: Any) -> None:
    """Refuse what is no chemical formula. Raises ParameterError."""
    if material is not None and not (isinstance(material, str) and FORMULA.fullmatch(material)):
        raise ParameterError(where, f"{shown(material)} is not a chemical formula such as Si or CdTe")


def frame_of(panel: Panel, axes: Mapping[str, Array]) -> Frame:
    """Where a panel is, in the words of a detector of one; its normal points away from the crystal. Raises ParameterError."""

    from nbnumba.experiment.frame import Frame

    plane = panel.plane
    (ix, iy, iz), (nx, ny, nz), (fx, fy, fz), (sx, sy, sz), (x, y, z) = axes["incident"].tolist(), *plane.numbers
    ratio = ix * nx + iy * ny + iz * nz
    # A panel that the beam runs along is stated by its nearest point.
    along = abs(ratio) < PARALLEL
    distance, (tx, ty, tz) = (plane.close_distance, (nx, ny, nz)) if along else (plane.close_distance / ratio, (ix, iy, iz))
    mx, my, mz = distance * tx - x, distance * ty - y, distance * tz - z
    beam_fast, beam_slow = mx * fx + my * fy + mz * fz, mx * sx + my * sy + mz * sz
    return Frame(
        incident=axes["incident"],
        polarization_axis=axes["polarization"],
        spindle_axis=axes["spindle"],
        twotheta_axis=axes["twotheta"],
        fast_axis=plane.fast,
        slow_axis=plane.slow,
        normal=plane.normal,
        pix0=plane.origin,
        distance=distance,
        close_distance=plane.close_distance,
        pivot="sample",
        beam_x=beam_fast,
        beam_y=beam_slow,
        beam_fast=beam_fast,
        beam_slow=beam_slow,
        close_fast=plane.close_fast,
        close_slow=plane.close_slow,
    )


def panel_of(experiment: Experiment) -> Panel:
    """The panel that a detector of one is."""
    frame, detector = experiment.frame, experiment.detector
    slow_pixels, fast_pixels = detector.shape
    called = {"name": detector.panels[0].name, "group": detector.panels[0].group} if detector.panels else {}
    return Panel(
        origin=tuple(frame.pix0),
        fast_axis=tuple(frame.fast_axis),
        slow_axis=tuple(frame.slow_axis),
        pixel_size=detector.pixel_size,
        fast_pixels=fast_pixels,
        slow_pixels=slow_pixels,
        sensor_thickness=detector.sensor_thickness,
        sensor_attenuation=detector.sensor_attenuation,
        sensor_material=detector.sensor_material,
        roi=experiment.sampling.roi,
        mask=experiment.sampling.mask,
        **called,
    )


def number_of(panels: Sequence[Panel], which: int | str | None) -> int:
    """The number of a panel, 0 the first, that is given by it or by a name, alone or after its groups. Raises ParameterError."""
    if which is None:
        if len(panels) > 1:
            raise ParameterError(
                "panel", f"is not given, and there are {len(panels)}; give its number, 0 to {len(panels) - 1}, or its name"
            )
        return 0
    if isinstance(which, int):
        if not 0 <= which < len(panels):
            raise ParameterError("panel", f"{which}: there {'are' if len(panels) > 1 else 'is'} {len(panels)}; numbers begin with 0")
        return which
    found = [n for n, panel in enumerate(panels) if panel.name and which in (panel.name, f"{panel.group}/{panel.name}")]
    if len(found) != 1:
        told = f"is the name of panels {', '.join(map(str, found[:8]))}" if found else "is the name of none"
        raise ParameterError("panel", f"{shown(which)} {told}; give its number, 0 to {len(panels) - 1}, or its groups and name, GROUP/NAME")
    return found[0]


def over_panels(combined: Callable[[list[T]], T]) -> Callable[[Callable[[Any], T]], Callable[[Any], T]]:
    """What an experiment answers; one of several panels: what those of each alone answer, combined."""

    def decorate(answer: Callable[[Any], T]) -> Callable[[Any], T]:
        @wraps(answer)
        def over(experiment: Any) -> T:
            panels = experiment.by_panel
            return answer(experiment) if panels[0] is experiment else combined([getattr(panel, answer.__name__) for panel in panels])

        return over

    return decorate


def total(answers: list[int]) -> int:
    """The sum over panels."""
    return sum(answers)


def each_once(answers: list[list[str]]) -> list[str]:
    """Lines of several panels, without those that are there already."""
    return list(dict.fromkeys(line for answer in answers for line in answer))
