"""Structure factors of atomic models: by FFT of their electron density, with bulk solvent (SF-8, SF-9)."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import SEEK_END
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.inputs.reflections import ANGSTROM, ON_THE_LIMIT, Reflections, checked_symmetry, in_p1, reason
from nbnumba.inputs.text import first_bytes

if TYPE_CHECKING:
    import gemmi

COARSEST_D = 3.0  # A, of the grid of the density, whatever the reflections that are taken from it
SHANNON_RATE = 1.5  # grid points along an edge, of those that d_min asks for
CUTOFF = 1e-7  # e/A^3, at which an atom's density ends; 1e-5 would leave an R factor of 1e-5
MASK_SPACING = 0.3  # A; against 0.15 A it is within 0.3 % of F
MOST_REFLECTIONS = 2e7  # in P1
TAIL = 4096  # bytes in which the last record of a PDB file stands
MOST_POINTS = 2**29  # of the density
MOST_MASK_POINTS = 2**27
MOST_TERMS = 2e9  # of a sum over atoms: atoms times operations times reflections; some minutes
ON_AXIS = 0.5  # A between an atom and its image, to which both are one atom on a special position
PDB_COLUMNS = {"x": (30, 38), "y": (38, 46), "z": (46, 54), "occupancy": (54, 60), "B": (60, 66)}
MAY_BE_BLANK = ("occupancy", "B")  # of old files


def read_model(path: str | Path, resolution: float, solvent_density: float = 0.0, solvent_B: float = 0.0) -> Reflections:
    """F_calc of a PDB, mmCIF or small-molecule CIF file, in P1, without anomalous scattering.

    resolution: smallest d in m; solvent_density in electrons/m^3, 0: no bulk solvent; solvent_B in m^2. Raises InputFileError.
    """
    import gemmi

    structure = read_atoms(path)
    d_min = resolution / ANGSTROM * (1.0 - ON_THE_LIMIT)
    if isinstance(structure, gemmi.SmallStructure):
        if solvent_density:
            raise InputFileError(path, "is of small molecules, which have no bulk solvent; leave --solvent out")
        return of_small_molecule(path, structure, d_min)
    return of_macromolecule(path, structure, d_min, solvent_density * ANGSTROM**3, solvent_B / ANGSTROM**2)


def read_atoms(path: str | Path) -> gemmi.Structure | gemmi.SmallStructure:
    """A file's atoms, those of a macromolecule or of a small one."""
    import gemmi

    compressed = first_bytes(path, 2) == b"\x1f\x8b"
    name = Path(path).name.lower().removesuffix(".gz")
    try:
        if compressed:
            with gzip.open(path) as file:  # which notices where it is cut short
                while file.read(1 << 20):
                    pass
        if not name.endswith((".cif", ".mmcif")):
            return read_pdb(path, compressed)
        blocks = list(gemmi.cif.read(str(path)))
        for block in blocks:
            if block.find_loop("_atom_site.Cartn_x"):
                return gemmi.make_structure_from_block(block)
            if block.find_loop("_atom_site_fract_x"):
                return gemmi.make_small_structure_from_block(block)
    except InputFileError:
        raise
    except Exception as error:
        raise InputFileError(path, f"cannot be read as a model: {reason(error, path)}") from None
    raise InputFileError(path, "has no atoms (a loop of _atom_site); structure factors go to --sf-cif")


def read_pdb(path: str | Path, compressed: bool) -> gemmi.Structure:
    """A PDB file, of today's form or with a serial number in columns 73-80 where elements and charges are now."""
    import gemmi

    check_numbers(path, compressed)
    try:
        return gemmi.read_pdb(str(path))
    except (RuntimeError, ValueError) as error:
        try:
            return gemmi.read_pdb(str(path), max_line_length=72)
        except (RuntimeError, ValueError):
            raise error from None


def check_numbers(path: str | Path, compressed: bool) -> None:
    """The numbers of a PDB file's atoms are numbers; gemmi takes the beginning of what is not, or 0."""
    with gzip.open(path, "rt", encoding="latin-1") if compressed else open(path, encoding="latin-1") as file:
        for row, line in enumerate(file, 1):
            if line[:4].upper() not in ("ATOM", "HETA") or len(line.rstrip()) < PDB_COLUMNS["z"][1]:
                continue
            for name, (first, end) in PDB_COLUMNS.items():
                word = line[first:end].strip()
                try:
                    known = math.isfinite(float(word))
                except ValueError:
                    known = not word and name in MAY_BE_BLANK
                if not known:
                    shown = f"{name} {word!r} of atom {' '.join(line[12:27].split())}"
                    raise InputFileError(path, f"{shown} is not a finite number; correct columns {first + 1}-{end}", row)


def of_macromolecule(path: str | Path, structure: gemmi.Structure, d_min: float, density: float, B: float) -> Reflections:
    """F = F_atoms + k exp(-B s^2 / 4) F_mask, s = 1 / d; lengths in A."""
    import gemmi

    if not len(structure) or not structure[0].count_atom_sites():
        raise InputFileError(path, "has no atoms (ATOM or HETATM records)")
    atoms = [(site.atom, f"{site.residue} {site.atom.name}") for site in structure[0].all()]
    check_atoms(path, atoms)
    for atom, name in atoms:
        if not atom.aniso.nonzero() and atom.b_iso < 0.0:
            raise InputFileError(path, f"atom {name} has B = {atom.b_iso:g} A^2; it must be at least 0")
    group = structure.find_spacegroup()
    cell, group = checked_symmetry(path, structure.cell, group, structure.spacegroup_hm, "CRYST1 record or _cell.length_a")
    check_extent(path, cell, d_min)
    notes = on_special_positions(structure.cell, atoms) + without_end(path)
    structure.expand_ncs(gemmi.HowToNameCopiedChain.Dup)
    with formal_charges():
        hkl, F = from_atoms(path, structure, d_min)
    check_any(path, hkl, d_min)
    meaning = f"worked out from {len(atoms)} atoms"
    if len(structure) > 1:
        meaning += f" of the first of {len(structure)} models"
    if density:
        s2 = cell.calculate_1_d2_array(hkl)
        F = F + density * np.exp(-B * s2 / 4.0) * from_mask(structure, group, hkl, d_min)
    meaning += f" and bulk solvent of {density:g} e/A^3, B {B:g} A^2" if density else " without bulk solvent"
    return in_p1(path, hkl, np.abs(F), cell, group, meaning + notes)


def from_atoms(path: str | Path, structure: gemmi.Structure, d_min: float) -> tuple[NDArray[np.int32], NDArray[np.complex128]]:
    """Unique reflections (n, 3) to d_min in A, and F of the atoms (n,): form factors of International Tables C 6.1.1.4.

    The density is blurred until the grid holds it, as Refmac does (Murshudov et al., Acta Cryst. D53, 240-255, 1997), and F sharpened.
    """
    import gemmi

    calculator = gemmi.DensityCalculatorX()
    calculator.d_min, calculator.rate, calculator.cutoff = min(d_min, COARSEST_D), SHANNON_RATE, CUTOFF
    points = structure.cell.volume / (calculator.d_min / (2.0 * SHANNON_RATE)) ** 3
    if points > MOST_POINTS:
        raise InputFileError(path, f"its unit cell of {structure.cell.volume:.1e} A^3 takes a map of {points:.1e} points; it is too large")
    calculator.set_refmac_compatible_blur(structure[0])
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    transform = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
    found = transform.prepare_asu_data(dmin=d_min, unblur=calculator.blur, with_000=True)
    return np.array(found.miller_array), np.array(found.value_array, np.complex128)


def from_mask(structure: gemmi.Structure, group: gemmi.SpaceGroup, hkl: NDArray[np.int32], d_min: float) -> NDArray[np.complex128]:
    """F (n,) of a density of 1 e/A^3 wherever no atom is: radii and shrinking of Jiang & Brunger (1994) as cctbx has them."""
    import gemmi

    grid = gemmi.FloatGrid()
    grid.unit_cell, grid.spacegroup = structure.cell, group
    spacing = max(min(MASK_SPACING, d_min / 2.0), float(np.cbrt(structure.cell.volume / MOST_MASK_POINTS)))
    grid.set_size_from_spacing(spacing, gemmi.GridSizeRounding.Up)
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(grid, structure[0])
    transform = gemmi.transform_map_to_f_phi(grid, half_l=True)
    found = transform.prepare_asu_data(dmin=d_min, with_000=True)
    assert np.array_equal(found.miller_array, hkl)
    return np.array(found.value_array, np.complex128)


def of_small_molecule(path: str | Path, small: gemmi.SmallStructure, d_min: float) -> Reflections:
    """F by summing over the atoms."""
    import gemmi

    if not len(small.sites):
        raise InputFileError(path, "has no atoms (a loop of _atom_site)")
    check_atoms(path, [(site, site.label) for site in small.sites])
    cell, group = checked_symmetry(path, small.cell, small.spacegroup, small.spacegroup_hm, "_cell_length_a and others")
    for site in small.sites:
        if not site.aniso.nonzero() and site.u_iso < 0.0:
            raise InputFileError(path, f"atom {site.label} has U = {site.u_iso:g} A^2; it must be at least 0")
    check_extent(path, cell, d_min)
    # The number of reflections and that of operations cancel, but for Friedel mates.
    terms = len(small.sites) * 2.0 / 3.0 * math.pi * cell.volume / d_min**3
    if terms > MOST_TERMS:
        raise InputFileError(path, f"a resolution of {d_min:.3g} A takes a sum of {terms:.1e} terms; give a coarser one with -dmin")
    hkl = np.concatenate([np.zeros((1, 3), np.int32), gemmi.make_miller_array(cell, group, d_min)])
    check_any(path, hkl, d_min)
    small.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorX(cell)
    with formal_charges():
        F = np.array([abs(calculator.calculate_sf_from_small_structure(small, index)) for index in hkl.tolist()])
    return in_p1(path, hkl, F, cell, group, f"worked out from {len(small.sites)} atoms of a small-molecule CIF without bulk solvent")


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


def without_end(path: str | Path) -> str:
    """What is to be said of a PDB file that stops without its last record, as one does that was cut short; or nothing."""
    if not Path(path).name.lower().endswith((".pdb", ".ent")):
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, SEEK_END) - TAIL))
        ended = any(line.startswith(b"END") for line in file.read().upper().splitlines())
    return "" if ended else "; the file has no END record: is it whole?"


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


def check_extent(path: str | Path, cell: gemmi.UnitCell, d_min: float) -> None:
    """There are not too many reflections to d_min in A: those of P1 fill a sphere of radius 1 / d_min in reciprocal space."""
    sphere = 4.0 / 3.0 * math.pi * cell.volume
    if sphere / d_min**3 > MOST_REFLECTIONS:
        least = math.ceil(100.0 * np.cbrt(sphere / MOST_REFLECTIONS)) / 100.0
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
        numbers = {"coordinates": place.tolist(), "occupancy": [atom.occ], "displacement": [B, *atom.aniso.elements_pdb()]}
        for what, values in numbers.items():
            if not all(map(math.isfinite, values)):
                shown = " ".join(f"{value:g}" for value in values)
                raise InputFileError(path, f"atom {name} has {what} {shown}; give finite numbers, or leave it out")
