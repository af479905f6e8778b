"""``nbnumba sweep``: render the images of a scan."""

from __future__ import annotations

import math
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba import units
from nbnumba.cli.evidence import inputs_of
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options, read_draft, registry_for, report
from nbnumba.cli.run import prepare_threads, say_outside
from nbnumba.errors import OptionError
from nbnumba.files import check_writable

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.options.experiment import Draft

MOST_IMAGES = 100_000
INTERRUPTED = 130


@click.command("sweep", cls=ExperimentCommand)
@experiment_options
@click.option("--images", type=click.IntRange(1, MOST_IMAGES), required=True, metavar="N", help="Number of images.")
@click.option("--width", type=float, metavar="DEG", help="Spindle angle of each image in deg (default: -osc); the first begins at -phi.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("sweep_####.cbf"),
    show_default=True,
    metavar="NAME",
    help="Numbered files, # standing for a digit (.cbf, .img, .tif, .npy), or one file for all images (.nxs, .h5).",
)
@click.option("--overwrite", is_flag=True, help="Replace the images of another sweep.")
@device_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int | None:
    """Render the images of a scan, each with its counting noise.

    Image i covers spindle angles from phi + (i - 1) width to phi + i width, in -phisteps parts (default here: 10), the crystal standing in
    the middle of each. Pixels are photons counted (-seed S, default 1), or with -nonoise photons times -scale (default 1), rounded; -adc
    (default 0 here) is added. A file NAME.json keeps what was rendered. Interrupted, the same command goes on where it was.

    \b
      nbnumba sweep --model crystal.pdb -lambda 1 -distance 200 -N 30 --images 180 --width 0.5 -phisteps 5 -o scan_####.cbf
    """
    prepare_threads(options["threads"])
    draft = read_draft(ctx, options)
    experiment = draft.experiment()
    width = width_of(options["width"], experiment)

    from nbnumba.devices import open_device
    from nbnumba.outputs.formats import unsaid
    from nbnumba.outputs.image import provenance
    from nbnumba.outputs.series import series_of
    from nbnumba.simulate import Simulator, choose_stages
    from nbnumba.sweep import Counting, Sweep, begin, take

    output = draft.part("output")
    counting = Counting(
        seed=None if output.get("noise_file", True) is None else output.get("seed", 1),
        scale=output.get("scale") or 1.0,
        offset=output.get("adc_offset", 0.0),
    )
    sweep = Sweep(experiment=experiment, images=options["images"], width=width, counting=counting)
    first = sweep.image(1)
    first.check()
    registry = registry_for(options["plugin_files"])
    target = series_of(options["output"])
    check_writable([target.record, *target.files([1])], inputs_of(draft, options))
    made_with = {
        "device": open_device(options["device"], first.terms, first.sampling.dtype, options["threads"]).name,
        "plugin_files_sha256": [sha256(file.read_bytes()).hexdigest() for file in options["plugin_files"]],
        **provenance(first, choose_stages(experiment, registry)),
    }
    missing = begin(sweep, target, sweep.record(made_with), options["overwrite"])
    report_sweep(ctx, draft, first)
    if said := unsaid(sweep.exposure(1), target.kind):
        click.echo(f"nbnumba: warning: {options['output']}: a {target.kind.name} file {said}", err=True)
    simulator = Simulator(stages=registry, device=options["device"], threads=options["threads"])
    quiet = not sys.stderr.isatty() or not draft.values.get("progress", True)
    try:
        with click.progressbar(length=sweep.images, label="rendering", file=sys.stderr, show_pos=True, hidden=quiet) as bar:
            bar.update(sweep.images - len(missing))
            taken = take(sweep, target, missing, simulator, lambda: bar.update(1))
    except KeyboardInterrupt:
        there = sum(target.has(number) for number in sweep.numbers)
        how = "the same command without --overwrite" if options["overwrite"] else "the same command"
        click.echo(f"\nnbnumba: interrupted; {there} of {sweep.images} images are there, {how} goes on", err=True)
        return INTERRUPTED
    finally:
        target.unlock()
    if taken.cut:
        limit = f"more than {target.kind.most} counts, which {target.kind.name} cannot hold"
        click.echo(f"nbnumba: warning: {taken.cut} pixels have {limit}: cut off", err=True)
    say_outside(taken.outside)
    files = target.files(sweep.numbers)
    shown = str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1].name}"
    images = "1 image" if sweep.images == 1 else f"{sweep.images} images"
    click.echo(f"{images}, {len(missing)} rendered now; wrote {shown} and {target.record}")
    return None


def report_sweep(ctx: click.Context, draft: Draft, experiment: Experiment) -> None:
    """As of a run, but for its files: a sweep writes others, with other headers and noise."""
    report(draft, experiment, without=("header-centre", "sequential-noise"))
    for one in ctx.meta["given"]:
        if one.option.text and one.option.field in ("output.float_file", "output.int_file", "output.pgm_file", "output.noise_file"):
            click.echo(f"nbnumba: warning: {one}: changes nothing; a sweep writes --output", err=True)


def width_of(typed_deg: float | None, experiment: Experiment) -> float:
    """Spindle angle of an image in rad, by default that of the experiment. Raises OptionError."""
    goniometer = experiment.goniometer
    if typed_deg is None and goniometer.oscillation is None and goniometer.phi_step is None:
        raise OptionError("--width: is missing; give the spindle angle of each image in deg, as --width or -osc (-width is the crystal's)")
    if typed_deg is None:
        return goniometer.sweep.oscillation
    if not (math.isfinite(typed_deg) and typed_deg >= 0.0):
        raise OptionError(f"--width {typed_deg:g}: must be a finite angle of 0 deg or more")
    return units.radians(typed_deg)
