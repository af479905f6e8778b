"""Structure factor mmCIF files of the Protein Data Bank, and reflection CIF files of small molecules (FMT-18)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

# Tags of the mmCIF dictionary's category refln, and of the core dictionary.
TAGS: dict[str, Kind] = {
    "F_meas_au": columns.OBSERVED,
    "F_meas": columns.OBSERVED,
    "pdbx_F_plus": columns.FRIEDEL,
    "pdbx_F_minus": columns.FRIEDEL,
    "F_calc_au": columns.CALCULATED,
    "F_calc": columns.CALCULATED,
    "intensity_meas": columns.INTENSITY,
    "F_squared_meas": columns.INTENSITY,
    "pdbx_I_plus": columns.FRIEDEL_INTENSITY,
    "pdbx_I_minus": columns.FRIEDEL_INTENSITY,
    "intensity_calc": columns.CALCULATED_INTENSITY,
    "F_squared_calc": columns.CALCULATED_INTENSITY,
    "pdbx_FWT": columns.ON_REQUEST,
    "pdbx_DELFWT": columns.ON_REQUEST,
    "pdbx_F_calc_with_solvent": columns.ON_REQUEST,
    "pdbx_F_calc_part_solvent": columns.ON_REQUEST,
}


def read_sf_cif(path: str | Path, column: str | None = None) -> Reflections:
    """Amplitudes of the first block that has them, in P1.

    column: a tag of the category refln, such as F_meas_au; default: the best one. Raises InputFileError.
    """
    import gemmi

    first_bytes(path, 1)
    try:
        document = gemmi.cif.read(str(path))
        blocks = list(refln_blocks(document))
    except Exception as error:
        raise InputFileError(path, f"cannot be read as CIF: {reason(error, path)}") from None
    if not blocks:
        raise InputFileError(path, "has no reflections (a loop of _refln.index_h and others); a model goes to --model")
    merged = [block for block in blocks if not block.is_unmerged()]
    if not merged:
        raise InputFileError(path, "has unmerged reflections (_diffrn_refln) alone; merge them first")
    block, name = choose(path, merged, column)
    kind = TAGS[name]
    hm = block.block.find_value("_symmetry.space_group_name_H-M") or block.block.find_value("_space_group_name_H-M_alt") or ""
    cell, group = checked_symmetry(path, block.cell, block.spacegroup, hm.strip("'\""), "_cell.length_a and others")
    where = f" of block {block.block.name}" if len(merged) > 1 else ""
    sibling = name.replace("_plus", "_minus") if kind.paired else ""
    F, mates, meaning = amplitudes(block.make_float_array(name), kind), None, f"{name}{where}, {kind.meaning}"
    if kind.paired and sibling in block.column_labels() and name.replace("_minus", "_plus") in block.column_labels():
        plus = name.replace("_minus", "_plus")
        F, mates = (amplitudes(block.make_float_array(tag), kind) for tag in (plus, sibling))
        meaning = f"{plus} and {sibling}{where}, {kind.meaning}"
    elif kind.paired:
        meaning = f"{name}{where} alone, Friedel mates equal"
    return in_p1(path, np.asarray(block.make_miller_array()), F, cell, group, meaning, name, mates)


def refln_blocks(document: gemmi.cif.Document) -> Iterator[gemmi.ReflnBlock]:
    """The blocks of a file that list reflections."""
    import gemmi

    found: Iterable[gemmi.ReflnBlock]
    if any(block.find_loop("_refln_index_h") for block in document):
        found = map(gemmi.hkl_cif_as_refln_block, document)
    else:
        found = gemmi.as_refln_blocks(document)
    for block in found:
        if block.default_loop is not None and {"index_h", "index_k", "index_l"} <= set(block.column_labels()):
            yield block


def choose(path: str | Path, blocks: list[gemmi.ReflnBlock], wanted: str | None) -> tuple[gemmi.ReflnBlock, str]:
    """The first block that has what is asked for, or anything, and the tag."""
    there = [tag for block in blocks for tag in TAGS if tag in block.column_labels()]
    shown = ", ".join(dict.fromkeys(there)) or "none"
    if wanted is not None and wanted not in there:
        raise InputFileError(path, f"has no amplitudes or intensities {wanted!r}; there are (--column): {shown}")
    for block in blocks:
        usable = {tag: kind for tag, kind in TAGS.items() if tag in block.column_labels()}
        name = best(usable) if wanted is None else wanted if wanted in usable else None
        if name is not None:
            return block, name
    raise InputFileError(path, f"has no tag that is surely of amplitudes or intensities; name one with --column: {shown}")
