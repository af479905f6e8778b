"""Masks and numbers that geometry files name, in HDF5 files (FMT-81, FMT-103)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import first_bytes
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File


def stored_mask(path: Path, name: str) -> NDArray[np.integer[Any]]:
    """The whole numbers of a dataset. Raises InputFileError."""
    numbers = np.asarray(stored(path, name, f"the mask {name}", Hdf5File.values))
    if numbers.dtype.kind not in "biu":
        raise InputFileError(path, f"the mask {name} holds no whole numbers")
    return numbers


def stored_numbers(path: Path, name: str) -> NDArray[np.float64]:
    """The finite numbers of a dataset. Raises InputFileError."""
    return np.asarray(stored(path, name, name, Hdf5File.numbers))


def require_hdf5(path: Path) -> None:
    """Refuse a file that is not there, or not HDF5. Raises InputFileError."""
    first_bytes(path, 1)  # says it best if there is no file
    Hdf5File(path).close()


def stored(path: Path, name: str, called: str, read: Callable[[Hdf5File, Any, str], Any]) -> Any:
    """What a dataset holds, called so in messages. Raises InputFileError."""
    first_bytes(path, 1)  # says it best if there is no file
    with Hdf5File(path) as file:
        try:
            parent, _, last = name.rstrip("/").rpartition("/")
            values = read(file, file.find(parent), last)
        except Hdf5Error as error:
            raise InputFileError(path, f"{called} cannot be read: {error}") from None
    if values is None:
        raise InputFileError(path, f"{called} is missing")
    return values
