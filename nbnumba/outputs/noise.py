"""Photon counting noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nbnumba.outputs.counter_noise import CounterNoise
    from nbnumba.outputs.image import Image
    from nbnumba.outputs.sequential_noise import SequentialNoise


def noisy_counts(image: Image, seed: int, offset: float, dtype: type[Any] = np.uint16) -> Iterator[NDArray[Any]]:
    """Photons drawn for every pixel of the region of interest, plus ``offset``, clipped to a type; 0 elsewhere. In blocks."""
    noise, most = noise_of(image, seed), float(np.iinfo(dtype).max)
    for block in image.blocks():
        yield block.image(np.clip(noise.draw(block) + offset, 0.0, most), dtype)


def noise_of(image: Image, seed: int) -> SequentialNoise | CounterNoise:
    """The reference program's, or one that depends on seed, image and pixel alone."""
    if "sequential-noise" in image.experiment.quirks:
        from nbnumba.outputs.sequential_noise import SequentialNoise

        return SequentialNoise(seed)
    from nbnumba.outputs.counter_noise import CounterNoise

    return CounterNoise(seed)
