"""NumPy's files and TIFF: read right, or refused in a line, whatever is in them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from nbnumba import InputFileError
from nbnumba.formats.npy import MOST_BYTES, MOST_MEMBERS
from nbnumba.formats.read import read_image_file
from nbnumba.formats.tiff import TIFF

COUNTS = np.random.default_rng(1).poisson(300.0, (31, 47)).astype(np.uint16)
COUNTS[3, 5], COUNTS[3, 6] = 65535, 0


def refused(path: Path | str) -> str:
    """Why; nothing else is said, of whatever."""
    with warnings.catch_warnings(action="error"), pytest.raises(InputFileError) as caught:
        read_image_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npy(header: str, numbers: bytes = bytes(80), version: int = 1) -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text.encode() + numbers


@pytest.mark.spec("FMT-42")
@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">i2", ">u4", "<i8", "<f2", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpys_files_of_every_kind_of_number(dtype: str, order: str, tmp_path: Path) -> None:
    pixels = np.asarray(COUNTS % 100, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", pixels)
    np.savez_compressed(tmp_path / "a.npz", pixels, other=np.zeros(3))
    for file in ("a.npy", "a.npz"):
        found = read_image_file(tmp_path / file).pixels
        np.testing.assert_array_equal(found, pixels)
        assert found.dtype == pixels.dtype.newbyteorder("=")
        assert found.flags.c_contiguous


@pytest.mark.spec("FMT-42")
def test_a_header_that_python_2_wrote(tmp_path: Path) -> None:
    numbers = np.arange(20, dtype="<f4")
    (tmp_path / "a.npy").write_bytes(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4L, 5L), }", numbers.tobytes()))
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(read_image_file(tmp_path / "a.npy").pixels, numbers.reshape(4, 5))


NO_IMAGE = "does not hold one image; there is no two-dimensional array"
UNREADABLE = "is not a NumPy file that can be read: "


@pytest.mark.spec("FMT-42")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,5"), UNREADABLE + "its header cannot be understood"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True,20), }"), NO_IMAGE),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,-5), }"), NO_IMAGE),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0,5), }"), NO_IMAGE),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (20,), }"), NO_IMAGE),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (4,5), }"), NO_IMAGE),
        (npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2,5), }"), NO_IMAGE),
        (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,5), }"), NO_IMAGE),
        (npy("{'descr': '<f4', 'fortran_order': 3, 'shape': (4,5), }"), UNREADABLE + "its header cannot be understood"),
        (npy("(" * 110), UNREADABLE + "its header cannot be understood"),
        (npy("\\u00e9" * 20), UNREADABLE + "its header cannot be understood"),
        (
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,6), }"),
            UNREADABLE + "it is cut short: 80 bytes of numbers where its header promises 96; fetch it again",
        ),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999), }"), UNREADABLE + "it is cut short: 80 bytes of"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1" + "0" * 308 + ", 5), }", version=2), UNREADABLE),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,5), }", version=9), UNREADABLE + "it is of version 9.0"),
        (b"\x93NUMPY", UNREADABLE),
        (b"\x93NUMPY\1\0\xff\xff{", UNREADABLE + "its header cannot be understood"),
    ],
)
def test_a_damaged_npy_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    assert refused(tmp_path / "a.npy").startswith(f"{tmp_path / 'a.npy'}: {message}")


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return path


def saved(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


@pytest.mark.spec("FMT-42")
def test_what_is_no_array_in_an_npz_file_is_passed_over(tmp_path: Path) -> None:
    objects = io.BytesIO()
    np.save(objects, np.array([[{}]]), allow_pickle=True)
    file = archive(tmp_path / "a.npz", readme_txt=b"hello", x_npy=saved(COUNTS), objects_npy=objects.getvalue())
    np.testing.assert_array_equal(read_image_file(file).pixels, COUNTS)
    np.testing.assert_array_equal(read_image_file(f"{file}:x").pixels, COUNTS)
    assert "has no image 'readme.txt'; there are x; name one as a.npz:NAME" in refused(f"{file}:readme.txt")


@pytest.mark.spec("FMT-42")
def test_a_damaged_npz_file_is_refused(tmp_path: Path) -> None:
    huge = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999), }")
    assert "a has 39999200004 bytes of numbers, more than there are or an image has" in refused(archive(tmp_path / "a.npz", a_npy=huge))
    assert UNREADABLE + "its header cannot be understood" in refused(archive(tmp_path / "b.npz", a_npy=npy("{")))
    file = archive(tmp_path / "c.npz", a_npy=saved(COUNTS))
    content = file.read_bytes()
    file.write_bytes(content.replace(content[100:140], bytes(40)))
    assert UNREADABLE in refused(file)
    file.write_bytes(content[:-30])
    assert UNREADABLE in refused(file)
    many = archive(tmp_path / "d.npz", **{f"a{i}_npy": saved(np.zeros(i % 3 + 1)) for i in range(MOST_MEMBERS)}, z_npy=saved(COUNTS))
    assert NO_IMAGE in refused(many)
    np.testing.assert_array_equal(read_image_file(f"{many}:z").pixels, COUNTS)


@pytest.mark.spec("FMT-42")
def test_only_the_array_that_is_asked_for_is_unpacked(tmp_path: Path) -> None:
    """Others would take 200 MB."""
    zeros = b"\0" * 100_000_000
    header = saved(np.zeros((1, 1), np.uint8))[:-1]
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, shape in (("x", "(100000000,)"), ("y", "(10000, 10000)")):
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(header.replace(b"(1, 1)", shape.encode()).replace(b" " * len(shape), b"", 1))
                member.write(zeros)
        file.writestr("image.npy", saved(COUNTS))
    del zeros
    program = (
        "import resource, sys; from nbnumba.formats.read import read_image_file\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(read_image_file(sys.argv[1]).pixels.sum(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, f"{tmp_path / 'a.npz'}:image"], capture_output=True, text=True, check=True)
    total, kilobytes = map(int, done.stdout.split())
    assert total == COUNTS.sum()
    assert kilobytes < 20_000
    assert MOST_BYTES == 2**31


def tiff_of(pixels: np.ndarray, compression: str | None = None, **tags: Any) -> bytes:
    buffer = io.BytesIO()
    extra = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        extra[int(tag[1:])] = value
    Image.fromarray(pixels).save(buffer, "TIFF", compression=compression, tiffinfo=extra)
    return buffer.getvalue()


@pytest.mark.spec("FMT-43")
@pytest.mark.parametrize("compression", [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"])
@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "i4", "f4"])
def test_tiff_images_packed_in_every_way(dtype: str, compression: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pixels = (COUNTS > 300) if dtype == "?" else COUNTS.astype(dtype)
    (tmp_path / "a.tif").write_bytes(tiff_of(pixels, compression))
    with warnings.catch_warnings(action="error"):
        found = read_image_file(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == np.dtype(dtype)
    assert capfd.readouterr() == ("", "")


def bare_tiff(pixels: np.ndarray, order: str, strips: int = 1, **instead: Any) -> bytes:
    """As other programs write it: 12 tags, pixels in strips."""
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    rows = -(-pixels.shape[0] // strips)
    row = len(data) // pixels.shape[0]
    counts = [min(rows, pixels.shape[0] - i * rows) * row for i in range(strips)]
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: 8 * pixels.itemsize, 259: 1, 262: 1, 277: 1, 278: rows, 339: kind}
    tags |= {int(name[1:]): value for name, value in instead.items()}
    size = 8 + 2 + 12 * (len(tags) + 2) + 4
    table = size + 8 * strips
    offsets = [table + sum(counts[:i]) for i in range(strips)]
    entries = sorted({**tags, 273: offsets, 279: counts}.items())
    out = struct.pack(f"{order}2sHLH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    at = {273: size, 279: size + 4 * strips}
    for tag, value in entries:
        values = value if isinstance(value, list) else [value]
        out += struct.pack(f"{order}HHL", tag, 4, len(values))
        out += struct.pack(f"{order}L", values[0] if len(values) == 1 else at[tag])
    out += struct.pack(f"{order}L", 0)
    return out + struct.pack(f"{order}{2 * strips}L", *offsets, *counts) + data


@pytest.mark.spec("FMT-43")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_tiff_images_of_every_type_in_either_byte_order(dtype: str, order: str, tmp_path: Path) -> None:
    pixels = COUNTS.astype(dtype)
    info = np.finfo(dtype) if dtype[0] == "f" else np.iinfo(dtype)
    pixels[0, 0], pixels[30, 46] = info.max, info.min
    (tmp_path / "a.tif").write_bytes(bare_tiff(pixels, order, strips=5))
    found = read_image_file(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == np.dtype(dtype)


@pytest.mark.spec("FMT-43")
def test_the_tiff_files_that_are_written(tmp_path: Path) -> None:
    for pixels in (COUNTS.astype(np.int32) - 5, COUNTS.astype(np.float32) / 3.0):
        (tmp_path / "a.tif").write_bytes(TIFF.write(pixels, None))
        np.testing.assert_array_equal(read_image_file(tmp_path / "a.tif").pixels, pixels)
        np.testing.assert_array_equal(fabio.open(str(tmp_path / "a.tif")).data, pixels)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.tif")), pixels)


def two_pages() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COUNTS).save(buffer, "TIFF", save_all=True, append_images=[Image.fromarray(COUNTS)])
    return buffer.getvalue()


@pytest.mark.spec("FMT-43")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: two_pages(), "it holds more than one image"),
        (lambda: tiff_of(np.zeros((4, 5, 3), np.uint8)), "its pixels have 3 samples, those of greys one"),
        (lambda: bare_tiff(COUNTS, "<", _339=4), "its pixels are no numbers (SampleFormat 4)"),
        (lambda: bare_tiff(COUNTS, "<", _257=40), "it is cut short: 2914 bytes of pixels where its tags promise 3760; fetch it again"),
        (lambda: bare_tiff(COUNTS, "<", _256=2**32 - 1, _257=2**32 - 1), "it is cut short: "),
        (lambda: bare_tiff(COUNTS, "<", _256=0), "it is cut short: "),
        (lambda: bare_tiff(COUNTS, "<", _258=12), "it is packed, and not upright with greys"),
        (lambda: bare_tiff(COUNTS, "<", _258=24), ""),
        (lambda: bare_tiff(COUNTS, "<", _259=34712), ""),
        (lambda: tiff_of(COUNTS.astype(np.uint8), "packbits", _262=0), "it is packed, and not upright with greys"),
        (lambda: tiff_of(COUNTS, "packbits", _274=3), "it is packed, and not upright with greys"),
        (lambda: tiff_of(COUNTS, "tiff_lzw")[:900], ""),
        (lambda: b"II*\0", ""),
        (lambda: b"II*\0" + bytes(40), ""),
        (lambda: b"MM\0+\0\x08\0\0" + b"\xff" * 40, ""),
        (lambda: b"II*\0\x08\0\0\0" + b"\xff" * 400, ""),
    ],
)
def test_a_tiff_image_that_is_not_read_is_refused(
    content: Callable[[], bytes], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.tif").write_bytes(content())
    assert f"a.tif: is not a TIFF image that can be read: {message}" in refused(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.spec("FMT-42", "FMT-43")
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "lzw.tif", "packbits.tif", "deflate.tif", "plain.tif", "a.img"])
def test_whatever_is_damaged_is_read_or_refused(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """300 files with some bytes changed, cut or put in; more of them in tests/fuzz."""
    if name.endswith("tif"):
        packing = {"lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate", "packbits": "packbits", "plain": None}[name[:-4]]
        content = tiff_of(COUNTS[:12, :14], packing)
    elif name == "a.img":
        content = b"{\nHEADER_BYTES=512;\nSIZE1=14;\nSIZE2=12;\nTYPE=unsigned_short;\n}".ljust(512) + COUNTS[:12, :14].tobytes()
    else:
        (np.save if name == "a.npy" else np.savez_compressed)(tmp_path / name, COUNTS[:12, :14])
        content = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(damaged), 700), rng.integers(1, 6)):
            damaged[at] = rng.integers(0, 256)
        if rng.random() < 0.2:
            del damaged[rng.integers(0, len(damaged)) :]
        (tmp_path / name).write_bytes(damaged)
        try:
            with warnings.catch_warnings(action="error"):
                read_image_file(tmp_path / name)
        except (InputFileError, UserWarning) as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert capfd.readouterr() == ("", "")
