"""Compile the kernels for the GPU and run them.

With NUMBA_ENABLE_CUDASIM=1 in the environment, numba runs them in Python: slow, but everywhere.
"""

from __future__ import annotations

import math as python_math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda
from numpy.typing import NDArray

from nbnumba.errors import NotAvailableError, ParameterError, StageError
from nbnumba.kernel import compile_errors as diagnosis
from nbnumba.kernel import scan_order
from nbnumba.kernel.cpu.adjoint import Sums
from nbnumba.kernel.cpu.render import ORDER, KernelInputs
from nbnumba.kernel.device import (
    Area,
    ArrayCache,
    Function,
    Kernels,
    Physics,
    Progress,
    check_image,
    link,
    same_areas,
    with_arrays,
    within_image,
)
from nbnumba.kernel.gpu import adjoint as adjoint_cuda
from nbnumba.kernel.gpu import render as render_cuda
from nbnumba.kernel.gpu import scan_order as scan_order_cuda
from nbnumba.kernel.gpu.render import THREADS, Region
from nbnumba.kernel.linker import Linker, Target
from nbnumba.kernel.loss import PixelLoss
from nbnumba.kernel.numba_parts import instead_of_a_gpu, kept_on_disk_for_the_gpu
from nbnumba.kernel.panels import Panels, PanelTables
from nbnumba.kernel.unrolled import derivatives_of

LEAST_CAPABILITY = 7, 5

# Of a launch, so that the progress bar and Ctrl-C have their turn, and that no watchdog of a display ends it.
SECONDS_PER_LAUNCH = 1.0
THREADS_PER_MULTIPROCESSOR = 2048

# Multiply-adds of float64 a multiprocessor does a clock, by compute capability; others do 2.
FLOAT64_UNITS = {(8, 0): 32, (9, 0): 64, (10, 0): 64}
# Those that a term of a square crystal takes.
FLOAT64_OPERATIONS = {"float64": 90, "float32": 30}
# Terms that take as long as the adjoint of one: an estimate, not a measurement.
TERMS_OF_ADJOINT = 4

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

    from nbnumba.kernel.gpu import math as cuda_math
    from nbnumba.kernel.gpu import numpy_functions as cuda_numpy

    modules = {python_math: python_math, np: cuda_numpy, cuda: cuda, libdevice: libdevice}
    return {
        dtype: Target(cuda.jit(device=True, forceinline=True), ("cuda", "forceinline"), modules, instead)
        for dtype, instead in cuda_math.INSTEAD.items()
    }


def simulated(function: Any) -> Any:
    """A function as numba's simulator calls it: as it is, unless it needs to know its thread."""
    return cuda.jit(function, device=True) if "cuda" in function.__code__.co_names else function


TARGETS = make_targets()
_jitted: dict[str, Any] = {}
_users: set[int] = set()  # processes that have used the GPU


def linked(kernel: Function, physics: Physics) -> Function:
    """A kernel with the stage functions in place, not compiled yet."""
    slopes = derivatives_of(physics)
    if slopes:
        slopes["ROWS_ALL"] = slopes["N_ALL"] + adjoint_cuda.PER_SOURCE
    return link(kernel, physics, TARGETS[physics.dtype], slopes, also=[render_cuda, scan_order])


def jitted(kernel: Function, physics: Physics) -> Any:
    """The same, compiled when first launched."""
    function = linked(kernel, physics)
    if function.__qualname__ not in _jitted:
        in_python = config.ENABLE_CUDASIM
        _jitted[function.__qualname__] = cuda.jit(function) if in_python else kept_on_disk_for_the_gpu(cuda.jit(function, lto=False))
    return _jitted[function.__qualname__]


class Cuda:
    """The first NVIDIA GPU that there is."""

    name, lists = "cuda", False

    def __init__(self) -> None:
        self._kernels = Kernels(jitted)
        self._arrays, self._tables = ArrayCache(), PanelTables()
        self._areas: tuple[tuple[Area, ...], Any, Any] | None = None
        self._blank: Any = None

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """A float64 image in the GPU's memory."""
        with one_line_of_the_driver():
            return cuda.to_device(np.zeros(shape))

    def own(self, image: Any, shape: tuple[int, ...]) -> Any:
        """The caller's array as one of numba's, in the same memory."""
        if not hasattr(image, "copy_to_device"):
            if not hasattr(image, "__cuda_array_interface__"):
                raise ParameterError("out", f"must be an array in the GPU's memory, not a {type(image).__name__}")
            image = cuda.as_cuda_array(image, sync=False)
        check_image(image, shape)
        if not image.is_c_contiguous():
            raise ParameterError("out", "must hold its pixels one after the other, row by row; this array has them apart")
        return image

    def to_host(self, image: Any) -> NDArray[np.float64]:
        """The image as an array of NumPy's."""
        with one_line_of_the_driver():
            return np.asarray(image.copy_to_host())

    def clear(self, image: Any) -> None:
        """Zeros everywhere."""
        with one_line_of_the_driver():
            if self._blank is None or self._blank.shape != image.shape:
                self._blank = cuda.to_device(np.zeros(image.shape))
            image.copy_to_device(self._blank)

    def render(self, physics: Physics, inputs: KernelInputs, panels: Panels, image: Any, progress: Progress | None = None) -> None:
        """Fill the areas of the panels in the image, with one launch if that does not take long."""
        of_all, total = self._tables.of(physics, panels.geometry), panels.pixels
        kernel, alone = self._kernels.of(render_cuda.render, of_all), int(inputs.scan_order.first_pixel >= 0)
        with one_line_of_the_driver():
            arguments = [of_all.arguments(self._array), with_arrays(within_image(inputs, panels.areas[0]), self._array)]
            table, listed = self._places(panels.areas)
            if progress:
                progress(0, total)
            for part in parts(total, physics.dtype, inputs.terms_per_pixel):
                with compile_errors(physics):
                    launch(kernel, blocks(part) + alone, *arguments, part, table, listed, image.reshape(-1))
                if progress or part.end < total:
                    cuda.synchronize()
                if progress:
                    progress(part.end, total)
        self._arrays.forget()

    def adjoint(self, physics: Physics, inputs: KernelInputs, area: Area, loss: PixelLoss, with_table: bool = False) -> Sums:
        """A loss, summed over the area, and its derivatives by what the kernel is given. Raises StageError for what is left to the CPU."""
        refuse_what_the_cpu_has_to_do(physics, with_table)
        (tables, turns), sources = inputs.orientations.shape[:2], inputs.wavelength.size
        counts = [len(physics.derivatives[kind].varied) for kind in ORDER]
        shapes = [(tables * turns, adjoint_cuda.COLUMNS), (sources, adjoint_cuda.PER_SOURCE), (1, adjoint_cuda.PER_PIXEL + sum(counts))]
        kernel = self._kernels.of(adjoint_cuda.adjoint, replace(physics, bind={"loss": loss.function}))
        with one_line_of_the_driver():
            arguments = [physics.arguments(self._array), with_arrays(inputs, self._array)]
            panels, listed = self._places((area,))
            # These may have been written to since the last loss: they are sent every time.
            observed, weights, *found = map(cuda.to_device, (loss.observed, loss.weights, *map(np.zeros, shapes)))
            for part in parts(area.pixels, physics.dtype, TERMS_OF_ADJOINT * inputs.terms_per_pixel):
                grid = blocks(part) + int(inputs.scan_order.first_pixel >= 0 and part.begin == 0)
                with compile_errors(physics):
                    launch(kernel, grid, *arguments, part, panels, listed, observed, weights, *found)
                if part.end < area.pixels:
                    cuda.synchronize()
            orientations, by_source, (fields,) = (np.asarray(part.copy_to_host()) for part in found)
        self._arrays.forget()
        of_pixel, *of_stages = np.split(fields, np.cumsum([adjoint_cuda.PER_PIXEL, *counts])[:-1])
        by_kind = dict(zip(ORDER, of_stages, strict=True))
        by_kind["scaling"] = np.append(by_kind["scaling"], of_pixel[1:])
        return Sums(
            loss=of_pixel[:1],
            orientations=orientations.reshape(tables, turns, -1),
            incident=by_source[:, :3],
            wavelength=by_source[:, 3],
            brightness=by_source[:, 4],
            **by_kind,
            table=np.zeros(0),
        )

    def first_sample(self, physics: Physics, inputs: KernelInputs, area: Area) -> tuple[int, int] | None:
        """(pixel, sample) of the first sample in scan order that the resolution limit does not cut; None if it cuts all."""
        samples = inputs.terms_per_pixel // inputs.orientations.shape[1]
        found = self._look(scan_order_cuda.find_first_sample, physics, inputs, area, NONE)
        return None if found == NONE else divmod(found, samples)

    def first_latch(self, physics: Physics, inputs: KernelInputs, area: Area) -> tuple[int, int] | None:
        """(pixel, term) of the first term in scan order for which the latch falls; None if there is none."""
        found = self._look(scan_order_cuda.find_latch, physics, inputs, area, NONE)
        return None if found == NONE else divmod(found, inputs.terms_per_pixel)

    def terms_outside(self, physics: Physics, inputs: KernelInputs, area: Area) -> int:
        """Number of terms of the image for which ``outside`` is 1."""
        return self._look(scan_order_cuda.count_outside, physics, inputs, area, 0)

    def code(self, physics: Physics) -> MachineCode:
        """The rendering kernel of what has been rendered."""
        kernel = self._kernels.of(render_cuda.render, physics)
        found = (kernel.get_regs_per_thread(), kernel.get_local_mem_per_thread(), kernel.inspect_asm())
        registers, local_memory, ptx = (next(iter(by_signature.values())) for by_signature in found)
        return MachineCode(registers, local_memory, ptx)

    def _look(self, search: Function, physics: Physics, inputs: KernelInputs, area: Area, start: int) -> int:
        """What a kernel of scan_order.py makes of a number, part by part in scan order."""
        kernel = self._kernels.of(search, physics.in_float64())
        with one_line_of_the_driver():
            arguments = physics.arguments(self._array)  # tables as the rendering kernel takes them: none is sent twice
            panels, listed = self._places((area,))
            on_device, answer = with_arrays(inputs, self._array), cuda.to_device(np.array([start]))
            found = start
            for part in parts(area.pixels, "float64", inputs.terms_per_pixel):
                with compile_errors(physics):
                    launch(kernel, blocks(part), arguments, on_device, part, panels, listed, answer)
                found = int(answer.copy_to_host()[0])
                if start == NONE and found != NONE:
                    break
        return found

    def _array(self, array: NDArray[Any], dtype: str) -> Any:
        """An array in the GPU's memory."""
        return self._arrays.of(array, dtype, lambda a: cuda.to_device(np.ascontiguousarray(a, dtype)))

    def _places(self, areas: tuple[Area, ...]) -> tuple[Any, Any]:
        """The areas as the kernels take them."""
        if self._areas is None or not same_areas(self._areas[0], areas):
            table, listed = places(areas)
            self._areas = areas, cuda.to_device(table), cuda.to_device(listed)
        return self._areas[1:]


def places(areas: Sequence[Area]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is known of every panel (render.py), and the pixels that are listed, each at its number; never none at all."""
    table = np.zeros((len(areas), render_cuda.COLUMNS_OF_PANELS), np.int64)
    listed = np.zeros(sum(area.pixels for area in areas) + 1 if any(area.mask is not None for area in areas) else 1, np.int64)
    first = 0
    for row, area in zip(table, areas, strict=True):
        first_fast, last_fast, first_slow, last_slow = area.roi
        row[:] = first, first_fast, first_slow, last_fast + 1 - first_fast, area.mask is not None, area.shape[1], area.at
        if area.mask is not None:
            inside = np.zeros(area.shape, bool)
            rows, columns = slice(first_slow, last_slow + 1), slice(first_fast, last_fast + 1)
            inside[rows, columns] = area.mask[rows, columns]
            listed[first : first + area.pixels] = area.at + np.flatnonzero(inside)
        first += area.pixels
    return table, listed


def refuse_what_the_cpu_has_to_do(physics: Physics, with_table: bool) -> None:
    """Refuse derivatives that the GPU's adjoint does not work out."""
    if not physics.additive:
        raise StageError("device cuda: there is no gradient on the GPU of a scaling that multiplies its running sum; take --device cpu")
    if with_table and physics.table:
        raise StageError("device cuda: there is no gradient on the GPU by single structure factors; take --device cpu")


def parts(pixels: int, dtype: str, terms_per_pixel: int) -> Iterator[Region]:
    """So many pixels in launches that do not last long, unless a pixel for every thread of the GPU does."""
    at_once = pixels_at_once(dtype, terms_per_pixel)
    for begin in range(0, pixels, at_once):
        yield Region(begin, min(begin + at_once, pixels))


def pixels_at_once(dtype: str, terms_per_pixel: int) -> int:
    """Pixels of a launch."""
    if config.ENABLE_CUDASIM:
        return NONE
    least = int(cuda.get_current_device().MULTIPROCESSOR_COUNT) * THREADS_PER_MULTIPROCESSOR
    return max(least, int(SECONDS_PER_LAUNCH * expected_rate(dtype) / terms_per_pixel))


def blocks(region: Region) -> int:
    """Blocks of threads that have a thread for every pixel."""
    return max(1, -(-(region.end - region.begin) // THREADS))


def launch(kernel: Any, grid: int, *arguments: Any) -> None:
    """Run so many blocks of a kernel, without numba's warning that a small image does not fill the GPU."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Grid size")
        kernel[grid, THREADS](*arguments)


def expected_rate(dtype: str) -> float:
    """Terms a second that the GPU may reach by its number of multiprocessors: an estimate, not a measurement."""
    device = cuda.get_current_device()
    units = FLOAT64_UNITS.get(tuple(device.compute_capability), 2)
    return float(device.MULTIPROCESSOR_COUNT * units * device.CLOCK_RATE * 1e3 / FLOAT64_OPERATIONS[dtype])


def is_nvidias(error: BaseException) -> bool:
    """Whether an exception comes from the driver, the compiler or the assembler rather than from numba."""
    return type(error).__module__.startswith(("cuda.", "numba.cuda.cudadrv."))


def problem_of_a_fork() -> str:
    """Why a process cannot use the GPU that the one it was forked from has used; empty if that is not so."""
    if config.ENABLE_CUDASIM or not _users or os.getpid() in _users:
        return ""
    return "this process was forked from one that has used the GPU; start it with multiprocessing's method 'spawn' or 'forkserver'"


@contextmanager
def one_line_of_the_driver() -> Iterator[None]:
    """What the GPU's driver refuses, in one line."""
    if problem := problem_of_a_fork():
        raise NotAvailableError(f"device cuda: {problem}")
    _users.add(os.getpid())
    try:
        yield
    except Exception as error:
        if not is_nvidias(error):
            raise
        if "OUT_OF_MEMORY" in str(error):
            told = "the GPU has not enough memory for image and tables; render a smaller detector (-detpixels), or take --device cpu"
            raise NotAvailableError(f"device cuda: {told}") from None
        raise NotAvailableError(f"device cuda: {' '.join(str(error).split())}; take --device cpu") from error


@contextmanager
def what_numba_lacks() -> Iterator[None]:
    """Errors of compiling as numba has others: a function of NumPy's that it knows by name alone, what NVIDIA's compiler refuses."""
    try:
        yield
    except KeyError as error:
        if "ufunc" not in str(error):
            raise
        raise NotImplementedError(f"there is no {error} on the GPU; see 'On a GPU' in the README") from error
    except Exception as error:
        if "nvvm" not in type(error).__name__.lower():
            raise
        raise NotImplementedError(f"NVIDIA's compiler refuses it ({' '.join(str(error).split())})") from error


@contextmanager
def compile_errors(physics: Physics) -> Iterator[None]:
    """One line where a stage function cannot be compiled, and whose function it is."""
    with diagnosis.compile_errors(physics, why_not_compiled), what_numba_lacks():
        yield


@contextmanager
def any_gpu() -> Iterator[None]:
    """Compile functions for a GPU that is not there."""
    with nullcontext() if cuda.is_available() else instead_of_a_gpu(LEAST_CAPABILITY):
        yield


def why_not_compiled(function: Function, parameters: Any) -> str:
    """Why a stage function does not compile for a GPU by itself; empty if it does."""
    alone = replace(TARGETS["float64"], compiled={})
    try:
        with what_numba_lacks(), any_gpu():
            linked = Linker(alone, {}).clone(function)
            _, result = cuda.compile(linked, diagnosis.signature_of(function, parameters), device=True, abi="numba", cc=LEAST_CAPABILITY)
    except (*diagnosis.FAILURES, ValueError) as error:
        return diagnosis.one_line(error)
    return diagnosis.why_no_number(result)
