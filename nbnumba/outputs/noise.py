"""Photon counting noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nbnumba.outputs.counter_noise import CounterNoise
    from nbnumba.outputs.image import Image
    from nbnumba.outputs.sequential_noise import SequentialNoise


def noisy_counts(image: Image, seed: int, offset: float) -> Iterator[NDArray[np.uint16]]:
    """Photons drawn for every pixel of the region of interest, plus ``offset``, clipped to 16 bits; 0 elsewhere. In blocks."""
    noise = noise_of(image, seed)
    for block in image.blocks():
        yield block.image(np.clip(noise.draw(block) + offset, 0.0, 65535.0), np.uint16)


def noise_of(image: Image, seed: int) -> SequentialNoise | CounterNoise:
    """The reference program's, or one that depends on seed, image and pixel alone."""
    if "sequential-noise" in image.experiment.quirks:
        from nbnumba.outputs.sequential_noise import SequentialNoise

        return SequentialNoise(seed)
    from nbnumba.outputs.counter_noise import CounterNoise

    return CounterNoise(seed)
