"""``nbnumba gradcheck``: gradients against differences."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import click

from nbnumba.cli.options import ExperimentCommand, experiment_options, read_draft, registry_for, report
from nbnumba.cli.run import prepare_threads
from nbnumba.errors import OptionError


@click.command("gradcheck", cls=ExperimentCommand)
@click.option(
    "--parameters", metavar="NAME,...", help="Parameters to check, e.g. 'cell_a,misset_x,F(1,2,3)' (default: all that the experiment has)."
)
@click.option(
    "--tolerance", type=click.FloatRange(min=0.0), default=1e-6, show_default=True, help="Largest relative error that counts as agreement."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="Number of threads (default: all cores).")
@experiment_options
@click.pass_context
def command(ctx: click.Context, /, parameters: str | None, tolerance: float, as_json: bool, threads: int | None, **options: Any) -> int:
    """Hold the gradient of an experiment's image against central differences.

    Takes what 'nbnumba run' takes. Differentiated is a sum of all photons with random weights, by values in m and rad; the step of
    differences is chosen by where two steps agree. In float64, on the CPU. A parameter takes ten images and more: choose a small -roi. The
    exit code is 1 if a parameter is off.

    \b
      nbnumba gradcheck -default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1 -N 5 -distance 60 -detpixels 32 -pixel 1
    """
    if math.isnan(tolerance):
        raise OptionError("--tolerance nan: is not a number")
    prepare_threads(threads)
    draft = read_draft(ctx, options)
    experiment = draft.experiment()
    report(draft, experiment)

    from nbnumba.gradients.check import as_dict, as_text, check_gradient

    names = None if parameters is None else names_of(parameters)
    with click.progressbar(length=1, label="checking", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        found = check_gradient(experiment, names, stages=registry_for(options["plugin_files"]), threads=threads, progress=progress)
    click.echo(json.dumps(as_dict(found), indent=2) if as_json else as_text(found, tolerance))
    return 1 if found.off(tolerance) else 0


def names_of(text: str) -> list[str]:
    """Names between commas, those inside parentheses apart."""
    names, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            names.append("")
        elif not character.isspace():
            names[-1] += character
    return names
