"""Link plain scalar functions into one kernel.

The kernel is an ordinary function that calls placeholders (``lattice_shape(...)``). Linking clones it, and every function it
reaches, with those placeholders bound to the chosen stages and each clone compiled for the target. Everything that was read
is digested into the kernel's name, so that numba's disk cache, which knows the kernel's file only, is right after any edit.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import math
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numba import prange
from numba.extending import _Intrinsic as INTRINSIC

from nbnumba.errors import StageError

ALLOWED = (math, np, prange)


class Linker:
    """Clones functions with their globals rebound, compiles the clones with ``compile``, digests what was read.

    bind: placeholder name -> the function or number it stands for.
    salt: whatever else changes the compiled code (target, flags, parameter layouts).
    instead: function -> the one that stands in for it, in what the placeholders ``within`` stand for and all that calls.
    """

    def __init__(
        self,
        compile: Callable[[Any], Any],
        bind: Mapping[str, Any],
        salt: Iterable[object] = (),
        instead: Mapping[Any, Any] | None = None,
        within: Iterable[str] = (),
    ) -> None:
        self._compile, self._bind = compile, bind
        self._digest = hashlib.sha256(repr((sys.version, *salt)).encode())
        self._instead, self._within = instead or {}, frozenset(within)
        self._compiled: dict[tuple[Callable[..., Any], bool], Any] = {}

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The clone of the kernel itself, named after the digest; to be compiled by the caller."""
        clone = self._clone(function, False)
        clone.__qualname__ = f"{clone.__name__}-{self._digest.hexdigest()[:16]}"
        return clone

    def _clone(self, function: Any, replacing: bool) -> types.FunctionType:
        reject_unlinkable(function)
        code, namespace = function.__code__, dict(function.__globals__)
        self._digest.update(repr((code.co_code, code.co_consts, code.co_names, code.co_varnames)).encode())
        for name in global_names(code):
            if name not in self._bind and name not in namespace:
                continue  # a builtin
            value = self._stand_in(plain(self._bind.get(name, namespace.get(name))), replacing)
            if isinstance(value, INTRINSIC):
                namespace[name] = value
                self._digest.update(f"{name}={inspect.getsource(value._defn)};".encode())
            elif isinstance(value, types.FunctionType):
                inside = replacing or name in self._within
                namespace[name] = self.function(value, inside)
                self._digest.update(f"{name}=function {list(self._compiled).index((self._stand_in(value, inside), inside))};".encode())
            elif isinstance(value, bool | int | float | np.number) or any(value is allowed for allowed in ALLOWED):
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

    def function(self, function: Callable[..., Any], replacing: bool = False) -> Any:
        """A function compiled with everything that it calls."""
        key = self._stand_in(function, replacing), replacing
        if key not in self._compiled:
            self._compiled[key] = self._compile(self._clone(*key))
        return self._compiled[key]

    def _stand_in(self, function: Any, replacing: bool) -> Any:
        return self._instead.get(function, function) if replacing else function


def global_names(code: types.CodeType) -> list[str]:
    """Names that a function looks up outside itself."""
    return sorted({i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"})


def reached(function: Any) -> set[Any]:
    """A function and all that it calls."""
    found, waiting = set(), [plain(function)]
    while waiting:
        if isinstance(here := waiting.pop(), types.FunctionType) and here not in found:
            found.add(here)
            waiting += [plain(here.__globals__.get(name)) for name in global_names(here.__code__)]
    return found


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
