"""nanoBragg's random numbers: Park and Miller's generator with Bays-Durham shuffle, and rotations drawn from it.

Source: Numerical Recipes in C, 2nd edition, section 7.1 (``ran1``); all results are rounded to float32, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nbnumba.experiment.vectors import Array

MULTIPLIER, MODULUS = 16807, 2147483647
TABLE = 32
LARGEST = float(np.float32(1.0 - 1.2e-7))


class Ran1:
    """Uniform deviates in (0, 1) from an integer seed (ROT-7)."""

    def __init__(self, seed: int) -> None:
        self._state = max(seed, 1)
        burn_in = [self._advance() for _ in range(TABLE + 8)]
        self._shuffled = burn_in[:7:-1]
        self._output = self._shuffled[0]

    def _advance(self) -> int:
        self._state = self._state * MULTIPLIER % MODULUS
        return self._state

    @property
    def state(self) -> tuple[int, ...]:
        """What the next deviates follow from: the shuffle table, the number that goes into it next, the one that was drawn last."""
        return *self._shuffled, self._state, self._output

    def uniform(self) -> float:
        """The next deviate."""
        state = self._advance()
        slot = self._output // (1 + (MODULUS - 1) // TABLE)
        self._output, self._shuffled[slot] = self._shuffled[slot], state
        return min(float(np.float32(self._output * (1.0 / MODULUS))), LARGEST)


def about(axis: Sequence[float] | Array, angle: float) -> Array:
    """The rotation matrix (3, 3) about a unit axis by an angle in rad."""
    x, y, z = axis
    c, s = math.cos(angle), math.sin(angle)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(c * np.eye(3) + (1.0 - c) * np.outer(axis, axis) + s * cross)


def random_axis(r1: float, r2: float) -> tuple[float, float, float]:
    """A direction, uniform over the sphere, from two deviates in (-1, 1)."""
    radius = math.sqrt(1.0 - r2 * r2)
    return radius * math.sin(math.pi * r1), radius * math.cos(math.pi * r1), r2


def cap_rotation(radius: float, deviates: Ran1, single: bool = True) -> Array:
    """A random rotation (3, 3) about a random axis by at most ``radius`` rad; uses three deviates (ROT-8).

    single: form the angle in float32, as nanoBragg does.
    """
    r1, r2, r3 = (2.0 * deviates.uniform() - 1.0 for _ in range(3))
    if not single:
        return about(random_axis(r1, r2), radius * math.pow(1.0 - r3 * r3, 1.0 / 3.0))
    cube_root = np.float32(math.pow(np.float32(1.0 - r3 * r3), np.float32(1.0 / 3.0)))
    return about(random_axis(r1, r2), float(np.float32(radius) * cube_root))


def normal_rotation(spread: float, deviates: Ran1) -> Array:
    """A random rotation (3, 3) about a random axis by a normally distributed angle of standard deviation ``spread`` rad (ROT-9)."""
    r1, r2, u, v = (2.0 * deviates.uniform() - 1.0 for _ in range(4))
    deviate = math.sqrt(-2.0 * math.log((u + 1.0) / 2.0)) * math.cos(math.pi * v)
    return about(random_axis(r1, r2), spread * deviate)


def uniform_rotation(u1: float, u2: float, u3: float) -> Array:
    """A random rotation (3, 3), uniform over all of them, from three deviates in [0, 1) (K. Shoemake, Graphics Gems III, 1992)."""
    x, y = math.sqrt(1.0 - u1) * math.sin(2.0 * math.pi * u2), math.sqrt(1.0 - u1) * math.cos(2.0 * math.pi * u2)
    z, w = math.sqrt(u1) * math.sin(2.0 * math.pi * u3), math.sqrt(u1) * math.cos(2.0 * math.pi * u3)
    sine = math.sqrt(x * x + y * y + z * z) or 1.0
    return about((x / sine, y / sine, z / sine), 2.0 * math.atan2(sine, w))
