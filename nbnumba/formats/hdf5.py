"""HDF5 files, and those beside or below them that their links name; nothing else is opened (FMT-50)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError
from nbnumba.formats.chunks import take_own_filter

if TYPE_CHECKING:
    import h5py

MOST_STEPS = 100  # from group to group and from link to link, on the way to one name
MOST_STEPS_IN_ALL = 5_000  # on the ways to the members of one group
MOST_MEMBERS = 10_000  # of a group
MOST_OPEN = 16  # other files at a time
SMALL = 1 << 26  # bytes that any file may ask for
EXPANSION = 1000  # bytes that a byte of a file may stand for beyond that: deflate's limit
NESTED = 4  # virtual datasets of virtual datasets


class Hdf5Error(Exception):
    """What cannot be read of an HDF5 file, and why, in words."""


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Failures of h5py, which raises whatever its parsing stumbles over, in words."""
    try:
        yield
    except (Hdf5Error, InputFileError, MemoryError):
        raise
    except Exception as error:
        inner = re.search(r"\((.*)\)", str(error)) if isinstance(error, OSError | KeyError | RuntimeError) else None
        again = "; fetch it again" if "truncated" in str(error) else ""
        raise Hdf5Error(f"{what}{f': {inner[1]}' if inner else ''}{again}") from None


class Hdf5File:
    """A file, with those that its links name. Close it, or use it as a context. Raises InputFileError for what is no HDF5 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._others: dict[Path, h5py.File] = {}
        try:
            self._file = opened(path)
        except Hdf5Error as error:
            raise InputFileError(path, str(error)) from None

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """All files."""
        for file in (self._file, *self._others.values()):
            with suppress(Exception):
                file.close()

    def find(self, path: str, start: h5py.Group | None = None) -> Any:
        """The group or dataset of that name, from the group ``start`` on, with every link followed. Raises Hdf5Error."""
        self._steps = 0
        return self._follow(path, self._file if start is None else start)

    def _follow(self, path: str, place: h5py.Group) -> Any:
        place = place.file if path.startswith("/") else place
        for name in path.split("/"):
            if name not in ("", "."):
                place = self._step(place, name)
        return place

    def _step(self, group: Any, name: str) -> Any:
        import h5py

        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Hdf5Error(f"{name} is a link that leads on and on")
        with readable(f"{name} cannot be read"):
            link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
            if link is None:
                raise Hdf5Error(f"{name} is missing")
            if isinstance(link, h5py.SoftLink):
                return self._follow(link.path, group)
            if isinstance(link, h5py.ExternalLink):
                return self._follow(f"/{link.path}", self.beside(group, link.filename))
            return group[name]

    def beside(self, place: Any, name: str) -> h5py.File:
        """The file of that name, beside or below that of ``place``. Raises Hdf5Error."""
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise Hdf5Error(f"{name} lies elsewhere; links are followed to files beside or below this one, so put it there")
        path = Path(place.file.filename).parent / name
        if not path.is_file():
            raise Hdf5Error(f"{name} is missing")
        if path not in self._others:
            if len(self._others) >= MOST_OPEN:
                self._others.pop(next(iter(self._others))).close()
            with readable(f"{name} cannot be read"):
                self._others[path] = opened(path)
        return self._others[path]

    def members(self, group: h5py.Group) -> Iterator[tuple[str, Any]]:
        """Names in a group, and what they lead to, as far as they do."""
        steps = 0
        for name in names_in(group):
            with suppress(Hdf5Error):
                yield name, self.find(name, group)
            steps += self._steps
            if steps > MOST_STEPS_IN_ALL:
                return

    def of_class(self, group: h5py.Group, kind: str) -> list[h5py.Group]:
        """The groups of a NeXus class in a group."""
        return [member for _, member in self.members(group) if label(member, "NX_class") == kind and hasattr(member, "keys")]

    def dataset(self, group: h5py.Group, name: str) -> h5py.Dataset | None:
        """The dataset of that name; None where there is nothing of that name. Raises Hdf5Error for what cannot be read."""
        if not has(group, name):
            return None
        found = self.find(name, group)
        if not hasattr(found, "shape"):
            raise Hdf5Error(f"{name} is a group, not a value")
        return found

    def values(self, group: h5py.Group, name: str) -> Any:
        """What a dataset holds; None where there is none. Raises Hdf5Error."""
        dataset = self.dataset(group, name)
        return None if dataset is None else self.held(dataset, name)

    def held(self, dataset: h5py.Dataset, name: str) -> Any:
        """The same of a dataset that is there. Raises Hdf5Error."""
        self.require_own(dataset, name)
        with readable(f"{name} cannot be read"):
            require_bounded(dataset, name)
            return dataset[()]

    def numbers(self, group: h5py.Group, name: str) -> NDArray[np.float64] | None:
        """The finite numbers that a dataset holds; None where there is none. Raises Hdf5Error."""
        dataset = self.dataset(group, name)
        return None if dataset is None else self.numbers_of(dataset, name)

    def numbers_of(self, dataset: h5py.Dataset, name: str) -> NDArray[np.float64]:
        """The same of a dataset that is there. Raises Hdf5Error."""
        numbers = np.asarray(self.held(dataset, name))
        if numbers.dtype.kind not in "iuf" or not numbers.size:
            raise Hdf5Error(f"{name} is not a number")
        with np.errstate(all="ignore"):
            numbers = numbers.astype(np.float64)
        if not np.isfinite(numbers).all():
            raise Hdf5Error(f"{name} is not finite")
        return numbers

    def words(self, group: h5py.Group, name: str) -> str:
        """The text that a dataset holds; empty where there is none. Raises Hdf5Error."""
        return text(self.values(group, name))

    def require_own(self, dataset: h5py.Dataset, name: str, depth: int = 0) -> None:
        """Refuse a dataset with values in files that are not there, or not to be read. Raises Hdf5Error."""
        with readable(f"{name} cannot be read"):
            if dataset.external:
                raise Hdf5Error(f"{name} has its values in other files (HDF5's external storage), which are not read")
            for source in dataset.virtual_sources() if dataset.is_virtual else ():
                self.require_source(dataset, source, depth)

    def require_source(self, dataset: h5py.Dataset, source: Any, depth: int = 0) -> None:
        """The same for one part of a virtual dataset. Raises Hdf5Error."""
        if depth > NESTED:
            raise Hdf5Error("virtual datasets are made of each other")
        self.require_own(self.source(dataset, source), source.dset_name, depth + 1)

    def source(self, dataset: h5py.Dataset, source: Any) -> h5py.Dataset:
        """The dataset that a part of a virtual one is of. Raises Hdf5Error."""
        place = dataset.file if source.file_name == "." else self.beside(dataset, source.file_name)
        found = self.find(source.dset_name, place["/"])
        if not hasattr(found, "is_virtual"):
            raise Hdf5Error(f"{source.dset_name} is not a dataset")
        return found


def opened(path: Path) -> h5py.File:
    import h5py

    take_own_filter()
    with readable("is not an HDF5 file that can be read"):
        return h5py.File(path, "r")


def names_in(group: h5py.Group) -> list[str]:
    """Of what is in a group, wherever it leads. Raises Hdf5Error."""
    with readable("a group cannot be read"):
        return [name for name in islice(group, MOST_MEMBERS) if isinstance(name, str)]


def has(group: h5py.Group, name: str) -> bool:
    """Whether there is something of that name in a group, wherever it leads. Raises Hdf5Error."""
    with readable("a group cannot be read"):
        return name not in ("", ".") and "/" not in name and bool(group.id.links.exists(name.encode()))


def attribute(holder: Any, name: str) -> Any:
    """An attribute; None where there is none that can be read."""
    try:
        return holder.attrs.get(name)
    except Exception:  # h5py raises whatever its parsing stumbles over
        return None


def label(holder: Any, name: str) -> str:
    """An attribute's text; empty where there is none."""
    return text(attribute(holder, name))


def text(value: Any) -> str:
    """Text however it is stored, or empty."""
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size == 1 else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else ""


def require_bounded(dataset: h5py.Dataset, name: str, images: bool = False) -> None:
    """Refuse what takes far more memory than its files: all of a dataset, or one of its images. Raises Hdf5Error."""
    shape = dataset.shape[1:] if images and len(dataset.shape) > 2 else dataset.shape
    wanted = max(math.prod(shape), math.prod(dataset.chunks or ())) * dataset.dtype.itemsize
    if wanted <= SMALL:
        return
    files = {Path(dataset.file.filename)}
    if dataset.is_virtual:
        files |= {Path(dataset.file.filename).parent / source.file_name for source in dataset.virtual_sources()}
    stored = sum(file.stat().st_size for file in files if file.is_file())
    if wanted > EXPANSION * stored:
        raise Hdf5Error(f"{name} asks for {wanted / 1e6:.6g} MB, but its files have {stored / 1e6:.3g} MB")
