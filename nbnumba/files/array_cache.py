"""Arrays that take time to make from a file, kept for the next file with the same bytes (FMT-16).

A cache can only save time: whatever goes wrong with it is passed over, and the file is there to be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.files.caches import TABLES


def key(version: str, data: bytes) -> str:
    """The name of what is made from ``data``; version: of the way in which it is made."""
    digest = hashlib.sha256(f"{version}\n".encode())
    digest.update(data)
    return digest.hexdigest()


def load(key: str, names: Sequence[str]) -> list[NDArray[Any]] | None:
    """The arrays of these names; None if they are not there, or not whole."""
    try:
        with TABLES.open(key) as file, np.load(file, allow_pickle=False) as arrays:  # which refuses what does not have its checksum
            return [arrays[name] for name in names]
    except Exception:
        return None


def store(key: str, **arrays: Any) -> None:
    """Keep arrays by their names."""
    with suppress(Exception):
        TABLES.store(key, lambda file: np.savez(file, **arrays))
