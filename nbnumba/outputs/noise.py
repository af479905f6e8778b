"""Photon counting noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.outputs.smv import MOST

if TYPE_CHECKING:
    from nbnumba.outputs.counter_noise import CounterNoise
    from nbnumba.outputs.image import Image
    from nbnumba.outputs.sequential_noise import SequentialNoise


def noisy_counts(image: Image, seed: int, offset: float, most: int = MOST) -> Iterator[NDArray[Any]]:
    """Photons drawn for every pixel of the region of interest, plus ``offset``, from 0 to ``most``; 0 elsewhere. In blocks."""
    noise, dtype = noise_of(image, seed), np.uint16 if most == MOST else np.int32
    for block in image.blocks():
        yield block.image(np.clip(noise.draw(block) + offset, 0.0, float(most)), dtype)


def noise_of(image: Image, seed: int) -> SequentialNoise | CounterNoise:
    """The reference program's, or one that depends on seed, image and pixel alone."""
    if "sequential-noise" in image.experiment.quirks:
        from nbnumba.outputs.sequential_noise import SequentialNoise

        return SequentialNoise(seed)
    from nbnumba.outputs.counter_noise import CounterNoise

    return CounterNoise(seed)
