"""Photon counting noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaWarning
from nbnumba.formats.smv_write import MOST
from nbnumba.geometry.exposure import NOT_MEASURED

if TYPE_CHECKING:
    from nbnumba.image.image import Image
    from nbnumba.response.counter_noise import CounterNoise
    from nbnumba.response.sequential_noise import SequentialNoise


def noisy_counts(image: Image, seed: int, offset: float, most: int = MOST) -> Iterator[NDArray[Any]]:
    """Photons drawn for every pixel of the region of interest, plus ``offset``, from 0 to ``most``; not rendered: 0, or what marks it."""
    noise, dtype = noise_of(image, seed), np.uint16 if most == MOST else np.int32
    for block in image.blocks():
        yield block.image(np.clip(noise.draw(block) + offset, 0.0, float(most)), dtype, 0 if most == MOST else NOT_MEASURED)
    if doubtful := getattr(noise, "doubtful", 0):
        warnings.warn(
            NbnumbaWarning(
                f"noise: {doubtful} pixels have 1e5 to 1e6 photons, where nanoBragg's variance is off by up to 15 % "
                "(--quirk sequential-noise=off: it is Poisson's)"
            ),
            stacklevel=2,
        )


def noise_of(image: Image, seed: int) -> SequentialNoise | CounterNoise:
    """nanoBragg's, or one that depends on seed, image and pixel alone."""
    if "sequential-noise" in image.experiment.quirks:
        from nbnumba.response.sequential_noise import SequentialNoise

        return SequentialNoise(seed)
    from nbnumba.response.counter_noise import CounterNoise

    return CounterNoise(seed)
