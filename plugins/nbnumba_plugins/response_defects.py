"""Pixels that count too much or not at all, and what says so (RSP-45, RSP-49)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Limits, Parameter, Response, WorkedValue, hookimpl
from nbnumba.response.counts import NO_COUNT

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SHARE, SEEDS = Limits(0.0, 1.0), Limits(0.0, 2.0**53)
DEAD = Parameter("dead_pixels", "", 0.0, "share of pixels without counts", SHARE)
HOT = Parameter("hot_pixels", "", 0.0, "share of pixels with too many counts", SHARE)
COUNTS = Parameter("hot_counts", "count", 1e4, "what a hot pixel counts besides photons", NOT_NEGATIVE)
SEED = Parameter("defect_seed", "", 1.0, "seed of where they are, the same for all images", SEEDS, whole=True)


class Defects(NamedTuple):
    """Shares of dead and hot pixels, what the latter add, seed."""

    dead: float
    hot: float
    counts: float
    seed: int


def prepare(experiment: Experiment) -> Defects:
    dead, hot, counts, seed = DEFECTS.values_of(experiment.model.parameters)
    return Defects(dead, hot, counts, int(seed))


def defects(p: Defects, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Dead pixels show the offset alone, hot ones more than there is."""
    if not (p.dead or p.hot):
        return values
    place = drawn(p, frame)
    return np.where(place < p.dead, frame.readout.offset, values + p.counts * (place > 1.0 - p.hot))


def masked(p: Defects, values: np.ndarray, frame: Frame) -> np.ndarray:
    """No count in a pixel that is dead or hot."""
    if not (p.dead or p.hot):
        return values
    place = drawn(p, frame)
    return np.where((place < p.dead) | (place > 1.0 - p.hot), NO_COUNT, values)


def drawn(p: Defects, frame: Frame) -> np.ndarray:
    """A number between 0 and 1 for each pixel: the least are dead, the greatest hot."""
    return frame.pattern("defects", p.seed).uniform(frame.block)


FOUR = np.array([[0.0, 1.0], [7.0, 100.0]])
ALL_DEAD, ALL_HOT = Defects(1.0, 0.0, 5.0, 1), Defects(0.0, 1.0, 5.0, 1)
EXPECTED = Frame.example(offset=40.0)

DEFECTS = Response(
    name="defects",
    summary="hot and dead pixels",
    prepare=prepare,
    function=defects,
    parameters=(DEAD, HOT, COUNTS, SEED),
    spec=("RSP-45",),
    worked_values=(
        WorkedValue(ALL_DEAD, (FOUR, EXPECTED), np.full((2, 2), 40.0)),
        WorkedValue(ALL_HOT, (FOUR, EXPECTED), FOUR + 5.0),
    ),
)

MASK = Response(
    name="mask",
    summary="no counts in hot and dead pixels, as a detector has it that knows of them",
    prepare=prepare,
    function=masked,
    parameters=(DEAD, HOT, COUNTS, SEED),
    spec=("RSP-49",),
    worked_values=(WorkedValue(Defects(0.0, 0.0, 5.0, 1), (FOUR, EXPECTED), FOUR),),
)


@hookimpl
def response() -> list[Response]:
    return [DEFECTS, MASK]
