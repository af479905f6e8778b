"""Geometry files as fields of the experiment (FMT-21, FMT-22, FMT-23).

Everything keeps the file's own laboratory frame, as the custom convention. nanoBragg ignores a detector origin that it is given
(quirk pix0-unused); it is stated by the point nearest to the crystal instead, which any position of a detector has.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, OptionError
from nbnumba.experiment.vectors import length, unit
from nbnumba.geometry.exposure import Exposure, Vector
from nbnumba.geometry.sensor import Plane, absorbing
from nbnumba.options.arguments import ParsedOption, is_number

if TYPE_CHECKING:
    from nbnumba.geometry.crystfel_data import Data
    from nbnumba.geometry.recorded import RecordedGeometry

Array = NDArray[np.float64]
Fields = dict[str, Any]

ACROSS = 1e-3  # sine of the angle to the beam from which on an axis counts as across it
ANY = 2.0**31 - 1.0  # the largest count of files in which nothing is known to saturate
RECIPROCAL = "crystal.reciprocal"  # rows a*, b*, c* in 1/m, until the wavelength is settled


def read_recorded(given: ParsedOption, distance: float | None, data: ParsedOption | None = None) -> RecordedGeometry:
    """The file that the option names; distance: the user's, in m, for a file that leaves it open; data: an option that names what a
    geometry file leaves values to. Raises InputFileError, OptionError.
    """
    path = given.values[0]
    if not path:
        raise OptionError(f"{given.name}: needs a name, got an empty one")
    numbers = [whole(given, word) for word in given.values[1:]]
    match given.option.name:
        case "--expt":
            from nbnumba.geometry.dials import read_expt

            return read_expt(path, *numbers)
        case "--xds":
            from nbnumba.geometry.xds import read_xds

            return read_xds(path, *numbers)
        case _:
            from nbnumba.formats.hdf5_mask import stored_mask
            from nbnumba.geometry.crystfel import read_geom

            return read_geom(path, distance, stored_mask, None if data is None else left_to(data))


def recorded_in(path: str) -> RecordedGeometry:
    """What an image says, of several the first unless one is named. Raises InputFileError."""
    from nbnumba.formats.read import is_scan, read_image_file, split
    from nbnumba.geometry.recorded import RecordedGeometry

    file, name = split(path)
    image = read_image_file(path, 1 if is_scan(path) and not name else None)
    if image.exposure is None:
        raise InputFileError(file, image.problem or "does not state where its detector is")
    exposure = image.exposure
    panels = tuple(with_sensor(panel, exposure.wavelength) for panel in exposure.panels)
    return RecordedGeometry(exposure=replace(with_sensor(exposure, exposure.wavelength), panels=()), panels=panels)


def with_sensor(panel: Plane, wavelength: float | None) -> Plane:
    """The sensor of an image's panel, none where it is not known how it absorbs. Raises ParameterError, NotAvailableError."""
    found = absorbing(panel, wavelength)
    return found if found.sensor_attenuation else replace(found, sensor_thickness=0.0)


def left_to(given: ParsedOption) -> Data:
    """The file, and the image, that a geometry file leaves values to. Raises OptionError, InputFileError."""
    from nbnumba.formats.hdf5_mask import require_hdf5, stored_numbers
    from nbnumba.geometry.crystfel_data import Data

    name, *numbers = given.values
    image = whole(given, numbers[0]) if numbers else 1
    if not name or image < 1:
        raise OptionError(f"{given}: needs the name of an HDF5 file, and the number of an image from 1 on")
    require_hdf5(Path(name))
    return Data(Path(name), image, stored_numbers)


def whole(given: ParsedOption, word: str) -> int:
    """A number of an image or an experiment."""
    if not is_number(word) or not float(word).is_integer():
        raise OptionError(f"{given}: {word!r} is not a whole number")
    return int(float(word))


def fields_of(recorded: RecordedGeometry) -> Fields:
    """Fields of the experiment that a file states, by path, and those that it overrules.

    RECIPROCAL becomes a field by ``a_matrix`` once the wavelength is settled.
    """
    exposure = recorded.exposure
    polarization = polarization_axis(exposure)
    found: Fields = {
        **position(exposure),
        **({"detector.panels": recorded.panels, "sampling.mask": None} if recorded.panels else one_panel(exposure)),
        "beam.direction": exposure.incident,
        "beam.polarization_axis": polarization,
        "goniometer.spindle_axis": exposure.spindle_axis or polarization,
    }
    if exposure.wavelength is not None:
        found["beam.wavelength"] = exposure.wavelength
    if exposure.polarization_fraction is not None:  # as -polar has it
        found |= {"beam.polarization_fraction": exposure.polarization_fraction, "model.stages.polarization": "kahn"}
    if exposure.trusted_range is not None and 0.0 < exposure.trusted_range[1] < ANY:
        found["detector.saturation"] = exposure.trusted_range[1]
    if exposure.exposure_time is not None:
        found["beam.exposure"] = exposure.exposure_time
    if exposure.spindle_axis is not None or recorded.reciprocal is not None:
        found |= scan(exposure)
    if recorded.reciprocal is not None:
        found |= {RECIPROCAL: recorded.reciprocal, "crystal.a_matrix": None, "crystal.reciprocal_matrix": None, "crystal.cell": None}
        found |= {"crystal.misset": None, "crystal.random_orientation_seed": None}
    elif recorded.cell is not None:
        found["crystal.cell"] = recorded.cell
    return found


def one_panel(exposure: Exposure) -> Fields:
    """Pixels, mask and sensor of a detector of one panel."""
    found: Fields = {
        "detector.panels": (),
        "detector.pixel_size": exposure.pixel_size,
        "detector.slow_pixels": exposure.shape[0],
        "detector.fast_pixels": exposure.shape[1],
    }
    if exposure.mask is not None:
        found["sampling.mask"] = exposure.mask
    if exposure.sensor_thickness > 0.0 and exposure.sensor_attenuation is not None:
        found |= {
            "detector.sensor_thickness": exposure.sensor_thickness,
            "detector.sensor_attenuation": exposure.sensor_attenuation,
            "detector.sensor_material": exposure.sensor_material,
        }
    return found


def position(exposure: Exposure) -> Fields:
    """Axes of the detector, and its place by the nearest point: origin = -X fast - Y slow + distance normal."""
    fast, slow = np.array(exposure.fast_axis), np.array(exposure.slow_axis)
    normal = unit(np.cross(fast, slow))
    x, y, away = np.linalg.solve(np.stack([fast, slow, normal], axis=1), exposure.origin).tolist()
    return {
        "detector.convention": "custom",
        "detector.pivot": "sample",
        "detector.fast_axis": exposure.fast_axis,
        "detector.slow_axis": exposure.slow_axis,
        "detector.normal": of_unit_length(math.copysign(1.0, away) * normal),
        "detector.close_distance": abs(away),
        "detector.close_x": -x,
        "detector.close_y": -y,
        "detector.beam_x": None,
        "detector.beam_y": None,
        "detector.xds_orgx": None,
        "detector.xds_orgy": None,
        "detector.pix0": None,
        "detector.rotations": (0.0, 0.0, 0.0),
        "detector.twotheta": 0.0,
        "detector.twotheta_axis": None,
    }


def by_direct_beam(exposure: Exposure) -> Fields:
    """The same place by the direct beam, for options that change it; nothing where the beam does not meet the detector."""
    fast, slow, incident = (np.array(v) for v in (exposure.fast_axis, exposure.slow_axis, exposure.incident))
    try:
        x, y, minus_distance = np.linalg.solve(np.stack([fast, slow, -incident], axis=1), -np.array(exposure.origin)).tolist()
    except np.linalg.LinAlgError:
        return {}
    return {
        "detector.pivot": "beam",
        "detector.distance": abs(minus_distance),
        "detector.beam_x": x,
        "detector.beam_y": y,
        "detector.close_distance": None,
        "detector.close_x": None,
        "detector.close_y": None,
    }


def of_unit_length(v: Array) -> Vector:
    """v, a unit vector, with its last bits such that its length comes out as 1.

    nanoBragg puts fast x slow in the place of any other normal (quirk normal-replaced), which may be the opposite one.
    """
    for steps in sorted(itertools.product(range(-3, 4), repeat=3), key=lambda s: sum(map(abs, s))):
        nudged = v + np.array(steps) * np.spacing(v)
        if length(nudged) == 1.0:
            return tuple(nudged.tolist())
    return tuple(v.tolist())


def polarization_axis(exposure: Exposure) -> Vector:
    """The electric field; where it is not stated the spindle's part across the beam, or that of an axis of the detector."""
    if exposure.polarization_axis is not None:
        return exposure.polarization_axis
    incident = np.array(exposure.incident)
    candidates = (np.array(v) for v in (exposure.spindle_axis, exposure.fast_axis, exposure.slow_axis) if v is not None)
    across = next(a for v in candidates if length(a := v - (v @ incident) * incident) > ACROSS)
    return tuple(unit(across).tolist())


def scan(exposure: Exposure) -> Fields:
    """Start and range of the rotation; a still has none, in whatever steps. A spindle that turns back covers the same range."""
    start, oscillation = exposure.phi_start, exposure.oscillation
    if oscillation == 0.0:
        steps = dict.fromkeys(["goniometer.oscillation", "goniometer.phi_step", "goniometer.phi_steps"])
        return {"goniometer.phi_start": start, **steps}
    return {"goniometer.phi_start": min(start, start + oscillation), "goniometer.oscillation": abs(oscillation)}


def a_matrix(reciprocal: Array, wavelength: float) -> tuple[float, ...]:
    """MOSFLM's form, row by row: columns a*, b*, c* times the wavelength."""
    return tuple((reciprocal.T * wavelength).ravel().tolist())
