"""What background stages add to an image, per pixel, after the sum over the crystal's terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaError, NotAvailableError, ParameterError, StageError
from nbnumba.experiment.by_value import same
from nbnumba.experiment.vectors import unit
from nbnumba.image.image import Layer, shape_of
from nbnumba.kernel.cpu.background import Samples
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.kernel.device import Physics
from nbnumba.kernel.panels import Panels
from nbnumba.kernel.product import NoFactor, product
from nbnumba.kernel.profile import Beams, Pieces, Profile, pieces_of, profile_of
from nbnumba.simulation.scene import SMALL, Scene, brightness_of, choose_stages
from nbnumba.simulation.together import in_image, launches
from nbnumba.stages.chosen import FACTORS, prepared
from nbnumba.stages.kinds import Factor
from nbnumba.stages.registry import StageSource, registry_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.source_list import SourceList
    from nbnumba.stages.kinds import BackgroundStage

Array = NDArray[np.float64]
FEW_DIRECTIONS, MOST_RAYS, NARROW = 4, 3e8, 5e-3  # of sources; of pixels times these; rad
EVENLY = np.arange(1, 601) * 5e7  # 1/m: knots of a stage that states none, to 3 1/A


class BackgroundPhotons:
    """Photons of background stages, those of the last time for as long as all that they follow from is the same: of a sweep once."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._device: Cpu | None = None
        self._last: tuple[Any, Array] | None = None

    def of(self, experiment: Experiment, scenes: Sequence[Scene]) -> Array | None:
        """Of all stages that the scenes have, shaped as the image is; None where there is none. Nobody may write to it."""
        stages = scenes[0].stages.backgrounds
        if not stages:
            return None
        follows_from = what_it_follows_from(experiment, scenes, stages)
        if self._last is None or not same(self._last[0], follows_from):
            photons = self.scattered(experiment, scenes, stages)
            photons.setflags(write=False)
            self._last = follows_from, photons
        return self._last[1]

    def layers(self, experiment: Experiment, scenes: Sequence[Scene]) -> tuple[Layer, ...]:
        """Those of each stage alone."""
        stages = scenes[0].stages.backgrounds
        return tuple(Layer(stage.name, self.scattered(experiment, scenes, [stage])) for stage in stages)

    def scattered(self, experiment: Experiment, scenes: Sequence[Scene], stages: Sequence[BackgroundStage]) -> Array:
        """What these stages scatter, and the photons that they have of their own."""
        self._device = self._device or Cpu(self._threads)
        parameters, photons = [prepared(stage, experiment) for stage in stages], np.zeros(shape_of(experiment))
        profile = profile_of_stages(stages, parameters, scenes)
        for samples, panels, scene in work_of(scenes):
            self._device.scatter_background(physics_of(scene), samples, profile, panels, photons)
        for stage, p in zip(stages, parameters, strict=True):
            if stage.photons is not None:
                photons += where_rendered(given_photons(stage, p, photons.shape), scenes)
        return photons


def what_it_follows_from(experiment: Experiment, scenes: Sequence[Scene], stages: Sequence[BackgroundStage]) -> tuple[Any, ...]:
    """All that decides over the background, to be compared with that of another image."""
    places = tuple((scene.area, scene.parameters["geometry"], oversample_of(scene)) for scene in scenes)
    first = scenes[0]
    rays = first.parameters["polarization"], parameters_of_all(first), first.experiment.source_list, brightness_of(first.experiment)
    return tuple(stages), tuple(prepared(stage, experiment) for stage in stages), places, rays, experiment.beam, first.stages.names()


def work_of(scenes: Sequence[Scene]) -> Iterator[tuple[Samples, Panels, Scene]]:
    """What is done together: panels that differ by their places alone, and have as many samples."""
    areas = in_image(scenes)
    for launch in launches(scenes):
        for oversample, numbers in groupby(launch, lambda n: oversample_of(scenes[n])):
            here = list(numbers)
            scene = scenes[here[0]]
            samples = Samples(oversample, int(scene.parameters["geometry"].layers), scene.experiment.beam.photons_per_area / oversample**2)
            yield samples, Panels(tuple(scenes[n].parameters["geometry"] for n in here), tuple(areas[n] for n in here)), scene


def physics_of(scene: Scene) -> Physics:
    """What is left of the scene's stages where there is no crystal."""
    factors = scene.stages.factors_of_all
    functions = {**scene.physics.functions, FACTORS: product(tuple(stage.function for stage in factors), Factor.of.arguments)}
    return Physics(functions, {**scene.parameters, FACTORS: parameters_of_all(scene)})


def parameters_of_all(scene: Scene) -> tuple[Any, ...]:
    """What those factors have prepared that background stages have, too."""
    prepared_by = zip(scene.stages.factors, scene.parameters[FACTORS], strict=False)
    return tuple(p for stage, p in prepared_by if stage in scene.stages.factors_of_all) or (NoFactor(),)


def oversample_of(scene: Scene) -> int:
    """Sub-pixels along each axis of a pixel (BKG-2)."""
    experiment = scene.experiment
    if experiment.background.oversample is not None:
        return experiment.background.oversample
    return 1 if experiment.detector.pixel_size <= SMALL * abs(experiment.frame.close_distance) else experiment.oversample


def profile_of_stages(stages: Sequence[BackgroundStage], parameters: Sequence[Any], scenes: Sequence[Scene]) -> Profile:
    """The sum of the stages' scattering curves, for the beams of an experiment."""
    return profile_of(partial(curve_of, stages, parameters), beams_of(scenes))


def curve_of(stages: Sequence[BackgroundStage], parameters: Sequence[Any], wavelength: float) -> Pieces:
    """The sum of scattering curves (m^2/sr) by sin(theta), for a wavelength."""
    knots = [EVENLY if stage.knots is None else answer(stage, "knots", p) for stage, p in zip(stages, parameters, strict=True)]

    def curve(sine: Array) -> Array:
        total, stol = np.zeros(sine.shape), sine / wavelength
        for stage, p in zip(stages, parameters, strict=True):
            total += answer(stage, "function", p, stol, wavelength, shape=stol.shape)
        return total

    return pieces_of(curve, np.concatenate(knots) * wavelength)


def beams_of(scenes: Sequence[Scene]) -> list[Beams]:
    """The sources by direction; with factors, which know the wavelength, one by one; very many that are close to each other as four."""
    sources = scenes[0].experiment.source_list
    share = brightness_of(scenes[0].experiment) / len(sources.wavelength)
    factors = scenes[0].stages.factors_of_all
    by = sources.incident if not factors else np.column_stack([sources.incident, sources.wavelength])
    group = np.unique(by, axis=0, return_inverse=True)[1].reshape(-1)
    count = int(group.max()) + 1
    if not factors and count > FEW_DIRECTIONS and count * rays_of(scenes) > MOST_RAYS and is_narrow(sources.incident):
        return condensed(sources, share)
    members = (np.flatnonzero(group == number) for number in range(count))
    return [Beams(sources.incident[here[0]], *lines_of(sources.wavelength[here], share[here])) for here in members]


def lines_of(wavelength: Array, share: Array) -> tuple[Array, Array]:
    """Each wavelength once, with its share."""
    lines, which = np.unique(wavelength, return_inverse=True)
    return lines, np.bincount(which.reshape(-1), share).astype(np.float64)


def rays_of(scenes: Sequence[Scene]) -> int:
    """To all sub-pixels and layers."""
    return sum(scene.area.pixels * int(scene.parameters["geometry"].layers) * oversample_of(scene) ** 2 for scene in scenes)


def is_narrow(incident: Array) -> bool:
    """Whether directions are within a few mrad of their mean."""
    return bool(np.linalg.norm(incident - incident.mean(axis=0), axis=1).max() < NARROW)


def condensed(sources: SourceList, share: Array) -> list[Beams]:
    """Four directions with the mean of all and their variances, to the third order: m +- sqrt(2) sigma along the two axes of these."""
    weight = share / share.sum()
    mean = weight @ sources.incident
    away = sources.incident - mean
    variance, axes = np.linalg.eigh((weight[:, np.newaxis] * away).T @ away)
    lines, shares = lines_of(sources.wavelength, share)
    steps = [sign * np.sqrt(2.0 * max(variance[n], 0.0)) * axes[:, n] for n in (1, 2) for sign in (-1.0, 1.0)]
    return [Beams(unit(mean + step), lines, 0.25 * shares) for step in steps]


def answer(stage: BackgroundStage, name: str, *given: Any, shape: tuple[int, ...] | None = None) -> Array:
    """What a function of a stage returns, as numbers. Raises StageError where these are none, or of another shape."""
    try:
        found = np.asarray(getattr(stage, name)(*given), np.float64)
    except NbnumbaError:
        raise
    except Exception as error:
        raise StageError(f"{stage}: {name}: {type(error).__name__}: {error}") from error
    if not np.isfinite(found).all() or (shape is not None and found.shape != shape):
        raise StageError(f"{stage}: {name}: returned numbers {found.shape} that are not finite, or not {shape}")
    return found


def given_photons(stage: BackgroundStage, p: Any, shape: tuple[int, ...]) -> Array:
    """The photons that a stage has of its own, shaped as the image is. Raises ParameterError for those of another image."""
    photons = answer(stage, "photons", p)
    if photons.shape != shape and (len(shape) == 2 or photons.size != shape[0]):
        wanted = f"{shape} [slow, fast]" if len(shape) == 2 else f"{shape[0]} pixels of all panels"
        raise ParameterError("material.photons", f"have the shape {photons.shape}, the image {wanted}")
    return photons.reshape(shape)


def where_rendered(photons: Array, scenes: Sequence[Scene]) -> Array:
    """The same, and zeros where nothing is rendered."""
    found = np.zeros(photons.size)
    for area in in_image(scenes):
        here = slice(area.at, area.at + area.shape[0] * area.shape[1])
        first_fast, last_fast, first_slow, last_slow = area.roi
        wanted = np.zeros(area.shape, bool)
        wanted[first_slow : last_slow + 1, first_fast : last_fast + 1] = True
        found[here] = np.where(wanted if area.mask is None else wanted & area.mask, photons.ravel()[here].reshape(area.shape), 0.0).ravel()
    return found.reshape(photons.shape)


def refuse_backgrounds(experiment: Experiment, stages: StageSource, what: str) -> None:
    """Refuse stages of the background where they would be left out without a word. Raises NotAvailableError."""
    if chosen := choose_stages(experiment, registry_of(stages)).backgrounds:
        raise NotAvailableError(f"{chosen[0]} has no part in {what}; leave it out, or add its photons yourself (Image.layers)")
