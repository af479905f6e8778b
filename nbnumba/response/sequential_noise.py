"""nanoBragg's counting noise, bit for bit: one stream of Numerical Recipes' ran1, poidev and gasdev (FMT-11).

Source: Numerical Recipes in C, 2nd edition, sections 7.1 to 7.3; intermediate results are rounded to float32 where they are there.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaWarning
from nbnumba.experiment.ran1 import LARGEST, MODULUS, MULTIPLIER, TABLE, Ran1
from nbnumba.kernel.cpu.device import compiled_alone

if TYPE_CHECKING:
    from nbnumba.image.image import Block

STATE, OUTPUT, HAS_KEPT = TABLE, TABLE + 1, TABLE + 2  # where they stand in the stream, behind the shuffle table
MOST = np.float32(LARGEST)
FEW = np.float32(12.0)  # photons from which on deviates are drawn by rejection
LOCKS_UP = np.float32(1e6)  # rejection does not end for more photons than that
DOUBTFUL = np.float32(1e5)  # photons from which on the logarithms of a probability have too few digits in float32
ONE = np.float32(1.0)
GAMMA = (
    76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5,
)  # fmt: skip


class SequentialNoise:
    """Poisson deviates of the pixels in order: every pixel depends on all before it.

    doubtful: pixels drawn so far of so many photons that rejection has a variance which is off, by rounding to float32.
    """

    def __init__(self, seed: int) -> None:
        self.doubtful = 0
        self._stream = np.array([*Ran1(seed).state, 0], np.int64)
        self._kept = np.zeros(1, np.float32)

    def draw(self, block: Block) -> NDArray[np.float64]:
        """Deviates of the region of interest of the next rows, [slow, fast]."""
        return self.poisson(block.photons[block.region], block)

    def poisson(self, mean: NDArray[np.floating], block: Block) -> NDArray[np.float64]:
        """The same of other means."""
        photons = mean.astype(np.float32)
        drawn = np.empty(photons.size)
        self.doubtful += int(np.count_nonzero((photons >= DOUBTFUL) & (photons <= LOCKS_UP)))
        draw(photons.ravel(), self._stream, self._kept, drawn)
        return drawn.reshape(photons.shape)

    def close(self) -> None:
        """Warn of pixels whose noise is not right."""
        if self.doubtful:
            told = f"noise: {self.doubtful} pixels have 1e5 to 1e6 photons, where nanoBragg's variance is off by up to 15 %"
            warnings.warn(NbnumbaWarning(f"{told} (--quirk sequential-noise=off: it is Poisson's)"), stacklevel=4)


def advance(stream):  # type: ignore[no-untyped-def]
    """Draw the next number (ROT-7)."""
    product = stream[STATE] * MULTIPLIER
    state = (product & MODULUS) + (product >> 31)  # the remainder for a modulus of 2^31 - 1, or the modulus more
    stream[STATE] = state - MODULUS if state >= MODULUS else state
    slot = stream[OUTPUT] >> 26
    stream[OUTPUT] = stream[slot]
    stream[slot] = stream[STATE]


def uniform(stream):  # type: ignore[no-untyped-def]
    """The next deviate in (0, 1), float32."""
    advance(stream)
    return min(np.float32(stream[OUTPUT] * (1.0 / MODULUS)), MOST)


def gaussian(stream, kept):  # type: ignore[no-untyped-def]
    """Box and Muller's deviates, two at a time; the second is kept for the next call."""
    if stream[HAS_KEPT]:
        stream[HAS_KEPT] = 0
        return kept[0]
    v1 = v2 = square = np.float32(0.0)
    while square >= ONE or square == np.float32(0.0):
        v1 = np.float32(2.0 * np.float64(uniform(stream)) - 1.0)
        v2 = np.float32(2.0 * np.float64(uniform(stream)) - 1.0)
        square = np.float32(v1 * v1 + v2 * v2)
    factor = np.float32(math.sqrt(-2.0 * math.log(np.float64(square)) / np.float64(square)))
    kept[0] = v1 * factor
    stream[HAS_KEPT] = 1
    return np.float32(v2 * factor)


def log_gamma(x):  # type: ignore[no-untyped-def]
    """Lanczos's series."""
    t = x + 5.5
    t -= (x + 0.5) * math.log(t)
    series, y = 1.000000000190015, x
    for coefficient in GAMMA:
        y += 1.0
        series += coefficient / y
    return -t + math.log(2.5066282746310005 * series / x)


def log_gamma_single(x):  # type: ignore[no-untyped-def]
    return np.float32(log_gamma(np.float64(x)))


def by_product(mean, stream):  # type: ignore[no-untyped-def]
    """Number of uniform deviates whose product is above exp(-mean)."""
    product, count = uniform(stream), 0
    # exp(-mean) > 1 - mean tells for most dim pixels, 1e-12 is more than any rounding.
    if product <= np.float32(1.0 - 1e-12 - np.float64(mean)):
        return 0.0
    limit = np.float32(math.exp(-np.float64(mean)))
    while product > limit:
        count += 1
        product = np.float32(product * uniform(stream))
    return np.float64(count)


def by_rejection(mean, stream, kept):  # type: ignore[no-untyped-def]
    """Rejection from a Lorentzian; a Gaussian beyond a million photons."""
    if mean > LOCKS_UP:
        return np.float64(np.float32(np.float64(mean) + math.sqrt(np.float64(mean)) * np.float64(gaussian(stream, kept))))
    width, log_mean = np.float32(math.sqrt(2.0 * np.float64(mean))), np.float32(math.log(np.float64(mean)))
    offset = np.float32(np.float32(mean * log_mean) - log_gamma_single(np.float32(np.float64(mean) + 1.0)))
    while True:
        count = np.float32(-1.0)
        y = np.float32(0.0)
        while count < np.float32(0.0):
            y = np.float32(math.tan(math.pi * np.float64(uniform(stream))))
            count = np.float32(np.float32(width * y) + mean)
        count = np.floor(count)
        exponent = np.float32(np.float32(np.float32(count * log_mean) - log_gamma_single(np.float32(count + ONE))) - offset)
        accept = np.float32(0.9 * (1.0 + np.float64(np.float32(y * y))) * math.exp(np.float64(exponent)))
        if not uniform(stream) > accept:
            return np.float64(count)


@compiled_alone(error_model="numpy")
def draw(photons, stream, kept, drawn):  # type: ignore[no-untyped-def]
    # The choice is made here as LLVM does not take a function that makes it into the loop, which is then eight times slower.
    for i in range(photons.size):
        drawn[i] = by_product(photons[i], stream) if photons[i] < FEW else by_rejection(photons[i], stream, kept)
