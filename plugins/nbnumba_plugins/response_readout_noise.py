"""Noise of the electronics (RSP-38)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

NOISE = Parameter("readout_noise", "count", 0.0, "standard deviation of what is added to a pixel each time that it is read", NOT_NEGATIVE)


class Noise(NamedTuple):
    """Standard deviation in counts."""

    deviation: float


def prepare(experiment: Experiment) -> Noise:
    return Noise(*STAGE.values_of(experiment.model.parameters))


def read(p: Noise, values: np.ndarray, frame: Frame) -> np.ndarray:
    """value + s w, w a normal deviate; nothing is expected."""
    if not (frame.is_drawn and p.deviation):
        return values
    noise = frame.noise("readout-noise").normal(frame.block)
    noise *= p.deviation
    noise += values
    return noise


FOUR = np.array([[0.0, 1.0], [7.0, 100.0]])

STAGE = Response(
    name="readout-noise",
    summary="normal noise of each pixel each time that it is read",
    prepare=prepare,
    function=read,
    parameters=(NOISE,),
    spec=("RSP-38",),
    worked_values=(WorkedValue(Noise(3.0), (FOUR, Frame.example()), FOUR),),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
