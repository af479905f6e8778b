"""Reading small text files, with every failure in one line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from nbnumba.errors import InputFileError, OptionError

UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str | Path, comment: str = "") -> str:
    """The text of a UTF-8 (or ASCII) file; from ``comment`` to the end of a line it may be in another encoding."""
    return decoded(path, read_bytes(path), comment)


def decoded(path: str | Path, data: bytes, comment: str = "") -> str:
    """The text that a file's bytes are. A comment that is not UTF-8 is left out."""
    if b"\0" in data:
        raise InputFileError(path, "is not a text file; it holds zero bytes (binary, or UTF-16)")
    if data.startswith(UTF_16):
        raise InputFileError(path, "is UTF-16; write it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if comment and (rest := re.sub(re.escape(comment).encode("ascii") + rb"[^\n]*", b"", data)) != data:
            return decoded(path, rest)
        line = data.count(b"\n", 0, error.start) + 1
        raise InputFileError(path, f"byte {data[error.start]:#04x} is not UTF-8 text", line) from None


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file."""
    return first_bytes(path, -1)


def first_bytes(path: str | Path, count: int) -> bytes:
    """The first bytes of a file, -1: all."""
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):  # /dev/zero has no end
                raise InputFileError(path, "is a device, not a file")
            return file.read(count)
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise InputFileError(repr(str(path)), "is not a file name") from None


def is_word(text: str) -> bool:
    """Whether a command line can hold it: it has no zero byte, and no half of a surrogate pair but for bytes of a file's name."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def require_words(words: Iterable[str]) -> None:
    """Refuse what no command line can hold, where it comes from a file or from Python. Raises OptionError."""
    for word in words:
        if not is_word(word):
            raise OptionError(f"{word!r}: holds a zero byte or half a character; give plain text")


def looks_like_toml(name: str) -> bool:
    """Whether what may be the name of something that is shipped names a file of the user's instead."""
    return name.endswith(".toml") or Path(name).parent != Path()


def require_regular(path: Path) -> Path:
    """A file that another file names: no pipe or device, at which reading may wait or never end. Raises InputFileError."""
    try:
        strange = path.exists() and not (path.is_file() or path.is_dir())
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise InputFileError(repr(str(path)), "is not a file name") from None
    if strange:
        raise InputFileError(path, "is a pipe or a device; name it on the command line, not in a file")
    return path


def lines(text: str) -> list[str]:
    """Lines as editors and other programs count them: ended by a line feed alone."""
    return text.split("\n")


def number(word: str) -> float:
    """A number as everybody writes it; ValueError for what only Python takes for one (1_000, digits of other scripts)."""
    if "_" in word or not word.isascii():
        raise ValueError(word)
    return float(word)
