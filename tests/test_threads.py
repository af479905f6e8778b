"""Work is shared by claiming: every span once, and a busy core does not halve the speed of two threads."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

import numpy as np
import pytest
from numba import njit, prange

import nbnumba
from nbnumba.kernel.claim import claim


@njit(parallel=True)
def claim_all(counter, workers, claims):
    for _ in prange(workers):
        while True:
            j = claim(counter)
            if j >= claims.size:
                break
            claims[j] += 1


@pytest.mark.spec("SCA-7")
def test_every_piece_of_work_is_claimed_once() -> None:
    claims = np.zeros(200_000, np.int64)
    claim_all(np.zeros(1, np.int64), 4, claims)
    assert (claims == 1).all()


def seconds() -> float:
    experiment = nbnumba.experiment_from_options(
        "-default_F 100 -cell 100 -lambda 1 -N 5 -distance 100 -pixel 0.1 -detpixels 1024 -mosaic 0.5 -mosaic_dom 300 -oversample 1"
    )
    nbnumba.simulate(experiment, threads=2)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        nbnumba.simulate(experiment, threads=2)
        times.append(time.perf_counter() - began)
    return median(times)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) != 2, reason="needs two cores, and Linux")
def test_a_busy_core_does_not_halve_the_speed() -> None:
    """Another program on one of two cores leaves three quarters of their time: 1.33 times as long, where fixed shares take twice."""
    core = min(os.sched_getaffinity(0))
    alone = seconds()
    busy = subprocess.Popen([sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"])
    try:
        ratio = seconds() / alone
    finally:
        busy.kill()
        busy.wait()
    print(f"with a busy core: {ratio:.2f} times as long")
    assert ratio < 1.7
