"""Made-up crystals as files, for the tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

ELEMENTS = {"N": "N", "CA": "C", "C": "C", "O": "O", "CB": "C", "SG": "S"}


def protein(group: str, cell: tuple[float, ...], residues: int = 12, seed: int = 0) -> gemmi.Structure:
    """A random walk of residues with alternative and partly occupied atoms, isotropic and anisotropic."""
    deviates = np.random.default_rng(seed)
    structure, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(*cell), group
    structure.setup_cell_images()
    place = np.array([4.0, 4.0, 4.0])
    for number in range(residues):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "CYS", gemmi.SeqId(str(number + 1))
        for name, element in ELEMENTS.items():
            place = step(structure.cell, place, deviates)
            split = number % 4 == 0 and name in ("CB", "SG")
            for altloc, occupancy in (("A", 0.65), ("B", 0.35)) if split else (("\0", 0.5 if number % 5 == 3 else 1.0),):
                atom = gemmi.Atom()
                atom.name, atom.element, atom.altloc, atom.occ = name, gemmi.Element(element), altloc, occupancy
                atom.pos = gemmi.Position(*np.round(place + 0.7 * (altloc == "B"), 3))
                atom.b_iso = round(float(deviates.uniform(8.0, 40.0)), 2)
                if number % 3 == 0:
                    spread, skew = np.round(deviates.uniform(0.1, 0.35, 3), 4), np.round(deviates.uniform(-0.05, 0.05, 3), 4)
                    atom.aniso = gemmi.SMat33f(*spread, *skew)
                    atom.b_iso = round(float(spread.mean() * 8.0 * np.pi**2), 2)
                residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return structure


def step(cell: gemmi.UnitCell, place: np.ndarray, deviates: np.random.Generator) -> np.ndarray:
    """The next atom, at no special position: programs differ in what they take for one."""
    while True:
        new = np.clip(place + deviates.normal(0.0, 1.1, 3), 0.0, np.array(cell.parameters[:3]) / 2.0)
        if not any(cell.is_special_position(gemmi.Position(*(new + shift)), 1.5) for shift in (0.0, 0.7)):
            return np.asarray(new)


def write_pdb(path: Path, group: str = "P 21 21 21", cell: tuple[float, ...] = (20, 23, 28, 90, 90, 90), residues: int = 12) -> Path:
    protein(group, cell, residues).write_pdb(str(path))
    return path


def write_mtz(
    path: Path, group: str = "P 21 21 21", d_min: float = 4.0, cell: tuple[float, ...] = (20, 23, 27, 90, 90, 90), **columns: str
) -> dict[str, dict[tuple[int, ...], float]]:
    """An MTZ file with columns (label=type; _p_ and _m_ stand for (+) and (-)) of random values. Returns label -> index -> value."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup(group)
    mtz.set_cell_for_all(gemmi.UnitCell(*cell))
    mtz.add_dataset("data")
    labels = [name.replace("_p_", "(+)").replace("_m_", "(-)").replace("_dash_", "-") for name in columns]
    for label, kind in zip(labels, columns.values(), strict=True):
        mtz.add_column(label, kind)
    hkl = gemmi.make_miller_array(mtz.cell, mtz.spacegroup, d_min)
    values = np.random.default_rng(1).uniform(10.0, 100.0, (len(hkl), len(labels))).astype(np.float32)
    mtz.set_data(np.hstack([hkl, values]).astype(np.float32))
    mtz.write_to_file(str(path))
    return {label: dict(zip(map(tuple, hkl.tolist()), values[:, n].tolist(), strict=True)) for n, label in enumerate(labels)}


def as_dict(hkl: np.ndarray, F: np.ndarray) -> dict[tuple[int, ...], float]:
    return dict(zip(map(tuple, hkl.tolist()), F.tolist(), strict=True))


SF_CIF = """data_rmade
_cell.length_a 20
_cell.length_b 23
_cell.length_c 27
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M 'P 21 21 21'
loop_
_refln.index_h
_refln.index_k
_refln.index_l
"""


def sf_cif(tags: str, rows: str, head: str = SF_CIF) -> str:
    """A structure factor mmCIF of these tags (words) and rows (lines)."""
    return head + "".join(f"_refln.{tag}\n" for tag in tags.split()) + rows


SMALL_CIF = """data_small
_cell_length_a 7.1
_cell_length_b 8.2
_cell_length_c 9.3
_cell_angle_alpha 90
_cell_angle_beta 101
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1 21/c 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_U_iso_or_equiv
_atom_site_occupancy
Fe1 Fe 0 0 0 0.02 1
C1 C 0.21 0.13 0.34 0.03 1
O1 O 0.42 0.27 0.11 0.04 0.7
"""
