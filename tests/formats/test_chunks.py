"""Images as chunks of HDF5 files, packed here or by another installation."""

from __future__ import annotations

import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ENVIRONMENT, PROGRAM
from formats.dxtbx_reader import with_filters
from many_panels import sixteen

from nbnumba import NotAvailableError
from nbnumba.formats import chunks, nxmx_files
from nbnumba.formats.chunks import alike, chunk_bytes, filters, is_deflated, pixels_of
from nbnumba.formats.read import read_image_file

PIXELS = np.random.default_rng(1).poisson(0.7, (70, 50)).astype(np.int32) - 1


@pytest.fixture
def without_hdf5plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "is_deflated_here", lambda: True)
    monkeypatch.setattr(nxmx_files, "is_deflated_here", lambda: True)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)


def written() -> bytes:
    exposure = sixteen((4, 5))
    return nxmx_files.nxmx_bytes([(np.arange(320, dtype=np.int32).reshape(64, 5), exposure)] * 2)


@pytest.mark.spec("FMT-26")
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint16])
@pytest.mark.parametrize("shape", [(70, 50), (1, 1), (3, 7)])
def test_what_is_packed_is_unpacked(dtype: type, shape: tuple[int, int]) -> None:
    pixels = np.resize(PIXELS, shape).astype(dtype)
    chunk = chunk_bytes(pixels)
    assert not is_deflated(chunk)
    np.testing.assert_array_equal(pixels_of(chunk, shape, np.dtype(dtype)), pixels)


@pytest.mark.spec("FMT-26")
def test_without_hdf5plugin_images_are_deflated(without_hdf5plugin: None, tmp_path: Path) -> None:
    chunk = chunk_bytes(PIXELS)
    assert is_deflated(chunk)
    assert len(zlib.decompress(chunk)) == PIXELS.nbytes
    np.testing.assert_array_equal(pixels_of(chunk, PIXELS.shape, PIXELS.dtype), PIXELS)
    (tmp_path / "a.nxs").write_bytes(written())
    with h5py.File(tmp_path / "a.nxs") as root:
        assert (root["entry/data/data"].compression, root["entry/data/data"].shuffle) == ("gzip", True)
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.nxs", 2).pixels.ravel(), np.arange(320))


@pytest.mark.spec("FMT-26")
def test_images_that_another_installation_packed_go_into_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    here = chunk_bytes(PIXELS)
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "is_deflated_here", lambda: True)
        elsewhere = chunk_bytes(PIXELS)
        assert alike(here, True, PIXELS.shape, PIXELS.dtype) == elsewhere
    assert alike(elsewhere, False, PIXELS.shape, PIXELS.dtype) == alike(here, False, PIXELS.shape, PIXELS.dtype) == here


@pytest.mark.spec("FMT-26")
def test_what_cannot_be_unpacked_for_want_of_hdf5plugin_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = chunk_bytes(PIXELS)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(
        NotAvailableError, match=r"images are packed with bitshuffle, which is not installed; pip install 'nbnumba\[hdf5\]'"
    ):
        pixels_of(chunk, PIXELS.shape, PIXELS.dtype)


@pytest.mark.spec("FMT-26")
def test_a_file_is_what_h5py_makes_with_the_same_filter() -> None:
    with h5py.File(BytesIO(written())) as root:
        found = root["entry/data/data"]
        with h5py.File(BytesIO(), "w") as other:
            made = other.create_dataset("a", found.shape, found.dtype, chunks=found.chunks, **filters(deflated=False))
            made[...] = found[...]
            assert list(made._filters) == list(found._filters) == ["32008"]
            assert made.id.read_direct_chunk((1, 0, 0)) == found.id.read_direct_chunk((1, 0, 0))


@pytest.mark.spec("FMT-26")
def test_with_filters_for_other_programs(in_tmp_path: Path) -> None:
    """In an environment in which DIALS finds its filters."""
    words = "run -default_F 1 -cell 50 -lambda 1 -distance 100 -detpixels 12 -pixel 0.5 -oversample 1 -N 1 -o a.nxs".split()
    for command in (words, ["convert", "a.nxs", "a.npy"], ["convert", "a.nxs", "b.nxs"]):
        done = subprocess.run([*PROGRAM, *command], capture_output=True, text=True, env=ENVIRONMENT | with_filters())
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read_image_file(Path("b.nxs")).pixels, np.load("a.npy"))
