"""Structure factors of atomic models: by FFT of their electron density, with bulk solvent (SF-8, SF-9)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.amplitudes.atoms import FURTHEST, Macromolecule, expand_ncs, put_into_cell, read_mmcif, read_pdb, told
from nbnumba.amplitudes.cif import read_cif
from nbnumba.amplitudes.reflections import ANGSTROM, ON_THE_LIMIT, in_p1
from nbnumba.amplitudes.symmetry import checked_symmetry, of_block
from nbnumba.errors import InputFileError
from nbnumba.experiment.reflections import Reflections
from nbnumba.files.packed import ascii_bytes

if TYPE_CHECKING:
    import gemmi

COARSEST_D = 3.0  # A, of the grid of the density, whatever the reflections that are taken from it
SHANNON_RATE = 1.5  # grid points along an edge, of those that d_min asks for
CUTOFF = 1e-7  # e/A^3, at which an atom's density ends; 1e-5 would leave an R factor of 1e-5
MASK_SPACING = 0.3  # A; against 0.15 A it is within 0.3 % of F
MOST_REFLECTIONS = 2e7  # in P1
MOST_POINTS = 2**29  # of the density
EASY_POINTS = 2**24  # of the density, whatever is in it
SPARSE = 1e4  # A^3 to an atom, a hundred times what a crystal has
EASY_REFLECTIONS = 2e5  # in P1, of a sum over atoms
REFLECTIONS_TO_AN_ATOM = 1e4  # of a sum over atoms
LEAST_U = -0.5  # A^2; refined ones are negative by hundredths
# A from the origin; copies; A^2, B and U of an atom that is spread over 40 A.
LIMITS = {"coordinates": FURTHEST, "occupancy": 1e3, "displacement": 1e4, "anisotropy": 100.0}
MOST_MASK_POINTS = 2**27
MOST_TERMS = 2e9  # of a sum over atoms: atoms times operations times reflections; some minutes
NO_ATOMS = "has no atoms (a loop of _atom_site); structure factors go to --sf-cif"
ON_AXIS = 0.5  # A between an atom and its image, to which both are one atom on a special position


def read_model(path: str | Path, resolution: float, solvent_density: float = 0.0, solvent_B: float = 0.0) -> Reflections:
    """F_calc of a PDB, mmCIF or small-molecule CIF file, in P1, without anomalous scattering.

    resolution: smallest d in m; solvent_density in electrons/m^3, 0: no bulk solvent; solvent_B in m^2. Raises InputFileError.
    """
    d_min = resolution / ANGSTROM * (1.0 - ON_THE_LIMIT)
    data = ascii_bytes(path)
    if not is_cif(path, data):
        return of_macromolecule(path, read_pdb(path, data), d_min, solvent_density * ANGSTROM**3, solvent_B / ANGSTROM**2)
    for block in read_cif(path, data):
        if block.find_loop("_atom_site.Cartn_x"):
            return of_macromolecule(path, read_mmcif(path, block), d_min, solvent_density * ANGSTROM**3, solvent_B / ANGSTROM**2)
        if block.find_loop("_atom_site_fract_x"):
            if solvent_density:
                raise InputFileError(path, "is of small molecules, which have no bulk solvent; leave --solvent out")
            return of_small_molecule(path, block, d_min)
    raise InputFileError(path, NO_ATOMS)


def cell_of_model(path: str | Path) -> gemmi.UnitCell:
    """The unit cell that such a file states; whatever gemmi has where it states none. Raises InputFileError."""
    import gemmi

    data = ascii_bytes(path)
    if not is_cif(path, data):
        return read_pdb(path, data).structure.cell
    for block in read_cif(path, data):
        if block.find_loop("_atom_site.Cartn_x"):
            return read_mmcif(path, block).structure.cell
        if block.find_loop("_atom_site_fract_x"):
            with told(path):
                return gemmi.make_small_structure_from_block(block).cell
    raise InputFileError(path, NO_ATOMS)


def is_cif(path: str | Path, data: bytes) -> bool:
    """By its name, or because it begins with a block."""
    name = Path(path).name.lower().removesuffix(".gz")
    return name.endswith((".cif", ".mmcif")) or data.lstrip()[:5].lower() == b"data_"


def of_macromolecule(path: str | Path, model: Macromolecule, d_min: float, density: float, B: float) -> Reflections:
    """F = F_atoms + k exp(-B s^2 / 4) F_mask, s = 1 / d; lengths in A."""
    structure = model.structure
    if not len(structure) or not structure[0].count_atom_sites():
        raise InputFileError(path, "has no atoms (ATOM or HETATM records)")
    atoms = named_atoms(structure)
    check_atoms(path, atoms)
    check_displacements(path, atoms)
    cell, symmetry = checked_symmetry(path, structure.cell, model.stated, "CRYST1 record or _cell.length_a")
    check_extent(path, cell, d_min)
    meaning = f"worked out from {len(atoms)} atoms{expand_ncs(path, structure)}"
    put_into_cell(path, model, symmetry)
    notes = on_special_positions(structure.cell, named_atoms(structure)) + model.notes
    with told(path), formal_charges():
        hkl, F = from_atoms(path, structure, d_min)
    check_any(path, hkl, d_min)
    if len(structure) > 1:
        meaning += f" of the first of {len(structure)} models"
    if density:
        s2 = cell.calculate_1_d2_array(hkl)
        check_map(path, structure, cell.volume / mask_spacing(cell, d_min) ** 3)
        with told(path):
            mask = from_mask(structure, structure.find_spacegroup(), hkl, d_min)
        F = F + density * np.exp(-B * s2 / 4.0) * mask
    meaning += f" and bulk solvent of {density:g} e/A^3, B {B:g} A^2" if density else " without bulk solvent"
    return in_p1(path, hkl, np.abs(F), cell, symmetry, meaning + notes)


def check_displacements(path: str | Path, atoms: Sequence[tuple[gemmi.Atom, str]]) -> None:
    """No atom is displaced by less than nothing, but for errors of a refinement."""
    for atom, name in atoms:
        if not atom.aniso.nonzero() and atom.b_iso < 0.0:
            raise InputFileError(path, f"atom {name} has B = {atom.b_iso:g} A^2; it must be at least 0")
    anisotropic = [(atom, name) for atom, name in atoms if atom.aniso.nonzero()]
    least = np.linalg.eigvalsh(np.array([atom.aniso.as_mat33().tolist() for atom, _ in anisotropic]).reshape(-1, 3, 3))[:, 0]
    for (_, name), U in zip(anisotropic, least.tolist(), strict=True):
        if U < LEAST_U:
            raise InputFileError(path, f"atom {name} has a principal U of {U:.3g} A^2; it must be at least 0, give or take {-LEAST_U:g}")


def named_atoms(structure: gemmi.Structure) -> list[tuple[gemmi.Atom, str]]:
    return [(site.atom, f"{site.residue} {site.atom.name}") for site in structure[0].all()]


def from_atoms(path: str | Path, structure: gemmi.Structure, d_min: float) -> tuple[NDArray[np.int32], NDArray[np.complex128]]:
    """Unique reflections (n, 3) to d_min in A, and F of the atoms (n,): form factors of International Tables C 6.1.1.4.

    The density is blurred until the grid holds it, as Refmac does (Murshudov et al., Acta Cryst. D53, 240-255, 1997), and F sharpened.
    """
    import gemmi

    calculator = gemmi.DensityCalculatorX()
    calculator.d_min, calculator.rate, calculator.cutoff = min(d_min, COARSEST_D), SHANNON_RATE, CUTOFF
    points = structure.cell.volume / (calculator.d_min / (2.0 * SHANNON_RATE)) ** 3
    check_map(path, structure, points)
    calculator.set_refmac_compatible_blur(structure[0])
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    transform = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
    found = transform.prepare_asu_data(dmin=d_min, unblur=calculator.blur, with_000=True)
    return np.array(found.miller_array), np.array(found.value_array, np.complex128)


def check_map(path: str | Path, structure: gemmi.Structure, points: float) -> None:
    """A map of the cell is not too large, for a cell that is nearly empty not larger than what takes a second."""
    volume, atoms = structure.cell.volume, structure[0].count_atom_sites() * (1 + len(structure.cell.images))
    if points > (EASY_POINTS if volume > SPARSE * atoms else MOST_POINTS):
        problem = f"its unit cell of {volume:.1e} A^3 takes a map of {points:.1e} points; it is too large for {atoms} atoms"
        raise InputFileError(path, f"{problem}: correct it, or give a coarser -dmin")


def from_mask(structure: gemmi.Structure, group: gemmi.SpaceGroup, hkl: NDArray[np.int32], d_min: float) -> NDArray[np.complex128]:
    """F (n,) of a density of 1 e/A^3 wherever no atom is: radii and shrinking of Jiang & Brunger (1994) as cctbx has them."""
    import gemmi

    grid = gemmi.FloatGrid()
    grid.unit_cell, grid.spacegroup = structure.cell, group
    grid.set_size_from_spacing(mask_spacing(structure.cell, d_min), gemmi.GridSizeRounding.Up)
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(grid, structure[0])
    transform = gemmi.transform_map_to_f_phi(grid, half_l=True)
    found = transform.prepare_asu_data(dmin=d_min, with_000=True)
    assert np.array_equal(found.miller_array, hkl)
    return np.array(found.value_array, np.complex128)


def mask_spacing(cell: gemmi.UnitCell, d_min: float) -> float:
    return max(min(MASK_SPACING, d_min / 2.0), float(np.cbrt(cell.volume / MOST_MASK_POINTS)))


def of_small_molecule(path: str | Path, block: gemmi.cif.Block, d_min: float) -> Reflections:
    """F by summing over the atoms."""
    import gemmi

    with told(path):
        small = gemmi.make_small_structure_from_block(block)
    if not len(small.sites):
        raise InputFileError(path, "has no atoms (a loop of _atom_site)")
    check_atoms(path, [(site, site.label) for site in small.sites])
    for site in small.sites:
        if not site.aniso.nonzero() and site.u_iso < 0.0:
            raise InputFileError(path, f"atom {site.label} has U = {site.u_iso:g} A^2; it must be at least 0")
    cell, symmetry = checked_symmetry(path, small.cell, of_block(block), "_cell_length_a and others")
    if symmetry.setting is None:
        raise InputFileError(
            path, "its operators make no setting of International Tables, which a small molecule needs; transform its axes"
        )
    small.spacegroup = symmetry.setting
    small.setup_cell_images()
    check_extent(path, cell, d_min, max(EASY_REFLECTIONS, REFLECTIONS_TO_AN_ATOM * len(small.sites)))
    # The number of reflections and that of operations cancel, but for Friedel mates.
    terms = len(small.sites) * 2.0 / 3.0 * math.pi * cell.volume / d_min**3
    if terms > MOST_TERMS:
        raise InputFileError(path, f"a resolution of {d_min:.3g} A takes a sum of {terms:.1e} terms; give a coarser one with -dmin")
    hkl = np.concatenate([np.zeros((1, 3), np.int32), gemmi.make_miller_array(cell, symmetry.setting, d_min)])
    check_any(path, hkl, d_min)
    small.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorX(cell)
    with formal_charges():
        F = np.array([abs(calculator.calculate_sf_from_small_structure(small, index)) for index in hkl.tolist()])
    return in_p1(path, hkl, F, cell, symmetry, f"worked out from {len(small.sites)} atoms of a small-molecule CIF without bulk solvent")


@contextmanager
def formal_charges() -> Iterator[None]:
    """Form factors of ions where atoms have charges and the table has the ion, else those of the neutral atom."""
    import gemmi

    before = gemmi.IT92_get_ignore_charge()
    gemmi.IT92_set_ignore_charge(False)
    try:
        yield
    finally:
        gemmi.IT92_set_ignore_charge(before)


def on_special_positions(cell: gemmi.UnitCell, atoms: Sequence[tuple[gemmi.Atom, str]]) -> str:
    """What is to be said of atoms that symmetry puts in one place several times, each time with occupancy 1; or nothing."""
    full = [(atom, name) for atom, name in atoms if atom.occ > 1.0 - 1e-3]
    found = [(name, atom.occ, 1 + images) for atom, name in full if (images := cell.is_special_position(atom.pos, ON_AXIS))]
    if not found:
        return ""
    name, occupancy, times = found[0]
    others = f", like {len(found) - 1} more such atoms" if len(found) > 1 else ""
    return (
        f"; atom {name} is on a special position with occupancy {occupancy:g}: counted {times} times{others}; give {occupancy / times:.2g}"
    )


def check_extent(path: str | Path, cell: gemmi.UnitCell, d_min: float, most: float = MOST_REFLECTIONS) -> None:
    """There are not too many reflections to d_min in A: those of P1 fill a sphere of radius 1 / d_min in reciprocal space."""
    sphere = 4.0 / 3.0 * math.pi * cell.volume
    most = min(most, MOST_REFLECTIONS)
    if sphere / d_min**3 > most:
        least = math.ceil(100.0 * np.cbrt(sphere / most)) / 100.0
        raise InputFileError(
            path, f"a resolution of {d_min:.3g} A takes {sphere / d_min**3:.1e} reflections in P1; give -dmin {least:g} or more (A)"
        )


def check_any(path: str | Path, hkl: NDArray[np.int32], d_min: float) -> None:
    """There are reflections besides 0 0 0."""
    if not hkl.any():
        raise InputFileError(path, f"the crystal has no reflections to {d_min:.3g} A; give a smaller -dmin")


def check_atoms(path: str | Path, atoms: Sequence[tuple[gemmi.Atom | gemmi.SmallStructure.Site, str]]) -> None:
    """Every atom has a scattering factor, and numbers where it is and how it is displaced."""
    import gemmi

    for atom, name in atoms:
        if atom.element.name == "X" or atom.element.it92 is None:
            shown = "no known element" if atom.element.name == "X" else f"element {atom.element.name}, which has no scattering factor"
            raise InputFileError(path, f"atom {name} has {shown}; write its element into the file, or leave it out")
        place, B = (atom.fract, atom.u_iso) if isinstance(atom, gemmi.SmallStructure.Site) else (atom.pos, atom.b_iso)
        anisotropy = atom.aniso.elements_pdb()
        numbers = {"coordinates": place.tolist(), "occupancy": [atom.occ], "displacement": [B], "anisotropy": anisotropy}
        for what, values in numbers.items():
            shown = " ".join(f"{value:g}" for value in values)
            if not all(map(math.isfinite, values)):
                raise InputFileError(path, f"atom {name} has {what} {shown}; give finite numbers, or leave it out")
            if max(map(abs, values)) > LIMITS[what]:
                raise InputFileError(path, f"atom {name} has {what} {shown}, beyond {LIMITS[what]:g}; correct it, or leave it out")
