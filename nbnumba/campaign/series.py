"""Where the images of a scan go: numbered files, or one file for all; each is there whole or not at all (FMT-27)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from nbnumba.errors import OutputFileError
from nbnumba.files.whole import named, target_of, write_all
from nbnumba.formats.format import Format, ScanFile
from nbnumba.formats.registry import format_of
from nbnumba.geometry.exposure import Exposure
from nbnumba.response.counts import CountRange

DIGITS = 4
LOCK, WAITING = "lock", ".waiting"


class Series:
    """Numbered files; template: a name with ``#`` for the digits, which are put before its ending where it has none.

    record: the file that says of which sweep they are; stamp: what tells that sweep from others; work: where files wait, and where the
    lock is. replacing: whether images wait until there are all of them, so that those of another sweep stay as long.
    Raises OutputFileError for a name that cannot be.
    """

    stamp = ""
    replacing = False

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
        self.next_record = self.work / f"record{WAITING}"
        self.whole = self.work / f"whole{WAITING}"  # all images wait, and this says so
        self._lock: IO[bytes] | None = None

    @property
    def held(self) -> CountRange:
        """The counts that a file holds."""
        assert self.kind.counts is not None
        return self.kind.counts

    @property
    def images(self) -> Path:
        """The name that stands for all of its files."""
        return self.template

    @property
    def name(self) -> str:
        """What it is called."""
        return self.images.name

    def file(self, number: int) -> Path:
        """The file of an image."""
        return self.template.with_name(re.sub("#+", lambda found: f"{number:0{len(found[0])}d}", self.template.name))

    def files(self, numbers: Iterable[int]) -> list[Path]:
        """Every file that images with these numbers make."""
        return [self.file(number) for number in numbers]

    def waiting(self, number: int) -> Path:
        """Where an image waits."""
        return self.work / f"{number:06d}{WAITING}"

    def has(self, number: int) -> bool:
        """Whether an image is there, or waiting."""
        return (self.waiting(number) if self.replacing else self.file(number)).is_file()

    def put(self, number: int, pixels: NDArray[Any], exposure: Exposure | None) -> None:
        """Write an image, of the format's type."""
        assert self.kind.write is not None
        write_all({self.waiting(number) if self.replacing else self.file(number): self.kind.write(pixels, exposure)})

    def finish(self, exposures: Sequence[Exposure], before: int = 0) -> None:
        """All images are there; exposures: of all in order; before: how many the sweep had whose place they take."""
        if self.replacing:
            self.replace(len(exposures), before)
        self.forget()
        self.unlock()

    def replace(self, images: int, before: int) -> None:
        """Put what waits in the place of another sweep: its record first, which nobody takes for that of the other from then on."""
        for file in self.files(range(images + 1, before + 1)):
            with named(file):
                target_of(file).unlink(missing_ok=True)
        write_all({self.whole: b""})
        self.settle(images)

    def settle(self, images: int) -> None:
        """Record and images that wait, in their places."""
        if self.next_record.exists():
            write_all({self.record: self.next_record.read_bytes()})
        for number in range(1, images + 1):
            if self.waiting(number).exists():
                move(self.waiting(number), self.file(number))
        self.forget()

    def forget(self) -> None:
        """Nothing waits any more; what says that all images do goes last."""
        for waiting in sorted(self.work.glob(f"*{WAITING}")):
            with named(waiting):
                waiting.unlink(missing_ok=True)

    def lock(self) -> None:
        """Make the folders; nobody else writes these images meanwhile. Raises OutputFileError if somebody does."""
        with named(self.work):
            if self.work.is_symlink():
                raise OutputFileError(f"{self.work}: is a link; a sweep works in a folder of this name: remove the link")
            self.work.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # where there are no such locks
            return
        with named(self.work / LOCK):
            self._lock = (self.work / LOCK).open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise OutputFileError(f"{self.record}: another process is writing this sweep") from None

    def unlock(self) -> None:
        """The end, in whatever way; a folder with images that wait for more stays, and so does what others have put there."""
        with suppress(OSError):
            if not any(self.work.glob(f"*{WAITING}")):
                (self.work / LOCK).unlink(missing_ok=True)
                self.work.rmdir()
        if self._lock is not None:
            self._lock.close()


class Stack(Series):
    """A file of a format that holds a scan, with those that it draws together; until all images are there, they wait packed."""

    def __init__(self, path: Path, scan: ScanFile) -> None:
        self.scan = scan
        super().__init__(path.with_name(f"{path.stem}#{path.suffix}"))
        self.path = path
        self._keep_beside(path.name)

    @property
    def images(self) -> Path:
        """The file that is named."""
        return self.path

    def file(self, number: int) -> Path:
        """The file that an image is in."""
        return self.scan.file(self.path, number)

    def files(self, numbers: Iterable[int]) -> list[Path]:
        """The file that is named, and those that it draws together."""
        held = list(dict.fromkeys(map(self.file, numbers)))
        return list(dict.fromkeys([self.path, *held])) if held else []

    def has(self, number: int) -> bool:
        """Whether an image is there, or waiting. Raises OutputFileError where the file is of something else."""
        file = self.file(number)
        if self.replacing or not file.is_file():
            return self.waiting(number).is_file()
        if self.scan.stamp_of(file) != self.stamp:
            raise OutputFileError(f"{file}: is not of the sweep that {self.record} is of; give another name, or --overwrite")
        return True

    def put(self, number: int, pixels: NDArray[Any], exposure: Exposure | None) -> None:
        """Pack an image."""
        write_all({self.waiting(number): self.scan.pack(pixels)})

    def packed(self, number: int) -> bytes:
        """An image that waits, or is in a file that stays as it is."""
        waiting = self.waiting(number)
        return waiting.read_bytes() if waiting.is_file() else self.scan.packed(self.path, number)

    def finish(self, exposures: Sequence[Exposure], before: int = 0) -> None:
        """Put all images into their files."""
        numbers = range(1, len(exposures) + 1)
        if self.replacing or not all(file.is_file() for file in self.files(numbers)):
            write_all(self.scan.contents(self.path, exposures, self.held.dtype, map(self.packed, numbers), self.stamp))
        super().finish(exposures, before)

    def replace(self, images: int, before: int) -> None:
        """The files are in their places; those that only the other sweep had go."""
        for file in set(self.files(range(1, before + 1))) - set(self.files(range(1, images + 1))):
            with named(file):
                target_of(file).unlink(missing_ok=True)
        write_all({self.record: self.next_record.read_bytes()})


def series_of(path: Path, counts: bool = False) -> Series:
    """What a name asks for: one file where its format holds a whole scan, else numbered ones; counts: of a format that holds them.

    Raises OutputFileError.
    """
    scan = format_of(path, counts).scan
    return Stack(path, scan) if scan and "#" not in path.name else Series(path)


def move(waiting: Path, target: Path) -> None:
    """Put a file in place, or where a link in its place leads to."""
    if target.is_symlink():
        write_all({target: waiting.read_bytes()})
    else:
        with named(target):
            os.replace(waiting, target)
