"""Timing: kernels against the yardstick and nanoBragg, in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from nbnumba.bench.work import Work, experiment_of, options_of, write_table
from nbnumba.bench.yardstick import best_time, peak, time_once, yardstick
from nbnumba.errors import NotAvailableError
from nbnumba.experiment.experiment import Experiment
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.nanobragg import run
from nbnumba.simulation.scene import scene_of

Progress = Callable[[str], None]
LEAST_SECONDS = 0.05  # of nanoBragg's loop: less is not measured by starting it twice


@dataclass(frozen=True)
class Timing:
    """Rates of one row of the table, samples a second, one of every round."""

    work: Work
    threads: int
    samples: int
    rates: list[float] = field(default_factory=list)
    yardsticks: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)  # of one run, as nanoBragg has it
    references: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median, samples a second."""
        return median(self.rates)

    @property
    def of_yardstick(self) -> float:
        """Median of the ratios of the rounds."""
        return median(a / b for a, b in zip(self.rates, self.yardsticks, strict=True))

    @property
    def of_reference(self) -> float | None:
        """Median of the ratios of the rounds; None if it was not timed."""
        pairs = list(zip(self.singles, self.references, strict=True))
        return median(a / b for a, b in pairs) if pairs else None


def kernel_of(experiment: Experiment, threads: int) -> Callable[[], None]:
    """The kernel of an experiment with all that it needs, ready to be timed."""
    return scene_of(experiment).ready(Cpu(threads))


def time_all(
    chosen: Sequence[Work], pixels: int, threads: int, rounds: int, reference: Path | None, progress: Progress
) -> tuple[list[Timing], float]:
    """Every row of the table in every round, with the yardstick before it; and the median of the peak rates of the rounds."""
    timings, kernels, peaks = [], [], []
    yardstick(threads)
    for work in chosen:
        progress(f"compiling {work.name}")
        experiment = experiment_of(work, pixels)
        kernels.append(kernel_of(experiment, threads))
        kernels[-1]()
        timings.append(Timing(work, threads, experiment.terms))
    for turn in range(rounds):
        peaks.append(peak(threads))
        for timing, kernel in zip(timings, kernels, strict=True):
            progress(f"round {turn + 1} of {rounds}: {timing.work.name}")
            timing.yardsticks.append(yardstick(threads))
            timing.rates.append(timing.samples / best_time(kernel, threads, 3))
            if reference is not None:
                timing.singles.append(timing.samples / time_once(kernel))
                timing.references.append(timing.samples / reference_seconds(reference, timing.work, pixels, threads))
    return timings, median(peaks)


def reference_seconds(executable: Path, work: Work, pixels: int, threads: int) -> float:
    """What nanoBragg takes for its loop: the whole run less one of a single pixel, which reads and writes the same files."""
    with tempfile.TemporaryDirectory() as folder:
        options = [*options_of(work, pixels).split(), "-nonoise", "-nopgm", "-noprogress"]
        if work.table:
            write_table(Path(folder) / "table.hkl")
            options += ["-hkl", "table.hkl"]
        seconds = []
        for region in ([], ["-roi", "0", "0", "0", "0"]):
            began = time.perf_counter()
            run(executable, [*options, *region], folder, threads)
            seconds.append(time.perf_counter() - began)
    if (loop := seconds[0] - seconds[1]) < LEAST_SECONDS:
        raise NotAvailableError(f"{executable}: takes hardly longer for an image than for a pixel; take more --pixels")
    return loop


# What the cost should be proportional to: name -> options for a multiple n of the least.
GROWTH: dict[str, Callable[[int], str]] = {
    "pixels": lambda n: f"-detpixels_x {128 * n} -detpixels_y 256 -pixel 0.1 -mosaic_dom 40",
    "mosaic domains": lambda n: f"-detpixels 256 -pixel 0.4 -mosaic_dom {40 * n}",
    "phi steps": lambda n: f"-detpixels 256 -pixel 0.4 -mosaic_dom 2 -phi 0 -osc 1 -phisteps {20 * n}",
    "sources": lambda n: f"-detpixels 256 -pixel 0.4 -mosaic_dom 20 -dispersion 1 -dispsteps {2 * n}",
}
MULTIPLES = (1, 2, 4, 8, 16)


def time_growth(threads: int, rounds: int, progress: Progress) -> dict[str, list[tuple[int, float]]]:
    """name -> (multiple, median seconds of the kernel) for 1 to 16 times the work."""
    from nbnumba.options.own import experiment_from_options

    base = "-default_F 100 -cell 100 -lambda 1 -distance 100 -mosaic 0.5 -N 5 -oversample 1 "
    found = {}
    for name, options in GROWTH.items():
        progress(f"growth with {name}")
        kernels = [kernel_of(experiment_from_options(base + options(n)), threads) for n in MULTIPLES]
        times = [[best_time(kernel, threads, 3) for kernel in kernels] for _ in range(rounds)]
        found[name] = [(n, median(column)) for n, column in zip(MULTIPLES, zip(*times, strict=True), strict=True)]
    return found


def exponent(points: Sequence[tuple[int, float]]) -> float:
    """p of the power law n^p that fits best."""
    n, seconds = np.log(np.array(points)).T
    return float(np.polyfit(n, seconds, 1)[0])
