"""Pixels and modules that count a little more or less than others, alike in all images (RSP-36)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Limits, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SEEDS = Limits(0.0, 2.0**53)
PIXELS = Parameter("calibration", "", 0.0, "standard deviation of the pixels' own factors", NOT_NEGATIVE)
MODULES = Parameter("calibration_modules", "", 0.0, "standard deviation of the modules' own factors", NOT_NEGATIVE)
SEED = Parameter("calibration_seed", "", 123456789.0, "seed of both, the same for all images", SEEDS, whole=True)
FAST = Parameter("module_fast", "pixel", 0.0, "from a module to the next along the fast axis (0: a panel is one)", NOT_NEGATIVE, whole=True)
SLOW = Parameter("module_slow", "pixel", 0.0, "from a module to the next along the slow axis (0: a panel is one)", NOT_NEGATIVE, whole=True)
ENDLESS = 1 << 40  # pixels


class Calibration(NamedTuple):
    """Standard deviations of pixels' and modules' factors, seed, pixels from one module to the next."""

    of_pixels: float
    of_modules: float
    seed: int
    fast: int
    slow: int


def prepare(experiment: Experiment) -> Calibration:
    of_pixels, of_modules, *rest = STAGE.values_of(experiment.model.parameters)
    return Calibration(of_pixels, of_modules, *map(int, rest))


def calibrated(p: Calibration, values: np.ndarray, frame: Frame) -> np.ndarray:
    """value (1 + c w) (1 + m v), w of the pixel and v of the module."""
    if p.of_modules:
        values = values * (1.0 + p.of_modules * of_modules(p, frame))
    if p.of_pixels:
        factor = frame.pattern("calibration", p.seed).normal(frame.block)
        factor *= p.of_pixels
        factor += 1.0
        values = factor * values
    return values


def of_modules(p: Calibration, frame: Frame) -> np.ndarray:
    """Normal deviates of the modules that pixels are in."""
    block = frame.block
    rows, columns = (at // (pitch or ENDLESS) for at, pitch in zip(block.places, (p.slow, p.fast), strict=True))
    every = frame.pattern("modules", p.seed)
    return every.grid(rows.max(initial=0) + 1, columns.max(initial=0) + 1, block.panel)[np.ix_(rows, columns)]


FOUR = np.array([[0.0, 1.0], [7.0, 100.0]])
EXACT = Calibration(0.0, 0.0, 1, 0, 0)

STAGE = Response(
    name="calibration",
    summary="factors of pixels and modules, the same in all images",
    prepare=prepare,
    function=calibrated,
    parameters=(PIXELS, MODULES, SEED, FAST, SLOW),
    spec=("RSP-36",),
    worked_values=(WorkedValue(EXACT, (FOUR, Frame.example()), FOUR),),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
