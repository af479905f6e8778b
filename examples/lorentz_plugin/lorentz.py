"""A lattice shape of our own: Lorentzian spots, as from a crystal whose domains have exponentially distributed sizes.

Try it as a file:       nbnumba run ... --plugin-file lorentz.py --plugin lattice_shape=lorentz --set width=0.8
Check it:               nbnumba plugins check lorentz.py
Install it for good:    pip install .        (the entry point in pyproject.toml makes it known)
"""

from typing import NamedTuple

from nbnumba.plugin import LatticeShape, Limits, Parameter, WorkedValue, hookimpl

WIDTH = Parameter("width", "", 1.0, "half width of a spot in units of 1 / cells", Limits(low=0.0, open_low=True))


class Lorentz(NamedTuple):
    """What lorentz() needs, prepared once: cells along a, b, c over the width; F_latt at a lattice point."""

    a: float
    b: float
    c: float
    peak: float


def prepare(experiment):
    n_a, n_b, n_c = experiment.cells
    width = STAGE.value_of("width", experiment.model.parameters)
    return Lorentz(n_a / width, n_b / width, n_c / width, float(n_a * n_b * n_c))


def lorentz(p, x, y, z):
    """F_latt at the offsets x, y, z from the nearest lattice point. Plain Python: nbnumba compiles it."""
    return p.peak / (1.0 + (p.a * x) ** 2 + (p.b * y) ** 2 + (p.c * z) ** 2)


def derivative(p, x, y, z):
    """For gradients: F_latt, then its derivatives by the offsets, then by the fields that ``varied`` names."""
    f = lorentz(p, x, y, z)
    slope = -2.0 * f * f / p.peak
    return (
        f,
        slope * p.a**2 * x,
        slope * p.b**2 * y,
        slope * p.c**2 * z,
        slope * p.a * x**2,
        slope * p.b * y**2,
        slope * p.c * z**2,
        f / p.peak,
    )


STAGE = LatticeShape(
    name="lorentz",
    summary="Lorentzian spots",
    prepare=prepare,
    function=lorentz,
    derivative=derivative,
    varied=("a", "b", "c", "peak"),
    parameters=(WIDTH,),
    worked_values=(
        WorkedValue(Lorentz(5.0, 5.0, 5.0, 125.0), (0.0, 0.0, 0.0), 125.0),
        WorkedValue(Lorentz(5.0, 5.0, 5.0, 125.0), (0.2, 0.0, 0.0), 62.5),
    ),
)


@hookimpl
def lattice_shape():
    return [STAGE]
