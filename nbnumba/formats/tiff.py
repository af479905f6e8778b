"""TIFF images of greys (FMT-43).

Source: Adobe, "TIFF" 6.0. Pillow finds the tags and unpacks; what is not packed is taken as it is stored, since Pillow has no pixels of
float64 and several other types.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.text import read_bytes
from nbnumba.formats.format import Format, ImageFile, Pixels, begins_with

ORDERS = {b"I": "<", b"M": ">"}
# Tags.
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES = 256, 257, 258, 259, 262, 266, 273, 274, 277
STRIP_BYTES, FORMAT = 279, 339
KINDS = {1: "u", 2: "i", 3: "f"}  # of FORMAT
PACKED = ("u1", "i1", "u2", "i2", "u4", "i4", "f4")  # what Pillow has pixels for


def read_tiff(path: Path) -> NDArray[Any]:
    """[slow, fast]. Raises InputFileError."""
    data = read_bytes(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            return pixels_of(data)
    except Exception as error:  # Pillow raises whatever its parsing stumbles over
        raise InputFileError(path, f"is not a TIFF image that can be read: {str(error)[:200] or type(error).__name__}") from None


def pixels_of(data: bytes) -> NDArray[Any]:
    tags = directory(data)
    if tags.next:
        raise ValueError("it holds more than one image")
    if tags.get(SAMPLES, 1) != 1:
        raise ValueError(f"its pixels have {tags[SAMPLES]} samples, those of greys one")
    form, bits = (np.ravel(tags.get(tag, 1))[0] for tag in (FORMAT, BITS))
    if form not in KINDS:
        raise ValueError(f"its pixels are no numbers (SampleFormat {form})")
    if bits % 8 == 0 and tags.get(COMPRESSION, 1) == 1 and tags.get(FILL_ORDER, 1) == 1 and STRIPS in tags:
        return plain(data, tags, np.dtype(f"{ORDERS[data[:1]]}{KINDS[form]}{bits // 8}"))
    name = "?" if bits == 1 else f"{KINDS[form]}{bits / 8:g}"
    if name not in ("?", *PACKED) or tags.get(PHOTOMETRIC) != 1 or tags.get(ORIENTATION, 1) != 1:
        raise ValueError("it is packed, and not upright with greys (PhotometricInterpretation 1) of 1, 8, 16 or 32 bits")
    return unpacked(data).astype(name)


def directory(data: bytes) -> Any:
    """The tags of the first image."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags, stream = ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8]), BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def plain(data: bytes, tags: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pixels that are not packed: the strips one after the other."""
    shape = tags[LENGTH], tags[WIDTH]
    wanted, found = dtype.itemsize * shape[0] * shape[1], bytearray()
    for start, count in zip(tags[STRIPS], tags.get(STRIP_BYTES, (wanted,)), strict=False):
        found += data[start : start + count]
        if len(found) >= wanted > 0:
            return np.frombuffer(found, dtype, shape[0] * shape[1]).reshape(shape).astype(dtype.newbyteorder("="))
    raise ValueError(f"it is cut short: {len(found)} bytes of pixels where its tags promise {wanted}; fetch it again")


def unpacked(data: bytes) -> NDArray[Any]:
    """The pixels that Pillow makes of it."""
    from PIL import Image

    with without_stderr(), Image.open(BytesIO(data), formats=["TIFF"]) as image:
        return np.asarray(image)


@contextmanager
def without_stderr() -> Iterator[None]:
    """libtiff, in C, writes there what Pillow raises as well."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def write(pixels: Pixels, exposure: object) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue()


TIFF = Format(
    name="TIFF",
    endings=(".tif", ".tiff"),
    understand=begins_with(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    read=lambda path, wanted: ImageFile(read_tiff(path), None),
    write=write,
    panels=True,
)
