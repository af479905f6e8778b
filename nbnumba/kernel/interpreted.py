"""The rendering kernel for one pixel in plain Python, with a note of every call of a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from nbnumba.kernel import math, scan_order
from nbnumba.kernel import math_float32 as single
from nbnumba.kernel.cpu import render
from nbnumba.kernel.cpu.render import ORDER, ROW, KernelInputs
from nbnumba.kernel.device import Function, Physics
from nbnumba.kernel.linker import Linker, Target, plain
from nbnumba.kernel.panels import itself

PYTHON = Target(compile=lambda function: function)
HELPERS = ("scatter", "photons")  # functions of the kernel whose calls are noted, besides those of stages


class Call(NamedTuple):
    """One call: of which function, its arguments by name as they were afterwards, its result."""

    name: str
    arguments: dict[str, Any]
    result: Any


def watch_pixel(physics: Physics, inputs: KernelInputs, shape: tuple[int, int], slow: int, fast: int) -> tuple[list[Call], float]:
    """The calls of stages, in order, with which the kernel renders a pixel, and the photons that it comes to.

    The functions of render.py and of the stages themselves, in the precision of ``physics``. Of working arrays, which hold one pixel here,
    the notes have the numbers, row by row.
    """
    calls: list[Call] = []
    stand_ins = stages_in_precision(physics) | {"claim": claim, "of_panel": itself, "LANES": 1}
    kernel = in_python(render, "render", stand_ins, {name: noting(calls, name) for name in (*ORDER, *HELPERS)})
    image, choice = np.zeros(shape[0] * shape[1]), np.zeros((1, 12, inputs.orientations.shape[1]))
    span, counter = np.array([[slow, fast, fast + 1, 0, slow * shape[1]]]), np.zeros(1, np.int64)
    with np.errstate(all="ignore"):
        arguments = physics.arguments(lambda array, dtype: array.astype(dtype, copy=False))
        kernel(arguments, inputs._replace(negligible=0.0), choice, span, image, counter)
    return calls, float(image[slow * shape[1] + fast])


def last_sample(physics: Physics, inputs: KernelInputs, slow: int, fast: int) -> int:
    """Number of a pixel's last sample that the resolution limit does not cut; -1 if it cuts all."""
    search = in_python(scan_order, "last_in_pixel", {"geometry": in_plain_python(physics.functions["geometry"])})
    return int(search(physics.arguments(lambda array, dtype: array), inputs, slow, fast))


def in_python(
    module: ModuleType, name: str, stand_ins: Mapping[str, Any], watch: Mapping[str, Callable[[Function], Function]] | None = None
) -> Function:
    """A function of a kernel's module in plain Python, with these in place of placeholders; watch: name -> what to make of a function."""
    namespace = dict(vars(module))
    for own, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            namespace[own] = FunctionType(value.__code__, namespace, own)
    namespace |= stand_ins
    namespace |= {watched: make(namespace[watched]) for watched, make in (watch or {}).items()}
    function: Function = namespace[name]
    return function


def stages_in_precision(physics: Physics) -> dict[str, Any]:
    """What stands in the kernel for its placeholders: stage functions in the precision asked for."""
    own = math if physics.dtype == "float64" else single
    functions = {
        kind: in_plain_python(function, own.INSTEAD if kind in physics.in_dtype else None) for kind, function in physics.functions.items()
    }
    return {**functions, "nearest": own.nearest, "TIE": own.TIE, "mark": own.mark}


def in_plain_python(function: Function, instead: Mapping[Any, Any] | None = None) -> Function:
    """A function and all that it calls, with nothing compiled; instead: function -> the one that stands in for it."""
    clone: Function = Linker(PYTHON, {}, (), instead).function(plain(function), replacing=True)[0]
    return clone


def noting(calls: list[Call], name: str) -> Callable[[Function], Function]:
    """Makes of a function one that notes every call."""

    def make(function: Function) -> Function:
        names = function.__code__.co_varnames[: function.__code__.co_argcount]

        def noted(*arguments: Any) -> Any:
            result = function(*arguments)
            calls.append(Call(name, {n: number_of(a) for n, a in zip(names, arguments, strict=True)}, result))
            return result

        return noted

    return make


def number_of(value: Any) -> Any:
    """The numbers, a row each, that a working array holds for its pixel; anything else as it is."""
    return value[:, 0].tolist() if isinstance(value, np.ndarray) and value.shape[-1:] == (ROW,) else value


def claim(counter: np.ndarray) -> int:
    """As work_queue.py's, for one thread."""
    counter[0] += 1
    return int(counter[0]) - 1
