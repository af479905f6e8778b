"""Options that name files of structure factors: which counts, the unit cell, the resolution, what is said, and saved configurations."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from amplitudes.crystals import sf_cif, write_mtz, write_pdb

import nbnumba
from nbnumba import InputFileError, OptionError, ParameterError, load_experiment, save_experiment
from nbnumba.cli.main import main
from nbnumba.errors import NotAvailableError
from nbnumba.evidence.verify import verify
from nbnumba.experiment import advice
from nbnumba.nanobragg import words_for
from nbnumba.options.arguments import split_arguments

SMALL = "-lambda 1 -N 4 -detpixels 16 -pixel 1 -distance 20 -oversample 1"


# The same as a configuration.
GEOMETRY = """
[crystal]
cells = [4, 4, 4]
[detector]
pixel_size = 0.001
fast_pixels = 16
slow_pixels = 16
distance = 0.02
"""


@pytest.fixture
def files(in_tmp_path: Path) -> Path:
    """a.mtz, sf.cif, a.pdb and a.hkl in the working folder."""
    write_mtz(Path("a.mtz"), FP="F", I="J", F_p_="G", F_m_="G")
    Path("sf.cif").write_text(sf_cif("F_meas_au F_calc_au", "1 2 3 50 51\n2 0 0 9 8\n"))
    write_pdb(Path("a.pdb"))
    Path("a.hkl").write_text("1 2 3 4.5\n-1 0 2 7\n")
    return in_tmp_path


def experiment(options: str, base: nbnumba.Experiment | None = None) -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(f"{'' if base else SMALL} {options}", base)


@pytest.mark.spec("FMT-19")
@pytest.mark.parametrize(
    "options",
    [
        "--mtz a.mtz",
        "--mtz=a.mtz --column=I",
        "--mtz a.mtz --column F(-)",
        "--sf-cif sf.cif --column F_calc_au",
        "--model a.pdb",
        "--model a.pdb --dmin 2.5 --solvent 0.4 60",
        "--model a.pdb --solvent 0.35",
        "-hkl a.hkl -cell 20",
    ],
)
def test_a_configuration_loads_to_the_same_amplitudes(files: Path, options: str) -> None:
    here = experiment(options)
    Path("elsewhere").mkdir()
    save_experiment(here, "elsewhere/e.toml")
    assert 'path = "../' in Path("elsewhere/e.toml").read_text()
    there = load_experiment("elsewhere/e.toml")
    again = experiment("-fluence 1e20", there)  # what changes nothing about them
    for found in (there, again):
        np.testing.assert_array_equal(found.structure_factors.hkl, here.structure_factors.hkl)
        np.testing.assert_array_equal(found.structure_factors.F, here.structure_factors.F)
        assert advice.information(found) == advice.information(here)
        assert found.crystal.cell == here.crystal.cell


def test_text_is_saved_as_ever(files: Path) -> None:
    save_experiment(experiment("-hkl a.hkl -cell 20"), "e.toml")
    assert '[structure_factors]\npath = "a.hkl"\n' in Path("e.toml").read_text() + "\n"
    assert "kind" not in Path("e.toml").read_text()


@pytest.mark.spec("FMT-19")
def test_the_last_file_counts(files: Path) -> None:
    kinds = {"--mtz a.mtz": "mtz", "--sf-cif sf.cif": "sf-cif", "--model a.pdb": "model", "-hkl a.hkl": "hkl"}
    for first in kinds:
        for last, kind in kinds.items():
            factors = experiment(f"{first} -cell 20 23 27 {last}").structure_factors
            assert (factors.kind, str(factors.path)) == (kind, last.split()[1])
            base = experiment(f"{first} -cell 20 23 27")
            assert experiment(last, base).structure_factors.kind == kind
            assert (experiment(last, base).structure_factors.reflections is None) == (kind == "hkl")


@pytest.mark.spec("FMT-19", "SF-10")
def test_options_over_a_base(files: Path) -> None:
    mtz = experiment("--mtz a.mtz --column I")
    assert experiment("--column FP", mtz).structure_factors.reflections.column == "FP"
    assert experiment("--mtz a.mtz", mtz).structure_factors.column is None
    model = experiment("--model a.pdb --solvent 0.4 60")
    np.testing.assert_array_equal(experiment("-fluence 1", model).structure_factors.F, model.structure_factors.F)
    assert experiment("--solvent 0", model).structure_factors.solvent_density == 0.0
    nearer = experiment("-distance 12", model).structure_factors
    assert nearer.model_resolution < model.structure_factors.model_resolution
    assert (nearer.solvent_density, nearer.solvent_B) == pytest.approx((0.4e30, 60e-20))
    assert experiment("-dmin 3", model).structure_factors.model_resolution == pytest.approx(3e-10)
    exact = replace(model, structure_factors=replace(model.structure_factors, model_resolution=2.2e-10))
    assert experiment("-fluence 1", exact).structure_factors.model_resolution == 2.2e-10
    assert main([*"run -hkl a.hkl -cell 20 -dump F.bin".split(), *SMALL.split()]) == 0
    from_dump = experiment("-dump F.bin", model).structure_factors
    assert (from_dump.kind, from_dump.path, from_dump.reflections, from_dump.model_resolution) == ("hkl", None, None, None)


@pytest.mark.spec("SF-10")
def test_a_resolution_that_was_chosen_is_kept(files: Path) -> None:
    model = experiment("--model a.pdb")
    save_experiment(replace(model, structure_factors=replace(model.structure_factors, model_resolution=2.2e-10)), "e.toml")
    chosen = load_experiment("e.toml")
    assert experiment("-distance 12", chosen).structure_factors.model_resolution == 2.2e-10
    assert experiment("--solvent 0.35", chosen).structure_factors.model_resolution == 2.2e-10
    assert experiment("-dmin 3", chosen).structure_factors.model_resolution == pytest.approx(3e-10)
    assert experiment("--model a.pdb", chosen).structure_factors.model_resolution == model.finest_d


@pytest.mark.spec("SF-10", "SF-11")
def test_a_configuration_that_names_a_file_alone(files: Path) -> None:
    """Cell and resolution are those of the same options."""
    for options, kind, name in (
        ("--mtz a.mtz", "mtz", "a.mtz"),
        ("--model a.pdb", "model", "a.pdb"),
        ("--sf-cif sf.cif", "sf-cif", "sf.cif"),
    ):
        Path("e.toml").write_text(f"{GEOMETRY}[structure_factors]\nkind = '{kind}'\npath = '{name}'\n")
        here, there = load_experiment("e.toml"), experiment(options)
        assert here.crystal.cell == there.crystal.cell
        assert here.structure_factors.model_resolution == there.structure_factors.model_resolution
        np.testing.assert_array_equal(here.structure_factors.F, there.structure_factors.F)
    Path("e.toml").write_text(f"{GEOMETRY}[sampling]\ndmin = 3e-10\n[structure_factors]\nkind = 'model'\npath = 'a.pdb'\n")
    assert load_experiment("e.toml").structure_factors.model_resolution == 3e-10
    Path("e.toml").write_text("[crystal]\ncell = [5e-9, 5e-9, 5e-9, 0, 0, 0]\n[structure_factors]\nkind = 'mtz'\npath = 'a.mtz'\n")
    assert load_experiment("e.toml").crystal.cell[0] == 5e-9


@pytest.mark.spec("SF-10")
def test_a_model_reaches_what_the_corners_see(files: Path) -> None:
    """The corner of the beam-centred detector, worked out by hand."""
    here = experiment("--model a.pdb -adxv -Xbeam 8 -Ybeam 8 -detpixels 16")
    two_theta = np.arctan(8e-3 * np.sqrt(2.0) / 20e-3)
    d = 1e-10 / (2.0 * np.sin(two_theta / 2.0))
    assert here.finest_d == pytest.approx(d)
    assert here.structure_factors.model_resolution == here.finest_d
    assert d <= here.structure_factors.reflections.d_min < 1.05 * d
    assert experiment("--model a.pdb -adxv -dispersion 20 -dispsteps 3").finest_d == pytest.approx(
        0.9 * experiment("--model a.pdb -adxv").finest_d
    )
    coarse = experiment("--model a.pdb --dmin 3")
    assert 3e-10 <= coarse.structure_factors.reflections.d_min < 3.1e-10


@pytest.mark.spec("SF-11")
def test_the_files_cell_is_taken_where_none_is_given(files: Path) -> None:
    Path("A.mat").write_text("0.05 0 0 0 0.04348 0 0 0 0.037")
    files_cell = [20e-10, 23e-10, 27e-10, np.pi / 2, np.pi / 2, np.pi / 2]
    here = experiment("--mtz a.mtz")
    np.testing.assert_allclose(here.crystal.cell, files_cell)
    assert not any("unit cell" in note for note in advice.warnings(here))
    other = experiment("--mtz a.mtz -cell 20 23.3 27")
    np.testing.assert_allclose(other.crystal.cell[:3], [20e-10, 23.3e-10, 27e-10])
    assert advice.warnings(other)[0] == (
        "the unit cell is 20 23.3 27 90 90 90 (A, deg), that of a.mtz 20 23 27 90 90 90: amplitudes are taken by index"
    )
    assert not advice.other_cell(experiment("--mtz a.mtz -cell 20.1 23.1 27 90.5"))
    assert advice.other_cell(experiment("--mtz a.mtz -cell 20 23 27 90 91.5"))
    by_matrix = experiment("--mtz a.mtz -mat A.mat")
    assert by_matrix.crystal.cell is None
    assert not advice.other_cell(by_matrix)
    assert experiment("--mtz a.mtz", experiment("-default_F 1 -cell 50")).crystal.cell[0] == 50e-10
    assert experiment("--mtz a.mtz", by_matrix).crystal.cell is None


@pytest.mark.spec("SF-12")
def test_what_was_read_is_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL.split(), "--mtz", "a.mtz", "--json", "j.json"]) == 0
    lines = capsys.readouterr().err.splitlines()
    count = gemmi.count_reflections(gemmi.UnitCell(20, 23, 27, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21"), 4.0)
    stated = json.loads(Path("j.json").read_text())["structure_factors"]
    assert lines[:3] == [f"nbnumba: {line}" for line in stated["information"]]
    assert lines[0].startswith(
        f"nbnumba: structure factors: {count} unique reflections of P 21 21 21, {stated['reflections_in_P1']} in P1 "
    )
    assert lines[0].endswith(" A, 100.0% complete; column FP, observed amplitudes")
    assert lines[1] == "nbnumba: structure factors: F000 is not in the file: 0 0 0 has default_F = 0"
    assert lines[2].startswith("nbnumba: structure factors: the image reaches 1.")
    assert lines[2].endswith("A: those beyond have default_F = 0")
    assert all("warning" not in line for line in lines[:3])
    assert (stated["column"], stated["kind"], stated["unique_reflections"], stated["file"]) == ("FP", "mtz", count, "a.mtz")
    assert stated["completeness"] == 1.0
    assert stated["file_cell_A_deg"] == pytest.approx([20, 23, 27, 90, 90, 90])
    assert stated["F000_electrons"] == "not in the file"
    assert main(["explain", *SMALL.split(), "--model", "a.pdb", "--dmin=3"]) == 0
    out = capsys.readouterr().out
    for expected in ("space_group                      P 21 21 21", "atoms without bulk solvent", "F000 = ", "image_d_min_A"):
        assert expected in out
    assert "the image reaches" not in out
    assert main(["explain", *SMALL.split(), "-hkl", "a.hkl", "-cell", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["structure_factors"]
    assert found == {"listed": 2, "default_F": 0.0, "file": "a.hkl", "kind": "hkl"}


@pytest.mark.spec("SF-12")
def test_nothing_is_said_of_text(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL.split(), "-hkl", "a.hkl", "-cell", "20"]) == 0
    assert "structure factors" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ("--mtz a.mtz --solvent 0", OptionError, "--solvent: only --model has bulk solvent"),
        ("-default_F 1 --column F", OptionError, "--column F: only --mtz and --sf-cif have columns"),
        ("--model a.pdb --column F", OptionError, "--column F: only --mtz and --sf-cif have columns"),
        ("--model a.pdb --solvent -0.35", OptionError, r"--solvent -0.35: density \(e/A\^3\) and B \(A\^2\) must be at least 0"),
        ("--model a.pdb --solvent 0.35 -5", OptionError, "must be at least 0"),
        ("--model a.pdb --solvent", OptionError, "--solvent: needs 1 to 2 values"),
        ("--mtz sf.cif", InputFileError, "sf.cif: is not an MTZ file"),
        ("--column F -cell 20", OptionError, "only --mtz and --sf-cif have columns"),
    ],
)
def test_what_is_refused(files: Path, options: str, error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        experiment(options)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("kind = 'mtz'\npath = 'a.mtz'\ncolumn = 5\n", "structure_factors.column: 5 is not the name of a column"),
        ("kind = 'xyz'\npath = 'a.mtz'\n", "structure_factors.kind: 'xyz' is not one of hkl, mtz, sf-cif, model"),
        ("kind = 'model'\npath = 'a.pdb'\nmodel_resolution = 0\n", "model_resolution: 0 m: must be greater than 0"),
        ("default_F = 1\nreflections = 3\n", "structure_factors.reflections: 3 was not read from a file"),
    ],
)
def test_what_is_wrong_with_a_configuration(files: Path, lines: str, expected: str) -> None:
    Path("e.toml").write_text(f"[structure_factors]\n{lines}")
    with pytest.raises((InputFileError, ParameterError), match=expected):
        load_experiment("e.toml")


def test_a_bundle_has_the_file(files: Path) -> None:
    assert main(["run", *SMALL.split(), "--mtz", "a.mtz", "--column=I", "--bundle", "evidence"]) == 0
    assert Path("evidence/inputs/a.mtz").read_bytes() == Path("a.mtz").read_bytes()
    assert all(line.holds is not False for line in verify(Path("evidence")))


def test_nanobragg_is_not_given_what_it_does_not_have() -> None:
    with pytest.raises(NotAvailableError, match=r"--mtz a\.mtz: nanoBragg reads structure factors as text alone"):
        words_for(split_arguments(["--mtz", "a.mtz"]).given)
    assert words_for(split_arguments(["--dmin=2"]).given) == ["-dmin", "2"]


def test_readers_are_imported_where_they_are_needed(files: Path) -> None:
    readers = {
        f"nbnumba.{name}"
        for name in (
            "amplitudes.mtz",
            "amplitudes.sf_cif",
            "amplitudes.atomic_model",
            "geometry.dials",
            "geometry.xds",
            "geometry.crystfel",
        )
    }
    code = f"import sys, nbnumba; nbnumba.experiment_from_options('{SMALL} -cell 20 -hkl a.hkl'); print({readers} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_gemmi_is_imported_where_it_is_needed(files: Path) -> None:
    code = f"import sys, nbnumba; nbnumba.experiment_from_options('{SMALL} -cell 20 -hkl a.hkl'); sys.exit('gemmi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
