"""Files on which a library dies, or does not come to an end."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from nbnumba.cli.main import main
from nbnumba.errors import InputFileError
from nbnumba.files.trial import require_survival, survived
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.geometry.exposure import Exposure


def die(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def never_end(path: Path) -> None:
    while True:
        pass


def fail(path: Path) -> None:
    raise ValueError("something is wrong")


def speak(path: Path) -> None:
    os.write(1, b"out")
    os.write(2, b"err")


@pytest.mark.spec("FMT-51")
@pytest.mark.parametrize("read", [die, never_end])
def test_what_kills_is_refused(read, tmp_path: Path) -> None:
    (tmp_path / "a.nxs").write_bytes(b"damaged")
    began = time.process_time()
    with pytest.raises(InputFileError, match=r"a\.nxs: is damaged: the library that reads it does not come to an end with it"):
        require_survival(tmp_path / "a.nxs", read)
    assert time.process_time() - began < 1.0


@pytest.mark.spec("FMT-51")
@pytest.mark.parametrize("read", [fail, speak])
def test_what_lives_is_not_told(read, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.nxs").write_bytes(b"sound")
    require_survival(tmp_path / "a.nxs", read)
    require_survival(tmp_path / "nothing.nxs", die)
    assert capfd.readouterr() == ("", "")


@pytest.mark.spec("FMT-51")
def test_a_file_is_tried_once(tmp_path: Path) -> None:
    (tmp_path / "a.nxs").write_bytes(b"sound")
    before = survived.cache_info()
    for _ in range(3):
        require_survival(tmp_path / "a.nxs", speak)
    (tmp_path / "a.nxs").write_bytes(b"changed")
    require_survival(tmp_path / "a.nxs", speak)
    after = survived.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 2)


@pytest.mark.spec("FMT-51")
def test_a_heap_without_an_end(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """HDF5 goes through texts of variable length for ever where one has no size."""
    still = Exposure(shape=(4, 5), pixel_size=1e-4, origin=(-1e-3, 1e-3, -0.1))
    content = bytearray(nxmx_bytes([(np.zeros((4, 5), np.int32), still)]))
    first = content.index(b"GCOL") + 16  # of its objects: 2 bytes of number, 0 for what is free, and 8 of size
    content[first : first + 16] = bytes(16)
    Path("a.nxs").write_bytes(content)
    for command in ("convert a.nxs a.npy", "view a.nxs"):
        assert main(command.split()) == 2
        assert capsys.readouterr().err.startswith("nbnumba: error: a.nxs: ")
