"""Images of any format that is read (CMP-1, FMT-24)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.formats.format import ImageFile, ImageStack, Pixels, ScanFile, Shape, Wanted, with_geometry
from nbnumba.formats.raw import RAW
from nbnumba.formats.registry import by_content, holds_several
from nbnumba.formats.smv import SMV


def read_image(path: str | Path, shape: Shape | None = None) -> NDArray[np.float64]:
    """The pixels of an image, [slow, fast], whatever its kind: photons, or counts.

    path: of the file; for one of several images ``FILE.npz:NAME`` or ``FILE.nxs:NUMBER``. shape: of a raw image, which is taken for square
    without it. Raises InputFileError.
    """
    return finite(path, read_image_file(path, shape=shape).pixels)


def finite(path: str | Path, pixels: Pixels) -> NDArray[np.float64]:
    """Pixels as numbers to work with. Raises InputFileError where they are not."""
    require_finite(path, pixels)
    return pixels.astype(np.float64)


def require_finite(path: str | Path, pixels: Pixels) -> None:
    """Refuse what cannot be the pixels of an image. Raises InputFileError."""
    most = np.finfo(np.float32).max
    if pixels.dtype.kind == "f" and (strange := pixels.size - np.count_nonzero((pixels <= most) & (pixels >= -most))):
        raise InputFileError(split(path)[0], f"has {strange} pixels that are not finite numbers, or too large for an image")


def read_image_file(path: str | Path, number: int | None = None, shape: Shape | None = None, dataset: str = "") -> ImageFile:
    """An image with what its file says of it; number: of the image, from 1, in a file of several; dataset: where HDF5 files have it.

    Raises InputFileError.
    """
    file, name = split(path)
    kind = by_content(file)
    if kind.scan is not None:
        return from_scan(kind.scan, file, name, number, dataset)
    if number not in (None, 1):
        raise InputFileError(file, f"holds one image; there is no number {number}")
    assert kind.read is not None
    return kind.read(file, Wanted(name, shape))


def split(path: str | Path) -> tuple[Path, str]:
    """File and name of the image in it, which may be empty."""
    name, colon, image = str(path).rpartition(":")
    return (Path(name), image) if colon and holds_several(Path(name)) else (Path(path), "")


def is_scan(path: str | Path) -> bool:
    """Whether a file that is there is of a format that holds a scan."""
    file = split(path)[0]
    return file.is_file() and by_content(file).scan is not None


def is_counts(path: str | Path, dataset: str = "") -> bool:
    """Whether an image file holds counts, not photons."""
    file = split(path)[0]
    kind = by_content(file) if file.is_file() else RAW
    if kind.scan is None:
        return kind.counts is not None and read_image_file(path).pixels.dtype.kind in "iu"
    with open_images(file, dataset) as stack:
        return stack.holds_counts


def is_smv(path: str | Path) -> bool:
    """Whether an image file has a header of SMV's."""
    return by_content(split(path)[0]) is SMV


def is_geometry(path: str | Path) -> bool:
    """Whether an image file of a format other than SMV places a detector."""
    file = split(path)[0]
    return file.is_file() and (kind := by_content(file)) is not SMV and kind.geometry != "none"


def open_images(path: Path, dataset: str = "") -> ImageStack:
    """The images of a file of several. Raises InputFileError."""
    scan = by_content(path).scan
    assert scan is not None
    return scan.open(path, dataset)


def from_scan(scan: ScanFile, path: Path, name: str, number: int | None, dataset: str = "") -> ImageFile:
    """The image named or numbered, or the only one, of a file that holds a scan."""
    if name and not name.isdecimal():
        raise InputFileError(path, f"has no image {name!r}; name one by its number, as {path.name}:1")
    with scan.open(path, dataset) as file:
        if name and number not in (None, int(name)):
            raise InputFileError(path, f"image {name} is named, and number {number} asked for; give one of them")
        wanted = int(name) if name else number
        if wanted is None and len(file) != 1:
            raise InputFileError(path, f"holds {len(file)} images; name one as {path.name}:NUMBER")
        return image_of(file, wanted or 1)


def image_of(file: ImageStack, number: int) -> ImageFile:
    """An image of several that are open."""
    return with_geometry(file.pixels(number), lambda: file.exposure(number))
