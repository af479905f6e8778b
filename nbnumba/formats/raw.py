"""Raw images: float32 photons row by row, in this machine's byte order, and nothing else (FMT-4)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nbnumba.errors import InputFileError
from nbnumba.files.text import read_bytes
from nbnumba.formats.format import Format, ImageFile, Pixels, Wanted


def read(path: Path, wanted: Wanted) -> ImageFile:
    """The pixels, square where no shape is given. Raises InputFileError."""
    data = read_bytes(path)
    pixels, rest = divmod(len(data), 4)
    edge = math.isqrt(pixels)
    slow, fast = wanted.shape or (edge, edge)
    if rest or not pixels:
        raise InputFileError(
            path, f"is no image: neither NumPy's nor SMV, and its {len(data)} bytes are not float32 pixels, nor a CBF, HDF5 or TIFF file"
        )
    if slow * fast != pixels:
        asked = f"{slow} x {fast}" if wanted.shape else "square; give --shape SLOW FAST"
        raise InputFileError(path, f"has {pixels} float32 pixels, which are not {asked}")
    return ImageFile(np.frombuffer(data, np.float32).reshape(slow, fast), None)


def write(pixels: Pixels, exposure: object) -> bytes:
    return pixels.astype(np.float32).tobytes()


# A file that is nothing else may be one.
RAW = Format(name="raw", endings=(".bin",), understand=lambda first, path: True, read=read, write=write, counts=None, panels=True)
