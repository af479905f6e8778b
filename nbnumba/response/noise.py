"""Photon counting noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from nbnumba.errors import NbnumbaWarning
from nbnumba.response.counts import UINT16, CountRange, whole

if TYPE_CHECKING:
    from nbnumba.image.image import Image
    from nbnumba.response.counter_noise import CounterNoise
    from nbnumba.response.sequential_noise import SequentialNoise


def noisy_counts(image: Image, seed: int, offset: float, held: CountRange = UINT16) -> Iterator[NDArray[Any]]:
    """Rows of photons drawn for every pixel of the region of interest, plus ``offset``; what is not rendered is marked."""
    noise = noise_of(image, seed)
    for block in image.blocks():
        yield block.image(whole(noise.draw(block) + offset, held.simulated), held.dtype, held.mark)
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
