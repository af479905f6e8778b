"""An experiment as a function of some of its parameters, in the form in which scipy.optimize wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.gradients.chain import NoDerivativeError
from nbnumba.gradients.derivatives import Derivatives, Loss
from nbnumba.gradients.differences import gradient_by_differences, warn_of_differences
from nbnumba.gradients.losses import least_squares
from nbnumba.gradients.of_panels import derivatives_of
from nbnumba.gradients.parameters import independent, moved, variables_of
from nbnumba.gradients.variables import Variable
from nbnumba.image.image import shape_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.registry import StageSource

Vector = NDArray[np.float64]


class Refinement:
    """Parameters of an experiment to be refined against observed pixels.

    >>> from scipy import optimize
    >>> fit = Refinement(experiment, ["misset_x", "cell_a", "scale"], observed)
    >>> found = optimize.least_squares(fit.residuals, fit.start, fit.jacobian)
    >>> refined = fit.experiment_at(found.x)

    or with ``scipy.optimize.minimize(fit.value_and_grad, fit.start, jac=True)``. parameters: as in value_and_grad(). observed, weights:
    as Image.pixels has them, or numbers; loss: instead of half the sum of weights (I - observed)^2, in value_and_grad alone. x counts from
    the start, in radians for angles and in units of the start value for everything else (where that is 0, of pixels or of 1): steps of one
    size. A stage that does not say how it varies is differentiated by differences of images, with a warning. Raises what value_and_grad()
    raises.
    """

    def __init__(
        self,
        experiment: Experiment,
        parameters: Sequence[str],
        observed: Any = 0.0,
        weights: Any = 1.0,
        *,
        loss: Loss | None = None,
        stages: StageSource = None,
        threads: int | None = None,
    ) -> None:
        self._experiment, self._stages, self._threads = experiment, stages, threads
        self._variables = independent(variables_of(experiment, parameters, stages))
        squares = least_squares(observed, weights).spread_over(shape_of(experiment))
        if not (squares.weights >= 0.0).all():
            raise ParameterError("weights", f"{squares.weights[~(squares.weights >= 0.0)][0]} is not a number of at least 0")
        self._loss = loss or squares
        self._values = np.array([v.value(experiment) for v in self._variables])
        self._units = np.array([unit_of(v, experiment) for v in self._variables])
        self._by_differences = False
        self._last: tuple[Vector, Derivatives] | None = None
        self._squares = self._at(self.start).within(squares)

    @property
    def start(self) -> Vector:
        """x of the experiment that was given: zeros."""
        return np.zeros(len(self._variables))

    def values_at(self, x: Any) -> dict[str, float]:
        """The parameters' values, in m and rad."""
        if np.shape(np.ravel(x)) != self._units.shape:
            raise ParameterError("x", f"has {np.size(x)} numbers for {len(self._units)} parameters")
        values = self._values + np.ravel(x) * self._units
        return {v.name: float(value) for v, value in zip(self._variables, values, strict=True)}

    def experiment_at(self, x: Any) -> Experiment:
        """The experiment with these values."""
        return moved(self._experiment, self._variables, list(self.values_at(x).values()))

    def image(self, x: Any) -> NDArray[np.float64]:
        """Photons per pixel, as Image.pixels has them."""
        return self._at(x).image()

    def residuals(self, x: Any) -> Vector:
        """sqrt(weight) (I - observed) of every pixel, (pixels,)."""
        return ((self.image(x) - self._squares.observed) * self._roots).ravel()

    def jacobian(self, x: Any) -> Vector:
        """The derivatives of the residuals, (pixels, parameters)."""
        columns: Vector = self._or_by_differences(
            lambda here: here.columns(here.slopes(self._variables))[1], self._columns_by_differences, x
        )
        columns = columns.reshape(len(columns), -1)
        columns *= self._units[:, np.newaxis] * self._roots.ravel()
        return columns.T

    def value_and_grad(self, x: Any) -> tuple[float, Vector]:
        """The loss, and its derivatives."""
        value, gradient = self._or_by_differences(
            lambda here: here.value_and_grad(self._loss, self._variables), self._gradient_by_differences, x
        )
        return value, gradient * self._units

    def _or_by_differences(self, derivative: Callable[[Derivatives], Any], differences: Callable[[Derivatives], Any], x: Any) -> Any:
        """Differences of images take over, for good, where a stage does not say how it varies; that is told once."""
        here = self._at(x)
        if not self._by_differences:
            try:
                return derivative(here)
            except NoDerivativeError as error:
                self._by_differences = True
                warn_of_differences(error.problem)
        return differences(here)

    def _columns_by_differences(self, here: Derivatives) -> Vector:
        return np.array(gradient_by_differences(here.experiment, self._variables, lambda other: here.near(other).image(), here.image()))

    def _gradient_by_differences(self, here: Derivatives) -> tuple[float, Vector]:
        def value_of(there: Derivatives) -> float:
            return here.loss_of(there.image(), self._loss)

        value = value_of(here)
        found = gradient_by_differences(here.experiment, self._variables, lambda other: value_of(here.near(other)), value)
        return value, np.array(found)

    @cached_property
    def _roots(self) -> NDArray[np.float64]:
        return np.sqrt(self._squares.weights)

    def _at(self, x: Any) -> Derivatives:
        """The last one is kept: an optimiser asks for residuals and Jacobian at the same place."""
        x = np.array(x, np.float64).ravel()
        if self._last is None or not np.array_equal(self._last[0], x):
            like = self._last[1] if self._last else None
            self._last = x, derivatives_of(self.experiment_at(x), self._stages, self._threads, like=like)
        return self._last[1]


def unit_of(v: Variable, experiment: Experiment) -> float:
    """What a step of 1 is in m or rad."""
    if v.is_angle:
        return 1.0
    return abs(v.value(experiment)) or (experiment.panels[0].pixel_size if v.unit == "m" else 1.0)
