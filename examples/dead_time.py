"""A response of our own: a counter that is blind for a while after every photon, so that bright pixels count too few.

Try it:    nbnumba run ... --plugin-file dead_time.py --plugin response=dead-time --set dead_time=2e-7
"""

from typing import NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, Response, WorkedValue, hookimpl


class DeadTime(NamedTuple):
    share: float  # of the exposure, that a photon makes the counter blind for


def prepare(experiment):
    return DeadTime(STAGE.value_of("dead_time", experiment.model.parameters) / (experiment.beam.exposure or 1.0))


def paralysable(p, values, frame):
    """Counts of a counter that every photon makes blind anew: n exp(-n share)."""
    return values * np.exp(-values * p.share)


TAU = Parameter("dead_time", "s", 1e-7, "after every photon", NOT_NEGATIVE)
WORKED = (WorkedValue(DeadTime(0.01), (np.array([[0.0, 100.0]]), Frame.example()), np.array([[0.0, 36.787944117144235]])),)
STAGE = Response("dead-time", "a counter that is blind after every photon", prepare, paralysable, (TAU,), (), WORKED)


@hookimpl
def response():
    return [STAGE]
