"""The crystal: unit cell, orientation, size and mosaicity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Vector
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, described, quantity, shown

SEED = Limits(0, 2_147_483_646)
CellParameters = tuple[float, float, float, float, float, float]
Cells = tuple[int, int, int]
Matrix = tuple[float, ...]  # 3 x 3, row by row
ROUNDING = 1e-5  # of a rotation as files write it


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Crystal(Part):
    """What diffracts. The orientation comes from a matrix, else from ``cell`` in its standard setting, then ``misset``.

    With a matrix and a cell, the cell decides lengths and volume, the matrix the directions.
    """

    cell: CellParameters | None = quantity(None, "m, rad", "unit cell a, b, c, alpha, beta, gamma", NOT_NEGATIVE, size=6)
    a_matrix: tuple[float, ...] | None = quantity(
        None, "", "MOSFLM orientation matrix, row by row: columns a*, b*, c* times the wavelength", size=9
    )
    reciprocal_matrix: tuple[float, ...] | None = quantity(
        None, "1/m", "the same without the wavelength, as dxtbx's A = U B: columns a*, b*, c*, row by row", size=9
    )
    misset: Vector | None = quantity(None, "rad", "rotations of the crystal about x, y and z, in that order", size=3)
    random_orientation_seed: int | None = quantity(
        None, "", "seed of a random orientation, which takes the place of misset", SEED, whole=True
    )
    cells: Cells = quantity((1, 1, 1), "", "number of unit cells along a, b and c", Limits(0, 1e9), size=3, whole=True)
    size: Vector = quantity((0.0, 0.0, 0.0), "m", "sample size along a, b, c; where not 0 it decides the cells", Limits(0.0, 1.0), size=3)
    extent: Vector | None = quantity(
        None,
        "m",
        "edges of the whole crystal, along the beam and twice across it: a mosaic of blocks of so many cells; not given: one block",
        Limits(0.0, 1.0, open_low=True),
        size=3,
    )
    mosaic_spread: float | None = quantity(None, "rad", "radius of the cap of mosaic domain orientations", Limits(0.0, math.pi))
    mosaic_domains: int | None = quantity(None, "", "number of mosaic domains", Limits(0, 1_000_000), whole=True)
    mosaic_seed: int = quantity(12345678, "", "seed of the mosaic domain orientations", SEED, whole=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.a_matrix is not None and self.reciprocal_matrix is not None:
            raise ParameterError(self.where("reciprocal_matrix"), "is an orientation, and so is a_matrix; give one of them")

    @property
    def has_matrix(self) -> bool:
        """Whether a matrix states the orientation."""
        return self.a_matrix is not None or self.reciprocal_matrix is not None

    @property
    def has_cell(self) -> bool:
        """Whether its unit cell follows from what is stated."""
        return self.cell is not None or self.has_matrix

    @classmethod
    def from_U_and_B(cls, U: Any, B: Any, **more: Any) -> Crystal:
        """A crystal whose reciprocal cell vectors are the columns of U B, as dxtbx has them.

        U: (3, 3), a rotation; B: (3, 3), a*, b*, c* in the crystal's own frame, in 1/m. more: other fields. Raises ParameterError.
        """
        rotation, own = (cls(reciprocal_matrix=matrix).reciprocal_matrix for matrix in (U, B))
        assert rotation is not None
        assert own is not None
        if not is_rotation(rotation):
            raise ParameterError(
                cls.where("U"), f"{shown(rotation)} is not a rotation: its rows must be at right angles, and of unit length"
            )
        return cls(reciprocal_matrix=product(rotation, own), **more)


def product(a: Matrix, b: Matrix) -> Matrix:
    """Of two 3 x 3 matrices, row by row."""
    return tuple(sum(a[3 * row + n] * b[3 * n + column] for n in range(3)) for row in range(3) for column in range(3))


def is_rotation(matrix: Matrix) -> bool:
    """Whether a matrix times its transpose is 1, and nothing is mirrored."""
    (a, b, c), transposed = (matrix[:3], matrix[3:6], matrix[6:]), tuple(matrix[3 * n + row] for row in range(3) for n in range(3))
    volume = sum(a[n] * (b[n - 2] * c[n - 1] - b[n - 1] * c[n - 2]) for n in range(3))
    squares = product(matrix, transposed)
    return volume > 0.0 and all(abs(squares[n] - (n % 4 == 0)) <= ROUNDING for n in range(9))
