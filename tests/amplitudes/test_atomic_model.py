"""Structure factors of atomic models, against cctbx's sum over atoms and against a mask worked out point by point."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from amplitudes.crystals import SMALL_CIF, as_dict, protein, write_pdb
from scipy.spatial import cKDTree

from nbnumba import InputFileError
from nbnumba.amplitudes.atomic_model import from_mask, read_model
from nbnumba.errors import InputFileWarning
from nbnumba.experiment.reflections import Reflections

CRYSTALS = {"P 21 21 21": (20, 23, 28, 90, 90, 90), "P 32 2 1": (26, 26, 31, 90, 90, 120)}
D_MIN = 1.8e-10
B = 46e-20

# gemmi and cctbx cannot be loaded into one process; theirs is another.
CCTBX = """
import sys
import numpy as np
import iotbx.pdb
structure = iotbx.pdb.input(file_name=sys.argv[1]).xray_structure_simple()
structure.scattering_type_registry(table="it1992")
F = structure.structure_factors(d_min=float(sys.argv[2]), algorithm="direct").f_calc()
more = {}
if sys.argv[4] == "solvent":
    import mmtbx.masks
    p1 = structure.crystal_symmetry().cell_equivalent_p1()
    mask = mmtbx.masks.bulk_solvent(
        xray_structure=structure.expand_to_p1(sites_mod_positive=True),
        ignore_zero_occupancy_atoms=True, ignore_hydrogen_atoms=True, grid_step=0.3,
        solvent_radius=1.1, shrink_truncation_radius=0.9,
    )
    more["mask"] = np.array(list(mask.structure_factors(miller_set=F.customized_copy(crystal_symmetry=p1)).data()))
np.savez(sys.argv[3], hkl=np.array(list(F.indices())), F=np.array(list(F.data())), **more)
"""


def of_cctbx(pdb: Path, d_min: float, with_solvent: str = "") -> dict[str, np.ndarray]:
    if importlib.util.find_spec("cctbx") is None:
        pytest.skip("cctbx is not installed (pip install cctbx-base)")
    into = pdb.with_suffix(".npz")
    done = subprocess.run([sys.executable, "-c", CCTBX, pdb, str(d_min * 1e10), into, with_solvent], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cctbx cannot be imported here: {done.stderr.decode()[-200:]}")
    with np.load(into) as found:
        return dict(found)


def R_factor(found: Reflections, hkl: np.ndarray, F: np.ndarray) -> float:
    """sum |F - F'| / sum F' over the reflections hkl."""
    table = as_dict(found.hkl, found.F)
    mine = np.array([table[tuple(index)] for index in hkl.tolist()])
    return float(np.abs(mine - F).sum() / F.sum())


@pytest.mark.spec("SF-8")
@pytest.mark.parametrize("group", CRYSTALS)
@pytest.mark.parametrize(("d_min", "R"), [(D_MIN, 5e-6), (6e-10, 1e-6)], ids=["fine", "coarse"])
def test_atoms_are_those_of_cctbx(tmp_path: Path, group: str, d_min: float, R: float) -> None:
    pdb = write_pdb(tmp_path / "a.pdb", group, CRYSTALS[group])
    theirs = of_cctbx(pdb, d_min)
    assert len(theirs["F"]) > (700 if d_min == D_MIN else 20)
    found = read_model(pdb, d_min, 0.0, B)
    assert R_factor(found, theirs["hkl"], np.abs(theirs["F"])) < R
    assert found.completeness == 1.0
    assert found.space_group == group


@pytest.mark.spec("SF-9")
@pytest.mark.parametrize("group", CRYSTALS)
def test_bulk_solvent_is_nearly_that_of_cctbx(tmp_path: Path, group: str) -> None:
    """Whose mask is rounded to its grid in another way; test_the_mask_point_by_point is the exact check."""
    pdb = write_pdb(tmp_path / "a.pdb", group, CRYSTALS[group])
    theirs = of_cctbx(pdb, D_MIN, "solvent")
    s2 = gemmi.read_pdb(str(pdb)).cell.calculate_1_d2_array(theirs["hkl"].astype(np.int32))
    F = np.abs(theirs["F"] + 0.35 * np.exp(-46.0 * s2 / 4.0) * theirs["mask"])
    assert R_factor(read_model(pdb, D_MIN, 0.35e30, B), theirs["hkl"], F) < 0.01
    assert R_factor(read_model(pdb, D_MIN, 0.0, B), theirs["hkl"], F) > 0.05


@pytest.mark.spec("SF-9")
@pytest.mark.parametrize("group", CRYSTALS)
def test_the_mask_point_by_point(group: str) -> None:
    """F_mask from every point of the whole cell, by distances to all atoms and by NumPy's Fourier transform."""
    structure = protein(group, CRYSTALS[group])
    space_group = structure.find_spacegroup()
    hkl = ordered(structure, space_group, 3.0)
    grid = gemmi.FloatGrid()
    grid.unit_cell, grid.spacegroup = structure.cell, space_group
    grid.set_size_from_spacing(0.3, gemmi.GridSizeRounding.Up)
    mask = mask_of(structure, grid.shape)
    transform = np.conj(np.fft.fftn(mask)) / mask.size * structure.cell.volume
    expected = np.array([transform[tuple(index)] for index in hkl])
    found = from_mask(structure, space_group, hkl, 3.0)
    assert np.abs(found - expected).sum() / np.abs(expected).sum() < 1e-4
    assert 0.2 < mask.mean() < 0.95


def ordered(structure: gemmi.Structure, group: gemmi.SpaceGroup, d_min: float) -> np.ndarray:
    """Unique reflections in the order of gemmi's transforms."""
    grid = gemmi.FloatGrid()
    grid.unit_cell, grid.spacegroup = structure.cell, group
    grid.set_size_from_spacing(0.5, gemmi.GridSizeRounding.Up)
    return np.array(gemmi.transform_map_to_f_phi(grid, half_l=True).prepare_asu_data(dmin=d_min, with_000=True).miller_array)


def mask_of(structure: gemmi.Structure, shape: tuple[int, int, int]) -> np.ndarray:
    """1 where solvent is: at points no nearer than 0.9 A to one that is 1.1 A and a radius away from all atoms."""
    radii = {"C": 1.775, "N": 1.5, "O": 1.45, "S": 1.8}
    cell, operations = structure.cell, list(structure.find_spacegroup().operations())
    orthogonal = np.array(cell.orth.mat.tolist())
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    places: dict[str, list[list[float]]] = {element: [] for element in radii}
    for site in structure[0].all():
        fraction = cell.fractionalize(site.atom.pos).tolist()
        places[site.atom.element.name] += [operation.apply_to_xyz(fraction) for operation in operations]
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), -1).reshape(-1, 3)
    free = np.ones(len(points), bool)
    for element, near in places.items():
        images = (np.array(near)[:, None] % 1.0 + shifts).reshape(-1, 3) @ orthogonal.T
        reach = radii[element] + 1.1
        free &= cKDTree(images).query(points @ orthogonal.T, distance_upper_bound=reach + 0.01)[0] >= reach
    images = (points[free][:, None] + shifts).reshape(-1, 3)
    images = images[((images > -0.1) & (images < 1.1)).all(axis=1)] @ orthogonal.T
    free[~free] = cKDTree(images).query(points[~free] @ orthogonal.T, distance_upper_bound=0.91)[0] < 0.9
    return free.reshape(shape).astype(float)


@pytest.mark.spec("SF-8", "SF-9")
def test_F000_counts_electrons(tmp_path: Path) -> None:
    pdb = write_pdb(tmp_path / "a.pdb")
    electrons = 4 * sum(site.atom.occ * site.atom.element.atomic_number for site in gemmi.read_pdb(str(pdb))[0].all())
    found = read_model(pdb, 3e-10, 0.0, B)
    assert pytest.approx(electrons, rel=1e-3) == found.F000
    assert (0, 0, 0) not in as_dict(found.hkl, found.F)
    solvent = mask_of(gemmi.read_pdb(str(pdb)), (64, 80, 90)).mean() * 20 * 23 * 28 * 0.35
    assert pytest.approx(electrons + solvent, rel=0.01) == read_model(pdb, 3e-10, 0.35e30, B).F000


@pytest.mark.spec("SF-8")
def test_formats_of_a_model(tmp_path: Path) -> None:
    pdb = write_pdb(tmp_path / "a.pdb")
    expected = read_model(pdb, 3e-10, 0.35e30, B)
    (tmp_path / "a.ent.gz").write_bytes(gzip.compress(pdb.read_bytes()))
    gemmi.read_pdb(str(pdb)).make_mmcif_document().write_file(str(tmp_path / "a.cif"))
    (tmp_path / "b.cif.gz").write_bytes(gzip.compress((tmp_path / "a.cif").read_bytes()))
    for name in ("a.ent.gz", "a.cif", "b.cif.gz"):
        found = read_model(tmp_path / name, 3e-10, 0.35e30, B)
        np.testing.assert_array_equal(found.hkl, expected.hkl)
        np.testing.assert_allclose(found.F, expected.F, atol=1e-3 * expected.F.mean())
    structure = gemmi.read_pdb(str(pdb))
    structure.add_model(structure[0].clone())
    structure[1].num = 2
    structure.write_pdb(str(tmp_path / "two.pdb"))
    assert "of the first of 2 models" in read_model(tmp_path / "two.pdb", 3e-10, 0.35e30, B).meaning


@pytest.mark.spec("SF-8", "SF-9")
def test_a_small_molecule_is_summed_over_atoms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iron lies on a centre of inversion: it is there twice in the cell, not four times."""
    path = tmp_path / "small.cif"
    path.write_text(SMALL_CIF)
    found = read_model(path, 1e-10)
    coefficients = {name: gemmi.Element(name).it92 for name in ("Fe", "C", "O")}
    cell = gemmi.UnitCell(7.1, 8.2, 9.3, 90, 101, 90)
    operations = list(gemmi.SpaceGroup("P 1 21/c 1").operations())
    atoms = [("Fe", (0, 0, 0), 0.02, 0.5), ("C", (0.21, 0.13, 0.34), 0.03, 1.0), ("O", (0.42, 0.27, 0.11), 0.04, 0.7)]
    assert found.completeness == 1.0
    assert found.meaning == "worked out from 3 atoms of a small-molecule CIF without bulk solvent"
    for index, F in zip(found.hkl.tolist()[::17], found.F[::17], strict=True):
        stol2 = cell.calculate_1_d2(index) / 4.0
        expected = sum(
            coefficients[name].calculate_sf(stol2)
            * occupancy
            * np.exp(-8.0 * np.pi**2 * U * stol2 + 2j * np.pi * np.dot(index, operation.apply_to_xyz(place)))
            for name, place, U, occupancy in atoms
            for operation in operations
        )
        assert pytest.approx(abs(expected), abs=1e-3) == F
    with pytest.raises(InputFileError, match=r"is of small molecules, which have no bulk solvent; leave --solvent out"):
        read_model(path, 1e-10, 0.35e30, B)
    monkeypatch.setattr("nbnumba.amplitudes.atomic_model.MOST_TERMS", 1e3)
    with pytest.raises(InputFileError, match=r"takes a sum of .* terms; give a coarser one with -dmin"):
        read_model(path, 1e-10)


def field(pdb: str, first: int, word: str) -> str:
    """A PDB file with something else from a column of its first atom on."""
    at = pdb.index("\nATOM") + 1 + first
    return pdb[:at] + word + pdb[at + len(word) :]


def without_anisotropy(pdb: str) -> str:
    return "".join(line for line in pdb.splitlines(keepends=True) if not line.startswith("ANISOU"))


def as_mmcif(pdb: str) -> str:
    return str(gemmi.read_pdb_string(pdb).make_mmcif_document().as_string())


@pytest.mark.spec("SF-8")
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.pdb", None, "cannot be read: No such file"),
        ("a.pdb", "nothing of the kind\n", "has no atoms (ATOM or HETATM records)"),
        ("a.pdb", lambda pdb: pdb.replace("CRYST1", "REMARK"), "has no unit cell (CRYST1 record or _cell.length_a)"),
        ("a.pdb", lambda pdb: pdb.replace("P 21 21 21", "P 99 99 99"), "has the unknown space group 'P 99 99 99'"),
        ("a.pdb", lambda pdb: pdb.replace("P 21 21 21", "          "), "has no space group; write one of the International Tables"),
        ("a.pdb", lambda pdb: pdb.replace("P 21 21 21", "P 32 2 1  "), "does not have the symmetry of P 32 2 1"),
        ("a.pdb", lambda pdb: pdb.replace("          S  ", "          X  "), "SG has no known element; write its element into the file"),
        ("a.pdb", lambda pdb: pdb.replace("          S  ", "         FM  "), "has element Fm, which has no scattering factor"),
        ("a.pdb", lambda pdb: pdb[: pdb.index("ATOM") + 40], "cannot be taken as a model: Problem in line"),
        (
            "a.pdb",
            lambda pdb: field(pdb, 30, "     abc"),
            "line 2: x 'abc' of atom N CYS A 1 is not a finite number; correct columns 31-38",
        ),
        ("a.pdb", lambda pdb: field(pdb, 38, "        "), "y '' of atom N CYS A 1 is not a finite number; correct columns 39-46"),
        ("a.pdb", lambda pdb: field(pdb, 46, "     nan"), "z 'nan' of atom N CYS A 1 is not a finite number; correct columns 47-54"),
        ("a.pdb", lambda pdb: field(pdb, 54, "   inf"), "occupancy 'inf' of atom N CYS A 1 is not a finite number; correct columns 55-60"),
        ("a.pdb", lambda pdb: field(pdb, 60, "******"), "B '******' of atom N CYS A 1 is not a finite number; correct columns 61-66"),
        ("a.pdb", lambda pdb: field(without_anisotropy(pdb), 60, " -5.00"), "1(CYS) N has B = -5 A^2; it must be at least 0"),
        (
            "a.pdb",
            lambda pdb: re.sub("CRYST1.*", "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1", pdb),
            "or the placeholder 1 1 1",
        ),
        (
            "b.cif",
            lambda pdb: as_mmcif(pdb).replace(" 4.138 ", " ? "),
            "has coordinates nan 3.855 4.704; give finite numbers, or leave it out",
        ),
        ("b.cif", lambda pdb: as_mmcif(pdb).replace(" 4.138 ", " 1e999 "), "give finite numbers, or leave it out"),
        ("b.cif", lambda pdb: as_mmcif(pdb).replace(" 23.24 ", " abc "), "has displacement nan"),
        ("a.cif", SMALL_CIF.replace("0.21", "x"), "atom C1 has coordinates nan 0.13 0.34; give finite numbers"),
        ("a.cif", SMALL_CIF.replace("0.03", "-0.03"), "atom C1 has U = -0.03 A^2; it must be at least 0"),
        ("a.cif", "data_a\n_cell.length_a 5\n", "has no atoms (a loop of _atom_site); structure factors go to --sf-cif"),
        ("a.cif", "loop_\n_a\n", "line 1: cannot be read as CIF"),
        ("a.cif", SMALL_CIF.replace("P 1 21/c 1", "P 99"), "space group"),
        ("a.cif", SMALL_CIF.replace("_cell_length_a 7.1\n", ""), "has no unit cell (_cell_length_a and others)"),
        ("a.cif", SMALL_CIF.replace("C1 C", "C1 Qq"), "atom C1 has no known element"),
    ],
)
def test_what_is_wrong_with_a_model(tmp_path: Path, name: str, text: object, expected: str) -> None:
    path = tmp_path / name
    if text is not None:
        pdb = write_pdb(tmp_path / "good.pdb").read_text()
        path.write_text(text(pdb) if callable(text) else str(text))
    with pytest.raises(InputFileError) as error:
        read_model(path, 2e-10)
    assert str(error.value).startswith((f"{path}: ", f"{path}, line "))
    assert str(error.value).count(str(path)) == 1
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_compressed_model_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.pdb.gz"
    path.write_bytes(gzip.compress(write_pdb(tmp_path / "a.pdb").read_bytes())[:400])
    with pytest.raises(InputFileError, match="cannot be unpacked: Compressed file ended"):
        read_model(path, 2e-10, 0.35e30, B)


def test_more_than_can_be_worked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pdb = write_pdb(tmp_path / "a.pdb")
    with pytest.raises(InputFileError, match=r"a resolution of 0\.05 A takes 4\.3e\+08 reflections in P1; give -dmin 0\.14 or more \(A\)"):
        read_model(pdb, 0.05e-10, 0.35e30, B)
    with pytest.raises(InputFileError, match=r"the crystal has no reflections to 100 A; give a smaller -dmin"):
        read_model(pdb, 100e-10)
    (tmp_path / "small.cif").write_text(SMALL_CIF)
    with pytest.raises(InputFileError, match=r"the crystal has no reflections to 100 A; give a smaller -dmin"):
        read_model(tmp_path / "small.cif", 100e-10)
    monkeypatch.setattr("nbnumba.amplitudes.atomic_model.MOST_POINTS", 1000)
    with pytest.raises(InputFileError, match=r"its unit cell of 1\.3e\+04 A\^3 takes a map of .* points; it is too large"):
        read_model(pdb, 3e-10)


@pytest.mark.spec("SF-8")
def test_ions_are_those_of_cctbx(tmp_path: Path) -> None:
    lines = write_pdb(tmp_path / "a.pdb", residues=3).read_text().splitlines()
    for element, charge in (("ZN", "2+"), ("FE", "3+"), ("CL", "1-"), (" O", "1-")) * 3:
        n = next(n for n, line in enumerate(lines) if line.startswith("ATOM") and line.endswith(("N  ", "C  ")))
        lines[n] = lines[n][:76] + element + charge
    (tmp_path / "ions.pdb").write_text("\n".join(line for line in lines if not line.startswith("ANISOU")) + "\n")
    neutral = (tmp_path / "ions.pdb").read_text().replace("2+\n", "\n").replace("3+\n", "\n").replace("1-\n", "\n")
    (tmp_path / "neutral.pdb").write_text(neutral)
    theirs = of_cctbx(tmp_path / "ions.pdb", D_MIN)
    assert R_factor(read_model(tmp_path / "ions.pdb", D_MIN), theirs["hkl"], np.abs(theirs["F"])) < 1e-4
    assert R_factor(read_model(tmp_path / "neutral.pdb", D_MIN), theirs["hkl"], np.abs(theirs["F"])) > 5e-3
    assert gemmi.IT92_get_ignore_charge()


@pytest.mark.spec("SF-8")
def test_ions_of_a_small_molecule(tmp_path: Path) -> None:
    path = tmp_path / "small.cif"
    path.write_text(SMALL_CIF.replace("Fe1 Fe 0", "Fe1 Fe3+ 0"))
    ion = read_model(path, 1e-10).F000
    path.write_text(SMALL_CIF)
    assert read_model(path, 1e-10).F000 - ion == pytest.approx(2 * 3, abs=0.1)


@pytest.mark.spec("SF-8")
def test_atoms_on_special_positions_are_told(tmp_path: Path) -> None:
    structure = protein("P 32 2 1", CRYSTALS["P 32 2 1"])
    assert "special" not in read_model(write_pdb(tmp_path / "a.pdb", "P 32 2 1", CRYSTALS["P 32 2 1"]), 4e-10).meaning
    atoms = [site.atom for site in structure[0].all()]
    for atom in atoms[:2]:  # a twofold axis
        atom.pos, atom.occ = structure.cell.orthogonalize(gemmi.Fractional(0.3, 0.0, 1.0 / 6.0)), 1.0
    structure.write_pdb(str(tmp_path / "b.pdb"))
    expected = "; atom 1(CYS) N is on a special position with occupancy 1: counted 2 times, like 1 more such atoms; give 0.5"
    found = read_model(tmp_path / "b.pdb", 4e-10).meaning
    assert found.split("bulk solvent")[1] == expected
    for atom in atoms[:2]:
        atom.occ = 0.5
    structure.write_pdb(str(tmp_path / "c.pdb"))
    assert "special" not in read_model(tmp_path / "c.pdb", 4e-10).meaning


@pytest.mark.spec("SF-8")
def test_a_file_with_serial_numbers_where_elements_are_now(tmp_path: Path) -> None:
    pdb = write_pdb(tmp_path / "a.pdb")
    lines = [
        line[:72] + f"1HPV{n % 1000:4d}" if line.startswith("ATOM") else line for n, line in enumerate(pdb.read_text().splitlines(), 168)
    ]
    (tmp_path / "old.pdb").write_text("\n".join(line for line in lines if not line.startswith("ANISOU")))
    lines = [line for line in pdb.read_text().splitlines() if not line.startswith("ANISOU")]
    (tmp_path / "new.pdb").write_text("\n".join(lines))
    old, new = (read_model(tmp_path / name, 3e-10) for name in ("old.pdb", "new.pdb"))
    np.testing.assert_array_equal(old.F, new.F)


@pytest.mark.spec("SF-8")
def test_a_protein_of_20_kDa_takes_seconds(tmp_path: Path) -> None:
    pdb = write_pdb(tmp_path / "a.pdb", "P 21 21 21", (45, 55, 65, 90, 90, 90), 250)
    began = time.process_time()
    read_model(pdb, 2e-10, 0.35e30, B)
    assert time.process_time() - began < 5.0


@pytest.mark.spec("SF-8")
def test_a_model_that_stops_without_its_last_record(tmp_path: Path) -> None:
    pdb = write_pdb(tmp_path / "a.pdb")
    assert "END" not in read_model(pdb, 3e-10).meaning
    lines = pdb.read_text().splitlines(keepends=True)
    pdb.write_text("".join(lines[: len(lines) // 2]) + "ATO")
    assert read_model(pdb, 3e-10).meaning.endswith("; the file has no END record: is it whole?")


def pdb_of(tmp_path: Path, change: object = None, name: str = "a.pdb") -> Path:
    """A PDB file, changed in its text."""
    path = write_pdb(tmp_path / name)
    if callable(change):
        path.write_text(change(path.read_text()))
    return path


def with_records(*records: str) -> Callable[[str], str]:
    """Put records behind CRYST1, in place of SCALE."""

    def change(pdb: str) -> str:
        lines = [line for line in pdb.splitlines() if not line.startswith("SCALE")]
        assert lines[0].startswith("CRYST1")
        return "\n".join([lines[0], *records, *lines[1:], ""])

    return change


def scale(matrix: np.ndarray, shift: tuple[float, float, float] = (0, 0, 0)) -> list[str]:
    return [f"SCALE{n}    {x:10.6f}{y:10.6f}{z:10.6f}     {t:10.5f}" for n, (x, y, z), t in zip("123", matrix.tolist(), shift, strict=True)]


OWN = np.diag([1 / 20, 1 / 23, 1 / 28])
TURN = np.array([[0.8, 0.6, 0.0], [-0.48, 0.64, 0.6], [0.36, -0.48, 0.8]])


def turned(pdb: str, shift: tuple[float, float, float] = (0, 0, 0)) -> str:
    """The same crystal in another frame, with its SCALE."""
    structure = gemmi.read_pdb_string(pdb)
    moved = -TURN @ np.linalg.inv(OWN) @ shift
    structure[0].transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(TURN.tolist()), gemmi.Vec3(*moved.tolist())))
    return with_records(*scale(OWN @ TURN.T, shift))(structure.make_pdb_string())


@pytest.mark.spec("FMT-58")
@pytest.mark.parametrize("shift", [(0, 0, 0), (0.1, 0.2, 0.3)])
def test_a_frame_of_its_own(tmp_path: Path, shift: tuple[float, float, float]) -> None:
    expected = read_model(pdb_of(tmp_path), 2e-10, 0.35e30, B)
    here = read_model(pdb_of(tmp_path, lambda pdb: turned(pdb, shift), "b.pdb"), 2e-10, 0.35e30, B)
    np.testing.assert_array_equal(here.hkl, expected.hkl)
    assert np.abs(here.F - expected.F).sum() / expected.F.sum() < 2e-3  # coordinates and SCALE are rounded
    isotropic = pdb_of(tmp_path, lambda pdb: turned(without_anisotropy(pdb), shift), "c.pdb")  # cctbx leaves U as it is
    theirs = of_cctbx(isotropic, 2e-10)
    assert R_factor(read_model(isotropic, 2e-10), theirs["hkl"], np.abs(theirs["F"])) < 1e-4


@pytest.mark.spec("FMT-58")
def test_a_frame_of_its_own_in_mmcif(tmp_path: Path) -> None:
    expected = read_model(pdb_of(tmp_path), 2e-10)
    structure = gemmi.read_pdb_string(turned((tmp_path / "a.pdb").read_text(), (0.1, 0.2, 0.3)))
    text = structure.make_mmcif_document().as_string()
    assert "_atom_sites.fract_transf_matrix[1][1] 0.04" in text
    (tmp_path / "b.cif").write_text(text)
    here = read_model(tmp_path / "b.cif", 2e-10)
    assert np.abs(here.F - expected.F).sum() / expected.F.sum() < 2e-3
    (tmp_path / "c.cif").write_text(text.replace("_cell.length_a 20", "_cell.length_a 22"))
    with pytest.raises(
        InputFileError, match=r"_atom_sites\.fract_transf_matrix and _cell\.length_a disagree: .* correct or delete _atom_sites\.f"
    ):
        read_model(tmp_path / "c.cif", 2e-10)


@pytest.mark.spec("FMT-58")
@pytest.mark.parametrize(
    "records",
    [[], scale(OWN), scale(0.0 * OWN), scale(OWN)[:2], scale(OWN + 4e-7), [line[:40] for line in scale(OWN)]],
    ids=["none", "same", "zero", "two", "rounded", "no shift"],
)
def test_SCALE_that_says_nothing(tmp_path: Path, records: list[str]) -> None:
    expected = read_model(pdb_of(tmp_path), 3e-10)
    np.testing.assert_array_equal(read_model(pdb_of(tmp_path, with_records(*records), "b.pdb"), 3e-10).F, expected.F)


@pytest.mark.spec("FMT-58")
@pytest.mark.parametrize(
    ("matrix", "shift"),
    [
        (np.diag([1 / 20.3, 1 / 23, 1 / 28]), (0, 0, 0)),
        (np.diag([1 / 20.3, 1 / 23, 1 / 28]) @ TURN, (0, 0, 0)),
        (np.eye(3), (0, 0, 0)),
        (OWN, (0.25, 0, 0)),
        (np.diag([-1 / 20, 1 / 23, 1 / 28]), (0, 0, 0)),
        (np.diag([1 / 20, 1 / 23, 0]), (0, 0, 0)),
    ],
    ids=["another cell", "turned", "identity", "another origin", "mirrored", "flat"],
)
def test_SCALE_of_something_else(tmp_path: Path, matrix: np.ndarray, shift: tuple[float, float, float]) -> None:
    path = pdb_of(tmp_path, with_records("REMARK   1", *scale(matrix, shift)))
    with pytest.raises(InputFileError, match=r"line 3: SCALE1-3 and CRYST1 disagree: .*; correct or delete SCALE1-3$"):
        read_model(path, 3e-10)


def test_a_large_cell_has_a_rounded_SCALE(tmp_path: Path) -> None:
    path = write_pdb(tmp_path / "a.pdb", "P 1", (100.3, 310.7, 291.1, 88.1, 77.3, 95.9), 2)
    expected = read_model(path, 12e-10)
    structure = gemmi.read_pdb(str(path))
    (tmp_path / "b.pdb").write_text(with_records(*scale(np.array(structure.cell.frac.mat.tolist())))(path.read_text()))
    np.testing.assert_array_equal(read_model(tmp_path / "b.pdb", 12e-10).F, expected.F)


NCS = np.array([[-0.6, 0.8, 0.0], [-0.8, -0.6, 0.0], [0.0, 0.0, 1.0]])


def mtrix(matrix: np.ndarray, shift: tuple[float, float, float], number: int, given: str) -> list[str]:
    rows = zip("123", matrix.tolist(), shift, strict=True)
    return [f"MTRIX{n} {number:3d}{x:10.6f}{y:10.6f}{z:10.6f}     {t:10.5f}    {given}" for n, (x, y, z), t in rows]


@pytest.mark.spec("FMT-58")
@pytest.mark.parametrize("frame", ["own", "turned"])
def test_non_crystallographic_symmetry_is_expanded(tmp_path: Path, frame: str) -> None:
    """As if the copies stood in the file; what it marks as given does."""
    records = [*mtrix(np.eye(3), (0, 0, 0), 1, "1"), *mtrix(NCS, (11.0, 9.0, 4.0), 2, " "), *mtrix(TURN, (3.0, 2.0, 1.0), 3, "1")]
    alone = write_pdb(tmp_path / "alone.pdb", "P 21 21 21", (40, 46, 56, 90, 90, 90), 4)
    structure = gemmi.read_pdb(str(alone))
    structure.add_model(structure[0].clone())
    copy = structure[1]["A"]
    structure[1].transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(NCS.tolist()), gemmi.Vec3(11.0, 9.0, 4.0)))
    copy.name = "B"
    structure[0].add_chain(copy)
    del structure[1]
    structure.write_pdb(str(tmp_path / "both.pdb"))
    expected = read_model(tmp_path / "both.pdb", 3e-10)
    text = with_records(*records)(alone.read_text())
    if frame == "turned":
        turn = gemmi.Transform(gemmi.Mat33(TURN.tolist()), gemmi.Vec3(0, 0, 0))
        there = gemmi.read_pdb_string(alone.read_text())
        there[0].transform_pos_and_adp(turn)
        moved = (TURN @ [11.0, 9.0, 4.0]).tolist()
        own = np.diag([1 / 40, 1 / 46, 1 / 56]) @ TURN.T
        text = with_records(*mtrix(TURN @ NCS @ TURN.T, moved, 1, " "), *scale(own))(there.make_pdb_string())
    (tmp_path / "ncs.pdb").write_text(text)
    found = read_model(tmp_path / "ncs.pdb", 3e-10)
    assert np.abs(found.F - expected.F).sum() / expected.F.sum() < 2e-3
    assert pytest.approx(expected.F000, rel=1e-3) == found.F000
    assert " and their copies by 1 NCS operators without" in found.meaning
    structure = gemmi.read_pdb_string(text)
    structure.make_mmcif_document().write_file(str(tmp_path / "ncs.cif"))
    assert np.abs(read_model(tmp_path / "ncs.cif", 3e-10).F - expected.F).sum() / expected.F.sum() < 2e-3


@pytest.mark.spec("FMT-58", "FMT-57")
@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (mtrix(2.0 * NCS, (0, 0, 0), 1, " "), "its NCS operator 1 (MTRIX1-3 or _struct_ncs_oper) is no rotation; correct or delete it"),
        (mtrix(-NCS, (0, 0, 0), 1, " "), "is no rotation; correct or delete it"),
        (mtrix(NCS, (90000.0, 90000.0, 90000.0), 1, " "), "atoms and their copies by NCS operators fill 7.3e+14 A^3; correct those far"),
        ([mtrix(NCS, (0, 0, 0), 1, " ")[0][:20]], "line 2: y '' of MTRIX1 is not a finite number; correct columns 21-30"),
    ],
)
def test_operators_that_are_wrong(tmp_path: Path, records: list[str], expected: str) -> None:
    with pytest.raises(InputFileError) as error:
        read_model(pdb_of(tmp_path, with_records(*records)), 3e-10)
    assert expected in str(error.value)


def test_more_copies_than_can_be_worked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.amplitudes.atoms.MOST_ATOMS", 100)
    with pytest.raises(InputFileError, match="has 156 atoms with the copies of 1 NCS operators; 100 can be worked out"):
        read_model(pdb_of(tmp_path, with_records(*mtrix(NCS, (0, 0, 0), 1, " "))), 3e-10)


@pytest.mark.spec("FMT-59")
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_bytes_that_are_not_ASCII(tmp_path: Path, encoding: str) -> None:
    """Columns are counted in bytes."""
    expected = read_model(pdb_of(tmp_path), 3e-10)
    pdb = (tmp_path / "a.pdb").read_text()
    remark = "REMARK   1 AUTH   J.MÜLLER, 5 Å\n"
    (tmp_path / "b.pdb").write_bytes((remark + pdb).encode(encoding).replace(b" CYS A", b" C\xc5S A"))
    np.testing.assert_array_equal(read_model(tmp_path / "b.pdb", 3e-10).F, expected.F)
    (tmp_path / "b.cif").write_bytes(("# J. MÜLLER\n" + as_mmcif(pdb).replace("CYS", "'CÅS'")).encode(encoding))
    assert pytest.approx(expected.F, rel=1e-3, abs=0.01) == read_model(tmp_path / "b.cif", 3e-10).F
    (tmp_path / "c.pdb").write_bytes(pdb.encode().replace(b"           S", b"          \xc5S"))
    with pytest.raises(InputFileError, match="SG has no known element"):
        read_model(tmp_path / "c.pdb", 3e-10)


def test_what_it_is_is_told_by_its_beginning(tmp_path: Path) -> None:
    expected = read_model(pdb_of(tmp_path), 3e-10)
    (tmp_path / "model.txt").write_text("\n" + as_mmcif((tmp_path / "a.pdb").read_text()))
    assert pytest.approx(expected.F, rel=1e-3, abs=0.01) == read_model(tmp_path / "model.txt", 3e-10).F


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda pdb: field(pdb, 30, "9999999."), "1(CYS) N has coordinates 1e+07 3.855 4.704, beyond 100000; correct it, or leave it out"),
        (lambda pdb: field(pdb, 54, "9999.9"), "1(CYS) N has occupancy 9999.9, beyond 1000; correct it, or leave it out"),
        (lambda pdb: field(without_anisotropy(pdb), 60, "99999."), "1(CYS) N has displacement 99999, beyond 10000; correct it, or leave"),
        (lambda pdb: pdb.replace("   20.000   23.000", " 99999.00 99999.00"), "takes 4.3e+10 reflections in P1; give -dmin"),
        (lambda pdb: pdb.replace("   20.000   23.000", " 20000.00   40.000"), "takes a map of 2.2e+07 points; it is too large for 312"),
        (
            lambda pdb: pdb.replace("   20.000   23.000", "   2x.000   23.000"),
            "line 1: a '2x.000' of CRYST1 is not a finite number; correct",
        ),
        (lambda pdb: pdb.replace("   20.000   23.000", "    0.001   23.000"), "its unit cell 0.001 23 28 90 90 90 (A, deg) is none"),
        (lambda pdb: re.sub("(ANISOU.{22}) .{6}", r"\1  x1000", pdb, count=1), "line 3: U(1,1) 'x1000' of atom N CYS A 1 is not a finite"),
        (
            lambda pdb: re.sub("(ANISOU.{22}).{7}", r"\1-990000", pdb, count=1),
            "1(CYS) N has a principal U of -99 A^2; it must be at least 0",
        ),
    ],
)
def test_wild_numbers(tmp_path: Path, change: Callable[[str], str], expected: str) -> None:
    began = time.process_time()
    with pytest.raises(InputFileError) as error:
        read_model(pdb_of(tmp_path, change), 3e-10)
    assert expected in str(error.value)
    assert time.process_time() - began < 2.0


@pytest.mark.spec("FMT-57")
def test_a_mask_that_is_too_large(tmp_path: Path) -> None:
    path = pdb_of(tmp_path, lambda pdb: pdb.replace("   20.000", " 20000.00"))
    with pytest.raises(
        InputFileError, match=r"takes a map of .* points; it is too large for 312 atoms: correct it, or give a coarser -dmin"
    ):
        read_model(path, 8e-10, 0.35e30, B)
    read_model(path, 8e-10)


@pytest.mark.spec("FMT-57")
def test_a_nearly_empty_cell_of_a_small_molecule(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(SMALL_CIF.replace("_cell_length_c 9.3", "_cell_length_c 1e5"))
    with pytest.raises(InputFileError, match=r"a resolution of 3 A takes 8\.9e\+05 reflections in P1; give -dmin 4\.93 or more \(A\)"):
        read_model(tmp_path / "a.cif", 3e-10)


@pytest.mark.spec("SF-8")
def test_refined_displacements_that_are_slightly_negative(tmp_path: Path) -> None:
    path = pdb_of(tmp_path, lambda pdb: re.sub(r"(ANISOU.{22}).{42}", r"\1   2000   2000   2000   2200      0      0", pdb))
    theirs = of_cctbx(path, D_MIN)
    assert R_factor(read_model(path, D_MIN), theirs["hkl"], np.abs(theirs["F"])) < 1e-4


REMARK_290 = [
    f"REMARK 290       {n}555   {xyz}" for n, xyz in enumerate(("X,Y,Z", "-X+1/2,-Y,Z+1/2", "-X,Y+1/2,-Z+1/2", "X+1/2,-Y+1/2,-Z"), 1)
]


@pytest.mark.spec("FMT-55")
@pytest.mark.parametrize("name", ["          ", "NO.19     "])
def test_operators_of_REMARK_290(tmp_path: Path, name: str) -> None:
    expected = read_model(pdb_of(tmp_path), 3e-10)
    path = pdb_of(tmp_path, lambda pdb: with_records(*REMARK_290)(pdb).replace("P 21 21 21", name), "b.pdb")
    np.testing.assert_array_equal(read_model(path, 3e-10).F, expected.F)


@pytest.mark.spec("FMT-55")
@pytest.mark.parametrize("records", [REMARK_290, [*REMARK_290[:3], REMARK_290[3].replace("X", "X+1/7")]])
def test_REMARK_290_of_something_else(tmp_path: Path, records: list[str]) -> None:
    path = pdb_of(tmp_path, lambda pdb: with_records(*records)(pdb).replace("P 21 21 21", "P 1       "))
    with pytest.warns(
        InputFileWarning, match="REMARK 290 has other symmetry operators than P 1, the space group of CRYST1, which is taken"
    ):
        assert read_model(path, 3e-10).space_group == "P 1"


@pytest.mark.spec("FMT-55")
def test_the_origin_that_a_name_leaves_open(tmp_path: Path) -> None:
    """P m m n has two; REMARK 290 has the second."""
    second = gemmi.SpaceGroup("P m m n:2")
    records = [f"REMARK 290 {n:6d}555   {one.triplet().upper()}" for n, one in enumerate(second.operations(), 1)]
    structure = protein("P m m n:2", CRYSTALS["P 21 21 21"])
    structure.write_pdb(str(tmp_path / "a.pdb"))
    text = re.sub("(CRYST1.{49}).{11}", r"\1P m m n    ", (tmp_path / "a.pdb").read_text())
    (tmp_path / "a.pdb").write_text(text)
    (tmp_path / "b.pdb").write_text(with_records(*records)(text))
    assert read_model(tmp_path / "a.pdb", 3e-10).space_group == "P m m n:1"
    assert read_model(tmp_path / "b.pdb", 3e-10).space_group == "P m m n:2"


@pytest.mark.spec("FMT-55", "SF-8")
def test_a_model_in_a_setting_without_a_name(tmp_path: Path) -> None:
    """P 21 21 21 with its origin moved by 1/8 along a: the same atoms, moved."""
    pdb = pdb_of(tmp_path)
    expected = read_model(pdb, 3e-10, 0.35e30, B)
    structure = gemmi.read_pdb(str(pdb))
    structure[0].transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(np.eye(3).tolist()), gemmi.Vec3(2.5, 0, 0)))
    operators = "".join(f"'{xyz}'\n" for xyz in ("x,y,z", "-x+3/4,-y,z+1/2", "-x+1/4,y+1/2,-z+1/2", "x+1/2,-y+1/2,-z"))
    text = structure.make_mmcif_document().as_string()
    text = re.sub("_symmetry.*\n", "", text) + f"loop_\n_symmetry_equiv.pos_as_xyz\n{operators}"
    (tmp_path / "b.cif").write_text(text)
    found = read_model(tmp_path / "b.cif", 3e-10, 0.35e30, B)
    assert found.space_group == "(4 operators)"
    assert R_factor(found, expected.hkl, expected.F) < 0.01  # the mask is rounded to its grid
    expected = read_model(pdb, 3e-10)
    assert R_factor(read_model(tmp_path / "b.cif", 3e-10), expected.hkl, expected.F) < 1e-4


@pytest.mark.spec("FMT-55")
def test_symmetry_of_a_small_molecule(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(SMALL_CIF)
    expected = read_model(tmp_path / "a.cif", 1e-10)
    operators = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n'-x, y+1/2, -z+1/2'\n'-x, -y, -z'\n'x, -y-1/2, z-1/2'\n"
    for stated in (operators, "_symmetry_space_group_name_Hall '-P 2ybc'\n"):
        (tmp_path / "b.cif").write_text(SMALL_CIF.replace("_space_group_name_H-M_alt 'P 1 21/c 1'\n", stated))
        found = read_model(tmp_path / "b.cif", 1e-10)
        assert found.space_group == "P 1 21/c 1"
        np.testing.assert_array_equal(found.F, expected.F)
    shifted = operators.replace("-x, -y, -z", "-x+1/4, -y, -z").replace("-x, y+1/2", "-x+1/4, y+1/2")
    (tmp_path / "c.cif").write_text(SMALL_CIF.replace("_space_group_name_H-M_alt 'P 1 21/c 1'\n", shifted))
    with pytest.raises(InputFileError, match="its operators make no setting of International Tables, which a small molecule needs"):
        read_model(tmp_path / "c.cif", 1e-10)
