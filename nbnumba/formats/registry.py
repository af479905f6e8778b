"""Which formats of image files there are, found by a name's ending or by what a file begins with (FMT-24, FMT-70)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from nbnumba.errors import NotAvailableError, OutputFileError
from nbnumba.files.text import first_bytes
from nbnumba.formats.cbf import CBF
from nbnumba.formats.dials_mask import DIALS_MASK
from nbnumba.formats.format import Format
from nbnumba.formats.npy import NPY, NPZ
from nbnumba.formats.nxmx import NXMX
from nbnumba.formats.pgm import PGM
from nbnumba.formats.raw import RAW
from nbnumba.formats.smv import SMV
from nbnumba.formats.tiff import TIFF

FORMATS = (SMV, CBF, NXMX, TIFF, NPY, NPZ, PGM, DIALS_MASK, RAW)  # the first that understands a file reads it
ENTRY_POINTS = "nbnumba.formats"
FIRST = 512  # bytes of a file that formats are shown


@cache
def installed() -> tuple[Format, ...]:
    """Formats of other packages. Raises NotAvailableError for one that cannot be loaded."""
    return tuple(map(loaded, metadata.entry_points(group=ENTRY_POINTS)))


def loaded(entry_point: metadata.EntryPoint) -> Format:
    """What an entry point names. Raises NotAvailableError."""
    try:
        found = entry_point.load()
    except (Exception, SystemExit) as error:
        raise NotAvailableError(f"format {entry_point.value} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Format):
        raise NotAvailableError(f"format {entry_point.value} is of type {type(found).__name__}, not a Format of nbnumba.formats.format")
    return found


def known() -> Iterator[Format]:
    """The house's own; those of other packages are looked for only after all of these."""
    yield from FORMATS
    yield from installed()


def by_ending(path: Path) -> Format | None:
    """The format that a name's ending stands for."""
    return next((kind for kind in known() if path.suffix.lower() in kind.endings), None)


def by_content(path: Path) -> Format:
    """The format that a file is in: raw, if no other reads it. Raises InputFileError."""
    first = first_bytes(path, FIRST)
    return next((kind for kind in known() if kind is not RAW and (kind.read or kind.scan) and kind.understand(first, path)), RAW)


def format_of(path: Path, counts: bool = False) -> Format:
    """The format of a file to be written; counts: one that holds them. Raises OutputFileError."""
    kind = by_ending(path)
    if kind is None or kind.write is None or (counts and not kind.for_counts):
        written = [kind for kind in known() if kind.write and (kind.for_counts or not counts)]
        there = ", ".join(ending for kind in written for ending in kind.endings)
        raise OutputFileError(f"{path}: {path.suffix or 'no ending'} stands for no image format; there are {there}")
    return kind


def holds_several(path: Path) -> bool:
    """Whether files whose names end so hold several images, one of which may be named."""
    kind = by_ending(path)
    return kind is not None and (kind.named or kind.scan is not None)
