"""Random numbers of pixels side by side, in loops that work on several of them at a time: what branches comes after all others."""

from __future__ import annotations

import numpy as np

from nbnumba.response.philox import eight_numbers
from nbnumba.response.poisson import BRIGHT, CENTRAL, FEW, SUMMED, central_deviate, expanded, rounded, summed, tail_deviate

SPAN = 256  # pixels
ROOM = SPAN + 16  # of numbers, since Philox makes eight at a time
BITS_DROPPED, UNIT, LEAST = (
    np.uint64(11),
    2.0**-53,
    2.0**-54,
)  # 53 bits of a number are what a float64 holds; of fewer photons none is ever drawn


def fill(numbers, pixel, count, stream, seed, image):
    """The numbers of so many pixels, 0 to 1 - 2^-53; returns those, of an array with more room."""
    for eight in range((pixel % 4 + count + 7) // 8):
        found = eight_numbers(np.uint64(pixel // 4 + 2 * eight), stream, seed, image)
        for i, number in enumerate(found):
            numbers[8 * eight + i] = np.int64(number >> BITS_DROPPED) * UNIT
    return numbers[pixel % 4 : pixel % 4 + count]


def normal(uniform, waiting, deviate):
    """Normal deviates of numbers."""
    many = 0
    for i in range(uniform.size):
        deviate[i] = central_deviate(uniform[i] - 0.5)
    for i in range(uniform.size):
        waiting[many] = i
        many += abs(uniform[i] - 0.5) > CENTRAL
    for n in range(many):
        p = max(uniform[waiting[n]], LEAST)
        deviate[waiting[n]] = tail_deviate(p, p - 0.5)


def few_photons(uniform, mean, probability, up_to, drawn):
    """Poisson deviates of few photons, as ``summed`` has them, step by step for all of them."""
    for i in range(uniform.size):
        probability[i] = up_to[i] = exp_of_few(mean[i])
        drawn[i] = 0.0
    step, left = 0.0, 1
    while left:
        step += 1.0
        inverse, left = 1.0 / step, 0
        for i in range(uniform.size):
            more = (up_to[i] < uniform[i]) & (probability[i] > 1e-17)
            drawn[i] += 1.0 if more else 0.0
            probability[i] *= mean[i] * inverse
            up_to[i] += probability[i]
            left += 1 if more else 0


def exp_of_few(mean):
    """exp(-mean) of no more than FEW photons, to all but the last digits: the 16th power of the series for a 16th of that."""
    x = -0.0625 * mean
    series = 1.0 + x / 8.0 * (1.0 + x / 9.0 * (1.0 + x / 10.0 * (1.0 + x / 11.0 * (1.0 + x / 12.0))))
    series = 1.0 + x / 4.0 * (1.0 + x / 5.0 * (1.0 + x / 6.0 * (1.0 + x / 7.0 * series)))
    series = 1.0 + x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * series))
    series *= series
    series *= series
    series *= series
    return series * series


def many_photons(uniform, mean, waiting, deviate, drawn):
    """Poisson deviates of more photons, as ``poisson`` has them; returns how many are left for later, which are -uniform."""
    normal(uniform, waiting, deviate)
    many, left = 0, 0
    for i in range(uniform.size):
        near, doubt = expanded(deviate[i], mean[i])
        near_bright, doubt_bright = rounded(deviate[i], mean[i])
        is_bright = mean[i] > BRIGHT
        near = near_bright if is_bright else near
        doubt = doubt_bright if is_bright else doubt
        drawn[i] = np.floor(near + doubt)
        deviate[i] = near - doubt
    for i in range(uniform.size):
        waiting[many] = i
        many += (deviate[i] < drawn[i]) | (drawn[i] < 0.0)  # the expansion may be below 0, where it is far off
    for n in range(many):
        i = waiting[n]
        is_left = mean[i] > SUMMED
        drawn[i] = -uniform[i] if is_left else summed(uniform[i], mean[i])
        left += is_left
    return left


def draw_few(uniform, mean, places, work, counts):
    """Poisson deviates of the pixels of few photons that are not 0 for certain, together."""
    at, chosen, photons, many = places[0], work[0], work[1], 0
    for i in range(uniform.size):
        at[many] = i
        many += (uniform[i] > 1.0 - mean[i]) & (mean[i] <= FEW)  # which is exp(-mean) at most
    for n in range(many):
        chosen[n], photons[n] = uniform[at[n]], mean[at[n]]
    few_photons(chosen[:many], photons, work[2], work[3], work[4])
    for n in range(many):
        counts[at[n]] = work[4, n]


def draw_many(uniform, mean, places, work, counts):
    """The same of the other pixels; returns how many are left."""
    at, chosen, photons, many = places[0], work[0], work[1], 0
    for i in range(uniform.size):
        at[many] = i
        many += mean[i] > FEW
    for n in range(many):
        chosen[n], photons[n] = max(uniform[at[n]], LEAST), mean[at[n]]
    left = many_photons(chosen[:many], photons, places[1], work[2], work[4])
    for n in range(many):
        counts[at[n]] = work[4, n]
    return left
