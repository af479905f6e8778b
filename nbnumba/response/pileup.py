"""Counts of counters that are blind for a while after a photon (RSP-40, RSP-41, RSP-42).

Photons come at random, x of them in a dead time. Means and variances are those of renewal processes whose exposure is long beside the dead
time: the mean interval m between counts gives exposure / m of them, its variance v a variance of exposure v / m^3.
"""

from __future__ import annotations

import math

import numpy as np

from nbnumba.kernel.cpu.device import compiled_alone
from nbnumba.response.poisson import normal_deviate

PARALYSABLE, NONPARALYSABLE, RETRIGGERING = 0, 1, 2
HALVES = 2.0**26  # of a number of 53 bits: one for a normal deviate, the other for a fraction
LITTLE = 1e-3  # of a variance that whole numbers about a mean do not have by themselves


def paralysed(n, x):
    """Every photon makes the counter blind anew: n exp(-x), with a variance of n exp(-x) (1 - 2 x exp(-x))."""
    q = math.exp(-x)
    return n * q, n * q * (1.0 - q * (1.0 + x * x))


def not_paralysed(n, x):
    """Only photons that are counted make it blind: n / (1 + x), with a variance of n / (1 + x)^3."""
    y = 1.0 + x
    return n / y, n * x / (y * y * y * y)


def retriggered(n, x):
    """It counts again at the end of each dead time in which there was a photon: n / (x + q), q = exp(-x).

    Intervals are a dead time, and with the probability q the time to the next photon besides: the variance is n (2 q - q^2) / (x + q)^3.
    """
    q = math.exp(-x)
    y = x + q
    return n / y, n * ((2.0 * q - q * q) * y - (q * (1.0 + x)) ** 2) / (y * y * y * y)


def moments(n, x, kind):
    """Mean, and what the variance is more than that of the photons, which the mean carries on: n times the square of its slope."""
    if kind == PARALYSABLE:
        return paralysed(n, x)
    return not_paralysed(n, x) if kind == NONPARALYSABLE else retriggered(n, x)


def besides_rounding(variance, fraction):
    """What is left of a variance by whole numbers above and below: f (1 - f) of it where there is little, a sixth where there is more."""
    alone = fraction * (1.0 - fraction)
    if variance - alone < LITTLE:
        return 0.0
    spread = math.exp(-2.0 * math.pi**2 * (variance - alone))  # of the fraction, by the first term of its Fourier series
    return max(variance - (1.0 / 6.0 + (alone - 1.0 / 6.0) * spread), 0.0)


@compiled_alone(error_model="numpy", nogil=True)
def expected(values, offset, share, kind, found):
    for slow in range(values.shape[0]):
        for fast in range(values.shape[1]):
            n = max(values[slow, fast] - offset, 0.0)
            found[slow, fast] = moments(n, n * share, kind)[0] + offset


@compiled_alone(error_model="numpy", nogil=True)
def counted(values, offset, share, kind, uniform, found):
    """Whole numbers of these moments; uniform: a number for each pixel."""
    for slow in range(values.shape[0]):
        for fast in range(values.shape[1]):
            n = values[slow, fast] - offset
            found[slow, fast] = offset
            if n > 0.0:
                mean, variance = moments(n, n * share, kind)
                number = uniform[slow, fast] * HALVES
                whole = np.floor(number)
                left = besides_rounding(variance, mean - np.floor(mean))
                if left > 0.0:
                    mean += math.sqrt(left) * normal_deviate((whole + 0.5) / HALVES)
                found[slow, fast] += max(np.floor(mean + (number - whole)), 0.0)
