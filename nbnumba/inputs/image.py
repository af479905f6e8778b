"""Images of any format that is read: raw float32, SMV, CBF, NXmx, TIFF, NumPy's (CMP-1, FMT-24)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.exposure import Exposure
from nbnumba.inputs.smv import exposure_of_smv, read_smv
from nbnumba.inputs.text import first_bytes, read_bytes

Shape = tuple[int, int]
NPY, NPZ, SMV, CBF, HDF5 = b"\x93NUMPY", b"PK\x03\x04", b"{\nHEADER_BYTES", b"###CBF", b"\x89HDF\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*")
OF_SEVERAL = (".npz", ".nxs", ".h5", ".hdf5")  # endings of files that hold several images, one of which may be named


class Picture(NamedTuple):
    """pixels: [slow, fast], of the file's own type; exposure: what the file says of geometry and scan; problem: why it is not taken."""

    pixels: NDArray[Any]
    exposure: Exposure | None
    problem: str = ""


def with_geometry(pixels: NDArray[Any], geometry: Callable[[], Exposure | None]) -> Picture:
    """Pixels with their geometry, which may be bad without harm to them: why is kept for those who ask for it."""
    try:
        return Picture(pixels, geometry())
    except InputFileError as error:
        return Picture(pixels, None, error.problem)


def read_image(path: str | Path, shape: Shape | None = None) -> NDArray[np.float64]:
    """The pixels of an image, [slow, fast], whatever its kind: photons, or counts.

    path: of the file; for one of several images ``FILE.npz:NAME`` or ``FILE.nxs:NUMBER``. shape: of a raw image, which is taken for square
    without it. Raises InputFileError.
    """
    return finite(path, read_picture(path, shape=shape).pixels)


def finite(path: str | Path, pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Pixels as numbers to work with. Raises InputFileError where they are not."""
    with np.errstate(all="ignore"):
        photons = pixels.astype(np.float64)
    if strange := np.count_nonzero(~(np.abs(photons) <= np.finfo(np.float32).max)):
        raise InputFileError(split(path)[0], f"has {strange} pixels that are not finite numbers, or too large for an image")
    return photons


def read_picture(path: str | Path, number: int | None = None, shape: Shape | None = None) -> Picture:
    """An image with what its file says of it; number: of the image, from 1, in a file of several. Raises InputFileError."""
    file, name = split(path)
    start = first_bytes(file, len(SMV))
    if number not in (None, 1) and not start.startswith(HDF5):
        raise InputFileError(file, f"holds one image; there is no number {number}")
    if start.startswith((NPY, NPZ)):
        return Picture(from_numpy(file, read_bytes(file), name), None)
    if start.startswith(SMV):
        image = read_smv(file)
        return with_geometry(image.pixels, lambda: exposure_of_smv(image))
    if start.startswith(CBF):
        from nbnumba.inputs.minicbf import exposure_of_cbf, read_cbf

        pixels, header = read_cbf(file)
        return with_geometry(pixels, lambda: exposure_of_cbf(file, header, pixels.shape))
    if start.startswith(HDF5):
        return from_nxmx(file, name, number)
    if start.startswith(TIFF):
        return Picture(from_tiff(file), None)
    return Picture(from_raw(file, read_bytes(file), shape), None)


def split(path: str | Path) -> tuple[Path, str]:
    """File and name of the image in it, which may be empty."""
    name, colon, image = str(path).rpartition(":")
    return (Path(name), image) if colon and name.endswith(OF_SEVERAL) else (Path(path), "")


def is_counts(path: str | Path) -> bool:
    """Whether an image file holds counts, not photons."""
    file = split(path)[0]
    start = first_bytes(file, len(SMV)) if file.is_file() else b""
    if start.startswith(HDF5):
        from nbnumba.inputs.nxmx import NxmxFile

        with NxmxFile(file) as stack:
            return stack.holds_counts
    return start.startswith((SMV, CBF))


def from_nxmx(path: Path, name: str, number: int | None) -> Picture:
    """The image named or numbered, or the only one."""
    from nbnumba.inputs.nxmx import NxmxFile

    if name and not name.isdecimal():
        raise InputFileError(path, f"has no image {name!r}; name one by its number, as {path.name}:1")
    with NxmxFile(path) as file:
        if name and number not in (None, int(name)):
            raise InputFileError(path, f"image {name} is named, and number {number} asked for; give one of them")
        wanted = int(name) if name else number
        if wanted is None and len(file) != 1:
            raise InputFileError(path, f"holds {len(file)} images; name one as {path.name}:NUMBER")
        return with_geometry(file.pixels(wanted or 1), lambda: file.exposure(wanted or 1))


def from_tiff(path: Path) -> NDArray[Any]:
    """The pixels of a TIFF file with one image of greys."""
    from fabio.tifimage import TifImage

    try:
        pixels = np.asarray(TifImage().read(str(path)).data)
    except Exception as error:  # fabio raises whatever its parsing stumbles over
        raise InputFileError(path, f"is not a TIFF image that can be read: {error or type(error).__name__}") from None
    if pixels.ndim != 2 or not pixels.size or pixels.dtype.kind not in "buif":
        raise InputFileError(path, f"is not a TIFF image of greys: its pixels have shape {pixels.shape} and type {pixels.dtype}")
    return pixels


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
        raise InputFileError(
            path, f"is no image: neither NumPy's nor SMV, and its {len(data)} bytes are not float32 pixels, nor a CBF, HDF5 or TIFF file"
        )
    if slow * fast != pixels:
        wanted = f"{slow} x {fast}" if shape else "square; give --shape SLOW FAST"
        raise InputFileError(path, f"has {pixels} float32 pixels, which are not {wanted}")
    return np.frombuffer(data, np.float32).reshape(slow, fast)
