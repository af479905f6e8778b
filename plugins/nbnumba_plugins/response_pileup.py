"""Counters that are blind for a while after a photon (RSP-40, RSP-41, RSP-42).

Photons come at random, x = n dead_time / exposure of them in a dead time. Means and variances are those of renewal processes whose exposure
is long beside the dead time: the mean interval m between counts gives exposure / m of them, its variance v a variance of exposure v / m^3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

DEAD_TIME = Parameter("dead_time", "s", 0.0, "time for which a counter is blind after a photon", NOT_NEGATIVE)


class DeadTime(NamedTuple):
    """Share of the exposure."""

    share: float


def prepare(experiment: Experiment) -> DeadTime:
    return DeadTime(PARALYSABLE.value_of("dead_time", experiment.model.parameters) / experiment.beam.exposure)


def paralysable(p: DeadTime, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Every photon makes the counter blind anew: n exp(-x), with a variance of n exp(-x) (1 - 2 x exp(-x))."""
    n, x = photons(p, values, frame)
    q = np.exp(-x)
    return counts(n * q, n * q * (1.0 - q * (1.0 + x * x)), frame)


def nonparalysable(p: DeadTime, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Only photons that are counted make it blind: n / (1 + x), with a variance of n / (1 + x)^3."""
    n, x = photons(p, values, frame)
    return counts(n / (1.0 + x), n * x / (1.0 + x) ** 4, frame)


def retriggering(p: DeadTime, values: np.ndarray, frame: Frame) -> np.ndarray:
    """It counts again at the end of each dead time in which there was a photon: n / (x + exp(-x)).

    Intervals are a dead time, and with the probability q = exp(-x) the time to the next photon besides: the variance is
    n (2 q - q^2) / (x + q)^3.
    """
    n, x = photons(p, values, frame)
    q = np.exp(-x)
    return counts(n / (x + q), n * ((2.0 * q - q * q) * (x + q) - (q * (1.0 + x)) ** 2) / (x + q) ** 4, frame)


def photons(p: DeadTime, values: np.ndarray, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Without the offset, and how many of them come in a dead time."""
    n = np.maximum(values - frame.readout.offset, 0.0)
    return n, n * p.share


def counts(mean: np.ndarray, variance: np.ndarray, frame: Frame) -> np.ndarray:
    """Whole numbers of this mean, and of the variance that they have besides what the photons' own comes to; the offset again."""
    if not frame.is_drawn:
        return mean + frame.readout.offset
    noise = np.sqrt(besides_rounding(variance, mean - np.floor(mean))) * frame.noise("pile-up").normal(frame.block) + frame.noise(
        "pile-up-fraction"
    ).uniform(frame.block)
    return np.asarray(np.maximum(np.floor(mean + noise), 0.0) + frame.readout.offset)


def besides_rounding(variance: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """What is left of a variance by whole numbers above and below: f (1 - f) of it where there is little, a sixth where there is more."""
    alone = fraction * (1.0 - fraction)
    spread = np.exp(-2.0 * np.pi**2 * np.maximum(variance - alone, 0.0))  # of the fraction, by the first term of its Fourier series
    return np.maximum(variance - (1.0 / 6.0 + (alone - 1.0 / 6.0) * spread), 0.0)


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
