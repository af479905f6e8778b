"""The images of nanoBragg in tests/golden, beside the structure factors that they were made with, written out as its -hkl takes them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from conftest import TESTS

STORED = TESTS / "golden"
TABLE = "toy_p43212"


@cache
def own_golden() -> Path:
    """A folder as NBNUMBA_GOLDEN names one, until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="golden-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in STORED.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / f"{TABLE}.hkl").write_text(table())
    return folder


def table() -> str:
    """Lines h k l F of every reflection, from one of each that point group 4/mmm makes equal."""
    with np.load(STORED / f"{TABLE}.npz") as stored:
        unique = zip(stored["hkl"].tolist(), (stored["F_times_10000"] / 1e4).tolist(), strict=True)
    rows = {
        (x * first, y * second, z * l): F
        for (h, k, l), F in unique
        for (first, second), x, y, z in product(((h, k), (k, h)), (1, -1), (1, -1), (1, -1))
    }
    return "".join(f"{h} {k} {l} {F:.4f}\n" for (h, k, l), F in sorted(rows.items()))
