"""``nbnumba convert``: from one image format to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbnumba.cli.options import RecordingCommand
from nbnumba.errors import InputFileError, OptionError
from nbnumba.files import check_writable, write_all
from nbnumba.inputs.image import HDF5, Picture, read_picture, split
from nbnumba.inputs.text import read_bytes
from nbnumba.outputs.formats import NPY, TIFF, fitted, format_of, unsaid
from nbnumba.outputs.series import Stack, series_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.exposure import Exposure


@click.command("convert", cls=RecordingCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("--like", metavar="FILE", help="Image whose header has the geometry, for inputs that have none.")
@click.option("--shape", type=click.IntRange(1), nargs=2, metavar="SLOW FAST", help="Pixels of raw images, where they are not square.")
def command(inputs: tuple[str, ...], output: Path, like: str | None, shape: tuple[int, int] | None) -> None:
    """Turn image files into another format, which the ending of OUTPUT names: .img, .cbf, .nxs or .h5, .tif, .npy.

    Several images become numbered files, # standing for a digit, or one NXmx file; an NXmx file with several becomes all of them, or
    FILE.nxs:NUMBER one. Pixels keep their values; where a format cannot hold them, or not the geometry, that is said.

    \b
      nbnumba convert scan_*.cbf scan.nxs
      nbnumba convert scan.nxs scan_####.img
      nbnumba convert floatimage.bin image.cbf --like intimage.img
    """
    kind, sources = format_of(output), list(every(inputs))
    single = len(sources) == 1 and "#" not in output.name
    target = series_of(output)
    files = [output] if single else target.files(range(1, len(sources) + 1))
    check_writable(files, [split(source)[0] for source in (*inputs, *([like] if like else []))])
    known = read_picture(like).exposure if like else None
    if like and known is None:
        raise InputFileError(like, "its header says too little of the geometry")

    rounded, lost, notes = 0, 0, set()
    exposures: list[Exposure] = []
    first: NDArray[np.generic] | None = None
    for number, (source, index) in enumerate(sources, 1):
        picture = read_picture(source, index, shape)
        exposure = exposure_for(source, picture, known, needed=kind not in (TIFF, NPY), number=number)
        pixels, cut = fitted(picture.pixels, kind)
        if first is not None and (pixels.shape != first.shape or pixels.dtype != first.dtype) and isinstance(target, Stack):
            raise InputFileError(source, f"has {described(pixels)}, {sources[0][0]} {described(first)}; one file holds images of one kind")
        first = pixels if first is None else first
        lost += cut
        rounded += bool(picture.pixels.dtype.kind == "f" and pixels.dtype.kind != "f")
        if exposure:
            notes.add(unsaid(exposure, kind))
            exposures.append(exposure)
        if single:
            write_all({output: kind.write(pixels, exposure)})
        else:
            target.put(number, pixels, exposure)
    if not single:
        target.finish(exposures, first.dtype if first is not None else None)
    if rounded:
        notes.add(f"holds whole counts: photons were rounded in {rounded} image{'s' if rounded > 1 else ''}")
    if lost:
        notes.add(f"cannot hold {lost} pixels, which were cut off at its limits")
    for note in sorted(notes - {""}):
        click.echo(f"nbnumba: warning: {output}: a {kind.name} file {note}", err=True)
    click.echo(
        f"{len(sources)} image{'s' if len(sources) > 1 else ''}; wrote {files[0]}{f' to {files[-1].name}' if len(files) > 1 else ''}"
    )


def every(inputs: tuple[str, ...]) -> Iterator[tuple[str, int | None]]:
    """Every image of the inputs: file, and number in a file of several."""
    for name in inputs:
        file, image = split(name)
        if not image and read_bytes(file, most=len(HDF5)) == HDF5:
            from nbnumba.inputs.nxmx import NxmxFile

            with NxmxFile(file) as stack:
                images = len(stack)
            yield from ((name, number) for number in range(1, images + 1))
        else:
            yield name, None


def exposure_for(source: str, picture: Picture, known: Exposure | None, needed: bool, number: int) -> Exposure | None:
    """The image's own, else the one known."""
    found = picture.exposure or known
    if found is None and needed:
        raise OptionError(f"{source}: says nothing of geometry, which OUTPUT has to state; --like FILE names an image that does")
    if found is not None and picture.exposure is None and found.shape != picture.pixels.shape:
        slow, fast = picture.pixels.shape
        raise InputFileError(source, f"has {slow} x {fast} pixels, the image of --like {found.shape[0]} x {found.shape[1]}")
    return None if found is None else replace(found, number=number)


def described(pixels: NDArray[np.generic]) -> str:
    slow, fast = pixels.shape
    return f"{slow} x {fast} pixels of {pixels.dtype}"
