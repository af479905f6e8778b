"""The photons of an image before it is rendered: of reflections, of the background, and how well they can be measured (CLI-124)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.experiment.vectors import Array
from nbnumba.geometry.prediction import smear
from nbnumba.geometry.spots import PredictedSpots, predict
from nbnumba.image.image import Block
from nbnumba.response.chain import Prepared, responded, with_parameters
from nbnumba.response.counts import INT32
from nbnumba.response.readout import Frame, Readout

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.image.image import Image
    from nbnumba.simulation.simulator import Simulator

SHELLS = 10
NO_CRYSTAL = StructureFactors(default_F=1e-200)  # whose square is 0
EDGE, MARGIN, BOX = 256, 32, 4  # pixels of the flat images that responses are tried on, of their margins, of squares that are added up
LEVELS = (0.0, *10.0 ** np.linspace(-2.0, 7.0, 55))  # photons of a pixel, so close that a line between them is good for a square
UNKNOWN = 1e200
OFFSET = 1000.0  # counts, so that nothing is cut off at 0, and little where counts end


def budget(experiment: Experiment, simulator: Simulator) -> dict[str, Any]:
    """Photons of all reflections and of the background, and by resolution shell what a reflection has of both, and its I / sigma."""
    spots = predict(experiment)
    empty = simulator.image(without_crystal(experiment))
    noise = Noise(with_parameters(empty.responses, experiment))
    measured = list(shells(experiment, spots, *over_spots(experiment, spots, empty), noise))
    return {
        "photons_of_reflections": float(spots.intensity.sum()),
        "photons_of_background": float(empty.sum()),
        "noise_of_a_dark_pixel_in_photons": math.sqrt(noise.variance(np.zeros(1))[0]),
        "shells": {f"{name} A": values for name, values in measured},
    }


def without_crystal(experiment: Experiment) -> Experiment:
    """What scatters besides it, which takes no samples."""
    return experiment.changing(
        structure_factors=NO_CRYSTAL,
        crystal=replace(experiment.crystal, mosaic_spread=0.0, mosaic_domains=1),
        goniometer=replace(experiment.goniometer, phi_steps=1, phi_step=None),
        sampling=replace(experiment.sampling, oversample=1),
        spots=type(experiment.spots)(),
    )


def over_spots(experiment: Experiment, spots: PredictedSpots, empty: Image) -> tuple[Array, Array]:
    """Background of a pixel at each spot, and how many pixels the spot has: a disc of what smears the reflection, and of a pixel."""
    background, pixels = np.zeros(len(spots.hkl)), np.ones(len(spots.hkl))
    for number, (panel, image) in enumerate(zip(experiment.by_panel, empty.panels, strict=True)):
        here = np.flatnonzero(spots.panel == number)
        at = [np.clip(np.rint(c[here]).astype(int), 0, n - 1) for c, n in zip((spots.slow, spots.fast), image.shape, strict=True)]
        background[here] = image.pixels[tuple(at)]
        r = spots.hkl[here] @ panel.unit_cell.reciprocal
        radius = smear(panel, r, spots.phi[here, np.newaxis])[:, 0]
        pixels[here] = math.pi / 4.0 * (1.0 + 2.0 * radius * panel.beam.wavelength * away(panel, *at) / panel.detector.pixel_size) ** 2
    return background, pixels


def away(panel: Experiment, slow: NDArray[np.int64], fast: NDArray[np.int64]) -> Array:
    """How far pixels are from the crystal, in m."""
    frame, size = panel.frame, panel.detector.pixel_size
    place = frame.pix0 + np.outer(fast + 0.5, frame.fast_axis * size) + np.outer(slow + 0.5, frame.slow_axis * size)
    return np.asarray(np.linalg.norm(place, axis=1))


class Noise:
    """What a chain of responses makes of the variance of flat images, tried on some: in photons, added up over squares of pixels."""

    def __init__(self, stages: Prepared) -> None:
        tried = [squares(stages, level) for level in LEVELS]
        means, levels = np.array([found.mean() for found in tried]), np.array(LEVELS)
        slopes, one = np.gradient(means, levels), int(np.searchsorted(levels, 1.0))
        slopes[:one] = (means[one] - means[0]) / levels[one]  # of fewer photons too few are counted to tell
        variances = np.array([found.var() for found in tried]) * BOX**2 / np.maximum(slopes, 1e-9) ** 2
        self._variances = np.where(slopes > 1e-3 * slopes[0], variances, UNKNOWN)  # where counts end, photons are not measured

    def variance(self, photons: Array) -> Array:
        """Of pixels of so many photons."""
        return np.asarray(np.interp(photons, LEVELS, self._variances))


def squares(stages: Prepared, level: float) -> Array:
    """Mean counts of squares of pixels of a flat image; of those that have counts in every pixel."""
    values = np.full((EDGE, EDGE), level)
    everything = np.s_[0:EDGE, 0:EDGE]
    frame = Frame(Readout(1, 1.0, OFFSET, 1, INT32), Block(everything[0], values, everything))
    counts = np.vstack([found for _, found in responded(stages, frame)])[MARGIN:-MARGIN, MARGIN:-MARGIN]
    means = counts.reshape(-1, BOX, counts.shape[1] // BOX, BOX).mean(axis=(1, 3))
    return np.asarray(means[np.isfinite(means)], np.float64)


def shells(
    experiment: Experiment, spots: PredictedSpots, background: Array, pixels: Array, noise: Noise
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Shells of equal volume with what a reflection in them has on average; those of no photons are left out."""
    lit = spots.intensity > 0.0
    cubed = np.linalg.norm(spots.hkl @ experiment.unit_cell.reciprocal, axis=1) ** 3
    edges = np.linspace(0.0, cubed[lit].max(initial=0.0), SHELLS + 1)
    variance = pixels * noise.variance(background + spots.intensity / pixels)
    for low, high in pairwise(edges):
        here = np.flatnonzero(lit & (cubed > low) & (cubed <= high))
        if here.size:
            yield (
                " - ".join("inf" if edge == 0.0 else f"{1e10 * edge ** (-1.0 / 3.0):.2f}" for edge in (low, high)),
                {
                    "reflections": int(here.size),
                    "photons": float(spots.intensity[here].mean()),
                    "background_of_a_pixel": float(background[here].mean()),
                    "pixels_of_a_spot": float(pixels[here].mean()),
                    "I_over_sigma": float((spots.intensity[here] / np.sqrt(np.maximum(variance[here], 1e-300))).mean()),
                },
            )
