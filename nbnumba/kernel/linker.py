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
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import prange

from nbnumba.errors import StageError
from nbnumba.kernel.numba_parts import INTRINSIC

MODULES: dict[types.ModuleType, types.ModuleType] = {math: math, np: np}


@dataclass(frozen=True)
class Target:
    """What functions are compiled for.

    compile: compiles a function that others call. options: whatever changes what it makes of the same source. modules: module that
    functions may use -> what they find in its place. instead: function -> the one that stands in for it.
    """

    compile: Callable[[Any], Any]
    options: object = ()
    modules: Mapping[types.ModuleType, types.ModuleType] = field(default_factory=lambda: MODULES)
    instead: Mapping[Any, Any] = field(default_factory=dict)
    compiled: dict[str, Any] = field(default_factory=dict)  # digest -> function


class Linker:
    """Clones functions with their globals rebound, compiles the clones for a target, digests what was read.

    bind: placeholder name -> the function or number it stands for, in the modules of the kernel and nowhere else.
    salt: whatever else changes the compiled kernel (parameter layouts).
    instead: function -> the one that stands in for it, in what the placeholders ``within`` stand for and all that calls.
    """

    def __init__(
        self,
        target: Target,
        bind: Mapping[str, Any],
        salt: Iterable[object] = (),
        instead: Mapping[Any, Any] | None = None,
        within: Iterable[str] = (),
    ) -> None:
        self._target, self._bind, self._salt = target, bind, repr((sys.version, target.options, *salt))
        self._instead, self._within = instead or {}, frozenset(within)
        self._homes: list[dict[str, Any]] = []

    def kernel(self, function: Callable[..., Any], *others: types.ModuleType) -> Callable[..., Any]:
        """The clone of the kernel itself, named after the digest; to be compiled by the caller. others: more modules with placeholders."""
        self._homes = [function.__globals__, *map(vars, others)]
        clone, digest = self._clone(function, replacing=False)
        clone.__qualname__ = named_after(clone, self._salt, digest)
        return clone

    def function(self, function: Callable[..., Any], replacing: bool = False) -> tuple[Any, str]:
        """A function compiled with everything that it calls, and the digest of all that."""
        clone, digest = self._clone(function, replacing)
        if digest not in self._target.compiled:
            clone.__qualname__ = named_after(clone, repr(self._target.options), digest)
            self._target.compiled[digest] = self._target.compile(clone)
        return self._target.compiled[digest], digest

    def clone(self, function: Callable[..., Any]) -> types.FunctionType:
        """A function with everything that it calls compiled; to be compiled by the caller."""
        return self._clone(function, replacing=False)[0]

    def _clone(self, function: Any, replacing: bool) -> tuple[types.FunctionType, str]:
        reject_unlinkable(function)
        code, namespace = function.__code__, dict(function.__globals__)
        bind = self._bind if any(function.__globals__ is home for home in self._homes) else {}
        read = [repr((code.co_code, code.co_consts, code.co_names, code.co_varnames))]
        for name in global_names(code):
            if name not in bind and name not in namespace:
                continue  # a builtin
            inside = replacing or (name in bind and name in self._within)
            value = plain(bind.get(name, namespace.get(name)))
            if callable(value):
                value = self._instead.get(value, value) if inside else value
                value = self._target.instead.get(value, value)
            if isinstance(value, types.FunctionType):
                namespace[name], digest = self.function(value, inside)
            elif isinstance(value, INTRINSIC):
                namespace[name], digest = value, Path(inspect.getfile(value._defn)).read_text("utf-8")
            elif isinstance(value, types.ModuleType) and value in self._target.modules:
                namespace[name], digest = (stand_in := self._target.modules[value]), source_of(stand_in, value)
            elif isinstance(value, type) and hasattr(value, "_fields"):  # a NamedTuple, which numba can make one of
                namespace[name], digest = value, repr(layout_of(value))
            elif is_number(value) or value is prange or (isinstance(value, tuple) and all(map(is_number, value))):
                namespace[name], digest = value, repr(value)
            else:
                raise StageError(
                    f"{describe(function)}: uses the global {name!r}, a {type(value).__name__}; a stage function may use "
                    "numbers, tuples of them, plain functions, math and numpy, and gets everything else from prepare()"
                )
            read.append(f"{name}={digest}")
        clone = types.FunctionType(code, namespace, function.__name__)
        clone.__module__, clone.__qualname__ = function.__module__, function.__qualname__
        return clone, digest_of(*read)


def named_after(function: types.FunctionType, *digested: str) -> str:
    """A name that no other function has, of this process or of another whose compiled functions are found on disk."""
    return f"{function.__name__}-{digest_of(*digested)[:16]}"


def is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.number)


def digest_of(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def source_of(stand_in: types.ModuleType, module: types.ModuleType) -> str:
    """What a stand-in for a module holds; the module's name if it stands for itself."""
    return module.__name__ if stand_in is module else Path(inspect.getfile(stand_in)).read_text("utf-8")


@cache  # a kernel is linked for every image
def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names that a function looks up outside itself."""
    return tuple(sorted({i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}))


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
    return layout_of(type(parameters))


def layout_of(fields: Any) -> tuple[str, str, tuple[str, ...]]:
    """The same of a NamedTuple's class."""
    return fields.__module__, fields.__qualname__, fields._fields


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
