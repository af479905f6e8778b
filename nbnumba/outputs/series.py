"""Where the images of a scan go: numbered files, or one file for all; each is there whole or not at all (FMT-27)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import OutputFileError
from nbnumba.exposure import Exposure
from nbnumba.outputs.formats import Format, format_of

DIGITS = 4
LOCK = "lock"


class Series:
    """Numbered files; template: a name with ``#`` for the digits, which are put before its ending where it has none.

    record: the file that says of which sweep they are; stamp: what tells that sweep from others; work: where files wait to be whole.
    Raises OutputFileError for a name that cannot be.
    """

    stamp = ""

    def __init__(self, template: Path) -> None:
        self.kind: Format = format_of(template)
        if len(re.findall("#+", template.name)) > 1:
            raise OutputFileError(f"{template}: has # in two places; give one run of them, for the digits")
        if "#" not in template.name:
            template = template.with_name(f"{template.stem}_{'#' * DIGITS}{template.suffix}")
        self.template = template
        self._keep_beside(re.sub(r"[_.-]*#+", "", template.stem) + template.suffix)

    def _keep_beside(self, name: str) -> None:
        """Record and working folder, of a name that another format's do not have."""
        self.record = self.template.parent / f"{name}.json"
        self.work = self.template.parent / f".{name}.unfinished"
        self._lock: IO[bytes] | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.template.name

    def file(self, number: int) -> Path:
        """The file of an image."""
        return self.template.with_name(re.sub("#+", lambda found: f"{number:0{len(found[0])}d}", self.template.name))

    def files(self, numbers: Iterable[int]) -> list[Path]:
        """Every file that images with these numbers make."""
        return [self.file(number) for number in numbers]

    def has(self, number: int) -> bool:
        """Whether an image is there."""
        return self.file(number).is_file()

    def put(self, number: int, pixels: NDArray[Any], exposure: Exposure | None) -> None:
        """Write an image, of the format's type."""
        place(self.kind.write(pixels, exposure), self.work, self.file(number))

    def finish(self, exposures: Sequence[Exposure]) -> None:
        """All images are there; exposures: of all in order."""
        self.forget()
        self.unlock()

    def remove(self, numbers: Iterable[int]) -> None:
        """Make room for another sweep."""
        self.forget()
        for file in (self.record, *self.files(numbers)):
            with named(file):
                file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Nothing waits any more."""
        for waiting in self.work.glob("*"):
            if waiting.name != LOCK:
                waiting.unlink(missing_ok=True)

    def lock(self) -> None:
        """Nobody else writes these images meanwhile. Raises OutputFileError if somebody does."""
        try:
            import fcntl
        except ImportError:  # where there are no such locks
            return
        with named(self.record):
            self.work.mkdir(exist_ok=True)
            self._lock = (self.work / LOCK).open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise OutputFileError(f"{self.record}: another process is writing this sweep") from None

    def unlock(self) -> None:
        """The end, in whatever way; a folder with images that wait for more stays."""
        if self._lock is not None:
            self._lock.close()
        if not [waiting for waiting in self.work.glob("*") if waiting.name != LOCK]:
            shutil.rmtree(self.work, ignore_errors=True)


class Stack(Series):
    """One NXmx file; until all images are there, they wait compressed in the working folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.with_name(f"{path.stem}#{path.suffix}"))
        self.path = path
        self._keep_beside(path.name)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.path.name

    def file(self, number: int) -> Path:
        """The file of all images."""
        return self.path

    def files(self, numbers: Iterable[int]) -> list[Path]:
        """The file of all images."""
        return [self.path]

    def has(self, number: int) -> bool:
        """Whether an image is there, or waiting. Raises OutputFileError where the file is of something else."""
        from nbnumba.outputs.nxmx import stamp_of

        if not self.path.is_file():
            return self.waiting(number).is_file()
        if stamp_of(self.path) != self.stamp:
            raise OutputFileError(f"{self.path}: is not of the sweep that {self.record} is of; give another name, or --overwrite")
        return True

    def waiting(self, number: int) -> Path:
        """Where an image waits."""
        return self.work / f"{number:06d}.chunk"

    def put(self, number: int, pixels: NDArray[Any], exposure: Exposure | None) -> None:
        """Compress an image."""
        from nbnumba.outputs.nxmx import chunk_bytes

        place(chunk_bytes(pixels), self.work, self.waiting(number))

    def finish(self, exposures: Sequence[Exposure]) -> None:
        """Put all images into the file."""
        if not self.path.is_file():
            self.gather(exposures, np.int32)
        super().finish(exposures)

    def gather(self, exposures: Sequence[Exposure], dtype: Any) -> None:
        """Put all images, which are of this type, into the file, whether there is one or not."""
        from nbnumba.outputs.nxmx import write_nxmx

        whole = self.work / "whole"
        chunks = (self.waiting(number).read_bytes() for number in range(1, len(exposures) + 1))
        with named(self.path):
            write_nxmx(whole, exposures, dtype, chunks, self.stamp)
            whole.replace(self.path)


def series_of(path: Path) -> Series:
    """What a name asks for: one file where its format holds a whole scan, else numbered ones. Raises OutputFileError."""
    return Stack(path) if format_of(path).stack and "#" not in path.name else Series(path)


def place(content: bytes, work: Path, target: Path) -> None:
    """Write into the working folder, then put in place: a process that is killed leaves no part of a file. Raises OutputFileError."""
    with named(target):
        work.mkdir(exist_ok=True)
        unfinished = work / f"{target.name}.new"
        unfinished.write_bytes(content)
        unfinished.replace(target)


@contextmanager
def named(target: Path) -> Iterator[None]:
    """A failure to write in one line, with the file that it is about."""
    try:
        yield
    except OSError as error:
        raise OutputFileError(f"{target}: cannot be written: {error.strerror or str(error)[:200]}") from None
