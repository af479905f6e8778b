"""Counting noise that depends on seed, image and pixel alone (FMT-12)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.device import compiled_alone

if TYPE_CHECKING:
    from nbnumba.image.image import Block

SUMMED = 200.0  # photons up to which probabilities are summed from 0
BRIGHT = 1e6  # photons beyond which a normal deviate stands for a Poisson one


class CounterNoise:
    """Poisson deviates by inversion of one Philox number for each pixel of the detector, keyed by (seed, image, panel, pixel).

    The same for any region of interest and size of block; blocks are drawn in the order of their rows.
    """

    def __init__(self, seed: int, image: int = 0) -> None:
        self._key, self._panel = np.array([seed, image], np.uint64), 0
        self._generator = np.random.Philox(key=self._key)

    def draw(self, block: Block) -> NDArray[np.float64]:
        """Deviates of the region of interest of the next rows, [slow, fast]; every panel has numbers of its own."""
        if block.panel != self._panel:
            self._panel, self._generator = block.panel, np.random.Philox(key=self._key, counter=np.array([0, 0, 0, block.panel], np.uint64))
        raw = np.asarray(self._generator.random_raw(block.photons.size), np.uint64).reshape(block.photons.shape)[block.region]
        uniform = np.maximum((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53, 2.0**-54).ravel()
        mean = block.photons[block.region].astype(np.float64).ravel()
        drawn = np.empty(mean.size)
        invert_by_sum(uniform, mean, drawn)
        many = np.flatnonzero(mean > SUMMED)
        if many.size:
            drawn[many] = invert_from_normal(uniform[many], mean[many])
        return drawn.reshape(raw.shape)


@compiled_alone(error_model="numpy")
def invert_by_sum(uniform, mean, drawn):  # type: ignore[no-untyped-def]
    """The least number with a probability of ``uniform`` or more up to it, where it is not far from 0."""
    for i in range(mean.size):
        if mean[i] > SUMMED:
            continue
        probability = math.exp(-mean[i])
        up_to, count = probability, 0
        # Rounding may keep the sum below `uniform` for ever.
        while up_to < uniform[i] and (probability > 1e-17 or count < mean[i]):
            count += 1
            probability *= mean[i] / count
            up_to += probability
        drawn[i] = count


def invert_from_normal(uniform: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same by Cornish and Fisher's expansion, rounded down to where it is never too large, put right from there."""
    from scipy.special import ndtri, pdtr

    normal = ndtri(uniform)
    rough = mean + np.sqrt(mean) * normal
    count = np.floor(rough + (normal * normal - 1.0) / 6.0)
    low = np.flatnonzero(mean <= BRIGHT)
    while low.size:
        low = low[pdtr(count[low], mean[low]) < uniform[low]]
        count[low] += 1.0
    return np.asarray(np.where(mean > BRIGHT, np.rint(rough), count))
