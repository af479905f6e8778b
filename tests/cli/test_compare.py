"""``nbnumba compare`` as a user meets it."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SUPERVISOR

import nbnumba
from nbnumba.cli.main import main

SWEEP = "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 24 -oversample 1 "
SWEEP += "-phi 0 -osc 2 -phisteps 3"
OPTIONS = SWEEP.split()


def compared(*words: str, folder: str = "comparison", expected: int = 0) -> dict[str, Any]:
    assert main(["compare", *words]) == expected
    return json.loads((Path(folder) / "summary.json").read_text())


def float_image(*options: str) -> np.ndarray:
    return nbnumba.simulate(nbnumba.experiment_from_options([*OPTIONS, *options])).float32


@pytest.mark.spec("CMP-1", "CMP-4", "CMP-5")
def test_presets(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared("--presets", "reference", "c-parity", *OPTIONS)
    assert found["explanation"]["switches"] == {"phi-carryover": True}
    assert found["explanation"]["alone_enough"] == ["phi-carryover"]
    out = capsys.readouterr().out
    assert "the one switch that explains the difference: --quirk phi-carryover=on for A" in out
    assert "wrote comparison/summary.json, comparison/comparison.png" in out
    assert Path("comparison/comparison.png").read_bytes().startswith(b"\x89PNG")
    found = compared("--presets", "reference", "reference", *OPTIONS)
    assert found["identical"]
    assert "explanation" not in found


@pytest.mark.skipif(not (SUPERVISOR / "expected.json").is_file(), reason=f"no data in {SUPERVISOR}; NBNUMBA_SUPERVISOR names their folder")
@pytest.mark.spec("CMP-4")
def test_presets_of_the_real_experiment(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((SUPERVISOR / "expected.json").read_text())
    words = [str(SUPERVISOR / w) if w in ("A.mat", "scaled.hkl") else w for w in data["args"].split()]
    found = compared("--presets", "reference", "c-parity", *words)
    assert found["explanation"]["switches"] == {"phi-carryover": True}
    assert found["sum_a"] == pytest.approx(data["expected"]["spec"]["sum"], rel=1e-6)
    assert found["sum_b"] == pytest.approx(data["expected"]["cparity"]["sum"], rel=1e-6)
    assert "the one switch that explains the difference: --quirk phi-carryover=on for A" in capsys.readouterr().out


@pytest.mark.spec("CMP-4")
def test_several_quirks_together(in_tmp_path: Path) -> None:
    more = ["-water", "10", "-fluence", "1e20", "-detector_thick", "450", "-detector_abs", "234", "-thicksteps", "3"]
    found = compared("--presets", "physics", "c-parity", *OPTIONS, *more)
    together = found["explanation"]["switches"]
    assert {"phi-carryover", "layer-spacing", "water-squared"} <= set(together) <= set(found["explanation"]["tried"])
    assert all(together.values())
    assert found["explanation"]["alone_enough"] == []


@pytest.mark.spec("CMP-1", "CMP-4")
def test_option_sets(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = compared(SWEEP, SWEEP + " -N 6")
    assert found["explanation"]["settings"] == {"crystal.cells": [[5, 5, 5], [6, 6, 6]]}
    assert "settings differ: crystal.cells ([5, 5, 5], [6, 6, 6])" in capsys.readouterr().out
    found = compared(SWEEP, SWEEP + " --phi-carryover-mode c-parity")
    assert found["explanation"]["switches"] == {"phi-carryover": True}
    Path("named.toml").write_text(f'options = "{SWEEP}"')
    assert compared("named.toml", SWEEP)["identical"]
    assert main(["run", *OPTIONS, "--phi-carryover-mode", "spec", "--save-config", "saved.toml", "-nopgm", "-nonoise"]) == 0
    found = compared("saved.toml", SWEEP + " --preset c-parity")
    assert found["explanation"]["switches"] == {"phi-carryover": True}


@pytest.mark.spec("CMP-1")
def test_option_sets_that_begin_with_one_of_the_commands_own(in_tmp_path: Path) -> None:
    assert not compared(f"--preset=reference {SWEEP}", f"--preset=c-parity {SWEEP}")["agree"]
    Path("named.toml").write_text(f'options = "{SWEEP}"')
    assert compared("--experiment=named.toml -N 6", f"{SWEEP} -N 6")["identical"]


@pytest.mark.spec("CMP-1")
def test_names_that_begin_with_a_dash(in_tmp_path: Path) -> None:
    np.save("-a.npy", np.ones((4, 4)))
    assert compared("--output", "there", "--", "-a.npy", "-a.npy", folder="there")["identical"]


def test_long_and_narrow_images_are_drawn_in_a_picture_of_usual_size(in_tmp_path: Path) -> None:
    from matplotlib.image import imread

    np.save("tall.npy", np.arange(4000.0).reshape(2000, 2))
    assert compared("tall.npy", "tall.npy")["identical"]
    assert max(imread("comparison/comparison.png").shape) <= 1600


@pytest.mark.spec("CMP-1", "CMP-4")
def test_an_image_with_options(in_tmp_path: Path) -> None:
    """A is what nbnumba renders; the switches that lead to the image are found."""
    np.save("carried.npy", float_image())
    experiment = nbnumba.experiment_from_options(OPTIONS)
    carried = nbnumba.simulate(nbnumba.Experiment(**{**vars_of(experiment), "model": nbnumba.Model(preset="c-parity")})).float32
    carried.tofile("carried.bin")
    found = compared("carried.bin", *OPTIONS)
    assert found["explanation"]["switches"] == {"phi-carryover": True}
    assert compared("carried.bin", *OPTIONS, "--preset", "c-parity")["identical"]
    assert compared("carried.npy", "carried.bin", *OPTIONS)["explanation"]["switches"] == {"phi-carryover": True}
    assert compared("carried.bin", "carried.npy", *OPTIONS)["explanation"]["switches"] == {"phi-carryover": True}
    text = compared("carried.bin", "carried.npy")["explanation"]["text"]
    assert text == "to try quirk switches, give the options of one of the images"
    text = compared("carried.npy", "carried.bin", *OPTIONS, "-N", "6")["explanation"]["text"]
    assert text == "the options render neither of the images, so that no switches are tried"


def vars_of(experiment: nbnumba.Experiment) -> dict[str, Any]:
    from nbnumba.experiment.experiment import PARTS

    return {name: getattr(experiment, name) for name in PARTS}


@pytest.mark.spec("CMP-1", "CMP-4")
def test_counts_are_compared_but_not_explained(in_tmp_path: Path) -> None:
    assert main(["run", *OPTIONS, "-nopgm", "-nonoise"]) == 0
    found = compared("intimage.img", *OPTIONS)
    assert found["correlation"] > 0.99999
    assert found["explanation"]["text"] == "switches are not tried on counts: compare the float images"


@pytest.mark.spec("CMP-6")
def test_chance_is_the_same_on_both_sides(in_tmp_path: Path) -> None:
    chance = SWEEP.replace("-misset 10 20 30", "-misset random")
    assert compared(chance, chance)["identical"]
    assert compared(chance, chance + " -seed 1")["identical"]
    assert not compared(chance, chance + " -seed 2")["agree"]


@pytest.mark.spec("CMP-5")
@pytest.mark.parametrize(("threshold", "code"), [("0.5", 0), ("0.9999999", 1)])
def test_threshold(in_tmp_path: Path, threshold: str, code: int) -> None:
    compared(SWEEP, SWEEP + " -N 6", "--threshold", threshold, "--output", "there", folder="there", expected=code)


PROGRAM = """#!{python}
import sys, numpy as np
words = sys.argv[1:]
assert "-nonoise" in words and "-nopgm" in words and "--preset" not in words and "-png" not in words, words
image = np.load({image!r})
image.tofile(words[words.index("-floatfile") + 1])
open({log!r}, "w").write(" ".join(words))
"""


def program(folder: Path, image: np.ndarray) -> Path:
    """Stands for an executable of nanoBragg."""
    np.save(folder / "image.npy", image)
    path = folder / "program"
    path.write_text(PROGRAM.format(python=sys.executable, image=str(folder / "image.npy"), log=str(folder / "log")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.spec("CMP-1", "CMP-4")
def test_an_executable(in_tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(OPTIONS)
    carried = nbnumba.simulate(nbnumba.Experiment(**{**vars_of(experiment), "model": nbnumba.Model(preset="c-parity")})).float32
    Path("m.mat").write_text("0.01 0 0 0 0.01 0 0 0 0.01")
    found = compared("--exe", str(program(in_tmp_path, carried)), *OPTIONS, "--quirk", "forced-pivot=on")
    assert found["explanation"]["switches"] == {"phi-carryover": True}
    assert Path("log").read_text().startswith("-default_F 100 -cell 70 80 90 85 95 100 ")
    compared("--exe", "program", *OPTIONS, "-mat", "m.mat", "-floatfile", "x.bin", "-seed", "3")
    words = Path("log").read_text().split()
    assert words[words.index("-mat") + 1] == str(in_tmp_path / "m.mat")
    assert "x.bin" not in words
    assert "-seed" not in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "compare: give two of: image file, quoted options, file.toml; or options with one of these, with --presets or with --exe"),
        (["a.npy"], "compare: give two of: "),
        (["a.npy", "b.npy", "c.npy"], "compare: give two of: "),
        (["--presets", "reference", "physics"], "compare: give two of: "),
        (["--presets", "reference", "physics", "a.npy", *OPTIONS], "compare: give two of: "),
        (["--presets", "reference", "best", *OPTIONS], "Invalid value for '--presets'"),
        (["--presets", "reference", *OPTIONS], "--presets: needs 2 values"),
        (["a.npy", "a.npy", "--threshold", "nan"], "--threshold nan: is not a number"),
        (["--exe", "nowhere", *OPTIONS], "--exe nowhere: is not a file; name an executable of nanoBragg"),
        (["--exe", "a.npy", "--config", "s.toml"], "--exe a.npy: takes options of nanoBragg; --config has none of them"),
        (["--exe", "a.npy", *OPTIONS], "a.npy: cannot be run: "),
        (["nowhere.npy", *OPTIONS], "nowhere.npy: cannot be read: No such file or directory"),
        (["a.npy", "b.npy"], "the images have 4 x 4 and 5 x 5 pixels (slow x fast)"),
        (["-N 3 '", "b.npy"], "No closing quotation"),
        (["-N 3 -fluxx 2", "b.npy"], "-fluxx: no such option"),
        (["a.npy", "a.npy", "--output", "a.npy"], "a.npy: is not a folder"),
        (["a.npy", "a.npy", "--output", "no/where"], "no/where: cannot be written: the folder no does not exist"),
    ],
)
def test_what_cannot_be_compared(in_tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    np.save("a.npy", np.ones((4, 4)))
    np.save("b.npy", np.ones((5, 5)))
    assert main(["compare", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("nbnumba: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == ["a.npy", "b.npy"]


def test_an_executable_that_writes_another_image(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(in_tmp_path, np.ones((5, 5), np.float32))
    assert main(["compare", "--exe", "program", *OPTIONS]) == 2
    message = "program: wrote no image of 24 x 24 pixels: has 25 float32 pixels, which are not 24 x 24\n"
    assert capsys.readouterr().err == f"nbnumba: error: {message}"


def test_an_executable_that_fails(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("fails").write_text("#!/bin/sh\nexit 3\n")
    Path("silent").write_text("#!/bin/sh\nexit 0\n")
    for name in ("fails", "silent"):
        os.chmod(name, 0o755)
    assert main(["compare", "--exe", "fails", *OPTIONS]) == 2
    assert "fails: ended with exit code 3 for -default_F 100" in capsys.readouterr().err
    assert main(["compare", "--exe", "silent", *OPTIONS]) == 2
    assert "silent: wrote no image; is it an executable of nanoBragg?" in capsys.readouterr().err


def test_without_matplotlib_there_is_no_picture(
    in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nbnumba.cli.compare.find_spec", lambda name: None)
    compared(SWEEP, SWEEP)
    assert capsys.readouterr().err.endswith("no picture: it needs matplotlib; install it with: pip install 'nbnumba[plot]'\n")
    assert sorted(os.listdir("comparison")) == ["summary.json"]
