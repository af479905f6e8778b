"""Quirks of nanoBragg that bite are told in Python, and once on the command line; what is compiled is told to those who wait."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, PROGRAM

import nbnumba
from nbnumba import Model, QuirkWarning, Simulator, experiment_from_options, simulate
from nbnumba.cli.main import main

OPTIONS = "-default_F 100 -cell 50 -N 4 -detpixels 8 -pixel 4 -distance 100 -water 1"


def told(experiment: nbnumba.Experiment, begin: object = simulate) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", QuirkWarning)
        begin(experiment)
    assert all(one.category is QuirkWarning for one in found)
    return [str(one.message) for one in found]


@pytest.mark.spec("API-11")
@pytest.mark.parametrize("begin", [simulate, lambda e: Simulator().image(e), lambda e: Simulator().render(e)])
def test_a_quirk_that_bites_warns_once_for_an_experiment(begin: object) -> None:
    experiment = experiment_from_options(OPTIONS)
    text = (
        "quirk water-squared: the water background grows with the square of the fluence, and falls with the number of steps "
        "(Model(quirks={'water-squared': False}): it is proportional to the fluence)"
    )
    assert text in told(experiment, begin)
    assert told(experiment, begin) == []
    assert text in told(replace(experiment, sampling=nbnumba.Sampling(roi=(0, 3, 0, 3))), begin)
    assert told(replace(experiment, model=Model(preset="physics")), begin) == []


@pytest.mark.spec("API-11")
def test_what_it_says_to_do_works() -> None:
    experiment = experiment_from_options(OPTIONS)
    switches = [text.partition("(")[2].partition("):")[0] + ")" for text in told(experiment)]
    switches = [text for text in switches if text.startswith("Model(")]
    assert switches
    quirks = {name: value for switch in switches for name, value in eval(switch, {"Model": Model}).quirks.items()}
    assert told(replace(experiment, model=Model(quirks=quirks))) == []


@pytest.mark.spec("API-11")
def test_the_command_line_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *OPTIONS.split(), "-o", str(tmp_path / "i.npy")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "quirk water-squared" in line]) == 1
    assert any("(--quirk water-squared=off: it is proportional to the fluence)" in line for line in lines)


@pytest.mark.spec("API-12")
def test_what_is_compiled_is_logged(tmp_path: Path) -> None:
    code = f"""
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
import nbnumba
experiment = nbnumba.experiment_from_options({OPTIONS!r})
nbnumba.simulate(experiment)
print("again")
nbnumba.simulate(experiment)
"""
    environment = {**ENVIRONMENT, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    for compiles in (True, False):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        first, again = done.stdout.split("again")
        begun = "nbnumba INFO compiling the kernel render, which takes some seconds, and is kept for the next time\n"
        assert (begun in first) == compiles
        assert ("nbnumba INFO compiled the kernel render in " in first) == compiles
        assert again.strip() == ""


@pytest.mark.spec("API-12")
def test_a_terminal_shows_it_and_a_pipe_does_not(tmp_path: Path) -> None:
    words = [*PROGRAM, "run", *OPTIONS.split(), "-o", str(tmp_path / "i.npy")]

    def environment(folder: str) -> dict[str, str]:
        return {**ENVIRONMENT, "NUMBA_CACHE_DIR": str(tmp_path / folder)}

    piped = subprocess.run(words, env=environment("a"), capture_output=True, text=True, check=True)
    assert "compil" not in piped.stderr + piped.stdout
    reader, writer = pty.openpty()
    with subprocess.Popen(words, env=environment("b"), stderr=writer, stdout=subprocess.DEVNULL) as running:
        os.close(writer)
        seen = b""
        try:
            while piece := os.read(reader, 4096):
                seen += piece
        except OSError:  # the end, on Linux
            pass
        assert running.wait() == 0
    os.close(reader)
    lines = [line for line in seen.split(b"\r\x1b[K") if line]
    assert b"compiling the kernel render, which takes some seconds, and is kept for the next time" in lines
    assert not any(b"compiled" in line for line in lines)


@pytest.mark.spec("API-12")
def test_the_command_line_leaves_the_log_as_it_was() -> None:
    log = logging.getLogger("nbnumba")
    before = log.level, list(log.handlers)
    assert main(["--version"]) == 0
    assert (log.level, list(log.handlers)) == before
