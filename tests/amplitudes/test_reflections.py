"""Merged data with symmetry: MTZ and structure factor mmCIF files, and their expansion to P1."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from amplitudes.crystals import SF_CIF, as_dict, sf_cif, write_mtz

from nbnumba import InputFileError
from nbnumba.amplitudes.mtz import read_mtz
from nbnumba.amplitudes.sf_cif import read_sf_cif
from nbnumba.experiment.reflections import Reflections

CELLS = {
    "P 1": (20, 23, 27, 80, 95, 100),
    "P 21 21 21": (20, 23, 27, 90, 90, 90),
    "C 1 2 1": (20, 23, 27, 90, 100, 90),
    "P 32 2 1": (20, 20, 27, 90, 90, 120),
    "I 41 3 2": (25, 25, 25, 90, 90, 90),
    "R 3:H": (30, 30, 27, 90, 90, 120),
}


@pytest.mark.spec("SF-7")
@pytest.mark.parametrize("group", CELLS)
def test_expansion_is_gemmis(tmp_path: Path, group: str) -> None:
    """Every reflection that gemmi maps to a listed one has its amplitude; what is left is forbidden, and 0."""
    cell, space_group = CELLS[group], gemmi.SpaceGroup(group)
    listed = write_mtz(tmp_path / "a.mtz", group, 4.0, cell, FP="F")["FP"]
    found = read_mtz(tmp_path / "a.mtz")
    table = as_dict(found.hkl, found.F)
    assert len(table) == len(found.hkl)
    operations, asu = space_group.operations(), gemmi.ReciprocalAsu(space_group)
    half = gemmi.make_miller_array(gemmi.UnitCell(*cell), gemmi.SpaceGroup("P 1"), found.d_min * 1e10 * (1 - 1e-6))
    absences, present = 0, 0
    for index in [*half.tolist(), *(-half).tolist()]:
        if operations.is_systematically_absent(index):
            absences += 1
            assert table.pop(tuple(index)) == 0.0
        else:
            present += 1
            assert table.pop(tuple(index)) == listed[tuple(asu.to_asu(index, operations)[0])]
    assert table == {}
    assert (found.unique, found.in_p1, len(found.hkl)) == (len(listed), present, present + absences)
    assert found.completeness == 1.0
    assert found.F000 is None
    assert found.hkl.dtype == np.int32
    assert found.space_group == group
    np.testing.assert_allclose(found.cell, (*np.array(cell[:3]) * 1e-10, *np.radians(cell[3:])))
    d = gemmi.UnitCell(*cell).calculate_d_array(half)
    assert found.d_min >= 4e-10
    assert found.d_max == pytest.approx(d[~np.asarray(operations.systematic_absences(half))].max() * 1e-10)


@pytest.mark.spec("SF-7", "FMT-17")
def test_friedel_mates_have_their_own_amplitudes(tmp_path: Path) -> None:
    listed = write_mtz(tmp_path / "a.mtz", "P 32 2 1", 4.0, CELLS["P 32 2 1"], F_p_="G", SIGF_p_="L", F_m_="G", SIGF_m_="L")
    operations = gemmi.SpaceGroup("P 32 2 1").operations()
    for column in (None, "F(-)"):
        found = read_mtz(tmp_path / "a.mtz", column)
        assert found.meaning.endswith("amplitudes of both Friedel mates")
        table = as_dict(found.hkl, found.F)
        for index, F in listed["F(+)"].items():
            for operation in operations.sym_ops:
                rotated = operation.apply_to_hkl(index)
                assert table[tuple(rotated)] == F
                if not operations.is_reflection_centric(index):
                    assert table[tuple(-i for i in rotated)] == listed["F(-)"][index]


@pytest.mark.spec("SF-7", "FMT-17")
def test_a_missing_mate_is_taken_from_the_other(tmp_path: Path) -> None:
    write_mtz(tmp_path / "a.mtz", F_p_="G", F_m_="G")
    mtz = gemmi.read_mtz_file(str(tmp_path / "a.mtz"))
    data = mtz.array.copy()
    (row, other, neither) = np.flatnonzero(data[:, :3].all(axis=1))[:3]
    data[row, 3] = data[other, 4] = data[neither, 3:] = np.nan
    mtz.set_data(data)
    mtz.write_to_file(str(tmp_path / "b.mtz"))
    found = read_mtz(tmp_path / "b.mtz")
    table = as_dict(found.hkl, found.F)
    for at, column in ((row, 4), (other, 3)):
        index = data[at, :3].astype(int)
        assert table[tuple(index)] == table[tuple(-index)] == data[at, column]
    assert tuple(data[neither, :3].astype(int)) not in table
    assert found.unique == len(data) - 1
    assert found.completeness == pytest.approx(1 - 1 / len(data))


# As phenix.refine writes them.
PHENIX = {
    "F_dash_obs_dash_filtered_p_": "G",
    "SIGF_dash_obs_dash_filtered_p_": "L",
    "F_dash_obs_dash_filtered_m_": "G",
    "SIGF_dash_obs_dash_filtered_m_": "L",
    "F_dash_model_p_": "G",
    "PHIF_dash_model_p_": "P",
    "F_dash_model_m_": "G",
    "PHIF_dash_model_m_": "P",
    "2FOFCWT": "F",
    "PH2FOFCWT": "P",
    "FOFCWT": "F",
    "PHFOFCWT": "P",
    "ANOM": "F",
    "PHANOM": "P",
}


@pytest.mark.spec("FMT-17")
@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"FWT": "F", "FC": "F", "FX": "F", "FP": "F", "IMEAN": "J"}, "FP"),
        ({"FWT": "F", "FC": "F", "FX": "F"}, "FX"),
        ({"FC": "F", "F_p_": "G", "F_m_": "G"}, "F(+)"),
        ({"I": "J", "DELFWT": "F", "F_dash_model": "F"}, "F-model"),
        ({"I_p_": "K", "I_m_": "K", "I": "J", "PHI": "P"}, "I"),
        ({"I_p_": "K", "I_m_": "K", "FWT": "F"}, "I(+)"),
        (PHENIX, "F-obs-filtered(+)"),
        ({name: kind for name, kind in PHENIX.items() if "obs" not in name}, "F-model(+)"),
        ({"F": "F", "PHI": "P"}, "F"),
        ({"FX": "F", "PHIX": "P"}, "FX"),
        ({"FX": "F", "PHIX": "P", "I": "J"}, "I"),
        ({"FX": "F", "PHIX": "P", "FC": "F", "PHIC": "P"}, "FC"),
        ({"FPART1": "F", "FMASK": "F", "FBULK": "F", "FBACK": "F", "ANOM": "F", "I": "J"}, "I"),
    ],
)
def test_the_best_column(tmp_path: Path, columns: dict[str, str], chosen: str) -> None:
    write_mtz(tmp_path / "a.mtz", **columns)
    assert read_mtz(tmp_path / "a.mtz").column == chosen


@pytest.mark.spec("FMT-17")
@pytest.mark.parametrize(
    ("plus", "minus"),
    [("F(+)", "F(-)"), ("F-obs(+)", "F-obs(-)"), ("F_Pk_Plus", "F_Pk_Minus"), ("FPLUS", "FMINUS"), ("F-obs+", "F-obs-"), ("F+", "F-")],
)
def test_labels_of_friedel_mates(tmp_path: Path, plus: str, minus: str) -> None:
    listed = write_mtz(tmp_path / "a.mtz", **{plus: "G", minus: "G"})
    index = next(index for index in listed[plus] if all(index))
    for column in (None, plus, minus):
        found = read_mtz(tmp_path / "a.mtz", column)
        table = as_dict(found.hkl, found.F)
        assert (table[index], table[tuple(-i for i in index)]) == (listed[plus][index], listed[minus][index])


@pytest.mark.spec("FMT-17")
def test_a_column_without_values_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.mtz"
    write_mtz(path, FP="F", I="J")
    mtz = gemmi.read_mtz_file(str(path))
    data = mtz.array.copy()
    data[:, 3] = np.nan
    mtz.set_data(data)
    mtz.write_to_file(str(path))
    assert read_mtz(path).column == "I"
    refused(path, lambda: read_mtz(path, "FP"), "column FP, observed amplitudes: holds no values; name another with --column: I")


@pytest.mark.spec("FMT-17")
def test_intensities(tmp_path: Path) -> None:
    listed = write_mtz(tmp_path / "a.mtz", FP="F", I="J")["I"]
    mtz = gemmi.read_mtz_file(str(tmp_path / "a.mtz"))
    data = mtz.array.copy()
    data[0, 4] = -5.0
    mtz.set_data(data)
    mtz.write_to_file(str(tmp_path / "a.mtz"))
    found = read_mtz(tmp_path / "a.mtz", "I")
    table = as_dict(found.hkl, found.F)
    for index, value in list(listed.items())[1:]:
        assert table[index] == np.sqrt(value)
    assert table[tuple(data[0, :3].astype(int))] == 0.0


def unmerged(path: Path) -> None:
    write_mtz(path, FP="F")
    mtz = gemmi.read_mtz_file(str(path))
    mtz.batches.append(gemmi.Mtz.Batch())
    mtz.write_to_file(str(path))


def changed(path: Path, *changes: tuple[bytes, bytes]) -> None:
    """A file with other bytes, as many."""
    if not path.exists():
        write_mtz(path, FP="F", PHI="P")
    for old, new in changes:
        assert old in path.read_bytes()
        assert len(old) == len(new)
        path.write_bytes(path.read_bytes().replace(old, new))


def cut(path: Path, size: int) -> None:
    write_mtz(path, FP="F")
    path.write_bytes(path.read_bytes()[:size])


def without_values(path: Path) -> None:
    write_mtz(path, FP="F")
    mtz = gemmi.read_mtz_file(str(path))
    data = mtz.array.copy()
    data[:, 3] = np.nan
    mtz.set_data(data)
    mtz.write_to_file(str(path))


def forbidden_alone(path: Path) -> None:
    write_mtz(path, FP="F")
    mtz = gemmi.read_mtz_file(str(path))
    mtz.set_data(np.array([[1, 0, 0, 5.0]], np.float32))
    mtz.write_to_file(str(path))


def index_too_large(path: Path) -> None:
    write_mtz(path, FP="F")
    mtz = gemmi.read_mtz_file(str(path))
    mtz.set_data(np.array([[200000, 0, 0, 5.0]], np.float32))
    mtz.write_to_file(str(path))


@pytest.mark.spec("FMT-17")
@pytest.mark.parametrize(
    ("write", "column", "expected"),
    [
        (lambda path: None, None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), None, "cannot be read: Is a directory"),
        (lambda path: path.write_text("1 2 3 4\n"), None, "is not an MTZ file; it does not begin with 'MTZ '"),
        (lambda path: cut(path, 10), None, "cannot be read as MTZ; is it whole?"),
        (lambda path: cut(path, 200), None, "cannot be read as MTZ; is it whole?"),
        (lambda path: cut(path, 1500), None, "cannot be read as MTZ; is it whole?"),
        (unmerged, None, "is unmerged (1 batches); merge it first"),
        (lambda path: write_mtz(path, FP="F", I="J", PHI="P"), "FOO", "has no column 'FOO'; columns of amplitudes or intensities"),
        (lambda path: write_mtz(path, FP="F", I="J", PHI="P"), "PHI", "column 'PHI' is of type P; columns of amplitudes or intensities "),
        (lambda path: write_mtz(path, FP="F", I="J", PHI="P"), "FOO", "(--column): FP, I"),
        (lambda path: write_mtz(path, PHI="P"), None, "name one with --column: none"),
        (lambda path: write_mtz(path, FWT="F"), None, "name one with --column: FWT"),
        (without_values, None, "column FP, observed amplitudes: holds no values"),
        (forbidden_alone, None, "has no value but for reflections that P 21 21 21 forbids"),
        (index_too_large, None, "index 200000 is larger than 100000"),
        (lambda path: changed(path, (b"'P 21 21 21'", b"'P 99 99 99'"), (b"SYMM", b"SYMN")), None, "unknown space group 'P 99 99 99'"),
        (lambda path: write_mtz(path, cell=(1, 1, 1, 90, 90, 90), d_min=0.4, FP="F"), None, "has no unit cell (DCELL or CELL record)"),
        (lambda path: write_mtz(path, "P 32 2 1", FP="F"), None, "20 23 27 90 90 90 (A, deg) does not have the symmetry of P 32 2 1"),
    ],
)
def test_what_is_wrong_with_an_mtz_file(tmp_path: Path, write: Callable[[Path], object], column: str | None, expected: str) -> None:
    path = tmp_path / "a.mtz"
    write(path)
    refused(path, lambda: read_mtz(path, column), expected)


def refused(path: Path, read: Callable[[], Reflections], expected: str) -> None:
    """One line that begins with the file's name, once."""
    with pytest.raises(InputFileError) as error:
        read()
    message = str(error.value)
    assert message.startswith((f"{path}: ", f"{path}, line "))
    assert message.count(str(path)) == 1
    assert expected in message
    assert "\n" not in message


ROWS = "1 2 3 50.5 7\n-1 2 3 40 ?\n2 0 0 . 9\n"


@pytest.mark.spec("FMT-18", "SF-7")
def test_structure_factor_mmcif(tmp_path: Path) -> None:
    path = tmp_path / "r1abcsf.ent"
    path.write_text(sf_cif("F_meas_au pdbx_FWT", ROWS))
    found = read_sf_cif(path)
    table = as_dict(found.hkl, found.F)
    assert table[1, 2, 3] == table[-1, -2, 3] == table[1, -2, -3] == 50.5
    assert table[-1, 2, 3] == table[-1, -2, -3] == 40  # the other mate is listed too
    assert (2, 0, 0) not in table
    assert found.column == "F_meas_au"
    assert found.unique == 1
    assert found.meaning == "F_meas_au, observed amplitudes"
    on_request = read_sf_cif(path, "pdbx_FWT")
    assert as_dict(on_request.hkl, on_request.F)[2, 0, 0] == 9
    compressed = tmp_path / "r1abcsf.cif.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_sf_cif(compressed).F, found.F)


@pytest.mark.spec("FMT-18")
def test_mates_intensities_and_blocks_of_mmcif(tmp_path: Path) -> None:
    path = tmp_path / "sf.cif"
    path.write_text(sf_cif("pdbx_F_plus pdbx_F_minus intensity_meas", "1 2 3 5 7 81\n2 0 0 1 ? -4\n"))
    table = as_dict(read_sf_cif(path).hkl, read_sf_cif(path).F)
    assert (table[1, 2, 3], table[-1, -2, -3], table[2, 0, 0], table[-2, 0, 0]) == (5, 7, 1, 1)
    intensities = read_sf_cif(path, "intensity_meas")
    table = as_dict(intensities.hkl, intensities.F)
    assert (table[1, 2, 3], table[2, 0, 0]) == (9, 0)
    assert intensities.meaning == "intensity_meas, square roots of intensities"
    second = SF_CIF.replace("data_rmade", "data_rmadeA")
    path.write_text(sf_cif("status", "1 2 3 o\n") + sf_cif("F_calc_au", "1 2 3 6\n", second))
    assert read_sf_cif(path).meaning == "F_calc_au of block rmadeA, calculated amplitudes"
    path.write_text(sf_cif("pdbx_I_plus", "1 2 3 36\n"))
    assert read_sf_cif(path).meaning == "pdbx_I_plus alone, Friedel mates equal"


OF_GROUP = SF_CIF.replace("_symmetry.space_group_name_H-M 'P 21 21 21'", "{}")


@pytest.mark.spec("FMT-18")
@pytest.mark.parametrize(
    "tag",
    [
        "_symmetry.Int_Tables_number 19",
        "_space_group.IT_number 19",
        "_space_group.name_H-M_alt 'P 21 21 21'",
        "_symmetry.space_group_name_H-M ?\n_symmetry.Int_Tables_number 19",
        "_symmetry_Int_Tables_number 19",
    ],
)
def test_where_the_space_group_may_be(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "sf.cif"
    path.write_text(sf_cif("F_meas_au", "1 2 3 4\n", OF_GROUP.format(tag)))
    assert read_sf_cif(path).space_group == "P 21 21 21"


@pytest.mark.spec("FMT-18")
def test_a_tag_without_values_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "sf.cif"
    path.write_text(sf_cif("F_meas_au F_calc_au", "1 2 3 ? 4\n1 2 4 . 5\n"))
    assert read_sf_cif(path).column == "F_calc_au"
    refused(path, lambda: read_sf_cif(path, "F_meas_au"), "F_meas_au, observed amplitudes: holds no values")


@pytest.mark.spec("FMT-18")
def test_reflections_of_a_small_molecule(tmp_path: Path) -> None:
    path = tmp_path / "small.fcf"
    head = SF_CIF.replace("_cell.", "_cell_").replace("_symmetry.", "_symmetry_").replace("_refln.", "_refln_")
    path.write_text(head + "_refln_F_squared_meas\n_refln_F_squared_sigma\n1 2 3 64 1\n2 0 0 4 1\n")
    found = read_sf_cif(path)
    assert as_dict(found.hkl, found.F)[1, 2, 3] == 8
    assert found.column == "F_squared_meas"


@pytest.mark.spec("FMT-18")
@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        (None, None, "cannot be read: No such file"),
        ("1 2 3 4\n", None, "cannot be read as CIF"),
        (sf_cif("F_meas_au", "1 2 3\n"), None, "cannot be read as CIF"),
        ("data_a\n_cell.length_a 5\n", None, "has no reflections (a loop of _refln.index_h and others); a model goes to --model"),
        (sf_cif("F_meas_au", "1 2 3 4\n"), "F_calc_au", "has no amplitudes or intensities 'F_calc_au'; there are (--column): F_meas_au"),
        (sf_cif("status", "1 2 3 o\n"), None, "name one with --column: none"),
        (sf_cif("F_meas_au", "1 2 3 ?\n"), None, "F_meas_au, observed amplitudes: holds no values"),
        (sf_cif("F_meas_au", "1 2 3 4\n1 2 x 4\n"), None, "index_l 'x' is not a whole number; correct it"),
        (sf_cif("F_meas_au", "1 ? 3 4\n"), None, "index_k '?' is not a whole number; correct it"),
        (sf_cif("F_meas_au", "3.0 2 1 4\n"), None, "index_h '3.0' is not a whole number; correct it"),
        (sf_cif("F_meas_au", "1 2 3 4\n1 2 4 abc\n"), None, "F_meas_au 'abc' is not a finite number; correct it, or write ?"),
        (sf_cif("F_meas_au", "1 2 3 4\n1 2 4 inf\n"), None, "F_meas_au 'inf' is not a finite number; correct it, or write ?"),
        (sf_cif("F_meas_au", "1 2 3 4\n", SF_CIF.replace("length_a 20", "length_a x")), None, "has no unit cell"),
        (sf_cif("F_meas_au", "1 2 3 4\n", OF_GROUP.format("_space_group.IT_number 231")), None, "has the unknown space group '231'"),
        (sf_cif("F_meas_au", "1 2 3 4\n", SF_CIF.replace("P 21", "Q 21")), None, "has the unknown space group 'Q 21 21 21'"),
        (sf_cif("F_meas_au", "1 2 3 4\n", SF_CIF.replace("_cell", "_hell")), None, "has no unit cell (_cell.length_a and others)"),
        (sf_cif("F_meas_au", "1 2 3 4\n", SF_CIF.replace("_symmetry", "_sym")), None, "has no space group; write one"),
        (SF_CIF.replace("_refln.", "_diffrn_refln.") + "_diffrn_refln.intensity_net\n1 2 3 4\n", None, "has unmerged reflections"),
    ],
)
def test_what_is_wrong_with_a_structure_factor_cif(tmp_path: Path, text: str | None, column: str | None, expected: str) -> None:
    path = tmp_path / "sf.cif"
    if text is not None:
        path.write_text(text)
    refused(path, lambda: read_sf_cif(path, column), expected)


def test_a_compressed_file_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "sf.cif.gz"
    path.write_bytes(gzip.compress(sf_cif("F_meas_au", ROWS * 300).encode())[:200])
    refused(path, lambda: read_sf_cif(path), "cannot be unpacked: Compressed file ended before")
