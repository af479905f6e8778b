"""``nbnumba compare-traces``: where two traces of a pixel part."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from nbnumba.errors import OptionError
from nbnumba.experiment.physics import CARRYOVER_MODES

FILE = click.Path(path_type=Path)


@click.command("compare-traces")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--mode", type=click.Choice(CARRYOVER_MODES), help="Phi mode, for the tolerance (default: what the traces say, else spec).")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0.0),
    help="Largest relative difference that counts as agreement (default: 1e-6 for spec, 5e-5 for c-parity).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(first: Path, second: Path, mode: str | None, tolerance: float | None, as_json: bool) -> int:
    """Find the first value in which two traces of a pixel differ, in the order in which values come about.

    FIRST and SECOND are what 'nbnumba trace' prints, as text or JSON, or logs of other programs with lines TRACE_C: NAME VALUE...
    The exit code is 1 if there is such a value.
    """
    if tolerance is not None and math.isnan(tolerance):
        raise OptionError("--tolerance nan: is not a number")

    from nbnumba.compare.traces import as_text, compare_traces
    from nbnumba.traces.read import read_trace

    found = compare_traces(read_trace(first), read_trace(second), tolerance, mode)
    click.echo(json.dumps(found, indent=2) if as_json else as_text(found))
    return 0 if found["first_divergence"] is None else 1
