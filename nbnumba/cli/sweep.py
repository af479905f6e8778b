"""``nbnumba sweep``: render the images of a scan."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbnumba import units
from nbnumba.cli.accuracy import accuracy_option, as_accurate, stated_error
from nbnumba.cli.evidence import inputs_of
from nbnumba.cli.main import INTERRUPTED
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options, read_draft, registry_for, report
from nbnumba.cli.run import prepare_threads, say_outside, say_unmarked, say_unsaid
from nbnumba.cli.termination import Terminated
from nbnumba.errors import OptionError
from nbnumba.files.whole import check_writable, write_all
from nbnumba.options.output import MOST_IMAGES

if TYPE_CHECKING:
    from nbnumba.campaign.series import Series
    from nbnumba.campaign.sweep import Counting, Sweep, SweepResult
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.options.experiment import Draft
    from nbnumba.simulation.simulator import Simulator
    from nbnumba.stages.registry import Registry


BESIDE = ("save_config", "save_expt", "save_refl", "save_geom", "json_file")  # options that name files beside the images
ENDINGS = {"save_expt": ".expt", "save_refl": ".refl", "save_geom": ".geom"}  # of those that other programs know by them


@click.command("sweep", cls=ExperimentCommand)
@experiment_options
@click.option("--images", type=click.IntRange(1, MOST_IMAGES), required=True, metavar="N", help="Number of images.")
@click.option("--width", type=float, metavar="DEG", help="Spindle angle of each image in deg (default: -osc); the first begins at -phi.")
@click.option(
    "--flicker", type=click.FloatRange(0.0, 1.0), default=0.0, metavar="FRACTION", help="Standard deviation of the photons of an image."
)
@click.option(
    "--shutter-jitter",
    "jitter",
    type=click.FloatRange(0.0, 360.0),
    default=0.0,
    metavar="DEG",
    help="Standard deviation of the spindle angles at which the shutter opens and closes.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("sweep_####.cbf"),
    show_default=True,
    metavar="NAME",
    help="Numbered files, # standing for a digit (.cbf, .img, .tif, .npy), or one file for all images (.nxs, .h5; those of NAME_master.h5 "
    "are in data files of 1000 beside it).",
)
@click.option("--overwrite", is_flag=True, help="Replace the images of another sweep, which stay until there are all of the new ones.")
@click.option("--save-config", type=click.Path(path_type=Path), metavar="FILE", help="Write the experiment as TOML.")
@click.option(
    "--save-expt", type=click.Path(path_type=Path), metavar="FILE", help="Write beam, detector, spindle, scan, crystal for DIALS (.expt)."
)
@click.option("--save-refl", type=click.Path(path_type=Path), metavar="FILE", help="Write the spots that are expected for DIALS (.refl).")
@click.option("--save-geom", type=click.Path(path_type=Path), metavar="FILE", help="Write the detector for CrystFEL (.geom).")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the record, and what came out.")
@accuracy_option
@device_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int | None:
    """Render the images of a scan, each with its counting noise.

    Image i covers spindle angles from phi + (i - 1) width to phi + i width, in -phisteps parts (default here: 10), the crystal standing in
    the middle of each. Pixels are photons counted (-seed S, default 1), or with -nonoise photons times -scale (default 1), rounded; -adc
    (default 0 here) is added. A file NAME.json keeps what was rendered. Interrupted, the same command goes on where it was. The folder of
    the images is made if it is not there.

    \b
      nbnumba sweep --model crystal.pdb -lambda 1 -distance 200 -N 30 --images 180 --width 0.5 -phisteps 5 -o scan_####.cbf
    """
    prepare_threads(options["threads"])
    draft = read_draft(ctx, options)
    experiment = draft.experiment()

    from nbnumba.campaign.series import series_of
    from nbnumba.campaign.sweep import Sweep, begin
    from nbnumba.geometry.dials_refl import require_msgpack
    from nbnumba.response.chain import gain_of, with_parameters
    from nbnumba.simulation.scene import choose_stages
    from nbnumba.simulation.simulator import Simulator

    width, counting = width_of(options["width"], experiment), counting_of(draft.part("output"))
    disturbed = {"flicker": options["flicker"], "shutter_jitter": units.radians(options["jitter"])}
    sweep = Sweep(experiment=experiment, images=options["images"], width=width, counting=counting, **disturbed)
    sweep.image(1).check()
    registry, target = registry_for(options["plugin_files"]), series_of(options["output"], counts=True)
    gain = gain_of(with_parameters(choose_stages(experiment, registry).responses, experiment))
    sweep = replace(sweep, counting=replace(counting, gain=gain))
    simulator = Simulator(stages=registry, device=options["device"], threads=options["threads"])
    sweep = sweep.sampled_as(as_accurate(sweep.image(1), options["accuracy"], simulator))
    others = [options[name] for name in BESIDE if options[name] is not None]
    check_writable(others)
    require_endings(options)
    check_writable([*others, target.record, *target.files([1])], inputs_of(draft, options), new_folder=True)
    if options["save_refl"] is not None:
        require_msgpack()
    record, about = sweep.record(made_with(sweep.image(1), registry, options)), about_of(ctx, sweep, simulator)
    missing = begin(sweep, target, record, options["overwrite"], about)
    report_sweep(ctx, draft, sweep, target)
    try:
        taken = with_a_bar(sweep, target, missing, simulator, draft.values.get("progress", True))
        write_all(summaries(sweep, target, {**record, **about}, taken, len(missing), options))
    except (KeyboardInterrupt, Terminated) as error:
        there = sum(target.has(number) for number in sweep.numbers)
        how = "the same command without --overwrite" if options["overwrite"] and not target.replacing else "the same command"
        outcome = f"{there} of {sweep.images} images are there, {how} goes on"
        if isinstance(error, Terminated):
            error.outcome = outcome
            raise
        click.echo(f"nbnumba: interrupted; {outcome}", err=True)
        return INTERRUPTED
    finally:
        target.unlock()
    if taken.cut:
        limit = f"more than {target.held.most} counts, which {target.kind.name} cannot hold"
        click.echo(f"nbnumba: warning: {taken.cut} pixels have {limit}: cut off", err=True)
    say_outside(taken.outside)
    files = target.files(sweep.numbers)
    shown = str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1].name}"
    images = "1 image" if sweep.images == 1 else f"{sweep.images} images"
    click.echo(f"{images}, {len(missing)} rendered now; wrote {', '.join(map(str, [shown, target.record, *others]))}")
    return None


def require_endings(options: Mapping[str, Any]) -> None:
    """Refuse the name of a file that would not be known for what it is. Raises OptionError."""
    for name, ending in ENDINGS.items():
        if (path := options[name]) is not None and path.suffix.lower() != ending:
            raise OptionError(f"--{name.replace('_', '-')} {path}: ends in {path.suffix or 'nothing'}; give a name that ends in {ending}")


def about_of(ctx: click.Context, sweep: Sweep, simulator: Simulator) -> dict[str, Any]:
    """What people want to know of a sweep: the command, and what was decided."""
    from nbnumba.image.summary import description

    command = shlex.join(["nbnumba", "sweep", *ctx.meta["typed"]])
    detector = {"panels": len(sweep.experiment.by_panel)}
    return {
        "command": command,
        "detector": detector,
        **{name: part for name, part in description(sweep.image(1), {}).items() if name != "estimate"},
        "sampling_error": stated_error(sweep.image(1), simulator, ctx.params["accuracy"]),
    }


def summaries(
    sweep: Sweep, target: Series, record: Mapping[str, Any], taken: SweepResult, rendered: int, options: Mapping[str, Any]
) -> dict[Path, bytes]:
    """Files beside the images, with their bytes."""
    from nbnumba.options.configuration import toml_text

    files = {}
    if (path := options["save_config"]) is not None:
        files[path] = toml_text(sweep.experiment, path.parent).encode("utf-8")
    if (path := options["save_expt"]) is not None:
        from nbnumba.geometry.dials_out import expt_text

        images = os.path.relpath(target.images, path.parent) if sweep.width and target.kind.geometry != "none" else ""
        files[path] = expt_text(sweep.exposure(1), sweep.experiment.unit_cell.reciprocal, sweep.images, images).encode("utf-8")
    if (path := options["save_refl"]) is not None:
        from nbnumba.geometry.dials_refl import refl_bytes

        files[path] = refl_bytes(sweep.whole, sweep.exposure(1), sweep.images)
    if (path := options["save_geom"]) is not None:
        from nbnumba.geometry.crystfel_text import geom_text

        files[path] = geom_text(sweep.experiment).encode("utf-8")
    if (path := options["json_file"]) is not None:
        found = {**record, "rendered_now": rendered, "pixels_cut_off": taken.cut, "terms_outside_table": taken.outside}
        files[path] = (json.dumps(found, indent=2) + "\n").encode("utf-8")
    return files


def counting_of(output: Mapping[str, Any]) -> Counting:
    """How photons become counts, from the options of the output."""
    from nbnumba.campaign.sweep import Counting

    seed = None if output.get("noise_file", True) is None else output.get("seed", 1)
    return Counting(seed=seed, scale=output.get("scale") or 1.0, offset=output.get("adc_offset", 0.0))


def made_with(first: Experiment, registry: Registry, options: Mapping[str, Any]) -> dict[str, Any]:
    """Device, stages and their source, for the record. Raises NotAvailableError, StageError."""
    from nbnumba.campaign.sweep import code_digests
    from nbnumba.image.image import provenance
    from nbnumba.simulation.devices import open_device
    from nbnumba.simulation.scene import choose_stages

    stages = choose_stages(first, registry)
    return {
        "device": open_device(options["device"], first.terms, first.sampling.dtype, options["threads"]).name,
        **provenance(first, stages),
        "code_sha256": code_digests(stages),
    }


def with_a_bar(sweep: Sweep, target: Series, missing: list[int], simulator: Simulator, wanted: bool) -> SweepResult:
    """Take the images; on a terminal a bar shows how many there are, and the time left."""
    from nbnumba.campaign.sweep import take

    hidden = not (wanted and sys.stderr.isatty())
    with click.progressbar(length=sweep.images, label="rendering", file=sys.stderr, show_pos=True, hidden=hidden) as bar:
        bar.update(sweep.images - len(missing))
        return take(sweep, target, missing, simulator, lambda: bar.update(1))


def report_sweep(ctx: click.Context, draft: Draft, sweep: Sweep, target: Series) -> None:
    """As of a run, but for its files: a sweep writes others, with other headers and noise."""
    from nbnumba.formats.write import losses

    report(draft, sweep.image(1), without=("sequential-noise",))
    for one in ctx.meta["given"]:
        if one.option.text and one.option.field in ("output.float_file", "output.int_file", "output.pgm_file", "output.noise_file"):
            click.echo(f"nbnumba: warning: {one}: changes nothing; a sweep writes --output", err=True)
    for loss in losses(target.files([1])[0], sweep.exposure(1), target.kind):
        click.echo(f"nbnumba: warning: {ctx.params['output']}: {loss}", err=True)
    if (path := ctx.params["save_geom"]) is not None:
        say_unsaid(path, sweep.image(1))
    if not target.kind.mark:
        say_unmarked([ctx.params["output"]], sweep.experiment)


def width_of(typed_deg: float | None, experiment: Experiment) -> float:
    """Spindle angle of an image in rad, by default that of the experiment. Raises OptionError."""
    goniometer = experiment.goniometer
    if typed_deg is None and goniometer.oscillation is None and goniometer.phi_step is None:
        raise OptionError("--width: is missing; give the spindle angle of each image in deg, as --width or -osc (-width is the crystal's)")
    if typed_deg is None:
        return goniometer.scan.oscillation
    if not (math.isfinite(typed_deg) and typed_deg >= 0.0):
        raise OptionError(f"--width {typed_deg:g}: must be a finite angle of 0 deg or more")
    return units.radians(typed_deg)
