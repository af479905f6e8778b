"""Compile the kernels for the CPU and run them."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import njit
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.kernel import lookup, math, render, scan_order, single
from nbnumba.kernel.claim import claim
from nbnumba.kernel.linker import Linker, layout, reached
from nbnumba.kernel.startup import cache_first

FAST_MATH = ("arcp", "contract", "nsz")
OPTIONS: dict[str, Any] = {"fastmath": set(FAST_MATH), "error_model": "numpy"}

# What is called from a kernel becomes part of it, and is called from nowhere else.
INLINE = ("forceinline", "no_cpython_wrapper", "no_cfunc_wrapper")
WIDE = "-vectorizer-maximize-bandwidth"  # an option of LLVM

# Samples rendered between two looks at the progress bar and at Ctrl-C, per thread.
SAMPLES_PER_BLOCK = 5e7

# The kinds of stages that --dtype concerns.
IN_DTYPE = ("lattice_shape", "structure_factor")

Function = Callable[..., Any]
Stages = Mapping[str, Function]
Parameters = Mapping[str, Any]
Progress = Callable[[int, int], None]
Kernel = Callable[[render.Sampling, NDArray[np.int64], NDArray[np.float64], int], None]

_compiled: dict[str, Any] = {}
_functions: dict[str, Any] = {}
_one_image_at_a_time = threading.Lock()  # numba's simplest thread pool cannot run two kernels at once


def link(stages: Stages, parameters: Parameters, dtype: str = "float64") -> Kernel:
    """The kernel of ``render.py`` with stage functions and parameters in place, compiled when first called and cached on disk.

    stages: placeholder -> scalar function; parameters: kind -> the NamedTuple that its prepare() made; dtype: what the stages of the
    kinds IN_DTYPE are worked out in. Returns a function of sampling, spans, image and number of threads that fills the image.
    """
    kernel = compiled(render.render, stages, parameters, dtype, parallel=True, nogil=True)
    arguments = [in_dtype(parameters[kind], dtype) if kind in IN_DTYPE else parameters[kind] for kind in render.ORDER]

    def fill(sampling: render.Sampling, spans: NDArray[np.int64], image: NDArray[np.float64], threads: int) -> None:
        with compile_errors(stages, parameters), wide_vectors(dtype):
            kernel(*arguments, sampling, spans, image, threads, np.zeros(1, np.int64))

    return fill


def compiled(kernel: Function, stages: Stages, parameters: Parameters, dtype: str = "float64", **options: Any) -> Any:
    """A kernel with the stage functions in place, compiled when first called."""
    compiling = (sorted(options.items()), FAST_MATH, OPTIONS["error_model"], sorted(INLINE), WIDE if dtype == "float32" else "")
    salt = ("cpu", dtype, compiling, [(kind, layout(parameters[kind])) for kind in sorted(parameters)])
    own = math if dtype == "float64" else single
    bind = {"ceiling": math.boundless, **stages, "nearest": own.nearest, "TIE": own.TIE, "mark": own.mark, "claim": claim}
    bind["LOOK_UP_FIRST"] = int(lookup.tricubic_in_table in reached(stages["structure_factor"])) if "structure_factor" in stages else 0
    instead = {**own.INSTEAD, lookup.tricubic_in_table: lookup.tricubic_by_fours}
    linker = Linker(njit(**dict.fromkeys(INLINE, True), **OPTIONS), bind, salt, instead, IN_DTYPE, _functions)
    linked = linker.kernel(kernel)
    # The name holds a digest of everything that went in: equal names are equal kernels.
    if linked.__qualname__ not in _compiled:
        _compiled[linked.__qualname__] = cache_first(njit(cache=True, **options, **OPTIONS)(linked))
    return _compiled[linked.__qualname__]


def device_function(function: Function) -> Any:
    """One stage function compiled by itself, callable from Python."""
    return Linker(njit(**OPTIONS), {}).function(function)[0]


def first_sample(
    stages: Stages, parameters: Parameters, sampling: render.Sampling, spans: NDArray[np.int64]
) -> tuple[int, int, int] | None:
    """(slow, fast, sample) of the first sample in scan order that the resolution limit does not cut; None if it cuts all."""
    found = np.full(3, -1)
    with _one_image_at_a_time, compile_errors(stages, parameters):
        compiled(scan_order.find_first_sample, stages, parameters)(parameters["geometry"], sampling, spans, found)
    return None if found[0] < 0 else (int(found[0]), int(found[1]), int(found[2]))


def first_latch(
    stages: Stages,
    parameters: Parameters,
    latch: Function,
    sampling: render.Sampling,
    spans: NDArray[np.int64],
    fast_pixels: int,
    threads: int | None = None,
) -> tuple[int, int, int] | None:
    """(slow, fast, term) of the first term in scan order for which ``latch`` is 1; None if there is none."""
    kernel = compiled(scan_order.find_latch, {**stages, "latch": latch}, parameters, parallel=True, nogil=True)
    arguments = [parameters[kind] for kind in ("geometry", "lattice_shape", "structure_factor")]
    with _one_image_at_a_time, Threads(threads):
        for block in blocks(spans, 100_000, 64):
            found = np.full((len(block), 3), -1)
            with compile_errors(stages, parameters):
                kernel(*arguments, sampling, block, fast_pixels, found)
            if (found[:, 2] >= 0).any():
                slow, fast, term = found[np.flatnonzero(found[:, 2] >= 0)[0]]
                return int(slow), int(fast), int(term)
    return None


def terms_outside(
    stages: Stages,
    parameters: Parameters,
    outside: Function,
    sampling: render.Sampling,
    spans: NDArray[np.int64],
    threads: int | None = None,
) -> int:
    """Number of terms of the image for which ``outside`` is 1."""
    kernel = compiled(scan_order.count_outside, {**stages, "outside": outside}, parameters, parallel=True, nogil=True)
    arguments = [parameters[kind] for kind in ("geometry", "structure_factor")]
    counts = np.zeros(len(spans), np.int64)
    with _one_image_at_a_time, Threads(threads), compile_errors(stages, parameters):
        kernel(*arguments, sampling, spans, counts)
    return int(counts.sum())


def render_image(
    stages: Stages,
    parameters: Parameters,
    sampling: render.Sampling,
    spans: NDArray[np.int64],
    image: NDArray[np.float64],
    samples_per_pixel: float,
    dtype: str = "float64",
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Fill the image over the spans. Every pixel is worked out alone: threads and blocks change nothing."""
    kernel = link(stages, parameters, dtype)
    with _one_image_at_a_time, Threads(threads) as used:
        done, total = 0, int((spans[:, 2] - spans[:, 1]).sum())
        if progress:
            progress(done, total)
        for block in blocks(spans, SAMPLES_PER_BLOCK * used / samples_per_pixel, 4 * used):
            kernel(sampling, block, image, used)
            done += int((block[:, 2] - block[:, 1]).sum())
            if progress:
                progress(done, total)


def in_dtype(parameters: Any, dtype: str) -> Any:
    """What prepare() returned, with its arrays of float64 in ``dtype``."""
    arrays = {
        n: v.astype(dtype, copy=False) for n, v in parameters._asdict().items() if isinstance(v, np.ndarray) and v.dtype == np.float64
    }
    return parameters._replace(**arrays)


@contextmanager
def wide_vectors(dtype: str) -> Iterator[None]:
    """Vectors as long as float32 allows for what is compiled meanwhile; left to itself, LLVM takes the length for float64."""
    if dtype != "float32":
        yield
        return
    llvm.set_option("nbnumba", f"{WIDE}=true")
    try:
        yield
    finally:
        llvm.set_option("nbnumba", f"{WIDE}=false")


class CompileError(Exception):
    """Numba cannot compile a stage function; ``kind`` is the stage's, empty if none of them fails by itself."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@contextmanager
def compile_errors(stages: Stages, parameters: Parameters) -> Iterator[None]:
    """Turn numba's pages about a function that it cannot compile into one line, and find whose function it is."""
    try:
        yield
    except (NumbaError, TypeError, NotImplementedError) as error:
        failures = ((kind, why_not_compiled(stages[kind], parameters[kind])) for kind in render.ORDER)
        kind, reason = next(((kind, reason) for kind, reason in failures if reason), ("", one_line(error)))
        raise CompileError(kind, reason) from error


def why_not_compiled(function: Function, parameters: Any) -> str:
    """Why a stage function does not compile by itself, for numbers as the kernel passes them; empty if it does."""
    count = len(inspect.signature(getattr(function, "py_func", function)).parameters) - 1
    try:
        compiled = device_function(function)
        compiled.compile((numba.typeof(parameters), *[numba.float64] * count))
    except (NumbaError, ValueError, TypeError, NotImplementedError) as error:
        return one_line(error)
    result = compiled.nopython_signatures[0].return_type
    parts = getattr(result, "types", (result,))
    return "" if all(isinstance(part, numba.types.Number | numba.types.Boolean) for part in parts) else f"it returns {result}, not numbers"


def one_line(error: Exception) -> str:
    """The line of numba's message that says what is wrong."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    telling = ("NameError", "Unknown attribute", "Untyped global", "Cannot unify", "No implementation", "annot determine")
    return next((line for line in lines if any(word in line for word in telling)), lines[-1] if lines else type(error).__name__)


def blocks(spans: NDArray[np.int64], pixels: float, fewest: int) -> Iterator[NDArray[np.int64]]:
    """The spans in blocks of about so many pixels, at least ``fewest`` spans each."""
    count = max(fewest, int(pixels / max(1.0, float(np.mean(spans[:, 2] - spans[:, 1]))))) if len(spans) else 1
    for start in range(0, len(spans), count):
        yield spans[start : start + count]


class Threads:
    """Context: so many threads, or all that numba has; the number before is restored."""

    def __init__(self, threads: int | None) -> None:
        most = numba.config.NUMBA_NUM_THREADS
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= most):
            raise ParameterError("threads", f"{threads} is not between 1 and {most}; NUMBA_NUM_THREADS in the environment sets the most")
        self._threads = threads

    def __enter__(self) -> int:
        self._before = numba.get_num_threads()
        numba.set_num_threads(self._threads or self._before)
        return self._threads or self._before

    def __exit__(self, *exception: object) -> None:
        numba.set_num_threads(self._before)
