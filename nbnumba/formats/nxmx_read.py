"""NeXus NXmx files, ours and those of beamlines: a scan of images with its geometry (FMT-26)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.files.trial import require_survival
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File, label, names_in, readable, require_bounded
from nbnumba.formats.hdf5_images import Hdf5Images, Images, listed, require_filters
from nbnumba.formats.nxmx_geometry import NxmxGeometry
from nbnumba.geometry.exposure import NOT_MEASURED

if TYPE_CHECKING:
    import h5py

    from nbnumba.geometry.exposure import Exposure

BLOCK = re.compile(r"data_\d+")
MANY = 10_000  # images, to look for which takes a second
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
        """Those of an image, [slow, fast]; -1 where the detector or its mask marks what it did not count. Raises InputFileError."""
        pixels = self._images.read(number)
        self._images.say_what_is_missing()
        counts = unmarked(pixels) if pixels.dtype.kind == "u" else pixels
        for mask in self._masks:
            rejected = mask if mask.ndim == 2 else rejecting(mask[number - 1])
            counts = np.where(rejected & (counts >= 0), np.array(NOT_MEASURED, counts.dtype), counts)
        return counts

    @cached_property
    def _masks(self) -> list[Any]:
        """Where pixel_mask and pixel_mask_2 and so on reject pixels; of masks with one for each image, their datasets."""
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
        dataset, shape = self._file.dataset(detector, name), self._images.shape
        assert dataset is not None
        if dataset.shape not in (shape, (len(self), *shape)) or dataset.dtype.kind not in "iub":
            raise Hdf5Error(f"it has shape {dataset.shape} and type {dataset.dtype}, for images of {shape[0]} x {shape[1]} pixels")
        self._file.require_own(dataset, name)
        with readable("it is damaged"):
            require_bounded(dataset, "it", images=True)
            require_filters(dataset)
            return dataset if dataset.ndim == 3 else rejecting(dataset[()])

    def exposure(self, number: int) -> Exposure:
        """Geometry and scan of an image. Raises InputFileError."""
        return self._geometry.exposure(number)

    @cached_property
    def _geometry(self) -> NxmxGeometry:
        return NxmxGeometry(self._file, self._entry, self._data, len(self), self._images.shape)


def image_names(data: h5py.Group) -> list[str]:
    """Of the datasets that hold an NXdata group's images: its signal, or the blocks that detectors write."""
    names = names_in(data)
    signal = label(data, "signal") or "data"
    blocks = sorted(name for name in names if BLOCK.fullmatch(name))
    return [signal] if signal in names and signal not in blocks else blocks


def rejecting(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the bits of a mask reject pixels."""
    return np.asarray(mask.astype(np.int64) & REJECTED != 0)


def unmarked(pixels: NDArray[Any]) -> NDArray[Any]:
    """Unsigned counts as signed ones, -1 for the two largest numbers, which stand for masked pixels and gaps between modules."""
    marked = pixels >= np.iinfo(pixels.dtype).max - 1
    counts = np.where(marked, NOT_MEASURED, pixels.astype(np.int64))
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
