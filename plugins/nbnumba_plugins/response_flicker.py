"""A beam that is not steady, pixel by pixel, as simtbx has it (RSP-35)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

FLICKER = Parameter("flicker", "", 0.0, "standard deviation of a factor of each pixel in each image", NOT_NEGATIVE)


class Flicker(NamedTuple):
    """Standard deviation of the factor about 1."""

    deviation: float


def prepare(experiment: Experiment) -> Flicker:
    return Flicker(*STAGE.values_of(experiment.model.parameters))


def flicker(p: Flicker, values: np.ndarray, frame: Frame) -> np.ndarray:
    """value (1 + f w), w a normal deviate; the mean is expected."""
    if not (frame.is_drawn and p.deviation):
        return values
    factor: np.ndarray = frame.noise("flicker").normal(frame.block)
    factor *= p.deviation
    factor += 1.0
    factor *= values
    return factor


FOUR = np.array([[0.0, 1.0], [7.0, 100.0]])

STAGE = Response(
    name="flicker",
    summary="a factor of each pixel, anew in each image",
    prepare=prepare,
    function=flicker,
    parameters=(FLICKER,),
    spec=("RSP-35",),
    worked_values=(WorkedValue(Flicker(0.02), (FOUR, Frame.example()), FOUR),),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
