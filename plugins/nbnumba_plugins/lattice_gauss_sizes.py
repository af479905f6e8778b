"""Gaussian spots of mosaic blocks that are not all of one size (LAT-21)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.crystal import Crystal
from nbnumba.plugin import LatticeShape, Limits, Parameter, WorkedValue, exp, experiment_parameter, hookimpl, working
from nbnumba_plugins.lattice_gauss import WIDTH
from nbnumba_plugins.lattice_round import FUDGE

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SIZES = 5  # within 3e-3 of the peak for the widest distribution, 2e-5 for one half as wide
SPREAD = Parameter("block_spread", "", 0.3, "standard deviation of the volumes of blocks over their mean", Limits(0.0, 1.0))
TINY = 1e-300  # keeps the slope of a root at 0 finite


class Sizes(NamedTuple):
    """Cells along a, b, c of the mean block; F_latt^2 / peak^2 is the sum of height exp(-narrow rho^2), rho the offset in mean blocks."""

    n_a: float
    n_b: float
    n_c: float
    peak: float
    height_1: float
    height_2: float
    height_3: float
    height_4: float
    height_5: float
    narrow_1: float
    narrow_2: float
    narrow_3: float
    narrow_4: float
    narrow_5: float


def volumes(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Volumes of blocks over their mean, and the numbers of such blocks: of a log-normal distribution at the nodes of Gauss and Hermite."""
    node, weight = np.polynomial.hermite_e.hermegauss(SIZES)
    volume = np.exp(math.sqrt(math.log1p(spread * spread)) * node)
    number = weight / weight.sum()
    return volume / (number @ volume), number


def prepare(experiment: Experiment) -> Sizes:
    given, cells = experiment.model.parameters, list(map(float, experiment.cells))
    volume, number = volumes(STAGE.value_of("block_spread", given))
    height = number * volume**2
    narrow = 2.0 / WIDTH * STAGE.value_of("fudge", given) * np.cbrt(volume) ** 2
    peak = math.prod(cells)
    if experiment.crystal.extent:  # LAT-20
        peak /= math.sqrt(height @ (math.pi / narrow) ** 1.5)
    return Sizes._make((*cells, peak, *height.tolist(), *narrow.tolist()))


def rho_squared(p, x, y, z):
    """Squared offset, each axis scaled by its number of cells."""
    u, v, w = working(p.n_a) * x, working(p.n_b) * y, working(p.n_c) * z
    return u * u + v * v + w * w


def gauss_sizes(p, x, y, z):
    """The root of the mean square over sizes."""
    r = -rho_squared(p, working(x), working(y), working(z))
    total = working(p.height_1) * exp(working(p.narrow_1) * r) + working(p.height_2) * exp(working(p.narrow_2) * r)
    total += working(p.height_3) * exp(working(p.narrow_3) * r) + working(p.height_4) * exp(working(p.narrow_4) * r)
    return working(p.peak) * np.sqrt(total + working(p.height_5) * exp(working(p.narrow_5) * r))


def derivative(p, x, y, z):
    """The root, and its derivatives by offsets, cells, peak, heights and widths."""
    r = rho_squared(p, x, y, z)
    e_1, e_2, e_3 = exp(-p.narrow_1 * r), exp(-p.narrow_2 * r), exp(-p.narrow_3 * r)
    e_4, e_5 = exp(-p.narrow_4 * r), exp(-p.narrow_5 * r)
    h_1, h_2, h_3, h_4, h_5 = p.height_1 * e_1, p.height_2 * e_2, p.height_3 * e_3, p.height_4 * e_4, p.height_5 * e_5
    root = np.sqrt(h_1 + h_2 + h_3 + h_4 + h_5)
    half = 0.5 * p.peak / np.sqrt(h_1 + h_2 + h_3 + h_4 + h_5 + TINY)
    slope = -2.0 * half * (p.narrow_1 * h_1 + p.narrow_2 * h_2 + p.narrow_3 * h_3 + p.narrow_4 * h_4 + p.narrow_5 * h_5)
    a, b, c = slope * p.n_a * x, slope * p.n_b * y, slope * p.n_c * z
    return (
        p.peak * root,
        a * p.n_a,
        b * p.n_b,
        c * p.n_c,
        a * x,
        b * y,
        c * z,
        root,
        half * e_1,
        half * e_2,
        half * e_3,
        half * e_4,
        half * e_5,
        -half * r * h_1,
        -half * r * h_2,
        -half * r * h_3,
        -half * r * h_4,
        -half * r * h_5,
    )


def ceiling(p, x, y, z):
    """It falls with every offset."""
    r = -rho_squared(p, x, y, z)
    total = p.height_1 * exp(p.narrow_1 * r) + p.height_2 * exp(p.narrow_2 * r) + p.height_3 * exp(p.narrow_3 * r)
    return p.peak * np.sqrt(total + p.height_4 * exp(p.narrow_4 * r) + p.height_5 * exp(p.narrow_5 * r))


def support(p, least):
    """The sphere of mean blocks in which the Gaussian of the smallest, if all were like it, is above ``least``."""
    heights, narrow = p[4 : 4 + SIZES], p[4 + SIZES :]
    radius_squared = math.log(max(p.peak**2 * sum(heights) / least**2, 1.0)) / min(narrow)
    return p.n_a**2, p.n_b**2, p.n_c**2, 0.0, 0.0, 0.0, radius_squared


ALIKE = Sizes(2.0, 3.0, 4.0, 8.0, 0.2, 0.2, 0.2, 0.2, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0)

STAGE = LatticeShape(
    name="gauss-sizes",
    summary="Gaussian spots of blocks whose volumes have a log-normal distribution",
    prepare=prepare,
    function=gauss_sizes,
    derivative=derivative,
    varied=Sizes._fields,
    ceiling=ceiling,
    support=support,
    parameters=(experiment_parameter(Crystal, "cells"), FUDGE, SPREAD),
    spec=("LAT-8", "LAT-20", "LAT-21"),
    worked_values=(
        WorkedValue(ALIKE, (0.0, 0.0, 0.0), 8.0),
        WorkedValue(ALIKE, (0.5, 0.0, 0.0), 8.0 / math.sqrt(math.e)),
        WorkedValue(
            ALIKE._replace(height_1=1.0, narrow_1=2.0), (0.0, 1.0 / 3.0, 0.0), 8.0 * math.sqrt(math.exp(-2.0) + 0.8 * math.exp(-1.0))
        ),
    ),
)


@hookimpl
def lattice_shape() -> list[LatticeShape]:
    return [STAGE]
