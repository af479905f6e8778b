"""The same structure factor everywhere (SF-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.kernel.math import working
from nbnumba.stages.stage import experiment_parameter

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Constant(NamedTuple):
    """The amplitude, electrons."""

    F: float


def prepare(experiment: Experiment) -> Constant:
    return Constant(experiment.structure_factors.default_F)


def constant(p, h, k, l, h0, k0, l0, latched):
    """The amplitude, whatever the index."""
    return working(p.F)


def derivative(p, h, k, l, h0, k0, l0, latched):
    """The amplitude, which does not vary with h, k, l, and its derivative by itself."""
    return p.F, 0.0, 0.0, 0.0, 1.0


STAGE = Stage(
    kind="structure_factor",
    name="constant",
    summary="default_F for every reflection, what no table is needed for",
    prepare=prepare,
    function=constant,
    derivative=derivative,
    varied=("F",),
    parameters=(experiment_parameter(StructureFactors, "default_F"),),
    spec=("SF-3",),
    worked_values=(WorkedValue(Constant(100.0), (0.3, 0.4, 0.5, 0.0, 0.0, 0.0, 0), 100.0),),
)


@hookimpl
def structure_factor() -> list[Stage]:
    return [STAGE]
