"""Structure factor lists in text: ``h k l F``, one reflection a line (FMT-1)."""

from __future__ import annotations

import math
import warnings
from io import StringIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.experiment.reflections import LARGEST_INDEX, contradiction
from nbnumba.files import array_cache as cache
from nbnumba.files.text import decoded, lines, number, read_bytes

WORTH_KEEPING = 200_000  # bytes of text; less is parsed in a few ms
COMMENT = "#"
VERSION = "1"  # of what is kept: another number where the same text is read in another way


def read_hkl(path: str | Path) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Miller indices (n, 3) and amplitudes (n,) in electrons.

    Blank lines and comments (#) are skipped. A reflection may stand twice with the same amplitude. Raises InputFileError with
    the first line that is wrong. What was read from a large file is kept (FMT-16).
    """
    data = read_bytes(path)
    if len(data) < WORTH_KEEPING:
        return checked(path, decoded(path, data, COMMENT))
    key = cache.key(VERSION, data)
    if (kept := cache.load(key, ("hkl", "F"))) is not None:
        hkl, F = kept
        if hkl.dtype == np.int32 and F.dtype == np.float64 and hkl.shape == (F.size, 3):
            return hkl, F
    hkl, F = checked(path, decoded(path, data, COMMENT))
    cache.store(key, hkl=hkl, F=F)
    return hkl, F


def checked(path: str | Path, text: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The reflections of a file's text; InputFileError if they are not what they should be."""
    values = parse(text)
    if values is None or not acceptable(values):
        raise first_problem(path, text)
    hkl, F = values[:, :3].astype(np.int32), values[:, 3].copy()
    refuse_contradictions(path, text, hkl, F)
    return hkl, F


def parse(text: str) -> NDArray[np.float64] | None:
    """All numbers as (n, 4), None where they do not make such a table."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.loadtxt(StringIO(text), dtype=np.float64, ndmin=2)
        except (ValueError, UserWarning):
            return None
    return values if values.shape[1] == 4 else None


def acceptable(values: NDArray[np.float64]) -> bool:
    indices = values[:, :3]
    return bool(np.isfinite(values).all() and (indices == np.rint(indices)).all() and np.abs(indices).max() <= LARGEST_INDEX)


def first_problem(path: str | Path, text: str) -> InputFileError:
    """The first line that is no reflection, and why."""
    for row, line in enumerate(lines(text), 1):
        words = line.partition(COMMENT)[0].split()
        if not words:
            continue
        if len(words) != 4:
            return InputFileError(path, f"expected h k l F, found {len(words)} columns: {line.strip()[:60]!r}", row)
        for name, word in zip("hklF", words, strict=True):
            try:
                value = number(word)
            except ValueError:
                return InputFileError(path, f"{name} = {word[:60]!r} is not a number", row)
            if not math.isfinite(value):
                return InputFileError(path, f"{name} = {word[:60]} is not a finite number", row)
            if name != "F" and value != int(value):
                return InputFileError(path, f"{name} = {word[:60]} is not a whole number", row)
            if name != "F" and abs(value) > LARGEST_INDEX:
                return InputFileError(path, f"{name} = {word[:60]} is larger than {LARGEST_INDEX}", row)
    return InputFileError(path, "holds no reflections; expected lines of h k l F")


def refuse_contradictions(path: str | Path, text: str, hkl: NDArray[np.int32], F: NDArray[np.float64]) -> None:
    """One reflection, one amplitude."""
    if (pair := contradiction(hkl, F)) is not None:
        first, second = pair
        rows = [n for n, line in enumerate(lines(text), 1) if line.partition(COMMENT)[0].strip()]
        index = " ".join(str(v) for v in hkl[first])
        raise InputFileError(
            path, f"reflection {index} has F = {F[second]:g} here and F = {F[first]:g} in line {rows[first]}", rows[second]
        )
