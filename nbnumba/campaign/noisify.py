"""Exposures of an image of photons: what a detector counts of it, as often as one likes (CLI-120)."""

from __future__ import annotations

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
from nbnumba.simulation.scene import choose_stages

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.geometry.exposure import Exposure
    from nbnumba.stages.registry import Registry


class Taken(NamedTuple):
    """Counts, [slow, fast]; what the file says of them; how many are more than it holds."""

    counts: NDArray[Any]
    exposure: Exposure
    cut: int


def image_of(photons: NDArray[Any], experiment: Experiment, registry: Registry) -> Image:
    """Photons as an image of the experiment, with the responses that it chooses; what is below 0 was not measured.

    photons: [slow, fast], of several panels in any form that write_image takes. Raises ParameterError, StageError.
    """
    pixels = pixels_of_detector(photons, experiment)
    if pixels.min() < 0.0:
        shapes = [panel.detector.shape for panel in experiment.by_panel]
        rows = pixels.reshape(photons.shape) if len(shapes) == 1 else photons
        experiment = with_masks(experiment, (part >= 0 for part in unstacked(rows, shapes)))
    return Image(np.maximum(pixels, 0.0), experiment, {}, responses=choose_stages(experiment, registry).responses)


def exposures(image: Image, counting: Counting, numbers: Iterable[int], held: CountRange) -> Iterator[Taken]:
    """An exposure for each number, whose noise is that of the image with this number in a sweep; 0: that of a run."""
    counting = replace(counting, gain=gain_of(responses_of(image)))
    for number in numbers:
        stated = counting.stated(exposure_of(image.experiment, max(number, 1)))
        counts, cut = counting.counts(image, number, held)
        yield Taken(counts, stated, cut)
