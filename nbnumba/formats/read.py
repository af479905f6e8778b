"""Images of any format that is read: raw float32, SMV, CBF, NXmx, TIFF, NumPy's (CMP-1, FMT-24)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import first_bytes, read_bytes
from nbnumba.formats.npy import NPY, NPZ, read_npy, read_npz
from nbnumba.formats.smv_read import START as SMV
from nbnumba.formats.smv_read import exposure_of_smv, read_smv
from nbnumba.formats.tiff import STARTS as TIFF
from nbnumba.formats.tiff import read_tiff
from nbnumba.geometry.exposure import Exposure

if TYPE_CHECKING:
    from nbnumba.formats.hdf5_images import Hdf5Images
    from nbnumba.formats.nxmx_read import NxmxFile

Shape = tuple[int, int]
CBF, HDF5 = b"###CBF", b"\x89HDF\r\n\x1a\n"
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
    require_finite(path, pixels)
    return pixels.astype(np.float64)


def require_finite(path: str | Path, pixels: NDArray[Any]) -> None:
    """Refuse what cannot be the pixels of an image. Raises InputFileError."""
    most = np.finfo(np.float32).max
    if pixels.dtype.kind == "f" and (strange := pixels.size - np.count_nonzero((pixels <= most) & (pixels >= -most))):
        raise InputFileError(split(path)[0], f"has {strange} pixels that are not finite numbers, or too large for an image")


def read_picture(path: str | Path, number: int | None = None, shape: Shape | None = None, dataset: str = "") -> Picture:
    """An image with what its file says of it; number: of the image, from 1, in a file of several; dataset: where HDF5 files have it.

    Raises InputFileError.
    """
    file, name = split(path)
    start = first_bytes(file, len(SMV))
    if number not in (None, 1) and not start.startswith(HDF5):
        raise InputFileError(file, f"holds one image; there is no number {number}")
    if start.startswith((NPY, NPZ)):
        return Picture(read_npy(file) if start.startswith(NPY) else read_npz(file, name), None)
    if start.startswith(SMV):
        image = read_smv(file)
        return with_geometry(image.pixels, lambda: exposure_of_smv(image))
    if start.startswith(CBF):
        from nbnumba.formats.cbf_pixels import read_cbf
        from nbnumba.formats.cbf_read import exposure_of_cbf

        pixels, header = read_cbf(file)
        return with_geometry(pixels, lambda: exposure_of_cbf(file, header, pixels.shape))
    if start.startswith(HDF5):
        return from_nxmx(file, name, number, dataset)
    if start.startswith(TIFF):
        return Picture(read_tiff(file), None)
    return Picture(from_raw(file, read_bytes(file), shape), None)


def split(path: str | Path) -> tuple[Path, str]:
    """File and name of the image in it, which may be empty."""
    name, colon, image = str(path).rpartition(":")
    return (Path(name), image) if colon and name.endswith(OF_SEVERAL) else (Path(path), "")


def is_hdf5(path: str | Path) -> bool:
    """Whether a file that is there is an HDF5 file."""
    file = split(path)[0]
    return file.is_file() and first_bytes(file, len(HDF5)) == HDF5


def is_counts(path: str | Path, dataset: str = "") -> bool:
    """Whether an image file holds counts, not photons."""
    file = split(path)[0]
    start = first_bytes(file, len(SMV)) if file.is_file() else b""
    if start.startswith(HDF5):
        from nbnumba.formats.nxmx_read import open_images

        with open_images(file, dataset) as stack:
            return stack.holds_counts
    if start.startswith(SMV):
        return read_smv(file).pixels.dtype.kind in "iu"
    return start.startswith(CBF)


def is_smv(path: str | Path) -> bool:
    """Whether an image file has a header of SMV's."""
    return first_bytes(split(path)[0], len(SMV)) == SMV


def from_nxmx(path: Path, name: str, number: int | None, dataset: str = "") -> Picture:
    """The image named or numbered, or the only one, of an NXmx file or of a dataset of another HDF5 file."""
    from nbnumba.formats.nxmx_read import open_images

    if name and not name.isdecimal():
        raise InputFileError(path, f"has no image {name!r}; name one by its number, as {path.name}:1")
    with open_images(path, dataset) as file:
        if name and number not in (None, int(name)):
            raise InputFileError(path, f"image {name} is named, and number {number} asked for; give one of them")
        wanted = int(name) if name else number
        if wanted is None and len(file) != 1:
            raise InputFileError(path, f"holds {len(file)} images; name one as {path.name}:NUMBER")
        return picture_of(file, wanted or 1)


def picture_of(file: NxmxFile | Hdf5Images, number: int) -> Picture:
    """An image of several that are open."""
    return with_geometry(file.pixels(number), lambda: file.exposure(number))


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
