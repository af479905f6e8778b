"""``nbnumba cache``, where there is no place for a cache, and what the system refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbnumba.cli import explain
from nbnumba.cli.main import main
from nbnumba.files.caches import KERNELS, TABLES, Cache

RUN = "run -default_F 100 -cell 100 -lambda 6.2 -N 5 -detpixels 8 -nopgm -nonoise -floatfile image.bin"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for all caches, in which six files of 1 MB were used one after the other."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("NBNUMBA_CACHE_DIR", str(tmp_path))
    for number in range(6):
        KERNELS.store(f"{number}", lambda file: file.write(bytes(1_000_000)))
        os.utime(tmp_path / "kernels" / f"{number}.nbc", (number, number))
    TABLES.store("table", lambda file: file.write(bytes(2_500_000)))
    return tmp_path


def names(cache: Cache) -> list[str]:
    return [file.path.stem for file in cache.files()]


@pytest.mark.spec("CLI-25")
def test_what_is_kept_is_shown(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"kernels: 6 files, 6.0 MB of at most 1000 MB in {kept / 'kernels'}",
        f"parts: 0 files, 0.0 MB of at most 1000 MB in {kept / 'parts'}",
        f"hkl: 1 files, 2.5 MB of at most 1000 MB in {kept / 'hkl'}",
    ]


@pytest.mark.spec("CLI-25", "DEV-20")
def test_what_was_not_used_for_longest_is_dropped(kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with KERNELS.open("0"):
        pass
    assert main(["cache", "bound", "3"]) == 0
    assert names(KERNELS) == ["0", "5", "4"]
    assert names(TABLES) == ["table"]
    assert capsys.readouterr().out.splitlines() == [
        "kernels: dropped 3 files, 3.0 MB",
        "parts: dropped 0 files, 0.0 MB",
        "hkl: dropped 0 files, 0.0 MB",
        "for all that is to come: NBNUMBA_CACHE_MB=3 in the environment",
    ]
    monkeypatch.setenv("NBNUMBA_CACHE_MB", "2")
    KERNELS.store("new", lambda file: file.write(bytes(1_000_000)))
    assert names(KERNELS) == ["new", "0"]


@pytest.mark.spec("CLI-25")
def test_everything_is_dropped(kept: Path) -> None:
    assert main(["cache", "clear"]) == 0
    assert list(kept.iterdir()) == []
    assert main(["cache", "clear"]) == 0


@pytest.mark.spec("CLI-25")
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("NBNUMBA_CACHE_DIR", "", "NBNUMBA_CACHE_DIR is empty"),
        ("NBNUMBA_CACHE_MB", "much", "NBNUMBA_CACHE_MB: 'much' is not a number of megabytes"),
        ("NBNUMBA_CACHE_MB", "inf", "NBNUMBA_CACHE_MB: 'inf' is not a number of megabytes"),
    ],
)
def test_why_nothing_is_kept(
    variable: str, value: str, reason: str, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{kind}: nothing is kept ({reason})" for kind in ("kernels", "parts", "hkl")]


NOBODY = """
import os, pwd, sys
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
from nbnumba.cli.main import main
sys.exit(main())
"""


@pytest.mark.spec("DEV-20")
def test_a_user_without_home_and_name_renders(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    environment.pop("NBNUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", NOBODY]
    done = subprocess.run([*command, *RUN.split()], cwd=tmp_path, env=environment, capture_output=True, text=True)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("nbnumba: warning: compiled")]
    told = "compiled kernels are not kept for the next run (this user has no home folder); NUMBA_CACHE_DIR may name another folder"
    assert line == f"nbnumba: warning: {told}"
    assert (done.returncode, (tmp_path / "image.bin").stat().st_size) == (0, 8 * 8 * 4)
    assert subprocess.run([*command, "experiments"], env=environment, capture_output=True).returncode == 0
    shown = subprocess.run([*command, "cache"], env=environment, capture_output=True, text=True)
    assert shown.stdout.splitlines() == [f"{kind}: nothing is kept (this user has no home folder)" for kind in ("kernels", "parts", "hkl")]


@pytest.mark.spec("DEV-21", "CLI-3")
def test_without_a_compiler_nothing_is_rendered(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "nbnumba.cli.main", *RUN.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    told = "NUMBA_DISABLE_JIT is set in the environment, and kernels cannot run without being compiled; unset it"
    assert f"nbnumba: error: {told}" in done.stderr.splitlines()
    assert os.listdir(tmp_path) == []


@pytest.mark.spec("DEV-21")
@pytest.mark.parametrize("layer", ["tbb", "nonsense", "safe"])
def test_a_threading_layer_that_is_not_there_is_not_needed(layer: str, tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    command = [sys.executable, "-m", "nbnumba.cli.main", *RUN.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, (tmp_path / "image.bin").stat().st_size) == (0, 8 * 8 * 4)
    assert "Traceback" not in done.stderr


@pytest.mark.spec("CLI-26")
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/data/table.hkl"), "/data/table.hkl: Permission denied"),
        (OSError(28, "No space left on device"), "a file cannot be read or written: No space left on device"),
    ],
)
def test_what_the_system_refuses_is_told_of_its_file(
    error: OSError, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(explain, "read_draft", refused)
    assert main(["explain", "-default_F", "1"]) == 2
    assert capsys.readouterr() == ("", f"nbnumba: error: {line}\n")


@pytest.mark.spec("CLI-26")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_printed_is_told_of_standard_output(unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "nbnumba.cli.main", "cache"]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "nbnumba: error: standard output cannot be written: No space left on device\n")


@pytest.mark.spec("CLI-26")
def test_a_reader_that_has_gone_is_not_told_anything() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "nbnumba.cli.main", "cache"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
