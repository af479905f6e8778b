"""Samples until spots are as near as is asked for (EXP-63)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nbnumba.errors import ParameterError
from nbnumba.experiment.experiment import MOST_SAMPLES, MOST_SUBPIXELS
from nbnumba.experiment.rocking import covering_steps
from nbnumba.simulation.sampling_error import REPLICATES, SamplingError, sampling_error, strongest
from nbnumba.simulation.simulator import Simulator

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

MOST_TERMS = 5e9  # of the replicates of a trial, some ten seconds of a core
MOST_ORIENTATIONS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """An experiment with as many samples as it takes, how far off its spots are then, and whether that is as near as was asked for."""

    experiment: Experiment
    error: SamplingError
    met: bool

    def __str__(self) -> str:
        experiment, scan = self.experiment, self.experiment.goniometer.scan
        per_pixel = f"{experiment.oversample} x {experiment.oversample} sub-pixels"
        return f"{experiment.mosaic[1]} mosaic domains, {scan.steps} phi steps, {per_pixel}: spots are off by {self.error}"


def sampled_to(experiment: Experiment, accuracy: float, simulator: Simulator | None = None) -> Sampled:
    """The experiment with samples added until the strongest spots are off by no more than a fraction of their photons, as estimated.

    What is off the most is doubled, domains and phi steps or sub-pixels, as long as the replicates that the estimate takes are affordable.
    simulator: what renders them; default: one on the CPU. Raises ParameterError for an accuracy that is no fraction, NotEstimatedError.
    """
    if not 0.0 < accuracy <= 1.0:
        raise ParameterError("accuracy", f"{accuracy!r}: must be greater than 0 and at most 1")
    simulator, pixels = simulator or Simulator(), sum(spot.width**2 for spot in strongest(experiment))
    while (error := sampling_error(experiment, simulator)).total > accuracy:
        more = next((one for one in doubled(experiment, error) if is_affordable(one, pixels)), None)
        if more is None:
            return Sampled(experiment=experiment, error=error, met=False)
        experiment = more
    return Sampled(experiment=experiment, error=error, met=True)


def is_affordable(experiment: Experiment, pixels: int) -> bool:
    """Whether replicates of so many pixels, and an image, can be rendered."""
    orientations = experiment.mosaic[1] * experiment.goniometer.scan.steps
    trial = 2.0 * REPLICATES * pixels * experiment.steps * experiment.layers[0]
    return trial <= MOST_TERMS and orientations <= MOST_ORIENTATIONS and experiment.terms <= MOST_SAMPLES


def doubled(experiment: Experiment, error: SamplingError) -> list[Experiment]:
    """With twice as many of what spots are off by the most for want of."""
    return with_orientations(experiment) if error.orientations >= error.subpixels else with_subpixels(experiment)


def with_subpixels(experiment: Experiment) -> list[Experiment]:
    """Along both axes together."""
    oversample = math.ceil(math.sqrt(2.0) * experiment.oversample)
    if oversample > MOST_SUBPIXELS:
        return []
    return [replace(experiment, sampling=replace(experiment.sampling, oversample=oversample))]


def with_orientations(experiment: Experiment) -> list[Experiment]:
    """Domains, which have phi of their own where steps are sampled whole; else phi steps until they cover a rocking curve, then domains."""
    goniometer, crystal, scan = experiment.goniometer, experiment.crystal, experiment.goniometer.scan
    has_domains = experiment.mosaic[1] > 1
    if has_domains and (experiment.samples_whole_steps or scan.steps >= covering_steps(experiment)):
        return [replace(experiment, crystal=replace(crystal, mosaic_domains=2 * experiment.mosaic[1]))]
    if scan.step == 0.0:
        return []
    steps = replace(goniometer, oscillation=scan.oscillation, phi_steps=2 * scan.steps, phi_step=scan.step / 2.0)
    return [replace(experiment, goniometer=steps)]
