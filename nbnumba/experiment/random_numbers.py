"""Random numbers that a seed and the number of a shot alone decide: those of Philox, whose bits are the same everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def complex_normal(seed: int, shot: int, count: int, stream: int = 0) -> NDArray[np.complex128]:
    """Complex numbers (count,) with a mean square of 1, by the transform of Box and Muller; stream: others for another purpose."""
    bits = np.random.Philox(key=np.array([seed, shot], np.uint64), counter=np.array([0, 0, 0, stream], np.uint64)).random_raw(2 * count)
    uniform = ((bits >> np.uint64(11)) + 1.0) * 2.0**-53  # above 0, whose logarithm there is
    return np.asarray(np.sqrt(-np.log(uniform[::2])) * np.exp(2j * np.pi * uniform[1::2]))
