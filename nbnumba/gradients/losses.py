"""Losses for refinement: L and dL/dI of the photons I of every pixel that is rendered and has a weight.

They become part of the kernel that differentiates them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.kernel.loss import PixelLoss

LEAST = 1e-12  # photons that a pixel is expected to have at least, so that a count where there are none is not impossible


def least_squares(observed: Any, weights: Any = 1.0) -> PixelLoss:
    """Half the sum of weights (I - observed)^2; observed, weights: [slow, fast], or numbers. Pixels of no weight may be anything."""
    return PixelLoss(half_square, numbers("observed", observed), numbers("weights", weights))


def poisson(observed: Any, weights: Any = 1.0) -> PixelLoss:
    """Negative logarithm of the probability of observed counts, up to what they alone decide: sum of weights (I - observed ln I)."""
    return PixelLoss(negative_log_probability, numbers("observed", observed), numbers("weights", weights))


def numbers(name: str, given: Any) -> NDArray[np.float64]:
    """An array of numbers. Raises ParameterError."""
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(name, f"must be real numbers, not {type(given).__name__}") from None


def half_square(photons: Any, observed: Any, weight: Any) -> tuple[Any, Any]:
    """Of the residual, and its derivative."""
    residual = photons - observed
    return 0.5 * weight * residual * residual, weight * residual


def negative_log_probability(photons: Any, observed: Any, weight: Any) -> tuple[Any, Any]:
    """Of a count where so many photons are expected, and its derivative; none where less than LEAST are."""
    expected = np.maximum(photons, LEAST)
    return weight * (expected - observed * np.log(expected)), weight * (1.0 - observed / expected) * (photons > LEAST)
