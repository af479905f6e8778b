"""Image files by the ending of their name: which formats there are, and what each can hold (FMT-24)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import OutputFileError
from nbnumba.exposure import Exposure
from nbnumba.outputs.exposure import exposure_of
from nbnumba.outputs.smv import MOST, scan_header, smv_blocks

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

Pixels = NDArray[Any]


class Format(NamedTuple):
    """A kind of file; counts: the type of its whole numbers, least and most: which of them it holds; photons: whether it holds fractions;
    stack: whether it holds a whole scan.
    """

    name: str
    write: Callable[[Pixels, Any], bytes]  # of pixels and their Exposure, None for formats that state none
    counts: type[Any] = np.int32
    least: int = -(2**31)
    most: int = 2**31 - 1
    photons: bool = True
    stack: bool = False


def smv(pixels: Pixels, exposure: Exposure) -> bytes:
    return scan_header(exposure) + np.ascontiguousarray(pixels).tobytes()


def minicbf(pixels: Pixels, exposure: Exposure) -> bytes:
    from nbnumba.outputs.minicbf import cbf_bytes

    return cbf_bytes(pixels, exposure)


def nxmx(pixels: Pixels, exposure: Exposure) -> bytes:
    from nbnumba.outputs.nxmx import nxmx_bytes

    return nxmx_bytes([(pixels, exposure)])


def tiff(pixels: Pixels, exposure: object) -> bytes:
    from fabio.tifimage import TifImage

    with tempfile.TemporaryDirectory() as folder:  # fabio writes TIFF files to names only
        file = Path(folder) / "image.tif"
        TifImage(data=np.ascontiguousarray(pixels)).write(str(file))
        return file.read_bytes()


def npy(pixels: Pixels, exposure: object) -> bytes:
    buffer = BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


SMV = Format("SMV", smv, np.uint16, 0, MOST, photons=False)
# Byte offset compression stumbles over neighbours that are 2^31 apart.
CBF = Format("miniCBF", minicbf, least=-(2**30), most=2**30 - 1, photons=False)
NXMX = Format("NeXus NXmx", nxmx, stack=True)
TIFF = Format("TIFF", tiff)
NPY = Format("NumPy", npy)
FORMATS = {
    ".img": SMV, ".smv": SMV, ".cbf": CBF, ".nxs": NXMX, ".h5": NXMX, ".hdf5": NXMX, ".tif": TIFF, ".tiff": TIFF, ".npy": NPY,
}  # fmt: skip


def format_of(path: Path) -> Format:
    """The format that a name's ending stands for. Raises OutputFileError."""
    if path.suffix.lower() not in FORMATS:
        raise OutputFileError(f"{path}: {path.suffix or 'no ending'} stands for no image format; there are {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def format_of_counts(path: Path) -> Format:
    """SMV unless the name asks for another format."""
    return FORMATS.get(path.suffix.lower(), SMV)


def image_content(path: Path, experiment: Experiment, blocks: Iterable[Pixels]) -> Iterator[bytes]:
    """A rendered image's file, of blocks of rows: in the format that its name asks for, else counts as SMV and photons raw (FMT-4)."""
    kind = format_of_counts(path)
    first, rest = peeked(blocks)
    if first.dtype.kind == "f" and not kind.photons:
        yield from (rows.tobytes() for rows in rest)
    elif kind is SMV:
        yield from smv_blocks(experiment, rest)
    else:
        yield kind.write(np.concatenate(list(rest)), exposure_of(experiment))


def peeked(blocks: Iterable[Pixels]) -> tuple[Pixels, Iterator[Pixels]]:
    """The first block, and all of them."""
    rest = iter(blocks)
    first = next(rest)
    return first, chain([first], rest)


def fitted(pixels: Pixels, kind: Format) -> tuple[Pixels, int]:
    """Finite pixels as the format holds them, and how many of them it cannot hold: fractions are rounded, what is beyond limits cut off."""
    if kind.photons and pixels.dtype.kind == "f":
        return pixels.astype(np.float32), 0
    whole = np.rint(pixels.astype(np.float64)) if pixels.dtype.kind == "f" else pixels + np.int8(0)  # truth values as numbers
    beyond = (whole < kind.least) | (whole > kind.most)
    held = np.where(beyond, np.where(whole > 0, kind.most, kind.least), whole) if beyond.any() else whole
    return held.astype(kind.counts), int(np.count_nonzero(beyond))


def unsaid(exposure: Exposure, kind: Format) -> str:
    """What of the geometry a format's header cannot say, in words; empty if it says all."""
    if kind in (TIFF, NPY):
        return "says nothing of geometry or scan"
    if kind is NXMX:
        return ""
    here = exposure.imgcif
    straight = np.allclose((here.fast_axis, here.slow_axis), ((1, 0, 0), (0, -1, 0)), rtol=0.0, atol=1e-6) and here.origin[2] < 0.0
    turned = here.spindle_axis is not None and not np.allclose(here.spindle_axis, (1, 0, 0), rtol=0.0, atol=1e-6)
    wrong = [
        *([] if straight else ["the detector is not straight in the beam with its fast axis along x and its slow axis along -y"]),
        *(["the spindle is not x"] if turned else []),
        *(["its sensor is thick"] if kind is SMV and here.sensor_thickness else []),
    ]
    return f"cannot say that {' and '.join(wrong)} (a .nxs file can)" if wrong else ""
