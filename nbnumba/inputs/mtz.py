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
MAP_COEFFICIENTS = ("FWT", "DELFWT", "FOFCWT", "FDM", "FAN", "DELFAN")
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
    sibling = mate_of(mtz, chosen) if kind.paired else None
    meaning, mates = f"column {chosen.label}, {kind.meaning}", None
    if sibling is not None:
        meaning, mates = f"columns {chosen.label} and {sibling.label}, {kind.meaning}", amplitudes(sibling.array, kind)
    elif kind.paired:
        meaning = f"column {chosen.label} alone, Friedel mates equal"
    F = amplitudes(chosen.array, kind)
    if sibling is not None and mates is not None and is_minus(chosen.label):
        F, mates = mates, F
    return in_p1(path, np.asarray(mtz.make_miller_array()), F, cell, group, meaning, chosen.label, mates)


def choose(path: str | Path, mtz: gemmi.Mtz, wanted: str | None) -> tuple[gemmi.Mtz.Column, Kind]:
    """The column that is asked for, or the best."""
    usable = {column.label: kind for column in mtz.columns if (kind := kind_of(column)) is not None}
    shown = ", ".join(usable) or "none"
    if wanted is not None and wanted not in usable:
        there = {column.label: column.type for column in mtz.columns}
        problem = f"column {wanted!r} is of type {there[wanted]}" if wanted in there else f"has no column {wanted!r}"
        raise InputFileError(path, f"{problem}; columns of amplitudes or intensities (--column): {shown}")
    name = wanted or best(usable, PREFERRED)
    if name is None:
        raise InputFileError(path, f"has no column that is surely of amplitudes or intensities; name one with --column: {shown}")
    return mtz.column_with_label(name), usable[name]


def kind_of(column: gemmi.Mtz.Column) -> Kind | None:
    """What a column is by its type, amplitudes by their name; None for what is neither amplitude nor intensity."""
    if column.type != "F":
        return TYPES.get(column.type)
    label = column.label.upper()
    if label.startswith(MAP_COEFFICIENTS) or label[:1].isdigit() or "WT" in label:
        return columns.ON_REQUEST
    return columns.CALCULATED if label.startswith(("FC", "F-MODEL", "FMODEL", "F_MODEL")) or "CALC" in label else columns.OBSERVED


def is_minus(label: str) -> bool:
    """Whether a label is that of the second Friedel mate."""
    return "-)" in label or label.endswith("-") or "minus" in label.lower()


def mate_of(mtz: gemmi.Mtz, column: gemmi.Mtz.Column) -> gemmi.Mtz.Column | None:
    """The column of the other Friedel mate: F(-) of F(+), and the reverse."""
    pairs = (("(+)", "(-)"), ("+", "-"), ("plus", "minus"), ("PLUS", "MINUS"))
    for plus, minus in pairs:
        for one, other in ((plus, minus), (minus, plus)):
            if column.label.endswith(one) or f"{one}" in column.label:
                label = other.join(column.label.rsplit(one, 1))
                found = mtz.column_with_label(label, column.dataset) or mtz.column_with_label(label)
                if found is not None and found.type == column.type:
                    return found
    return None
