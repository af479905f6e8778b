"""The binary section of CBF files: whatever compression, and whatever damage."""

import contextlib
import re
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from formats.cbf_files import COUNTS, PILATUS, byte_offsets, mini, whole

from nbnumba.errors import InputFileError, NbnumbaError, NotAvailableError
from nbnumba.formats.cbf_pixels import SECTION, STARTS, read_cbf
from nbnumba.formats.read import read_image, read_image_file

pytestmark = pytest.mark.spec("FMT-45")

LARGE = np.array([[2**31 - 1, -1, 5, 6], [-1, 2**31 - 1, -(2**31), 2**31 - 1]], np.int32)


def compressed(counts: np.ndarray, name: str, path: Path) -> bytes:
    """A file of CBFlib's."""
    pycbf = pytest.importorskip("pycbf", reason="pycbf has no wheel for this machine")
    handle = pycbf.cbf_handle_struct()
    handle.new_datablock(b"image")
    handle.new_category(b"array_data")
    handle.new_column(b"data")
    slow, fast = counts.shape
    signed = int(counts.dtype.kind == "i")
    handle.set_integerarray_wdims_fs(
        getattr(pycbf, name), 1, counts.tobytes(), counts.itemsize, signed, counts.size, b"little_endian", fast, slow, 1, 0
    )
    handle.write_widefile(str(path).encode(), pycbf.CBF, pycbf.MIME_HEADERS | pycbf.MSG_DIGEST, 0)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["CBF_PACKED", "CBF_PACKED_V2", "CBF_NONE"])
@pytest.mark.parametrize("counts", [COUNTS, LARGE, COUNTS.clip(0).astype(np.uint16)])
def test_what_cbflib_compresses_comes_back(name: str, counts: np.ndarray, tmp_path: Path) -> None:
    compressed(counts, name, tmp_path / "a.cbf")
    pixels, _ = read_cbf(tmp_path / "a.cbf")
    np.testing.assert_array_equal(pixels, counts)
    assert pixels.dtype == counts.dtype


def test_cbflib_s_byte_offsets_come_back(tmp_path: Path) -> None:
    compressed(COUNTS, "CBF_BYTE_OFFSET", tmp_path / "a.cbf")
    np.testing.assert_array_equal(read_cbf(tmp_path / "a.cbf")[0], COUNTS)


@pytest.mark.parametrize("counts", [COUNTS, LARGE, COUNTS.astype(np.float32)])
def test_byte_offsets_of_any_size(counts: np.ndarray, tmp_path: Path) -> None:
    """Differences of 8, 16, 32 and 64 bits."""
    (tmp_path / "a.cbf").write_bytes(whole("", byte_offsets(counts), counts, "x-CBF_BYTE_OFFSET"))
    pixels, _ = read_cbf(tmp_path / "a.cbf")
    np.testing.assert_array_equal(pixels, counts)
    assert pixels.dtype == counts.dtype


def test_either_byte_order(tmp_path: Path) -> None:
    content = whole("", COUNTS.byteswap().tobytes(), COUNTS, "x-CBF_NONE")
    (tmp_path / "a.cbf").write_bytes(content.replace(b"LITTLE_ENDIAN", b"BIG_ENDIAN"))
    np.testing.assert_array_equal(read_cbf(tmp_path / "a.cbf")[0], COUNTS)


def test_a_sum_or_a_size_may_be_missing(tmp_path: Path) -> None:
    """XDS writes no sum; nothing else of the section is searched for."""
    content = re.sub(rb"(Content-MD5|X-Binary-Size|X-Binary-Number-of-Elements): \S+\r\n", b"", mini())
    assert b"MD5" not in content
    assert b"X-Binary-Size:" not in content
    (tmp_path / "a.cbf").write_bytes(content)
    np.testing.assert_array_equal(read_cbf(tmp_path / "a.cbf")[0], COUNTS)


def test_latin_1_in_a_comment(tmp_path: Path) -> None:
    (tmp_path / "a.cbf").write_bytes(mini().replace(b"# Tau", b"# Comment: M\xfcller\r\n# Tau"))
    picture = read_image_file(tmp_path / "a.cbf")
    assert picture.exposure is not None
    np.testing.assert_array_equal(picture.pixels, COUNTS)


def unsummed(content: bytes) -> bytes:
    return re.sub(rb"Content-MD5: \S+\r\n", b"", content)


def stating(name: str, value: str) -> bytes:
    return re.sub(rb"%b: \S+" % name.encode(), b"%b: %b" % (name.encode(), value.encode()), unsummed(mini()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mini().replace(STARTS, b"\x0c\x1a\x04\xd4"), "holds no binary section; is it whole?"),
        (mini().replace(SECTION.encode(), SECTION[:-1].encode()), "holds no binary section; is it whole?"),
        (mini()[:400], "holds no binary section; is it whole?"),
        (mini()[:-60], "is cut short: 10 bytes of pixels where the header promises 32; fetch it again"),
        (mini().replace(STARTS + b"\0", STARTS + b"\1"), "is damaged: the sum over its pixels is not the one in its header"),
        (stating("X-Binary-Size", "99999999999999"), "bytes of pixels where the header promises 99999999999999"),
        (stating("X-Binary-Size", "-5"), "its binary section has the X-Binary-Size '-5', not a whole number"),
        (stating("X-Binary-Size", "12.5"), "its binary section has the X-Binary-Size '12.5', not a whole number"),
        (stating("X-Binary-Size", "10"), "is cut short: its binary section does not hold 12 pixels"),
        (stating("X-Binary-Size-Fastest-Dimension", "4" * 30), f"the X-Binary-Size-Fastest-Dimension '{'4' * 30}', not a whole number"),
        (
            stating("X-Binary-Size-Fastest-Dimension", "1000000"),
            "its header promises 12 pixels in 3 rows of 1000000; 1 to 134217728 in whole rows are read",
        ),
        (
            stating("X-Binary-Size-Fastest-Dimension", "1000000000").replace(b"Elements: 12", b"Elements: 3000000000"),
            "its header promises 3000000000 pixels in 3 rows of 1000000000",
        ),
        (
            stating("X-Binary-Size-Fastest-Dimension", "40000").replace(b"Elements: 12", b"Elements: 120000"),
            "is cut short: its binary section does not hold 120000 pixels",
        ),
        (stating("X-Binary-Size-Fastest-Dimension", "0").replace(b"Elements: 12", b"Elements: 0"), "promises 0 pixels in 3 rows of 0"),
        (mini().replace(b"X-Binary-Size-Second-Dimension: 3\r\n", b""), "has the X-Binary-Size-Second-Dimension '', not a whole number"),
        (mini().replace(b"X-Binary-ID", b"X-Binary-Size-Third-Dimension: 8\r\nX-Binary-ID"), "holds 8 sections of 3 x 4 pixels"),
        (mini() + mini(), "holds 2 arrays of pixels, as of several panels; files of one are read"),
        (mini().replace(b"signed 32-bit integer", b"complex 64-bit"), "has pixels of the type 'complex 64-bit'; what is"),
        (mini().replace(b"signed 32-bit", b"signed 16-bit"), "is damaged: it has pixels that are no signed 16-bit integer"),
        (mini().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_CANONICAL"), "its pixels are compressed by x-CBF_CANONICAL; what is read"),
        (mini().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_NIBBLE"), "are compressed by x-CBF_NIBBLE; what is read is x-CBF_NONE,"),
        (
            mini().replace(b'"x-CBF_BYTE_OFFSET"', b'"x-CBF_PACKED"; "uncorrelated_sections"'),
            "its pixels are compressed by x-CBF_PACKED uncorrelated_sections",
        ),
        (mini().replace(b"Encoding: BINARY", b"Encoding: BASE64"), "its pixels are encoded as BASE64; those in binary are read"),
        (mini().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_NONE"), "is cut short: its binary section does not hold 12 pixels"),
        (mini().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED"), "is damaged: its binary section is not one of 12 whole numbers"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused_at_once(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.cbf").write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(InputFileError) as caught:
        read_image(tmp_path / "a.cbf")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 1.0


def test_what_ends_within_a_difference_is_cut_short(tmp_path: Path) -> None:
    """Whichever byte is the last, nothing beyond the section is taken for pixels."""
    data = byte_offsets(LARGE)
    for size in range(len(data)):
        (tmp_path / "a.cbf").write_bytes(whole("", data[:size], LARGE, "x-CBF_BYTE_OFFSET"))
        with pytest.raises(InputFileError, match="does not hold 8 pixels"):
            read_cbf(tmp_path / "a.cbf")


@pytest.mark.parametrize("name", ["CBF_PACKED", "CBF_PACKED_V2"])
def test_damaged_compression_is_told(name: str, tmp_path: Path) -> None:
    content = unsummed(compressed(COUNTS, name, tmp_path / "a.cbf"))
    begins, rng = content.index(STARTS) + len(STARTS), np.random.default_rng(1)
    told = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[rng.integers(begins, len(content) - 40)] = rng.integers(256)
        (tmp_path / "a.cbf").write_bytes(damaged)
        try:
            assert read_cbf(tmp_path / "a.cbf")[0].shape == COUNTS.shape
        except InputFileError as error:
            told += "is damaged" in str(error) or "is cut short" in str(error)
    assert told > 50


def test_packed_pixels_take_pycbf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.cbf").write_bytes(whole("", COUNTS.size.to_bytes(8, "little"), COUNTS, "x-CBF_PACKED"))
    monkeypatch.setitem(sys.modules, "pycbf", None)
    with pytest.raises(NotAvailableError, match=r"a\.cbf: its pixels are compressed by x-CBF_PACKED, which takes .* pip install pycbf"):
        read_cbf(tmp_path / "a.cbf")


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """A thousand files with some bytes changed, left out or doubled: an image, or one line."""
    rng, original, path = np.random.default_rng(2), mini(PILATUS), tmp_path / "a.cbf"
    begun, read = time.monotonic(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(1000):
            content = bytearray(original)
            for at in rng.integers(0, len(original), rng.integers(1, 6)):
                edit = rng.integers(3)
                content[at : at + int(edit != 0)] = [bytes([rng.integers(256)]), b"", bytes(content[at : at + 20])][edit]
            path.write_bytes(content)
            with contextlib.suppress(NbnumbaError):
                read += read_image_file(path).pixels.shape == COUNTS.shape
    assert read > 100
    assert time.monotonic() - begun < 60.0
