"""Reflections of a crystal with symmetry as the table of space group P1 that is simulated from (SF-7)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.amplitudes.symmetry import Symmetry
from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.experiment.reflections import LARGEST_INDEX, Reflections

if TYPE_CHECKING:
    from pathlib import Path

    import gemmi

ANGSTROM = 1e-10
ON_THE_LIMIT = 1e-6  # relative; what lies on a limit of resolution is within it
KEY = 2 * LARGEST_INDEX + 1
SAME = 1e-3  # relative; amplitudes of equivalent reflections may be rounded
EASY = 2e6  # reflections in P1, listed in a fraction of a second
SPARSE = 100  # times as many as a file has: one reflection is far from the others


def in_p1(
    path: str | Path,
    listed: NDArray[Any],
    F: NDArray[np.float64],
    cell: gemmi.UnitCell,
    symmetry: Symmetry,
    meaning: str,
    column: str | None = None,
    mates: NDArray[np.float64] | None = None,
) -> Reflections:
    """The table of listed reflections (n, 3), their amplitudes F (n,) and those of their Friedel mates (n,), NaN where there is none.

    F(hR) = F(h) for every rotation R of the group. A mate -h takes F(h) where it has no amplitude of its own, nor h by the same law; of two
    amplitudes for one reflection the first counts. What the group forbids is listed with 0, to d_min. Raises InputFileError.
    """
    known = np.isfinite(F) if mates is None else np.isfinite(F) | np.isfinite(mates)
    if not known.any():
        raise InputFileError(path, f"{meaning}: holds no values" if column else "lists no reflections")
    listed, F, mates = listed[known], F[known], None if mates is None else mates[known]
    orbits = np.asarray(listed, np.int64) @ symmetry.rotations  # (rotations, n, 3)
    largest = np.abs(orbits).max(axis=(0, 2))
    if largest.max() > LARGEST_INDEX:
        index = " ".join(map(str, listed[np.argmax(largest)].tolist()))
        raise InputFileError(path, f"reflection {index}: index {largest.max()} is larger than {LARGEST_INDEX}; correct it, or leave it out")
    plus, minus = keys_of(orbits), keys_of(-orbits)
    warn_of_contradictions(path, listed, plus.max(axis=0), F)
    own = [(plus, F)] if mates is None else [(plus, F), (minus, mates)]
    by_friedel = [(minus, F)] if mates is None else [(minus, F), (plus, mates)]
    keys, values = zip(*(with_values(k, v) for k, v in own + by_friedel), strict=True)
    found, first = np.unique(np.concatenate(keys), return_index=True)
    check_spread(path, listed, cell, len(found))
    hkl, amplitudes = indices_of(found), np.concatenate(values)[first]
    rows = None if mates is not None else rows_of(np.flatnonzero(known), len(orbits))[first]
    return described(path, hkl, amplitudes, representatives(plus, minus, found), cell, symmetry, meaning, column, rows)


def warn_of_contradictions(path: str | Path, listed: NDArray[Any], keys: NDArray[np.int64], F: NDArray[np.float64]) -> None:
    """Equivalent reflections, which have the same key, have one amplitude; else the first."""
    order = np.argsort(keys, kind="stable")
    differs = (np.diff(keys[order]) == 0) & (np.abs(np.diff(F[order])) > SAME * np.abs(F[order][1:]))
    if differs.any():
        first, second = order[np.flatnonzero(differs)[0] :][:2].tolist()
        shown = [f"{' '.join(map(str, listed[one].tolist()))} with {F[one]:g}" for one in (first, second)]
        warn_of_file(path, f"lists equivalent reflections with several amplitudes, {shown[0]} and {shown[1]} for one: the first are taken")


def check_spread(path: str | Path, listed: NDArray[Any], cell: gemmi.UnitCell, count: int) -> None:
    """No reflection is so far out that there are many times as many to its d in P1 as the file has, count."""
    s2 = cell.calculate_1_d2_array(np.ascontiguousarray(listed, np.int32))
    furthest = int(np.argmax(s2))
    within = 4.0 / 3.0 * math.pi * cell.volume * s2[furthest] ** 1.5
    if not within <= max(EASY, SPARSE * count):
        index = " ".join(map(str, listed[furthest].tolist()))
        problem = f"is at d = {s2[furthest] ** -0.5:.2g} A, to which there are {within:.1e} in P1, {count} of them in the file"
        raise InputFileError(path, f"reflection {index} {problem}; correct it, or leave it out")


def with_values(keys: NDArray[np.int64], F: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys (rotations, n) and amplitudes (n,) as a list of both, reflections of the file in order, without those that have none."""
    known = np.isfinite(F)
    return keys[:, known].T.ravel(), np.repeat(F[known], len(keys))


def rows_of(known: NDArray[np.int64], rotations: int) -> NDArray[np.int32]:
    """Where with_values() has each from, first the reflections of the file, then their mates: 1 + row, and minus that."""
    repeated = np.repeat(known.astype(np.int32) + 1, rotations)
    return np.concatenate([repeated, -repeated])


def representatives(plus: NDArray[np.int64], minus: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """One key for every reflection that has an amplitude, whichever of its equivalents the file lists."""
    representative = np.sort(np.maximum(plus.max(axis=0), minus.max(axis=0)))
    return representative[(np.diff(representative, prepend=-1) > 0) & are_among(found, representative)]


def are_among(ordered: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the keys are in an ordered list."""
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return np.equal(ordered[places], keys)


def described(
    path: str | Path,
    hkl: NDArray[np.int32],
    F: NDArray[np.float64],
    unique: NDArray[np.int64],
    cell: gemmi.UnitCell,
    symmetry: Symmetry,
    meaning: str,
    column: str | None,
    rows: NDArray[np.int32] | None,
) -> Reflections:
    """The table with what is to be said of it, and with the reflections that the group forbids."""
    operators = symmetry.operators
    seen = hkl.any(axis=1) & ~absent(operators, hkl)
    if not seen.any():
        raise InputFileError(path, f"{meaning}: has no value but for reflections that {symmetry.name} forbids")
    resolution = 1.0 / np.sqrt(cell.calculate_1_d2_array(np.ascontiguousarray(hkl[seen])))
    d_min, d_max = float(resolution.min()), float(resolution.max())
    of_unique = indices_of(unique)
    count = int((of_unique.any(axis=1) & ~absent(operators, of_unique)).sum())
    origin = np.flatnonzero(~hkl.any(axis=1))
    F000 = float(F[origin[0]]) if len(origin) else None
    if column is None:  # of a model, F000 is stated only: it is in the direct beam, and would outshine the image there
        hkl, F = np.delete(hkl, origin, axis=0), np.delete(F, origin)
        rows = None if rows is None else np.delete(rows, origin)
    forbidden = missing_of(hkl, forbidden_to(cell, symmetry, d_min))
    return Reflections(
        hkl=np.concatenate([hkl, forbidden]),
        F=np.concatenate([F, np.zeros(len(forbidden))]),
        cell=in_si(cell),
        space_group=symmetry.name,
        meaning=meaning,
        unique=count,
        in_p1=int(seen.sum()),
        completeness=count / unique_to(cell, symmetry, d_min),
        d_min=d_min * ANGSTROM,
        d_max=d_max * ANGSTROM,
        F000=F000,
        column=column,
        rows=None if rows is None else np.concatenate([rows, np.zeros(len(forbidden), np.int32)]),
    )


def half_to(cell: gemmi.UnitCell, d_min: float) -> NDArray[np.int32]:
    """One of each two mates (n, 3) in P1 to d_min in A."""
    import gemmi

    return np.asarray(gemmi.make_miller_array(cell, gemmi.SpaceGroup("P 1"), d_min * (1.0 - ON_THE_LIMIT)))


def forbidden_to(cell: gemmi.UnitCell, symmetry: Symmetry, d_min: float) -> NDArray[np.int32]:
    """Both mates of the reflections that the group forbids, to d_min in A."""
    if symmetry.order == 1:
        return np.empty((0, 3), np.int32)
    half = half_to(cell, d_min)
    half = half[absent(symmetry.operators, half)]
    return np.concatenate([half, -half]).astype(np.int32)


def unique_to(cell: gemmi.UnitCell, symmetry: Symmetry, d_min: float) -> int:
    """How many unique reflections the group allows, to d_min in A."""
    import gemmi

    if symmetry.setting is not None:
        return gemmi.count_reflections(cell, symmetry.setting, d_min * (1.0 - ON_THE_LIMIT))
    half = half_to(cell, d_min)
    half = half[~absent(symmetry.operators, half)]
    # n rotations give h n / epsilon equivalents, which are half of its orbit with mates unless they hold -h.
    alike = symmetry.operators.epsilon_factor_without_centering_array(half) * (1 + symmetry.operators.centric_flag_array(half))
    return round(float(alike.sum()) / len(symmetry.rotations))


def absent(operators: gemmi.GroupOps, hkl: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of (n, 3) reflections the group forbids."""
    return np.asarray(operators.systematic_absences(np.ascontiguousarray(hkl, np.int32)), bool)


def missing_of(hkl: NDArray[np.int32], others: NDArray[np.int32]) -> NDArray[np.int32]:
    """The others that are not in hkl."""
    return others[~are_among(np.sort(keys_of(hkl.astype(np.int64))), keys_of(others.astype(np.int64)))]


def keys_of(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for each of (..., 3) indices, in their order."""
    shifted = hkl + LARGEST_INDEX
    return (shifted[..., 0] * KEY + shifted[..., 1]) * KEY + shifted[..., 2]


def indices_of(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """The indices (n, 3) of keys (n,)."""
    shifted = np.stack([keys // KEY**2, keys // KEY % KEY, keys % KEY], axis=1)
    return (shifted - LARGEST_INDEX).astype(np.int32)


def in_si(cell: gemmi.UnitCell) -> tuple[float, float, float, float, float, float]:
    """a, b, c in m and angles in rad."""
    a, b, c, alpha, beta, gamma = cell.parameters
    return (a * ANGSTROM, b * ANGSTROM, c * ANGSTROM, math.radians(alpha), math.radians(beta), math.radians(gamma))


def reason(error: Exception, path: str | Path) -> str:
    """What a library says of a file that it cannot read, in a line and without the file's name."""
    text = " ".join(str(error).replace(str(path), "").split()).strip(" :")
    return text[:200] or type(error).__name__
