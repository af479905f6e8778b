"""Structure factors of atomic models: by FFT of their electron density, with bulk solvent (SF-8, SF-9)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.amplitudes.atoms import FURTHEST, Macromolecule, expand_ncs, put_into_cell, read_mmcif, read_pdb, told
from nbnumba.amplitudes.cif import read_cif
from nbnumba.amplitudes.reflections import ANGSTROM, ON_THE_LIMIT, in_p1
from nbnumba.amplitudes.symmetry import checked_symmetry, of_block
from nbnumba.errors import InputFileError
from nbnumba.experiment.dispersion import Complex, Dispersion, ScatteringParts
from nbnumba.experiment.reflections import Reflections
from nbnumba.files.packed import ascii_bytes

if TYPE_CHECKING:
    import gemmi

COARSEST_D = 3.0  # A, of the grid of the density, whatever the reflections that are taken from it
SHANNON_RATE = 1.5  # grid points along an edge, of those that d_min asks for
FINE_RATE = 2.0  # the same, where mates differ: R is 10 times less
NUCLEUS = "C"  # any element whose nucleus scatters neutrons
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


def read_model(
    path: str | Path, resolution: float, solvent_density: float = 0.0, solvent_B: float = 0.0, dispersion: Dispersion | None = None
) -> Reflections:
    """F_calc of a PDB, mmCIF or small-molecule CIF file, in P1, without anomalous scattering; its parts where there is a dispersion.

    resolution: smallest d in m; solvent_density in electrons/m^3, 0: no bulk solvent; solvent_B in m^2. Raises InputFileError.
    """
    d_min = resolution / ANGSTROM * (1.0 - ON_THE_LIMIT)
    data = ascii_bytes(path)
    if not is_cif(path, data):
        return of_macromolecule(path, read_pdb(path, data), d_min, solvent_density * ANGSTROM**3, solvent_B / ANGSTROM**2, dispersion)
    for block in read_cif(path, data):
        if block.find_loop("_atom_site.Cartn_x"):
            solvent = solvent_density * ANGSTROM**3, solvent_B / ANGSTROM**2
            return of_macromolecule(path, read_mmcif(path, block), d_min, *solvent, dispersion)
        if block.find_loop("_atom_site_fract_x"):
            if solvent_density:
                raise InputFileError(path, "is of small molecules, which have no bulk solvent; leave --solvent out")
            return of_small_molecule(path, block, d_min, dispersion)
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


def of_macromolecule(
    path: str | Path, model: Macromolecule, d_min: float, density: float, B: float, dispersion: Dispersion | None
) -> Reflections:
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
        hkl, F = from_atoms(path, structure, d_min, SHANNON_RATE if dispersion is None else FINE_RATE)
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
    found = in_p1(path, hkl, np.abs(F), cell, symmetry, meaning + notes)
    if dispersion is None:
        return found
    with told(path):
        return with_parts(found, F, dict(parts_of_elements(path, structure, d_min)), dispersion)


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


def with_parts(found: Reflections, F: Complex, by_element: Mapping[str, Complex], dispersion: Dispersion) -> Reflections:
    """The same with what F is made of; found: of |F|."""
    assert found.rows is not None
    parts = np.array([F, *by_element.values()])
    own = [name for name in by_element if name in dispersion.elements]
    rest = [name for name in by_element if name not in own]
    told = [f"{' '.join(names)} by {whose}" for names, whose in ((own, "its table"), (rest, "Cromer and Liberman")) if names]
    scattering = ScatteringParts(found.rows, parts[0], parts[1:], tuple(by_element), dispersion)
    return replace(found, meaning=f"{found.meaning}; f' and f'' of {', of '.join(told)}", parts=scattering)


def parts_of_elements(path: str | Path, structure: gemmi.Structure, d_min: float) -> Iterator[tuple[str, Complex]]:
    """Of every element, F of its atoms as if each were one electron at a point, displaced as it is.

    They pass for atoms of which a neutron sees the nucleus, which is a point, too.
    """
    import gemmi

    alone = structure.clone()
    held = [(site.atom.element.name, site.atom.occ) for site in structure[0].all()]
    nucleus = gemmi.Element(NUCLEUS)
    (length,) = nucleus.neutron92.get_coefs()
    for name in sorted({element for element, _ in held}):
        for site, (element, occupancy) in zip(alone[0].all(), held, strict=True):
            site.atom.element, site.atom.occ = nucleus, occupancy if element == name else 0.0
        yield name, from_atoms(path, alone, d_min, FINE_RATE, gemmi.DensityCalculatorN())[1] / length


def from_atoms(
    path: str | Path, structure: gemmi.Structure, d_min: float, rate: float = SHANNON_RATE, calculator: Any = None
) -> tuple[NDArray[np.int32], Complex]:
    """Unique reflections (n, 3) to d_min in A, and F of the atoms (n,): form factors of International Tables C 6.1.1.4.

    The density is blurred until the grid holds it, as Refmac does (Murshudov et al., Acta Cryst. D53, 240-255, 1997), and F sharpened.
    rate: points of the grid along an edge, of those that d_min asks for; calculator: of gemmi's, another than of X-rays.
    """
    import gemmi

    calculator = calculator or gemmi.DensityCalculatorX()
    calculator.d_min, calculator.rate, calculator.cutoff = min(d_min, COARSEST_D), rate, CUTOFF
    points = structure.cell.volume / (calculator.d_min / (2.0 * rate)) ** 3
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


def of_small_molecule(path: str | Path, block: gemmi.cif.Block, d_min: float, dispersion: Dispersion | None) -> Reflections:
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
        F = np.array([calculator.calculate_sf_from_small_structure(small, index) for index in hkl.tolist()])
    meaning = f"worked out from {len(small.sites)} atoms of a small-molecule CIF without bulk solvent"
    found = in_p1(path, hkl, np.abs(F), cell, symmetry, meaning)
    return found if dispersion is None else with_parts(found, F, dict(parts_of_sites(small, hkl)), dispersion)


def parts_of_sites(small: gemmi.SmallStructure, hkl: NDArray[np.int32]) -> Iterator[tuple[str, Complex]]:
    """As parts_of_elements(), by summing over the atoms."""
    import gemmi

    held = [(site.element.name, site.occ) for site in small.sites]
    calculator, nucleus = gemmi.StructureFactorCalculatorN(small.cell), gemmi.Element(NUCLEUS)
    (length,) = nucleus.neutron92.get_coefs()
    for name in sorted({element for element, _ in held}):
        for site, (element, occupancy) in zip(small.sites, held, strict=True):
            site.element, site.occ = nucleus, occupancy if element == name else 0.0
        found = [calculator.calculate_sf_from_small_structure(small, index) for index in hkl.tolist()]
        yield name, np.array(found, np.complex128) / length


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
