"""``nbnumba bench``: how fast is it on this machine."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from nbnumba.cli.evidence import bundle_option, require_new_folder
from nbnumba.cli.options import RecordingCommand
from nbnumba.cli.run import prepare_threads
from nbnumba.cli.terminal import say
from nbnumba.errors import NotAvailableError, OptionError
from nbnumba.files.whole import check_writable, write_all

FILE = click.Path(path_type=Path)


@click.command("bench", cls=RecordingCommand)
@click.option("--work", "names", multiple=True, metavar="NAME", help="Time this row of the table only. Repeatable (default: all).")
@click.option("--pixels", type=click.IntRange(64, 8192), default=1024, show_default=True, help="Detector pixels along both axes.")
@click.option("--threads", type=click.IntRange(1, 1024), multiple=True, help="Number of threads. Repeatable (default: all cores).")
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Rounds, of which medians are taken.")
@click.option("--growth", is_flag=True, help="Measure how the cost grows with pixels, domains, phi steps and sources.")
@click.option("--reference", type=FILE, metavar="EXE", help="Time nanoBragg in the same rounds, loop against loop.")
@click.option("--json", "json_file", type=FILE, metavar="FILE", help="Write everything that was measured.")
@click.option("--plot", type=FILE, metavar="FILE", help="Draw it (PNG).")
@bundle_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    names: tuple[str, ...],
    pixels: int,
    threads: tuple[int, ...],
    rounds: int,
    growth: bool,
    reference: Path | None,
    json_file: Path | None,
    plot: Path | None,
    bundle: Path | None,
) -> None:
    """Time the kernels of every model.

    Prints samples per second, the fraction of this machine's peak rate of fused multiply-adds, the ratio to a kernel written by hand for
    the simplest case, and the ratio to nanoBragg. A sample is one pixel, sub-pixel, sensor layer, source, phi step and domain.
    """
    targets = [path for path in (json_file, plot) if path is not None]
    check_writable(targets)
    require_new_folder(bundle, targets)
    if reference is not None and not reference.is_file():
        raise OptionError(f"--reference {reference}: is not a file; name an executable of nanoBragg")
    if plot is not None and find_spec("matplotlib") is None:
        raise NotAvailableError("--plot: needs matplotlib; install it with: pip install 'nbnumba[plot]'")
    prepare_threads(max(threads, default=None))

    import numba

    from nbnumba.bench.measure import time_all, time_growth
    from nbnumba.bench.report import as_dict, as_png, as_text
    from nbnumba.bench.work import NAMES, WORK

    if unknown := [name for name in names if name not in NAMES]:
        raise OptionError(f"--work {unknown[0]!r}: there is {', '.join(repr(name) for name in NAMES)}")
    chosen = [work for work in WORK if not names or work.name in names]
    timings, peaks = [], {}
    for number in threads or (numba.config.NUMBA_NUM_THREADS,):
        found, peaks[number] = time_all(chosen, pixels, number, rounds, reference, say)
        timings += found
    grown = time_growth(max(peaks), rounds, say) if growth else {}
    say("")
    results = as_dict(timings, peaks, grown)
    click.echo(as_text(results))
    files = {json_file: (json.dumps(results, indent=2) + "\n").encode(), plot: as_png(results) if plot else b""}
    write_all({path: content for path, content in files.items() if path is not None})
    if bundle is not None:
        leave_bundle(ctx, results, bundle, max(peaks))


def leave_bundle(ctx: click.Context, results: dict[str, Any], folder: Path, threads: int) -> None:
    """Evidence of what was timed; nanoBragg, which is no part of it, is not timed again."""
    from nbnumba.evidence.bundle import Record, write_bundle

    left_out = ("--bundle", "--reference", "--json", "--plot")
    record = Record(
        typed=["bench", *ctx.meta["typed"]],
        repeat=["bench", *(word for one in ctx.meta["own"] if one.name not in left_out for word in (one.name, *one.values))],
        outputs={"bench.json": ((json.dumps(results, indent=2) + "\n").encode(), "timings")},
        metrics=results,
        threads=threads,
    )
    write_bundle(folder, record)
