"""Images of any format that is written: raw float32, SMV, NumPy's (CMP-1)."""

from __future__ import annotations

import math
import zlib
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.inputs.smv import read_smv
from nbnumba.inputs.text import read_bytes

Shape = tuple[int, int]
NPY, NPZ, SMV = b"\x93NUMPY", b"PK\x03\x04", b"{\nHEADER_BYTES"


def read_image(path: str | Path, shape: Shape | None = None) -> NDArray[np.float64]:
    """The pixels of an image, [slow, fast], whatever its kind: photons, or the counts of an SMV file.

    path: of the file; for one of several arrays in an .npz file, ``FILE.npz:NAME``. shape: of a raw image, which is taken for square
    without it. Raises InputFileError.
    """
    name, colon, array = str(path).rpartition(":")
    file = Path(name if colon and name.endswith(".npz") else path)
    data = read_bytes(file)
    if data.startswith((NPY, NPZ)):
        pixels = from_numpy(file, data, array if file != Path(path) else "")
    elif data.startswith(SMV):
        pixels = read_smv(file).pixels
    else:
        pixels = from_raw(file, data, shape)
    with np.errstate(all="ignore"):
        photons = pixels.astype(np.float64)
    if strange := np.count_nonzero(~(np.abs(photons) <= np.finfo(np.float32).max)):
        raise InputFileError(file, f"has {strange} pixels that are not finite numbers, or too large for an image")
    return photons


def is_counts(path: str | Path) -> bool:
    """Whether an image file holds counts, not photons."""
    file = Path(path)
    return file.is_file() and read_bytes(file).startswith(SMV)


def from_numpy(path: Path, data: bytes, name: str) -> NDArray[np.generic]:
    """The array of an .npy file, or one of those of an .npz file: the one named, or the only image there is."""
    try:
        found = np.load(BytesIO(data), allow_pickle=False)
        arrays = {"": found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
    except (ValueError, OSError, EOFError, KeyError, OverflowError, MemoryError, BadZipFile, zlib.error) as error:
        raise InputFileError(path, f"is not a NumPy file that can be read: {error or type(error).__name__}") from None
    images = {key: a for key, a in arrays.items() if a.ndim == 2 and a.size and a.dtype.kind in "buif"}
    if (name and name not in images) or (not name and len(images) != 1):
        there = f"there are {', '.join(sorted(images))}; name one as {path.name}:NAME" if images else "there is no two-dimensional array"
        raise InputFileError(path, f"{f'has no image {name!r}' if name else 'does not hold one image'}; {there}")
    return images[name] if name else next(iter(images.values()))


def from_raw(path: Path, data: bytes, shape: Shape | None) -> NDArray[np.float32]:
    """float32 pixels row by row."""
    pixels, rest = divmod(len(data), 4)
    edge = math.isqrt(pixels)
    slow, fast = shape or (edge, edge)
    if rest or not pixels:
        raise InputFileError(path, f"is no image: neither NumPy's nor SMV, and its {len(data)} bytes are not float32 pixels")
    if slow * fast != pixels:
        wanted = f"{slow} x {fast}" if shape else "square; give --shape SLOW FAST"
        raise InputFileError(path, f"has {pixels} float32 pixels, which are not {wanted}")
    return np.frombuffer(data, np.float32).reshape(slow, fast)
