"""Reflections: what is known of them besides index and amplitude, and what a table of them must not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.dispersion import ScatteringParts

LARGEST_INDEX = 100_000


@dataclass(frozen=True, eq=False)
class Reflections:
    """What a file says, expanded to P1.

    hkl: (n, 3) int32, each reflection once; F: (n,) electrons; cell: a, b, c in m, alpha, beta, gamma in rad; d_min, d_max in m.
    unique, in_p1: numbers of reflections with an amplitude before and after expansion, those that the space group forbids and 0 0 0 not
    counted; completeness: unique, of all to d_min; F000: electrons, None if the file does not have it, in the table if the file lists it;
    meaning: what the amplitudes are. rows: where in the file each comes from, as ScatteringParts has them; parts: what amplitudes that
    depend on the wavelength are made of, F being those without dispersion.
    """

    hkl: NDArray[np.int32]
    F: NDArray[np.float64]
    cell: tuple[float, float, float, float, float, float]
    space_group: str
    meaning: str
    unique: int
    in_p1: int
    completeness: float
    d_min: float
    d_max: float
    F000: float | None = None
    column: str | None = None
    rows: NDArray[np.int32] | None = None
    parts: ScatteringParts | None = None


def contradiction(hkl: NDArray[Any], F: NDArray[np.float64]) -> tuple[int, int] | None:
    """Two places where one reflection has different amplitudes, if there are any."""
    order = np.lexsort(hkl.T[::-1])
    differs = (np.diff(hkl[order], axis=0) == 0).all(axis=1) & (np.diff(F[order]) != 0.0)
    if not differs.any():
        return None
    at = int(np.flatnonzero(differs)[0])
    first, second = sorted(order[at : at + 2].tolist())
    return first, second
