"""NeXus files in the NXmx application definition: a whole scan in one HDF5 file, an image a chunk (FMT-26).

Read are ours and those of beamlines. Beside this: hdf5.py (links), hdf5_images.py (datasets of images), nxmx_geometry.py and nxmx_axes.py
(what is read of geometry), nxmx_files.py (what is written) and nxmx_groups.py (what is written of geometry).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.files.trial import require_survival
from nbnumba.formats.chunks import chunk_bytes
from nbnumba.formats.format import Format, Pixels, ScanFile, begins_with, stacked
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File, label, names_in, readable, require_bounded
from nbnumba.formats.hdf5_images import Hdf5Images, Images, listed, require_filters
from nbnumba.formats.nxmx_files import MASKED, file_of, files_of, nxmx_bytes, packed, stamp_of
from nbnumba.formats.nxmx_groups import differing, unsaid
from nbnumba.geometry.exposure import BAD, NOT_MEASURED, Exposure

if TYPE_CHECKING:
    import h5py

    from nbnumba.formats.nxmx_geometry import NxmxGeometry

BLOCK = re.compile(r"data_\d+")
MANY = 10_000  # images, to look for which takes a second
GAP = MASKED[NOT_MEASURED]
REJECTED = 0xFFFF  # bits of a pixel mask for which a pixel is not taken


class NxmxFile:
    """The images of the first entry, numbered from 1. Close it, or use it as a context. Raises InputFileError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = Hdf5File(path)
        try:
            with readable("is damaged"):
                self._entry, self._data, names = self._of_entry()
                self._images = Images(self._file, names, self._data)
        except (InputFileError, Hdf5Error) as error:
            self._file.close()
            raise error if isinstance(error, InputFileError) else InputFileError(path, str(error)) from None

    def __enter__(self) -> NxmxFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._images)

    def _of_entry(self) -> tuple[h5py.Group, h5py.Group, list[str]]:
        """The entry, its NXdata, and the names of its datasets of images."""
        for entry in self._file.of_class(self._file.find("/"), "NXentry"):
            if self._is_nxmx(entry):
                for data in self._file.of_class(entry, "NXdata"):
                    if names := image_names(data):
                        return entry, data, names
                raise Hdf5Error(f"has an NXmx entry without images; view and convert take --dataset PATH: {listed(self._file)}")
        raise Hdf5Error(f"has no entry that is NXmx; view and convert take --dataset PATH: {listed(self._file)}")

    def _is_nxmx(self, entry: h5py.Group) -> bool:
        try:
            return self._file.words(entry, "definition") == "NXmx"
        except Hdf5Error:
            return False

    @property
    def numbers(self) -> list[int]:
        """Of the images that are there."""
        return self._images.numbers()

    @property
    def holds_counts(self) -> bool:
        """Whether pixels are whole numbers."""
        return self._images.holds_counts

    def pixels(self, number: int) -> NDArray[Any]:
        """Those of an image, [slow, fast]; -1 where the detector or its mask marks gaps, -2 where pixels are bad. Raises InputFileError."""
        pixels = self._images.read(number)
        self._images.say_what_is_missing()
        counts = unmarked(pixels) if pixels.dtype.kind == "u" else pixels
        for mask in self._masks:
            marks = mask if isinstance(mask, np.ndarray) else marks_of(mask[number - 1]).reshape(counts.shape)
            counts = np.where((marks < 0) & (counts >= 0), marks.astype(counts.dtype), counts)
        return counts if self.is_stacked else stacked(counts[where] for where in self._geometry.regions)

    @cached_property
    def is_stacked(self) -> bool:
        """Whether the panels are one below the other already, as far as it is known where they are."""
        try:
            regions = self._geometry.regions
        except Hdf5Error:
            return True
        return regions == below_each_other(regions) and self._images.shape == (regions[-1][0].stop, max(fast.stop for _, fast in regions))

    @cached_property
    def _masks(self) -> list[Any]:
        """What pixel_mask and pixel_mask_2 and so on make of pixels; of masks with one for each image, their datasets."""
        try:
            detector = self._geometry.detector
        except Hdf5Error:
            return []
        found = []
        for name in (name for name in names_in(detector) if re.fullmatch(r"pixel_mask(_\d+)?", name)):
            try:
                found.append(self._mask(detector, name))
            except Hdf5Error as error:
                warn_of_file(self.path, f"{name} is left out: {error}")
        return found

    def _mask(self, detector: h5py.Group, name: str) -> Any:
        dataset, shape, dims = self._file.dataset(detector, name), self._images.shape, self._images.dims
        assert dataset is not None
        if dataset.shape not in (shape, dims, (len(self), *dims)) or dataset.dtype.kind not in "iub":
            raise Hdf5Error(f"it has shape {dataset.shape} and type {dataset.dtype}, for images of {shape[0]} x {shape[1]} pixels")
        self._file.require_own(dataset, name)
        with readable("it is damaged"):
            require_bounded(dataset, "it", images=True)
            require_filters(self._file, dataset)
            return marks_of(dataset[()]).reshape(shape) if dataset.shape in (shape, dims) else dataset

    def exposure(self, number: int) -> Exposure:
        """Geometry and scan of an image. Raises InputFileError."""
        return self._geometry.exposure(number)

    @cached_property
    def _geometry(self) -> NxmxGeometry:
        from nbnumba.formats.nxmx_geometry import NxmxGeometry

        return NxmxGeometry(self._file, self._entry, self._data, len(self), self._images.dims)


def below_each_other(regions: Sequence[tuple[slice, slice]]) -> list[tuple[slice, slice]]:
    """The same regions of an image in its first columns, each in the rows that follow those of the one before."""
    ends = list(accumulate((slow.stop - slow.start for slow, _ in regions), initial=0))
    rows = map(slice, ends, ends[1:])
    return [(row, slice(0, fast.stop - fast.start)) for row, (_, fast) in zip(rows, regions, strict=True)]


def image_names(data: h5py.Group) -> list[str]:
    """Of the datasets that hold an NXdata group's images: its signal, or the blocks that detectors write."""
    names = names_in(data)
    signal = label(data, "signal") or "data"
    blocks = sorted(name for name in names if BLOCK.fullmatch(name))
    return [signal] if signal in names and signal not in blocks else blocks


def marks_of(mask: NDArray[Any]) -> NDArray[np.int8]:
    """The counts of pixels that the bits of a mask reject, of gaps and others; 0 of those that it does not."""
    bits = mask.astype(np.int64) & REJECTED
    return np.where(bits & GAP, np.int8(NOT_MEASURED), np.where(bits, np.int8(BAD), np.int8(0)))


def unmarked(pixels: NDArray[Any]) -> NDArray[Any]:
    """Unsigned counts as signed ones, -1 and -2 for the two largest numbers, which stand for gaps between modules and for bad pixels."""
    above = pixels - (np.iinfo(pixels.dtype).max - pixels.dtype.type(1))
    counts = np.where(above <= 1, above.astype(np.int64) + BAD, pixels.astype(np.int64))
    return counts if counts.max(initial=0) > np.iinfo(np.int32).max else counts.astype(np.int32)


def open_images(path: Path, dataset: str = "") -> NxmxFile | Hdf5Images:
    """The images of an NXmx file, or of a dataset of any HDF5 file. Raises InputFileError."""
    import h5py  # noqa: F401  (here rather than in the process that looks first)

    require_survival(path, look_at, dataset)
    return Hdf5Images(path, dataset) if dataset else NxmxFile(path)


def look_at(path: Path, dataset: str) -> None:
    """Everything but pixels, and where those of very many images are."""
    with Hdf5Images(path, dataset) if dataset else NxmxFile(path) as found:
        if len(found) > MANY or found.numbers:
            found.exposure(1)


def write(pixels: Pixels, exposure: Exposure | None) -> bytes:
    assert exposure is not None
    return nxmx_bytes([(pixels, exposure)])


NXMX = Format(
    name="NeXus NXmx",
    endings=(".nxs", ".h5", ".hdf5"),
    understand=begins_with(b"\x89HDF\r\n\x1a\n"),
    write=write,
    scan=ScanFile(
        open=open_images, pack=chunk_bytes, packed=packed, file=file_of, contents=files_of, stamp_of=stamp_of, differing=differing
    ),
    marks=True,
    packed=True,
    panels=True,
    geometry="needed",
    unsaid=unsaid,
)
