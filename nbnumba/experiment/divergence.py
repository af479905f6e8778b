"""Distributions of the beam's direction (EXP-86, EXP-87)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.experiment.by_value import ByValue
from nbnumba.experiment.part import Limits
from nbnumba.experiment.spectrum import REACH, SIGMA, as_strata

Array = NDArray[np.float64]

FINE = 121  # directions along each axis of a distribution that a formula gives
WIDTHS = Limits(0.0, 0.5)  # rad
TINY = 1e-300
IN_A_CONE = 1.1  # half-widths from the middle within which NBbeam keeps directions


@dataclass(frozen=True, eq=False, repr=False)
class Divergence(ByValue):
    """Angles (n, 2) in rad to the beam's direction, along the polarization axis and across it, and weights (n,) on any scale."""

    angles: Array
    weights: Array

    def __post_init__(self) -> None:
        try:
            angles, weights = np.array(self.angles, np.float64), np.array(self.weights, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ParameterError("divergence.angles", "angles and weights must be lists of numbers") from None
        if angles.ndim != 2 or angles.shape[1] != 2 or weights.shape != angles.shape[:1] or not len(weights):
            raise ParameterError("divergence.angles", f"needs angles (n, 2) and weights (n,); got {angles.shape} and {weights.shape}")
        if not (np.abs(angles) < math.pi / 2).all():
            raise ParameterError("divergence.angles", "must be less than pi / 2 from the beam's direction")
        if not (np.isfinite(weights) & (weights >= 0.0)).all() or not 0.0 < weights.sum() < math.inf:
            raise ParameterError("divergence.weights", "must be finite and at least 0, and not all of them 0")
        for name, array in (("angles", angles), ("weights", weights)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def gaussian(cls, horizontal: float, vertical: float) -> Divergence:
        """Gaussian along both axes; full widths at half maximum in rad."""
        x, sigmas = np.linspace(-REACH, REACH, FINE), SIGMA * np.array(checked_widths(horizontal, vertical))
        return cls.product(sigmas[0] * x, sigmas[1] * x, np.exp(-0.5 * x * x))

    @classmethod
    def top_hat(cls, horizontal: float, vertical: float) -> Divergence:
        """Even between slits; full widths in rad."""
        x, widths = (np.arange(FINE) + 0.5) / FINE - 0.5, checked_widths(horizontal, vertical)
        return cls.product(widths[0] * x, widths[1] * x, np.ones(FINE))

    @classmethod
    def cone(cls, width: float, steps: int) -> Divergence:
        """As simtbx's NBbeam: of a square grid, steps of which are the full width in rad, what is within 1.1 half-widths of its middle."""
        x = checked_width("width", width) * (np.arange(steps + 1) / max(steps, 1) - 0.5)
        grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2)
        kept = grid[np.hypot(*grid.T) <= IN_A_CONE * width / 2]
        return cls(kept, np.ones(len(kept)))

    @classmethod
    def product(cls, horizontal: Array, vertical: Array, density: Array) -> Divergence:
        """Of one density along both axes; an axis without a width has one angle."""
        axes = [(x, density) if checked_width("width", np.ptp(x)) else (np.zeros(1), np.ones(1)) for x in (horizontal, vertical)]
        (h, of_h), (v, of_v) = axes
        return cls(np.stack(np.meshgrid(h, v, indexing="ij"), axis=-1).reshape(-1, 2), np.outer(of_h, of_v).ravel())

    @property
    def range(self) -> tuple[float, float]:
        """Between the outermost angles of both axes."""
        horizontal, vertical = np.ptp(self.angles, axis=0).tolist()
        return horizontal, vertical

    def sampled(self, horizontal: int, vertical: int) -> Divergence:
        """A direction for every cell of a grid that has weight; sum, means and variances along both axes stay what they are (EXP-86)."""
        low, widths = self.angles.min(axis=0), np.maximum(self.range, TINY)
        at = np.minimum(((self.angles - low) / widths * (horizontal, vertical)).astype(np.int64), (horizontal - 1, vertical - 1))
        cell = at[:, 0] * vertical + at[:, 1]
        (across, weights), (along, _) = (as_strata(angle, self.weights, cell, horizontal * vertical) for angle in self.angles.T)
        return Divergence(np.stack([across, along], axis=1)[weights > 0.0], weights[weights > 0.0])


def checked_width(name: str, value: Any) -> float:
    if problem := WIDTHS.problem(float(value)):
        raise ParameterError(f"divergence.{name}", f"{float(value):g} rad: {problem}")
    return float(value)


def checked_widths(horizontal: Any, vertical: Any) -> tuple[float, float]:
    return checked_width("horizontal", horizontal), checked_width("vertical", vertical)
