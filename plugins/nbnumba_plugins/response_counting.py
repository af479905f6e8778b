"""From photons to counts: drawn or expected, offset, rounding (RSP-1, RSP-2, RSP-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nbnumba.plugin import Frame, Response, WorkedValue, hookimpl
from nbnumba.response.counter_noise import CounterNoise
from nbnumba.response.counts import with_half
from nbnumba.response.sequential_noise import SequentialNoise

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Counting(NamedTuple):
    """Whether noise is nanoBragg's, of one stream for all pixels."""

    sequential: bool


class Nothing(NamedTuple):
    """What a response needs that asks nothing of the experiment."""


def prepare_counting(experiment: Experiment) -> Counting:
    return Counting("sequential-noise" in experiment.quirks)


def prepare_nothing(experiment: Experiment) -> Nothing:
    return Nothing()


def counting(p: Counting, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Photons that are drawn with the readout's seed; without one, those that are expected, times its scale."""
    if not frame.is_drawn:
        return values * frame.readout.scale
    return np.asarray(frame.keeps("noise", lambda: noise_of(p, frame)).poisson(values, frame.block))


def noise_of(p: Counting, frame: Frame) -> Any:
    """The noise of an image; in a sweep every image has its own, which no other has a part in."""
    seed, number = frame.readout.seed or 0, frame.readout.number
    return SequentialNoise(seed) if p.sequential and not number else CounterNoise(seed, number)


def offset(p: Nothing, values: np.ndarray, frame: Frame) -> np.ndarray:
    """What a detector adds to counts so that none is below 0."""
    return values + frame.readout.offset


def rounding(p: Nothing, values: np.ndarray, frame: Frame) -> np.ndarray:
    """The nearest whole number of what was not drawn; fractions are dropped afterwards."""
    return values if frame.is_drawn else with_half(values, frame.readout.held)


PHOTONS = np.array([[0.25, 1.5], [7.0, 100.0]])
EXPECTED = Frame.example(scale=2.0, offset=40.0)

COUNTING = Response(
    name="counting",
    summary="photons drawn with their noise, or expected",
    prepare=prepare_counting,
    function=counting,
    spec=("RSP-1", "RSP-20"),
    worked_values=(WorkedValue(Counting(False), (PHOTONS, EXPECTED), 2.0 * PHOTONS),),
)

OFFSET = Response(
    name="offset",
    summary="what is added to counts",
    prepare=prepare_nothing,
    function=offset,
    spec=("RSP-2",),
    worked_values=(WorkedValue(Nothing(), (PHOTONS, EXPECTED), PHOTONS + 40.0),),
)

ROUNDING = Response(
    name="rounding",
    summary="to the nearest whole number where no noise was drawn",
    prepare=prepare_nothing,
    function=rounding,
    spec=("RSP-3",),
    worked_values=(WorkedValue(Nothing(), (PHOTONS, EXPECTED), PHOTONS + 0.5),),
)


@hookimpl
def response() -> list[Response]:
    return [COUNTING, OFFSET, ROUNDING]
