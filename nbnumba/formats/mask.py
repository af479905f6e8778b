"""Masks of any image format (CLI-40): which pixels are rendered."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import first_bytes
from nbnumba.formats.npy import NPY, NPZ
from nbnumba.formats.read import CBF, HDF5, read_picture, split
from nbnumba.formats.smv_read import START as SMV
from nbnumba.formats.tiff import STARTS as TIFF

DETECTORS = (CBF, HDF5)  # formats in which numbers below 0 stand for what was not counted


class Mask(NamedTuple):
    """rendered: [slow, fast], true where to render; rule: what that is read from, in words."""

    rendered: NDArray[np.bool_]
    rule: str


def read_mask(path: str | Path) -> Mask:
    """The mask that an image is. Raises InputFileError."""
    file, name = split(path)
    start = first_bytes(file, len(SMV))
    if not start.startswith((SMV, NPY, NPZ, *TIFF, *DETECTORS)):
        raise InputFileError(file, "is no mask; SMV, CBF, NXmx, TIFF and NumPy's files are read")
    pixels = read_picture(path, None if name or not start.startswith(HDF5) else 1).pixels
    if start.startswith(DETECTORS):
        return Mask(pixels >= 0, "of a CBF or NXmx file those below 0 are masked")
    return Mask(pixels > 0, "those above 0 are rendered")
