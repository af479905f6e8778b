"""What is kept from run to run: compiled kernels and parsed files, all in one place, the user's cache folder (DEV-20).

A cache can only save time: nothing here is needed, and what is spoilt is made again. Kernels are machine code, hence a folder in which
others can write is not read from.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

FOLDER, MOST_MB = "NBNUMBA_CACHE_DIR", "NBNUMBA_CACHE_MB"  # environment variables
DEFAULT_MB = 1000
ROOT = 0  # the user who can write everywhere anyway


class NotKeptError(Exception):
    """Why something is not kept, for people."""


class File(NamedTuple):
    """One that is kept."""

    path: Path
    size: int  # bytes
    used: int  # ns


@dataclass(frozen=True)
class Cache:
    """Files of one kind; those used last stay."""

    kind: str
    suffix: str
    heeds: str = ""  # environment variable of another program that says where
    beside: str = "nbnumba"  # the folder's name there

    @property
    def folder(self) -> Path | None:
        """Where they are; None if the user wants none to be kept. Raises NotKeptError where there is no place for them."""
        if other := os.environ.get(self.heeds):
            return Path(other).absolute() / self.beside
        if (chosen := os.environ.get(FOLDER)) is not None:
            return Path(chosen).absolute() / self.kind if chosen else None
        from platformdirs import user_cache_path

        with suppress(RuntimeError):
            if (found := user_cache_path("nbnumba")).is_absolute():
                return found / self.kind
        raise NotKeptError("this user has no home folder")

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file, which has been used with that. Raises OSError or NotKeptError where there is none to be trusted."""
        path = self.trusted() / f"{name}{self.suffix}"
        with path.open("rb") as file:
            yield file
        with suppress(OSError):
            os.utime(path)

    def store(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Put a file there, and drop what was not used for longest. Raises NotKeptError."""
        self.put(name, write)
        self.trim()

    def put(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Keep what ``write(file)`` writes, whole or not at all, where it is known how much may be kept. Raises NotKeptError."""
        if self.folder is None:
            return
        try:
            most_bytes()
            folder = self.trusted(make=True)
            unfinished = folder / f"{name}.{secrets.token_hex(4)}{self.suffix}"
            try:
                with unfinished.open("wb") as file:
                    write(file)
                unfinished.replace(folder / f"{name}{self.suffix}")
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise NotKeptError(f"{self.folder}: {error.strerror or error}") from error

    def discard(self, name: str) -> None:
        """Take away what is spoilt, a folder in a file's place too."""
        with suppress(OSError, NotKeptError):
            path = self.trusted() / f"{name}{self.suffix}"
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def files(self) -> list[File]:
        """All there are, those used last first; another process may be adding and dropping some."""
        found = []
        with suppress(OSError, NotKeptError):
            for path in self.folder.glob(f"*{self.suffix}") if self.folder else ():
                with suppress(OSError):
                    status = path.stat()
                    found.append(File(path, status.st_size, status.st_mtime_ns))
        return sorted(found, key=lambda file: file.used, reverse=True)

    def trim(self) -> None:
        """Leave no more than may be kept."""
        if self.folder is not None:
            self.bound(most_bytes())

    def bound(self, most: int) -> list[File]:
        """Leave no more bytes than that, but for the file used last; returns what was dropped."""
        total, dropped = 0, []
        for file in self.files():
            total += file.size
            if total > most and total > file.size:
                dropped.append(file)
        return [file for file in dropped if remove(file.path)]

    def clear(self) -> list[File]:
        """Drop all, and the folder; returns what was dropped."""
        dropped = [file for file in self.files() if remove(file.path)]
        with suppress(OSError, NotKeptError):
            if self.folder:
                self.folder.rmdir()
        return dropped

    def trusted(self, make: bool = False) -> Path:
        """The folder, in which nobody else can write. Raises OSError where it is not there, NotKeptError where others can."""
        if (folder := self.folder) is None:
            raise NotKeptError(f"{FOLDER} is empty")
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if hasattr(os, "geteuid"):
            if status.st_uid not in (os.geteuid(), ROOT):
                raise NotKeptError(f"{folder}: belongs to another user")
            if status.st_mode & 0o022:
                raise NotKeptError(f"{folder}: others can write there")
        return folder


KERNELS = Cache("kernels", ".nbc", heeds="NUMBA_CACHE_DIR")  # as numba names machine code
PARTS = Cache("parts", ".bc", heeds="NUMBA_CACHE_DIR", beside="nbnumba-parts")  # as LLVM names what it compiles
TABLES = Cache("hkl", ".npz")
CACHES = (KERNELS, PARTS, TABLES)


def most_bytes() -> int:
    """How much of a kind may be kept. Raises NotKeptError for what is no number."""
    text = os.environ.get(MOST_MB, str(DEFAULT_MB))
    try:
        return int(float(text) * 1e6)
    except (ValueError, OverflowError):
        raise NotKeptError(f"{MOST_MB}: {text!r} is not a number of megabytes") from None


def remove(path: Path) -> bool:
    """Whether this process has removed a file."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


def sealed(data: bytes) -> bytes:
    """Data behind its checksum."""
    return hashlib.sha256(data).digest() + data


def unsealed(data: bytes) -> bytes | None:
    """What was sealed; None if it is not whole."""
    checksum, data = data[:32], data[32:]
    return data if hashlib.sha256(data).digest() == checksum else None
