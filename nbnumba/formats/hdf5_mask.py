"""Masks that geometry files name, in HDF5 files (FMT-81)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File


def stored_mask(path: Path, name: str) -> NDArray[np.integer[Any]]:
    """The whole numbers of a dataset. Raises InputFileError."""
    with Hdf5File(path) as file:
        try:
            parent, _, last = name.rstrip("/").rpartition("/")
            values = file.values(file.find(parent), last)
        except Hdf5Error as error:
            raise InputFileError(path, f"the mask {name} cannot be read: {error}") from None
    if values is None:
        raise InputFileError(path, f"the mask {name} is missing")
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "biu":
        raise InputFileError(path, f"the mask {name} holds no whole numbers")
    return numbers
