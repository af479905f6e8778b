"""Processes that are ended at any moment: every output is old or new, and whole, and nothing else stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import ENVIRONMENT, PROGRAM

from nbnumba.cli.main import main
from nbnumba.files.whole import UNFINISHED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

OPTIONS = (
    "-default_F 50 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 5 -detpixels 400 -pixel 0.2 -phi 5 -phisteps 1 -oversample 1 "
    "-osc 0.5".split()
)
FILES = "-floatfile float.bin -intfile int.img -pgmfile grey.pgm -noisefile noise_1.cbf -o noise_2.nxs --json all.json".split()


class Command(NamedTuple):
    """The words of a command, and of one that writes the same files with other content."""

    old: list[str]
    new: list[str]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two series of images to convert."""
    folder = tmp_path_factory.mktemp("images")
    for seed in ("1", "2"):
        assert main(["sweep", *OPTIONS, "--images", "4", "-seed", seed, "-o", str(folder / f"{seed}_#.cbf")]) == 0
    return folder


def converted(output: str) -> Command:
    old, new = ([f"in/{seed}_{number}.cbf" for number in range(1, 5)] for seed in (1, 2))
    return Command(["convert", *old, output, "--overwrite"], ["convert", *new, output, "--overwrite"])


def seeded(*words: str) -> Command:
    return Command([*words, "-seed", "1"], [*words, "-seed", "2"])


COMMANDS = {
    "run": seeded("run", *OPTIONS, *FILES),
    "sweep to numbered files": seeded("sweep", *OPTIONS, "--images", "8", "-o", "s_#.cbf", "--overwrite"),
    "sweep to one file": seeded("sweep", *OPTIONS, "--images", "8", "-o", "s.nxs", "--overwrite"),
    "convert to numbered files": converted("c_#.img"),
    "convert to one file": converted("c.nxs"),
}
WORKING = {"sweep to numbered files": ".s.cbf.unfinished", "sweep to one file": ".s.nxs.unfinished"}


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([*PROGRAM, *words], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


@pytest.mark.spec("FMT-60", "CLI-20", "CLI-22")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_ended_at_any_moment(name: str, number: signal.Signals, times: int, images: Path, in_tmp_path: Path) -> None:
    Path("in").symlink_to(images)
    command = COMMANDS[name]
    assert main(command.new) == 0
    new = contents()
    assert main(command.old) == 0
    old, began = contents(), time.monotonic()
    with start(command.old) as process:
        assert process.wait() == 0
    duration = time.monotonic() - began
    assert contents() == old
    ended = 0
    for turn, moment in enumerate(np.random.default_rng(number).uniform(0.2, 1.05, times)):
        with start(command.old if turn % 2 else command.new) as process:
            time.sleep(moment * duration)
            process.send_signal(number)
            said = process.communicate(timeout=60)[1].splitlines()
        ended += process.returncode != 0
        found = contents()
        assert [file for file in old if found.get(file) not in (old[file], new[file])] == []
        assert {file for file in found.keys() - old.keys() if number == signal.SIGTERM or not file.startswith(UNFINISHED)} == set()
        assert {path.name for path in Path().iterdir() if path.is_dir()} <= {"in", WORKING.get(name)}
        if number == signal.SIGTERM:
            assert process.returncode in (0, 143, -signal.SIGTERM)  # the last one before the program has begun
            assert [line for line in said if "warning" not in line and "ended by SIGTERM" not in line] == []
            assert sum("ended by SIGTERM" in line for line in said) == (process.returncode == 143)
    assert ended >= times // 4  # how long a process takes depends on what else the machine does
    assert main(command.new) == 0
    assert contents() == new
    assert [path.name for path in Path().iterdir() if path.is_dir()] == ["in"]
