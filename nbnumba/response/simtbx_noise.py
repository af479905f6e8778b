"""simtbx's noise, bit for bit but for rounding: nanoBragg's stream of random numbers (sequential_noise.py) in float64 (RSP-50).

Source: simtbx/nanoBragg/nanoBragg.cpp, add_noise(); what it does, not how. Its generator's table is the same for all that draw from it,
so that what is drawn after the calibration goes on with the calibration's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.ran1 import MODULUS, TABLE, Ran1
from nbnumba.kernel.cpu.device import compiled_alone
from nbnumba.response.sequential_noise import HAS_KEPT, OUTPUT, advance, log_gamma

Array = NDArray[np.float64]
LARGEST = 1.0 - 1.2e-7
FEW, MANY = 12.0, 1e6  # photons from which on deviates are drawn by rejection; beyond which a normal one stands for them


class Deviates:
    """A stream of a seed; of normal deviates, which come in pairs, one may be kept for later."""

    def __init__(self, seed: int) -> None:
        self._stream = np.array([*Ran1(seed).state, 0], np.int64)
        self._kept = np.zeros(1)

    def photons(self, expected: Array, flicker: float) -> Array:
        """Poisson deviates of what flickers, pixel by pixel; what is below 0 stays."""
        drawn = np.empty(expected.shape)
        draw_photons(expected.ravel(), flicker, self._stream, self._kept, drawn.reshape(-1))
        return drawn

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Normal deviates."""
        drawn = np.empty(shape)
        draw_normal(self._stream, self._kept, drawn.reshape(-1))
        return drawn

    def goes_on_after(self, other: Deviates) -> None:
        """With the table that another stream has left."""
        self._stream[:TABLE] = other._stream[:TABLE]
        self._stream[OUTPUT] = other._stream[OUTPUT]


def uniform(stream):
    """The next deviate in (0, 1)."""
    advance(stream)
    return min(stream[OUTPUT] * (1.0 / MODULUS), LARGEST)


def gaussian(stream, kept):
    """Box and Muller's deviates, two at a time."""
    if stream[HAS_KEPT]:
        stream[HAS_KEPT] = 0
        return kept[0]
    v1 = v2 = square = 0.0
    while square >= 1.0 or square == 0.0:
        v1 = 2.0 * uniform(stream) - 1.0
        v2 = 2.0 * uniform(stream) - 1.0
        square = v1 * v1 + v2 * v2
    factor = math.sqrt(-2.0 * math.log(square) / square)
    kept[0] = v1 * factor
    stream[HAS_KEPT] = 1
    return v2 * factor


def poisson(mean, stream, kept):
    """By the product of uniform deviates, by rejection from a Lorentzian, or a normal deviate, which is not rounded."""
    if mean < FEW:
        product, count, limit = uniform(stream), 0.0, math.exp(-mean)
        while product > limit:
            count += 1.0
            product *= uniform(stream)
        return count
    if mean > MANY:
        return mean + math.sqrt(mean) * gaussian(stream, kept)
    width, log_mean = math.sqrt(2.0 * mean), math.log(mean)
    offset = mean * log_mean - log_gamma(mean + 1.0)
    while True:
        count, y = -1.0, 0.0
        while count < 0.0:
            y = math.tan(math.pi * uniform(stream))
            count = width * y + mean
        count = np.floor(count)
        accept = 0.9 * (1.0 + y * y) * math.exp(count * log_mean - log_gamma(count + 1.0) - offset)
        if not uniform(stream) > accept:
            return count


@compiled_alone(error_model="numpy")
def draw_photons(expected, flicker, stream, kept, drawn):
    for i in range(expected.size):
        mean = expected[i]
        if mean < 0.0:
            drawn[i] = mean
            continue
        if flicker > 0.0:
            mean *= 1.0 + flicker * gaussian(stream, kept)
        drawn[i] = poisson(mean, stream, kept)


@compiled_alone(error_model="numpy")
def draw_normal(stream, kept, drawn):
    for i in range(drawn.size):
        drawn[i] = gaussian(stream, kept)
