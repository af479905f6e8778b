"""Structure factor dumps of nanoBragg: a dense table of doubles behind a line of limits (FMT-14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.experiment.reflections import LARGEST_INDEX
from nbnumba.files.text import read_bytes

MOST_ENTRIES = 2**31
WHOLE = re.compile(rb"-?\d{1,9}")


def read_dump(path: str | Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Every index of the table (n, 3) and its amplitude (n,). Raises InputFileError."""
    data = read_bytes(path)
    line, feed, table = data.partition(b"\n\f")
    words = line.split()
    if not feed or len(words) != 6 or not all(map(WHOLE.fullmatch, words)):
        raise InputFileError(path, "is not a structure factor dump; expected six limits and a form feed first")
    limits = np.array([int(word) for word in words]).reshape(3, 2)
    shape = limits[:, 1] - limits[:, 0] + 1
    if shape.min() < 1 or np.abs(limits).max() > LARGEST_INDEX or np.prod(shape + 1.0) > MOST_ENTRIES:
        raise InputFileError(path, f"limits {line.decode('ascii')} make no table")
    expected = 8 * int(np.prod(shape + 1))
    if len(table) != expected:
        raise InputFileError(path, f"holds {len(table)} bytes of amplitudes where its limits promise {expected}")
    F = np.frombuffer(table, np.float64).reshape(shape + 1)[:-1, :-1, :-1]
    if not np.isfinite(F).all():
        raise InputFileError(path, "holds amplitudes that are not finite numbers")
    return (np.argwhere(np.ones(shape, bool)) + limits[:, 0]).astype(np.int32), F.ravel().copy()


def dump_blocks(hkl: NDArray[np.int32], F: NDArray[np.float64], default_F: float) -> Iterator[bytes]:
    """A dump of (n, 3) indices and (n,) amplitudes, padded by one row of zeros along each axis as nanoBragg's."""
    low, high = hkl.min(axis=0).astype(int), hkl.max(axis=0).astype(int)
    table = np.zeros(high - low + 2)
    table[:-1, :-1, :-1] = default_F
    table[tuple((hkl - low).T)] = F
    limits = " ".join(f"{a} {b}" for a, b in zip(low, high, strict=True))
    yield f"{limits}\n\f".encode("ascii")
    for plane in table:
        yield plane.tobytes()
