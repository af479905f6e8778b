"""``nbnumba view``: a picture of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.evidence import inputs_of
from nbnumba.cli.options import ExperimentCommand, experiment_options, read_draft
from nbnumba.cli.terminal import one_line
from nbnumba.cli.view_input import other_pixels, read_all
from nbnumba.errors import OptionError
from nbnumba.files.whole import check_writable, is_file_like, write_all

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nbnumba.experiment.experiment import Experiment
    from nbnumba.geometry.exposure import Exposure
    from nbnumba.image.labels import Label, Window

PNG = ".png"
LONGEST_NAME = 40  # letters of a file's name in a title


@click.command("view", cls=ExperimentCommand)
@click.argument("operands", nargs=-1, metavar="FILE")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE.png", help="The picture (default: FILE's name with .png, here)."
)
@click.option("--3d", "in_space", is_flag=True, help="Show panels, beam, crystal and spindle in space; FILE can be left out.")
@click.option("--show", is_flag=True, help="Show it in a window; a file is written with --output only.")
@click.option("--zoom", nargs=3, type=(float, float, int), metavar="FAST SLOW SIZE", help="Show SIZE x SIZE pixels about this one.")
@click.option("--region", nargs=4, type=int, metavar="F0 F1 S0 S1", help="Show these pixels, fast and slow, first and last.")
@click.option("--log", "scale", flag_value="log", help="Logarithmic greys (default: four decades below the brightest).")
@click.option("--linear", "scale", flag_value="linear", help="Linear greys.")
@click.option("--range", "limits", nargs=2, type=float, metavar="LOW HIGH", help="Pixel values that are white and black.")
@click.option("--rings", metavar="A,A,...|auto|none", help="Rings of these resolutions in A (default: auto, where the geometry is known).")
@click.option("--labels", type=click.IntRange(0, 1000), default=0, metavar="N", help="Label the N strongest predicted spots with h k l.")
@click.option("--minus", metavar="OTHER", help="Show FILE - OTHER, in colours.")
@click.option("--number", type=click.IntRange(min=1), help="Which image of a file with several (default: 1).")
@click.option("--dataset", default="", metavar="PATH", help="Images of an HDF5 file that is not NXmx, as /entry/frames.")
@click.option("--title", metavar="TEXT", help="Title (default: the file's name, wavelength, distance, phi).")
@click.option("--shape", nargs=2, type=click.IntRange(min=1), metavar="SLOW FAST", help="Pixels of raw images (default: square).")
@experiment_options
@click.pass_context
def command(ctx: click.Context, /, operands: tuple[str, ...], **options: Any) -> None:
    """Draw an image: a PNG file, or a window.

    \b
      nbnumba view scan.nxs --number 12                        SMV, miniCBF, NXmx, TIFF, NumPy's or raw float32
      nbnumba view image.img --zoom 512 600 100 --linear
      nbnumba view image.img -mat A.mat --labels 20            indices of the strongest spots
      nbnumba view floatimage.bin -lambda 1 -distance 100 -pixel 0.1 --rings 4,3,2
      nbnumba view observed.npy --minus calculated.npy
      nbnumba view --3d --detector jungfrau-4m -distance 100 -mat A.mat -o setup.png

    Rings and labels are where the options of an experiment put them; what these leave open comes from the file.
    """
    if options["in_space"]:
        from nbnumba.cli.view_3d import draw_setup

        draw_setup(operands, read_draft(ctx, options) if ctx.meta["given"] or options["config"] else None, options)
        return
    if len(operands) != 1:
        raise OptionError(f"view: give one image file; got {len(operands)}{' (a difference is --minus OTHER)' if operands else ''}")
    file = operands[0]
    check_options(options)
    from nbnumba.cli.convert import require_hdf5

    require_hdf5([name for name in (file, options["minus"]) if name], options["dataset"])
    rings = read_rings(options["rings"])
    pyplot = None
    if options["show"]:
        from nbnumba.image.png import windows

        pyplot = windows()
    draft = read_draft(ctx, options) if ctx.meta["given"] or options["config"] else None
    target = None if pyplot and options["output"] is None else options["output"] or default_output(file, options["number"])
    if target is not None:
        check_output(target, [file_of(name) for name in (file, options["minus"]) if name], inputs_of(draft, options) if draft else [])

    from nbnumba.image.drawing import Picture

    pixels, exposure, experiment = read_all(file, draft, options)
    window = window_of(options, pixels.shape)
    if options["rings"] not in (None, "none") and (exposure is None or exposure.wavelength is None):
        click.echo(f"nbnumba: warning: no rings: {file} does not state its geometry; give the options of the experiment", err=True)
    picture = Picture(
        pixels=pixels - other_pixels(options, pixels.shape, experiment) if options["minus"] else pixels,
        unit=unit_of(file, options["dataset"]),
        exposure=exposure,
        window=window,
        scale="difference" if options["minus"] else options["scale"] or "log",
        limits=options["limits"],
        rings=rings,
        labels=labels_of(experiment, exposure, pixels, window, options["labels"]),
        title=one_line(title_of(file, exposure, options) if options["title"] is None else options["title"]),
    )
    drawn = 0
    if target is not None:
        from nbnumba.image.png import png_of

        content, drawn = png_of(picture, "view")
        write_all({target: content})
    if pyplot is not None:
        from nbnumba.image.png import show

        drawn = show(picture, pyplot)
    first_fast, last_fast, first_slow, last_slow = picture.shown
    size = f"{last_slow - first_slow + 1} x {last_fast - first_fast + 1} pixels (slow x fast)"
    labelled = f", {drawn} of {options['labels']} labels" if options["labels"] else ""
    click.echo(f"{size}{labelled}{f'; wrote {target}' if target else ''}")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what contradicts itself. Raises OptionError."""
    zoom, region, limits, minus = options["zoom"], options["region"], options["limits"], options["minus"]
    if zoom and region:
        raise OptionError("--zoom and --region: give one of them")
    if zoom and not (math.isfinite(zoom[0]) and math.isfinite(zoom[1]) and zoom[2] >= 1):
        raise OptionError(f"--zoom {words(zoom)}: needs a pixel, and a size of at least 1")
    if region and not (region[0] <= region[1] and region[2] <= region[3]):
        raise OptionError(f"--region {words(region)}: needs first and last fast, then first and last slow pixel, none before its first")
    if minus and options["scale"]:
        raise OptionError(f"--{options['scale']}: a difference has a scale of its own; leave out --{options['scale']} or --minus")
    if limits is None:
        return
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OptionError(f"--range {words(limits)}: needs two numbers, the lower first")
    if minus and low != -high:
        raise OptionError(f"--range {words(limits)}: the scale of a difference is symmetric; give --range {-high:g} {high:g}")
    if not minus and options["scale"] != "linear" and low <= 0.0:
        raise OptionError(f"--range {words(limits)}: a logarithmic scale begins above 0; give --linear, or a larger number")


def words(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def read_rings(text: str | None) -> list[float] | None:
    """Resolutions in Angstrom; None: round values. Raises OptionError."""
    if text in (None, "auto", "none"):
        return [] if text == "none" else None
    try:
        rings = [float(word) for word in text.split(",")]
    except ValueError:
        rings = []
    if not (rings and all(0.0 < ring < math.inf for ring in rings)):
        raise OptionError(f"--rings {text}: needs resolutions in A, such as 4,3,2.5, or auto, or none")
    return rings


def file_of(name: str) -> Path:
    """The file that is read: of FILE.npz:NAME and the like without the name."""
    from nbnumba.formats.read import split

    return split(name)[0]


def default_output(file: str, number: int | None) -> Path:
    """The file's own name, with that of the image in it, and .png, in the working folder."""
    from nbnumba.formats.read import split

    path, image = split(file)
    image = image or (str(number) if number else "")
    return Path(f"{path.stem or 'image'}{f'_{image}' if image else ''}{PNG}")


def check_output(target: Path, images: list[Path], others: list[Path]) -> None:
    """Refuse a target that is read from, or that is named as if it were no picture. Raises OutputFileError, OptionError."""
    check_writable([target], [*images, *others])
    if is_file_like(target) and target.suffix.lower() != PNG:
        raise OptionError(f"--output {target}: pictures are PNG files; give a name that ends in {PNG}")


def window_of(options: Mapping[str, Any], shape: tuple[int, ...]) -> Window | None:
    """First and last fast, first and last slow pixel of what is shown, cut to the image; None: all. Raises OptionError."""
    if options["zoom"]:
        fast, slow, size = options["zoom"]
        # The pixels whose middle is nearest to the one given.
        first_fast, first_slow = (math.floor(middle - (size - 1) / 2.0 + 0.5) for middle in (fast, slow))
        asked = f"--zoom {words(options['zoom'])}"
        wanted = (first_fast, first_fast + size - 1, first_slow, first_slow + size - 1)
    elif options["region"]:
        wanted, asked = options["region"], f"--region {words(options['region'])}"
    else:
        return None
    slow_pixels, fast_pixels = shape
    first_fast, last_fast = max(wanted[0], 0), min(wanted[1], fast_pixels - 1)
    first_slow, last_slow = max(wanted[2], 0), min(wanted[3], slow_pixels - 1)
    if first_fast > last_fast or first_slow > last_slow:
        raise OptionError(f"{asked}: holds no pixel of the {slow_pixels} x {fast_pixels} image (slow x fast)")
    return first_fast, last_fast, first_slow, last_slow


def labels_of(
    experiment: Experiment | None, exposure: Exposure | None, pixels: NDArray[np.float64], window: Window | None, count: int
) -> list[Label]:
    """Names of the strongest predicted spots. Raises OptionError without a crystal."""
    if not count:
        return []
    if experiment is None or not experiment.crystal.has_cell:
        raise OptionError(
            "--labels: needs a crystal; give an orientation matrix (-mat), or a cell (-cell, --model, --mtz, --sf-cif) and -misset"
        )

    from nbnumba.geometry.of_experiment import exposure_of
    from nbnumba.geometry.prediction import predicted_spots
    from nbnumba.image.flat_view import seen_at
    from nbnumba.image.labels import strongest

    spots, panels = predicted_spots(experiment), exposure_of(experiment).by_panel
    if len(panels) > 1 and exposure is not None:
        spots = seen_at(exposure, panels, spots)
    slow, fast = pixels.shape
    return strongest(spots, pixels, window or (0, fast - 1, 0, slow - 1), count)


def unit_of(file: str, dataset: str) -> str:
    """What pixels count."""
    from nbnumba.formats.read import is_counts

    return "counts" if is_counts(file, dataset) else "photons"


def title_of(file: str, exposure: Exposure | None, options: Mapping[str, Any]) -> str:
    """Files, wavelength, distance, spindle angles."""
    from nbnumba.image.drawing import geometry_line

    names = [
        name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..." for name in (Path(f).name for f in (file, options["minus"]) if f)
    ]
    what = " − ".join(names) + (f", image {options['number']}" if options["number"] else "")
    return what if exposure is None else f"{what}: {geometry_line(exposure)}"
