"""Handing out work: each thread takes the next piece when it is done with one, so that a busy core slows nobody else.

Threads are those of numba's ``prange``: one small loop, compiled once for all kernels, that calls a kernel by address. Where numba's cannot
be used (pool_can_be_used), threads of Python's do the same.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from nbnumba.kernel.linker import Linker, Target
from nbnumba.kernel.numba_parts import kept_on_disk, pool_can_be_used

NOTHING_LEFT = 2**62  # pieces claimed before: more than there can be
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int64)


@intrinsic
def claim(typing_context: Any, counter: Any) -> Any:
    """Add 1 to ``counter`` (int64, one element), which all threads share, and return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


@intrinsic
def call(typing_context: Any, address: Any, number: Any) -> Any:
    """Call the function at an address with a number; returns the number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [ir.IntType(64)]).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), [arguments[1]])
        return arguments[1]

    return types.int64(types.int64, types.int64), generate


def call_in_parallel(address, done):  # type: ignore[no-untyped-def]
    """Have as many threads as ``done`` has elements call the function at an address."""
    for n in prange(done.size):
        done[n] = call(address, n)


@cache
def driver() -> Any:
    """That loop, compiled."""
    return kept_on_disk(njit(parallel=True, nogil=True)(Linker(Target(njit), {}).kernel(call_in_parallel)))


def share_out(threads: int, work: Callable[[NDArray[np.int64]], None]) -> None:
    """Have so many threads do ``work(counter)``, which claims piece after piece; what one of them raises is raised."""
    counter, errors = np.zeros(1, np.int64), []

    def do(number: int = 0) -> None:
        try:
            work(counter)
        except BaseException as error:
            errors.append(error)
        finally:
            counter[0] = NOTHING_LEFT

    if threads == 1:
        do()
    elif not in_numbas_threads(threads, do):
        in_threads_of_python(threads, do)
    if errors:
        raise errors[0]


def in_numbas_threads(threads: int, work: Callable[[int], None]) -> bool:
    """Do work in so many threads of numba's; False, and nothing is done, where it has none that can be used."""
    if not pool_can_be_used():
        return False
    with numba_threads(threads):
        callback = CALLBACK(work)
        address = ctypes.c_void_p.from_buffer(callback).value  # ctypes.cast makes it, and the image with it, refer to itself
        driver()(address, np.zeros(threads, np.int64))
    return True


@contextmanager
def numba_threads(threads: int) -> Iterator[None]:
    """So many threads for loops of numba's; the number before is restored."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def in_threads_of_python(threads: int, work: Callable[[], None]) -> None:
    """Do work in so many threads, which live no longer than that."""
    others = started(threads - 1, work)
    work()
    for thread in others:
        thread.join()


def started(count: int, work: Callable[[], None]) -> list[threading.Thread]:
    """So many threads at work; fewer if the system gives no more."""
    threads: list[threading.Thread] = []
    for _ in range(count):
        thread = threading.Thread(target=work)
        try:
            thread.start()
        except RuntimeError:
            break
        threads.append(thread)
    return threads
