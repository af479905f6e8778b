"""Masks of any image format (CLI-40): which pixels are rendered."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.formats.npy import NPY, read_npy
from nbnumba.formats.raw import RAW
from nbnumba.formats.read import read_image_file, split
from nbnumba.formats.registry import by_content

OF_PANELS = (2, 3)  # edges of an array


class Mask(NamedTuple):
    """rendered: [slow, fast], or [panel, slow, fast], true where to render; rule: what that is read from, in words."""

    rendered: NDArray[np.bool_]
    rule: str


def read_mask(path: str | Path) -> Mask:
    """The mask that an image is. Raises InputFileError."""
    file, name = split(path)
    kind = by_content(file)
    if kind is RAW:
        raise InputFileError(file, "is no mask; SMV, CBF, NXmx, TIFF, NumPy's files and DIALS's masks are read")
    pixels = read_npy(file, OF_PANELS) if kind is NPY else read_image_file(path, 1 if kind.scan and not name else None).pixels
    if kind.marks:
        return Mask(pixels >= 0, "of a CBF or NXmx file those below 0 are masked")
    return Mask(pixels > 0, "those above 0 are rendered")
