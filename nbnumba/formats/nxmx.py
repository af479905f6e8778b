"""NeXus files in the NXmx application definition: a whole scan in one HDF5 file, an image a chunk (FMT-26).

Read are ours and those of beamlines. Beside this: hdf5.py (links), hdf5_images.py (datasets of images), nxmx_geometry.py (what is read of
geometry) and nxmx_groups.py (what is written of it).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib import metadata
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import InputFileError, NbnumbaWarning, warn_of_file
from nbnumba.files.trial import require_survival
from nbnumba.formats.chunks import LEVEL, alike, chunk_bytes, filters, is_deflated_here, pixels_of
from nbnumba.formats.format import Format, Pixels, ScanFile, begins_with, stacked
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File, label, names_in, readable, require_bounded
from nbnumba.formats.hdf5_images import Hdf5Images, Images, listed, require_filters
from nbnumba.formats.nxmx_groups import beam, detector, differing, group, least_trusted, sample, unsaid
from nbnumba.geometry.exposure import BAD, NOT_MEASURED, Exposure

if TYPE_CHECKING:
    import h5py

    from nbnumba.formats.nxmx_geometry import NxmxGeometry

BLOCK = re.compile(r"data_\d+")
MANY = 10_000  # images, to look for which takes a second
REJECTED = 0xFFFF  # bits of a pixel mask for which a pixel is not taken
DATA = "/entry/data/data"
STAMP = "nbnumba_sweep"
MASKED = {NOT_MEASURED: 1 << 0, BAD: 1 << 1}  # the bits of NXmx's mask for a gap and for a dead pixel
PASSING = "pixels are masked in some images only: they are -1 or -2 there, outside pixel_mask; DIALS 3.12 takes -1 for a count"
ONE_WAVELENGTH = "the wavelength differs from image to image; DIALS takes the first one for all images of a scan"


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
            rejected = mask if isinstance(mask, np.ndarray) else rejecting(mask[number - 1]).reshape(counts.shape)
            counts = np.where(rejected & (counts >= 0), np.array(NOT_MEASURED, counts.dtype), counts)
        return counts if self._is_stacked else stacked(counts[where] for where in self._geometry.regions)

    @cached_property
    def _is_stacked(self) -> bool:
        """Whether the panels are one below the other already, as far as it is known where they are."""
        try:
            regions = self._geometry.regions
        except Hdf5Error:
            return True
        return regions == below_each_other(regions) and self._images.shape == (regions[-1][0].stop, max(fast.stop for _, fast in regions))

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
        dataset, shape, dims = self._file.dataset(detector, name), self._images.shape, self._images.dims
        assert dataset is not None
        if dataset.shape not in (shape, dims, (len(self), *dims)) or dataset.dtype.kind not in "iub":
            raise Hdf5Error(f"it has shape {dataset.shape} and type {dataset.dtype}, for images of {shape[0]} x {shape[1]} pixels")
        self._file.require_own(dataset, name)
        with readable("it is damaged"):
            require_bounded(dataset, "it", images=True)
            require_filters(dataset)
            return rejecting(dataset[()]).reshape(shape) if dataset.shape in (shape, dims) else dataset

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


def nxmx_bytes(images: Sequence[tuple[NDArray[np.generic], Exposure]]) -> bytes:
    """A whole file of images of one kind, in order."""
    buffer = BytesIO()
    write_nxmx(buffer, [exposure for _, exposure in images], images[0][0].dtype, (chunk_bytes(pixels) for pixels, _ in images))
    return buffer.getvalue()


def write_nxmx(file: Any, exposures: Sequence[Exposure], dtype: Any, chunks: Iterable[bytes], stamp: str = "") -> None:
    """A file (a path, or open for writing) of a scan: exposures of its images in order, and their chunks; stamp: of the sweep it is of.

    Of what the images share, the first one's exposure tells: see ``differing``.
    """
    import h5py

    exposures = [exposure.imgcif for exposure in exposures]
    first, last, dtype = exposures[0], exposures[-1], np.dtype(dtype)
    frame = first.frame_shape
    with h5py.File(file, "w", libver=("earliest", "v110")) as root:
        root.attrs["default"] = "entry"
        if stamp:
            root.attrs[STAMP] = stamp
        entry = group(root, "entry", "NXentry", default="data")
        entry["definition"] = "NXmx"
        entry["start_time"] = f"{first.began.isoformat()}Z"
        entry["end_time_estimated"] = f"{last.after(last.number).isoformat()}Z"
        entry["program_name"] = f"nbnumba {metadata.version('nbnumba')}"
        data = group(entry, "data", "NXdata", signal="data")
        if first.pedestal:
            data["data_offset"] = -first.pedestal
        if first.gain != 1.0:
            data["data_scaling_factor"] = 1.0 / first.gain
        pixels = data.create_dataset("data", (len(exposures), *frame), dtype, chunks=(1, *frame), **filters(is_deflated_here()))
        masks = Masks(least_trusted(first), dtype, frame)
        for number, chunk in enumerate(chunks):
            pixels.id.write_direct_chunk((number, 0, 0), alike(chunk, is_deflated_here(), frame, dtype))
            masks.add(chunk)
        source = group(entry, "source", "NXsource")
        source["name"] = "simulated"
        sample(entry, exposures)
        instrument = group(entry, "instrument", "NXinstrument")
        instrument["name"] = "simulated"
        beam(instrument, exposures)
        made = detector(instrument, exposures, dtype)
        if masks.common is not None:
            made.create_dataset("pixel_mask", data=masks.common, compression=LEVEL, shuffle=True)
        instrument["detector/data"] = h5py.SoftLink(DATA)
        entry["sample/beam"] = h5py.SoftLink("/entry/instrument/beam")
    if masks.passing:
        warnings.warn(NbnumbaWarning(f"{masks.passing} {PASSING}"), stacklevel=2)
    if first.spindle_axis is not None and any(e.wavelength != first.wavelength for e in exposures):
        warnings.warn(NbnumbaWarning(ONE_WAVELENGTH), stacklevel=2)


class Masks:
    """Where images hold -1 or -2 for what was not measured; where these are trusted, they are numbers like others."""

    def __init__(self, least: float, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
        self._dtype, self._shape = dtype, shape
        self._bits = {value: bit for value, bit in MASKED.items() if value < least and dtype.kind == "i"}
        self._always: NDArray[np.uint32] | None = None
        self._ever = np.zeros(shape, bool)

    def add(self, chunk: bytes) -> None:
        """Look at an image."""
        if not self._bits:
            return
        pixels, bits = pixels_of(chunk, self._shape, self._dtype), np.zeros(self._shape, np.uint32)
        for value, bit in self._bits.items():
            bits[pixels == value] = bit
        self._ever |= bits > 0
        self._always = bits if self._always is None else np.where(bits, self._always, np.uint32(0))

    @property
    def common(self) -> NDArray[np.uint32] | None:
        """The bits of pixels that are masked in all images, as the first one has them; None: there are none."""
        return self._always if self._always is not None and self._always.any() else None

    @property
    def passing(self) -> int:
        """How many pixels are masked in some images, but not in all."""
        return int(np.count_nonzero(self._ever & (self._always == 0))) if self._always is not None else 0


def stamp_of(path: Path) -> str:
    """Of what sweep a file is; empty if it is of none."""
    import h5py

    try:
        with h5py.File(path, "r") as root:
            return str(root.attrs.get(STAMP, ""))
    except OSError:
        return ""


def write(pixels: Pixels, exposure: Exposure | None) -> bytes:
    assert exposure is not None
    return nxmx_bytes([(pixels, exposure)])


NXMX = Format(
    name="NeXus NXmx",
    endings=(".nxs", ".h5", ".hdf5"),
    understand=begins_with(b"\x89HDF\r\n\x1a\n"),
    write=write,
    scan=ScanFile(open=open_images, pack=chunk_bytes, write=write_nxmx, stamp_of=stamp_of, differing=differing),
    marks=True,
    packed=True,
    panels=True,
    geometry="needed",
    unsaid=unsaid,
)
