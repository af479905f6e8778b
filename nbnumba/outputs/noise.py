"""Photon counting noise: the reference program's, bit for bit, and one that depends on seed, image and pixel alone (FMT-11, FMT-12)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nbnumba.outputs.image import Image

TABLE = 32
BRIGHT = 1e6  # photons beyond which a normal deviate stands for a Poisson one
LOCKS_UP = np.float32(1e6)  # the rejection method does not end for more photons than that
GAMMA = (
    76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5,
)  # fmt: skip


def noisy_counts(image: Image, seed: int, offset: float) -> NDArray[np.uint16]:
    """Photons drawn for every pixel of the region of interest, plus ``offset``, clipped to 16 bits; 0 elsewhere."""
    if "sequential-noise" in image.experiment.quirks:
        drawn = sequential_noise(image.float32[image.roi], seed)
    else:
        drawn = counter_noise(image.float32, seed)[image.roi]
    counts = np.zeros(image.shape, np.uint16)
    counts[image.roi] = np.clip(drawn + offset, 0.0, 65535.0)
    return counts


def sequential_noise(photons: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Poisson deviates of the pixels in order, from one stream of Numerical Recipes' generator (ran1, poidev, gasdev).

    photons: any shape, expected numbers; returns the same shape. Every pixel depends on all before it. All intermediate
    results are rounded to float32 where the reference program stores them in one.
    """
    return np.asarray(poisson_stream(photons.ravel(), max(seed, 1))).reshape(photons.shape)


def counter_noise(photons: NDArray[np.float32], seed: int, image: int = 0) -> NDArray[np.float64]:
    """Poisson deviates by inversion of one Philox number for each pixel, keyed by (seed, image, pixel).

    photons: [slow, fast] of the whole detector. The same for any order of work and any region of interest.
    """
    from scipy.special import ndtri, pdtr, pdtrik

    raw = np.random.Philox(key=np.array([seed, image], np.uint64)).random_raw(photons.size)
    uniform = (np.asarray(raw, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    mean = photons.ravel().astype(np.float64)
    drawn = np.zeros(photons.size)
    bright = mean > BRIGHT
    drawn[bright] = np.rint(mean[bright] + np.sqrt(mean[bright]) * ndtri(np.maximum(uniform[bright], 2.0**-54)))
    lit = (mean > 0.0) & ~bright
    above = np.ceil(pdtrik(uniform[lit], mean[lit]))
    below = np.maximum(above - 1.0, 0.0)
    drawn[lit] = np.where(pdtr(below, mean[lit]) >= uniform[lit], below, above)
    return drawn.reshape(photons.shape)


@njit(cache=True, error_model="numpy")
def poisson_stream(photons, seed):  # type: ignore[no-untyped-def]
    stream = np.empty(TABLE + 4, np.int64)  # shuffle table, state, output, whether a Gaussian deviate is kept
    start(stream, seed)
    kept = np.zeros(1, np.float32)
    counts = np.empty(photons.size)
    for i in range(photons.size):
        counts[i] = poisson(photons[i], stream, kept)
    return counts


@njit(cache=True)
def start(stream, seed):  # type: ignore[no-untyped-def]
    """Fill the shuffle table; the first eight numbers are dropped."""
    state = seed
    for slot in range(TABLE + 7, -1, -1):
        state = state * 16807 % 2147483647
        if slot < TABLE:
            stream[slot] = state
    stream[TABLE], stream[TABLE + 1], stream[TABLE + 2] = state, stream[0], 0


@njit(cache=True)
def uniform(stream):  # type: ignore[no-untyped-def]
    """The next deviate in (0, 1), float32 (ROT-7)."""
    stream[TABLE] = stream[TABLE] * 16807 % 2147483647
    slot = stream[TABLE + 1] // 67108864
    stream[TABLE + 1] = stream[slot]
    stream[slot] = stream[TABLE]
    return min(np.float32(stream[TABLE + 1] * (1.0 / 2147483647)), np.float32(1.0 - 1.2e-7))


@njit(cache=True, error_model="numpy")
def gaussian(stream, kept):  # type: ignore[no-untyped-def]
    """Box and Muller's deviates, two at a time; the second is kept for the next call."""
    if stream[TABLE + 2]:
        stream[TABLE + 2] = 0
        return kept[0]
    v1 = v2 = square = np.float32(0.0)
    while square >= np.float32(1.0) or square == np.float32(0.0):
        v1 = np.float32(2.0 * np.float64(uniform(stream)) - 1.0)
        v2 = np.float32(2.0 * np.float64(uniform(stream)) - 1.0)
        square = np.float32(v1 * v1 + v2 * v2)
    factor = np.float32(math.sqrt(-2.0 * math.log(np.float64(square)) / np.float64(square)))
    kept[0] = v1 * factor
    stream[TABLE + 2] = 1
    return np.float32(v2 * factor)


@njit(cache=True, error_model="numpy")
def log_gamma(x32):  # type: ignore[no-untyped-def]
    x = np.float64(x32)
    t = x + 5.5
    t -= (x + 0.5) * math.log(t)
    series, y = 1.000000000190015, x
    for coefficient in GAMMA:
        y += 1.0
        series += coefficient / y
    return np.float32(-t + math.log(2.5066282746310005 * series / x))


@njit(cache=True, error_model="numpy")
def poisson(mean, stream, kept):  # type: ignore[no-untyped-def]
    """Products of uniform deviates below 12 photons, rejection from a Lorentzian above, a Gaussian beyond a million."""
    one = np.float32(1.0)
    if mean > LOCKS_UP:
        return np.float64(np.float32(np.float64(mean) + math.sqrt(np.float64(mean)) * np.float64(gaussian(stream, kept))))
    if mean < np.float32(12.0):
        limit, count, product = np.float32(math.exp(-np.float64(mean))), 0, uniform(stream)
        while product > limit:
            count += 1
            product = np.float32(product * uniform(stream))
        return np.float64(count)
    width, log_mean = np.float32(math.sqrt(2.0 * np.float64(mean))), np.float32(math.log(np.float64(mean)))
    offset = np.float32(np.float32(mean * log_mean) - log_gamma(np.float32(np.float64(mean) + 1.0)))
    while True:
        count32 = np.float32(-1.0)
        y = np.float32(0.0)
        while count32 < np.float32(0.0):
            y = np.float32(math.tan(math.pi * np.float64(uniform(stream))))
            count32 = np.float32(np.float32(width * y) + mean)
        count32 = np.float32(math.floor(np.float64(count32)))
        exponent = np.float32(np.float32(np.float32(count32 * log_mean) - log_gamma(np.float32(count32 + one))) - offset)
        accept = np.float32(0.9 * (1.0 + np.float64(np.float32(y * y))) * math.exp(np.float64(exponent)))
        if not uniform(stream) > accept:
            return np.float64(count32)
