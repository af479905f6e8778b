"""``nbnumba convert``: from one image format to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from nbnumba.campaign.series import Stack, series_of
from nbnumba.cli.convert_geometry import WRITERS, geometry_of, is_geometry, marked, masked, require_other_kind, rewrite
from nbnumba.cli.options import RecordingCommand
from nbnumba.errors import InputFileError, OptionError, OutputFileError, warn_of_file
from nbnumba.files.whole import check_writable, write_all
from nbnumba.formats.format import Format, ImageFile, ScanFile, with_geometry
from nbnumba.formats.read import image_of, is_scan, open_images, read_image_file, require_finite, split
from nbnumba.formats.registry import format_of
from nbnumba.formats.write import fitted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nbnumba.geometry.exposure import Exposure


Sources = list[tuple[str, int | None]]  # files, and numbers of images in files of several
Pictures = Iterable[tuple[str, ImageFile]]
NOTHING = np.zeros((0, 0))
WITHOUT_GEOMETRY = "states no geometry; --like FILE names an image that does"


@click.command("convert", cls=RecordingCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUTPUT")
@click.option("--like", metavar="FILE", help="Image, .geom or .expt file that has the geometry, for inputs that have none.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option("--shape", type=click.IntRange(1), nargs=2, metavar="SLOW FAST", help="Pixels of raw images, where they are not square.")
@click.option("--dataset", default="", metavar="PATH", help="Images of HDF5 files that are not NXmx, as /entry/frames.")
def command(inputs: tuple[str, ...], output: Path, like: str | None, overwrite: bool, shape: tuple[int, int] | None, dataset: str) -> None:
    """Turn image files into another format, which the ending of OUTPUT names: .img, .cbf, .nxs or .h5, .tif, .npy; or write their
    geometry, for CrystFEL (.geom) or DIALS (.expt). A .geom file becomes .expt, and the other way around.

    Several images become numbered files, # standing for a digit, or one NXmx file; an NXmx file with several becomes all of them, or
    FILE.nxs:NUMBER one. Pixels keep their values; where a format cannot hold them, or not the geometry, that is said.

    \b
      nbnumba convert scan_*.cbf scan.nxs
      nbnumba convert scan.nxs scan_####.img
      nbnumba convert floatimage.bin image.cbf --like intimage.img
      nbnumba convert jungfrau.geom jungfrau.expt
    """
    require_hdf5(inputs, dataset)
    without_images, of_geometry = any(map(is_geometry, inputs)), is_geometry(output)
    if without_images:
        require_other_kind(inputs, output, like)
    sources = list(every(inputs, dataset))
    files = [output] if of_geometry else files_of(output, len(sources))
    check_writable(files, [split(source)[0] for source in (*inputs, *([like] if like else []))])
    if not overwrite and (there := [file for file in files if file.is_file()]):
        raise OutputFileError(f"{there[0]}: is there already; give another OUTPUT, which comes last, or --overwrite")
    if without_images:
        rewrite(Path(inputs[0]), output)
        click.echo(f"geometry alone; wrote {output}")
        return
    known = geometry_of(like) if like else None
    (write_geometry if of_geometry else write_images)(output, files, sources, pictures(sources, shape, dataset), known)
    wrote = f"wrote {files[0]}{f' to {files[-1].name}' if len(files) > 1 else ''}"
    click.echo(f"{len(sources)} image{'s' if len(sources) > 1 else ''}; {'geometry alone; ' if of_geometry else ''}{wrote}")


def files_of(output: Path, images: int) -> list[Path]:
    """The files of so many images. Raises OutputFileError."""
    target = series_of(output)
    numbered = isinstance(target, Stack) or images > 1 or "#" in output.name
    return target.files(range(1, images + 1)) if numbered else [output]


def write_images(output: Path, files: list[Path], sources: Sources, pictures: Pictures, known: Exposure | None) -> None:
    """Images in the format of OUTPUT, and what is lost on the way. Raises InputFileError, OptionError."""
    kind, target, notes = format_of(output), series_of(output), Notes()
    images = converted(pictures, kind, kind.scan if isinstance(target, Stack) else None, known, notes)
    if isinstance(target, Stack):
        gather(output, target.scan, images)
    else:
        write_all({file: written(kind, images) for file in files})
    for note in notes.lines():
        click.echo(f"nbnumba: warning: {output}: a {kind.name} file {note}", err=True)
    for problem, (source, images_with_it) in notes.problems.items():
        others = f" (and of {images_with_it - 1} more)" if images_with_it > 1 else ""
        warn_of_file(source, f"its geometry is left out{others}: {problem}")


def write_geometry(output: Path, files: list[Path], sources: Sources, pictures: Pictures, known: Exposure | None) -> None:
    """The geometry of images, without them. Raises InputFileError, OptionError."""
    names, notes = [source for source, _ in sources], Notes()
    _, first = next(iter(pictures))
    images = [first, *(ImageFile(first.pixels, *stated) for stated in geometries(sources[1:]))]
    found = [exposure_for(name, image, known, True, n, notes) for n, (name, image) in enumerate(zip(names, images, strict=True), 1)]
    exposures = [exposure for exposure in found if exposure is not None]
    write_all({output: WRITERS[output.suffix.lower()](output, names, exposures, masked(exposures[0], first.pixels))})


def geometries(sources: Sources) -> Iterator[tuple[Exposure | None, str]]:
    """That of every image, or why it cannot be read; of files of several without reading images."""
    for name, images in groupby(sources, key=lambda source: source[0]):
        numbers = [number for _, number in images]
        if None in numbers:
            yield from (read_image_file(name)[1:] for _ in numbers)
            continue
        with open_images(split(name)[0]) as stack:
            yield from (with_geometry(NOTHING, partial(stack.exposure, number))[1:] for number in numbers if number is not None)


def require_hdf5(files: Sequence[str], dataset: str) -> None:
    """Refuse --dataset where it names nothing. Raises OptionError."""
    if dataset and not any(is_scan(file) for file in files):
        raise OptionError(f"--dataset {dataset}: {files[0]} is not an HDF5 file")


@dataclass
class Notes:
    """What was lost on the way. problems: why geometry is not taken, with the first image and how many there are; unsaid: of geometry,
    in words; rounded: images; cut: pixels.
    """

    problems: dict[str, tuple[str, int]] = field(default_factory=dict)
    unsaid: set[str] = field(default_factory=set)
    rounded: int = 0
    cut: int = 0

    def lines(self) -> list[str]:
        """For the user."""
        rounded = f"holds whole counts: photons were rounded in {self.rounded} image{'s' if self.rounded > 1 else ''}"
        cut = f"cannot hold {self.cut} pixels, which were cut off at its limits"
        return [*sorted(self.unsaid - {""}), *([rounded] if self.rounded else []), *([cut] if self.cut else [])]


def converted(
    images: Pictures, kind: Format, scan: ScanFile | None, known: Exposure | None, notes: Notes
) -> Iterator[tuple[NDArray[Any], Exposure | None]]:
    """Pixels as the format holds them, and geometry, of every image; scan: in one file. Raises InputFileError."""
    first: tuple[str, str, Exposure | None] | None = None
    for number, (source, image) in enumerate(images, 1):
        require_finite(source, image.pixels)
        exposure = exposure_for(source, image, known, needed=kind.geometry == "needed", number=number, notes=notes)
        require_panels(source, exposure, kind)
        pixels, cut = fitted(image.pixels, kind)
        if image.exposure is None and known is not None and exposure is not None:
            pixels = marked(source, pixels, exposure, kind)
        first = first or (source, described(pixels), exposure)
        if scan:
            require_alike(scan, first, (source, described(pixels), exposure))
        notes.cut += cut
        notes.rounded += image.pixels.dtype.kind == "f" and pixels.dtype.kind != "f"
        notes.unsaid |= {kind.unsaid(exposure)} if exposure else {WITHOUT_GEOMETRY} if kind.geometry == "stated" else set()
        yield pixels, exposure


def require_panels(source: str, exposure: Exposure | None, kind: Format) -> None:
    """Refuse an image of several panels where the format has no place for them. Raises InputFileError."""
    if exposure and exposure.panels and not kind.panels:
        raise InputFileError(split(source)[0], f"has {len(exposure.panels)} panels; a {kind.name} file holds one")


def require_alike(scan: ScanFile, first: tuple[str, str, Exposure | None], other: tuple[str, str, Exposure | None]) -> None:
    """Refuse an image (its file, pixels in words, geometry) that cannot be in one file with the first. Raises InputFileError."""
    if other[1] != first[1]:
        raise InputFileError(other[0], f"has {other[1]}, {first[0]} {first[1]}; one file holds images of one kind")
    if first[2] and other[2] and (what := scan.differing(first[2], other[2])):
        problem = f"its {what} is not that of {first[0]}, but one file states it once; # in OUTPUT gives files of their own"
        raise InputFileError(other[0], problem)


def pictures(sources: Sources, shape: tuple[int, int] | None, dataset: str) -> Iterator[tuple[str, ImageFile]]:
    """Every image, with the name of its file, which is opened once."""
    for name, images in groupby(sources, key=lambda source: source[0]):
        numbers = [number for _, number in images]
        if None in numbers:
            yield from ((name, read_image_file(name, shape=shape, dataset=dataset)) for _ in numbers)
            continue
        with open_images(split(name)[0], dataset) as stack:
            yield from ((name, image_of(stack, number)) for number in numbers if number is not None)


def written(kind: Format, images: Iterator[tuple[NDArray[Any], Exposure | None]]) -> Iterator[bytes]:
    """The file of the next image."""
    assert kind.write is not None
    yield kind.write(*next(images))


def gather(path: Path, scan: ScanFile, images: Iterator[tuple[NDArray[Any], Exposure | None]]) -> None:
    """All images in the files of a name; what comes before these are written waits compressed, in a file without a name."""
    sizes, exposures = [], []
    with TemporaryFile(dir=path.resolve().parent) as chunks:
        for pixels, exposure in images:
            sizes.append(chunks.write(scan.pack(pixels)))
            exposures.append(exposure)
        chunks.seek(0)
        known = [exposure for exposure in exposures if exposure]
        write_all(scan.contents(path, known, pixels.dtype, map(chunks.read, sizes), ""))


def every(inputs: tuple[str, ...], dataset: str) -> Iterator[tuple[str, int | None]]:
    """Every image of the inputs that is there: file, and number in a file of several. Raises InputFileError for a file without any."""
    for name in inputs:
        file, image = split(name)
        if image or not is_scan(file):
            yield name, None
            continue
        with open_images(file, dataset) as stack:
            yield from ((name, number) for number in stack.numbers)


def exposure_for(source: str, image: ImageFile, known: Exposure | None, needed: bool, number: int, notes: Notes) -> Exposure | None:
    """The image's own, else the one known."""
    found = image.exposure or known
    if image.problem and needed and known is None:
        raise InputFileError(source, image.problem)
    if image.problem:
        named, images = notes.problems.get(image.problem, (source, 0))
        notes.problems[image.problem] = named, images + 1
    if found is None and needed:
        raise OptionError(f"{source}: says nothing of geometry, which OUTPUT has to state; --like FILE names an image that does")
    if found is not None and image.exposure is None and found.frame_shape != image.pixels.shape:
        (slow, fast), (rows, columns) = image.pixels.shape, found.frame_shape
        raise InputFileError(source, f"has {slow} x {fast} pixels, the image of --like {rows} x {columns}")
    return None if found is None else replace(found, number=number)


def described(pixels: NDArray[Any]) -> str:
    slow, fast = pixels.shape
    return f"{slow} x {fast} pixels of {pixels.dtype}"
