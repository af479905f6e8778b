"""The pixels of a CBF: its binary section, with or without compression (FMT-45).

Source: H. J. Bernstein and A. P. Hammersley, International Tables for Crystallography G (2005), chapters 2.3 and 5.6. Byte offsets are
fabio's, what else CBFlib compresses is CBFlib's. Neither sees more of the file than the compressed pixels: their readers of headers may
search a damaged file for ever.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, NotAvailableError
from nbnumba.files.text import read_bytes

STARTS = b"\x0c\x1a\x04\xd5"  # what stands before the pixels
SECTION = "--CIF-BINARY-FORMAT-SECTION--"
MOST_PIXELS = 2**27
BY_CBFLIB = ("x-CBF_PACKED", "x-CBF_PACKED_V2")  # x-CBF_CANONICAL, when damaged, corrupts CBFlib's memory
PADDING = 16  # zero bytes, more than any one difference takes
TYPES = {
    **{f"unsigned {8 * size}-bit integer": f"u{size}" for size in (1, 2, 4, 8)},
    **{f"signed {8 * size}-bit integer": f"i{size}" for size in (1, 2, 4, 8)},
    **{f"signed {8 * size}-bit real IEEE": f"f{size}" for size in (4, 8)},
}
CLEAN = """###CBF: VERSION 1.5

data_image

_array_data.data
;
--CIF-BINARY-FORMAT-SECTION--
Content-Type: application/octet-stream;
     conversions="{compression}"
Content-Transfer-Encoding: BINARY
X-Binary-Size: {size}
X-Binary-ID: 1
X-Binary-Element-Type: "{element}"
X-Binary-Element-Byte-Order: LITTLE_ENDIAN
X-Binary-Number-of-Elements: {elements}
X-Binary-Size-Fastest-Dimension: {fast}
X-Binary-Size-Second-Dimension: {slow}

"""


class Section(NamedTuple):
    """A binary section whose header has been checked. compression: its name, "" for none; element: the pixels' type by its name."""

    path: Path
    data: bytes
    shape: tuple[int, int]  # slow, fast
    compression: str
    element: str
    big_endian: bool

    @property
    def type(self) -> np.dtype[Any]:
        """Of pixels in memory."""
        return np.dtype(TYPES[self.element])

    @property
    def elements(self) -> int:
        """How many pixels there are."""
        return self.shape[0] * self.shape[1]


def read_cbf(path: Path) -> tuple[NDArray[Any], str]:
    """Pixels [slow, fast] of the file's own type, and the text before them. Raises InputFileError, NotAvailableError."""
    content = read_bytes(path)
    before, starts, rest = content.partition(STARTS)
    text, mark, header = as_text(before).rpartition(SECTION)
    if not starts or not mark:
        raise InputFileError(path, "is not a CBF image that can be read: it holds no binary section; is it whole?")
    section = binary_section(path, header, rest)
    if section.compression == "x-CBF_BYTE_OFFSET":
        pixels = by_byte_offset(section)
    elif section.compression in BY_CBFLIB:
        pixels = by_cbflib(section)
    else:
        pixels = uncompressed(section)
    return pixels.reshape(section.shape), text


def as_text(data: bytes) -> str:
    """Headers are ASCII but for what people write into comments."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def binary_section(path: Path, header: str, rest: bytes) -> Section:
    """What a header says of the bytes after it, all of which are there and are those that were written. Raises InputFileError."""
    fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*?)[ \t\r]*$", header, re.MULTILINE))
    data = its_bytes(path, fields, rest)
    fast, slow = (whole(path, fields, f"X-Binary-Size-{name}-Dimension") for name in ("Fastest", "Second"))
    if (sections := whole(path, fields, "X-Binary-Size-Third-Dimension", 1)) > 1:
        raise InputFileError(path, f"holds {sections} sections of {slow} x {fast} pixels, as of several panels; files of one are read")
    elements = whole(path, fields, "X-Binary-Number-of-Elements", slow * fast)
    if not 1 <= elements == slow * fast <= MOST_PIXELS:
        problem = f"its header promises {elements} pixels in {slow} rows of {fast}; 1 to {MOST_PIXELS} in whole rows are read"
        raise InputFileError(path, problem)
    element = fields.get("X-Binary-Element-Type", "signed 32-bit integer").strip('"')
    if element not in TYPES:
        raise InputFileError(path, f"has pixels of the type {element[:60]!r}; what is read is {', '.join(TYPES)}")
    return Section(path, data, (slow, fast), compression(path, header), element, "BIG" in fields.get("X-Binary-Element-Byte-Order", ""))


def its_bytes(path: Path, fields: dict[str, str], rest: bytes) -> bytes:
    """Those of the section, the only one of the file. Raises InputFileError."""
    end = rest.find(SECTION.encode("ascii"))
    size = whole(path, fields, "X-Binary-Size", end if end >= 0 else len(rest))
    data = rest[:size]
    if len(data) < size:
        raise InputFileError(path, f"is cut short: {len(data)} bytes of pixels where the header promises {size}; fetch it again")
    digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")
    if fields.get("Content-MD5", digest) != digest:
        raise InputFileError(path, "is damaged: the sum over its pixels is not the one in its header; fetch it again")
    if more := rest.count(STARTS, size):
        raise InputFileError(path, f"holds {1 + more} arrays of pixels, as of several panels; files of one are read")
    return data


def whole(path: Path, fields: dict[str, str], name: str, default: int | None = None) -> int:
    """A count; the default where it is not stated. Raises InputFileError."""
    word = fields.get(name, "")
    if not word and default is not None:
        return default
    if not re.fullmatch(r"[0-9]{1,15}", word):
        raise InputFileError(path, f"its binary section has the {name} {word[:60]!r}, not a whole number")
    return int(word)


def compression(path: Path, header: str) -> str:
    """The name of a compression that can be undone, "" for none. Raises InputFileError."""
    found = re.findall(r'conversions="?([^";\s]*)', header) + re.findall(r'"(uncorrelated_sections|flat)"', header)
    encoding = re.search(r"^Content-Transfer-Encoding:\s*(\S+)", header, re.MULTILINE)
    name = "" if found == ["x-CBF_NONE"] else " ".join(found)
    if name not in ("", "x-CBF_BYTE_OFFSET", *BY_CBFLIB):
        known = ", ".join(("x-CBF_NONE", "x-CBF_BYTE_OFFSET", *BY_CBFLIB))
        raise InputFileError(path, f"its pixels are compressed by {name[:60]}; what is read is {known}")
    if encoding and encoding[1].upper() != "BINARY":
        raise InputFileError(path, f"its pixels are encoded as {encoding[1][:60]}; those in binary are read")
    return name


def by_byte_offset(section: Section) -> NDArray[Any]:
    """The sum of differences; those that padding adds tell whether the section has all of its own."""
    from fabio.compression import decByteOffset

    summed = np.asarray(decByteOffset(section.data + bytes(PADDING), section.elements + PADDING))
    if len(summed) < section.elements + PADDING:
        raise InputFileError(section.path, f"is cut short: its binary section does not hold {section.elements} pixels; fetch it again")
    pixels = summed[: section.elements]
    if section.type.kind != "f":
        limits = np.iinfo(section.type)
        if pixels.min() < limits.min or pixels.max() > limits.max:
            raise InputFileError(section.path, f"is damaged: it has pixels that are no {section.element}; fetch it again")
    return pixels.astype(section.type)


def uncompressed(section: Section) -> NDArray[Any]:
    if len(section.data) < section.elements * section.type.itemsize:
        raise InputFileError(section.path, f"is cut short: its binary section does not hold {section.elements} pixels; fetch it again")
    stored = section.type.newbyteorder(">" if section.big_endian else "<")
    return np.frombuffer(section.data, stored, section.elements).astype(section.type)


def by_cbflib(section: Section) -> NDArray[Any]:
    """CBFlib is given a file with a header of ours, since a damaged one may tell it anything."""
    if section.type.kind == "f" or int.from_bytes(section.data[:8], "little") != section.elements:
        raise InputFileError(section.path, f"is damaged: its binary section is not one of {section.elements} whole numbers; fetch it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what SWIG makes
            import pycbf
    except ImportError:
        problem = f"its pixels are compressed by {section.compression}, which takes the package pycbf: pip install pycbf"
        raise NotAvailableError(f"{section.path}: {problem}") from None
    slow, fast = section.shape
    header = CLEAN.format(**section._asdict(), size=len(section.data), elements=section.elements, fast=fast, slow=slow)
    content = header.replace("\n", "\r\n").encode("ascii") + STARTS + section.data + f"\r\n{SECTION}--\r\n;\r\n".encode("ascii")
    try:
        handle = pycbf.cbf_handle_struct()
        handle.read_buffer(content, 0)
        handle.find_category(b"array_data")
        handle.find_column(b"data")
        pixels = np.frombuffer(handle.get_integerarray_as_string(), section.type)
    except Exception as error:  # pycbf raises Exception itself, with CBFlib's name of what went wrong
        raise InputFileError(section.path, f"is damaged: CBFlib cannot unpack its pixels: {str(error).strip()}") from None
    if len(pixels) != section.elements:
        raise InputFileError(section.path, f"is damaged: {len(pixels)} of {section.elements} pixels can be unpacked; fetch it again")
    return pixels.copy()
