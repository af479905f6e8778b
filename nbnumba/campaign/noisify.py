"""Exposures of an image of photons: what a detector counts of it, as often as one likes (CLI-120)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.campaign.sweep import Counting
from nbnumba.campaign.write import pixels_of_detector
from nbnumba.formats.format import unstacked
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image.image import Image
from nbnumba.options.masks import with_masks
from nbnumba.response.chain import gain_of, responses_of
from nbnumba.response.counts import CountRange
from nbnumba.simulation.background import BackgroundPhotons
from nbnumba.simulation.scene import choose_stages, scenes_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.geometry.exposure import Exposure
    from nbnumba.stages.registry import Registry


SOME_CELL = (1e-8, 1e-8, 1e-8, math.pi / 2.0, math.pi / 2.0, math.pi / 2.0)


class Taken(NamedTuple):
    """Counts, [slow, fast]; what the file says of them; how many are more than it holds."""

    counts: NDArray[Any]
    exposure: Exposure
    cut: int


def image_of(photons: NDArray[Any], experiment: Experiment, registry: Registry) -> Image:
    """Photons and those of background stages as an image of the experiment, with the responses that it chooses; below 0 is not measured.

    photons: [slow, fast], of several panels in any form that write_image takes. Raises ParameterError, StageError.
    """
    pixels = pixels_of_detector(photons, experiment)
    if pixels.min() < 0.0:
        shapes = [panel.detector.shape for panel in experiment.by_panel]
        rows = pixels.reshape(photons.shape) if len(shapes) == 1 else photons
        experiment = with_masks(experiment, (part >= 0 for part in unstacked(rows, shapes)))
    pixels, chosen = np.maximum(pixels, 0.0), choose_stages(experiment, registry)
    if chosen.backgrounds:
        there = of_some_crystal(experiment)
        pixels += BackgroundPhotons(None).of(there, scenes_of(there, registry))
    return Image(pixels, experiment, {}, responses=chosen.responses)


def of_some_crystal(experiment: Experiment) -> Experiment:
    """With a cell where none is given: scenes have one, and backgrounds do not depend on it."""
    if experiment.crystal.cell is not None or experiment.crystal.has_matrix:
        return experiment
    return replace(experiment, crystal=replace(experiment.crystal, cell=SOME_CELL))


def exposures(image: Image, counting: Counting, numbers: Iterable[int], held: CountRange) -> Iterator[Taken]:
    """An exposure for each number, whose noise is that of the image with this number in a sweep; 0: that of a run."""
    counting = replace(counting, gain=gain_of(responses_of(image)))
    for number in numbers:
        stated = counting.stated(exposure_of(image.experiment, max(number, 1)))
        counts, cut = counting.counts(image, number, held)
        yield Taken(counts, stated, cut)
