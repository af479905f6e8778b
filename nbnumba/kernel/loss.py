"""What a loss says of one pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError


@dataclass(frozen=True, eq=False)
class PixelLoss:
    """A sum over pixels of function(photons, observed, weight) -> (L, dL/dphotons).

    function: of numbers and of arrays alike, as stage functions are, so that it becomes part of a kernel; observed, weights: [slow, fast].
    """

    function: Callable[[Any, Any, Any], tuple[Any, Any]]
    observed: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __call__(self, photons: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """L, and dL/dI of every pixel."""
        values, slopes = self.function(photons, self.observed, self.weights)
        return float(np.sum(values)), np.asarray(slopes)

    def spread_over(self, shape: tuple[int, ...]) -> PixelLoss:
        """The same with arrays of this shape. Raises ParameterError where that cannot be."""
        try:
            arrays = [np.ascontiguousarray(np.broadcast_to(a, shape), np.float64) for a in (self.observed, self.weights)]
        except ValueError:
            given = f"{np.shape(self.observed)} and weights of shape {np.shape(self.weights)}"
            raise ParameterError("loss", f"has observations of shape {given} for an image of {shape}") from None
        return PixelLoss(self.function, *arrays)

    def part(self, at: slice, shape: tuple[int, ...]) -> PixelLoss:
        """Of a panel, whose pixels are these of all."""
        return PixelLoss(self.function, self.observed[at].reshape(shape), self.weights[at].reshape(shape))

    def within(self, shape: tuple[int, int], wanted: NDArray[np.bool_] | None, called: str = "") -> PixelLoss:
        """The same of pixels that are wanted and have a weight. Raises ParameterError where one of these has no finite numbers.

        called: the panel, of several.
        """
        loss = self.spread_over(shape)
        wanted = (loss.weights != 0.0) & (True if wanted is None else wanted)
        observed, weights = np.where(wanted, loss.observed, 0.0), np.where(wanted, loss.weights, 0.0)
        if len(bad := np.argwhere(~(np.isfinite(observed) & np.isfinite(weights)))):
            slow, fast = bad[0]
            said = f"{called}pixel slow {slow}, fast {fast} is observed as {observed[slow, fast]}, with the weight {weights[slow, fast]}"
            raise ParameterError("loss", f"{said}; give pixels that say nothing the weight 0, or mask them")
        return PixelLoss(self.function, observed, weights)


def linear(photons: Any, slope: Any, weight: Any) -> tuple[Any, Any]:
    """What has a given derivative."""
    return slope * photons, slope
