"""Atoms of PDB and mmCIF files, put into the unit cell: symmetry, SCALE, non-crystallographic symmetry (FMT-55, FMT-58)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.amplitudes.reflections import reason
from nbnumba.amplitudes.symmetry import Stated, Symmetry, of_block
from nbnumba.errors import InputFileError, warn_of_file

if TYPE_CHECKING:
    import gemmi

FURTHEST = 1e5  # A, of an atom from the origin
MOST_ATOMS = 2e7  # with those of non-crystallographic symmetry
LARGEST_BOX = 1e9  # A^3 around all copies of atoms, in which gemmi looks for those in one place
OF_ATOMS = {"x": (30, 38), "y": (38, 46), "z": (46, 54), "occupancy": (54, 60), "B": (60, 66)}
OF_MATRICES = {"x": (10, 20), "y": (20, 30), "z": (30, 40), "shift": (45, 55)}
# Columns of a PDB file that hold numbers, by the first letters of its records.
PDB_COLUMNS = {
    "ATOM": OF_ATOMS,
    "HETA": OF_ATOMS,
    "ANIS": {f"U({i})": (28 + 7 * n, 35 + 7 * n) for n, i in enumerate(("1,1", "2,2", "3,3", "1,2", "1,3", "2,3"))},
    "CRYS": {"a": (6, 15), "b": (15, 24), "c": (24, 33), "alpha": (33, 40), "beta": (40, 47), "gamma": (47, 54)},
    "MTRI": OF_MATRICES,
    "SCAL": OF_MATRICES,
}
MOST_IN_COLUMNS = 1e8  # what fits into the columns of coordinates
MAY_BE_BLANK = ("occupancy", "B", "shift")  # of old files
REMARK_290 = re.compile(r"REMARK 290 +\d+555 +(\S+,\S+,\S+)")
ROUNDED = 1e-3  # to which a matrix in a file is a rotation


@dataclass(frozen=True)
class Macromolecule:
    """Atoms in a file's frame; symmetry as the file states it; scale: rows (3, 4) from its frame to the cell's, None: not stated."""

    structure: gemmi.Structure
    stated: Stated
    scale: NDArray[np.float64] | None
    scale_from: str = "_atom_sites.fract_transf_matrix"
    scale_line: int | None = None
    notes: str = ""


def read_mmcif(path: str | Path, block: gemmi.cif.Block) -> Macromolecule:
    """A block of an mmCIF file."""
    import gemmi

    with told(path):
        structure = gemmi.make_structure_from_block(block)
    tags = [
        [f"_atom_sites.fract_transf_matrix[{i}][{j}]" for j in (1, 2, 3)] + [f"_atom_sites.fract_transf_vector[{i}]"] for i in (1, 2, 3)
    ]
    words = [[block.find_value(tag) for tag in row] for row in tags]
    scale = np.array([[gemmi.cif.as_number(word) if word else np.nan for word in row] for row in words])
    return Macromolecule(structure, of_block(block), scale if np.isfinite(scale).all() else None)


def read_pdb(path: str | Path, data: bytes) -> Macromolecule:
    """A PDB file, of today's form or with a serial number in columns 73-80 where elements and charges are now."""
    import gemmi

    lines = data.decode("ascii").split("\n")
    check_numbers(path, lines)
    with told(path):
        try:
            structure = gemmi.read_pdb_string(data)
        except (RuntimeError, ValueError) as error:
            try:
                structure = gemmi.read_pdb_string(data, max_line_length=72)
            except (RuntimeError, ValueError):
                raise error from None
    line, scale = scale_of(lines)
    return Macromolecule(structure, stated_in(path, structure, lines), scale, "SCALE1-3", line, without_end(lines))


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """What gemmi does not take, in a line."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise InputFileError(path, f"cannot be taken as a model: {reason(error, path)}") from None


def stated_in(path: str | Path, structure: gemmi.Structure, lines: Sequence[str]) -> Stated:
    """The symmetry of a PDB file: that of CRYST1, in the setting of REMARK 290 where its name leaves that open or is none."""
    import gemmi

    name = structure.spacegroup_hm
    operators = [found[1] for line in lines if (found := REMARK_290.match(line))]
    known = gemmi.find_spacegroup_by_name(name, structure.cell.alpha, structure.cell.gamma)
    if known is None or not operators:
        return Stated(operators, name=name)
    try:
        setting = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(operator).wrap() for operator in operators]))
    except (RuntimeError, ValueError):
        setting = None
    if setting is not None and setting.hm == known.hm:
        return Stated(operators, name=name)
    warn_of_file(path, f"REMARK 290 has other symmetry operators than {known.xhm()}, the space group of CRYST1, which is taken")
    return Stated(name=name)


def scale_of(lines: Sequence[str]) -> tuple[int | None, NDArray[np.float64] | None]:
    """The first line of SCALE1-3 and their rows (3, 4); None where they are not all there."""
    rows = {line[5]: (number, line) for number, line in enumerate(lines, 1) if line.startswith(("SCALE1", "SCALE2", "SCALE3"))}
    if len(rows) < 3:
        return None, None
    words = [[rows[n][1][first:end].strip() for first, end in OF_MATRICES.values()] for n in "123"]
    return min(number for number, _ in rows.values()), np.array([[float(word or 0.0) for word in row] for row in words])


def check_numbers(path: str | Path, lines: Sequence[str]) -> None:
    """The numbers of a PDB file are numbers; gemmi takes the beginning of what is not, or 0."""
    for row, line in enumerate(lines, 1):
        kind = line[:4].upper()
        if kind in ("ATOM", "HETA") and len(line.rstrip()) < OF_ATOMS["z"][1]:
            continue  # gemmi says so
        for name, (first, end) in PDB_COLUMNS.get(kind, {}).items():
            word = line[first:end].strip()
            try:
                known = abs(float(word)) < MOST_IN_COLUMNS
            except ValueError:
                known = not word and name in MAY_BE_BLANK
            if not known:
                owner = "atom " + " ".join(line[12:27].split()) if kind in ("ATOM", "HETA", "ANIS") else line[:6].strip()
                raise InputFileError(path, f"{name} {word!r} of {owner} is not a finite number; correct columns {first + 1}-{end}", row)


def without_end(lines: Sequence[str]) -> str:
    """What is to be said of a PDB file that stops without its last record, as one does that was cut short; or nothing."""
    return "" if any(line[:3].upper() == "END" for line in lines) else "; the file has no END record: is it whole?"


def expand_ncs(path: str | Path, structure: gemmi.Structure) -> str:
    """Add the copies that a file leaves to non-crystallographic symmetry (MTRIX records not marked as given); what to say of it."""
    import gemmi

    operators = [one for one in structure.ncs if not one.given]
    for one in operators:
        if not is_rotation(np.array(one.tr.mat.tolist()), ROUNDED) or not np.isfinite(one.tr.vec.tolist()).all():
            raise InputFileError(path, f"its NCS operator {one.id} (MTRIX1-3 or _struct_ncs_oper) is no rotation; correct or delete it")
    if (count := structure[0].count_atom_sites() * (1 + len(operators))) > MOST_ATOMS:
        raise InputFileError(path, f"has {count} atoms with the copies of {len(operators)} NCS operators; {MOST_ATOMS:g} can be worked out")
    if not operators:
        return ""
    if (box := box_of(structure)) > LARGEST_BOX:
        raise InputFileError(path, f"atoms and their copies by NCS operators fill {box:.1e} A^3; correct those far from the others")
    structure.expand_ncs(gemmi.HowToNameCopiedChain.Dup)
    structure.ncs.clear()
    return f" and their copies by {len(operators)} NCS operators"


def box_of(structure: gemmi.Structure) -> float:
    """The volume in A^3 of a box around all atoms and their copies by NCS."""
    places = np.array([site.atom.pos.tolist() for site in structure[0].all()])
    copies = [places] + [places @ np.array(one.tr.mat.tolist()).T + one.tr.vec.tolist() for one in structure.ncs if not one.given]
    with np.errstate(over="ignore"):
        return float(np.ptp(np.concatenate(copies), axis=0).clip(1.0).prod())


def put_into_cell(path: str | Path, model: Macromolecule, symmetry: Symmetry) -> None:
    """Atoms in the frame that follows from the cell (PDB), all of the cell's where its setting has no name."""
    import gemmi

    structure = model.structure
    structure.cell = gemmi.UnitCell(*structure.cell.parameters)  # without SCALE, which may be of another cell
    if (frame := frame_of(path, model)) is not None:
        structure[0].transform_pos_and_adp(frame)
    if symmetry.setting is None:
        for operator in symmetry.operators:
            if operator != gemmi.Op("x,y,z"):
                structure.ncs.append(gemmi.NcsOp(structure.cell.op_as_transform(operator)))
        structure.expand_ncs(gemmi.HowToNameCopiedChain.Dup, 0.0)
        structure.ncs.clear()
    structure.spacegroup_hm = symmetry.setting.xhm() if symmetry.setting else "P 1"
    structure.setup_cell_images()


def frame_of(path: str | Path, model: Macromolecule) -> gemmi.Transform | None:
    """From a file's frame, in which SCALE makes coordinates fractional, to that of the cell; None where they are one, or SCALE is 0."""
    import gemmi

    cell, scale = model.structure.cell, model.scale
    if scale is None or not scale.any():
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        turn, shift = np.split(np.array(cell.orth.mat.tolist()) @ scale, [3], axis=1)
    rounded = ROUNDED + 2e-6 * max(cell.parameters[:3])  # of six decimals
    is_same = np.abs(turn - np.eye(3)).max() < rounded
    furthest = rounded * max(cell.parameters[:3]) if is_same else FURTHEST
    if not is_rotation(turn, rounded) or not np.abs(shift).max() <= furthest:
        problem = f"{model.scale_from} and {'CRYST1' if model.scale_line else '_cell.length_a'} disagree"
        raise InputFileError(path, f"{problem}: atoms would lie elsewhere in it; correct or delete {model.scale_from}", model.scale_line)
    return None if is_same else gemmi.Transform(gemmi.Mat33(turn.tolist()), gemmi.Vec3(*shift.ravel()))


def is_rotation(matrix: NDArray[np.float64], tolerance: float) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.abs(matrix @ matrix.T - np.eye(3)).max() < 2.0 * tolerance and np.linalg.det(matrix) > 0.0)
