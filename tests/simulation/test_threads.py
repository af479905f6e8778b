"""Work is shared by claiming: every span once, and a busy core does not halve the speed of two threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from statistics import median

import numpy as np
import pytest
from numba import njit

import nbnumba
from nbnumba.kernel.cpu import work_queue as claiming
from nbnumba.kernel.cpu.work_queue import claim, share_out


@njit(nogil=True)
def claim_all(claims, counter):
    while True:
        j = claim(counter)
        if j >= claims.size:
            break
        claims[j] += 1


@pytest.mark.oldest
@pytest.mark.spec("SCA-7")
def test_every_piece_of_work_is_claimed_once() -> None:
    claims = np.zeros(200_000, np.int64)
    share_out(4, lambda counter: claim_all(claims, counter))
    assert (claims == 1).all()


def test_what_one_thread_raises_is_raised_and_stops_the_others() -> None:
    """Memory that a thread does not get, as a kernel says it: an image that lacks its spans is not returned."""
    counted = []

    def work(counter: np.ndarray) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no more")
        while counter[0] < claiming.NOTHING_LEFT:
            time.sleep(0.001)
        counted.append(counter[0])

    with pytest.raises(MemoryError, match="no more"):
        share_out(2, work)
    assert counted == [claiming.NOTHING_LEFT]


def test_where_no_thread_can_be_started_fewer_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(claiming, "pool_can_be_used", lambda: False)
    claims = np.zeros(1000, np.int64)
    share_out(4, lambda counter: claim_all(claims, counter))
    assert (claims == 1).all()


WAITS = """
import os, threading, time
import numba
from nbnumba.kernel.cpu.work_queue import share_out

def work(counter):
    if threading.current_thread() is not threading.main_thread():
        time.sleep(0.02)

share_out(2, work)
began = time.process_time()
for _ in range(20):
    share_out(2, work)
print(numba.threading_layer(), os.environ.get("OMP_WAIT_POLICY"), time.process_time() - began)
"""


@pytest.mark.spec("DEV-41")
@pytest.mark.parametrize("wanted", [None, "active"])
def test_a_thread_sleeps_until_the_others_are_done(wanted: str | None) -> None:
    """20 times 20 ms, of which it is awake for 0.4 ms each time, or for 10 and more where it does not sleep."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= {"NUMBA_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path), **({"OMP_WAIT_POLICY": wanted} if wanted else {})}
    done = subprocess.run([sys.executable, "-c", WAITS], env=environment, capture_output=True, text=True, check=True)
    layer, policy, seconds = done.stdout.split()
    assert policy == str(wanted)
    if layer != "omp":
        pytest.skip("numba's threads are not OpenMP's here")
    assert float(seconds) < 0.06 or wanted


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
