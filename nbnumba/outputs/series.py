"""Where the images of a scan go: numbered files, or one file for all; each is there whole or not at all (FMT-27)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.exposure import Exposure
from nbnumba.outputs.formats import Format, format_of

DIGITS = 4


class Series:
    """Numbered files; template: a name with ``#`` for the digits, which are put before its ending where it has none."""

    def __init__(self, template: Path) -> None:
        self.kind: Format = format_of(template)
        if "#" not in template.name:
            template = template.with_name(f"{template.stem}_{'#' * DIGITS}{template.suffix}")
        self.template = template
        self.folder, stem = template.parent, re.sub(r"[_.-]*#+", "", template.stem) or "sweep"
        self.record = self.folder / f"{stem}.json"
        self.work = self.folder / f".{stem}.unfinished"

    def file(self, number: int) -> Path:
        """The file of an image."""
        return self.template.with_name(re.sub("#+", lambda found: f"{number:0{len(found[0])}d}", self.template.name, count=1))

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
        shutil.rmtree(self.work, ignore_errors=True)

    def remove(self, numbers: Iterable[int]) -> None:
        """Make room for another sweep."""
        shutil.rmtree(self.work, ignore_errors=True)
        for file in (self.record, *self.files(numbers)):
            file.unlink(missing_ok=True)


class Stack(Series):
    """One NXmx file; until all images are there, they wait compressed in the working folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.with_name(f"{path.stem}#{path.suffix}"))
        self.path = path

    def file(self, number: int) -> Path:
        """The file of all images."""
        return self.path

    def files(self, numbers: Iterable[int]) -> list[Path]:
        """The file of all images."""
        return [self.path]

    def has(self, number: int) -> bool:
        """Whether an image is there, or waiting."""
        return self.path.is_file() or self.waiting(number).is_file()

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
            self.replace(exposures, np.int32)
        super().finish(exposures)

    def replace(self, exposures: Sequence[Exposure], dtype: Any) -> None:
        """Put all images into the file, whether there is one or not."""
        from nbnumba.outputs.nxmx import write_nxmx

        whole = self.work / "whole"
        write_nxmx(whole, exposures, dtype, (self.waiting(exposure.number).read_bytes() for exposure in exposures))
        whole.replace(self.path)


def series_of(path: Path) -> Series:
    """What a name asks for: one file where its format holds a whole scan, else numbered ones. Raises OutputFileError."""
    return Stack(path) if format_of(path).stack and "#" not in path.name else Series(path)


def place(content: bytes, work: Path, target: Path) -> None:
    """Write into the working folder, then put in place: a process that is killed leaves no part of a file."""
    work.mkdir(exist_ok=True)
    unfinished = work / f"{target.name}.new"
    unfinished.write_bytes(content)
    unfinished.replace(target)
