"""What is done with every field that a stage varies with, written out: a loop over a tuple's elements would not vectorise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from nbnumba.kernel.cpu import adjoint
from nbnumba.kernel.product import made

if TYPE_CHECKING:
    from nbnumba.kernel.device import Physics

# Kinds whose stages are asked for every term.
OF_TERMS = ("lattice_shape", "structure_factor", "scaling")


def adder(count: int, at: int) -> Callable[..., Any]:
    """A function that sets rows[first + n, i] to before rows[first + n, i] + factor slopes[at + n] for n < count."""
    rows = [f"rows[first + {n}, i]" for n in range(count)]
    lines = [f"    {row} = before * {row} + factor * slopes[{at + n}]" for n, row in enumerate(rows)] or ["    pass"]
    return made("def add(rows, first, i, before, factor, slopes):\n" + "\n".join(lines), {})


def derivatives_of(physics: Physics) -> dict[str, Any]:
    """What stands in the adjoint kernels for their placeholders."""
    if not physics.derivatives:
        return {}
    counts = {kind: len(slopes.varied) for kind, slopes in physics.derivatives.items()}
    found: dict[str, Any] = {"MULTIPLIES": int(not physics.additive), "spread": physics.spread or adjoint.spread}
    found |= {"N_ALL": sum(counts.values()), "N_TERM": sum(counts[kind] for kind in OF_TERMS)}
    for (kind, count), at in zip(counts.items(), accumulate(counts.values(), initial=0), strict=False):
        slopes = physics.derivatives[kind]
        found |= {f"{kind}_derivative": slopes.function, f"N_{kind.upper()}": count, f"AT_{kind.upper()}": at}
        found[f"add_{kind}"] = adder(count, slopes.first)
    return found
