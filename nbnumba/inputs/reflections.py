"""Reflections of a crystal with symmetry as the table of space group P1 that is simulated from (SF-7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.inputs.hkl import LARGEST_INDEX

if TYPE_CHECKING:
    from pathlib import Path

    import gemmi

ANGSTROM = 1e-10
CELL_TOLERANCE = 0.01  # to which a cell obeys its space group, relative for lengths
ON_THE_LIMIT = 1e-6  # relative; what lies on a limit of resolution is within it
KEY = 2 * LARGEST_INDEX + 1


@dataclass(frozen=True, eq=False)
class Reflections:
    """What a file says, expanded to P1.

    hkl: (n, 3) int32, each reflection once; F: (n,) electrons; cell: a, b, c in m, alpha, beta, gamma in rad; d_min, d_max in m.
    unique, in_p1: numbers of reflections with an amplitude before and after expansion, those that the space group forbids and 0 0 0 not
    counted; completeness: unique, of all to d_min; F000: electrons, None if the file does not have it, in the table if the file lists it;
    meaning: what the amplitudes are.
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


def in_p1(
    path: str | Path,
    listed: NDArray[Any],
    F: NDArray[np.float64],
    cell: gemmi.UnitCell,
    group: gemmi.SpaceGroup,
    meaning: str,
    column: str | None = None,
    mates: NDArray[np.float64] | None = None,
) -> Reflections:
    """The table of listed reflections (n, 3), their amplitudes F (n,) and those of their Friedel mates (n,), NaN where there is none.

    F(hR) = F(h) for every rotation R of the group. A mate -h takes F(h) where it has no amplitude of its own, nor h by the same law; of two
    amplitudes for one reflection the first counts. What the group forbids is listed with 0, to d_min. Raises InputFileError.
    """
    if not len(listed) or not np.isfinite(F if mates is None else [F, mates]).any():
        raise InputFileError(path, f"{meaning}: holds no values" if column else "lists no reflections")
    if np.abs(listed).max() > LARGEST_INDEX:
        raise InputFileError(path, f"index {np.abs(listed).max()} is larger than {LARGEST_INDEX}")
    rotations = np.array([operation.rot for operation in group.operations().sym_ops]) // group.operations().sym_ops[0].DEN
    orbits = np.asarray(listed, np.int64) @ rotations  # (rotations, n, 3)
    plus, minus = keys_of(orbits), keys_of(-orbits)
    own = [(plus, F)] if mates is None else [(plus, F), (minus, mates)]
    by_friedel = [(minus, F)] if mates is None else [(minus, F), (plus, mates)]
    keys, values = zip(*(with_values(k, v) for k, v in own + by_friedel), strict=True)
    found, first = np.unique(np.concatenate(keys), return_index=True)
    hkl, amplitudes = indices_of(found), np.concatenate(values)[first]
    return described(path, hkl, amplitudes, representatives(plus, minus, found), cell, group, meaning, column)


def with_values(keys: NDArray[np.int64], F: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys (rotations, n) and amplitudes (n,) as a list of both, reflections of the file in order, without those that have none."""
    known = np.isfinite(F)
    return keys[:, known].T.ravel(), np.repeat(F[known], len(keys))


def representatives(plus: NDArray[np.int64], minus: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """One key for every reflection that has an amplitude, whichever of its equivalents the file lists."""
    representative = np.unique(np.maximum(plus.max(axis=0), minus.max(axis=0)))
    return representative[np.isin(representative, found)]


def described(
    path: str | Path,
    hkl: NDArray[np.int32],
    F: NDArray[np.float64],
    unique: NDArray[np.int64],
    cell: gemmi.UnitCell,
    group: gemmi.SpaceGroup,
    meaning: str,
    column: str | None,
) -> Reflections:
    """The table with what is to be said of it, and with the reflections that the group forbids."""
    import gemmi

    operations = group.operations()
    seen = hkl.any(axis=1) & ~absent(operations, hkl)
    if not seen.any():
        raise InputFileError(path, f"{meaning}: has no value but for reflections that {group.xhm()} forbids")
    resolution = 1.0 / np.sqrt(cell.calculate_1_d2_array(np.ascontiguousarray(hkl[seen])))
    d_min, d_max = float(resolution.min()), float(resolution.max())
    of_unique = indices_of(unique)
    count = int((of_unique.any(axis=1) & ~absent(operations, of_unique)).sum())
    origin = np.flatnonzero(~hkl.any(axis=1))
    F000 = float(F[origin[0]]) if len(origin) else None
    if column is None:  # of a model, F000 is stated only: it is in the direct beam, and would outshine the image there
        hkl, F = np.delete(hkl, origin, axis=0), np.delete(F, origin)
    forbidden = missing_of(hkl, forbidden_to(cell, group, d_min))
    return Reflections(
        hkl=np.concatenate([hkl, forbidden]),
        F=np.concatenate([F, np.zeros(len(forbidden))]),
        cell=in_si(cell),
        space_group=group.xhm(),
        meaning=meaning,
        unique=count,
        in_p1=int(seen.sum()),
        completeness=count / gemmi.count_reflections(cell, group, d_min * (1.0 - ON_THE_LIMIT)),
        d_min=d_min * ANGSTROM,
        d_max=d_max * ANGSTROM,
        F000=F000,
        column=column,
    )


def forbidden_to(cell: gemmi.UnitCell, group: gemmi.SpaceGroup, d_min: float) -> NDArray[np.int32]:
    """Both mates of the reflections that the group forbids, to d_min in A."""
    import gemmi

    operations = group.operations()
    if len(operations.sym_ops) * len(operations.cen_ops) == 1:
        return np.empty((0, 3), np.int32)
    half = gemmi.make_miller_array(cell, gemmi.SpaceGroup("P 1"), d_min * (1.0 - ON_THE_LIMIT))
    half = half[absent(operations, half)]
    return np.concatenate([half, -half]).astype(np.int32)


def absent(operations: gemmi.GroupOps, hkl: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of (n, 3) reflections the group forbids."""
    return np.asarray(operations.systematic_absences(np.ascontiguousarray(hkl, np.int32)), bool)


def missing_of(hkl: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.int32]:
    """The others that are not in hkl."""
    return others[~np.isin(keys_of(others.astype(np.int64)), keys_of(hkl.astype(np.int64)))]


def keys_of(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each of (..., 3) indices, in their order."""
    shifted = hkl + LARGEST_INDEX * 3  # rotated indices may be sums of them
    wide = 3 * KEY
    return (shifted[..., 0] * wide + shifted[..., 1]) * wide + shifted[..., 2]


def indices_of(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """The indices (n, 3) of keys (n,)."""
    wide = 3 * KEY
    shifted = np.stack([keys // wide**2, keys // wide % wide, keys % wide], axis=1)
    return (shifted - LARGEST_INDEX * 3).astype(np.int32)


def in_si(cell: gemmi.UnitCell) -> tuple[float, float, float, float, float, float]:
    """a, b, c in m and angles in rad."""
    a, b, c, alpha, beta, gamma = cell.parameters
    return (a * ANGSTROM, b * ANGSTROM, c * ANGSTROM, math.radians(alpha), math.radians(beta), math.radians(gamma))


def checked_symmetry(
    path: str | Path, cell: gemmi.UnitCell | None, group: gemmi.SpaceGroup | None, name: str, cell_from: str
) -> tuple[gemmi.UnitCell, gemmi.SpaceGroup]:
    """Cell and space group as they are, if they are there and fit each other; cell_from: where a file of this kind has its cell."""
    if cell is None or not np.isfinite(cell.parameters).all() or not cell.is_crystal():
        raise InputFileError(path, f"has no unit cell ({cell_from}), or the placeholder 1 1 1; write the crystal's into it")
    if group is None:
        shown = f"the unknown space group {name!r}" if name else "no space group"
        raise InputFileError(path, f"has {shown}; write one of the International Tables, such as P 21 21 21, into it")
    if not cell.is_compatible_with_spacegroup(group, CELL_TOLERANCE):
        shown = " ".join(f"{value:g}" for value in cell.parameters)
        raise InputFileError(path, f"its unit cell {shown} (A, deg) does not have the symmetry of {group.xhm()}")
    return cell, group


def reason(error: Exception, path: str | Path) -> str:
    """What a library says of a file that it cannot read, in a line and without the file's name."""
    text = " ".join(str(error).replace(str(path), "").split()).strip(" :")
    return text[:200] or type(error).__name__
