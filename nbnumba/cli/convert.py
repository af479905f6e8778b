"""``nbnumba convert``: from one image format to another."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.options import RecordingCommand
from nbnumba.errors import InputFileError, OptionError, OutputFileError, warn_of_file
from nbnumba.files import check_writable, write_all
from nbnumba.inputs.image import HDF5, Picture, finite, read_picture, split
from nbnumba.inputs.text import first_bytes
from nbnumba.outputs.formats import NPY, TIFF, Format, fitted, format_of, unsaid
from nbnumba.outputs.series import Stack, series_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nbnumba.exposure import Exposure


@click.command("convert", cls=RecordingCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("--like", metavar="FILE", help="Image whose header has the geometry, for inputs that have none.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option("--shape", type=click.IntRange(1), nargs=2, metavar="SLOW FAST", help="Pixels of raw images, where they are not square.")
def command(inputs: tuple[str, ...], output: Path, like: str | None, overwrite: bool, shape: tuple[int, int] | None) -> None:
    """Turn image files into another format, which the ending of OUTPUT names: .img, .cbf, .nxs or .h5, .tif, .npy.

    Several images become numbered files, # standing for a digit, or one NXmx file; an NXmx file with several becomes all of them, or
    FILE.nxs:NUMBER one. Pixels keep their values; where a format cannot hold them, or not the geometry, that is said.

    \b
      nbnumba convert scan_*.cbf scan.nxs
      nbnumba convert scan.nxs scan_####.img
      nbnumba convert floatimage.bin image.cbf --like intimage.img
    """
    kind, sources = format_of(output), list(every(inputs))
    target = Stack(output) if kind.stack else series_of(output)
    single = len(sources) == 1 and "#" not in output.name
    files = [output] if single else target.files(range(1, len(sources) + 1))
    check_writable(files, [split(source)[0] for source in (*inputs, *([like] if like else []))])
    if not overwrite and (there := [file for file in files if file.is_file()]):
        raise OutputFileError(f"{there[0]}: is there already; give another OUTPUT, which comes last, or --overwrite")
    known = geometry_of(like) if like else None

    notes = Notes()
    images = converted(sources, kind, known, shape, notes)
    if isinstance(target, Stack):
        gather(target, images)
    else:
        write_all({file: written(kind, images) for file in files})
    for note in notes.lines():
        click.echo(f"nbnumba: warning: {output}: a {kind.name} file {note}", err=True)
    click.echo(
        f"{len(sources)} image{'s' if len(sources) > 1 else ''}; wrote {files[0]}{f' to {files[-1].name}' if len(files) > 1 else ''}"
    )


@dataclass
class Notes:
    """What was lost on the way. unsaid: of geometry, in words; rounded: images; cut: pixels."""

    unsaid: set[str] = field(default_factory=set)
    rounded: int = 0
    cut: int = 0

    def lines(self) -> list[str]:
        """For the user."""
        rounded = f"holds whole counts: photons were rounded in {self.rounded} image{'s' if self.rounded > 1 else ''}"
        cut = f"cannot hold {self.cut} pixels, which were cut off at its limits"
        return [*sorted(self.unsaid - {""}), *([rounded] if self.rounded else []), *([cut] if self.cut else [])]


def converted(
    sources: list[tuple[str, int | None]], kind: Format, known: Exposure | None, shape: tuple[int, int] | None, notes: Notes
) -> Iterator[tuple[NDArray[Any], Exposure | None]]:
    """Pixels as the format holds them, and geometry, of every image."""
    first = ""
    for number, (source, index) in enumerate(sources, 1):
        picture = read_picture(source, index, shape)
        finite(source, picture.pixels)
        exposure = exposure_for(source, picture, known, needed=kind not in (TIFF, NPY), number=number)
        pixels, cut = fitted(picture.pixels, kind)
        first = first or described(pixels)
        if kind.stack and described(pixels) != first:
            raise InputFileError(source, f"has {described(pixels)}, {sources[0][0]} {first}; one file holds images of one kind")
        notes.cut += cut
        notes.rounded += picture.pixels.dtype.kind == "f" and pixels.dtype.kind != "f"
        notes.unsaid |= {unsaid(exposure, kind)} if exposure else set()
        yield pixels, exposure


def written(kind: Format, images: Iterator[tuple[NDArray[Any], Exposure | None]]) -> Iterator[bytes]:
    """The file of the next image."""
    yield kind.write(*next(images))


def gather(target: Stack, images: Iterator[tuple[NDArray[Any], Exposure | None]]) -> None:
    """All images in one file."""
    target.work = target.path.with_name(f".{target.path.name}.{secrets.token_hex(4)}")  # not where those of a sweep wait
    exposures = []
    try:
        for number, (pixels, exposure) in enumerate(images, 1):
            target.put(number, pixels, exposure)
            exposures.append(exposure)
        target.gather([exposure for exposure in exposures if exposure], pixels.dtype)
    finally:
        shutil.rmtree(target.work, ignore_errors=True)


def every(inputs: tuple[str, ...]) -> Iterator[tuple[str, int | None]]:
    """Every image of the inputs: file, and number in a file of several."""
    for name in inputs:
        file, image = split(name)
        if not image and first_bytes(file, len(HDF5)) == HDF5:
            from nbnumba.inputs.nxmx import NxmxFile

            with NxmxFile(file) as stack:
                images = len(stack)
            yield from ((name, number) for number in range(1, images + 1))
        else:
            yield name, None


def exposure_for(source: str, picture: Picture, known: Exposure | None, needed: bool, number: int) -> Exposure | None:
    """The image's own, else the one known."""
    found = picture.exposure or known
    if picture.problem and needed and known is None:
        raise InputFileError(source, picture.problem)
    if picture.problem:
        warn_of_file(source, f"its geometry is left out: {picture.problem}")
    if found is None and needed:
        raise OptionError(f"{source}: says nothing of geometry, which OUTPUT has to state; --like FILE names an image that does")
    if found is not None and picture.exposure is None and found.shape != picture.pixels.shape:
        slow, fast = picture.pixels.shape
        raise InputFileError(source, f"has {slow} x {fast} pixels, the image of --like {found.shape[0]} x {found.shape[1]}")
    return None if found is None else replace(found, number=number)


def geometry_of(like: str) -> Exposure:
    """What an image says of geometry. Raises InputFileError."""
    picture = read_picture(like)
    if picture.exposure is None:
        raise InputFileError(like, picture.problem or "its header says too little of the geometry")
    return picture.exposure


def described(pixels: NDArray[Any]) -> str:
    slow, fast = pixels.shape
    return f"{slow} x {fast} pixels of {pixels.dtype}"
