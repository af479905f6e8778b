"""Images as the files of any format that is written: what is kept of them, and what is not (FMT-24)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.errors import OutputFileError
from nbnumba.formats.format import Format, Pixels, stacked
from nbnumba.formats.registry import by_ending
from nbnumba.formats.smv import SMV, smv_blocks
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.response.counts import rounded, whole

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def format_of_counts(path: Path) -> Format:
    """SMV unless the name asks for another format."""
    kind = by_ending(path)
    return kind if kind and kind.write and kind.for_counts else SMV


def require_one_panel(path: Path, experiment: Experiment, kind: Format | None) -> None:
    """Refuse an image of several panels where its file has no place for them. Raises OutputFileError."""
    panels = len(experiment.by_panel)
    if panels > 1 and not (kind and kind.panels):
        what = f"a {kind.name} file" if kind else "a file of this kind"
        raise OutputFileError(f"{path}: {what} holds one panel, the image has {panels}; a .nxs file (-o NAME.nxs) holds all")


def image_content(
    path: Path, experiment: Experiment, blocks: Iterable[Pixels], pedestal: float = 0.0, gain: float = 1.0
) -> Iterator[bytes]:
    """A rendered image's file, of blocks of rows: in the format that its name asks for, else counts as SMV and photons raw (FMT-4).

    pedestal: what is added to counts; gain: counts of a photon.
    """
    kind = format_of_counts(path)
    require_one_panel(path, experiment, by_ending(path) or kind)
    first, rest = peeked(blocks)
    if first.dtype.kind == "f" and not kind.photons:
        yield from (rows.tobytes() for rows in rest)
        return
    if kind.geometry == "none" and kind.write is not None:
        yield kind.write(stacked(rest), None)
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
    assert kind.write is not None
    yield kind.write(stacked(blocks), replace(exposure_of(experiment), pedestal=pedestal, gain=gain))


def peeked(blocks: Iterable[Pixels]) -> tuple[Pixels, Iterator[Pixels]]:
    """The first block, and all of them."""
    rest = iter(blocks)
    first = next(rest)
    return first, chain([first], rest)


def fitted(pixels: Pixels, kind: Format) -> tuple[Pixels, int]:
    """Finite pixels as the format holds them, and how many of them it cannot hold: fractions are rounded, what is beyond limits cut off."""
    if kind.counts is None or (kind.photons and pixels.dtype.kind == "f"):
        return pixels.astype(np.float32), 0
    if pixels.dtype.kind != "f":
        held = whole(pixels, kind.counts)
        return held, int(np.count_nonzero(held != pixels))
    photons = pixels.astype(np.float64)
    beyond = (photons < kind.counts.least - 0.5) | (photons >= kind.counts.most + 0.5)
    return rounded(photons, kind.counts), int(np.count_nonzero(beyond))


def losses(path: Path, exposure: Exposure, kind: Format) -> Iterator[str]:
    """What an image's file does not say, or keeps readers from it, in words."""
    if said := kind.unsaid(exposure):
        yield f"a {kind.name} file {said}"
    if exposure.pedestal and not kind.states_pedestal:
        yield f"a {kind.name} file cannot say that {exposure.pedestal:g} counts are added to every pixel (-adc)"
    if kind.number_in_name and not re.search(r"\d\.|\.\d{2,12}$", path.name):  # dxtbx takes the image's number from there
        yield f"DIALS opens a {kind.name} file only if there is a number before the ending of its name, as in {path.stem}_1{path.suffix}"
