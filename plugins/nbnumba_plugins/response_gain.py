"""Counts of a photon (RSP-37)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import POSITIVE, Frame, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

GAIN = Parameter("gain", "1/photon", 1.0, "counts of a photon", POSITIVE)


class Gain(NamedTuple):
    """Counts of a photon."""

    gain: float


def prepare(experiment: Experiment) -> Gain:
    return Gain(*STAGE.values_of(experiment.model.parameters))


def amplified(p: Gain, values: np.ndarray, frame: Frame) -> np.ndarray:
    """value times gain."""
    return values * p.gain


def gain(p: Gain) -> float:
    return p.gain


STAGE = Response(
    name="gain",
    summary="counts of a photon",
    prepare=prepare,
    function=amplified,
    gain=gain,
    parameters=(GAIN,),
    spec=("RSP-37",),
    worked_values=(WorkedValue(Gain(1.5), (np.array([[0.0, 1.0], [7.0, 100.0]]), Frame.example()), np.array([[0.0, 1.5], [10.5, 150.0]])),),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
