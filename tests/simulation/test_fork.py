"""Where images are rendered: forked, spawned and pooled processes, threads, callbacks."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from numba import njit, prange
from simulation.turned import OPTIONS, total

import nbnumba
from nbnumba.kernel.numba_parts import compiler_lock

pytestmark = pytest.mark.spec("DEV-21")

SECONDS = 120
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@cache
def expected() -> list[float]:
    """What this process, which has rendered then, has for the first images."""
    return [total(turn) for turn in range(4)]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_pool_of_processes_has_the_right_numbers(method: str) -> None:
    wanted = expected()
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(total, range(4)).get(SECONDS) == wanted


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_jobs_of_joblib_have_the_right_numbers(backend: str) -> None:
    joblib = pytest.importorskip("joblib", reason="needs joblib: pip install 'nbnumba[test]'")
    wanted = expected()
    jobs = (joblib.delayed(total)(turn) for turn in range(4))
    assert joblib.Parallel(n_jobs=2, backend=backend, timeout=SECONDS)(jobs) == wanted


def in_a_forked_child(work) -> int:
    """The exit code of a child that does some work: 0 if what it returns is true; the child is stopped if it takes for ever."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9


@forks
def test_a_fork_while_other_threads_render_and_compile() -> None:
    wanted, stop = expected(), threading.Event()

    def go_on(turn: int) -> None:
        while not stop.is_set():
            total(turn)

    def hold_the_compiler() -> None:
        while not stop.is_set():
            with compiler_lock:
                time.sleep(0.002)

    threads = [threading.Thread(target=go_on, args=(turn,)) for turn in range(2)] + [threading.Thread(target=hold_the_compiler)]
    for thread in threads:
        thread.start()
    try:
        assert [in_a_forked_child(lambda: total(1) == wanted[1]) for _ in range(5)] == [0] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@forks
def test_a_fork_before_anything_is_compiled() -> None:
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
import nbnumba
experiment = nbnumba.experiment_from_options({OPTIONS!r})
child = os.fork()
pixels = nbnumba.simulate(experiment).pixels.sum()
if child == 0:
    os._exit(0 if pixels > 0.0 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), pixels)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout.split()[0] == "0", done.stderr


def test_threads_of_a_pool() -> None:
    wanted = expected()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, [0, 1, 2, 3] * 3)) == wanted * 3


def test_an_image_within_a_progress_callback() -> None:
    inner: list[float] = []
    experiment = nbnumba.experiment_from_options(f"{OPTIONS} -misset 1 0 0")
    image = nbnumba.simulate(experiment, progress=lambda done, all: inner.append(total(2)))
    assert image.pixels.sum() == expected()[1]
    assert set(inner) == {expected()[2]}


@njit(parallel=True)
def of_the_user(n):
    found = 0.0
    for i in prange(n):
        found += np.sqrt(i)
    return found


USERS = """
import sys
sys.path[:0] = {path!r}
import numba, nbnumba
from threading import Thread
from test_fork import of_the_user, total
before = of_the_user(1000)
numba.set_num_threads(1)
import nbnumba.kernel.cpu.device as cpu
assert cpu.Cpu().threads == 1
threads = [Thread(target=total, args=(0,)) for _ in range(2)]
for t in threads: t.start()
for _ in range(20): assert abs(of_the_user(1000) - before) < 1e-6
for t in threads: t.join()
print(numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_parallel_code_of_the_users_own_runs_beside(layer: str) -> None:
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", USERS.format(path=[os.path.dirname(__file__), *sys.path])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"numba has no layer {layer} here")
    assert done.stdout.split() == [layer], done.stderr


@forks
def test_a_child_of_a_process_with_parallel_code_of_its_own() -> None:
    """Numba's workqueue forgets how many threads there are when it is forked."""
    script = f"""
import sys
sys.path[:0] = {[os.path.dirname(__file__), *sys.path]!r}
import nbnumba
from test_fork import in_a_forked_child, of_the_user
of_the_user(10)
experiment = nbnumba.experiment_from_options({OPTIONS!r})
print(in_a_forked_child(lambda: nbnumba.simulate(experiment).pixels.sum() > 0.0))
"""
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout.split() == ["0"], done.stderr
