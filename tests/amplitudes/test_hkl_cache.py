"""What was read from large structure factor files is kept, and changes nothing but the time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from nbnumba import InputFileError, read_hkl
from nbnumba.amplitudes import hkl
from nbnumba.files.caches import TABLES

pytestmark = pytest.mark.spec("FMT-16")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which parsed files are kept; every file is large enough."""
    monkeypatch.setenv("NBNUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(hkl, "WORTH_KEEPING", 0)
    return tmp_path / "cache" / "hkl"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p1.hkl"
    path.write_text("".join(f"{h} {h % 7 - 3} 5 {0.1 + h / 3!r}\n" for h in range(500)))
    return path


@pytest.fixture
def times_parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one whenever a text is parsed."""
    found: list[str] = []
    parse = hkl.parse
    monkeypatch.setattr(hkl, "parse", lambda text: (found.append(text), parse(text))[1])
    return found


def test_a_file_is_parsed_once(kept: Path, file: Path, times_parsed: list[str]) -> None:
    indices, F = read_hkl(file)
    again, F_again = read_hkl(file.rename(file.with_name("moved.hkl")))
    assert len(times_parsed) == 1
    assert np.array_equal(again, indices)
    assert np.array_equal(F_again, F)
    assert (again.dtype, again.shape, F_again.dtype, F_again.shape) == (indices.dtype, indices.shape, F.dtype, F.shape)
    assert len(list(kept.iterdir())) == 1


def test_small_files_are_not_kept(kept: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hkl, "WORTH_KEEPING", file.stat().st_size + 1)
    read_hkl(file)
    assert not kept.exists()


def test_an_edited_file_is_parsed_again(kept: Path, file: Path, times_parsed: list[str]) -> None:
    before = file.stat()
    assert read_hkl(file)[1][0] == 0.1
    file.write_text(file.read_text().replace("0 -3 5 0.1\n", "0 -3 5 0.2\n", 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert read_hkl(file)[1][0] == 0.2
    assert len(times_parsed) == 2


def test_another_version_is_parsed_again(kept: Path, file: Path, times_parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read_hkl(file)
    monkeypatch.setattr(hkl, "VERSION", "another")
    read_hkl(file)
    assert len(times_parsed) == 2


def test_a_file_with_errors_is_not_kept(kept: Path, file: Path) -> None:
    file.write_text(file.read_text() + "0 -3 5 7\n")
    for _ in range(2):
        with pytest.raises(InputFileError, match=r"line 501: reflection 0 -3 5 has F = 7 here and F = 0\.1 in line 1"):
            read_hkl(file)
    assert not kept.exists()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def with_another_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def with_other_arrays(path: Path) -> None:
    np.savez(path, something=np.zeros(3))


def with_objects(path: Path) -> None:
    np.savez(path, hkl=np.array([{}], dtype=object), F=np.array([{}], dtype=object))


@pytest.mark.parametrize("spoil", [truncated, with_another_byte, emptied, with_other_arrays, with_objects])
def test_a_spoilt_cache_is_passed_over_and_mended(kept: Path, file: Path, times_parsed: list[str], spoil: Callable[[Path], None]) -> None:
    indices, F = read_hkl(file)
    spoil(next(kept.iterdir()))
    for _ in range(2):
        again, F_again = read_hkl(file)
        assert np.array_equal(again, indices)
        assert np.array_equal(F_again, F)
    assert len(times_parsed) == 2


def test_a_folder_that_cannot_be_written_is_passed_over(
    file: Path, tmp_path: Path, times_parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hkl, "WORTH_KEEPING", 0)
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("NBNUMBA_CACHE_DIR", str(tmp_path / "taken" / "cache"))
    assert len(read_hkl(file)[1]) == len(read_hkl(file)[1]) == 500
    assert len(times_parsed) == 2


def test_a_full_disk_is_passed_over(kept: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: BinaryIO, **arrays: object) -> None:
        file.write(b"some of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(read_hkl(file)[1]) == 500
    assert not list(kept.iterdir())


def test_the_cache_can_be_turned_off(file: Path, tmp_path: Path, times_parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hkl, "WORTH_KEEPING", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NBNUMBA_CACHE_DIR", "")
    read_hkl(file)
    read_hkl(file)
    assert len(times_parsed) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p1.hkl"]


def test_where_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBNUMBA_CACHE_DIR", str(tmp_path))
    assert TABLES.folder == tmp_path / "hkl"
    monkeypatch.delenv("NBNUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert TABLES.folder == tmp_path / "xdg" / "nbnumba" / "hkl"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for none in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", none)
        assert TABLES.folder == tmp_path / "home" / ".cache" / "nbnumba" / "hkl"


def test_the_files_used_last_stay(kept: Path, file: Path, times_parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read_hkl(file)
    first = next(kept.iterdir())
    others = [file.with_name(f"{n}.hkl") for n in range(8)]
    others[0].write_text("1 2 3 0\n")
    read_hkl(others[0])
    small = next(path.stat().st_size for path in kept.iterdir() if path != first)
    monkeypatch.setenv("NBNUMBA_CACHE_MB", str((first.stat().st_size + 4.5 * small) / 1e6))
    for n, other in enumerate(others):
        other.write_text(f"1 2 3 {n}\n")
        read_hkl(other)
        os.utime(first, (0, 0))  # used long ago ...
        read_hkl(file)  # ... and now
        assert len(list(kept.iterdir())) == min(n + 2, 5)
    assert len(times_parsed) == 1 + len(others)
    read_hkl(others[0])
    assert len(times_parsed) == 2 + len(others)


READ_MANY = """
import sys
from nbnumba.amplitudes import hkl
hkl.WORTH_KEEPING = 0
for _ in range(5):
    for path in sys.argv[1:]:
        print(hkl.read_hkl(path)[1].sum())
"""


def test_two_processes_at_once(kept: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more files than are kept, so that each drops what the other has just written."""
    monkeypatch.setenv("NBNUMBA_CACHE_MB", "0.01")
    files = [file.with_name(f"{n}.hkl") for n in range(30)]
    for n, path in enumerate(files):
        path.write_text(f"1 2 3 {n}\n")
    command = [sys.executable, "-c", READ_MANY, *map(str, files)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        assert out.split() == [str(float(n)) for n in range(len(files))] * 5
    assert sum(path.stat().st_size for path in kept.iterdir()) <= 0.012e6
    assert all(len(path.stem) == 64 for path in kept.iterdir())


def test_what_is_no_list_of_reflections_is_not_taken_for_one(kept: Path, file: Path, times_parsed: list[str]) -> None:
    indices, F = read_hkl(file)
    (path,) = kept.glob("*.npz")
    np.savez(path, hkl=indices[:, :2], F=F)
    assert np.array_equal(read_hkl(file)[0], indices)
    assert len(times_parsed) == 2
