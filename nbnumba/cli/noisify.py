"""``nbnumba noisify``: exposures of an image of photons that is there already."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.evidence import inputs_of
from nbnumba.cli.options import ExperimentCommand, experiment_options, read_draft, registry_for
from nbnumba.errors import OptionError, OutputFileError
from nbnumba.files.whole import check_writable, write_all
from nbnumba.options.output import MOST_IMAGES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.campaign.noisify import Taken
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.formats.format import Format, ImageFile
    from nbnumba.options.arguments import ParsedOption
    from nbnumba.options.experiment import Draft

PLACES = ("-img", "--expt", "--xds", "--geom", "--detector")  # options that place a detector by themselves


@click.command("noisify", cls=ExperimentCommand)
@click.argument("operands", nargs=-1, metavar="IN OUT")
@click.option("--images", type=click.IntRange(1, MOST_IMAGES), metavar="N", help="Number of exposures (default: 1).")
@click.option("--first", type=click.IntRange(1, MOST_IMAGES), metavar="N", help="Number of the first of them (default: 1).")
@click.option("--shape", nargs=2, type=click.IntRange(min=1), metavar="SLOW FAST", help="Pixels of raw images (default: square).")
@click.option("--dataset", default="", metavar="PATH", help="Images of an HDF5 file that is not NXmx, as /entry/frames.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@experiment_options
@click.pass_context
def command(ctx: click.Context, /, operands: tuple[str, ...], **options: Any) -> None:
    """Have a detector count the photons of an image that is there already, as often as you like: the noise of -seed, and the
    responses that --response, --plugin response=NAME and --set ask for. What --background adds scatters besides.

    IN holds photons without noise: nanoBragg's float image, .npy, TIFF, HDF5, or any other that 'view' reads; pixels below 0 were not
    measured. Where it states no geometry, give what responses and OUT need. OUT's ending names the format; with --images or --first
    files are numbered, # standing for a digit, or in one NXmx file. Exposure n has the noise of image n of a sweep; one alone, that of
    a run.

    \b
      nbnumba noisify floatimage.bin noisy_1.cbf -lambda 1 -distance 100 -pixel 0.1 -seed 7
      nbnumba noisify floatimage.bin noisy_####.img -img intimage.img --images 100 -adc 40 --plugin response=flicker --set flicker=0.01
      nbnumba noisify photons.nxs exposures.nxs --images 20 --background water 0.1 --plugin response=psf-gauss --set psf_gauss=1e-4
    """
    if len(operands) != 2:
        raise OptionError(f"noisify: give an image of photons and a name for what is counted, IN OUT; got {len(operands)} names")
    from nbnumba.campaign.noisify import exposures, image_of
    from nbnumba.formats.registry import format_of

    file, output = operands[0], Path(operands[1])
    kind, image, numbers = format_of(output), read(file, options), numbers_of(output, options)
    files = files_of(output, numbers)
    draft = draft_for(ctx, file, image, options)
    check_files(kind, files, [file], inputs_of(draft, options), options)
    require_place(file, output, kind, image, draft)
    experiment = draft.experiment()
    say(draft, experiment)
    photons = photons_of(image)
    require_shape(file, photons, experiment)
    there = image_of(photons, experiment, registry_for(options["plugin_files"]))
    assert kind.counts is not None
    write(output, kind, files, exposures(there, counting_of(draft), numbers, kind.counts))
    many = f"{len(numbers)} exposure{'s' if len(numbers) > 1 else ''} of {there.sum():.6g} photons"
    click.echo(f"{many}; wrote {files[0]}{f' to {files[-1].name}' if len(files) > 1 else ''}")


def say(draft: Draft, experiment: Experiment) -> None:
    """What the user should know before the work begins, on stderr."""
    from nbnumba.experiment import advice

    for note in (*draft.notes, *advice.of_responses(experiment)):
        click.echo(f"nbnumba: warning: {note}", err=True)


def read(file: str, options: Mapping[str, Any]) -> ImageFile:
    """The image, of which what its file says of geometry may not be taken, which is said. Raises InputFileError."""
    from nbnumba.cli.convert import require_hdf5
    from nbnumba.errors import warn_of_file
    from nbnumba.formats.read import read_image_file, require_finite

    require_hdf5([file], options["dataset"])
    image = read_image_file(file, shape=options["shape"], dataset=options["dataset"])
    require_finite(file, image.pixels)
    if image.problem:
        warn_of_file(file, f"its geometry is left out: {image.problem}")
    if image.pixels.dtype.kind != "f":
        warn_of_file(file, "holds whole numbers, which are taken for the photons that are expected")
    return image


def draft_for(ctx: click.Context, file: str, image: ImageFile, options: dict[str, Any]) -> Draft:
    """The experiment of the options, with what these leave open from the image: its panels as -img has them, or one by one."""
    from nbnumba.cli.view_input import leave_out_amplitudes
    from nbnumba.formats.read import is_geometry
    from nbnumba.options.arguments import split_arguments
    from nbnumba.options.image import complete

    given: list[ParsedOption] = ctx.meta["given"]
    places_itself = options["config"] is not None or any(one.name in PLACES for one in given)
    if image.exposure is not None and is_geometry(file) and not places_itself:
        ctx.meta["given"] = [*split_arguments(["-img", file]).given, *given]
    draft = read_draft(ctx, options)
    complete(draft, image.exposure, (image.pixels.shape[0], image.pixels.shape[1]))
    leave_out_amplitudes(draft, cell_wanted=False)
    return draft


def require_place(file: str, output: Path, kind: Format, image: ImageFile, draft: Draft) -> None:
    """Refuse to state a geometry, or to take one, that nobody has given. Raises OptionError."""
    from nbnumba.options.image import NO_PLACE

    given = {name.removeprefix("detector.") for name in draft.values if name.startswith("detector.")} - NO_PLACE
    known = image.exposure or draft.base or draft.detector or draft.geometry or ("beam.wavelength" in draft.values and given)
    if known:
        return
    needs = [f"{output}: {output.suffix} files state a geometry"] if kind.geometry != "none" else []
    needs += [
        f"--background {one.name}: depends on the geometry" for one in draft.part("background").get("materials", ()) if one.photons is None
    ]
    if needs:
        raise OptionError(f"{needs[0]}, and {file} has none; give -lambda, -distance and -pixel, or -img FILE of an image that has it")


def photons_of(image: ImageFile) -> NDArray[np.float64]:
    """Without the pedestal, and what a photon counts, that its file states; what was not measured stays below 0."""
    import numpy as np

    pixels, stated = image.pixels.astype(np.float64), image.exposure
    if stated is None or (stated.pedestal, stated.gain) == (0.0, 1.0):
        return pixels
    return np.where(pixels < 0.0, pixels, np.maximum(pixels - stated.pedestal, 0.0) / stated.gain)


def require_shape(file: str, photons: NDArray[np.float64], experiment: Experiment) -> None:
    """Refuse an image that is not of the detector. Raises OptionError."""
    from nbnumba.cli.view_input import parts_of
    from nbnumba.geometry.of_experiment import exposure_of

    if len(experiment.by_panel) > 1:
        parts_of(file, photons, exposure_of(experiment), "the options describe")
    elif experiment.detector.shape != photons.shape:
        slow, fast = experiment.detector.shape
        has = f"{photons.shape[0]} x {photons.shape[1]}"
        raise OptionError(f"the options describe {slow} x {fast} pixels (slow x fast); {file} has {has}")


def numbers_of(output: Path, options: Mapping[str, Any]) -> Sequence[int]:
    """Of the exposures; 0 of one that stands alone."""
    if options["images"] is None and options["first"] is None and "#" not in output.name:
        return [0]
    first = options["first"] or 1
    return range(first, first + (options["images"] or 1))


def files_of(output: Path, numbers: Sequence[int]) -> list[Path]:
    """Those that exposures with these numbers are in. Raises OutputFileError."""
    from nbnumba.campaign.series import Stack, series_of

    target = series_of(output)
    if isinstance(target, Stack):
        return target.files(range(1, len(numbers) + 1))
    return [output] if list(numbers) == [0] else target.files(numbers)


def check_files(kind: Format, files: Sequence[Path], read: Sequence[str], inputs: Sequence[Path], options: Mapping[str, Any]) -> None:
    """Refuse files that cannot be written, or are there. Raises OutputFileError."""
    from nbnumba.formats.read import split

    if kind.counts is None or kind.drawn:
        raise OutputFileError(f"{files[0]}: a {kind.name} file holds no counts; give a name that ends in .cbf, .img, .nxs, .tif or .npy")
    check_writable(list(files), [*(split(name)[0] for name in read), *inputs])
    if not options["overwrite"] and (there := [file for file in files if file.is_file()]):
        raise OutputFileError(f"{there[0]}: is there already; give another OUT, or --overwrite")


def counting_of(draft: Draft) -> Any:
    """How photons become counts, from the options of the output."""
    from nbnumba.campaign.sweep import Counting

    output, is_drawn = draft.part("output"), draft.values.get("output.noise_file", True) is not None
    if is_drawn and output.get("scale"):
        raise OptionError(f"-scale {output['scale']:g}: photons that are drawn count one each; give -nonoise, or --plugin response=gain")
    seed = output.get("seed", int(time.time())) if is_drawn else None
    return Counting(seed=seed, scale=output.get("scale") or 1.0, offset=output.get("adc_offset", 0.0))


class Told:
    """What is lost in files of a format, said once for all of them."""

    def __init__(self, kind: Format, output: Path) -> None:
        self.kind, self.output, self.cut, self.losses = kind, output, 0, set[str]()

    def watched(self, taken: Iterable[Taken]) -> Iterator[tuple[NDArray[Any], Any]]:
        """Counts and what is said of them, as they are written."""
        from nbnumba.formats.write import losses

        for counts, exposure, cut in taken:
            self.cut += cut
            self.losses |= set(losses(self.output, exposure, self.kind)) if self.kind.geometry != "none" else set()
            yield counts, exposure

    def say(self) -> None:
        """On stderr."""
        cut = [f"{self.cut} pixels have more counts than a {self.kind.name} file holds: cut off"] if self.cut else []
        for line in (*sorted(self.losses), *cut):
            click.echo(f"nbnumba: warning: {self.output}: {line}", err=True)


def write(output: Path, kind: Format, files: Sequence[Path], taken: Iterable[Taken]) -> None:
    """All exposures, or nothing; what is lost is said."""
    from nbnumba.campaign.series import Stack, series_of
    from nbnumba.cli.convert import gather, written

    target, told = series_of(output), Told(kind, files[0])
    images = told.watched(taken)
    if isinstance(target, Stack):
        gather(output, target.scan, images)
    else:
        write_all({file: written(kind, images) for file in files})
    told.say()
