"""The photon budget of an image by resolution, without rendering: crystal, backgrounds, noise, and what is left of a spot (BKG-20)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.experiment.rocking import divergence
from nbnumba.geometry.spots import PredictedSpots, predict
from nbnumba.response.chain import with_parameters
from nbnumba.simulation.background import curve_of, parameters_of_all
from nbnumba.simulation.scene import Scene
from nbnumba.simulation.simulator import BRAGG
from nbnumba.simulation.variance import Variance
from nbnumba.stages.chosen import prepared
from nbnumba.stages.kinds import Response

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SHELLS = 10
LOOKS = 4000  # pixels of all panels that are looked at
MOST_REFLECTIONS = 2e6  # within the resolution of the detector
Array = NDArray[np.float64]


class Rays(NamedTuple):
    """Of pixels here and there: stol (1/m), what multiplies a cross section (sr), and how many pixels each stands for."""

    stol: Array
    weight: Array
    pixels: Array


def photon_budget(experiment: Experiment, scenes: Sequence[Scene]) -> dict[str, Any]:
    """By shells of equal volume in reciprocal space: photons of a pixel by origin, their noise, and I/sigma of a spot.

    A spot is as wide as mosaic spread, divergence and the crystal's size make it, and a pixel more. Noise is that of the responses. Of the
    beam the mean wavelength and direction are taken. Without the constant water of the scaling.
    """
    found = [rays_of(scene, LOOKS // len(scenes)) for scene in scenes]
    rays = Rays(*(np.concatenate(part) for part in zip(*found, strict=True)))
    edges = np.cbrt(np.linspace((2.0 * rays.stol.min()) ** 3, (2.0 * rays.stol.max() * (1.0 + 1e-9)) ** 3, SHELLS + 1))
    pixels = in_shells(2.0 * rays.stol, edges, rays.pixels)
    backgrounds = {
        stage.name: divided(in_shells(2.0 * rays.stol, edges, rays.pixels * photons), pixels)
        for stage, photons in photons_of(experiment, scenes, rays).items()
    }
    table: dict[str, Any] = {"d_min_A": 1e10 / edges[1:], "pixels": pixels}
    try:
        refuse_too_many(experiment)
        spots = predict(experiment)
    except ParameterError as error:
        return listed(table | per_pixel(backgrounds)) | {"without_spots": [str(error)]}
    d_star = np.linalg.norm(spots.hkl @ experiment.unit_cell.reciprocal, axis=1)
    bragg = divided(in_shells(d_star, edges, spots.intensity), pixels)
    below = sum(backgrounds.values(), np.zeros(SHELLS))
    variance = variance_of(scenes[0])
    return listed(table | per_pixel({BRAGG: bragg, **backgrounds}) | noise(experiment, variance, spots, d_star, edges, bragg, below))


def variance_of(scene: Scene) -> Callable[[Array], Array]:
    """Of pixels of so many photons: the same number, where they are counted and no more."""
    stages = scene.stages.responses
    if [stage.name for stage in stages] == Response.of.usual.split(","):
        return lambda photons: np.maximum(photons, 0.0)
    return Variance(with_parameters(stages, scene.experiment)).of


def noise(
    experiment: Experiment,
    variance: Callable[[Array], Array],
    spots: PredictedSpots,
    d_star: Array,
    edges: Array,
    bragg: Array,
    below: Array,
) -> dict[str, Any]:
    """Of a pixel, and of spots."""
    area = spot_pixels(experiment)
    shell = np.clip(np.searchsorted(edges, d_star, "right") - 1, 0, SHELLS - 1)
    sigma = np.sqrt(np.maximum(area * variance(spots.intensity / area + below[shell]), 1e-300))
    count = in_shells(d_star, edges, np.ones(len(d_star)))
    return {
        "noise_per_pixel": np.sqrt(variance(bragg + below)),
        "reflections": count,
        "photons_of_a_reflection": divided(in_shells(d_star, edges, spots.intensity), count),
        "I_over_sigma": divided(in_shells(d_star, edges, spots.intensity / sigma), count),
        "pixels_of_a_spot": area,
    }


def rays_of(scene: Scene, looks: int) -> Rays:
    """Of pixels of a panel, evenly over its region."""
    first_fast, last_fast, first_slow, last_slow = scene.area.roi
    step = max(1, math.isqrt(max(1, (last_fast + 1 - first_fast) * (last_slow + 1 - first_slow) // max(1, looks))))
    places = [(f, s) for s in range(first_slow, last_slow + 1, step) for f in range(first_fast, last_fast + 1, step)]
    if (mask := scene.area.mask) is not None:
        places = [(f, s) for f, s in places if mask[s, f]] or places[:1]
    stol, weight = np.array([ray_of(scene, f + 0.5, s + 0.5) for f, s in places]).T
    return Rays(stol, weight, np.full(len(places), scene.area.pixels / len(places)))


def ray_of(scene: Scene, fast: float, slow: float) -> tuple[float, float]:
    """sin(theta)/wavelength, and solid angle times all that multiplies what is scattered there, of all layers."""
    sources, parameters, total = scene.experiment.source_list, scene.parameters, 0.0
    i, wavelength = scene.experiment.frame.incident, float(np.average(sources.wavelength, weights=sources.weight))
    for layer in range(int(parameters["geometry"].layers)):
        dx, dy, dz, solid_angle, capture = scene.stages["geometry"].function(parameters["geometry"], fast, slow, layer)
        ray = (*i.tolist(), dx, dy, dz)
        weight = solid_angle * capture * scene.stages["polarization"].function(parameters["polarization"], *ray)
        for factor, p in zip(scene.stages.factors_of_all, parameters_of_all(scene), strict=False):
            weight *= factor.function(p, *ray, wavelength)
        total += weight
    return float(np.linalg.norm(np.array([dx, dy, dz]) - i) / 2.0 / wavelength), total


def photons_of(experiment: Experiment, scenes: Sequence[Scene], rays: Rays) -> dict[Any, Array]:
    """Photons of every background stage in these pixels."""
    sources = experiment.source_list
    wavelength = float(np.average(sources.wavelength, weights=sources.weight))
    per_area = experiment.beam.photons_per_area * rays.weight
    stages = [stage for stage in scenes[0].stages.backgrounds if stage.photons is None]
    curves = (curve_of([stage], [prepared(stage, experiment)], wavelength) for stage in stages)
    return {stage: per_area * curve(rays.stol * wavelength) for stage, curve in zip(stages, curves, strict=True)}


def spot_pixels(experiment: Experiment) -> float:
    """Pixels of a spot."""
    detector, beam = experiment.by_panel[0].detector, experiment.beam
    cells = [n * edge for n, edge in zip(experiment.cells, experiment.unit_cell.lengths_and_angles, strict=False)]
    angle = math.sqrt((2.0 * experiment.mosaic[0]) ** 2 + divergence(experiment) ** 2 + (beam.wavelength / min(cells)) ** 2)
    size = max(experiment.illuminated or cells)
    return float((1.0 + (angle * abs(experiment.by_panel[0].frame.distance) + size) / detector.pixel_size) ** 2)


def refuse_too_many(experiment: Experiment) -> None:
    """Raises ParameterError for so many reflections that it takes long to predict them."""
    finest = max(experiment.finest_d, experiment.sampling.dmin)
    if (expected := 4.0 / 3.0 * math.pi * experiment.unit_cell.volume / finest**3) > MOST_REFLECTIONS:
        raise ParameterError("crystal.cell", f"has {expected:.2g} reflections to {finest * 1e10:.3g} A: spots are left out; give -dmin")


def in_shells(d_star: Array, edges: Array, amounts: Array) -> Array:
    return np.asarray(np.histogram(d_star, edges, weights=amounts)[0])


def divided(amounts: Array, counts: Array) -> Array:
    """0 where there is nothing."""
    return np.asarray(np.divide(amounts, counts, out=np.zeros(len(counts)), where=counts > 0))


def per_pixel(photons: dict[str, Array]) -> dict[str, Array]:
    return {f"{name}_per_pixel": of_shells for name, of_shells in photons.items()}


def listed(table: dict[str, Any]) -> dict[str, Any]:
    """With lists of numbers of four digits."""
    return {name: tuple(float(f"{v:.4g}") for v in value) if np.ndim(value) else float(f"{value:.4g}") for name, value in table.items()}
