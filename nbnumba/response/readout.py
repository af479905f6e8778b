"""How an image is read out, and what a response is told of the rows that it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from nbnumba.image.image import Block
from nbnumba.response.counter_noise import CounterNoise
from nbnumba.response.counts import UINT16, CountRange


class Readout(NamedTuple):
    """seed: of the noise, None for none, where photons count ``scale`` each; offset: what is added to counts; number: of the image in a
    sweep, from 1, 0 if it is in none; held: the whole numbers that the file holds.
    """

    seed: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    number: int = 0
    held: CountRange = UINT16


@dataclass(frozen=True)
class Frame:
    """block: some rows of the image, whose region of interest the values are; memory: what stages keep from block to block, by name."""

    readout: Readout
    block: Block
    memory: dict[str, Any] = field(default_factory=dict)

    def keeps(self, name: str, make: Callable[[], Any]) -> Any:
        """What a stage keeps under a name from block to block of an image; made where it is first asked for."""
        if name not in self.memory:
            self.memory[name] = make()
        return self.memory[name]

    @property
    def is_drawn(self) -> bool:
        """Whether the image has noise."""
        return self.readout.seed is not None

    def noise(self, name: str) -> CounterNoise:
        """A stage's random numbers of this image, by its name."""
        return CounterNoise(self.readout.seed or 0, self.readout.number, name)

    def pattern(self, name: str, seed: int) -> CounterNoise:
        """A stage's random numbers of a seed, which are the same in all images."""
        return CounterNoise(seed, name=name)

    def split(self) -> Iterator[tuple[slice, Frame]]:
        """The same a few rows at a time, each with the rows of values that it has."""
        return ((rows, replace(self, block=block)) for rows, block in self.block.split())

    @classmethod
    def example(cls, **readout: Any) -> Frame:
        """Of two rows of two pixels, for worked values."""
        rows = slice(0, 2)
        return cls(Readout(**readout), Block(rows, np.zeros((2, 2), np.float32), (rows, rows)))
