"""Photons of an image of the user's (BKG-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import BackgroundStage, ParameterError, WorkedValue, hookimpl
from nbnumba_plugins.scattering_table import materials_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Given(NamedTuple):
    """The sum of all images, a pixel after the other or [slow, fast]."""

    photons: np.ndarray


def prepare(experiment: Experiment) -> Given:
    images = [material.photons for material in materials_of("image", experiment) if material.photons is not None]
    if len({image.shape for image in images}) > 1:
        raise ParameterError("background.materials", "have images of different shapes")
    return Given(sum(images[1:], images[0]))


def function(p: Given, stol: np.ndarray, wavelength: float) -> np.ndarray:
    """Nothing is scattered."""
    return np.zeros(stol.shape)


def knots(p: Given) -> np.ndarray:
    return np.zeros(0)


def photons(p: Given) -> np.ndarray:
    return p.photons


IMAGE = BackgroundStage(
    name="image",
    summary="photons of an image of your own, as they are",
    prepare=prepare,
    function=function,
    knots=knots,
    photons=photons,
    spec=("BKG-7",),
    worked_values=(WorkedValue(Given(np.ones((2, 2))), (np.array([1e9, 2e9]), 1e-10), np.zeros(2)),),
)


@hookimpl
def background() -> list[BackgroundStage]:
    return [IMAGE]
