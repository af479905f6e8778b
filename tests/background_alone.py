"""The background of an experiment for tests, without the crystal, whose kernels take long to be compiled."""

import numpy as np

from nbnumba import Experiment
from nbnumba.simulation.background import BackgroundPhotons
from nbnumba.simulation.scene import scenes_of
from nbnumba.stages.registry import usual


def background_of(experiment: Experiment) -> np.ndarray:
    """Photons of its background stages, as images have them."""
    found = BackgroundPhotons(None).of(experiment, scenes_of(experiment, usual()))
    assert found is not None
    return found
