"""Lists and tables in text: what is read, in which encoding, and what of numbers beyond all measure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbnumba import InputFileError
from nbnumba.amplitudes.dump import read_dump
from nbnumba.amplitudes.hkl import read_hkl
from nbnumba.errors import ParameterError
from nbnumba.experiment.sources import FARTHEST, Sources
from nbnumba.files.text import first_bytes, read_text
from nbnumba.geometry.crystfel import read_geom
from nbnumba.geometry.matrix import read_matrix
from nbnumba.geometry.source_table import read_sources
from nbnumba.geometry.xds import read_xds

XDS_INP = """! 5 \xb5m crystal
 DETECTOR_DISTANCE= 100.0 ! f\xfcnf
 ORGX= 20 ORGY= 30
 NX= 40 NY= 50 QX= 0.1 QY= 0.1
 DIRECTION_OF_DETECTOR_X-AXIS= 1 0 0
 DIRECTION_OF_DETECTOR_Y-AXIS= 0 1 0
 INCIDENT_BEAM_DIRECTION= 0 0 1
 ROTATION_AXIS= 1 0 0
 OSCILLATION_RANGE= 0.5
 X-RAY_WAVELENGTH= 1.0
"""
GEOM = """; 5 \xb5m
photon_energy = 9000 ; f\xfcnf
clen = 0.1
res = 10000
p0/min_fs = 0
p0/max_fs = 9
p0/min_ss = 0
p0/max_ss = 9
p0/corner_x = -5
p0/corner_y = -5
"""
READERS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "hkl": (read_hkl, "# 5 \xb5m\n1 2 3 4 # f\xfcnf\n", "# \n1 2 3 4\xb5\n"),
    "sources": (read_sources, "# \xb5\n1 0 0 # \xb5\n", "# ok\n1 0 \xb5\n"),
    "xds": (read_xds, XDS_INP, XDS_INP.replace("100.0", "\xb5")),
    "geom": (lambda path: read_geom(path, None), GEOM, GEOM.replace("0.1", "\xb5")),
}


@pytest.mark.spec("CLI-42")
@pytest.mark.parametrize("kind", READERS)
def test_comments_may_be_in_any_encoding_and_numbers_may_not(kind: str, tmp_path: Path) -> None:
    read, good, bad = READERS[kind]
    file = tmp_path / "a.txt"
    file.write_bytes(good.encode("utf-8"))
    expected = read(file)
    file.write_bytes(good.encode("latin-1"))
    np.testing.assert_equal(repr(read(file)), repr(expected))
    file.write_bytes(bad.encode("latin-1"))
    with pytest.raises(InputFileError, match=r"a.txt, line \d: byte 0x(b5|fc) is not UTF-8 text"):
        read(file)


@pytest.mark.spec("CLI-42")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 2 3 4\0", "is not a text file; it holds zero bytes (binary, or UTF-16)"),
        ("1 2 3 4".encode("utf-16"), "is not a text file; it holds zero bytes (binary, or UTF-16)"),
        ("\ufeff\u4e01".encode("utf-16-le"), "is UTF-16; write it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "byte 0x89 is not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("read", [read_matrix, *(read for read, *_ in READERS.values())])
def test_what_is_no_text_is_refused(read: Callable[[Path], Any], content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputFileError, match=re.escape(message)):
        read(tmp_path / "a.txt")


@pytest.mark.spec("CLI-42")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_devices_which_may_have_no_end_are_refused(device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"there is no {device} here")
    with pytest.raises(InputFileError, match=f"{device}: is a device, not a file"):
        read_text(device)
    with pytest.raises(InputFileError, match="is a device"):
        first_bytes(device, 4)


@pytest.mark.spec("FMT-1")
@pytest.mark.parametrize(("first", "second"), [("4", "5"), ("5", "4")])
def test_a_reflection_with_two_amplitudes_is_refused_whichever_is_larger(first: str, second: str, tmp_path: Path) -> None:
    file = tmp_path / "a.hkl"
    file.write_text(f"0 0 1 9\n1 2 3 {first}\n0 0 2 9\n1 2 3 {second}\n")
    with pytest.raises(InputFileError, match=f"a.hkl, line 4: reflection 1 2 3 has F = {second} here and F = {first} in line 2"):
        read_hkl(file)
    file.write_text("1 2 3 4\n1 2 3 4\n")
    assert read_hkl(file)[1].tolist() == [4.0, 4.0]


DIGITS = "9" * 400


@pytest.mark.spec("FMT-1", "FMT-2", "FMT-10", "FMT-14")
@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_hkl, f"{DIGITS} 0 0 5\n", f"line 1: h = {DIGITS[:60]} is not a finite number"),
        (read_hkl, f"{DIGITS[:308]} 0 0 5\n", f"line 1: h = {DIGITS[:60]} is larger than 100000"),
        (read_hkl, f"1 0 0 {DIGITS}\n", f"line 1: F = {DIGITS[:60]} is not a finite number"),
        (read_matrix, f"1 {DIGITS}\n", f"line 1: {DIGITS[:60]} is not a finite number"),
        (read_sources, f"{DIGITS} 0 0\n", f"line 1: X = {DIGITS[:60]} is out of range; -1e+100 to 1e+100 is possible"),
        (read_sources, "1e200 1e200 0\n", "line 1: X = 1e200 is out of range"),
        (read_sources, "1 0 0 1e308\n", "line 1: weight = 1e308 is out of range; 0 to 1e+100 is possible"),
        (read_dump, f"0 {DIGITS} 0 0 0 0\n\f", "is not a structure factor dump"),
        (read_dump, f"0 {DIGITS * 20} 0 0 0 0\n\f", "is not a structure factor dump"),
        (read_dump, "0 --1 0 0 0 0\n\f", "is not a structure factor dump"),
        (read_dump, "0 999999999 0 0 0 0\n\f", "limits 0 999999999 0 0 0 0 make no table"),
        (read_dump, "-99999 99999 -99999 99999 0 0\n\f", "limits -99999 99999 -99999 99999 0 0 make no table"),
    ],
)
def test_numbers_beyond_all_measure_are_refused(read: Callable[[Path], Any], content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(InputFileError) as caught:
        read(tmp_path / "a.txt")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.spec("EXP-14")
def test_sources_whose_directions_and_sums_would_be_no_numbers_are_refused() -> None:
    place = np.array([[-10.0, 0.0, 0.0]])
    with pytest.raises(ParameterError, match=r"sources.positions: must be at most 1e\+12 m from the crystal"):
        Sources(positions=place * FARTHEST, weights=np.ones(1), wavelengths=np.full(1, 1e-10))
    with pytest.raises(ParameterError, match=r"sources.weights: must be 0 or between 1e-100 and 1e\+100, and not all of them 0"):
        Sources(positions=place, weights=np.full(1, 1e308), wavelengths=np.full(1, 1e-10))
