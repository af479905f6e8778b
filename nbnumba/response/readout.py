"""How an image is read out, and what a response is told of the rows that it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nbnumba.image.image import Block
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

    @classmethod
    def example(cls, **readout: Any) -> Frame:
        """Of two rows of two pixels, for worked values."""
        rows = slice(0, 2)
        return cls(Readout(**readout), Block(rows, np.zeros((2, 2), np.float32), (rows, rows)))
