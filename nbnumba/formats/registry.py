"""Image files by the ending of their name: which formats there are, and what each can hold (FMT-24)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import OutputFileError
from nbnumba.formats.smv_write import MOST, bare_header, smv_blocks
from nbnumba.formats.smv_write import header as smv_header
from nbnumba.formats.smv_write import unsaid as unsaid_by_smv
from nbnumba.geometry.exposure import NOT_MEASURED, Exposure
from nbnumba.geometry.of_experiment import exposure_of

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

    @property
    def mark(self) -> int:
        """The count of pixels that are not rendered; 0 where the format has nothing that says so."""
        return NOT_MEASURED if self.least < 0 else 0


def smv(pixels: Pixels, exposure: Exposure | None) -> bytes:
    header = bare_header(pixels.shape) if exposure is None else smv_header(exposure)
    return header + np.ascontiguousarray(pixels).tobytes()


def minicbf(pixels: Pixels, exposure: Exposure) -> bytes:
    from nbnumba.formats.cbf_write import cbf_bytes

    return cbf_bytes(pixels, exposure)


def nxmx(pixels: Pixels, exposure: Exposure) -> bytes:
    from nbnumba.formats.nxmx_write import nxmx_bytes

    return nxmx_bytes([(pixels, exposure)])


def tiff(pixels: Pixels, exposure: object) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue()


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


def image_content(
    path: Path, experiment: Experiment, blocks: Iterable[Pixels], pedestal: float = 0.0, gain: float = 1.0
) -> Iterator[bytes]:
    """A rendered image's file, of blocks of rows: in the format that its name asks for, else counts as SMV and photons raw (FMT-4).

    pedestal: what is added to counts; gain: counts of a photon.
    """
    kind = format_of_counts(path)
    first, rest = peeked(blocks)
    if first.dtype.kind == "f" and not kind.photons:
        yield from (rows.tobytes() for rows in rest)
        return
    exposure = replace(exposure_of(experiment), gain=gain, pedestal=pedestal)
    if kind is SMV:
        yield from smv_blocks(experiment, rest, exposure)
    else:
        yield from scan_content(kind, experiment, rest, pedestal, gain)


def scan_content(
    kind: Format, experiment: Experiment, blocks: Iterable[Pixels], pedestal: float = 0.0, gain: float = 1.0
) -> Iterator[bytes]:
    """A rendered image's file with the header that a sweep writes."""
    yield kind.write(np.concatenate(list(blocks)), replace(exposure_of(experiment), pedestal=pedestal, gain=gain))


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


def losses(path: Path, exposure: Exposure, kind: Format) -> Iterator[str]:
    """What an image's file does not say, or keeps readers from it, in words."""
    if said := unsaid(exposure, kind):
        yield f"a {kind.name} file {said}"
    if exposure.pedestal and kind is not SMV:
        yield f"a {kind.name} file cannot say that {exposure.pedestal:g} counts are added to every pixel (-adc)"
    if kind in (SMV, CBF) and not re.search(r"\d\.|\.\d{2,12}$", path.name):  # dxtbx takes the image's number from there
        yield f"DIALS opens a {kind.name} file only if there is a number before the ending of its name, as in {path.stem}_1{path.suffix}"


def unsaid(exposure: Exposure, kind: Format) -> str:
    """What of the geometry a format's header cannot say, in words; empty if it says all."""
    if kind in (TIFF, NPY):
        return "says nothing of geometry or scan"
    if kind is NXMX:
        from nbnumba.formats.nxmx_write import unsaid as unsaid_by_nxmx

        return unsaid_by_nxmx(exposure)
    if kind is SMV:
        return cannot_say(unsaid_by_smv(exposure))
    from nbnumba.formats.cbf_write import unread
    from nbnumba.formats.cbf_write import unsaid as unsaid_in_header

    here = exposure.imgcif
    straight = np.allclose((here.fast_axis, here.slow_axis), ((1, 0, 0), (0, -1, 0)), rtol=0.0, atol=1e-6) and here.origin[2] < 0.0
    turned = here.spindle_axis is not None and not np.allclose(here.spindle_axis, (1, 0, 0), rtol=0.0, atol=1e-6)
    wrong = [
        *([] if straight else ["the detector is not straight in the beam with its fast axis along x and its slow axis along -y"]),
        *(["the spindle is not x"] if turned else []),
        *unsaid_in_header(here),
    ]
    return "; it ".join(filter(None, (cannot_say(wrong), unread(here))))


def cannot_say(clauses: Sequence[str]) -> str:
    return f"cannot say that {' and '.join(clauses)} (a .nxs file can)" if clauses else ""
