"""Poisson deviates by inversion: the least number with a probability of ``uniform`` or more up to it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FEW = 4.0  # photons up to which summing probabilities is as fast as anything, and from which on the expansion is good
SUMMED = 200.0  # photons up to which they are summed where the expansion leaves a doubt
BRIGHT = 1e6  # photons beyond which a normal deviate stands for a Poisson one
SEVEN_DIGITS = 2e-7  # the relative error of ``normal_deviate``
FLOAT64 = 1e-15  # and of sums
CENTRAL = 0.425  # probability to either side of the middle in which a normal deviate needs no logarithm


def poisson(uniform, mean):
    """The deviate; -uniform where it is left to ``invert_from_normal``."""
    if mean > FEW:
        normal = normal_deviate(uniform)
        near, doubt = expanded(normal, mean) if mean <= BRIGHT else rounded(normal, mean)
        count = np.floor(near + doubt)
        if near - doubt >= count >= 0.0:  # the expansion may be below 0, where it is far off
            return count
        if mean > SUMMED:
            return -uniform
    return summed(uniform, mean)


def summed(uniform, mean):
    """By the sum of probabilities from 0."""
    probability = math.exp(-mean)
    up_to, count = probability, 0.0
    # Rounding may keep the sum below `uniform` for ever.
    while up_to < uniform and (probability > 1e-17 or count < mean):
        count += 1.0
        probability *= mean / count
        up_to += probability
    return count


def expanded(w, mean):
    """What the deviate is the whole part of, by an expansion about a normal deviate, and by how much that may be off.

    Giles: Algorithm 955, ACM Transactions on Mathematical Software 42 (2016) 7, doi:10.1145/2699466: Q_N3 and delta.
    """
    root, square = math.sqrt(mean), w * w
    inverse = 1.0 / root  # the only division, which costs as much as all else
    near = mean + root * w + (2.0 + square) * (1.0 / 6.0 - w * inverse * (1.0 / 72.0))
    near += (-8.0 / 405.0 + square * (7.0 / 810.0 + square * (1.0 / 270.0))) * inverse * inverse
    return near, (1.0 / 40.0 + square * (1.0 / 80.0 + square * (1.0 / 160.0))) * inverse * inverse + SEVEN_DIGITS * root * abs(w)


def rounded(w, mean):
    """The same of a normal deviate that stands for a Poisson one."""
    root = math.sqrt(mean)
    return mean + root * w + 0.5, SEVEN_DIGITS * root * abs(w) + FLOAT64 * mean


def normal_deviate(p):
    """The normal deviate with a probability of p below it.

    Wichura: Algorithm AS 241, PPND7. Applied Statistics 37 (1988) 477, doi:10.2307/2347330.
    """
    q = p - 0.5
    return central_deviate(q) if abs(q) <= CENTRAL else tail_deviate(p, q)


def central_deviate(q):
    """Where q = p - 1/2 is no larger than CENTRAL."""
    r = 0.180625 - q * q
    top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
    return q * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)


def tail_deviate(p, q):
    """Elsewhere."""
    r = math.sqrt(-math.log(min(p, 1.0 - p)))
    if r <= 5.0:
        r -= 1.6
        top = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
        return math.copysign(top / ((0.12021132975 * r + 0.73700164250) * r + 1.0), q)
    r -= 5.0
    top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
    return math.copysign(top / ((0.012258202635 * r + 0.24197894225) * r + 1.0), q)


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
