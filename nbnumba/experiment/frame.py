"""Where everything is in the laboratory: beam, axes and detector origin, resolved from the user's description (EXP-3, EXP-4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.errors import ParameterError
from nbnumba.experiment.vectors import Array, cross, dot, length, rotate_about, rotate_xyz, unit

if TYPE_CHECKING:
    from nbnumba.experiment.beam import Beam
    from nbnumba.experiment.detector import Detector
    from nbnumba.experiment.goniometer import Goniometer

# Directions of each convention in its laboratory frame.
AXES: dict[str, dict[str, tuple[float, float, float]]] = {
    "mosflm": {
        "incident": (1, 0, 0), "fast": (0, 0, 1), "slow": (0, -1, 0), "normal": (1, 0, 0),
        "twotheta": (0, 0, -1), "polarization": (0, 0, 1), "spindle": (0, 0, 1),
    },
    "adxv": {
        "incident": (0, 0, 1), "fast": (1, 0, 0), "slow": (0, -1, 0), "normal": (0, 0, 1),
        "twotheta": (-1, 0, 0), "polarization": (1, 0, 0), "spindle": (1, 0, 0),
    },
    "xds": {
        "incident": (0, 0, 1), "fast": (1, 0, 0), "slow": (0, 1, 0), "normal": (0, 0, 1),
        "twotheta": (1, 0, 0), "polarization": (1, 0, 0), "spindle": (1, 0, 0),
    },
    "dials": {
        "incident": (0, 0, 1), "fast": (1, 0, 0), "slow": (0, 1, 0), "normal": (0, 0, 1),
        "twotheta": (0, 1, 0), "polarization": (0, 1, 0), "spindle": (0, 1, 0),
    },
    "custom": {
        "incident": (1, 0, 0), "fast": (0, 0, 1), "slow": (0, -1, 0), "normal": (1, 0, 0),
        "twotheta": (0, 1, 0), "polarization": (0, 0, 1), "spindle": (0, 0, 1),
    },
}  # fmt: skip
AXES["denzo"] = AXES["mosflm"]

# The named conventions pivot in their own way, whatever the user asked for.
PIVOT = {"mosflm": "beam", "adxv": "beam", "denzo": "beam", "xds": "sample", "dials": "sample"}


PARALLEL = 1e-9  # cosine between the beam and the detector's normal


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Resolved geometry: unit vectors (3,) (but the twotheta axis as given), lengths in m; detector vectors after its rotations."""

    incident: Array
    polarization_axis: Array
    spindle_axis: Array
    twotheta_axis: Array
    fast_axis: Array
    slow_axis: Array
    normal: Array
    pix0: Array  # outer corner of the first pixel
    distance: float
    close_distance: float
    pivot: str
    beam_x: float  # as understood by the convention
    beam_y: float
    beam_fast: float  # direct beam on the detector, from the corner of the first pixel
    beam_slow: float
    close_fast: float  # nearest point of the detector plane, from the same corner
    close_slow: float


@dataclass(frozen=True)
class Centre:
    """Direct beam and nearest point in the frame of the unrotated detector, m."""

    beam_x: float
    beam_y: float
    beam_fast: float
    beam_slow: float
    close_fast: float
    close_slow: float


def resolve_axes(beam: Beam, detector: Detector, goniometer: Goniometer, quirks: frozenset[str]) -> dict[str, Array]:
    """The convention's directions, or those that the user gave."""
    if detector.convention == "custom":
        return given_axes(beam, detector, goniometer, quirks)
    return {name: np.array(vector, dtype=np.float64) for name, vector in AXES[detector.convention].items()}


def resolve_frame(axes: dict[str, Array], detector: Detector, quirks: frozenset[str]) -> Frame:
    """Axes, origin and centres of the detector in its final position."""
    incident = axes["incident"]
    fast, slow, normal = axes["fast"], axes["slow"], axes["normal"]
    centre = beam_centre(detector, quirks)
    own = PIVOT.get(detector.convention, "beam")
    pivot = own if "forced-pivot" in quirks and detector.convention in PIVOT else detector.pivot or own

    # How far the (rotated) detector plane is along the beam, against its nearest point.
    ratio = float(dot(incident, rotate_xyz(normal, detector.rotations)))
    if abs(ratio) < PARALLEL:
        field = "detector.rotations" if any(detector.rotations) else "beam.direction"
        raise ParameterError(field, "puts the beam parallel to the detector plane; no distance along it is defined")
    close_distance = abs(ratio * detector.distance) if detector.close_distance is None else detector.close_distance

    def swing(v: Array) -> Array:
        return rotate_about(rotate_xyz(v, detector.rotations), axes["twotheta"], detector.twotheta)

    unrotated_pix0 = -centre.close_fast * fast - centre.close_slow * slow + close_distance * normal
    fast, slow, normal = swing(fast), swing(slow), swing(normal)
    if pivot == "sample":
        pix0 = swing(unrotated_pix0)
    else:
        pix0 = -centre.beam_fast * fast - centre.beam_slow * slow + close_distance / ratio * incident

    if detector.pix0 is not None and "pix0-unused" not in quirks:
        pix0 = np.array(detector.pix0)

    if not np.isfinite(pix0).all():
        raise ParameterError("detector.distance", f"and beam centre put the detector at {' '.join(f'{c:g}' for c in pix0)} m, too far away")
    close_distance = float(dot(pix0, normal))
    if not abs(close_distance) > PARALLEL * length(pix0):
        field = "detector.pix0" if detector.pix0 is not None else "detector.twotheta"
        raise ParameterError(field, "puts the detector plane through the crystal")
    if "swung-distance" not in quirks:
        ratio = float(dot(incident, normal))
        if abs(ratio) < PARALLEL:
            raise ParameterError("detector.twotheta", "puts the beam parallel to the detector plane; no distance along it is defined")
    distance = close_distance / ratio
    direct_beam = distance * incident - pix0
    return Frame(
        incident=incident,
        polarization_axis=axes["polarization"],
        spindle_axis=axes["spindle"],
        twotheta_axis=axes["twotheta"],
        fast_axis=fast,
        slow_axis=slow,
        normal=normal,
        pix0=pix0,
        distance=distance,
        close_distance=close_distance,
        pivot=pivot,
        beam_x=centre.beam_x,
        beam_y=centre.beam_y,
        beam_fast=float(dot(direct_beam, fast)),
        beam_slow=float(dot(direct_beam, slow)),
        close_fast=float(dot(-pix0, fast)),
        close_slow=float(dot(-pix0, slow)),
    )


def given_axes(beam: Beam, detector: Detector, goniometer: Goniometer, quirks: frozenset[str]) -> dict[str, Array]:
    """Unit vectors that the user gave, and the detector normal that goes with them."""
    given = {
        "incident": ("beam.direction", beam.direction),
        "polarization": ("beam.polarization_axis", beam.polarization_axis),
        "spindle": ("goniometer.spindle_axis", goniometer.spindle_axis),
        "fast": ("detector.fast_axis", detector.fast_axis),
        "slow": ("detector.slow_axis", detector.slow_axis),
        "normal": ("detector.normal", detector.normal),
        "twotheta": ("detector.twotheta_axis", detector.twotheta_axis),
    }
    axes = {name: np.array(vector, dtype=np.float64) for name, vector in AXES["custom"].items()}
    for name, (field, vector) in given.items():
        if vector is not None:
            if not any(vector) and name != "normal":
                raise ParameterError(field, "is a zero vector; give a direction")
            axes[name] = np.array(vector) if name == "twotheta" else unit(vector)
    across = cross(axes["fast"], axes["slow"])
    if length(across) < PARALLEL:
        raise ParameterError("detector.fast_axis", "is parallel to detector.slow_axis (-sdet_vector); give two different directions")
    replaced = length(detector.normal or AXES["custom"]["normal"]) != 1.0
    if replaced and ("normal-replaced" in quirks or not any(detector.normal or ())):
        axes["normal"] = unit(across)
    return axes


def beam_centre(detector: Detector, quirks: frozenset[str]) -> Centre:
    """Direct beam and nearest point as the convention understands the numbers given (EXP-4)."""
    pixel, (height, width) = detector.pixel_size, detector.extent
    close_fast = width / 2.0 if detector.xds_orgx is None else (detector.xds_orgx - 0.5) * pixel
    close_slow = height / 2.0 if detector.xds_orgy is None else (detector.xds_orgy - 0.5) * pixel

    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    if "forced-pivot" not in quirks:
        close_fast, close_slow = given(detector.close_x, close_fast), given(detector.close_y, close_slow)
    match detector.convention:
        case "adxv":
            x, y = given(detector.beam_x, (width + pixel) / 2.0), given(detector.beam_y, (height - pixel) / 2.0)
            return Centre(x, y, x, height - y, close_fast, close_slow)
        case "mosflm" | "denzo":
            x, y = given(detector.beam_x, (height + pixel) / 2.0), given(detector.beam_y, (width + pixel) / 2.0)
            offset = 0.5 * pixel if detector.convention == "mosflm" else 0.0
            return Centre(x, y, y + offset, x + offset, close_fast, close_slow)
        case _:
            x = given(detector.beam_x, given(detector.close_x, close_fast))
            y = given(detector.beam_y, given(detector.close_y, close_slow))
            if detector.convention == "custom":
                return Centre(x, y, x, y, x, y)
            return Centre(x, y, x, y, close_fast, close_slow)
