"""Where counts end (RSP-46, RSP-48)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Limits, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SATURATION = Parameter("saturation", "count", 0.0, "largest count (0: the detector's, where that is known)", NOT_NEGATIVE)
BITS = Parameter("bits", "bit", 32.0, "of the number that a pixel's count is", Limits(1.0, 53.0), whole=True)


class Limit(NamedTuple):
    """Largest count."""

    most: float


def prepare_saturation(experiment: Experiment) -> Limit:
    return Limit(SATURATED.value_of("saturation", experiment.model.parameters) or experiment.detector.saturation or math.inf)


def prepare_bits(experiment: Experiment) -> Limit:
    return Limit(2.0 ** int(BIT_DEPTH.value_of("bits", experiment.model.parameters)) - 1.0)


def saturated(p: Limit, values: np.ndarray, frame: Frame) -> np.ndarray:
    """No more than the largest count."""
    return np.asarray(np.minimum(values, p.most))


def converted(p: Limit, values: np.ndarray, frame: Frame) -> np.ndarray:
    """The nearest whole number between 0 and the largest."""
    counts: np.ndarray = values + 0.5
    return np.clip(np.floor(counts, out=counts), 0.0, p.most, out=counts)


SATURATED = Response(
    name="saturation",
    summary="counts end at the largest",
    prepare=prepare_saturation,
    function=saturated,
    parameters=(SATURATION,),
    spec=("RSP-46",),
    worked_values=(
        WorkedValue(Limit(50.0), (np.array([[-1.0, 49.5], [50.5, 1e9]]), Frame.example()), np.array([[-1.0, 49.5], [50.0, 50.0]])),
    ),
)

BIT_DEPTH = Response(
    name="bit-depth",
    summary="the nearest whole number of so many bits",
    prepare=prepare_bits,
    function=converted,
    parameters=(BITS,),
    spec=("RSP-48",),
    worked_values=(
        WorkedValue(Limit(255.0), (np.array([[-1.0, 49.5], [50.4, 1e9]]), Frame.example()), np.array([[0.0, 50.0], [50.0, 255.0]])),
    ),
)


@hookimpl
def response() -> list[Response]:
    return [SATURATED, BIT_DEPTH]
