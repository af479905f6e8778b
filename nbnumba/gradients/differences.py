"""Derivatives by differences, of fourth order: for what states none, and to check what does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbnumba.errors import NbnumbaWarning, ParameterError

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.gradients.variables import Variable

# (steps away, weight): about a value, or, where it is at a limit, to one side of it.
CENTRED = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
UPWARD = ((1, 4.0), (2, -3.0), (3, 4 / 3), (4, -1 / 4))
DOWNWARD = tuple((-n, -weight) for n, weight in UPWARD)

# Of differences of images, in units of the steps for what is smooth: with larger ones more pixels meet a kink on the way, where the
# reflection nearest to them becomes another.
OF_IMAGES = 3e-3


def neighbours(v: Variable, experiment: Experiment, step: float) -> list[tuple[float, Experiment]]:
    """(weight, experiment) some steps away; the derivative is the sum of weight times (value there - value here), over the step."""
    at = v.value(experiment)
    for scheme in (CENTRED, UPWARD, DOWNWARD):
        try:
            return [(weight, v.changed(experiment, at + n * step)) for n, weight in scheme]
        except ParameterError:
            if scheme is DOWNWARD:
                raise
    raise AssertionError


def difference(v: Variable, experiment: Experiment, function: Callable[[Experiment], Any], here: Any, step: float) -> Any:
    """The derivative of a function of the experiment, whose value here is known."""
    return sum(weight * (function(other) - here) for weight, other in neighbours(v, experiment, step)) / step


def image_step(v: Variable, experiment: Experiment) -> float:
    """Of differences of images."""
    return v.step(experiment) * OF_IMAGES


def gradient_by_differences(
    experiment: Experiment, variables: Sequence[Variable], function: Callable[[Experiment], Any], here: Any
) -> list[Any]:
    """The derivatives of a function of the experiment's image."""
    return [difference(v, experiment, function, here, image_step(v, experiment)) for v in variables]


def warn_of_differences(problem: str) -> None:
    """Tell that they are taken because a stage does not say how it varies."""
    warnings.warn(NbnumbaWarning(f"{problem}: differences of images take its place, four images for each parameter"), stacklevel=3)
