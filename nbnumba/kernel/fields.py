"""What is done with every field that a stage varies with, written out: a loop over a tuple's elements would not vectorise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Where in what a stage's derivative() returns its fields begin: after its result, and the derivatives by its arguments.
FIRST = {"geometry": 0, "lattice_shape": 4, "structure_factor": 4, "polarization": 7, "scaling": 5}


def adder(count: int, first: int) -> Callable[..., Any]:
    """A function add(rows, i, before, factor, slopes): rows[n, i] = before rows[n, i] + factor slopes[first + n] for n < count."""
    lines = [f"    rows[{n}, i] = before * rows[{n}, i] + factor * slopes[{first + n}]" for n in range(count)] or ["    pass"]
    made: dict[str, Any] = {}
    exec("def add(rows, i, before, factor, slopes):\n" + "\n".join(lines), made)
    add: Callable[..., Any] = made["add"]
    return add
