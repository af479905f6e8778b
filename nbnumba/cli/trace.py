"""``nbnumba trace``: what happens inside one pixel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from nbnumba.cli.evidence import bundle_option, inputs_of, pin_seed, require_new_folder, words_to_repeat
from nbnumba.cli.options import ExperimentCommand, device_options, experiment_options, read_draft, registry_for, report
from nbnumba.cli.run import prepare_threads

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.options.experiment import Draft
    from nbnumba.traces.text import Trace


@click.command("trace", cls=ExperimentCommand)
@click.option(
    "--pixel", nargs=2, type=click.IntRange(min=0), required=True, metavar="SLOW FAST", help="The pixel to trace; the first is 0 0."
)
@click.option("--panel", metavar="N|NAME", help="The panel that it is on, of several: its number, the first is 0, or its name.")
@click.option("--per-phi", is_flag=True, help="Print the rows of phi steps and mosaic domains alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@experiment_options
@device_options
@bundle_option
@click.pass_context
def command(ctx: click.Context, /, pixel: tuple[int, int], panel: str | None, per_phi: bool, as_json: bool, **options: Any) -> None:
    """Print every intermediate of one pixel, from the stage functions that render it.

    Takes what 'nbnumba run' takes. Lines have the form NAME VALUE..., under the names that trace logs of nanoBragg have; a
    row for every phi step and mosaic domain has the form PHI NAME=VALUE...; 'nbnumba compare-traces' finds where two traces part.

    \b
      nbnumba trace --pixel 120 130 -default_F 100 -cell 100 100 100 90 90 90 -lambda 6.2 -N 5 -detpixels 256
      nbnumba trace --panel q0/module3 --pixel 120 130 --expt refined.expt -hkl P1.hkl -N 10
    """
    prepare_threads(options["threads"])
    if options["bundle"]:
        pin_seed(ctx)
        require_new_folder(options["bundle"])
    draft = read_draft(ctx, options)
    experiment = draft.experiment()
    report(draft, experiment)

    from nbnumba.traces.text import as_dict, as_text, per_phi_text, phi_dict
    from nbnumba.traces.tracing import trace

    slow, fast = pixel
    stages, device, threads = registry_for(options["plugin_files"]), options["device"], options["threads"]
    which = int(panel) if panel is not None and panel.isdecimal() else panel
    found = trace(experiment, slow, fast, panel=which, stages=stages, device=device, threads=threads)
    if as_json:
        name, text = "trace.json", json.dumps(phi_dict(found) if per_phi else as_dict(found), indent=2)
    else:
        name, text = "trace.txt", per_phi_text(found) if per_phi else as_text(found)
    if options["bundle"]:
        leave_bundle(ctx, draft, experiment, found, (name, text), options)
    click.echo(text)


def leave_bundle(
    ctx: click.Context, draft: Draft, experiment: Experiment, found: Trace, printed: tuple[str, str], options: dict[str, Any]
) -> None:
    """Evidence of a trace."""
    from nbnumba.evidence.bundle import Record, names_of, write_bundle

    inputs = names_of(inputs_of(draft, options), "inputs")
    record = Record(
        typed=["trace", *ctx.meta["typed"]],
        repeat=["trace", *words_to_repeat(ctx.meta["given"], ctx.meta["own"], inputs, {})],
        inputs=inputs,
        outputs={printed[0]: (f"{printed[1]}\n".encode(), "trace")},
        experiments={"experiment": experiment},
        metrics={name: found.values[name] for name in ("I_before_scaling", "I_pixel_final", "floatimage_accumulated")},
        device=found.provenance["device"],
        threads=options["threads"],
    )
    write_bundle(options["bundle"], record)
