"""Compile the kernels for the CPU and run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray

from nbnumba.errors import NotAvailableError, ParameterError
from nbnumba.kernel import lookup, scan_order
from nbnumba.kernel.compile_errors import FAILURES, compile_errors, one_line, signature_of, why_no_number
from nbnumba.kernel.cpu import adjoint, background, listed, render, tangent
from nbnumba.kernel.cpu.listing import in_shares, listed_rows
from nbnumba.kernel.cpu.render import LANES, LONGEST, NEVER, ORDER, KernelInputs, Parameters
from nbnumba.kernel.cpu.spans import isolate, make_spans, of_panels, shorter, tiles_of, unmasked
from nbnumba.kernel.cpu.work_queue import NOTHING_LEFT, claim, share_out
from nbnumba.kernel.device import Area, ArrayCache, Function, Kernels, Physics, Progress, check_image, link, same_areas, within_image
from nbnumba.kernel.forking import wait_for_the_compiler_at_forks
from nbnumba.kernel.linker import Linker, Target
from nbnumba.kernel.loss import PixelLoss
from nbnumba.kernel.numba_parts import Inlined, WithoutOverlap, compiler_lock, kept_as_part, kept_on_disk
from nbnumba.kernel.panels import Panels, PanelTables, with_panels
from nbnumba.kernel.profile import Profile
from nbnumba.kernel.unrolled import derivatives_of

FAST_MATH = ("arcp", "contract", "nsz")
OPTIONS: dict[str, Any] = {"fastmath": set(FAST_MATH), "error_model": "numpy"}
OF_KERNELS: dict[str, Any] = {**OPTIONS, "nogil": True, "pipeline_class": WithoutOverlap}

# What is called from a kernel becomes part of it, and is called from nowhere else.
INLINE = ("forceinline", "no_cpython_wrapper", "no_cfunc_wrapper")
WIDE = "-vectorizer-maximize-bandwidth"  # an option of LLVM

# Terms rendered between two looks at the progress bar and at Ctrl-C, per thread.
TERMS_PER_BLOCK = 5e7
# Parts of a list of spots that are rendered between two such looks.
SHARES = 20

# Terms times pixels of a span whose slopes the adjoint kernel keeps, three float64 each: those that the second cache of a processor
# holds, and the most that are kept at all.
FEW_SLOPES, MOST_SLOPES = 2**15, 2**18

# Shares of the spans that threads claim in the adjoint kernel, and numbers that these sum up all in all.
MOST_SHARES, MOST_SUMS = 64, 2**23

# Functions that sum over pixels: in any order, without which they would not vectorise.
SUMMING = ("sums_of_products", "total_of")
# Functions whose result may be anything where their arguments are not numbers, so that what is multiplied by 0 is left out.
OF_NUMBERS = ("by_both", "times")


def compile_inline(function: Function) -> Any:
    """A function that becomes part of the kernel that calls it."""
    flags = {*FAST_MATH, *(("reassoc",) if function.__name__ in SUMMING else ()), *(("nnan",) if function.__name__ in OF_NUMBERS else ())}
    return kept_as_part(njit(**dict.fromkeys(INLINE, True), **(OPTIONS | {"fastmath": flags}), pipeline_class=Inlined)(function))


CPU = Target(
    compile_inline,
    ("cpu", FAST_MATH, OPTIONS["error_model"], tuple(OF_KERNELS), INLINE, SUMMING, OF_NUMBERS),
    instead={lookup.tricubic_in_table: lookup.tricubic_by_fours},
)
ALONE = Target(njit(**OPTIONS))  # functions to be called from Python

_compiled: dict[str, Any] = {}
wait_for_the_compiler_at_forks()


class Cpu:
    """The cores of this machine; threads: how many, default all."""

    name, lists = "cpu", True

    def __init__(self, threads: int | None = None) -> None:
        if numba.config.DISABLE_JIT:
            raise NotAvailableError("NUMBA_DISABLE_JIT is set in the environment, and kernels cannot run without being compiled; unset it")
        most = numba.config.NUMBA_NUM_THREADS
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= most):
            raise ParameterError("threads", f"{threads} is not between 1 and {most}; NUMBA_NUM_THREADS in the environment sets the most")
        self._threads = threads
        self._kernels = Kernels(compiled)
        self._arrays, self._tables = ArrayCache(), PanelTables()
        self._spans: tuple[tuple[Area, ...], NDArray[np.int64]] | None = None
        self._last: tuple[Physics, tuple[Any, Parameters]] | None = None

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """A float64 image."""
        return np.zeros(shape)

    def own(self, image: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The caller's array, checked."""
        if not isinstance(image, np.ndarray):
            raise ParameterError("out", f"must be an array of NumPy's, not a {type(image).__name__}")
        check_image(image, shape)
        if not image.flags.writeable:
            raise ParameterError("out", "cannot be written to; give an array of your own")
        return image

    def to_host(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """The image itself."""
        return image

    def clear(self, image: NDArray[np.float64]) -> None:
        """Zeros everywhere."""
        image.fill(0.0)

    def render(
        self, physics: Physics, inputs: KernelInputs, panels: Panels, image: NDArray[np.float64], progress: Progress | None = None
    ) -> None:
        """Fill the areas of the panels in the image. Every pixel is worked out alone: threads and blocks change nothing."""
        pixels = image.reshape(-1) if image.flags.c_contiguous else np.ravel(image)
        spans, inputs = self._spans_of_panels(panels.areas, inputs), within_image(inputs, panels.areas[0])
        if inputs.support.any():
            self._render_listed(physics, inputs, panels, pixels, progress)
            spans, progress = spans[spans[:, 4] + spans[:, 1] == inputs.scan_order.first_pixel], None
        self._render_spans(physics, inputs, panels, spans, pixels, progress)
        clear_masked(panels.areas, pixels)
        if not np.shares_memory(pixels, image):
            image[...] = pixels.reshape(image.shape)

    def scatter_background(
        self, physics: Physics, samples: background.Samples, profile: Profile, panels: Panels, image: NDArray[np.float64]
    ) -> None:
        """Fill the areas of the panels in the image, zeros elsewhere, with what a profile scatters."""
        parts = ("geometry", "polarization", "factors")
        functions = {name: physics.functions[name] for name in parts}
        linked = with_panels(Physics(functions, {name: physics.parameters[name] for name in parts}), panels.geometry)
        kernel, pixels = self._kernels.of(background.scatter_background, linked), image.reshape(-1)
        arguments = background.Parts(*(linked.parameters[name] for name in parts)), samples, profile
        tiles = tiles_of(panels.areas, background.TILE)
        self._run(linked, len(tiles), partial(kernel, *arguments, tiles, pixels))
        clear_masked(panels.areas, pixels)

    def _render_spans(
        self,
        physics: Physics,
        inputs: KernelInputs,
        panels: Panels,
        spans: NDArray[np.int64],
        pixels: NDArray[np.float64],
        progress: Progress | None,
    ) -> None:
        """Fill the pixels of spans with all terms."""
        kernel, arguments = self._rendering(self._tables.of(physics, panels.geometry))
        choice = by_component(inputs.orientations)
        done, total = 0, int((spans[:, 2] - spans[:, 1]).sum())
        if progress:
            progress(done, total)
        for block in blocks(spans, TERMS_PER_BLOCK * self.threads / inputs.terms_per_pixel, 4 * self.threads):
            self._run(physics, len(block), partial(kernel, arguments, inputs, choice, block, pixels))
            done += int((block[:, 2] - block[:, 1]).sum())
            if progress:
                progress(done, total)

    def _render_listed(
        self, physics: Physics, inputs: KernelInputs, panels: Panels, pixels: NDArray[np.float64], progress: Progress | None
    ) -> None:
        """Fill the areas of the panels with the terms of lists of spots."""
        linked, areas = self._tables.of(physics, panels.geometry), panels.areas
        arguments, of_geometry = self._rendering(linked)[1], geometry_alone(linked)
        kernel = self._kernels.of(listed.render_listed, linked)

        def run(look: Function, pieces: int, given: tuple[Any, ...]) -> None:
            self._run(physics, pieces, partial(self._kernels.of(look, of_geometry), arguments.geometry, *given))

        for area in areas:
            pixels[area.at : area.at + area.shape[0] * area.shape[1]] = 0.0
        done, total = 0, sum(area.shape[0] * area.shape[1] for area in areas)
        if progress:
            progress(done, total)
        for rows in listed_rows(run, inputs, areas):
            for part in in_shares(rows, SHARES if progress else 1):
                self._run(physics, len(part.panel), partial(kernel, arguments, inputs, part, pixels))
                done += int((part.end - part.begin).sum())
                if progress:
                    progress(done, total)

    def adjoint(self, physics: Physics, inputs: KernelInputs, area: Area, loss: PixelLoss, with_table: bool = False) -> adjoint.Sums:
        """A loss, summed over the area, and its derivatives by what the kernel is given, the table of structure factors if wanted."""
        (tables, turns), sources, terms = inputs.orientations.shape[:2], inputs.wavelength.size, inputs.terms_per_pixel
        longest = longest_span(terms)
        kept = longest > 0 or not physics.additive
        with_table = with_table and physics.table != ""
        physics = replace(physics, bind={"loss": loss.function, "KEPT": int(kept), "WITH_TABLE": int(with_table)})
        kernel = self._kernels.of(adjoint.adjoint, physics)
        shapes = [(1,), (tables, turns, 9), (sources, 3), (sources,), (sources,)]
        shapes += [(len(physics.derivatives[kind].varied) + 2 * (kind == "scaling"),) for kind in ORDER]
        shapes += [(getattr(physics.parameters["structure_factor"], physics.table).size if with_table else 0,)]
        spans = shorter(self._spans_of(area, inputs), longest or (LANES if kept else LONGEST))
        shares = max(1, min(MOST_SHARES, len(spans), MOST_SUMS // sum(int(np.prod(shape)) for shape in shapes)))
        found = adjoint.Sums(*(np.zeros((shares, *shape)) for shape in shapes))
        pixels = to_read(loss.observed), to_read(loss.weights)
        arguments = [physics.arguments(lambda array, dtype: array), inputs, spans, *pixels, terms if kept else 1]
        self._run(physics, shares, partial(kernel, *arguments, found))
        return adjoint.Sums(*(part.sum(axis=0) for part in found))

    def tangents(
        self, physics: Physics, inputs: KernelInputs, area: Area, along: tangent.Directions
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Photons [slow, fast], and what they change with along n directions [n, slow, fast]; 0 off the area."""
        kernel, spans = self._kernels.of(tangent.tangents, physics), self._spans_of(area, inputs)
        image, changes = np.zeros(area.shape), np.zeros((along.turns.size, *area.shape))
        arguments = physics.arguments(lambda array, dtype: array)
        self._run(physics, len(spans), partial(kernel, arguments, inputs, along, spans, image.reshape(-1), changes))
        if area.mask is not None:
            image[~area.mask], changes[:, ~area.mask] = 0.0, 0.0
        return image, changes

    def first_sample(self, physics: Physics, inputs: KernelInputs, area: Area) -> tuple[int, int] | None:
        """(pixel, sample) of the first sample in scan order that the resolution limit does not cut; None if it cuts all."""
        physics, found = physics.in_float64(), np.full(2, -1)
        kernel = self._kernels.of(scan_order.find_first_sample, physics)
        arguments = physics.arguments(lambda array, dtype: array)
        self._run(physics, 1, partial(kernel, arguments, inputs, self._visited(area), area.shape[1], found))
        return None if found[0] < 0 else (int(found[0]), int(found[1]))

    def first_latch(self, physics: Physics, inputs: KernelInputs, area: Area) -> tuple[int, int] | None:
        """(pixel, term) of the first term in scan order for which the latch falls; None if there is none."""
        physics = physics.in_float64()
        kernel = self._kernels.of(scan_order.find_latch, physics)
        arguments = physics.arguments(lambda array, dtype: array)
        for block in blocks(self._visited(area), 100_000, 64):
            found = np.full((len(block), 2), -1)
            self._run(physics, len(block), partial(kernel, arguments, inputs, block, area.shape[1], found))
            if (found[:, 1] >= 0).any():
                pixel, term = found[np.flatnonzero(found[:, 1] >= 0)[0]]
                return int(pixel), int(term)
        return None

    def terms_outside(self, physics: Physics, inputs: KernelInputs, area: Area) -> int:
        """Number of terms of the image for which ``outside`` is 1."""
        physics = physics.in_float64()
        kernel = self._kernels.of(scan_order.count_outside, physics)
        arguments = physics.arguments(lambda array, dtype: array)
        spans = self._visited(area)
        counts = np.zeros(len(spans), np.int64)
        self._run(physics, len(spans), partial(kernel, arguments, inputs, spans, counts))
        return int(counts.sum())

    @property
    def threads(self) -> int:
        """How many render."""
        return self._threads or threads_of_numba()

    def _run(self, physics: Physics, pieces: int, work: Callable[[NDArray[np.int64]], None]) -> None:
        """Have threads claim the pieces of a kernel's work, ``work(counter)``, when it is compiled."""
        with compiler_lock, compile_errors(physics, why_not_compiled), wide_vectors(physics.dtype):
            work(np.full(1, NOTHING_LEFT))
        share_out(max(1, min(self.threads, pieces)), work)

    def _rendering(self, physics: Physics) -> tuple[Any, Parameters]:
        """The rendering kernel and the parameters of its stages, those of the last time if it is the same."""
        if self._last is None or self._last[0] is not physics:
            arguments = physics.arguments(lambda array, dtype: self._arrays.of(array, dtype, lambda a: a.astype(dtype, copy=False)))
            self._arrays.forget()
            self._last = physics, (self._kernels.of(render.render, physics), arguments)
        return self._last[1]

    def _spans_of_panels(self, areas: tuple[Area, ...], inputs: KernelInputs) -> NDArray[np.int64]:
        """The spans of all panels, with the pixels that depend on scan order in spans of their own."""
        if self._spans is None or not same_areas(self._spans[0], areas):
            self._spans = areas, of_panels(areas)
        spans = self._spans[1]
        for pixel in (inputs.scan_order.first_pixel, inputs.scan_order.latch_pixel):
            if 0 <= pixel < NEVER:
                spans = isolate(spans, *divmod(pixel, areas[0].shape[1]))
        return spans

    def _spans_of(self, area: Area, inputs: KernelInputs) -> NDArray[np.int64]:
        """Those of one panel, (n, 3)."""
        return np.ascontiguousarray(self._spans_of_panels((area,), inputs)[:, :3])

    def _visited(self, area: Area) -> NDArray[np.int64]:
        """Spans of nothing but pixels that are wanted."""
        spans = make_spans(area.roi, area.mask)
        return spans if area.mask is None else unmasked(spans, area.mask)


def compiled(kernel: Function, physics: Physics) -> Any:
    """A kernel with the stage functions in place, compiled when first called."""
    salt = WIDE if physics.dtype == "float32" else ""
    bind = {"claim": claim, "LOOK_UP_FIRST": int(physics.looks_up_first), **derivatives_of(physics)}
    homes = [render, adjoint] if physics.derivatives else [render]
    linked = link(kernel, physics, CPU, bind, salt, homes)
    if linked.__qualname__ not in _compiled:
        _compiled[linked.__qualname__] = kept_on_disk(njit(**OF_KERNELS)(linked))
    return _compiled[linked.__qualname__]


def clear_masked(areas: Sequence[Area], pixels: NDArray[np.float64]) -> None:
    """Zeros where masks leave pixels out."""
    for area in areas:
        if area.mask is not None:
            pixels[area.at : area.at + area.mask.size][~area.mask.ravel()] = 0.0


def geometry_alone(physics: Physics) -> Physics:
    """What kernels need to know that have to do with nothing but where pixels are: they are the same for all other stages."""
    functions = {name: physics.functions[name] for name in ("geometry", "bounds") if name in physics.functions}
    return Physics(functions, {"geometry": physics.parameters["geometry"]}, bind=physics.bind)


def compiled_alone(**options: Any) -> Callable[[Function], Any]:
    """Decorates a function that is no kernel: compiles it with all that it calls, to be called from Python, and keeps it on disk."""
    return lambda function: Alone(function, options)


class Alone:
    """A function that is linked when it is first called, since most runs call few of those that are imported."""

    def __init__(self, function: Function, options: Mapping[str, Any]) -> None:
        self.py_func, self._options = function, options

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        return self._compiled(*arguments)

    @property
    def stats(self) -> Any:
        """What numba counts of the function."""
        return self._compiled.stats

    @cached_property
    def _compiled(self) -> Any:
        target = Target(njit(**self._options), ("alone", sorted(self._options.items())))
        return kept_on_disk(njit(**self._options)(Linker(target, {}).kernel(self.py_func)))


def longest_span(terms: int) -> int:
    """Pixels of a span whose slopes by the indices of all terms stay in the processor's second cache; 0 if that is too much."""
    if terms * LANES > MOST_SLOPES:
        return 0
    return max(LANES, min(LONGEST, FEW_SLOPES // terms // LANES * LANES))


def device_function(function: Function) -> Any:
    """One stage function compiled by itself, callable from Python."""
    return Linker(ALONE, {}).function(function)[0]


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


def why_not_compiled(function: Function, parameters: Any) -> str:
    """Why a stage function does not compile by itself, for numbers as the kernel passes them; empty if it does."""
    try:
        compiled = device_function(function)
        compiled.compile(signature_of(function, parameters))
    except (*FAILURES, ValueError) as error:
        return one_line(error)
    return why_no_number(compiled.nopython_signatures[0].return_type)


def to_read(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """The array, as nobody writes to it: kernels are compiled anew for arrays that may be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def by_component(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(tables, terms, 3, 3) -> (tables, 12, terms): x, y, z and length of a, then of b and c."""
    with_length = np.concatenate([axes, np.linalg.norm(axes, axis=3, keepdims=True)], axis=3)
    return np.ascontiguousarray(with_length.reshape(*axes.shape[:2], 12).transpose(0, 2, 1))


def blocks(spans: NDArray[np.int64], pixels: float, fewest: int) -> Iterator[NDArray[np.int64]]:
    """The spans in blocks of about so many pixels, at least ``fewest`` spans each."""
    count = max(fewest, int(pixels / max(1.0, float(np.mean(spans[:, 2] - spans[:, 1]))))) if len(spans) else 1
    for start in range(0, len(spans), count):
        yield spans[start : start + count]


def threads_of_numba() -> int:
    """As many as numba would take: what it has been told, NUMBA_NUM_THREADS, or all there are."""
    try:
        return int(numba.get_num_threads())
    except ValueError:  # it does not find the threading layer that it is told to take, and has not been told a number
        return int(numba.config.NUMBA_NUM_THREADS)
