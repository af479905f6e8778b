"""Small files that once had a reader fail, wait or take all memory: one of each kind, refused like others."""

from __future__ import annotations

import json
import struct
import zipfile
from io import BytesIO

import numpy as np
import pytest
from fuzz.child_process import Child
from fuzz.readers import CRYSTAL, SMALL, image, npy
from geometry_files import expt_content

DIGITS = 10**400
MARK = b"--CIF-BINARY-FORMAT-SECTION--"
CELL = "[crystal]\ncell=[1e-8,1e-8,1e-8,1.5,1.5,1.5]\n"
FACTORS = f"{CELL}[structure_factors]\ndefault_F=1.0\n"
PDB = (
    b"CRYST1   20.000   23.000   28.000  90.00  90.00  90.00 P 1\n"
    b"ATOM      1  N   C\xc5S A   1       4.138   3.855   4.704  1.00 23.24           N\nEND\n"
)


def npy_with(header: str) -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + bytes(80)


def npz_with_text() -> bytes:
    with zipfile.ZipFile(buffer := BytesIO(), "w") as file:
        file.writestr("readme.txt", "hello")
        file.writestr("x.npy", npy(np.zeros((4, 4))))
    return buffer.getvalue()


def expt(**changes: object) -> bytes:
    content = expt_content()
    content["beam"][0] |= changes
    return json.dumps(content).encode()


def cbf(old: bytes, new: bytes) -> bytes:
    whole = image("o.cbf")
    assert old in whole
    return whole.replace(old, new, 1)


def configuration(text: str) -> tuple[str, str, bytes]:
    return "explain --config c.toml", "c.toml", text.encode()


REFUSED = {
    ".expt, integer of 400 digits": (f"explain --expt i.expt {CRYSTAL}", "i.expt", expt(wavelength=DIGITS)),
    ".expt, nested": (f"explain --expt i.expt {CRYSTAL}", "i.expt", b'{"a":' * 100_000),
    "configuration, F of 400 digits": configuration(f"{CELL}[structure_factors]\nhkl=[[1,0,0]]\nF=[{DIGITS}]\n"),
    "configuration, oversample of 400 digits": configuration(f"{FACTORS}[sampling]\noversample={DIGITS}\n"),
    "configuration, mask of shape inf": configuration(f'{FACTORS}[sampling]\nmask={{shape=[inf,8],packed="eJz7/x8CACPkB/k="}}\n'),
    "npy, header cut": ("convert i.npy o.npy", "i.npy", npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (4,5")),
    "npy, True in its shape": ("convert i.npy o.npy", "i.npy", npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (True,20), }")),
    "cbf, mark of the binary section": ("convert i.cbf o.npy", "i.cbf", cbf(MARK, MARK[:-1])),
    "bundle, nested": ("bundle verify bundle", "bundle/bundle.json", b"[" * 100_000),
    "bundle, half a character": ("bundle verify bundle", "bundle/bundle.json", b'{"format": 1, "repeat": ["run", "\\ud800"]}'),
    "experiment, zero byte": ("explain --experiment e.toml", "e.toml", rb'options = "-hkl a\u0000b"'),
    "trace, nested": ("compare-traces t.txt t.txt", "t.txt", b'{"a":' * 100_000),
    "sweep's record, nested": (f"sweep {CRYSTAL} {SMALL} --images 1 --width 1 -o scan.cbf", "scan.cbf.json", b"[" * 100_000),
    "dump, sign twice": (f"explain -dump i.bin -cell 50 -N 3 {SMALL}", "i.bin", b"--1 1 0 1 0 1\n\f" + bytes(216)),
}  # fmt: skip
# Pixels are read where what is said of them is odd, and text that is no part of what is read does not matter.
READ = {
    "cbf, number with two points": ("convert i.cbf o.npy", "i.cbf", cbf(b"# Wavelength 1 A", b"# Wavelength 1.2.3 A")),
    "cbf, point for a number": ("convert i.cbf o.npy", "i.cbf", cbf(b"# Wavelength 1 A", b"# Wavelength . A")),
    "cbf, distance beyond all": ("convert i.cbf o.npy", "i.cbf", cbf(b"# Detector_distance 0.1 m", b"# Detector_distance 1e999 m")),
    "npz with a text in it": ("convert i.npz o.npy", "i.npz", npz_with_text()),
    "pdb, Latin-1 in a name": (f"explain --model i.pdb -dmin 4 -N 3 {SMALL}", "i.pdb", PDB),
}


@pytest.mark.spec("CLI-35")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(child: Child, name: str) -> None:
    words, file, content = REFUSED[name]
    found = child.run(words.split(), {file: content}, (2,), ())
    assert found.problem == "", found.said


@pytest.mark.spec("CLI-35")
@pytest.mark.parametrize("name", READ)
def test_what_is_read_or_refused(child: Child, name: str) -> None:
    words, file, content = READ[name]
    found = child.run(words.split(), {file: content}, (0, 2), ("o.npy",))
    assert found.problem == "", found.said
