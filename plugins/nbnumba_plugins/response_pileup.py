"""Counters that are blind for a while after a photon (RSP-40, RSP-41, RSP-42)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, Response, WorkedValue, hookimpl
from nbnumba.response import pileup

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

DEAD_TIME = Parameter("dead_time", "s", 0.0, "time for which a counter is blind after a photon", NOT_NEGATIVE)


class DeadTime(NamedTuple):
    """Share of the exposure."""

    share: float


def prepare(experiment: Experiment) -> DeadTime:
    return DeadTime(PARALYSABLE.value_of("dead_time", experiment.model.parameters) / experiment.beam.exposure)


def paralysable(p: DeadTime, values: np.ndarray, frame: Frame) -> np.ndarray:
    """n exp(-x)."""
    return counts(p, values, frame, pileup.PARALYSABLE)


def nonparalysable(p: DeadTime, values: np.ndarray, frame: Frame) -> np.ndarray:
    """n / (1 + x)."""
    return counts(p, values, frame, pileup.NONPARALYSABLE)


def retriggering(p: DeadTime, values: np.ndarray, frame: Frame) -> np.ndarray:
    """n / (x + exp(-x))."""
    return counts(p, values, frame, pileup.RETRIGGERING)


def counts(p: DeadTime, values: np.ndarray, frame: Frame, kind: int) -> np.ndarray:
    """Of values without their offset, which is added again: drawn, or what is expected."""
    if p.share == 0.0:
        return values
    offset, found = frame.readout.offset, np.empty(values.shape)
    if frame.is_drawn:
        pileup.counted(values, offset, p.share, kind, frame.noise("pile-up").uniform(frame.block), found)
    else:
        pileup.expected(values, offset, p.share, kind, found)
    return found


PHOTONS = np.array([[0.0, 1.0], [100.0, 1000.0]])
SHARE, EXPECTED = DeadTime(0.01), Frame.example(offset=40.0)
OF_E = np.exp(-1.0)

PARALYSABLE = Response(
    name="pileup-paralysable",
    summary="a counter that every photon makes blind anew",
    prepare=prepare,
    function=paralysable,
    parameters=(DEAD_TIME,),
    spec=("RSP-40",),
    worked_values=(
        WorkedValue(SHARE, (PHOTONS + 40.0, EXPECTED), 40.0 + np.array([[0.0, np.exp(-0.01)], [100.0 * OF_E, 1000.0 * OF_E**10]])),
    ),
)

NONPARALYSABLE = Response(
    name="pileup-nonparalysable",
    summary="a counter that is blind after each photon that it counts",
    prepare=prepare,
    function=nonparalysable,
    parameters=(DEAD_TIME,),
    spec=("RSP-41",),
    worked_values=(WorkedValue(SHARE, (PHOTONS + 40.0, EXPECTED), 40.0 + np.array([[0.0, 1.0 / 1.01], [50.0, 1000.0 / 11.0]])),),
)

RETRIGGERING = Response(
    name="pileup-retriggering",
    summary="a counter that counts again after each dead time in which there was a photon",
    prepare=prepare,
    function=retriggering,
    parameters=(DEAD_TIME,),
    spec=("RSP-42",),
    worked_values=(
        WorkedValue(
            SHARE,
            (PHOTONS + 40.0, EXPECTED),
            40.0 + np.array([[0.0, 1.0 / (0.01 + np.exp(-0.01))], [100.0 / (1.0 + OF_E), 1000.0 / (10.0 + OF_E**10)]]),
        ),
    ),
)


@hookimpl
def response() -> list[Response]:
    return [PARALYSABLE, NONPARALYSABLE, RETRIGGERING]
