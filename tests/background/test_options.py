"""Backgrounds on the command line and in files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba.amplitudes.stol import read_stol
from nbnumba.campaign.sweep import digest
from nbnumba.cli.main import main
from nbnumba.evidence.agreement import same_outcome
from nbnumba.experiment.advice import warnings
from nbnumba.experiment.background import Background, Material
from nbnumba.formats.read import read_image

SMALL = "-default_F 100 -cell 50 60 70 -lambda 1 -distance 60 -N 4 -detpixels 16 -pixel 1 -oversample 1 -fluence 1e24 --preset physics"
STOL = "# F of something\n0 2.57\n0.1 5 # electrons\n\n0.2, 8\n0.5 3\n"


@pytest.fixture
def stol(in_tmp_path: Path) -> Path:
    path = in_tmp_path / "some.stol"
    path.write_text(STOL)
    return path


def materials(options: str) -> tuple[Material, ...]:
    return nbnumba.experiment_from_options(f"{SMALL} {options}").background.materials


@pytest.mark.spec("CLI-130", "CLI-131", "CLI-134")
def test_materials_are_named_with_what_is_said_of_them(stol: Path) -> None:
    found = materials(
        "--background water 0.1 --background-density 1.1 --background some.stol 20 --background-molar-mass 28 --background-formula N2 "
        "--background-size 0.05 --background atoms 1 --background-formula SiO2 --background-density 2.2 --background-size 0.01 0.02"
    )
    table = np.array([[0.0, 2.57], [0.1e10, 5.0], [0.2e10, 8.0], [0.5e10, 3.0]])
    expected = (
        Material(name="water", thickness=1e-4, density=1100.0),
        Material(
            name="table", table=table, path=Path("some.stol"), thickness=0.02, molar_mass=0.028, formula="N2", width=5e-5, height=5e-5
        ),
        Material(name="atoms", thickness=1e-3, formula="SiO2", density=2200.0, width=1e-5, height=2e-5),
    )
    assert found == expected
    base = nbnumba.experiment_from_options(f"{SMALL} --background water 0.1")
    more = nbnumba.experiment_from_options("--background air 5 --background-oversample 2", base).background
    assert [one.name for one in more.materials] == ["water", "air"]
    assert more.oversample == 2


@pytest.mark.spec("CLI-130")
def test_an_image_and_a_stage_without_material_are_named(in_tmp_path: Path) -> None:
    np.save("photons.npy", np.full((16, 16), 7.5))
    (found,) = materials("--background photons.npy")
    assert (found.name, found.photons[3, 4], found.path) == ("image", 7.5, Path("photons.npy"))
    assert main(["run", *SMALL.split(), "--background", "photons.npy", "-o", "a.npy"]) == 0
    assert main(["run", *SMALL.split(), "-o", "b.npy"]) == 0
    np.testing.assert_allclose(read_image("a.npy"), read_image("b.npy") + 7.5, rtol=1e-6)


@pytest.mark.spec("CLI-130", "CLI-131", "CLI-134")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--background water", "--background water: needs a thickness in mm: --background water MM"),
        ("--background water -1", "--background water -1: '-1' is not a thickness in mm of 0 or more"),
        ("--background photons.npy 1", "--background photons.npy 1: an image has no thickness; leave it out"),
        ("--background Water 1", "--background Water 1: material.name: 'Water' is not the name of a background stage"),
        ("--background-density 1", "--background-density 1: there is no --background before it that would have one"),
        ("--background photons.npy --background-size 1", "--background-size 1: there is no --background before it that would have one"),
        ("--background water 1 --background-density 0", "--background-density 0: must be greater than 0 g/cm^3"),
        (
            "--background water 1 --background-formula H2O",
            "--background-formula H2O: material.formula: 'H2O': atoms and table have one, a text such as SiO2",
        ),
        ("--background no.stol 1", "no.stol: cannot be read: No such file or directory"),
        ("--background three.stol 1", "three.stol, line 1: expected sin(theta)/wavelength (1/A) and F (electrons), found 3 columns"),
        ("--background falls.stol 1", "falls.stol, line 2: sin(theta)/wavelength must rise from line to line, and 0.1 does not"),
        ("--background word.stol 1", "word.stol, line 1: F = 'x' is not a number"),
        ("--background below.stol 1", "below.stol, line 1: sin(theta)/wavelength = -1 is out of range; 0 to 1e+06 is possible"),
        ("--background none.stol 1", "none.stol: holds no entries; expected lines of sin(theta)/wavelength (1/A) and F (electrons)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(options: str, problem: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("photons.npy", np.ones((16, 16)))
    for name, text in {"three": "1 2 3", "falls": "0.2 1\n0.1 1", "word": "1 x", "below": "-1 1", "none": "# F"}.items():
        Path(f"{name}.stol").write_text(text)
    assert main(["run", *SMALL.split(), *options.split(), "-o", "a.npy"]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {problem}\n"


@pytest.mark.spec("CLI-130")
def test_a_material_without_a_stage_is_refused(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL.split(), "--background", "watr", "1", "-o", "a.npy"]) == 2
    assert "no background 'watr', did you mean 'water'? there are: air, atoms" in capsys.readouterr().err


@pytest.mark.spec("CLI-132")
def test_configurations_keep_materials(stol: Path, in_tmp_path: Path) -> None:
    one = nbnumba.experiment_from_options(f"{SMALL} --background some.stol 20 --background-size 0.05 --background water 0.1")
    table = Material(name="table", table=[[1e9, 2.0], [2e9, 3.0]], thickness=1e-3)
    one = replace(one, background=replace(one.background, materials=(*one.background.materials, table), oversample=3))
    (in_tmp_path / "below").mkdir()
    nbnumba.save_experiment(one, "below/a.toml")
    found = nbnumba.load_experiment("below/a.toml")
    assert found.background.materials[0].path.resolve() == stol
    without = replace(
        found.background, materials=(replace(found.background.materials[0], path=Path("some.stol")), *found.background.materials[1:])
    )
    assert without == one.background
    photons = replace(one, background=Background(materials=(Material(name="image", photons=np.ones((16, 16))),)))
    with pytest.raises(nbnumba.ParameterError, match=r"material.photons: cannot be saved; write them to an \.npy file"):
        nbnumba.save_experiment(photons, "b.toml")


@pytest.mark.spec("CLI-132")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[3]", "background.materials[0]: 3 is not a table"),
        (
            "[{nam = 'water'}]",
            "background.materials[0]: has no 'nam'; it has name, thickness, width, height, place, density, molar_mass, formula",
        ),
        ("[{path = 3}]", "background.materials[0]: 3 is not a file name"),
        ("[{name = 'water', thickness = -1}]", "material.thickness: -1 m: must be at least 0"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(text: str, problem: str, in_tmp_path: Path) -> None:
    Path("a.toml").write_text(f"[background]\nmaterials = {text}\n")
    with pytest.raises(nbnumba.InputFileError) as error:
        nbnumba.load_experiment("a.toml")
    assert str(error.value).startswith(f"a.toml: {problem}")


@pytest.mark.spec("CLI-133")
def test_a_run_writes_layers(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", *SMALL.split(), "--background", "water", "0.1", "--background", "air", "20", "-o", "a.npy", "--bundle", "bundle"]
    assert main([*words, "--layers", "layers.npz"]) == 0
    layers = np.load("layers.npz")
    assert list(layers) == ["bragg", "water", "air"]
    np.testing.assert_allclose(sum(layers[name] for name in layers), read_image("a.npy"), rtol=1e-5)
    assert read_image("layers.npz:water").shape == (16, 16)
    assert main(["view", "layers.npz:air", "-o", "air.png"]) == 0
    capsys.readouterr()
    assert main(["bundle", "verify", "bundle"]) == 0
    assert "layers.npz: identical" in capsys.readouterr().out
    np.savez("near.npz", **{name: layers[name] * (1.0 + 1e-7) for name in layers})
    np.savez("off.npz", **{name: layers[name] * 1.01 for name in layers})
    np.savez("fewer.npz", bragg=layers["bragg"])
    verdicts = [same_outcome(Path("layers.npz"), Path(f"{name}.npz"), "layers") for name in ("near", "off", "fewer")]
    assert [verdict.agrees for verdict in verdicts] == [True, False, False]
    assert verdicts[2].words == "has not the same layers: air, water"
    assert main([*words[:-2], "--layers", "layers.h5"]) == 2
    assert "--layers layers.h5: layers are written as .npz; give a name that ends in .npz" in capsys.readouterr().err


@pytest.mark.spec("BKG-3")
def test_an_image_that_goes_beyond_a_table_is_warned_of(stol: Path) -> None:
    near = nbnumba.experiment_from_options(f"{SMALL} --background some.stol 1")
    assert not [line for line in warnings(near) if "stol" in line]
    wide = nbnumba.experiment_from_options(f"{SMALL} --background some.stol 1 -detpixels 400 -distance 50")
    (line,) = [line for line in warnings(wide) if "stol" in line]
    assert line.startswith("some.stol ends at sin(theta)/lambda = 0.5 1/A, the image reaches 0.6429 1/A: ")
    assert line.endswith("F goes on along the line through the last two entries")


@pytest.mark.spec("CLI-130")
def test_a_sweep_of_another_background_is_another(stol: Path, in_tmp_path: Path) -> None:
    words = ["sweep", *SMALL.split(), "--images", "2", "--width", "0.1", "-nonoise", "--background", "some.stol", "1", "-o", "scan_#.npy"]
    assert main(words) == 0
    assert read_image("scan_2.npy").min() > 0
    before = digest(nbnumba.experiment_from_options(f"{SMALL} --background some.stol 1"))
    (in_tmp_path / "copy.stol").write_text(STOL)
    assert digest(nbnumba.experiment_from_options(f"{SMALL} --background copy.stol 1")) == before
    stol.write_text("0 1\n")
    assert digest(nbnumba.experiment_from_options(f"{SMALL} --background some.stol 1")) != before
    assert main(words) == 2


def test_f_of_a_file_is_read(stol: Path) -> None:
    np.testing.assert_allclose(read_stol(stol)[1], [1e9, 5.0])


@pytest.mark.spec("CLI-130")
def test_what_the_beam_meets_is_stated(stol: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--background water 0.1 --background-density 1.1 --background some.stol 20 --background-size 0.05 --background-place behind"
    assert main(["explain", *SMALL.split(), *words.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    water, some = found["background"].values()
    assert water == {
        "stage": "water",
        "thickness_mm": 0.1,
        "volume_mm3": pytest.approx(1e-3),
        "place": "around",
        "density_kg_per_m3": 1100.0,
    }
    assert some == {"stage": "table", "file": "some.stol", "thickness_mm": 20.0, "volume_mm3": pytest.approx(0.05), "place": "behind"}
    assert found["stages"]["background"] == "water,table"


@pytest.mark.spec("CLI-130")
def test_a_file_of_an_experiment_names_one_beside_it(stol: Path, in_tmp_path: Path) -> None:
    (in_tmp_path / "below").mkdir()
    stol.rename("below/some.stol")
    Path("below/e.toml").write_text(f'options = "{SMALL} --background some.stol 20 --background water 1"\n')
    found = nbnumba.experiment_from_options("--experiment below/e.toml").background.materials
    assert [(one.name, one.path) for one in found] == [("table", Path("below/some.stol")), ("water", None)]
    assert main(["run", "--experiment", "below/e.toml", "-o", "a.npy", "--bundle", "bundle"]) == 0
    assert (in_tmp_path / "bundle" / "inputs" / "some.stol").read_text() == STOL


@pytest.mark.spec("BKG-1")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--background water 1", True),
        ("--background water 1 -fluence 1e20", False),
        ("--background water 1 -flux 1e12", False),
        ("--background photons.npy", False),
        ("", False),
    ],
)
def test_a_fluence_that_nobody_has_given_is_warned_of(options: str, said: bool, in_tmp_path: Path) -> None:
    np.save("photons.npy", np.ones((16, 16)))
    found = warnings(nbnumba.experiment_from_options(f"{SMALL.replace('-fluence 1e24', '')} {options}"))
    told = "the background is that of nanoBragg's default fluence, 1.26e+29 photons/m^2; give -fluence or -flux"
    assert (told in found) == said
