"""Images in datasets of HDF5 files, read one at a time (FMT-51)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File, readable, require_bounded

if TYPE_CHECKING:
    import h5py

MOST_IMAGES = 1_000_000
LARGEST = 100_000  # pixels along an edge
MOST_LISTED = 8  # datasets in a message
MOST_WALKED = 500  # groups and datasets looked at for it
KINDS = "biuf"  # of numbers that are pixels


@dataclass(frozen=True)
class Block:
    """A dataset of images: its name, how many it has, each of which shape and type; or the problem with it.

    dims: edges of an image as the dataset has them, of one in panels (panels, slow, fast); shape: one panel below the other.
    """

    name: str
    images: int = 0
    dims: tuple[int, ...] = (0, 0)
    kind: str = ""
    problem: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (slow, fast)."""
        return math.prod(self.dims[:-1]), self.dims[-1]


class Images:
    """Images of one size, numbered from 1 through datasets one after the other. Raises InputFileError.

    A dataset that is missing between others counts as many images as the first one, for detectors fill their files evenly.
    """

    def __init__(self, file: Hdf5File, names: Sequence[str], group: h5py.Group | None = None) -> None:
        self._file, self._group = file, group
        found = [self._block(name) for name in names]
        there = [block for block in found if not block.problem]
        if not there:
            raise InputFileError(file.path, found[0].problem if found else "holds no images")
        if len({block.dims for block in there}) != 1:
            raise InputFileError(file.path, "has images of different sizes; those of one are read")
        last = max(i for i, block in enumerate(found) if not block.problem)
        self.problems = [block.problem for block in found if block.problem]
        self._blocks = [Block(b.name, there[0].images, problem=b.problem) if b.problem else b for b in found[: last + 1]]
        self._known: dict[str, NDArray[np.bool_]] = {}
        self._said: set[str] = set()
        self.dims, self.shape, self.holds_counts = there[0].dims, there[0].shape, there[0].kind in "iu"
        if len(self) > MOST_IMAGES:
            raise InputFileError(file.path, f"says that it has {len(self)} images; {MOST_IMAGES} are the most that are read")

    def _block(self, name: str) -> Block:
        try:
            dataset = self._file.find(name, self._group)
            with readable(f"{name} cannot be read"):
                return described(dataset, name)
        except Hdf5Error as error:
            return Block(name, problem=str(error))

    def __len__(self) -> int:
        return sum(block.images for block in self._blocks)

    def numbers(self) -> list[int]:
        """Of the images that are there. Raises InputFileError where none is."""
        there: list[int] = (np.flatnonzero(np.concatenate([self._there(block) for block in self._blocks])) + 1).tolist()
        if not there:
            raise InputFileError(self._file.path, f"none of its images is there: {self.problems[0]}")
        return there

    def _there(self, block: Block) -> NDArray[np.bool_]:
        """Which images of a dataset are there."""
        if block.name not in self._known:
            self._known[block.name] = np.zeros(block.images, bool)
            if not block.problem:
                self._known[block.name], problem = written(self._file, self._file.find(block.name, self._group), block)
                self.problems += [] if self._known[block.name].all() else [problem]
        return self._known[block.name]

    def read(self, number: int) -> NDArray[Any]:
        """The pixels of an image, [slow, fast]. Raises InputFileError."""
        if not 1 <= number <= len(self):
            raise InputFileError(self._file.path, f"has images 1 to {len(self)}, not {number}")
        block, index = self._place(number)
        if not self._there(block)[index]:
            raise InputFileError(self._file.path, f"image {number} is not there: {block.problem or self.problems[-1]}")
        try:
            dataset = self._file.find(block.name, self._group)
            with readable("it is damaged"):
                require_bounded(dataset, "it", images=True)
                require_filters(self._file, dataset)
                return np.asarray(dataset[index] if dataset.ndim > 2 else dataset[()]).reshape(block.shape)
        except Hdf5Error as error:
            raise InputFileError(self._file.path, f"image {number} cannot be read: {error}") from None

    def say_what_is_missing(self) -> None:
        """Warn once of images that are not there."""
        if new := [problem for problem in self.problems if problem not in self._said]:
            others = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
            warn_of_file(self._file.path, f"some of its images are not there: {new[0]}{others}")
        self._said |= set(self.problems)

    def _place(self, number: int) -> tuple[Block, int]:
        """The dataset that an image is in, and where."""
        index = number - 1
        for block in self._blocks:
            if index < block.images:
                return block, index
            index -= block.images
        raise IndexError(number)


class Hdf5Images:
    """The images of one dataset of any HDF5 file, in two to four dimensions (images, panels, slow, fast).

    Close it, or use it as a context. Raises InputFileError.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        self._file = Hdf5File(path)
        try:
            self._images = Images(self._file, [dataset])
        except InputFileError as error:
            there = listed(self._file)
            self._file.close()
            raise InputFileError(path, f"--dataset {dataset}: {error.problem}; {there}") from None

    def __enter__(self) -> Hdf5Images:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._images)

    @property
    def numbers(self) -> list[int]:
        """Of the images that are there."""
        return self._images.numbers()

    @property
    def holds_counts(self) -> bool:
        """Whether pixels are whole numbers."""
        return self._images.holds_counts

    def pixels(self, number: int) -> NDArray[Any]:
        """Those of an image, [slow, fast], as they are. Raises InputFileError."""
        pixels = self._images.read(number)
        self._images.say_what_is_missing()
        return pixels

    def exposure(self, number: int) -> None:
        """None, for a dataset says nothing of geometry."""
        return


def described(dataset: Any, name: str) -> Block:
    """What a dataset of images has. Raises Hdf5Error for what is none."""
    if not hasattr(dataset, "is_virtual"):
        raise Hdf5Error(f"{name} is not a dataset")
    shape: tuple[int, ...] = dataset.shape or ()
    if dataset.dtype.kind not in KINDS or len(shape) not in (2, 3, 4):
        raise Hdf5Error(f"{name} is no stack of images: it has shape {words(shape)} and type {dataset.dtype}")
    if not math.prod(shape):
        raise Hdf5Error("holds no images")
    if dataset.external:
        raise Hdf5Error(f"{name} has its values in other files (HDF5's external storage), which are not read")
    images, dims = (shape[0], shape[1:]) if len(shape) > 2 else (1, shape)
    if max(dims) > LARGEST:
        raise Hdf5Error(f"says that it has images of {words(dims)} pixels; {LARGEST} are the most along an edge")
    return Block(name, images, dims, dataset.dtype.kind)


def words(shape: Sequence[int]) -> str:
    return " x ".join(str(edge) for edge in shape) or "of one number"


def written(file: Hdf5File, dataset: h5py.Dataset, block: Block) -> tuple[NDArray[np.bool_], str]:
    """Which images of a dataset are in its files, and what keeps others out: of these HDF5 gives zeros, or what else fills its gaps."""
    problem = f"{block.name} was not written to its end"
    try:
        with readable(f"{block.name} cannot be read"):
            if dataset.is_virtual:
                return mapped(file, dataset, block)
            if not dataset.chunks:
                return np.full(block.images, dataset.id.get_storage_size() > 0), problem
            parts, step = np.zeros(block.images, int), dataset.chunks[0] if dataset.ndim > 2 else 1

            def count(chunk: Any) -> None:
                first = chunk.chunk_offset[0] if dataset.ndim > 2 else 0
                parts[first : first + step] += 1

            dataset.id.chunk_iter(count)
            whole = math.prod(-(-edge // size) for edge, size in zip(block.dims, dataset.chunks[-len(block.dims) :], strict=True))
            return parts >= whole, problem
    except Hdf5Error as error:
        return np.zeros(block.images, bool), str(error)


def mapped(file: Hdf5File, dataset: h5py.Dataset, block: Block) -> tuple[NDArray[np.bool_], str]:
    """As ``written``, of a virtual dataset."""
    there, missing, problem = np.zeros(block.images, bool), np.zeros(block.images, bool), f"{block.name} was not written to its end"
    for source in dataset.virtual_sources():
        first, last = bounds(source.vspace, block)
        try:
            file.require_source(dataset, source)
            there[first : last + 1] = True
        except Hdf5Error as error:
            missing[first : last + 1], problem = True, str(error)
    return there & ~missing, problem


def bounds(space: Any, block: Block) -> tuple[int, int]:
    """First and last image that a part of a virtual dataset has to do with."""
    try:
        first, last = (tuple(corner) for corner in space.get_select_bounds())
    except Exception:  # what goes on as the files grow
        return 0, block.images - 1
    return (first[0], last[0]) if len(block.dims) < len(first) else (0, 0)


def require_filters(file: Hdf5File, dataset: h5py.Dataset) -> None:
    """Refuse what was compressed with something that is not installed; parts of a virtual dataset are alike. Raises Hdf5Error."""
    import h5py

    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            with suppress(Hdf5Error):
                dataset = file.source(dataset, source)
                break
    made = dataset.id.get_create_plist()
    for code, _, _, name in (made.get_filter(i) for i in range(made.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            with suppress(ImportError):
                import hdf5plugin  # noqa: F401  (registers what beamlines compress with)
        if not h5py.h5z.filter_avail(code):
            called = name.decode("utf-8", "replace").split(";")[0].strip()[:40]
            what = f"{called} (HDF5 filter {code})" if called else f"HDF5 filter {code}"
            raise Hdf5Error(f"it is compressed with {what}, which is not installed; those of beamlines come with nbnumba[hdf5]")


def listed(file: Hdf5File) -> str:
    """The datasets of a file that are images, in words."""
    found = list(itertools.islice(datasets(file), MOST_LISTED + 1))
    shown = ", ".join(f"{block.name} ({words((block.images, *block.dims))})" for block in found[:MOST_LISTED])
    return f"there are {shown}{' and more' if len(found) > MOST_LISTED else ''}" if found else "it has no dataset of images"


def datasets(file: Hdf5File) -> Iterator[Block]:
    """Those that are images, as far as they are soon found."""
    left, waiting = MOST_WALKED, [("", file.find("/"))]
    seen: set[Any] = set()
    while waiting and left:
        path, place = waiting.pop(0)
        left -= 1
        if not hasattr(place, "keys"):
            with suppress(Exception):  # whatever is no stack of images
                yield described(place, path)
            continue
        with suppress(Hdf5Error):
            for name, member in file.members(place):
                if member not in seen and len(seen) < MOST_WALKED:
                    seen.add(member)
                    waiting.append((f"{path}/{name}", member))
