"""Arrays that take time to make from a file, kept for the next file with the same bytes (FMT-16).

A cache can only save time: whatever goes wrong with it is passed over, and the file is there to be read.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = "NBNUMBA_CACHE_DIR"  # environment variable
FILES_KEPT = 20


def key(version: str, data: bytes) -> str:
    """The name of what is made from ``data``; version: of the way in which it is made."""
    digest = hashlib.sha256(f"{version}\n".encode())
    digest.update(data)
    return digest.hexdigest()


def load(kind: str, key: str, names: Sequence[str]) -> list[NDArray[Any]] | None:
    """The arrays of these names; None if they are not there, or not whole."""
    try:
        path = folder(kind) / f"{key}.npz"
        with np.load(path, allow_pickle=False) as arrays:  # which refuses what does not have its checksum
            found = [arrays[name] for name in names]
    except Exception:
        return None
    with suppress(OSError):
        os.utime(path)
    return found


def store(kind: str, key: str, **arrays: Any) -> None:
    """Keep arrays by their names, and drop the files that were not used for longest."""
    with suppress(Exception):
        path = folder(kind) / f"{key}.npz"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f"{key}.{secrets.token_hex(4)}.npz")
        try:
            np.savez(unfinished, **arrays)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        drop_oldest(path.parent)


def drop_oldest(folder: Path) -> None:
    """Leave FILES_KEPT files; another process may be doing the same."""
    used = {}
    for path in folder.glob("*.npz"):
        with suppress(OSError):
            used[path] = path.stat().st_mtime_ns
    for path in sorted(used, key=used.__getitem__, reverse=True)[FILES_KEPT:]:
        path.unlink(missing_ok=True)


def folder(kind: str) -> Path:
    """Where arrays of a kind are kept; OSError if the user wants none to be."""
    chosen = os.environ.get(FOLDER)
    if chosen == "":
        raise OSError(f"{FOLDER} is empty")
    if chosen is not None:
        return Path(chosen) / kind
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (caches if caches.is_absolute() else Path.home() / ".cache") / "nbnumba" / kind
