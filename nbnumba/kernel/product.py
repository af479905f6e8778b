"""A chain of factors as one function: their product, and its derivative, written out so that both compile into the kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

Function = Callable[..., Any]


class NoFactor(NamedTuple):
    """What the kernel has in place of parameters where there is no factor: numba takes no empty tuple."""

    value: float = 1.0


@lru_cache(maxsize=64)
def product(functions: tuple[Function, ...], arguments: tuple[str, ...]) -> Function:
    """function(p, ...), the product of functions(p[n], ...); 1 for none."""
    listed = ", ".join(arguments)
    factors = " * ".join(f"factor_{n}(p[{n}], {listed})" for n in range(len(functions))) or "1.0"
    return made(f"def factors(p, {listed}):\n    return {factors}", {f"factor_{n}": f for n, f in enumerate(functions)})


@lru_cache(maxsize=64)
def derivative(functions: tuple[Function, ...], arguments: tuple[str, ...], varied: tuple[int, ...]) -> Function:
    """Its value, then its derivatives by the arguments, then by the fields that each factor varies with, of which there are ``varied``."""
    listed, count = ", ".join(arguments), len(functions)
    lines = [f"    d{n} = derivative_{n}(p[{n}], {listed})" for n in range(count)]
    lines += [f"    r{n} = {' * '.join(f'd{m}[0]' for m in range(count) if m != n) or '1.0'}" for n in range(count)]
    value = " * ".join(f"d{n}[0]" for n in range(count)) or "1.0"
    slopes = [" + ".join(f"r{n} * d{n}[{1 + m}]" for n in range(count)) or "0.0" for m in range(len(arguments))]
    slopes += [f"r{n} * d{n}[{1 + len(arguments) + m}]" for n in range(count) for m in range(varied[n])]
    source = "\n".join([f"def factors_derivative(p, {listed}):", *lines, f"    return {value}, {', '.join(slopes)}"])
    return made(source, {f"derivative_{n}": f for n, f in enumerate(functions)})


def made(source: str, calls: dict[str, Any]) -> Function:
    """A function of this source that calls others by these names."""
    namespace = {**calls, "__name__": __name__}
    exec(source, namespace)
    function: Function = namespace[source.split("(")[0].removeprefix("def ")]
    return function
