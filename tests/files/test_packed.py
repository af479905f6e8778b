"""Gzipped files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from amplitudes.crystals import SMALL_CIF, sf_cif, write_mtz, write_pdb

from nbnumba import InputFileError
from nbnumba.amplitudes.atomic_model import read_model
from nbnumba.amplitudes.mtz import read_mtz
from nbnumba.amplitudes.sf_cif import read_sf_cif
from nbnumba.experiment.reflections import Reflections


def model(path: Path) -> Reflections:
    return read_model(path, 3e-10)


READERS: dict[str, Callable[[Path], Reflections]] = {"a.mtz": read_mtz, "a.cif": read_sf_cif, "a.pdb": model, "small.cif": model}


def write(path: Path) -> Path:
    write_mtz(path.with_name("a.mtz"), F="F")
    write_pdb(path.with_name("a.pdb"))
    path.with_name("a.cif").write_text(sf_cif("F_meas_au", "1 2 3 4\n2 0 0 5\n"))
    path.with_name("small.cif").write_text(SMALL_CIF)
    return path


@pytest.mark.spec("FMT-59")
@pytest.mark.parametrize("name", READERS)
def test_a_packed_file_is_the_same(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path / name)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    here, there = READERS[name](plain), READERS[name](packed)
    np.testing.assert_array_equal(here.hkl, there.hkl)
    np.testing.assert_array_equal(here.F, there.F)


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize("name", READERS)
def test_a_packed_file_that_is_damaged(tmp_path: Path, name: str) -> None:
    data = bytearray(gzip.compress(write(tmp_path / name).read_bytes()))
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFileError, match=r"cannot be unpacked: Compressed file ended .*; is it whole\?"):
        READERS[name](packed)
    data[len(data) - 6] ^= 1
    packed.write_bytes(data)
    with pytest.raises(InputFileError, match=r"cannot be unpacked: CRC check failed .*; is it whole\?"):
        READERS[name](packed)


@pytest.mark.spec("FMT-57")
@pytest.mark.parametrize("name", READERS)
def test_a_packed_file_of_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("nbnumba.files.packed.EASY", 1 << 20)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / name).read_bytes() + bytes(10 << 20)))
    with pytest.raises(InputFileError, match="unpacks to more than 50 times its size and 1 MB; unpack it to use it"):
        READERS[name](packed)
