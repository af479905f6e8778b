"""The same structure factor everywhere (SF-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.plugin import StructureFactor, WorkedValue, experiment_parameter, hookimpl, working

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Constant(NamedTuple):
    """The amplitude, electrons."""

    F: float


def prepare(experiment: Experiment) -> Constant:
    return Constant(experiment.structure_factors.default_F)


def constant(p, h, k, l, h0, k0, l0, wavelength, latched):
    """The amplitude, whatever the index."""
    return working(p.F)


def derivative(p, h, k, l, h0, k0, l0, wavelength, latched):
    """The amplitude, which does not vary with h, k, l or the wavelength, and its derivative by itself."""
    return p.F, 0.0, 0.0, 0.0, 0.0, 1.0


STAGE = StructureFactor(
    name="constant",
    summary="default_F for every reflection, what no table is needed for",
    prepare=prepare,
    function=constant,
    derivative=derivative,
    varied=("F",),
    parameters=(experiment_parameter(StructureFactors, "default_F"),),
    spec=("SF-3",),
    worked_values=(WorkedValue(Constant(100.0), (0.3, 0.4, 0.5, 0.0, 0.0, 0.0, 1e-10, 0), 100.0),),
)


@hookimpl
def structure_factor() -> list[StructureFactor]:
    return [STAGE]
