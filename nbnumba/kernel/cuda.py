"""Compile the kernels for the GPU and run them.

With NUMBA_ENABLE_CUDASIM=1 in the environment, numba runs them in Python: slow, but everywhere.
"""

from __future__ import annotations

import math as python_math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda
from numba.cuda.cudadrv.error import CudaSupportError
from numpy.typing import NDArray

from nbnumba.errors import NotAvailableError
from nbnumba.kernel import cpu, render_cuda, scan_order, scan_order_cuda
from nbnumba.kernel.device import Area, Function, Kept, Kernels, Physics, Progress, arguments_of, link, samples_per_pixel, with_arrays
from nbnumba.kernel.linker import Linker, Target
from nbnumba.kernel.render import Sampling
from nbnumba.kernel.render_cuda import THREADS, Region

# Terms rendered in one launch, so that the progress bar and Ctrl-C have their turn: seconds of work.
SAMPLES_PER_LAUNCH = 5e11

# Multiply-adds of float64 a multiprocessor does a clock, by compute capability; others do 2.
FLOAT64_UNITS = {(6, 0): 32, (7, 0): 32, (8, 0): 32, (9, 0): 64, (10, 0): 64}
# Those that a term of a square crystal takes.
FLOAT64_OPERATIONS = {"float64": 90, "float32": 30}

# A small image does not fill a GPU, and its user knows.
warnings.filterwarnings("ignore", message="Grid size")

LEAST_CAPABILITY = 7, 5
NONE = 2**62


class MachineCode(NamedTuple):
    """What a kernel became on the GPU; local_memory: bytes a thread."""

    registers: int
    local_memory: int
    ptx: str


def make_targets() -> dict[str, Target]:
    """What functions are compiled for, by precision of the stages."""
    if config.ENABLE_CUDASIM:
        modules = {python_math: python_math, np: np, cuda: cuda}
        return dict.fromkeys(("float64", "float32"), Target(simulated, "cuda in Python", modules))
    from numba.cuda import libdevice

    from nbnumba.kernel import cuda_math, cuda_numpy

    modules = {python_math: python_math, np: cuda_numpy, cuda: cuda, libdevice: libdevice}
    return {
        dtype: Target(cuda.jit(device=True, forceinline=True), f"cuda, {dtype}", modules, instead)
        for dtype, instead in cuda_math.INSTEAD.items()
    }


def simulated(function: Any) -> Any:
    """A function as numba's simulator calls it: as it is, unless it needs to know its thread."""
    return cuda.jit(function, device=True) if "cuda" in function.__code__.co_names else function


TARGETS = make_targets()
_jitted: dict[str, Any] = {}


def linked(kernel: Function, physics: Physics) -> Function:
    """A kernel with the stage functions in place, not compiled yet."""
    return link(kernel, physics, TARGETS[physics.dtype], {}, also=[scan_order])


def jitted(kernel: Function, physics: Physics) -> Any:
    """The same, compiled when first launched."""
    function = linked(kernel, physics)
    if function.__qualname__ not in _jitted:
        _jitted[function.__qualname__] = cuda.jit(function, cache=not config.ENABLE_CUDASIM)
    return _jitted[function.__qualname__]


class Cuda:
    """The first NVIDIA GPU that there is."""

    name = "cuda"

    def __init__(self) -> None:
        self._kernels = Kernels(jitted)
        self._arrays = Kept()
        self._area: tuple[Area, Region, Any] | None = None

    def zeros(self, shape: tuple[int, int]) -> Any:
        """A float64 image in the GPU's memory."""
        with enough_memory():
            return cuda.to_device(np.zeros(shape))

    def to_host(self, image: Any) -> NDArray[np.float64]:
        """The image as an array of NumPy's."""
        return np.asarray(image.copy_to_host())

    def render(self, physics: Physics, sampling: Sampling, area: Area, image: Any, progress: Progress | None = None) -> None:
        """Fill the area of the image, with one launch if that does not take long."""
        kernel = self._kernels.of(render_cuda.render, physics)
        with enough_memory():
            arguments = [*arguments_of(physics, self._array), with_arrays(sampling, self._array)]
            region, listed = self._region(area)
            if area.pixels < image.size:
                image.copy_to_device(np.zeros(area.shape))
        alone = int(sampling.first_pixel >= 0)
        at_once = max(THREADS, int(SAMPLES_PER_LAUNCH / samples_per_pixel(sampling)) // THREADS * THREADS)
        if progress:
            progress(0, region.end)
        for begin in range(0, region.end, at_once):
            part = region._replace(begin=begin, end=min(begin + at_once, region.end))
            with compile_errors(physics):
                kernel[blocks(part) + alone, THREADS](*arguments, part, listed, image)
            if progress or part.end < region.end:
                cuda.synchronize()
            if progress:
                progress(part.end, region.end)
        self._arrays.forget()

    def first_sample(self, physics: Physics, sampling: Sampling, area: Area) -> tuple[int, int] | None:
        """(pixel, sample) of the first sample in scan order that the resolution limit does not cut; None if it cuts all."""
        samples = samples_per_pixel(sampling) // sampling.orientations.shape[1]
        found = self._look(scan_order_cuda.find_first_sample, physics, ("geometry",), sampling, area, NONE)
        return None if found == NONE else divmod(found, samples)

    def first_latch(self, physics: Physics, sampling: Sampling, area: Area) -> tuple[int, int] | None:
        """(pixel, term) of the first term in scan order for which the latch falls; None if there is none."""
        found = self._look(scan_order_cuda.find_latch, physics, ("geometry", "lattice_shape", "structure_factor"), sampling, area, NONE)
        return None if found == NONE else divmod(found, samples_per_pixel(sampling))

    def terms_outside(self, physics: Physics, sampling: Sampling, area: Area) -> int:
        """Number of terms of the image for which ``outside`` is 1."""
        return self._look(scan_order_cuda.count_outside, physics, ("geometry", "structure_factor"), sampling, area, 0)

    def code(self, physics: Physics) -> MachineCode:
        """The rendering kernel of what has been rendered."""
        kernel = self._kernels.of(render_cuda.render, physics)
        found = (kernel.get_regs_per_thread(), kernel.get_local_mem_per_thread(), kernel.inspect_asm())
        registers, local_memory, ptx = (next(iter(by_signature.values())) for by_signature in found)
        return MachineCode(registers, local_memory, ptx)

    def _look(self, kernel: Function, physics: Physics, kinds: tuple[str, ...], sampling: Sampling, area: Area, start: int) -> int:
        """What a kernel of scan_order_cuda.py makes of a number."""
        with enough_memory():
            arguments = [with_arrays(physics.parameters[kind], self._array) for kind in kinds]
            region, listed = self._region(area)
            answer = cuda.to_device(np.array([start]))
            sampling = with_arrays(sampling, self._array)
        with compile_errors(physics):
            self._kernels.of(kernel, physics)[blocks(region), THREADS](*arguments, sampling, region, listed, area.shape[1], answer)
        return int(answer.copy_to_host()[0])

    def _array(self, array: NDArray[Any], dtype: str) -> Any:
        """An array in the GPU's memory."""
        return self._arrays.of(array, dtype, lambda a: cuda.to_device(np.ascontiguousarray(a, dtype)))

    def _region(self, area: Area) -> tuple[Region, Any]:
        """The area as the kernels take it."""
        if self._area is None or self._area[0][:2] != area[:2] or self._area[0].mask is not area.mask:
            first_fast, last_fast, first_slow, last_slow = area.roi
            listed = np.zeros(0, np.int64)
            if area.mask is not None:
                inside = np.zeros(area.shape, bool)
                rows, columns = slice(first_slow, last_slow + 1), slice(first_fast, last_fast + 1)
                inside[rows, columns] = area.mask[rows, columns]
                listed = np.flatnonzero(inside)
            region = Region(first_fast, first_slow, last_fast + 1 - first_fast, int(area.mask is not None), 0, area.pixels)
            self._area = area, region, cuda.to_device(np.append(listed, 0))  # an array without elements has no memory
        return self._area[1:]


def blocks(region: Region) -> int:
    """Blocks of threads that have a thread for every pixel."""
    return max(1, -(-(region.end - region.begin) // THREADS))


def expected_rate(dtype: str) -> float:
    """Terms a second that the GPU may reach by its number of multiprocessors: an estimate, not a measurement."""
    device = cuda.get_current_device()
    units = FLOAT64_UNITS.get(tuple(device.compute_capability), 2)
    return float(device.MULTIPROCESSOR_COUNT * units * device.CLOCK_RATE * 1e3 / FLOAT64_OPERATIONS[dtype])


@contextmanager
def enough_memory() -> Iterator[None]:
    """One line where the GPU's memory is too small."""
    try:
        yield
    except Exception as error:
        if "OUT_OF_MEMORY" not in str(error):
            raise
        raise NotAvailableError(
            "device cuda: the GPU has not enough memory for image and tables; render a smaller -roi, or take --device cpu"
        ) from None


@contextmanager
def unknown_functions() -> Iterator[None]:
    """Numba knows most functions of NumPy's on the GPU by name alone, and stumbles over them later."""
    try:
        yield
    except KeyError as error:
        raise NotImplementedError(f"there is no {error} on the GPU; nbnumba/kernel/cuda_numpy.py lists what of NumPy is") from error


@contextmanager
def compile_errors(physics: Physics) -> Iterator[None]:
    """One line where a stage function cannot be compiled, and whose function it is."""
    with cpu.compile_errors(physics, why_not_compiled), unknown_functions():
        yield


def why_not_compiled(function: Function, parameters: Any) -> str:
    """Why a stage function does not compile for the GPU by itself; empty if it does, or if only a GPU could tell."""
    inlined = replace(TARGETS["float64"], compile=cuda.jit(device=True, inline="always"), compiled={})
    try:
        with unknown_functions():
            linked = Linker(inlined, {}).clone(function)
            _, result = cuda.compile(linked, cpu.signature_of(function, parameters), device=True, abi="numba", cc=LEAST_CAPABILITY)
    except CudaSupportError:
        return ""
    except (*cpu.FAILURES, ValueError) as error:
        return cpu.one_line(error)
    return cpu.why_no_number(result)
