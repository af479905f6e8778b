"""The reference program's random numbers: Park and Miller's generator with Bays-Durham shuffle, and rotations drawn from it.

Source: Numerical Recipes in C, 2nd edition, section 7.1 (``ran1``); all results are rounded to float32, as there.
"""

from __future__ import annotations

import math

import numpy as np

from nbnumba.experiment.vectors import Array

MULTIPLIER, MODULUS = 16807, 2147483647
TABLE = 32
LARGEST = float(np.float32(1.0 - 1.2e-7))


class Ran1:
    """Uniform deviates in (0, 1) from an integer seed (ROT-6)."""

    def __init__(self, seed: int) -> None:
        self._state = max(seed, 1)
        burn_in = [self._advance() for _ in range(TABLE + 8)]
        self._shuffled = burn_in[:7:-1]
        self._output = self._shuffled[0]

    def _advance(self) -> int:
        self._state = self._state * MULTIPLIER % MODULUS
        return self._state

    def uniform(self) -> float:
        """The next deviate."""
        state = self._advance()
        slot = self._output // (1 + (MODULUS - 1) // TABLE)
        self._output, self._shuffled[slot] = self._shuffled[slot], state
        return min(float(np.float32(self._output * (1.0 / MODULUS))), LARGEST)


def cap_rotation(radius: float, deviates: Ran1) -> Array:
    """A random rotation (3, 3) about a random axis by at most ``radius`` rad; uses three deviates (ROT-7).

    The angle is formed in float32, as the reference program does.
    """
    r1, r2, r3 = (2.0 * deviates.uniform() - 1.0 for _ in range(3))
    x, y, z = math.sqrt(1.0 - r2 * r2) * np.array([math.sin(math.pi * r1), math.cos(math.pi * r1), 0.0]) + [0.0, 0.0, r2]
    cube_root = np.float32(math.pow(np.float32(1.0 - r3 * r3), np.float32(1.0 / 3.0)))
    rotation = float(np.float32(radius) * cube_root)
    c, s = math.cos(rotation), math.sin(rotation)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return c * np.eye(3) + (1.0 - c) * np.outer([x, y, z], [x, y, z]) + s * cross
