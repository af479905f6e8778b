"""Counts without light (RSP-44)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

RATE = Parameter("dark_current", "count/s", 0.0, "counts of a pixel without light, with Poisson's noise", NOT_NEGATIVE)


class Dark(NamedTuple):
    """Counts in an exposure."""

    mean: float


def prepare(experiment: Experiment) -> Dark:
    return Dark(STAGE.value_of("dark_current", experiment.model.parameters) * experiment.beam.exposure)


def dark(p: Dark, values: np.ndarray, frame: Frame) -> np.ndarray:
    """value + d, a Poisson deviate where there is noise."""
    if not (frame.is_drawn and p.mean):
        return values + p.mean
    return values + frame.noise("dark-current").poisson(np.full(values.shape, p.mean), frame.block)


FOUR = np.array([[0.0, 1.0], [7.0, 100.0]])

STAGE = Response(
    name="dark-current",
    summary="counts without light",
    prepare=prepare,
    function=dark,
    parameters=(RATE,),
    spec=("RSP-44",),
    worked_values=(WorkedValue(Dark(0.25), (FOUR, Frame.example()), np.array([[0.25, 1.25], [7.25, 100.25]])),),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
