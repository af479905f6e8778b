"""Reading small text files, with every failure in one line."""

from __future__ import annotations

from pathlib import Path

from nbnumba.errors import InputFileError


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 (or ASCII) file."""
    return decoded(path, read_bytes(path))


def decoded(path: str | Path, data: bytes) -> str:
    """The text that a file's bytes are."""
    if b"\0" in data:
        raise InputFileError(path, "is not a text file; it holds zero bytes (binary, or UTF-16)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputFileError(path, f"byte {data[error.start]:#04x} is not UTF-8 text", line) from None


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file."""
    return first_bytes(path, -1)


def first_bytes(path: str | Path, count: int) -> bytes:
    """The first bytes of a file, -1: all."""
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputFileError(path, f"cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise InputFileError(repr(str(path)), "is not a file name") from None


def lines(text: str) -> list[str]:
    """Lines as editors and other programs count them: ended by a line feed alone."""
    return text.split("\n")


def number(word: str) -> float:
    """A number as everybody writes it; ValueError for what only Python takes for one (1_000, digits of other scripts)."""
    if "_" in word or not word.isascii():
        raise ValueError(word)
    return float(word)
