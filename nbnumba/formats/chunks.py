"""An image as a chunk of an HDF5 dataset: bit by bit and by LZ4 where hdf5plugin is installed, else byte by byte and deflated (FMT-26).

Both are as large; the first, which detectors write, takes a seventh of the time.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NotAvailableError

if TYPE_CHECKING:
    import h5py

LEVEL = 4  # of zlib
ELSEWHERE = "HDF5_PLUGIN_PATH"  # where HDF5 looks for filters, as for DIALS's; those do not fit the HDF5 of h5py, and fail to write
ZLIB = b"\x78"  # what begins so is deflated; the other begins with the high bytes of a number of bytes


@cache
def is_deflated_here() -> bool:
    """Whether images are deflated, for want of hdf5plugin."""
    return find_spec("hdf5plugin") is None


@cache
def take_own_filter() -> None:
    """Have h5py unpack and pack with hdf5plugin's own filter, as long as no dataset is open, rather than with one from elsewhere."""
    if ELSEWHERE in os.environ:
        with suppress(ImportError):
            import hdf5plugin

            hdf5plugin.register("bshuf")


def filters(deflated: bool) -> dict[str, Any]:
    """What h5py makes datasets of such chunks with. Raises NotAvailableError."""
    if deflated:
        return {"compression": LEVEL, "shuffle": True}
    try:
        import hdf5plugin
    except ImportError:
        raise NotAvailableError("images are packed with bitshuffle, which is not installed; pip install 'nbnumba[hdf5]'") from None
    take_own_filter()
    return dict(hdf5plugin.Bitshuffle(cname="lz4"))


def chunk_bytes(pixels: NDArray[np.generic]) -> bytes:
    """An image as HDF5's filters leave it."""
    if is_deflated_here():
        return zlib.compress(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).reshape(pixels.size, -1).T.tobytes(), LEVEL)
    with in_memory() as file:
        data = dataset(file, pixels.shape, pixels.dtype)
        data[...] = pixels
        return bytes(data.id.read_direct_chunk((0, 0))[1])


def pixels_of(chunk: bytes, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The image that ``chunk_bytes`` made a chunk of, here or elsewhere."""
    if is_deflated(chunk):
        planes = np.frombuffer(zlib.decompress(chunk), np.uint8).reshape(dtype.itemsize, -1)
        return np.ascontiguousarray(planes.T).view(dtype).reshape(shape)
    with in_memory() as file:
        data = dataset(file, shape, dtype)
        data.id.write_direct_chunk((0, 0), chunk)
        return np.asarray(data[...])


def is_deflated(chunk: bytes) -> bool:
    """Whether a chunk is."""
    return chunk.startswith(ZLIB)


def alike(chunk: bytes, deflated: bool, shape: tuple[int, int], dtype: np.dtype[Any]) -> bytes:
    """A chunk as the others of its file are: one that was packed by another installation is packed again."""
    return chunk if is_deflated(chunk) == deflated else chunk_bytes(pixels_of(chunk, shape, dtype))


def in_memory() -> h5py.File:
    import h5py

    return h5py.File("image", "w", driver="core", backing_store=False)


def dataset(file: h5py.File, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    return file.create_dataset("image", shape, dtype, chunks=shape, **filters(deflated=False))
