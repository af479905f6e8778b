"""Predicted spots as DIALS keeps reflections (.refl), beside the experiment that they are of (FMT-105).

Source: DIALS's reflection tables, a list of a word, a version and a mapping, packed by MessagePack: each column is a type, a number of
rows, and their bytes. mu is of a sensor's material, t its thickness, c the cosine of a ray to its normal: a ray is absorbed at
1/mu - (t/c + 1/mu) exp(-mu t/c) in the mean, which is how far behind the panel's plane, along the ray, DIALS takes a spot to be.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, NotAvailableError
from nbnumba.experiment.vectors import Array
from nbnumba.files.text import read_bytes
from nbnumba.geometry.dials import ANGSTROM, PER_METRE
from nbnumba.geometry.dials_out import identifier_of, models_of
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.prediction import turned
from nbnumba.geometry.spots import PredictedSpots, passing, predict

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

PREDICTED = 1  # the flag of DIALS for what is predicted
MET = 1e-9  # of the sphere's radius: what is as near as this to it is on it
Columns = dict[str, tuple[str, Array]]
INDEX, VECTOR = "cctbx::miller::index<>", "vec3<double>"
TYPES = {INDEX: np.int32, "int": np.int32, "std::size_t": np.uint64, "bool": np.bool_, VECTOR: np.float64, "double": np.float64}


def require_msgpack() -> None:
    """Raises NotAvailableError."""
    try:
        import msgpack  # noqa: F401
    except ImportError:
        raise NotAvailableError(".refl files need msgpack; install it with: pip install 'nbnumba[dials]'") from None


def refl_bytes(experiment: Experiment, first: Exposure, images: int = 1) -> bytes:
    """The spots of an experiment over all of its spindle's range; first: the exposure of its first image, of so many.

    Of a scan those that meet the sphere, as DIALS predicts; of a still all that are expected to light up.
    """
    import msgpack

    identifier = identifier_of(models_of(first, experiment.unit_cell.reciprocal, images))
    spots = predict(experiment)
    if first.oscillation and first.spindle_axis:
        spots = chosen(spots, np.abs(spots.excitation_error) * experiment.beam.wavelength <= MET)
    columns = {
        name: [kind, [len(of), np.ascontiguousarray(of, TYPES[kind]).tobytes()]]
        for name, (kind, of) in columns_of(experiment, spots, first).items()
    }
    table = {"identifiers": {0: identifier}, "nrows": len(spots.hkl), "data": columns}
    return bytes(msgpack.packb(["dials::af::reflection_table", 1, table]))


def read_columns(path: Path) -> dict[str, Array]:
    """Every column of such a file, as rows of numbers. Raises InputFileError, NotAvailableError."""
    require_msgpack()
    import msgpack

    try:
        _, _, table = msgpack.unpackb(read_bytes(path), strict_map_key=False)
        rows = table["nrows"]
        return {name: np.frombuffer(of[1], TYPES[kind]).reshape(rows, -1) for name, (kind, of) in table["data"].items()}
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise InputFileError(path, f"is no table of reflections as nbnumba writes them: {error}") from None


def chosen(spots: PredictedSpots, which: NDArray[np.bool_]) -> PredictedSpots:
    """Some of the spots."""
    return replace(spots, **{name: of[which] for name, of in vars(spots).items()})


def columns_of(experiment: Experiment, spots: PredictedSpots, first: Exposure) -> Columns:
    """Types as DIALS calls them, and values; lengths in mm, 1/A, angles in rad; pixels and images from the corner of the first."""
    n = len(spots.hkl)
    places, on_panel, in_pixels = places_of(experiment, spots)
    s1 = places / np.linalg.norm(places, axis=1, keepdims=True) / (experiment.beam.wavelength / ANGSTROM)
    turns = first.spindle_axis is not None and first.oscillation != 0.0
    image = (spots.phi - first.phi_start) / first.oscillation + first.number - 1 if turns else np.zeros(n)
    angle = spots.phi if turns else np.zeros(n)
    r, one = spots.hkl @ experiment.unit_cell.reciprocal, experiment.by_panel[0]
    return {
        "miller_index": (INDEX, spots.hkl),
        "id": ("int", np.zeros(n)),
        "panel": ("std::size_t", spots.panel),
        "flags": ("std::size_t", np.full(n, PREDICTED)),
        "entering": ("bool", passing(one, r, spots.phi) < 0.0),
        "s1": (VECTOR, s1 @ first.to_imgcif.T),
        "xyzcal.mm": (VECTOR, np.column_stack([on_panel * PER_METRE, angle])),
        "xyzcal.px": (VECTOR, np.column_stack([in_pixels, image])),
        **({} if turns else {"delpsical.rad": ("double", off_sphere(one, turned(one, r, spots.phi[:, np.newaxis])[:, 0]))}),
        "partiality": ("double", spots.partiality),
        "intensity.sum.value": ("double", spots.intensity),
    }


def off_sphere(experiment: Experiment, r: Array) -> Array:
    """By how much lattice points are turned off the sphere, about the axis across them and the beam: less than 0 outside of it."""
    length = np.linalg.norm(r, axis=1)
    return np.asarray(-np.arcsin(experiment.beam.wavelength * length / 2.0) - np.arcsin(r @ experiment.frame.incident / length))


def places_of(experiment: Experiment, spots: PredictedSpots) -> tuple[Array, Array, Array]:
    """Where spots are: in the laboratory, on their panels' planes (fast, slow) in m, and in pixels, in the depth of the sensor."""
    places, on_panel, pixels = np.zeros((len(spots.hkl), 3)), np.zeros((len(spots.hkl), 2)), np.zeros((len(spots.hkl), 2))
    for number, one in enumerate(experiment.by_panel):
        here, frame, size = spots.panel == number, one.frame, one.detector.pixel_size
        axes = np.stack([frame.fast_axis, frame.slow_axis])
        on_panel[here] = (np.column_stack([spots.fast, spots.slow])[here] + 0.5) * size
        places[here] = frame.pix0 + on_panel[here] @ axes
        pixels[here] = (on_panel[here] + depth_of(one, places[here]) @ axes.T) / size
    return places, on_panel, pixels


def depth_of(experiment: Experiment, places: Array) -> Array:
    """Vectors from a panel's plane to where rays to these places are absorbed."""
    detector, rays = experiment.detector, places / np.linalg.norm(places, axis=1, keepdims=True)
    if not (detector.sensor_thickness and detector.absorption):
        return np.zeros_like(rays)
    through, length = detector.sensor_thickness / (rays @ experiment.frame.normal), 1.0 / detector.absorption
    return np.asarray(rays * (length - (through + length) * np.exp(-through / length))[:, np.newaxis])
