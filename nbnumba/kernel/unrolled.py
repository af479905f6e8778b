"""What is done with every field that a stage varies with, written out: a loop over a tuple's elements would not vectorise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbnumba.kernel.cpu import adjoint

if TYPE_CHECKING:
    from nbnumba.kernel.device import Physics

# Where in what a stage's derivative() returns its fields begin: after its result, and the derivatives by its arguments.
FIRST = {"geometry": 0, "lattice_shape": 4, "structure_factor": 4, "polarization": 7, "scaling": 5}


def adder(count: int, first: int) -> Callable[..., Any]:
    """A function add(rows, i, before, factor, slopes): rows[n, i] = before rows[n, i] + factor slopes[first + n] for n < count."""
    lines = [f"    rows[{n}, i] = before * rows[{n}, i] + factor * slopes[{first + n}]" for n in range(count)] or ["    pass"]
    made: dict[str, Any] = {}
    exec("def add(rows, i, before, factor, slopes):\n" + "\n".join(lines), made)
    add: Callable[..., Any] = made["add"]
    return add


def multiplies(physics: Physics) -> bool:
    """Whether the scaling stage changes what the total before a term counts."""
    derivative, _ = physics.derivatives["scaling"]
    return bool(derivative(physics.parameters["scaling"], 2.0, 3.0, 5.0, 0.5)[1] != 1.0)


def derivatives_of(physics: Physics) -> dict[str, Any]:
    """What stands in the adjoint kernels for their placeholders."""
    if not physics.derivatives:
        return {}
    found: dict[str, Any] = {f"{kind}_derivative": derivative for kind, (derivative, _) in physics.derivatives.items()}
    found |= {"MULTIPLIES": int(multiplies(physics)), "spread": physics.spread or adjoint.spread}
    for kind, (_, varied) in physics.derivatives.items():
        count = len(varied)
        found |= {f"N_{kind.upper()}": count, f"ROWS_{kind.upper()}": max(1, count), f"add_{kind}": adder(count, FIRST[kind])}
    return found
