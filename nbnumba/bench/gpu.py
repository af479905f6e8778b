"""Timing on a GPU: what the card can do at best, and what the kernels of every model reach."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numba import cuda

from nbnumba.bench.work import WORK, Work, experiment_of
from nbnumba.kernel.gpu.device import Cuda
from nbnumba.kernel.gpu.ptx import arithmetic_of_a_term
from nbnumba.simulation.scene import scene_of
from nbnumba.simulation.simulator import Simulator

ROUNDS, SERIES = 7, 50
DOMAINS = 20  # times those of a CPU's row
CHAINS, STEPS, BLOCKS, THREADS = 8, 2048, 4096, 256
COPIED = 1 << 30  # bytes


def multiply_add(start, result):  # type: ignore[no-untyped-def]
    """CHAINS independent chains of STEPS multiply-adds in every thread."""
    x = start[0]
    a, b, c, d, e, f, g, h = x, x + x, x * x, -x, x + x + x, x - x * x, x * x * x, x * x + x
    for _ in range(STEPS):
        a, b, c, d = a * x + x, b * x + x, c * x + x, d * x + x
        e, f, g, h = e * x + x, f * x + x, g * x + x, h * x + x
    result[cuda.grid(1)] = a + b + c + d + e + f + g + h


def ceilings() -> Iterator[tuple[str, float]]:
    """Multiply-adds a second in both precisions, and bytes a second read and written by a copy: medians."""
    kernel = cuda.jit(multiply_add)
    for dtype in ("float64", "float32"):
        start, result = cuda.to_device(np.full(1, 0.5, dtype)), cuda.device_array(THREADS * BLOCKS, dtype)
        seconds = median_time(partial(kernel[BLOCKS, THREADS], start, result))
        yield f"{dtype} multiply-adds per second", CHAINS * STEPS * THREADS * BLOCKS / seconds
    first = cuda.device_array(COPIED // 8, np.float64)
    second = cuda.device_array_like(first)
    yield "bytes copied per second", 2 * COPIED / median_time(lambda: second.copy_to_device(first))


def timed_works() -> list[Work]:
    """Every row of the table that leaves nothing out, with many times the domains."""
    return [
        replace(work, options=re.sub(r"-mosaic_dom (\d+)", lambda m: f"-mosaic_dom {DOMAINS * int(m[1])}", work.options))
        for work in WORK
        if not work.negligible
    ]


def rate(work: Work, pixels: int = 1024) -> dict[str, Any]:
    """Samples a second, and what a sample computes."""
    experiment = experiment_of(work, pixels)
    scene, device = scene_of(experiment), Cuda()
    seconds = median_time(scene.ready(device))
    code = device.code(scene.physics)
    return {
        "work": work.name,
        "dtype": work.dtype,
        "samples": experiment.terms,
        "samples_per_second": experiment.terms / seconds,
        "registers": code.registers,
        "local_memory": code.local_memory,
        "arithmetic_per_sample": dict(arithmetic_of_a_term(code.ptx)),
    }


def fixed_cost(pixels: int) -> float:
    """Seconds of an image of one domain, in a series in which the crystal is turned from image to image."""
    simulator = Simulator(device="cuda")
    experiment = experiment_of(replace(WORK[1], options="-N 5 -mosaic_dom 1 -oversample 1"), pixels)
    turned = iter(range(1_000_000))

    def image() -> None:
        simulator.render(replace(experiment, crystal=replace(experiment.crystal, misset=(1e-3 * next(turned), 0.0, 0.0))))

    return median_time(image, SERIES)


def of_ceiling(row: dict[str, Any], limits: dict[str, float]) -> float:
    """The least time that a row's multiply-adds, additions and multiplications could take, by the time that it took."""
    counts = row["arithmetic_per_sample"]
    least = sum(
        sum(n for name, n in counts.items() if name.split(".")[0] in ("fma", "mul", "add", "sub") and name.endswith(suffix))
        / limits[f"{dtype} multiply-adds per second"]
        for dtype, suffix in (("float64", "f64"), ("float32", "f32"))
    )
    return float(row["samples_per_second"] * least)


def median_time(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Seconds of a run, the GPU's part included, after one that may compile."""
    work()
    cuda.synchronize()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        cuda.synchronize()
        times.append(time.perf_counter() - began)
    return median(times)
