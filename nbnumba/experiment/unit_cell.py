"""The crystal's unit cell vectors in the laboratory, at phi = 0 and for the perfectly aligned domain (EXP-7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nbnumba.errors import ParameterError
from nbnumba.experiment.crystal import CellParameters, Crystal
from nbnumba.experiment.ran1 import Ran1, cap_rotation, uniform_rotation
from nbnumba.experiment.vectors import Array, cross, dot, length, rotate_xyz

ANGSTROM = 1e-10
SHORTEST, LONGEST = 1e-12, 1e-3  # m, of a cell's edges
ORIENTATION = 2**64 - 1  # stands in Philox's key where noise has the number of an image


@dataclass(frozen=True, eq=False)
class UnitCell:
    """direct: (3, 3), rows a, b, c in m; reciprocal: (3, 3), rows a*, b*, c* in 1/m; volume in m^3; misset in rad."""

    direct: Array
    reciprocal: Array
    volume: float
    misset: tuple[float, float, float]

    @cached_property
    def lengths_and_angles(self) -> CellParameters:
        """a, b, c in m and alpha, beta, gamma in rad."""
        a, b, c = self.direct
        return (length(a), length(b), length(c), angle(b, c), angle(a, c), angle(a, b))


def angle(u: Array, v: Array) -> float:
    return math.atan2(length(cross(u, v)), float(dot(u, v)))


def resolve_unit_cell(crystal: Crystal, wavelength: float, quirks: frozenset[str]) -> UnitCell:
    """Orientation from the matrix if there is one, else the standard setting; then the missetting rotations.

    With both a matrix and a cell, the cell decides lengths and volume, the matrix the directions. Worked out in Angstrom: so does
    nanoBragg, and indices far from a lattice point show the last digit.
    """
    if not crystal.has_matrix and crystal.cell is None:
        raise ParameterError("crystal.cell", "no unit cell: give a cell (-cell) or an orientation matrix (-mat)")
    cell = None if crystal.cell is None else in_angstrom(complete_cell(crystal.cell))
    if crystal.a_matrix is not None:
        reciprocal = np.array(crystal.a_matrix).reshape(3, 3).T * (ANGSTROM / wavelength)
    elif crystal.reciprocal_matrix is not None:
        reciprocal = np.array(crystal.reciprocal_matrix).reshape(3, 3).T * ANGSTROM
    else:
        assert cell is not None
        reciprocal = standard_setting(cell, keep_angles="triclinic-setting" not in quirks)
    misset = crystal.misset or (0.0, 0.0, 0.0)
    if crystal.random_orientation_seed is not None:
        misset = random_misset(crystal.random_orientation_seed, uniform="misset-cap" not in quirks)
    reciprocal = rotate_xyz(reciprocal, misset)

    with np.errstate(all="ignore"):
        across = cross(reciprocal[[1, 2, 0]], reciprocal[[2, 0, 1]])
        inverse = float(dot(reciprocal[0], across[0]))
    if not math.isfinite(inverse) or inverse == 0.0:
        raise ParameterError(f"crystal.{'a' if crystal.a_matrix else 'reciprocal'}_matrix", "its three columns do not span a unit cell")
    if cell is not None:
        volume = cell_volume(cell)
        across *= [[cell[i] / volume / (length(across[i]) or 1.0)] for i in range(3)]
    else:
        volume = 1.0 / inverse
    direct = across * volume
    reciprocal = cross(direct[[1, 2, 0]], direct[[2, 0, 1]]) / volume
    return UnitCell(direct=direct * ANGSTROM, reciprocal=reciprocal / ANGSTROM, volume=volume * ANGSTROM**3, misset=misset)


def complete_cell(cell: CellParameters) -> CellParameters:
    """Zeros stand for "as a" (lengths) and 90 degrees (angles)."""
    a, b, c, *angles = cell
    alpha, beta, gamma = (value or math.pi / 2 for value in angles)
    complete = (a, b or a, c or a, alpha, beta, gamma)
    for length_m in complete[:3]:
        if not SHORTEST <= length_m <= LONGEST:
            raise ParameterError(
                "crystal.cell", f"a length of {length_m * 1e10:g} A is not between {SHORTEST * 1e10:g} and {LONGEST * 1e10:g} A"
            )
    if not cell_volume(complete) > 0.0:
        in_degrees = " ".join(f"{math.degrees(v):g}" for v in (alpha, beta, gamma))
        raise ParameterError("crystal.cell", f"angles {in_degrees} degrees do not close a unit cell")
    return complete


def in_angstrom(cell: CellParameters) -> CellParameters:
    """Lengths in Angstrom, angles as they are."""
    a, b, c, *angles = cell
    alpha, beta, gamma = angles
    return (a / ANGSTROM, b / ANGSTROM, c / ANGSTROM, alpha, beta, gamma)


def cell_volume(cell: CellParameters) -> float:
    a, b, c, alpha, beta, gamma = cell
    s = (alpha + beta + gamma) / 2
    skew = math.sin(s) * math.sin(s - alpha) * math.sin(s - beta) * math.sin(s - gamma)
    return 2.0 * a * b * c * math.sqrt(skew) if skew > 1e-15 else 0.0


def standard_setting(cell: CellParameters, keep_angles: bool) -> Array:
    """Rows a*, b*, c* with a* along x and b* in the x-y plane; with nanoBragg's height of c* unless the angles are kept."""
    a, b, c, alpha, beta, gamma = cell
    volume = cell_volume(cell)
    a_star, b_star, c_star = b * c * math.sin(alpha) / volume, c * a * math.sin(beta) / volume, a * b * math.sin(gamma) / volume
    cos_alpha_star = (math.cos(beta) * math.cos(gamma) - math.cos(alpha)) / (math.sin(beta) * math.sin(gamma))
    cos_beta_star = (math.cos(gamma) * math.cos(alpha) - math.cos(beta)) / (math.sin(gamma) * math.sin(alpha))
    cos_gamma_star = (math.cos(alpha) * math.cos(beta) - math.cos(gamma)) / (math.sin(alpha) * math.sin(beta))
    sin_gamma_star = min(c / volume / a_star / b_star, 1.0)
    return np.array(
        [
            [a_star, 0.0, 0.0],
            [b_star * cos_gamma_star, b_star * sin_gamma_star, 0.0],
            [
                c_star * cos_beta_star,
                c_star * (cos_alpha_star - cos_beta_star * cos_gamma_star) / sin_gamma_star,
                1.0 / c if keep_angles else c_star * volume / (a * b * c * sin_gamma_star),
            ],
        ]
    )


def counter_deviates(seed: int, purpose: int = ORIENTATION) -> list[float]:
    """Three deviates in [0, 1) that have nothing to do with those of the next seed: Philox's first numbers for the seed (EXP-7)."""
    raw = np.random.Philox(key=np.array([seed, purpose], np.uint64)).random_raw(3)
    return [int(number >> np.uint64(11)) * 2.0**-53 for number in raw]


def random_misset(seed: int, uniform: bool) -> tuple[float, float, float]:
    """Missetting angles of a random orientation: uniform over all rotations, or nanoBragg's cap of 90 rad."""
    rotation = uniform_rotation(*counter_deviates(seed)) if uniform else cap_rotation(90.0, Ran1(seed))
    return (
        math.atan2(rotation[2, 1], rotation[2, 2]),
        math.atan2(-rotation[2, 0], math.hypot(rotation[2, 1], rotation[2, 2])),
        math.atan2(rotation[1, 0], rotation[0, 0]),
    )
