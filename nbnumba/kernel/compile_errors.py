"""Why a stage function does not compile: numba's pages about it in one line, with whose it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba

from nbnumba.kernel.cpu.render import ORDER
from nbnumba.kernel.device import Function, Physics
from nbnumba.kernel.numba_parts import NumbaError

# What numba raises where it cannot compile a function.
FAILURES = (NumbaError, TypeError, NotImplementedError)


class CompileError(Exception):
    """A stage function cannot be compiled; ``kind`` is the stage's, empty if none of them fails by itself."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@contextmanager
def compile_errors(physics: Physics, why_not_compiled: Callable[[Function, Any], str]) -> Iterator[None]:
    """Turn numba's pages about a function that it cannot compile into one line, and find whose function it is."""
    try:
        yield
    except FAILURES as error:
        functions = [(kind, physics.functions[kind]) for kind in ORDER]
        functions += [(kind, slopes.function) for kind, slopes in physics.derivatives.items()]
        failures = ((kind, why_not_compiled(function, physics.parameters[kind])) for kind, function in functions)
        kind, reason = next(((kind, reason) for kind, reason in failures if reason), ("", one_line(error)))
        raise CompileError(kind, reason) from error


def signature_of(function: Function, parameters: Any) -> tuple[Any, ...]:
    """Types of a stage function's arguments."""
    count = len(inspect.signature(getattr(function, "py_func", function)).parameters) - 1
    return (numba.typeof(parameters), *[numba.float64] * count)


def why_no_number(result: Any) -> str:
    """What is wrong with what a stage function returns."""
    parts = getattr(result, "types", (result,))
    return "" if all(isinstance(part, numba.types.Number | numba.types.Boolean) for part in parts) else f"it returns {result}, not numbers"


def one_line(error: Exception) -> str:
    """The line of numba's message that says what is wrong."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    telling = ("NameError", "Unknown attribute", "Untyped global", "Cannot unify", "No implementation", "annot determine")
    return next((line for line in lines if any(word in line for word in telling)), lines[-1] if lines else type(error).__name__)
