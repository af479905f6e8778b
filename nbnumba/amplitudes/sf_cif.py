"""Structure factor mmCIF files of the Protein Data Bank, and reflection CIF files of small molecules (FMT-18)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.amplitudes import columns
from nbnumba.amplitudes.cif import read_cif
from nbnumba.amplitudes.columns import Kind, amplitudes, best
from nbnumba.amplitudes.reflections import in_p1, reason
from nbnumba.amplitudes.symmetry import MISSING, Stated, checked_symmetry, of_block
from nbnumba.errors import InputFileError
from nbnumba.experiment.reflections import LARGEST_INDEX, Reflections
from nbnumba.files.packed import ascii_bytes

if TYPE_CHECKING:
    import gemmi

INDICES = ("index_h", "index_k", "index_l")
INDEX = re.compile(r"[+-]?\d{1,9}")
WHOLE = re.compile(r"[+-]?\d+")
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
    document = read_cif(path, ascii_bytes(path))
    symmetries = [of_block(block) for block in document]
    try:
        blocks = list(refln_blocks(document))
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputFileError(path, f"cannot be read as CIF: {reason(error, path)}") from None
    if not blocks:
        raise InputFileError(path, "has no reflections (a loop of _refln.index_h and others); a model goes to --model")
    merged = [block for block in blocks if not block.is_unmerged()]
    if not merged:
        raise InputFileError(path, "has unmerged reflections (_diffrn_refln) alone; merge them first")
    block, name = choose(path, merged, column)
    kind = TAGS[name]
    stated = next((one for one in (of_block(block.block), *symmetries) if any(one)), Stated())
    cell, symmetry = checked_symmetry(path, block.cell, stated, "_cell.length_a and others")
    hkl = indices(path, block)
    where = f" of block {block.block.name}" if len(merged) > 1 else ""
    sibling = name.replace("_plus", "_minus") if kind.paired else ""
    F, mates, meaning = amplitudes(values(path, block, name), kind), None, f"{name}{where}, {kind.meaning}"
    if kind.paired and sibling in block.column_labels() and name.replace("_minus", "_plus") in block.column_labels():
        plus = name.replace("_minus", "_plus")
        F, mates = (amplitudes(values(path, block, tag), kind) for tag in (plus, sibling))
        meaning = f"{plus} and {sibling}{where}, {kind.meaning}"
    elif kind.paired:
        meaning = f"{name}{where} alone, Friedel mates equal"
    return in_p1(path, hkl, F, cell, symmetry, meaning, name, mates)


def words(block: gemmi.ReflnBlock, tag: str) -> Iterator[str]:
    """What the file has written for a tag of every reflection."""
    full = block.default_loop.tags[block.column_labels().index(tag)]
    return iter(block.block.find_values(full))


def indices(path: str | Path, block: gemmi.ReflnBlock) -> NDArray[np.int32]:
    """Miller indices (n, 3)."""
    try:
        found = np.asarray(block.make_miller_array())
        whole = all(np.array_equal(found[:, n], block.make_float_array(tag)) for n, tag in enumerate(INDICES))  # larger ones wrap around
    except ValueError:
        whole = False
    if not whole:
        tag, word = next((tag, word) for tag in INDICES for word in words(block, tag) if not INDEX.fullmatch(word))
        problem = f"is larger than {LARGEST_INDEX}" if WHOLE.fullmatch(word) else "is not a whole number"
        raise InputFileError(path, f"{tag} {word[:60]!r} {problem}; correct it")
    return found


def values(path: str | Path, block: gemmi.ReflnBlock, tag: str) -> NDArray[np.float64]:
    """Numbers (n,) of a tag, NaN for what is missing."""
    found = np.array(block.make_float_array(tag), np.float64)
    if not np.isfinite(found).all():
        for word, value in zip(words(block, tag), found.tolist(), strict=True):
            if not np.isfinite(value) and word not in MISSING:
                raise InputFileError(path, f"{tag} {word[:60]!r} is not a finite number; correct it, or write ?")
    return found


def refln_blocks(document: gemmi.cif.Document) -> Iterator[gemmi.ReflnBlock]:
    """The blocks of a file that list reflections."""
    import gemmi

    found: Iterable[gemmi.ReflnBlock]
    if any(block.find_loop("_refln_index_h") for block in document):
        found = map(gemmi.hkl_cif_as_refln_block, document)
    else:
        found = gemmi.as_refln_blocks(document)
    for block in found:
        if block.default_loop is not None and set(INDICES) <= set(block.column_labels()):
            yield block


def choose(path: str | Path, blocks: list[gemmi.ReflnBlock], wanted: str | None) -> tuple[gemmi.ReflnBlock, str]:
    """The first block that has what is asked for, or anything, and the tag."""
    there = [tag for block in blocks for tag in TAGS if tag in block.column_labels()]
    shown = ", ".join(dict.fromkeys(there)) or "none"
    if wanted is not None and wanted not in there:
        raise InputFileError(path, f"has no amplitudes or intensities {wanted!r}; there are (--column): {shown}")
    having = [{tag: kind for tag, kind in TAGS.items() if tag in block.column_labels()} for block in blocks]
    if wanted is not None:
        return next((block, wanted) for block, usable in zip(blocks, having, strict=True) if wanted in usable)
    filled = [{tag: kind for tag, kind in usable.items() if has_values(block, tag)} for block, usable in zip(blocks, having, strict=True)]
    for block, usable in zip([*blocks, *blocks], [*filled, *having], strict=True):
        if (name := best(usable)) is not None:
            return block, name
    raise InputFileError(path, f"has no tag that is surely of amplitudes or intensities; name one with --column: {shown}")


def has_values(block: gemmi.ReflnBlock, tag: str) -> bool:
    """Whether not all is missing."""
    return any(word not in MISSING for word in words(block, tag))
