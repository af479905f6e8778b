"""Photons that the detector does not see (RSP-31)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import Frame, Limits, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

EFFICIENCY = Parameter("efficiency", "", 1.0, "share of the photons captured in the sensor that are detected", Limits(0.0, 1.0))


class Efficiency(NamedTuple):
    """Share of photons that are detected."""

    share: float


def prepare(experiment: Experiment) -> Efficiency:
    return Efficiency(*STAGE.values_of(experiment.model.parameters))


def detected(p: Efficiency, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Of so many; with the counting noise that comes after it, their number is Poisson's again."""
    return values * p.share


STAGE = Response(
    name="efficiency",
    summary="a share of the photons is detected",
    prepare=prepare,
    function=detected,
    parameters=(EFFICIENCY,),
    spec=("RSP-31",),
    worked_values=(
        WorkedValue(Efficiency(0.75), (np.array([[4.0, 0.0], [1.0, 100.0]]), Frame.example()), np.array([[3.0, 0.0], [0.75, 75.0]])),
    ),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
