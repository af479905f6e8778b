"""Gaussian spots: no fringes between Bragg peaks (LAT-4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.crystal import Crystal
from nbnumba.kernel.math import exp
from nbnumba.stages.stage import experiment_parameter
from nbnumba_plugins.lattice_round import FUDGE

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

ANGSTROM = 1e-10


class Spot(NamedTuple):
    """F_latt at a lattice point, and the squared radius of a spot as a quadratic form of the fractional offsets."""

    peak: float
    xx: float
    yy: float
    zz: float
    xy: float
    yz: float
    zx: float


def spot(experiment: Experiment) -> Spot:
    """Offsets scaled by the cells along each axis (LAT-7), or the reference program's radius from the unrotated a*, b*, c* (LAT-5)."""
    cells = np.array(experiment.cells, np.float64)
    peak = float(cells.prod())
    reciprocal = experiment.unit_cell.reciprocal * ANGSTROM
    m = reciprocal @ reciprocal.T * peak**2 if "spot-width" in experiment.quirks else np.diag(cells**2)
    m *= STAGE.value_of("fudge", experiment.model.parameters)
    return Spot(peak, *map(float, (m[0, 0], m[1, 1], m[2, 2], 2 * m[0, 1], 2 * m[1, 2], 2 * m[2, 0])))


def radius_squared(p, x, y, z):
    """The quadratic form of a Spot."""
    return x * (p.xx * x + p.xy * y) + y * (p.yy * y + p.yz * z) + z * (p.zz * z + p.zx * x)


def gauss(p, x, y, z):
    """A Gaussian of the distance from the lattice point."""
    return p.peak * exp(-radius_squared(p, x, y, z) / 0.63)


STAGE = Stage(
    kind="lattice_shape",
    name="gauss",
    summary="Gaussian spots, no fringes between Bragg peaks",
    prepare=spot,
    function=gauss,
    parameters=(experiment_parameter(Crystal, "cells"), FUDGE),
    spec=("LAT-4", "LAT-5", "LAT-7"),
    worked_values=(
        WorkedValue(Spot(8.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 8.0),
        WorkedValue(Spot(8.0, 0.63, 0.0, 0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 8.0 / math.e),
        WorkedValue(Spot(8.0, 0.0, 0.0, 0.0, 0.63, 0.63, 0.63), (1.0, 1.0, 1.0), 8.0 / math.e**3),
    ),
)


@hookimpl
def lattice_shape() -> list[Stage]:
    return [STAGE]
