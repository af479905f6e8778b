"""Files that may be gzipped, unpacked within bounds."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from pathlib import Path

from nbnumba.errors import InputFileError
from nbnumba.files.text import read_bytes

GZIP = b"\x1f\x8b"
EASY = 64 << 20  # bytes, which any file may unpack to
DENSEST = 50  # times as many bytes as are packed; text of tables packs to a tenth
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
AS_ASCII = bytes(range(128)) + b"?" * 128


def unpacked(path: str | Path) -> bytes:
    """The bytes of a file, of a gzipped one what is in it."""
    data = read_bytes(path)
    if not data.startswith(GZIP):
        return data
    most = max(EASY, DENSEST * len(data))
    try:
        with gzip.open(BytesIO(data)) as file:
            found = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputFileError(path, f"cannot be unpacked: {error}; is it whole?") from None
    if len(found) > most:
        raise InputFileError(path, f"unpacks to more than {DENSEST} times its size and {EASY >> 20} MB; unpack it to use it")
    return found


def ascii_bytes(path: str | Path) -> bytes:
    """The bytes of a text, with a ? for each that is not ASCII: comments and names may be in any encoding, numbers are not."""
    data = unpacked(path).removeprefix(BYTE_ORDER_MARK)
    if b"\0" in data:
        raise InputFileError(path, "is not a text file; it holds zero bytes (binary, or UTF-16)")
    return data.translate(AS_ASCII)
