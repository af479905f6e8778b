"""NXmx files as they are written: a scan in one file, or in data files that a master file draws together (FMT-26, FMT-101)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import metadata
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaWarning
from nbnumba.files.whole import Content
from nbnumba.formats.chunks import LEVEL, alike, chunk_bytes, filters, is_deflated_here, pixels_of
from nbnumba.formats.nxmx_groups import beam, detector, group, least_trusted, sample
from nbnumba.geometry.exposure import BAD, NOT_MEASURED, Exposure

if TYPE_CHECKING:
    import h5py

DATA = "/entry/data/data"
STAMP = "nbnumba_sweep"
MASTER = re.compile(r"_master$")  # how names of files end that are to have their images in others
IMAGES_PER_FILE = 1000
MASKED = {NOT_MEASURED: 1 << 0, BAD: 1 << 1}  # the bits of NXmx's mask for a gap and for a dead pixel
PASSING = "pixels are masked in some images only: they are -1 or -2 there, outside pixel_mask; DIALS 3.12 takes -1 for a count"
ONE_WAVELENGTH = "the wavelength differs from image to image; DIALS takes the first one for all images of a scan"


def nxmx_bytes(images: Sequence[tuple[NDArray[np.generic], Exposure]]) -> bytes:
    """A whole file of images of one kind, in order."""
    buffer = BytesIO()
    write_nxmx(buffer, [exposure for _, exposure in images], images[0][0].dtype, (chunk_bytes(pixels) for pixels, _ in images))
    return buffer.getvalue()


def write_nxmx(file: Any, exposures: Sequence[Exposure], dtype: Any, chunks: Iterable[bytes], stamp: str = "") -> None:
    """A file (a path, or open for writing) of a scan: exposures of its images in order, and their chunks; stamp: of the sweep it is of,
    whose images all lack the same pixels.

    Of what the images share, the first one's exposure tells: see ``differing``.
    """
    masks = Masks.of(exposures, dtype, alike=bool(stamp))
    write_entry(file, exposures, masks, stamp, partial(put_images, images=len(exposures), chunks=chunks, masks=masks))


def file_of(path: Path, number: int) -> Path:
    """The file that an image is in, of those that a name stands for."""
    if not MASTER.search(path.stem):
        return path
    return path.with_name(f"{MASTER.sub('', path.stem)}_data_{(number - 1) // IMAGES_PER_FILE + 1:06d}{path.suffix}")


def files_of(path: Path, exposures: Sequence[Exposure], dtype: Any, chunks: Iterable[bytes], stamp: str = "") -> dict[Path, Content]:
    """The files that a name stands for, to be written one after the other: as ``write_nxmx`` has it, or data files and their master."""
    chunks, masks = iter(chunks), Masks.of(exposures, dtype, alike=bool(stamp))
    if file_of(path, 1) == path:
        return {path: partial(write_nxmx, exposures=exposures, dtype=dtype, chunks=chunks, stamp=stamp)}
    firsts = range(1, len(exposures) + 1, IMAGES_PER_FILE)
    sizes = {file_of(path, first): min(IMAGES_PER_FILE, len(exposures) + 1 - first) for first in firsts}
    data = {
        file: partial(write_data, images=images, chunks=islice(chunks, images), masks=masks, stamp=stamp) for file, images in sizes.items()
    }
    return {**data, path: partial(write_entry, exposures=exposures, masks=masks, stamp=stamp, put=partial(map_images, sizes, masks))}


def write_data(file: Any, images: int, chunks: Iterable[bytes], masks: Masks, stamp: str) -> None:
    """A data file: images alone."""
    with opened(file, stamp) as root:
        put_images(group(group(root, "entry", "NXentry", default="data"), "data", "NXdata", signal="data"), images, chunks, masks)


def write_entry(file: Any, exposures: Sequence[Exposure], masks: Masks, stamp: str, put: Callable[[h5py.Group], None]) -> None:
    """A file with all that is known of a scan; put: images into the group that holds them, after which masks are known."""
    import h5py

    exposures = [exposure.imgcif for exposure in exposures]
    first, last = exposures[0], exposures[-1]
    with opened(file, stamp) as root:
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
        put(data)
        source = group(entry, "source", "NXsource")
        source["name"] = "simulated"
        sample(entry, exposures)
        instrument = group(entry, "instrument", "NXinstrument")
        instrument["name"] = "simulated"
        beam(instrument, exposures)
        made = detector(instrument, exposures, masks.dtype)
        if masks.common is not None:
            made.create_dataset("pixel_mask", data=masks.common, compression=LEVEL, shuffle=True)
        instrument["detector/data"] = h5py.SoftLink(DATA)
        entry["sample/beam"] = h5py.SoftLink("/entry/instrument/beam")
    if masks.passing:
        warnings.warn(NbnumbaWarning(f"{masks.passing} {PASSING}"), stacklevel=2)
    if first.spindle_axis is not None and any(e.wavelength != first.wavelength for e in exposures):
        warnings.warn(NbnumbaWarning(ONE_WAVELENGTH), stacklevel=2)


def opened(file: Any, stamp: str) -> h5py.File:
    """A new file."""
    import h5py

    root = h5py.File(file, "w", libver=("earliest", "v110"))
    root.attrs["default"] = "entry"
    if stamp:
        root.attrs[STAMP] = stamp
    return root


def put_images(data: h5py.Group, images: int, chunks: Iterable[bytes], masks: Masks) -> None:
    """So many images as a dataset, each a chunk."""
    shape, dtype = masks.shape, masks.dtype
    pixels = data.create_dataset("data", (images, *shape), dtype, chunks=(1, *shape), **filters(is_deflated_here()))
    for number, chunk in enumerate(chunks):
        pixels.id.write_direct_chunk((number, 0, 0), alike(chunk, is_deflated_here(), shape, dtype))
        masks.add(chunk)


def map_images(sizes: dict[Path, int], masks: Masks, data: h5py.Group) -> None:
    """All images as one dataset of those of data files with so many each; what is not there reads as not measured."""
    from h5py import ExternalLink, h5d, h5p, h5s, h5t

    whole, first = h5s.create_simple((sum(sizes.values()), *masks.shape)), 0
    made = h5p.create(h5p.DATASET_CREATE)
    made.set_obj_track_times(False)  # the same images make the same file
    made.set_fill_value(np.array(NOT_MEASURED).astype(masks.dtype))
    for number, (file, images) in enumerate(sizes.items(), 1):
        whole.select_hyperslab((first, 0, 0), (images, *masks.shape))
        made.set_virtual(whole, file.name.encode(), DATA.encode(), h5s.create_simple((images, *masks.shape)))
        data[f"data_{number:06d}"] = ExternalLink(file.name, DATA)
        first += images
    whole.select_all()
    h5d.create(data.id, b"data", h5t.py_create(masks.dtype, logical=True), whole, dcpl=made)


class Masks:
    """Where images hold -1 or -2 for what was not measured; where these are trusted, they are numbers like others.

    alike: whether all of them do in the same pixels, so that one is looked at.
    """

    def __init__(self, least: float, dtype: np.dtype[Any], shape: tuple[int, int], alike: bool) -> None:
        self.dtype, self.shape, self._alike = dtype, shape, alike
        self._bits = {value: bit for value, bit in MASKED.items() if value < least and dtype.kind == "i"}
        self._always: NDArray[np.uint32] | None = None
        self._ever = np.zeros(shape, bool)

    @classmethod
    def of(cls, exposures: Sequence[Exposure], dtype: Any, alike: bool) -> Masks:
        """Of images that are to come."""
        return cls(least_trusted(exposures[0]), np.dtype(dtype), exposures[0].frame_shape, alike)

    def add(self, chunk: bytes) -> None:
        """Look at an image."""
        if not self._bits or (self._alike and self._always is not None):
            return
        pixels, bits = pixels_of(chunk, self.shape, self.dtype), np.zeros(self.shape, np.uint32)
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


def packed(path: Path, number: int) -> bytes:
    """An image's chunk as the file that it is in has it."""
    import h5py

    first = (number - 1) % IMAGES_PER_FILE if file_of(path, number) != path else number - 1
    with h5py.File(file_of(path, number), "r") as root:
        return bytes(root[DATA].id.read_direct_chunk((first, 0, 0))[1])


def stamp_of(path: Path) -> str:
    """Of what sweep a file is; empty if it is of none."""
    import h5py

    try:
        with h5py.File(path, "r") as root:
            return str(root.attrs.get(STAMP, ""))
    except OSError:
        return ""
