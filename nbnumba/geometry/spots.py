"""How strong the reflections are that are expected, without rendering (API-8)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.vectors import Array, cross, dot, unit
from nbnumba.geometry.prediction import Spots, excitation, predicted_spots, smear, turned

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

THOMSON_SQUARED = 7.94079248018965e-30  # m^2, of the classical electron radius


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedSpots(Spots):
    """Where reflections are expected, and how strong, (n,) each.

    excitation_error: of the lattice point outside the Ewald sphere at ``phi``, 1/m. partiality: of the reflection, what passes the sphere
    during the sweep; of a still, the section of the lattice point with the sphere, over the largest. intensity: photons all in all.
    """

    excitation_error: Array
    partiality: Array
    intensity: Array


def predict(experiment: Experiment, d_min: float | None = None) -> PredictedSpots:
    """Every reflection that is expected on the detector, with its place, partiality and intensity, without rendering.

    A lattice point is a ball of the radius r over which crystal size and mosaic spread smear it across the sphere (Rossmann et al.,
    J. Appl. Cryst. 12, 570-581, 1979): of a point that is e outside, q = (e + r) / 2r of the diameter, 3 q^2 - 2 q^3 of the volume
    is outside. A crystal that is a parallelepiped of N cells of volume V gives, in all that passes the sphere at a speed v in a
    sweep w, fluence r_e^2 |F|^2 P N wavelength^2 / (V v w) photons; a still has 3/4r for the 1 / (v w) of the largest section.

    d_min: m; default: dmin of the experiment, else the best resolution that the detector sees. Raises ParameterError for a cell so large
    that there are too many reflections.
    """
    spots = predicted_spots(experiment, d_min)
    F = amplitudes(experiment, spots.hkl)
    found = [
        expected(one, Spots(**{f.name: getattr(spots, f.name)[here] for f in fields(Spots)}), F[here])
        for one, here in ((one, spots.panel == number) for number, one in enumerate(experiment.by_panel))
    ]
    return PredictedSpots(**{f.name: np.concatenate([getattr(one, f.name) for one in found]) for f in fields(PredictedSpots)})


def expected(experiment: Experiment, spots: Spots, F: Array) -> PredictedSpots:
    """The same of spots on one panel, of these amplitudes."""
    r = spots.hkl @ experiment.unit_cell.reciprocal
    error, radius = (of(experiment, r, spots.phi[:, np.newaxis])[:, 0] for of in (excitation, smear))
    speed, width = np.abs(passing(experiment, r, spots.phi)), experiment.goniometer.scan.oscillation
    if width > 0.0:
        partiality = passed(experiment, spots.phi, error, radius, passing(experiment, r, spots.phi))
        with np.errstate(divide="ignore"):
            dwell = np.minimum(1.0 / (speed * width), 0.75 / radius)  # along the spindle's axis a point does not pass at all
    else:
        partiality, dwell = np.clip(1.0 - (error / radius) ** 2, 0.0, 1.0), 0.75 / radius
    placed = {f.name: getattr(spots, f.name) for f in fields(spots)}
    intensity = partiality * dwell * scattered(experiment, spots, F)
    return PredictedSpots(**placed, excitation_error=error, partiality=partiality, intensity=intensity)


def passing(experiment: Experiment, r: Array, phi: Array) -> Array:
    """How fast lattice points (n, 3) go outwards through the sphere at angles phi (n,), 1/m per rad: d|s0 + r| / dphi."""
    here = turned(experiment, r, phi[:, np.newaxis])[:, 0]
    s = experiment.frame.incident / experiment.beam.wavelength + here
    return np.asarray(dot(s, cross(experiment.frame.spindle_axis, here)) / np.linalg.norm(s, axis=1))


def passed(experiment: Experiment, phi: Array, error: Array, radius: Array, speed: Array) -> Array:
    """The part of balls of a radius that goes through the sphere from the beginning of the sweep to its end."""
    begin = experiment.goniometer.phi_start
    end = begin + experiment.goniometer.scan.oscillation
    before, after = (outside((error + speed * (angle - phi)) / radius) for angle in (begin, end))
    return np.abs(after - before)


def outside(e: Array) -> Array:
    """The part of a ball of radius 1 whose middle is e outside a plane."""
    q = np.clip((e + 1.0) / 2.0, 0.0, 1.0)
    return np.asarray(q * q * (3.0 - 2.0 * q))


def scattered(experiment: Experiment, spots: Spots, F: Array) -> Array:
    """What a crystal scatters into each reflection: fluence r_e^2 |F|^2 P N wavelength^2 / V, in 1/m."""
    cells = experiment.blocks * float(np.prod(experiment.cells))
    crystal = experiment.beam.wavelength**2 * cells / experiment.unit_cell.volume
    return np.asarray(experiment.beam.photons_per_area * THOMSON_SQUARED * F * F * polarization(experiment, spots) * crystal)


def amplitudes(experiment: Experiment, hkl: NDArray[np.int64]) -> Array:
    """|F| of reflections (n, 3), electrons: of the last that is listed, else the default."""
    factors, F = experiment.structure_factors, experiment.amplitudes
    if factors.hkl is None or F is None:
        return np.full(len(hkl), abs(factors.default_F))
    listed = dict(zip(map(tuple, factors.hkl.tolist()), F.tolist(), strict=True))
    return np.abs([listed.get(tuple(index), factors.default_F) for index in hkl.tolist()])


def polarization(experiment: Experiment, spots: Spots) -> Array:
    """Kahn's factor (POL-1, POL-2) of the rays to the middles of spots; 1 where the experiment does without."""
    if experiment.model.stages.get("polarization") == "none":
        return np.ones(len(spots.hkl))
    frame, pixel = experiment.frame, experiment.detector.pixel_size
    place = frame.pix0 + ((spots.fast + 0.5) * pixel)[:, np.newaxis] * frame.fast_axis
    place = place + ((spots.slow + 0.5) * pixel)[:, np.newaxis] * frame.slow_axis
    ray = place / np.linalg.norm(place, axis=1, keepdims=True)
    B = unit(cross(frame.polarization_axis, frame.incident))
    E, cosine = cross(frame.incident, B), dot(ray, frame.incident)
    return np.asarray(0.5 * (1.0 + cosine**2 - experiment.beam.polarization_fraction * (dot(ray, E) ** 2 - dot(ray, B) ** 2)))
