"""The crystal: unit cell, orientation, size and mosaicity."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbnumba.experiment.beam import Vector
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, quantity

SEED = Limits(0, 2_147_483_646)
CellParameters = tuple[float, float, float, float, float, float]
Cells = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Crystal(Part):
    """What diffracts. The orientation comes from ``a_matrix``, else from ``cell`` in its standard setting, then ``misset``."""

    cell: CellParameters | None = quantity(None, "m, rad", "unit cell a, b, c, alpha, beta, gamma", NOT_NEGATIVE, size=6)
    a_matrix: tuple[float, ...] | None = quantity(
        None, "", "MOSFLM orientation matrix, row by row: columns a*, b*, c* times the wavelength", size=9
    )
    misset: Vector | None = quantity(None, "rad", "rotations of the crystal about x, y and z, in that order", size=3)
    random_orientation_seed: int | None = quantity(
        None, "", "seed of a random orientation, which takes the place of misset", SEED, whole=True
    )
    cells: Cells = quantity((1, 1, 1), "", "number of unit cells along a, b and c", Limits(0, 1e9), size=3, whole=True)
    size: Vector = quantity((0.0, 0.0, 0.0), "m", "sample size along a, b, c; where not 0 it decides the cells", Limits(0.0, 1.0), size=3)
    mosaic_spread: float | None = quantity(None, "rad", "radius of the cap of mosaic domain orientations", Limits(0.0, math.pi))
    mosaic_domains: int | None = quantity(None, "", "number of mosaic domains", Limits(0, 1_000_000), whole=True)
    mosaic_seed: int = quantity(12345678, "", "seed of the mosaic domain orientations", SEED, whole=True)
