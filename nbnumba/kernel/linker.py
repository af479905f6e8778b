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
from pathlib import Path
from typing import Any

import numpy as np
from numba import prange
from numba.extending import _Intrinsic as INTRINSIC

from nbnumba.errors import StageError

ALLOWED = (math, np, prange)


class Linker:
    """Clones functions with their globals rebound, compiles the clones with ``compile``, digests what was read.

    bind: placeholder name -> the function or number it stands for, in the module of the kernel and nowhere else.
    salt: whatever else changes the compiled kernel (target, flags, parameter layouts).
    instead: function -> the one that stands in for it, in what the placeholders ``within`` stand for and all that calls.
    compiled: digest -> function compiled before, by this linker or another with the same ``compile``.
    """

    def __init__(
        self,
        compile: Callable[[Any], Any],
        bind: Mapping[str, Any],
        salt: Iterable[object] = (),
        instead: Mapping[Any, Any] | None = None,
        within: Iterable[str] = (),
        compiled: dict[str, Any] | None = None,
    ) -> None:
        self._compile, self._bind, self._salt = compile, bind, repr((sys.version, *salt))
        self._instead, self._within = instead or {}, frozenset(within)
        self._compiled = {} if compiled is None else compiled
        self._home: dict[str, Any] | None = None

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The clone of the kernel itself, named after the digest; to be compiled by the caller."""
        self._home = function.__globals__
        clone, digest = self._clone(function, replacing=False)
        clone.__qualname__ = f"{clone.__name__}-{digest_of(self._salt, digest)[:16]}"
        return clone

    def function(self, function: Callable[..., Any], replacing: bool = False) -> tuple[Any, str]:
        """A function compiled with everything that it calls, and the digest of all that."""
        clone, digest = self._clone(function, replacing)
        if digest not in self._compiled:
            self._compiled[digest] = self._compile(clone)
        return self._compiled[digest], digest

    def _clone(self, function: Any, replacing: bool) -> tuple[types.FunctionType, str]:
        reject_unlinkable(function)
        code, namespace = function.__code__, dict(function.__globals__)
        bind = self._bind if function.__globals__ is self._home else {}
        read = [repr((code.co_code, code.co_consts, code.co_names, code.co_varnames))]
        for name in global_names(code):
            if name not in bind and name not in namespace:
                continue  # a builtin
            inside = replacing or (name in bind and name in self._within)
            value = plain(bind.get(name, namespace.get(name)))
            value = self._instead.get(value, value) if inside and callable(value) else value
            if isinstance(value, types.FunctionType):
                namespace[name], digest = self.function(value, inside)
            elif isinstance(value, INTRINSIC):
                namespace[name], digest = value, Path(inspect.getfile(value._defn)).read_text("utf-8")
            elif isinstance(value, bool | int | float | np.number) or any(value is allowed for allowed in ALLOWED):
                namespace[name], digest = value, repr(value)
            else:
                raise StageError(
                    f"{describe(function)}: uses the global {name!r}, a {type(value).__name__}; a stage function may use "
                    "numbers, plain functions, math and numpy, and gets everything else from prepare()"
                )
            read.append(f"{name}={digest}")
        clone = types.FunctionType(code, namespace, function.__name__)
        clone.__module__, clone.__qualname__ = function.__module__, function.__qualname__
        return clone, digest_of(*read)


def digest_of(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


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
