"""Merged MTZ files (FMT-17)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.errors import InputFileError
from nbnumba.inputs import columns
from nbnumba.inputs.columns import Kind, amplitudes, best
from nbnumba.inputs.reflections import Reflections, checked_symmetry, in_p1, reason
from nbnumba.inputs.text import first_bytes

if TYPE_CHECKING:
    import gemmi

PREFERRED = ("F", "FP", "FOBS", "F-obs", "F-obs-filtered", "FO", "FOSC", "IMEAN", "I", "IOBS", "I-obs")
NOT_THE_CRYSTAL = ("FWT", "DELFWT", "FOFCWT", "FDM", "FAN", "DELFAN", "ANOM", "FPART", "FMASK", "FBULK", "FBACK")  # maps and parts of F
CALCULATED_NAMES = ("FC", "F-MODEL", "FMODEL", "F_MODEL")
FRIEDEL_SIGNS = (("(+)", "(-)"), ("plus", "minus"), ("+", "-"))  # in labels, of whatever case; the first that a label has counts
TYPES = {"G": columns.FRIEDEL, "J": columns.INTENSITY, "K": columns.FRIEDEL_INTENSITY}


def read_mtz(path: str | Path, column: str | None = None) -> Reflections:
    """Amplitudes of a merged MTZ file, in P1.

    column: its label; default: the best one. Raises InputFileError.
    """
    import gemmi

    if not first_bytes(path, 4).startswith((b"MTZ ", b"\x1f\x8b")):
        raise InputFileError(path, "is not an MTZ file; it does not begin with 'MTZ '")
    try:
        mtz = gemmi.read_mtz_file(str(path))
    except Exception as error:
        raise InputFileError(path, f"cannot be read as MTZ; is it whole? {reason(error, path)}") from None
    if len(mtz.batches):
        raise InputFileError(path, f"is unmerged ({len(mtz.batches)} batches); merge it first, with aimless for example")
    chosen, kind = choose(path, mtz, column)
    cell, group = checked_symmetry(path, mtz.get_cell(chosen.dataset_id), mtz.spacegroup, mtz.spacegroup_name, "DCELL or CELL record")
    sibling, is_minus = mate_of(mtz, chosen) if kind.paired else (None, False)
    F, mates, meaning = amplitudes(chosen.array, kind), None, f"column {chosen.label}, {kind.meaning}"
    if sibling is not None:
        mates, meaning = amplitudes(sibling.array, kind), f"columns {chosen.label} and {sibling.label}, {kind.meaning}"
        F, mates = (mates, F) if is_minus else (F, mates)
    elif kind.paired:
        meaning = f"column {chosen.label} alone, Friedel mates equal"
    return in_p1(path, np.asarray(mtz.make_miller_array()), F, cell, group, meaning, chosen.label, mates)


def choose(path: str | Path, mtz: gemmi.Mtz, wanted: str | None) -> tuple[gemmi.Mtz.Column, Kind]:
    """The column that is asked for, or the best."""
    following = [*(column.type for column in mtz.columns), ""][1:]
    usable = {
        column.label: kind
        for column, after in zip(mtz.columns, following, strict=True)
        if (kind := kind_of(column, with_phases=after == "P")) is not None
    }
    shown = ", ".join(usable) or "none"
    if wanted is not None and wanted not in usable:
        there = {column.label: column.type for column in mtz.columns}
        problem = f"column {wanted!r} is of type {there[wanted]}" if wanted in there else f"has no column {wanted!r}"
        raise InputFileError(path, f"{problem}; columns of amplitudes or intensities (--column): {shown}")
    filled = {label: kind for label, kind in usable.items() if np.isfinite(mtz.column_with_label(label).array).any()}
    name = wanted or best(filled, PREFERRED) or best(usable, PREFERRED)
    if name is None:
        raise InputFileError(path, f"has no column that is surely of amplitudes or intensities; name one with --column: {shown}")
    if name not in filled:
        others = f"; name another with --column: {', '.join(filled)}" if filled else ""
        raise InputFileError(path, f"column {name}, {usable[name].meaning}: holds no values{others}")
    return mtz.column_with_label(name), usable[name]


def kind_of(column: gemmi.Mtz.Column, with_phases: bool) -> Kind | None:
    """What a column is by its type, amplitudes by their name; None for what is neither amplitude nor intensity.

    with_phases: phases come next, as they do not after observed amplitudes, whose standard deviations do.
    """
    label = column.label.upper()
    is_calculated = label.startswith(CALCULATED_NAMES) or "CALC" in label
    if column.type == "G" and is_calculated:
        return columns.FRIEDEL_CALCULATED
    if column.type != "F":
        return TYPES.get(column.type)
    if label.startswith(NOT_THE_CRYSTAL) or label[:1].isdigit() or "WT" in label:
        return columns.ON_REQUEST
    if is_calculated:
        return columns.CALCULATED
    return columns.WITH_PHASES if with_phases and column.label not in PREFERRED else columns.OBSERVED


def mate_of(mtz: gemmi.Mtz, column: gemmi.Mtz.Column) -> tuple[gemmi.Mtz.Column | None, bool]:
    """The column of the other Friedel mate, F(-) of F(+) and the reverse, of the same dataset if possible; whether this one is F(-)."""
    label = column.label.lower()
    one, other, is_minus = next(
        ((signs[n], signs[1 - n], n == 1) for signs in FRIEDEL_SIGNS for n in (0, 1) if signs[n] in label), ("", "", False)
    )
    wanted = other.join(label.rsplit(one, 1)) if one else ""
    found = [mate for mate in mtz.columns if mate.label.lower() == wanted and mate.type == column.type]
    return min(found, key=lambda mate: mate.dataset_id != column.dataset_id, default=None), is_minus
