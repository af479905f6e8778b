"""Geometry as a file of its own, for ``nbnumba convert``: written of images or of another such file, or read for images that have none
(FMT-104, FMT-110).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from nbnumba.errors import InputFileError, NotAvailableError, OptionError, ParameterError, warn_of_file
from nbnumba.files.whole import write_all
from nbnumba.formats.format import Format, Pixels, stacked, unstacked
from nbnumba.formats.hdf5_mask import stored_mask
from nbnumba.formats.nxmx_groups import differing
from nbnumba.formats.read import is_scan, open_images, read_image_file, split
from nbnumba.geometry.crystfel import read_geom
from nbnumba.geometry.crystfel_entries import read_entries
from nbnumba.geometry.crystfel_text import OF_IMGCIF, geom_lines, left_out
from nbnumba.geometry.dials import read_expt
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.exposure import NOT_MEASURED, Exposure
from nbnumba.geometry.recorded import RecordedGeometry
from nbnumba.geometry.sensor import absorbing

if TYPE_CHECKING:
    from nbnumba.experiment.panel import Panel

CLOSE = 1e-6  # of an image's width, in which it follows the one before


def is_stacked(source: str) -> bool:
    """Whether the panels of an image are one below the other in its file."""
    if not is_scan(source):
        return True
    with open_images(split(source)[0]) as stack:
        return bool(getattr(stack, "is_stacked", True))


def write_geom(path: Path, sources: Sequence[str], exposures: Sequence[Exposure], panels: Sequence[Panel]) -> bytes:
    """A CrystFEL geometry; panels: of the first image. Raises InputFileError for images that do not share one."""
    require_one(sources, exposures)
    if not is_stacked(sources[0]):
        warn_of_file(sources[0], f"its modules are not one below the other, as {path} has them; convert its images, too (.nxs)")
    if said := left_out(exposures[0], panels):
        click.echo(f"nbnumba: warning: {path}: a CrystFEL geometry {said}", err=True)
    return ("\n".join(geom_lines(panels, exposures[0])) + "\n").encode()


def write_expt(path: Path, sources: Sequence[str], exposures: Sequence[Exposure], panels: Sequence[Panel]) -> bytes:
    """An experiment of DIALS; panels: of the first image. Raises InputFileError for images that are not of one scan."""
    require_one(sources, exposures)
    first = exposures[0]
    if first.wavelength is None:
        raise InputFileError(sources[0], "states no wavelength, which an experiment of DIALS has; write the number there")
    for step, (source, other) in enumerate(zip(sources, exposures, strict=True)):
        off = abs(other.phi_start - first.phi_start - step * first.oscillation) + abs(other.oscillation - first.oscillation)
        if off > CLOSE * abs(first.oscillation):
            raise InputFileError(source, "does not follow the image before it in a scan; an experiment of DIALS has one")
    try:
        panels = [absorbing(panel, first.wavelength) for panel in panels]
    except (NotAvailableError, ParameterError) as error:
        warn_of_file(path, f"states no mu of its sensor: {error}")
    stated = replace(first.of_panel(panels[0]), panels=tuple(panels) if first.panels else ())
    return expt_text(stated, None, len(exposures)).encode()


WRITERS: dict[str, Callable[[Path, Sequence[str], Sequence[Exposure], Sequence[Panel]], bytes]] = {".geom": write_geom, ".expt": write_expt}


def is_geometry(path: str | Path) -> bool:
    """Whether it is a file of geometry alone, by its name."""
    return Path(path).suffix.lower() in WRITERS


def require_other_kind(inputs: Sequence[str], output: Path, like: str | None) -> None:
    """Refuse a file of geometry alone but as the only input, for one of the other kind. Raises OptionError."""
    first = next(filter(is_geometry, inputs))
    if not is_geometry(output):
        raise OptionError(f"{first}: holds no image; it becomes a .geom or .expt file, or gives images its geometry with --like {first}")
    if len(inputs) > 1 or like:
        raise OptionError(f"{first}: is a geometry, which is converted alone; leave out the other inputs and --like")
    if Path(first).suffix.lower() == output.suffix.lower():
        raise OptionError(f"{first}: is a {output.suffix.lower()} file already")


def rewrite(source: Path, output: Path) -> None:
    """The geometry of a file without images, as the other program has it. Raises InputFileError."""
    found = described(source)
    if found.reciprocal is not None:
        warn_of_file(source, "its crystal is left out; a geometry has none")
    write_all({output: WRITERS[output.suffix.lower()](output, [str(source)], [found.exposure], panels_of(found.exposure))})


def require_one(sources: Sequence[str], exposures: Sequence[Exposure]) -> None:
    """Refuse images that have not all the first one's geometry. Raises InputFileError."""
    for source, other in zip(sources, exposures, strict=True):
        what = differing(exposures[0], other)
        if not what and not math.isclose(other.wavelength or 0.0, exposures[0].wavelength or 0.0, rel_tol=CLOSE):
            what = "wavelength"
        if what:
            raise InputFileError(source, f"its {what} is not that of {sources[0]}; a geometry is of one")


def masked(exposure: Exposure, pixels: Pixels) -> list[Panel]:
    """The panels, each with what is below 0 masked."""
    panels = panels_of(exposure)
    parts = unstacked(pixels >= 0, [panel.shape for panel in panels])
    return [replace(panel, mask=None if part.all() else part) for panel, part in zip(panels, parts, strict=True)]


def panels_of(exposure: Exposure) -> Sequence[Panel]:
    """All of its panels, of one the only one."""
    return exposure.panels or (exposure.as_panel("", ""),)


def marked(source: str, pixels: Pixels, exposure: Exposure, kind: Format) -> Pixels:
    """Pixels with what the geometry masks as not measured."""
    taken = [np.ones(one.shape, bool) if one.mask is None else one.mask for one in exposure.by_panel]
    left = stacked(mask.astype(np.int8) - 1 for mask in taken)  # -1 where masked, and where narrower panels have no pixels
    if not left.any():
        return pixels
    if not kind.marks:
        warn_of_file(source, f"nothing marks the {np.count_nonzero(left)} pixels that the geometry masks")
        return pixels
    return np.where(left < 0, pixels.dtype.type(NOT_MEASURED), pixels)


def geometry_of(like: str) -> Exposure:
    """What an image, a CrystFEL geometry or an experiment of DIALS says of geometry. Raises InputFileError."""
    if is_geometry(like):
        if Path(like).suffix.lower() == ".geom":
            require_stacked(Path(like))
        return recorded(Path(like))
    image = read_image_file(like)
    if image.exposure is None:
        raise InputFileError(like, image.problem or "its header says too little of the geometry")
    return image.exposure


def recorded(path: Path) -> Exposure:
    """The exposure of a file without images, with all panels. Raises InputFileError."""
    return described(path).exposure


def described(path: Path) -> RecordedGeometry:
    """What a file without images says, its exposure with all panels. Raises InputFileError."""
    is_geom = path.suffix.lower() == ".geom"
    found = read_geom(path, stored=stored_mask) if is_geom else read_expt(path)
    for note in found.notes:
        warn_of_file(path, note.removeprefix(f"{path}: "))
    exposure = replace(found.exposure, panels=found.panels)
    return found._replace(exposure=exposure.turned(OF_IMGCIF) if is_geom else exposure)


def require_stacked(path: Path) -> None:
    """Refuse a CrystFEL geometry whose panels are not one below the other in the data. Raises InputFileError."""
    panels = read_entries(path).panels.values()
    first = [(panel.number("min_ss"), panel.number("min_fs")) for panel in panels]
    rows = accumulate((panel.number("max_ss") - panel.number("min_ss") + 1 for panel in panels), initial=0.0)
    if first != [(row, 0.0) for row, _ in zip(rows, first, strict=False)]:
        raise InputFileError(path, "its panels are not one below the other in the data, as those of images without a geometry are")
