"""Losses for refinement: L and dL/dI of the photons I of every pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Loss = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]


def least_squares(observed: Any, weights: Any = 1.0) -> Loss:
    """Half the sum of weights (I - observed)^2; observed, weights: [slow, fast], or numbers."""
    data, w = np.asarray(observed, np.float64), np.asarray(weights, np.float64)

    def loss(photons: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        residual = photons - data
        return 0.5 * float((w * residual * residual).sum()), w * residual

    return loss


def poisson(observed: Any, least: float = 1e-12) -> Loss:
    """Negative logarithm of the probability of observed counts, up to what they alone decide: sum of I - observed ln I.

    least: photons that a pixel has at least, so that a count where none is expected is not impossible.
    """
    counts = np.asarray(observed, np.float64)

    def loss(photons: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        expected = np.maximum(photons, least)
        return float((expected - counts * np.log(expected)).sum()), np.where(photons > least, 1.0 - counts / expected, 0.0)

    return loss
