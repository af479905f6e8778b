"""How wide a rocking curve is, and in how many phi steps a sweep has to be divided so that none falls between two of them (EXP-20)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.errors import ParameterError

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

LOOKS = 200  # Bragg angles that are looked at
UNDIVIDED = 2  # phi steps of an image that nobody has divided (EXP-6)
LEAST, MOST = 10, 1000  # that are chosen for one which they do not cover


def rocking_width(experiment: Experiment) -> float:
    """Spindle angle in rad over which the reflection lights up that does so for the shortest time, of those that the detector sees.

    At the Bragg angle theta a lattice point passes the Ewald sphere at sin(2 theta) / wavelength in a radian, at the fastest. What it is
    smeared over: the reciprocal length of the crystal; the mosaic cap, both ways; divergence; the spectrum, by tan(theta).
    """
    spread, domains = experiment.mosaic
    return width_of_a_domain(experiment) + (2.0 * spread if domains > 1 else 0.0)


def width_of_a_domain(experiment: Experiment) -> float:
    """The same of one mosaic domain alone."""
    wavelength = experiment.beam.wavelength
    longest = max(n * edge for n, edge in zip(experiment.cells, experiment.unit_cell.lengths_and_angles, strict=False))
    finest = max(experiment.finest_d, experiment.sampling.dmin)
    theta = math.asin(min(wavelength / (2.0 * finest), 1.0)) * np.arange(1, LOOKS + 1) / LOOKS
    by_size = wavelength / (longest * np.maximum(np.sin(2.0 * theta), 1e-9))
    return float((by_size + divergence(experiment) + dispersion(experiment) * np.tan(theta)).min())


def divergence(experiment: Experiment) -> float:
    """Full angle in rad over which the sources' beams spread."""
    incident = experiment.source_list.incident
    return 2.0 * float(np.linalg.norm(incident - incident.mean(axis=0), axis=1).max())


def dispersion(experiment: Experiment) -> float:
    """Full range of the sources' wavelengths over their mean."""
    wavelength = experiment.source_list.wavelength
    return float(np.ptp(wavelength) / wavelength.mean())


def covering_steps(experiment: Experiment) -> int:
    """Phi steps of the sweep that are no wider than the narrowest rocking curve."""
    return max(1, math.ceil(min(experiment.goniometer.scan.oscillation / rocking_width(experiment), 1e9)))


def covering_orientations(experiment: Experiment) -> int:
    """Orientations, phi steps times domains, of which each lights up a part of its own of the sweep and the mosaic cap, without a gap."""
    spread, _ = experiment.mosaic
    return math.ceil(min((experiment.goniometer.scan.oscillation + 2.0 * spread) / width_of_a_domain(experiment), 1e12))


def chosen_steps(experiment: Experiment) -> int | None:
    """Phi steps for an image that nobody has divided; None where the usual ones cover it, or where there is no crystal."""
    goniometer = experiment.goniometer
    if not goniometer.oscillation or goniometer.phi_steps is not None or goniometer.phi_step is not None:
        return None
    try:
        steps = covering_steps(experiment)
    except ParameterError:  # which is told where it matters
        return None
    return min(max(steps, LEAST), MOST) if steps > UNDIVIDED else None
