"""Link plain scalar functions into one kernel.

The kernel is an ordinary function that calls placeholders (``lattice_shape(...)``). Linking clones it, and every function it
reaches, with those placeholders bound to the chosen stages and each clone compiled for the target. Everything that was read
is digested into the kernel's name, so that numba's disk cache, which knows the kernel's file only, is right after any edit.
"""

from __future__ import annotations

import dis
import hashlib
import math
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numba import prange

from nbnumba.errors import StageError

ALLOWED = (math, np, prange)


class Linker:
    """Clones functions with their globals rebound, compiles the clones with ``compile``, digests what was read.

    bind: placeholder name -> the function or number it stands for.
    salt: whatever else changes the compiled code (target, flags, parameter layouts).
    """

    def __init__(self, compile: Callable[[Any], Any], bind: Mapping[str, Any], salt: Iterable[object] = ()) -> None:
        self._compile, self._bind = compile, bind
        self._digest = hashlib.sha256(repr((sys.version, *salt)).encode())
        self._compiled: dict[Callable[..., Any], Any] = {}

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The clone of the kernel itself, named after the digest; to be compiled by the caller."""
        clone = self._clone(function)
        clone.__qualname__ = f"{clone.__name__}-{self._digest.hexdigest()[:16]}"
        return clone

    def _clone(self, function: Any) -> types.FunctionType:
        reject_unlinkable(function)
        code, namespace = function.__code__, dict(function.__globals__)
        self._digest.update(repr((code.co_code, code.co_consts, code.co_names, code.co_varnames)).encode())
        for name in global_names(code):
            if name not in self._bind and name not in namespace:
                continue  # a builtin
            value = plain(self._bind.get(name, namespace.get(name)))
            if isinstance(value, types.FunctionType):
                namespace[name] = self.function(value)
                self._digest.update(f"{name}=function {list(self._compiled).index(value)};".encode())
            elif isinstance(value, bool | int | float) or any(value is allowed for allowed in ALLOWED):
                namespace[name] = value
                self._digest.update(f"{name}={value!r};".encode())
            else:
                raise StageError(
                    f"{describe(function)}: uses the global {name!r}, a {type(value).__name__}; a stage function may use "
                    "numbers, plain functions, math and numpy, and gets everything else from prepare()"
                )
        clone = types.FunctionType(code, namespace, function.__name__)
        clone.__module__, clone.__qualname__ = function.__module__, function.__qualname__
        return clone

    def function(self, function: Callable[..., Any]) -> Any:
        """A function compiled with everything that it calls."""
        if function not in self._compiled:
            self._compiled[function] = self._compile(self._clone(function))
        return self._compiled[function]


def global_names(code: types.CodeType) -> list[str]:
    """Names that a function looks up outside itself."""
    return sorted({i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"})


def plain(value: Any) -> Any:
    """The Python function behind a jitted one; anything else as it is."""
    return getattr(value, "py_func", value)


def describe(function: types.FunctionType) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def layout(parameters: Any) -> tuple[str, str, tuple[str, ...]]:
    """Home, name and field order of a NamedTuple: not in numba's cache key, hence in the digest.

    A cached kernel names its argument types by module; whoever loads it has to have that module.
    """
    return type(parameters).__module__, type(parameters).__qualname__, type(parameters)._fields


def reject_unlinkable(function: types.FunctionType) -> None:
    """Refuse what cannot be cloned: closures, defaults, inner functions."""
    problem = (
        "is a closure; pass what it captures through prepare()"
        if function.__closure__
        else "has default arguments; give every argument explicitly"
        if function.__defaults__ or function.__kwdefaults__
        else "holds an inner function, lambda or comprehension; move it to the module"
        if any(isinstance(c, types.CodeType) for c in function.__code__.co_consts)
        else ""
    )
    if problem:
        raise StageError(f"{describe(function)}: {problem}")
