"""The commands as users type them."""

from __future__ import annotations

import json
import os
import pty
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba.cli.main import main
from nbnumba.cli.options import explanation, usage
from nbnumba.experiment.part import default_of
from nbnumba.options.table import GROUPS, OPTIONS
from nbnumba.testing.stage_suite import CHECKS

SMALL = "-default_F 100 -cell 50 60 70 -lambda 1 -N 4 -detpixels 16 -pixel 0.1 -oversample 1".split()


def run(*words: str) -> int:
    return main(["run", *SMALL, *words])


@pytest.mark.spec("CLI-1", "FMT-4")
def test_run_writes_nanobraggs_files(in_tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "summary.json", "--png", "image.png", "--save-config", "e.toml") == 0
    names = {path.name for path in in_tmp_path.iterdir()}
    assert names == {"floatimage.bin", "intimage.img", "image.pgm", "noiseimage.img", "summary.json", "image.png", "e.toml"}
    raw = np.fromfile("floatimage.bin", np.float32).reshape(16, 16)
    expected = nbnumba.simulate(nbnumba.experiment_from_options(SMALL))
    np.testing.assert_array_equal(raw, expected.float32)
    summary = json.loads(Path("summary.json").read_text())
    assert summary["statistics"]["maximum"] == raw.max()
    assert summary["stages"]["rotation"] == "spec"
    out, err = capfd.readouterr()
    assert "maximum" in out
    assert err == ""


@pytest.mark.spec("CLI-6", "EXP-11")
def test_options_win_over_a_configuration(in_tmp_path: Path) -> None:
    assert run("--phi-carryover-mode", "c-parity", "--save-config", "e.toml", "--json", "1.json") == 0
    assert main(["run", "--config", "e.toml", "--json", "2.json", "-distance", "50", "-floatfile", "other.bin"]) == 0
    one, two = (json.loads(Path(name).read_text()) for name in ("1.json", "2.json"))
    assert two["stages"]["rotation"] == "c-parity"
    assert (one["geometry"]["distance_mm"], two["geometry"]["distance_mm"]) == (100, 50)
    assert main(["run", "--config", "e.toml", "--preset", "reference", "--phi-carryover-mode", "spec", "--json", "3.json"]) == 0
    assert json.loads(Path("3.json").read_text())["stages"]["rotation"] == "spec"


@pytest.mark.spec("PRE-1")
@pytest.mark.parametrize(
    ("words", "stages"),
    [
        ("", {"rotation": "spec", "structure_factor": "constant", "lattice_shape": "square"}),
        ("--preset c-parity", {"rotation": "c-parity"}),
        ("--preset c-parity --phi-carryover-mode spec", {"rotation": "spec"}),
        ("-gauss_xtal -nopolar -curved_det", {"lattice_shape": "gauss", "polarization": "none", "geometry": "curved"}),
        ("-nopolar -polar 0.3", {"polarization": "kahn"}),
        ("--plugin lattice_shape=round --set fudge=2", {"lattice_shape": "round"}),
    ],
)
def test_presets_options_and_plugins_choose_stages(words: str, stages: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *SMALL, *words.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"].items() >= stages.items()


@pytest.mark.spec("CLI-8")
def test_explain_prints_what_run_would_decide(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *SMALL, "-mosaic", "1", "-xds"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "convention                       xds",
        "xds_orgx_orgy_pixel",
        "mosaic_domains",
        "10 domains are rendered",
        "preset",
        "memory_MB",
        "sources   ",
        "quirks",
    ):
        assert expected in out
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.spec("CLI-1")
@pytest.mark.parametrize(
    ("words", "pivot", "convention"),
    [
        ("-fdet_vector 0 0 1 -distance 100 -Xclose 5", "sample", "custom"),
        ("-fdet_vector 0 0 1 -Xclose 5 -distance 100", "beam", "custom"),
        ("-fdet_vector 0 0 1 -pivot sample -distance 100", "beam", "custom"),
        ("-twotheta 0 -fdet_vector 0 0 1", "sample", "custom"),
        ("-xds -Xbeam 5", None, "xds"),
        ("-fdet_vector 0 0 1 -adxv", None, "adxv"),
        ("-pivot sample -distance 100", "sample", "mosflm"),
    ],
)
def test_the_last_option_decides(words: str, pivot: str | None, convention: str) -> None:
    detector = nbnumba.experiment_from_options([*SMALL, *words.split()]).detector
    assert (detector.pivot, detector.convention) == (pivot, convention)


@pytest.mark.spec("CLI-4")
def test_options_without_effect_say_so(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-coherent", "-stol", "water.stol", "-printout") == 0
    err = capsys.readouterr().err.splitlines()
    assert "nbnumba: warning: -stol water.stol: changes nothing, as in nanoBragg" in err
    assert len(err) == 3


def test_every_option_has_help_with_unit_and_default() -> None:
    for group in GROUPS.values():
        for option in group:
            text, field = explanation(option), option.described
            assert text, option.name
            assert usage(option).startswith(option.name)
            if field is not None and not option.text and not option.help:
                assert option.unit.name in text, option.name
                assert default_of(field) is None or "default" in text
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names))


@pytest.mark.spec("CLI-7")
def test_plugins_are_listed_with_units_defaults_and_origin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    assert "lattice_shape square" in out
    assert "from nbnumba" in out
    assert "fudge [1] default 1.0" in out
    assert "cpu: yes" in out


@pytest.mark.spec("CLI-7")
def test_checking_a_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = ROOT / "examples" / "lorentz_plugin" / "lorentz.py"
    assert main(["plugins", "check", str(example)]) == 0
    states = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert (len(states), states.count("ok"), states.count("-")) == (
        len(CHECKS),
        len(CHECKS) - 7,
        7,
    )  # a sign, a place, bounds, a ceiling, a support, a table, a curve
    broken = tmp_path / "broken.py"
    broken.write_text(example.read_text().replace("125.0), (0.2, 0.0, 0.0), 62.5", "125.0), (0.2, 0.0, 0.0), 60.0"))
    assert main(["plugins", "check", str(broken)]) == 1
    out, err = capsys.readouterr()
    assert "FAIL  lattice_shape 'lorentz': gives its worked values: (0.2, 0.0, 0.0) gives 62.5, not 60.0" in out
    assert err == f"nbnumba: error: {broken}: 1 check failed\n"
    broken.write_text(broken.read_text().replace('"half width of a spot in units of 1 / cells"', '""'))
    assert main(["plugins", "check", str(broken)]) == 1
    assert capsys.readouterr().err == f"nbnumba: error: {broken}: 2 checks failed\n"


LONG = "run -default_F 1 -cell 50 -N 5 -lambda 1 -detpixels 512 -mosaic 1 -mosaic_dom 1200 -oversample 1 --threads 1"
IMPATIENT = """
import sys
from nbnumba.cli import main, run
run.SECONDS_BEFORE_PROGRESS /= 5.0
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.spec("CLI-5")
def test_progress_shows_on_a_terminal_and_not_in_a_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPATIENT, *LONG.split()]
    piped = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300, check=True)
    assert b"rendering" not in piped.stdout + piped.stderr
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    shown = b""
    while chunk := read_terminal(leader):
        shown += chunk
    assert process.wait(timeout=300) == 0
    assert b"rendering" in shown
    assert b"100%" in shown


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "seconds"), [("--help", 0.1), ("run --help", 0.1), ("run -default_F 1 -cell 100 -N 5 -lambda 6.2 -detpixels 256", 0.6)]
)
def test_start_up_time(tmp_path: Path, words: str, seconds: float) -> None:
    command = [str(Path(sys.executable).with_name("nbnumba")), *words.split()]
    times = []
    for _ in range(6):
        began = time.perf_counter()
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    assert statistics.median(times[1:]) <= seconds
