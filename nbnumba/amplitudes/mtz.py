"""Merged MTZ files (FMT-17, FMT-55 to 57)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nbnumba.amplitudes import columns
from nbnumba.amplitudes.columns import Kind, amplitudes, best
from nbnumba.amplitudes.reflections import in_p1, reason
from nbnumba.amplitudes.symmetry import Stated, checked_symmetry
from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.experiment.reflections import Reflections
from nbnumba.files.packed import unpacked

if TYPE_CHECKING:
    import gemmi

PREFERRED = ("F", "FP", "FOBS", "F-obs", "F-obs-filtered", "FO", "FOSC", "IMEAN", "I", "IOBS", "I-obs")
NOT_THE_CRYSTAL = ("FWT", "DELFWT", "FOFCWT", "FDM", "FAN", "DELFAN", "ANOM", "FPART", "FMASK", "FBULK", "FBACK")  # maps and parts of F
CALCULATED_NAMES = ("FC", "F-MODEL", "FMODEL", "F_MODEL")
FRIEDEL_SIGNS = (("(+)", "(-)"), ("plus", "minus"), ("+", "-"))  # in labels, of whatever case; the first that a label has counts
TYPES = {"G": columns.FRIEDEL, "J": columns.INTENSITY, "K": columns.FRIEDEL_INTENSITY}
RECORD = 80  # bytes
SIMILAR = 0.01, 1.0  # to which two cells are one: relative, degrees


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a file: path: names of project, crystal and dataset, its label; name: as much of that as no other column has.

    kind: None of what is neither amplitudes nor intensities; values: (n,), NaN for what is missing.
    """

    name: str
    path: tuple[str, ...]
    type: str
    dataset: int
    kind: Kind | None
    values: NDArray[np.float32]

    @property
    def label(self) -> str:
        """The name that the column has within its dataset."""
        return self.path[-1]


def read_mtz(path: str | Path, column: str | None = None) -> Reflections:
    """Amplitudes of a merged MTZ file, in P1.

    column: its label, or dataset/label; default: the best one. Raises InputFileError.
    """
    import gemmi

    records = header(path)
    try:
        mtz = gemmi.read_mtz_file(str(path))
        there, name, number = columns_of(mtz), mtz.spacegroup_name, str(mtz.spacegroup_number)
    except Exception as error:
        raise InputFileError(path, f"cannot be read as MTZ; is it whole? {reason(error, path)}") from None
    if len(mtz.batches) or any(one.type == "B" for one in there):
        raise InputFileError(path, f"is unmerged ({len(mtz.batches)} batches); merge it first, with aimless for example")
    hkl = indices(path, there)
    chosen, kind = choose(path, there, column)
    operators = [record[4:].strip() for record in records if record.startswith("SYMM ")]
    cell, symmetry = checked_symmetry(path, cell_of(path, mtz, chosen), Stated(operators, "", name, number), "DCELL or CELL record")
    sibling, is_minus = mate_of(there, chosen) if kind.paired else (None, False)
    F, mates, meaning = amplitudes(chosen.values, kind), None, f"column {chosen.name}, {kind.meaning}"
    if sibling is not None:
        mates, meaning = amplitudes(sibling.values, kind), f"columns {chosen.name} and {sibling.name}, {kind.meaning}"
        F, mates = (mates, F) if is_minus else (F, mates)
    elif kind.paired:
        meaning = f"column {chosen.name} alone, Friedel mates equal"
    return in_p1(path, hkl, F, cell, symmetry, meaning, chosen.name, mates)


def header(path: str | Path) -> list[str]:
    """The records of a file's header, which lies behind its data, of which there are as many as it says."""
    data = unpacked(path)
    if not data.startswith(b"MTZ "):
        raise InputFileError(path, "is not an MTZ file; it does not begin with 'MTZ '")
    places = (header_place(data, order) for order in ("little", "big"))
    place = next((place for place in places if place >= RECORD and data.startswith(b"VERS", place)), len(data))
    records = [data[at : at + RECORD].decode("latin-1").upper() for at in range(place, len(data), RECORD)]
    end = next((n for n, record in enumerate(records) if record.startswith("END")), None)
    sizes = next((record.split()[1:3] for record in records[:end] if record.startswith("NCOL ")), [])
    if end is None or len(sizes) != 2 or not all(word.isdecimal() for word in sizes):
        raise InputFileError(path, "cannot be read as MTZ; is it whole? Its header is not where it should be, or has no NCOL record")
    if RECORD + 4 * int(sizes[0]) * int(sizes[1]) > place:
        raise InputFileError(path, f"cannot be read as MTZ; is it whole? It has less than {sizes[0]} columns of {sizes[1]} reflections")
    return records[:end]


def header_place(data: bytes, order: Literal["little", "big"]) -> int:
    """Where the header is in bytes: counted in words of 4 from 1, in 32 bits or, where they hold -1, further on in 64."""
    word = int.from_bytes(data[4:8], order, signed=True)
    return 4 * (int.from_bytes(data[12:20], order, signed=True) if word == -1 else word) - 4


def columns_of(mtz: gemmi.Mtz) -> list[Column]:
    """All columns of a file, in order."""
    datasets = {one.id: (one.project_name, one.crystal_name, one.dataset_name) for one in mtz.datasets}
    paths = [(*datasets.get(column.dataset_id, ()), column.label) for column in mtz.columns]
    followed = [*(column.type for column in mtz.columns), ""][1:]
    kinds = [kind_of(column.label, column.type, after == "P") for column, after in zip(mtz.columns, followed, strict=True)]
    return [
        Column(name, path, column.type, column.dataset_id, kind, values(column, mtz.valm if kind else np.nan))
        for column, path, name, kind in zip(mtz.columns, paths, names_of(paths), kinds, strict=True)
    ]


def names_of(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """What names each column alone: label, dataset/label, crystal/dataset/label and so on, at last its number."""
    tails = [["/".join(path[-n:]) for path in paths] for n in (1, 2, 3, 4)]
    return [next((tail[n] for tail in tails if tail.count(tail[n]) == 1), f"{tails[-1][n]}#{n + 1}") for n in range(len(paths))]


def values(column: gemmi.Mtz.Column, missing: float) -> NDArray[np.float32]:
    """The numbers (n,) of a column, NaN for what the file marks as missing (VALM)."""
    found = np.array(column.array, np.float32)
    return np.where(found == np.float32(missing), np.float32(np.nan), found)


def indices(path: str | Path, there: Sequence[Column]) -> NDArray[np.int32]:
    """Miller indices (n, 3), of the columns H, K and L wherever they stand."""
    labelled = [[column for column in there if column.label.upper() == letter] for letter in "HKL"]
    typed = [column for column in there if column.type == "H"]
    if not all(labelled) and len(typed) != 3:
        raise InputFileError(path, f"has no columns H, K and L; it has {', '.join(column.name for column in there)}")
    # Of several columns H, that of indices by its type.
    chosen = [min(found, key=lambda column: column.type != "H") for found in labelled] if all(labelled) else typed
    found = np.stack([column.values for column in chosen], axis=1)
    with np.errstate(invalid="ignore"):
        wrong = ~((found == np.rint(found)) & (np.abs(found) < 2.0**31)).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = " ".join(f"{index:g}" for index in found[row].tolist())
        problem = "has an index that is not a whole number; correct it, or leave the reflection out"
        raise InputFileError(path, f"reflection {shown} (number {row + 1}) {problem}")
    return found.astype(np.int32)


def cell_of(path: str | Path, mtz: gemmi.Mtz, column: Column) -> gemmi.UnitCell:
    """That of the column's dataset, where it has none the file's."""
    cell = mtz.get_cell(column.dataset)
    if mtz.cell.is_crystal() and not cell.is_similar(mtz.cell, *SIMILAR):
        shown = [" ".join(f"{value:g}" for value in one.parameters) for one in (cell, mtz.cell)]
        warn_of_file(
            path, f"the unit cell of its dataset (DCELL) is {shown[0]}, that of the file (CELL) {shown[1]}: the dataset's is taken"
        )
    return cell


def choose(path: str | Path, there: Sequence[Column], wanted: str | None) -> tuple[Column, Kind]:
    """The column that is asked for, or the best."""
    usable = [column for column in there if column.kind]
    filled = [column for column in usable if np.isfinite(column.values).any()]
    chosen = asked_for(path, there, wanted) if wanted is not None else best_of(path, filled) or best_of(path, usable)
    shown = ", ".join(column.name for column in usable) or "none"
    if chosen is None and wanted is None:
        raise InputFileError(path, f"has no column that is surely of amplitudes or intensities; name one with --column: {shown}")
    if chosen is None or chosen.kind is None:
        problem = f"column {wanted!r} is of type {chosen.type}" if chosen else f"has no column {wanted!r}"
        raise InputFileError(path, f"{problem}; columns of amplitudes or intensities (--column): {shown}")
    if chosen not in filled:
        others = f"; name another with --column: {', '.join(column.name for column in filled)}" if filled else ""
        raise InputFileError(path, f"column {chosen.name}, {chosen.kind.meaning}: holds no values{others}")
    return chosen, chosen.kind


def asked_for(path: str | Path, there: Sequence[Column], wanted: str) -> Column | None:
    """The column of this name or label, or whose path ends so."""
    tail = "/" + wanted.removeprefix("/")
    found = [column for column in there if wanted in (column.name, column.label)]
    found = found or [column for column in there if ("/" + "/".join(column.path)).endswith(tail)]
    if len(found) > 1:
        raise InputFileError(path, f"has several columns {wanted!r}; name one with --column: {', '.join(column.name for column in found)}")
    return found[0] if found else None


def best_of(path: str | Path, offered: Sequence[Column]) -> Column | None:
    """The best column, the first of those with its label."""
    first = {column.label: column.kind for column in reversed(offered)}
    label = best({column.label: kind for column in offered if (kind := first[column.label])}, PREFERRED)
    same = [column for column in offered if column.label == label and column.kind == first[column.label]]
    if len(same) > 1:
        shown = ", ".join(column.name for column in same)
        warn_of_file(path, f"has several columns {same[0].label}: the first of {shown} is taken; name another with --column")
    return same[0] if same else None


def kind_of(label: str, type_: str, with_phases: bool) -> Kind | None:
    """What a column is by its type, amplitudes by their name; None for what is neither amplitude nor intensity.

    with_phases: phases come next, as they do not after observed amplitudes, whose standard deviations do.
    """
    name = label.upper()
    is_calculated = name.startswith(CALCULATED_NAMES) or "CALC" in name
    if type_ == "G" and is_calculated:
        return columns.FRIEDEL_CALCULATED
    if type_ != "F":
        return TYPES.get(type_)
    if name.startswith(NOT_THE_CRYSTAL) or name[:1].isdigit() or "WT" in name:
        return columns.ON_REQUEST
    if is_calculated:
        return columns.CALCULATED
    return columns.WITH_PHASES if with_phases and label not in PREFERRED else columns.OBSERVED


def mate_of(there: Sequence[Column], column: Column) -> tuple[Column | None, bool]:
    """The column of the other Friedel mate in the same dataset, F(-) of F(+) and the reverse; whether this one is F(-)."""
    label = column.label.lower()
    one, other, is_minus = next(
        ((signs[n], signs[1 - n], n == 1) for signs in FRIEDEL_SIGNS for n in (0, 1) if signs[n] in label), ("", "", False)
    )
    wanted = other.join(label.rsplit(one, 1)) if one else ""
    found = (mate for mate in there if (mate.label.lower(), mate.type, mate.dataset) == (wanted, column.type, column.dataset))
    return next(found, None), is_minus
