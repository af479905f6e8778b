"""Symmetry that files state by operators, by Hall's symbol, by name or by number."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import gemmi
import numpy as np
import pytest
from amplitudes.crystals import SF_CIF, as_dict, sf_cif

from nbnumba import InputFileError
from nbnumba.amplitudes.mtz import read_mtz
from nbnumba.amplitudes.sf_cif import read_sf_cif
from nbnumba.errors import InputFileWarning

D_MIN = 5.0


def cell_of(operations: gemmi.GroupOps) -> gemmi.UnitCell:
    """A cell that has these rotations: the mean of a skew one's metric over all of them."""
    skew = np.array([[400.0, -38.0, -31.0], [-38.0, 361.0, -45.0], [-31.0, -45.0, 484.0]])
    rotations = [np.array(operation.rot) / operation.DEN for operation in operations.sym_ops]
    metric = np.mean([rotation.T @ skew @ rotation for rotation in rotations], axis=0)
    a, b, c = np.sqrt(metric.diagonal())
    angles = np.degrees(np.arccos([metric[1, 2] / (b * c), metric[0, 2] / (a * c), metric[0, 1] / (a * b)]))
    return gemmi.UnitCell(a, b, c, *angles)


def write(path: Path, setting: gemmi.SpaceGroup) -> dict[tuple[int, ...], float]:
    """An MTZ file of this setting, with what its name says taken away; the amplitudes of P1, without those that are forbidden."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = setting
    operations = setting.operations()
    mtz.set_cell_for_all(cell_of(operations))
    mtz.add_column("F", "F")
    hkl = gemmi.make_miller_array(mtz.cell, setting, D_MIN)
    F = np.random.default_rng(1).uniform(10.0, 100.0, len(hkl)).astype(np.float32)
    mtz.set_data(np.column_stack([hkl, F]).astype(np.float32))
    mtz.write_to_file(str(path))
    path.write_bytes(re.sub(rb"(SYMINF.{9}).{63}", lambda found: found[1] + b"    0 ''".ljust(63), path.read_bytes()))
    expanded = {}
    for index, value in zip(hkl.tolist(), F.tolist(), strict=True):
        for operation in operations.sym_ops:
            turned = operation.apply_to_hkl(index)
            expanded[tuple(turned)] = expanded[tuple(-i for i in turned)] = value
    return expanded


@pytest.mark.spec("FMT-55")
def test_operators_of_an_mtz_file_decide(tmp_path: Path) -> None:
    """All settings that gemmi knows, without a name."""
    path = tmp_path / "a.mtz"
    for setting in gemmi.spacegroup_table():
        expected = write(path, setting)
        assert gemmi.read_mtz_file(str(path)).spacegroup is None
        found = read_mtz(path)
        table = {index: F for index, F in as_dict(found.hkl, found.F).items() if F}
        assert table == expected, setting.xhm()
        assert found.completeness == 1.0
        assert set(gemmi.SpaceGroup(found.space_group).operations()) == set(setting.operations())


# cctbx writes names of its own, such as No.5, for what has none of CCP4's.
CCTBX = """
import json, random, sys
from cctbx import crystal, miller, sgtbx
from cctbx.array_family import flex
found = []
names = [(one.universal_hermann_mauguin(), sgtbx.space_group(one.hall())) for one in sgtbx.space_group_symbol_iterator()]
others = ("P 1 21/c 1 (a+c,b,c)", "I 41 (x+y,-x+y,z)", "P 21 21 21 (x+1/4,y,z)")
for n, (name, group) in enumerate(names + [(name, sgtbx.space_group_info(name).group()) for name in others]):
    symmetry = crystal.symmetry(group.info().any_compatible_unit_cell(volume=4000), space_group=group)
    indices = symmetry.build_miller_set(anomalous_flag=False, d_min=4)
    data = flex.double([random.uniform(10, 100) for _ in indices.indices()])
    array = miller.array(indices, data=data).set_observation_type_xray_amplitude()
    array.as_mtz_dataset(column_root_label="F").mtz_object().write(f"{sys.argv[1]}/{n}.mtz")
    p1 = array.expand_to_p1()
    found.append((name, list(p1.indices()), list(p1.data())))
json.dump(found, open(f"{sys.argv[1]}/all.json", "w"))
"""


@pytest.mark.spec("FMT-55")
def test_settings_as_cctbx_writes_them(tmp_path: Path) -> None:
    if importlib.util.find_spec("cctbx") is None:
        pytest.skip("cctbx is not installed (pip install cctbx-base)")
    done = subprocess.run([sys.executable, "-c", CCTBX, tmp_path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cctbx cannot be imported here: {done.stderr.decode()[-200:]}")
    settings = json.loads((tmp_path / "all.json").read_text())
    assert len(settings) == 533
    for n, (name, hkl, F) in enumerate(settings):
        expected = {tuple(sign * i for i in index): value for sign in (1, -1) for index, value in zip(hkl, F, strict=True)}
        found = read_mtz(tmp_path / f"{n}.mtz")
        table = {index: value for index, value in as_dict(found.hkl, found.F).items() if value}
        assert table.keys() == expected.keys(), name
        assert max(abs(table[index] - value) for index, value in expected.items()) < 1e-4, name
        assert found.completeness == 1.0, name
    assert found.space_group == "No.19 (4 operators)"


ROWS = "".join(f"{h} {k} {l} {10 * h + k + 4 * l}\n" for h in range(3) for k in range(3) for l in range(4))
LOOP = "loop_\n{}\n'x, y, z'\n'-x+1/2, -y, z+1/2'\n'-x, y+1/2, -z+1/2'\n'x+1/2, -y+1/2, -z'\n"


def cif(symmetry: str, dots: bool = True) -> str:
    text = sf_cif("F_meas_au", ROWS, SF_CIF.replace("_symmetry.space_group_name_H-M 'P 21 21 21'", symmetry))
    return text if dots else text.replace("_cell.", "_cell_").replace("_refln.", "_refln_").replace("F_meas_au", "F_meas")


@pytest.mark.spec("FMT-55", "FMT-18")
@pytest.mark.parametrize(
    ("symmetry", "dots"),
    [
        ("_symmetry.space_group_name_Hall 'P 2ac 2ab'", True),
        ("_space_group.name_Hall 'P 2ac 2ab'", True),
        ("_space_group_name_Hall 'P 2ac 2ab'", False),
        ("_symmetry_space_group_name_Hall 'P 2ac 2ab'", False),
        ("_space_group.name_H-M_full 'P 21 21 21'", True),
        (LOOP.format("_symmetry_equiv_pos_as_xyz"), False),
        (LOOP.format("_space_group_symop_operation_xyz"), False),
        (LOOP.format("_symmetry_equiv.pos_as_xyz"), True),
        (LOOP.format("_space_group_symop.operation_xyz"), True),
        (
            LOOP.format("_symmetry_equiv_pos_as_xyz")
            .upper()
            .replace("LOOP_\n_SYMMETRY_EQUIV_POS_AS_XYZ", "loop_\n_symmetry_equiv_pos_as_xyz"),
            False,
        ),
        ("_symmetry_space_group_name_H-M ?\n" + LOOP.format("_symmetry_equiv_pos_as_xyz"), False),
        ("_symmetry_space_group_name_H-M 'No.19'\n" + LOOP.format("_symmetry_equiv_pos_as_xyz"), False),
    ],
)
def test_symmetry_of_a_cif(tmp_path: Path, symmetry: str, dots: bool) -> None:
    (tmp_path / "a.cif").write_text(cif(symmetry, dots))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_sf_cif(tmp_path / "a.cif")
    assert found.space_group == "P 21 21 21"
    table = as_dict(found.hkl, found.F)
    assert table[1, 2, 3] == table[-1, 2, -3] == 24.0
    assert table[1, 0, 0] == 10.0


@pytest.mark.spec("FMT-55")
@pytest.mark.parametrize("name", ["P 1", "P 2 2 2", "P 21 21 2"])
def test_a_name_that_says_something_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.cif").write_text(cif(f"_symmetry_space_group_name_H-M '{name}'\n" + LOOP.format("_symmetry_equiv_pos_as_xyz"), False))
    with pytest.warns(InputFileWarning, match=f"its space group is {name} by name and P 21 21 21 by its operators, which is taken"):
        assert read_sf_cif(tmp_path / "a.cif").space_group == "P 21 21 21"
    (tmp_path / "a.cif").write_text(cif(f"_symmetry.space_group_name_H-M '{name}'\n_symmetry.space_group_name_Hall 'P 2ac 2ab'"))
    with pytest.warns(InputFileWarning, match=f"its space group is {name} by name and P 21 21 21 by its Hall symbol, which is taken"):
        assert read_sf_cif(tmp_path / "a.cif").space_group == "P 21 21 21"


@pytest.mark.spec("FMT-55")
def test_symmetry_in_another_block(tmp_path: Path) -> None:
    second = cif("").replace("data_rmade", "data_second").replace("F_meas_au", "F_calc_au")
    (tmp_path / "a.cif").write_text(cif("_symmetry.space_group_name_Hall 'P 2ac 2ab'") + second)
    found = read_sf_cif(tmp_path / "a.cif", "F_calc_au")
    assert (found.space_group, found.meaning) == ("P 21 21 21", "F_calc_au of block second, calculated amplitudes")


@pytest.mark.spec("FMT-55")
def test_a_list_that_is_cut_short(tmp_path: Path) -> None:
    """Taken where the name has the rest."""
    two = "".join(LOOP.format("_symmetry_equiv_pos_as_xyz").splitlines(keepends=True)[:-1])
    (tmp_path / "a.cif").write_text(cif("_symmetry_space_group_name_H-M 'P 21 21 21'\n" + two, False))
    with pytest.warns(InputFileWarning, match="has only 3 of the 4 symmetry operators of P 21 21 21, which are taken"):
        assert read_sf_cif(tmp_path / "a.cif").space_group == "P 21 21 21"


@pytest.mark.spec("FMT-55")
@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        ("'x,y,z'\n'-x,y'", "the symmetry operator '-x,y' cannot be read; write one such as x,y+1/2,-z"),
        ("'x,y,z'\n'-x,y+1/5,z'", "the symmetry operator '-x,y+1/5,z' cannot be read"),
        (f"'x,y,z'\n'x,y,{'z+' * 500}z'", "cannot be read; write one such as"),
        ("'x,y,z'\n?", "the symmetry operator '' cannot be read"),
        ("'x,y,z'\n'x,x,z'", "the symmetry operator 'x,x,z' is no rotation, with or without inversion; correct it"),
        ("'x,y,z'\n'x+y,y,z'", "its symmetry operators make a group of more than 192; correct them"),
        ("'-x,y,-z'\n'-x,-y+1/2,z'", "its 2 symmetry operators are no group without 2 more; correct them"),
        ("'x,y,z'\n'y,x,z'", "its unit cell 20 23 27 90 90 90 (A, deg) does not have the symmetry of "),
    ],
)
def test_operators_that_are_wrong(tmp_path: Path, operators: str, expected: str) -> None:
    (tmp_path / "a.cif").write_text(cif(f"loop_\n_symmetry_equiv_pos_as_xyz\n{operators}\n", False))
    with pytest.raises(InputFileError) as error:
        read_sf_cif(tmp_path / "a.cif")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.spec("FMT-55")
def test_a_hall_symbol_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text(cif("_symmetry.space_group_name_Hall 'X 2ac'"))
    with pytest.raises(InputFileError, match="the Hall symbol 'X 2ac' cannot be read"):
        read_sf_cif(tmp_path / "a.cif")


@pytest.mark.spec("FMT-55")
@pytest.mark.parametrize(
    ("cell", "agrees"),
    [
        ("20 20 27 90 90 90", True),
        ("20 20.1 27 90 90 90", True),
        ("20 20.5 27 90 90 90", False),
        ("20 20 27 90 90 90.9", True),
        ("20 20 27 90 92 90", False),
    ],
)
def test_a_cell_obeys_its_symmetry_to_a_hundredth(tmp_path: Path, cell: str, agrees: bool) -> None:
    text = cif("_symmetry.space_group_name_H-M 'P 4'").replace(ROWS, "1 2 3 4\n")
    for tag, value in zip(("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"), cell.split(), strict=True):
        text = re.sub(f"_cell.{tag} .*", f"_cell.{tag} {value}", text)
    (tmp_path / "a.cif").write_text(text)
    if agrees:
        assert read_sf_cif(tmp_path / "a.cif").space_group == "P 4"
    else:
        with pytest.raises(InputFileError, match=re.escape(f"its unit cell {cell} (A, deg) does not have the symmetry of P 4")):
            read_sf_cif(tmp_path / "a.cif")


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize(
    ("tag", "value"), [("length_a", "1e9"), ("length_a", "-20"), ("length_a", "0.001"), ("angle_gamma", "181"), ("angle_beta", "-90")]
)
def test_a_cell_that_is_none(tmp_path: Path, tag: str, value: str) -> None:
    (tmp_path / "a.cif").write_text(re.sub(f"_cell.{tag} .*", f"_cell.{tag} {value}", sf_cif("F_meas_au", ROWS)))
    with pytest.raises(InputFileError, match=r"its unit cell .* \(A, deg\) is none: lengths are 1 to 100000 A, angles enclose a volume"):
        read_sf_cif(tmp_path / "a.cif")


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("2000 2 3 99\n", "reflection 2000 2 3 is at d = 0.01 A, to which there are "),
        ("2 2 3000 99\n", "reflection 2 2 3000 is at d = 0.009 A, to which there are "),
        ("1 99999999999 3 5\n", "index_k '99999999999' is larger than 100000; correct it"),
        ("1 2 3e2 5\n", "index_l '3e2' is not a whole number; correct it"),
    ],
)
def test_a_reflection_far_from_the_others(tmp_path: Path, rows: str, expected: str) -> None:
    (tmp_path / "a.cif").write_text(sf_cif("F_meas_au", ROWS + rows))
    with pytest.raises(InputFileError) as error:
        read_sf_cif(tmp_path / "a.cif")
    assert expected in str(error.value)


@pytest.mark.spec("FMT-59")
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_comments_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = "# Müller, 2 µm\n" + cif("_symmetry.space_group_name_Hall 'P 2ac 2ab'\n_audit_author.name 'Müller'")
    (tmp_path / "a.cif").write_bytes(text.encode(encoding))
    assert as_dict(read_sf_cif(tmp_path / "a.cif").hkl, read_sf_cif(tmp_path / "a.cif").F)[1, 2, 3] == 24.0


@pytest.mark.spec("FMT-59")
def test_another_encoding_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_bytes(sf_cif("F_meas_au", ROWS).encode("utf-16"))
    with pytest.raises(InputFileError, match=r"is not a text file; it holds zero bytes \(binary, or UTF-16\)"):
        read_sf_cif(tmp_path / "a.cif")
