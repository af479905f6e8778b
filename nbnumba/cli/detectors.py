"""``nbnumba detectors``: detectors that have a name, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbnumba.cli.terminal import one_line

if TYPE_CHECKING:
    from nbnumba.experiment.part import Part
    from nbnumba.geometry.catalogue import KnownDetector

COLUMNS = ("NAME", "PIXELS", "PANELS", "PIXEL/um", "SIZE/mm", "SENSOR")
SATURATION = {  # in files, by what it is taken from
    "saturation": "as stated",
    "full_well": "full_well, in photons of the beam's energy; a bit_depth is of numbers before their gain, and not used",
    "bit_depth": "2^bit_depth - 1",
    "": "none, for none is known, or none that bit_depth leaves to files",
}


@click.command("detectors")
@click.argument("name", required=False)
@click.option("--png", type=click.Path(path_type=Path), metavar="FILE", help="Write a picture of the modules, to scale.")
def command(name: str | None, png: Path | None) -> None:
    """List the detectors that --detector takes, or show what is known of one, with where the numbers are from.

    A file NAME.toml describes another; what it leaves out is that of the detector it is like:

    \b
      like = "eiger2-16m"
      [sensor]
      material = "CdTe"
      thickness = 750e-6
    """
    from nbnumba.geometry import catalogue

    found = [catalogue.detector_by_name(one) for one in ([name] if name else catalogue.names())]
    if png is not None:
        write_picture(png, found)
    click.echo("\n".join(account(found[0]) if name else listing(found)))


def write_picture(path: Path, detectors: Sequence[KnownDetector]) -> None:
    from nbnumba.files.whole import check_writable, write_all
    from nbnumba.image.detector_picture import picture

    check_writable([path])
    write_all({path: picture(detectors)})


def listing(detectors: Sequence[KnownDetector]) -> Iterator[str]:
    """Detectors as a table."""
    rows = [COLUMNS, *map(row, detectors)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def row(detector: KnownDetector) -> tuple[str, ...]:
    """A detector as a line of the list: pixels of all of it, fast x slow, or of each of its panels."""
    panels, sensor, modules = detector.panels, detector.sensor, detector.modules
    slow, fast = panels[0].shape
    size = " x ".join(f"{edge * 1e3:.1f}" for edge in detector.size)
    material = f"{sensor.material} {sensor.thickness * 1e6:g} um" if sensor.thickness else "-"
    return detector.name, f"{fast} x {slow}", str(len(panels)), f"{modules.pixel_size * 1e6:g}", size, material


def account(detector: KnownDetector) -> Iterator[str]:
    """Everything that is known of a detector."""
    yield f"{one_line(detector.name)}: {one_line(detector.description)}"
    yield "  ".join(f"{title.lower()} {cell}" for title, cell in zip(COLUMNS[1:], row(detector)[1:], strict=True))
    for title, part in (("modules", detector.modules), ("sensor", detector.sensor), ("counting", detector.counting)):
        yield from ("", title, *lines(part))
    yield f"    saturation in files: {SATURATION[detector.counting.limit]}; other numbers of counting are for --response detector"
    if detector.response.stages:
        yield from ("", "response", *lines(detector.response))


def lines(part: Part) -> Iterator[str]:
    """A table of a detector's file, a line for each of its numbers."""
    for f in fields(part):
        value = getattr(part, f.name)
        value = ", ".join(f"{name} {number:g}" for name, number in value.items()) if isinstance(value, Mapping) else value
        shown = f"{len(value) if isinstance(value, tuple) else value} {f.metadata['unit']}".rstrip()
        if f.name == "source":
            yield f"    from {one_line(value) or '-'}"
        elif value not in (None, ""):
            yield f"    {f.name} = {one_line(shown)}: {f.metadata['meaning']}"
