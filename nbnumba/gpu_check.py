"""Check nbnumba on the GPU at hand: ``python -m nbnumba.gpu_check``.

Parity of GPU and CPU over every kind of option, in both phi modes and both precisions; memory; and how fast it is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import click

from nbnumba.cli.main import main
from nbnumba.errors import InputFileError, NotAvailableError, OptionError
from nbnumba.evidence.environment import card
from nbnumba.files.whole import check_writable, write_all
from nbnumba.simulation.devices import gpu_problem

if TYPE_CHECKING:
    from nbnumba.bench.work import Work
    from nbnumba.experiment.experiment import Experiment

FILE = click.Path(path_type=Path)
BOUNDS = {"float64": 1e-10, "float32": 3e-6}  # of the maximum
GATES = {"float64": 1e-6, "float32": 4e-6}  # of the maximum, to images of nanoBragg
TOPHAT_EDGE = 1e-4  # of their pixels may lie on the other side of a tophat's edge
PRESETS = {"spec": "reference", "c-parity": "c-parity"}

# Without a folder of reference images: a line for every kind of option.
BASE = "-default_F 100 -cell 100 90 80 70 80 95 -misset 10 20 30 -lambda 1 -distance 100 -oversample 1"
WIDTH_MM = 100.0
LINES = {
    "mask": "-N 5 -phi 0 -osc 1 -phisteps 2 -mask MASK",
    "domains": "-N 5 -mosaic 1 -mosaic_dom 300",
    "sub-pixels": "-N 10 -oversample 3",
    "sources": "-N 5 -divergence 5 -divsteps 3 -dispersion 3 -dispsteps 3",
    "phi steps": "-N 10 -phi 0 -osc 2 -phisteps 5",
    "resolution limit": "-N 5 -dmin 2 -phi 0 -osc 1 -phisteps 3",
    "region": "-N 5 -roi 2 5 3 6",
    "factors per sub-pixel": "-N 5 -oversample 2 -detector_thick 450 -detector_abs 300 -oversample_thick -oversample_omega",
    "layers": "-N 5 -detector_thick 450 -detector_abs 300 -thicksteps 4",
    "round": "-N 20 -round_xtal",
    "gauss": "-N 20 -gauss_xtal",
    "tophat": "-N 5 -tophat_spots -fudge 0.01",
    "curved detector": "-N 10 -curved_det",
    "no polarization, point pixels, water": "-N 5 -nopolar -point_pixel -water 0.1",
    "table": "-N 5 -hkl TABLE",
    "interpolated": "-N 5 -interpolate -hkl TABLE",
}


@click.command()
@click.option("--golden", type=FILE, envvar="NBNUMBA_GOLDEN", metavar="DIR", help="Images of nanoBragg with their cases.json.")
@click.option("--case", "wanted", multiple=True, metavar="NAME", help="Only this case. Repeatable (default: all).")
@click.option("--pixels", type=click.IntRange(8, 4096), default=128, show_default=True, help="Along both axes, without --golden.")
@click.option("--benchmark/--no-benchmark", default=True, help="Time every model.")
@click.option("--json", "json_file", type=FILE, metavar="FILE", help="Write everything, with the card's name.")
def command(golden: Path | None, wanted: tuple[str, ...], pixels: int, benchmark: bool, json_file: Path | None) -> int:
    """Check nbnumba on the GPU at hand: parity with the CPU, memory, speed. Exit code 1 if a check fails."""
    if problem := gpu_problem():
        raise NotAvailableError(f"device cuda: {problem}")
    check_writable([json_file] if json_file else [])
    found: dict[str, Any] = {"card": about()}
    say("{name}, compute capability {capability}, {multiprocessors} multiprocessors; {date}".format(**found["card"]))
    with tempfile.TemporaryDirectory() as folder:
        chosen = [case for case in cases(golden, Path(folder), pixels) if not wanted or case[0] in wanted]
        if missing := set(wanted) - {name for name, _, _ in chosen}:
            raise OptionError(f"--case {missing.pop()}: there is no such case")
        found["parity"] = [row for case in chosen for row in checked(case[0], partial(compare, *case))]
    found["memory"] = list(checked("memory", memory_checks))
    found["benchmark"] = [row for part in (timed() if benchmark else ()) for row in checked(*part)]
    rows = [*found["parity"], *found["memory"], *found["benchmark"]]
    found["failed"] = sum(not row["passed"] for row in rows)
    if json_file:
        write_all({json_file: (json.dumps(found, indent=2) + "\n").encode()})
    say(f"{len(found['parity'])} comparisons, {len(found['memory'])} memory checks, {found['failed']} failed")
    return 1 if found["failed"] else 0


def checked(what: str, rows: Callable[[], Iterable[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Rows as they come, printed; an error is a row that failed, and ends these only."""
    try:
        for row in rows():
            say(f"{row.pop('line')}{'' if row['passed'] else '  FAILED'}")
            yield row
    except Exception as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        say(f"{what}: {told}  FAILED")
        yield {"case": what, "error": told, "passed": False}


def about() -> dict[str, Any]:
    """What GPU it is, and with which versions."""
    versions = {name: metadata.version(name) for name in ("nbnumba", "numba", "numba-cuda")}
    return {**card(), "date": datetime.now(UTC).strftime("%Y-%m-%d"), **versions}


def cases(golden: Path | None, folder: Path, pixels: int = 128) -> Iterator[tuple[str, list[str], Path | None]]:
    """(name, options, stored image) of every case; files that a case needs are written to ``folder``."""
    if golden is None:
        from nbnumba.bench.work import write_table

        write_table(folder / "TABLE")
        write_mask(folder / "MASK", pixels)
        for name, options in LINES.items():
            yield name, [str(folder / w) if w in ("TABLE", "MASK") else w for w in f"{BASE} {detector(pixels)} {options}".split()], None
        return
    file = golden / "cases.json"
    if not file.is_file():
        raise InputFileError(file, "is not there; --golden names a folder with cases.json and an .npz file for every case")
    for case in json.loads(file.read_text()):
        for name, text in case.get("files", {}).items():
            (folder / name).write_text(text)
        words = [next((str(d / w) for d in (golden, folder) if (d / w).is_file()), w) for w in case["args"].split()]
        yield case["id"], words, golden / f"{case['id']}.npz"


def detector(pixels: int) -> str:
    """Options for a detector of WIDTH_MM."""
    return f"-detpixels {pixels} -pixel {WIDTH_MM / pixels}"


def compare(name: str, words: list[str], stored: Path | None) -> Iterator[dict[str, Any]]:
    """GPU against CPU, and against the stored image, in both modes and precisions."""
    import numpy as np

    from nbnumba.options.own import experiment_from_options
    from nbnumba.simulation.simulator import simulate

    experiment = experiment_from_options(words)
    for mode, preset in PRESETS.items():
        expected = None
        for dtype, bound in BOUNDS.items():
            now = variant(experiment, preset, dtype)
            found = simulate(now, device="cuda")
            expected = simulate(now) if expected is None else expected  # float32 against float64, too
            off = np.abs(found.pixels - expected.pixels) / max(expected.pixels.max(), 1e-300)
            worst = float(off.max())
            row = {"case": name, "mode": mode, "dtype": dtype, "difference": worst, "passed": worst <= bound}
            if stored is not None:
                outside, cpu_outside = (outside_gate(stored, mode, image.pixels[image.roi], dtype) for image in (found, expected))
                # Where the CPU is outside, too, the options do not say all: a seed was taken from a clock.
                edge = TOPHAT_EDGE * found.pixels.size if "tophat" in name else 0
                row |= {"pixels_outside_gate": outside, "passed": row["passed"] and outside <= max(edge, cpu_outside)}
            yield {**row, "line": f"parity  {name:<32}{mode:<10}{dtype:<9}{worst:.1e}"}


def outside_gate(stored: Path, mode: str, found: Any, dtype: str) -> int:
    """Pixels that differ too much from those of nanoBragg."""
    import numpy as np

    with np.load(stored) as arrays:
        own = f"{mode.replace('-', '')}_image"
        expected = arrays[own] if own in arrays else arrays["spec_image"]
    return int(np.count_nonzero(np.abs(found - expected) > GATES[dtype] * expected.max()))


def variant(experiment: Experiment, preset: str, dtype: str) -> Experiment:
    """The experiment with a preset and a precision."""
    sampling, model = replace(experiment.sampling, dtype=dtype), replace(experiment.model, preset=preset)
    return replace(experiment, sampling=sampling, model=model)


def memory_checks() -> Iterator[dict[str, Any]]:
    """Every pixel of the area is written and no other, in several launches, too; memory is given back; what NVIDIA's checker says."""
    import numpy as np
    from numba import config, cuda

    from nbnumba.kernel.gpu import device
    from nbnumba.options.own import experiment_from_options
    from nbnumba.simulation.simulator import Simulator

    whole = experiment_from_options(f"{BASE} {detector(60)} -N 5 -mosaic 1 -mosaic_dom 3 -phi 0 -osc 1 -phisteps 2")
    part = replace(whole, sampling=replace(whole.sampling, roi=(5, 20, 7, 33)))
    carried = variant(whole, "c-parity", "float64")
    simulator = Simulator(device="cuda")
    poisoned = cuda.to_device(np.full(whole.detector.shape, np.nan))
    at_once = simulator.render(carried, out=poisoned).copy_to_host()
    yield memory_row("pixels that were not written", int(np.isnan(at_once).sum()))
    with patch.object(device, "pixels_at_once", lambda *_: 1000):
        in_parts = simulator.render(carried).copy_to_host()
    yield memory_row("pixels that differ in several launches", int(np.count_nonzero(in_parts != at_once)))
    everything, pixels = simulator.render(whole).copy_to_host(), simulator.render(part).copy_to_host()
    yield memory_row("pixels of a region that differ", int(np.count_nonzero(pixels[7:34, 5:21] != everything[7:34, 5:21])))
    pixels[7:34, 5:21] = 0.0
    yield memory_row("pixels written outside the region", int(np.count_nonzero(pixels)))
    if config.ENABLE_CUDASIM:
        return
    free = []
    for _ in range(3):
        for _ in range(20):
            simulator.image(whole)
        cuda.synchronize()
        cuda.current_context().memory_manager.deallocations.clear()
        free.append(cuda.current_context().get_memory_info()[0])
    yield memory_row("bytes that 20 images kept", max(free[1] - free[2], 0))
    if (tool := shutil.which("compute-sanitizer")) is not None:
        for check in ("memcheck", "racecheck", "synccheck"):
            yield sanitized(tool, check)


def memory_row(check: str, found: int) -> dict[str, Any]:
    """Of a number that should be 0."""
    return {"check": check, "found": found, "passed": found == 0, "line": f"memory  {check:<51}{found}"}


def sanitized(tool: str, check: str) -> dict[str, Any]:
    """What NVIDIA's checker says of a run."""
    options = f"{BASE} {detector(40)} -N 5 -mosaic 1 -mosaic_dom 300 -phi 0 -osc 1 -phisteps 2 -nopgm -nonoise -mask mask.img".split()
    with tempfile.TemporaryDirectory() as folder:
        write_mask(Path(folder) / "mask.img", 40)
        run = [sys.executable, "-m", "nbnumba.cli.main", "run", *options, "--device", "cuda", "--preset", "c-parity"]
        done = subprocess.run(
            [tool, "--tool", check, "--error-exitcode", "9", *run], cwd=folder, capture_output=True, text=True, check=False
        )
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
    found, passed = " ".join(last), done.returncode == 0
    return {
        "check": f"compute-sanitizer, {check}",
        "found": found,
        "passed": passed,
        "line": f"memory  compute-sanitizer, {check}: {found}",
    }


def write_mask(file: Path, pixels: int) -> None:
    """An SMV image of ones along its diagonal, zeros elsewhere."""
    import numpy as np

    header = f"{{\nHEADER_BYTES=512;\nDIM=2;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nSIZE1={pixels};\nSIZE2={pixels};\n}}\f"
    file.write_bytes(header.ljust(512).encode() + np.eye(pixels, dtype="<u2").tobytes())


def timed() -> Iterator[tuple[str, Callable[[], Iterable[dict[str, Any]]]]]:
    """The card's ceilings, the rate of every model, and what an image costs at least."""
    from nbnumba.bench.gpu import ceilings, fixed_cost, of_ceiling, rate, timed_works

    limits: dict[str, float] = {}

    def measured_ceilings() -> Iterator[dict[str, Any]]:
        for name, value in ceilings():
            limits[name] = value
            yield {"ceiling": name, "per_second": value, "passed": True, "line": f"ceiling {name:<40}{value / 1e9:>10.0f} G"}

    def measured_rate(work: Work) -> Iterator[dict[str, Any]]:
        row = rate(work)
        row |= {"of_ceiling": of_ceiling(row, limits), "passed": True}
        told = f"{row['samples_per_second'] / 1e9:>8.1f} G samples/s, {row['of_ceiling']:.0%} of the ceiling"
        yield {**row, "line": f"speed   {work.name:<32}{told}"}

    def measured_image(pixels: int) -> Iterator[dict[str, Any]]:
        seconds = fixed_cost(pixels)
        line = f"image   {pixels} x {pixels}, one domain {seconds * 1e3:>12.2f} ms"
        yield {"image_of_one_domain": pixels, "seconds": seconds, "passed": True, "line": line}

    yield "ceilings", measured_ceilings
    for work in timed_works():
        yield work.name, partial(measured_rate, work)
    for pixels in (16, 1024):
        yield f"{pixels} x {pixels}", partial(measured_image, pixels)


def say(line: str) -> None:
    click.echo(line.rstrip())


if __name__ == "__main__":
    sys.exit(main(command=command, name="python -m nbnumba.gpu_check"))
