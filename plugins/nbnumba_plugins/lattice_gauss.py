"""Gaussian spots: no fringes between Bragg peaks (LAT-4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.crystal import Crystal
from nbnumba.plugin import LatticeShape, WorkedValue, exp, experiment_parameter, hookimpl, working
from nbnumba_plugins.lattice_round import FUDGE

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

ANGSTROM = 1e-10
WIDTH = 0.63  # squared radius at which F_latt is down to 1 / e
VOLUME = (math.pi * WIDTH / 2.0) ** 1.5


class Spot(NamedTuple):
    """F_latt at a lattice point, and the squared radius of a spot as a quadratic form of the fractional offsets.

    x_least etc.: the least squared radius at an offset of 1 along an axis, whatever the others: 1 / (m^-1)_xx for a form m.
    """

    peak: float
    xx: float
    yy: float
    zz: float
    xy: float
    yz: float
    zx: float
    x_least: float
    y_least: float
    z_least: float


def prepare(experiment: Experiment) -> Spot:
    return spot(experiment)


def spot(experiment: Experiment, volume: float = VOLUME) -> Spot:
    """Offsets scaled by the cells along each axis (LAT-7), or nanoBragg's radius from the unrotated a*, b*, c* (LAT-5).

    volume: integral of (F_latt / peak)^2 over space, in units of the radius; default: of a Gaussian. A crystal of many blocks has a peak
    that makes the integral of F_latt^2 over the offsets the number of cells (LAT-20).
    """
    cells = np.array(experiment.cells, np.float64)
    peak = float(cells.prod())
    reciprocal = experiment.unit_cell.reciprocal * ANGSTROM
    m = reciprocal @ reciprocal.T * peak**2 if "spot-width" in experiment.quirks else np.diag(cells**2)
    m *= STAGE.value_of("fudge", experiment.model.parameters)
    least = 1.0 / np.diag(np.linalg.inv(m))
    if experiment.crystal.extent:
        peak = math.sqrt(peak * math.sqrt(np.linalg.det(m)) / volume)
    return Spot(peak, *map(float, (m[0, 0], m[1, 1], m[2, 2], 2 * m[0, 1], 2 * m[1, 2], 2 * m[2, 0], *least)))


def quadratic_form(xx, yy, zz, xy, yz, zx, x, y, z):
    """Squared radius at the offsets x, y, z."""
    return x * (xx * x + xy * y) + y * (yy * y + yz * z) + z * (zz * z + zx * x)


def least_radius_squared(p, x, y, z):
    """No offset whose parts have at least these sizes has a smaller squared radius."""
    return max(max(p.x_least * x * x, p.y_least * y * y), p.z_least * z * z)


def gauss(p, x, y, z):
    """A Gaussian of the distance from the lattice point."""
    x, y, z = working(x), working(y), working(z)
    xx, yy, zz, xy, yz, zx = working(p.xx), working(p.yy), working(p.zz), working(p.xy), working(p.yz), working(p.zx)
    return working(p.peak) * exp(working(-1.0 / WIDTH) * quadratic_form(xx, yy, zz, xy, yz, zx, x, y, z))


def derivative(p, x, y, z):
    """The Gaussian, and its derivatives by offsets, peak and form."""
    height = exp(quadratic_form(p.xx, p.yy, p.zz, p.xy, p.yz, p.zx, x, y, z) / -WIDTH)
    by_form = -p.peak * height / WIDTH
    return (
        p.peak * height,
        by_form * (2.0 * p.xx * x + p.xy * y + p.zx * z),
        by_form * (p.xy * x + 2.0 * p.yy * y + p.yz * z),
        by_form * (p.zx * x + p.yz * y + 2.0 * p.zz * z),
        height,
        by_form * x * x,
        by_form * y * y,
        by_form * z * z,
        by_form * x * y,
        by_form * y * z,
        by_form * z * x,
    )


def ceiling(p, x, y, z):
    """The Gaussian of the least radius."""
    return p.peak * exp(-least_radius_squared(p, x, y, z) / WIDTH)


def support(p, least):
    """The form of the Gaussian, and the squared radius at which it is down to ``least``."""
    return p.xx, p.yy, p.zz, p.xy, p.yz, p.zx, WIDTH * math.log(max(p.peak / least, 1.0))


def gaussian(p):
    """The shape as peak and exponent."""
    return p.peak, p.xx / WIDTH, p.yy / WIDTH, p.zz / WIDTH, p.xy / WIDTH, p.yz / WIDTH, p.zx / WIDTH


SPHERE = Spot(8.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
# The form 0.315 (1 + J), where J is all ones; the diagonal of its inverse is 0.75 / 0.315.
SKEW = Spot(8.0, 0.63, 0.63, 0.63, 0.63, 0.63, 0.63, 0.42, 0.42, 0.42)

STAGE = LatticeShape(
    name="gauss",
    summary="Gaussian spots, no fringes between Bragg peaks",
    prepare=prepare,
    function=gauss,
    derivative=derivative,
    varied=("peak", "xx", "yy", "zz", "xy", "yz", "zx"),
    ceiling=ceiling,
    support=support,
    gaussian=gaussian,
    parameters=(experiment_parameter(Crystal, "cells"), FUDGE),
    spec=("LAT-4", "LAT-5", "LAT-7", "LAT-8", "LAT-20"),
    worked_values=(
        WorkedValue(SPHERE, (0.0, 0.0, 0.0), 8.0),
        WorkedValue(SPHERE._replace(xx=0.63, x_least=0.63), (1.0, 0.0, 0.0), 8.0 / math.e),
        WorkedValue(SKEW, (1.0, 1.0, 1.0), 8.0 / math.e**6),
    ),
)


@hookimpl
def lattice_shape() -> list[LatticeShape]:
    return [STAGE]
