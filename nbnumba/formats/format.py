"""What a format of image files declares; its module reads and writes it, and the registry finds it (FMT-70)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.files.whole import Content
from nbnumba.geometry.exposure import NOT_MEASURED
from nbnumba.response.counts import INT32, CountRange

if TYPE_CHECKING:
    from nbnumba.geometry.exposure import Exposure

Pixels = NDArray[Any]  # [slow, fast]
Shape = tuple[int, int]


def stacked(parts: Iterable[Pixels]) -> Pixels:
    """Rows of panels one below the other; narrower ones are filled up to the widest with what was not measured."""
    parts = list(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([part if part.shape[1] == width else widened(part, width) for part in parts])


def unstacked(pixels: Pixels, shapes: Iterable[Shape]) -> list[Pixels]:
    """Each panel's part of what is stacked."""
    edges = list(shapes)
    ends = [0, *accumulate(slow for slow, _ in edges)]
    return [pixels[first : first + slow, :fast] for first, (slow, fast) in zip(ends, edges, strict=False)]


def by_panel(pixels: Pixels, shapes: Sequence[Shape]) -> list[Pixels] | None:
    """Each panel's part of what is stacked, or all in one row (CLI-64); None: these are the pixels of other panels."""
    ends = [0, *accumulate(slow * fast for slow, fast in shapes)]
    if pixels.shape == (sum(slow for slow, _ in shapes), max(fast for _, fast in shapes)):
        return unstacked(pixels, shapes)
    if pixels.shape in ((ends[-1],), (1, ends[-1])):
        return [pixels.ravel()[first:last].reshape(shape) for (first, last), shape in zip(pairwise(ends), shapes, strict=True)]
    return None


def widened(rows: Pixels, width: int) -> Pixels:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=NOT_MEASURED)


class ImageFile(NamedTuple):
    """An image as its file has it. pixels: [slow, fast], of the file's own type; exposure: what the file says of geometry and scan;
    problem: why that is not taken.
    """

    pixels: Pixels
    exposure: Exposure | None
    problem: str = ""


class Wanted(NamedTuple):
    """name: of the image, in a file of several with names; shape: of pixels, for a file that does not state it."""

    name: str = ""
    shape: Shape | None = None


class ImageStack(Protocol):
    """An open file of several images, numbered from 1; a context."""

    def __enter__(self) -> ImageStack: ...
    def __exit__(self, *exception: object) -> None: ...
    def __len__(self) -> int: ...
    @property
    def numbers(self) -> list[int]:
        """Of the images that are there."""

    @property
    def holds_counts(self) -> bool:
        """Whether pixels are whole numbers."""

    def pixels(self, number: int) -> Pixels:
        """Those of an image."""

    def exposure(self, number: int) -> Exposure | None:
        """Geometry and scan of an image."""


@dataclass(frozen=True, kw_only=True)
class ScanFile:
    """How one file, or those that it draws together, hold all images of a scan.

    open: of a path, and of the dataset that has the images where the file does not say which; pack: an image as it waits for the others;
    packed: an image so, of those that a name stands for; file: that it is in; contents: of all files that a name stands for, in the order
    in which they are to be written, of exposures, the pixels' type, packed images in order, and a stamp that tells the sweep from others;
    stamp_of: a file; differing: what of an image is not as of the first one, though the file states it once, in words.
    """

    open: Callable[[Path, str], ImageStack]
    pack: Callable[[Pixels], bytes]
    packed: Callable[[Path, int], bytes]
    file: Callable[[Path, int], Path]
    contents: Callable[[Path, Sequence[Exposure], Any, Iterable[bytes], str], dict[Path, Content]]
    stamp_of: Callable[[Path], str]
    differing: Callable[[Exposure, Exposure], str]


def says_nothing(exposure: Exposure) -> str:
    """Of a format that holds pixels alone."""
    return "says nothing of geometry or scan"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of image file.

    endings: of names, in small letters. understand: whether a file is one, of its first bytes and its path. read: an image; None: see
    ``scan``, or it is not read. write: a whole file of an image's pixels and exposure; None: it is not written. scan: how a file holds
    several images. named: whether images in a file have names.

    counts: the whole numbers it holds; None: none. photons: whether it holds fractions. marks: whether numbers below 0 stand for what was
    not measured. packed: whether its pixels are compressed. drawn: whether it is a picture, to be looked at.
    panels: whether it holds an image of several, one below the other.

    geometry: whether it states none, or what is known, or needs to be given one. unsaid: what it does not say of an exposure, in words.
    states_pedestal: whether it says what is added to counts. number_in_name: whether DIALS asks for a number in the file's name.
    """

    name: str
    endings: tuple[str, ...]
    understand: Callable[[bytes, Path], bool]
    read: Callable[[Path, Wanted], ImageFile] | None = None
    write: Callable[[Pixels, Exposure | None], bytes] | None = None
    scan: ScanFile | None = None
    named: bool = False
    counts: CountRange | None = INT32
    photons: bool = True
    marks: bool = False
    packed: bool = False
    drawn: bool = False
    panels: bool = False
    geometry: Literal["none", "stated", "needed"] = "none"
    unsaid: Callable[[Exposure], str] = says_nothing
    states_pedestal: bool = False
    number_in_name: bool = False

    @property
    def for_counts(self) -> bool:
        """Whether it holds what a detector counts, for other programs to process."""
        return self.counts is not None and not self.drawn

    @property
    def mark(self) -> int:
        """The count of pixels that are not rendered; 0 where nothing says so."""
        return 0 if self.counts is None else self.counts.mark


def begins_with(*starts: bytes) -> Callable[[bytes, Path], bool]:
    """The test of a format that is known by its first bytes."""
    return lambda first, path: first.startswith(starts)


def with_geometry(pixels: Pixels, geometry: Callable[[], Exposure | None]) -> ImageFile:
    """Pixels with their geometry, which may be bad without harm to them: why is kept for those who ask for it."""
    try:
        return ImageFile(pixels, geometry())
    except InputFileError as error:
        return ImageFile(pixels, None, error.problem)


def cannot_say(clauses: Sequence[str]) -> str:
    """What a header has no words for, and what has."""
    return f"cannot say that {' and '.join(clauses)} (a .nxs file can)" if clauses else ""
