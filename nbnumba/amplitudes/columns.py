"""Which column of a reflection file holds the best amplitudes: one order for MTZ and mmCIF (FMT-17, FMT-18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Kind(NamedTuple):
    """What a column is; intensity: of which amplitudes are square roots; rank: smallest for what is taken first."""

    rank: int
    meaning: str
    intensity: bool = False
    paired: bool = False  # has a column of Friedel mates beside it


OBSERVED = Kind(0, "observed amplitudes")
FRIEDEL = Kind(1, "amplitudes of both Friedel mates", paired=True)
CALCULATED = Kind(2, "calculated amplitudes")
FRIEDEL_CALCULATED = Kind(3, "calculated amplitudes of both Friedel mates", paired=True)
INTENSITY = Kind(4, "square roots of intensities", intensity=True)
FRIEDEL_INTENSITY = Kind(5, "square roots of both Friedel mates' intensities", intensity=True, paired=True)
CALCULATED_INTENSITY = Kind(6, "square roots of calculated intensities", intensity=True)
WITH_PHASES = Kind(7, "amplitudes that have phases")  # of an experiment, of a model or of a map
ON_REQUEST = Kind(9, "amplitudes")  # coefficients of maps and the like


def best(columns: dict[str, Kind], preferred: Sequence[str] = ()) -> str | None:
    """The name of the column to take where none is asked for; preferred: names that win over others of their kind, in order."""
    offered = [name for name, kind in columns.items() if kind.rank < ON_REQUEST.rank]
    places = {name: place for place, name in enumerate(preferred)}
    return min(offered, key=lambda name: (columns[name].rank, places.get(name, len(places))), default=None)


def amplitudes(values: NDArray[np.floating], kind: Kind) -> NDArray[np.float64]:
    """F (n,) in electrons, on the file's scale; of intensities the root, 0 where they are negative."""
    found = np.array(values, np.float64)
    return np.sqrt(np.maximum(found, 0.0)) if kind.intensity else found
