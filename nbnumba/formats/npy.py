"""NumPy's files, .npy and .npz: only what is asked for is unpacked, and only what fits its file (FMT-42)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import read_bytes
from nbnumba.formats.format import Format, ImageFile, Pixels, begins_with

LONGEST_HEADER = 20_000  # bytes; NumPy reads 10,000
MOST_MEMBERS = 1000  # whose headers are looked at
MOST_BYTES = 2**31  # of a packed image


class Header(NamedTuple):
    """Of an array: what its file says before the numbers."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]

    @property
    def is_image(self) -> bool:
        """Whether it has two edges, and numbers."""
        return self.has_edges(2)

    def has_edges(self, *numbers: int) -> bool:
        """Whether it has so many edges, and numbers."""
        return len(self.shape) in numbers and all(type(n) is int and n > 0 for n in self.shape) and self.dtype.kind in "buif"

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return prod(self.shape) * self.dtype.itemsize

    def pixels(self, numbers: bytes) -> NDArray[Any]:
        """[slow, fast]"""
        if len(numbers) < self.size:
            raise ValueError(f"it is cut short: {len(numbers)} bytes of numbers where its header promises {self.size}; fetch it again")
        found = np.frombuffer(numbers, self.dtype, prod(self.shape)).reshape(self.shape, order="F" if self.by_columns else "C")
        return found.astype(self.dtype.newbyteorder("="), order="C", copy=False)


def read_npy(path: Path, edges: tuple[int, ...] = (2,)) -> NDArray[Any]:
    """The image that an .npy file is; edges: how many it may have, 3 being [panel, slow, fast]. Raises InputFileError."""
    stream = BytesIO(read_bytes(path))
    with understood(path):
        header = header_of(stream)
        _, header = the_one(path, {"": header} if header.has_edges(*edges) else {}, "")
        return header.pixels(stream.read())


def read_npz(path: Path, name: str) -> NDArray[Any]:
    """Of the arrays in an .npz file the one named, or the only image there is. Raises InputFileError."""
    with understood(path), ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist() if member.filename.endswith(".npy")}
        looked_at = {name: members[name]} if name in members else dict(islice(members.items(), MOST_MEMBERS))
        headers = {key: header_of(BytesIO(beginning(archive, member))) for key, member in looked_at.items()}
        found, header = the_one(path, {key: header for key, header in headers.items() if header.is_image}, name)
        if header.size > min(members[found].file_size, MOST_BYTES):
            raise ValueError(f"{found} has {header.size} bytes of numbers, more than there are or an image has")
        with archive.open(members[found]) as stream:
            header_of(stream)
            return header.pixels(stream.read(header.size))


def beginning(archive: ZipFile, member: ZipInfo) -> bytes:
    """As much of a member as a header may take."""
    with archive.open(member) as stream:
        return stream.read(LONGEST_HEADER)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Whatever a damaged file is stumbled over with, in one line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # NumPy warns of files that Python 2 wrote
            yield
    except InputFileError:
        raise
    except Exception as error:
        raise InputFileError(path, f"is not a NumPy file that can be read: {str(error)[:200] or type(error).__name__}") from None


def header_of(stream: IO[bytes]) -> Header:
    """The header of an array, which is read up to its numbers."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"it is of version {version[0]}.{version[1]}; those from 1 to 3 are read")
    try:
        return Header(*(npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream))
    except Exception:  # of a parser of Python's
        raise ValueError("its header cannot be understood") from None


def the_one(path: Path, images: dict[str, Header], name: str) -> tuple[str, Header]:
    """The image that is named, or the only one. Raises InputFileError."""
    if (name and name not in images) or (not name and len(images) != 1):
        there = f"there are {', '.join(sorted(images))}; name one as {path.name}:NAME" if images else "there is no two-dimensional array"
        raise InputFileError(path, f"{f'has no image {name!r}' if name else 'does not hold one image'}; {there}")
    return next(iter(images.items())) if not name else (name, images[name])


def write(pixels: Pixels, exposure: object) -> bytes:
    buffer = BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


NPY = Format(
    name="NumPy",
    endings=(".npy",),
    understand=begins_with(b"\x93NUMPY"),
    read=lambda path, wanted: ImageFile(read_npy(path), None),
    write=write,
    panels=True,
)
NPZ = Format(
    name="NumPy (.npz)",
    endings=(".npz",),
    understand=begins_with(b"PK\x03\x04"),
    read=lambda path, wanted: ImageFile(read_npz(path, wanted.name), None),
    named=True,
)
