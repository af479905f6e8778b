"""Ellipsoidal crystal (LAT-3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.crystal import Crystal
from nbnumba.kernel.math import nearest, not_zero, sinc3_pi, sinc3_pi_slope, working
from nbnumba.plugin import POSITIVE, LatticeShape, Parameter, WorkedValue, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

FUDGE = Parameter("fudge", "", 1.0, "widens (< 1) or narrows (> 1) the spots of round, gauss and tophat crystals", POSITIVE)

# Square root of the volume ratio of a cube and its inscribed sphere's transform at equal width.
PEAK = 0.723601254558268


class Round(NamedTuple):
    """Unit cells along a, b, c; F_latt at a lattice point; fudge."""

    n_a: float
    n_b: float
    n_c: float
    peak: float
    fudge: float


def prepare(experiment: Experiment) -> Round:
    n_a, n_b, n_c = map(float, experiment.cells)
    return Round(n_a, n_b, n_c, PEAK * n_a * n_b * n_c, STAGE.value_of("fudge", experiment.model.parameters))


def radius(p, x, y, z):
    """Distance from the lattice point, each axis scaled by its number of cells."""
    u, v, w = p.n_a * x, p.n_b * y, p.n_c * z
    return np.sqrt((u * u + v * v + w * w) * p.fudge)


def round_(p, x, y, z):
    """The transform of a sphere."""
    return working(p.peak) * sinc3_pi(radius(p, x, y, z))


def derivative(p, x, y, z):
    """The transform, and its derivatives by offsets, cells, peak and fudge."""
    u, v, w = p.n_a * x, p.n_b * y, p.n_c * z
    r = radius(p, x, y, z)
    height = sinc3_pi(r)
    slope = p.peak * sinc3_pi_slope(r)  # by r^2
    twice = 2.0 * slope * p.fudge
    return (
        p.peak * height,
        twice * p.n_a * p.n_a * x,
        twice * p.n_b * p.n_b * y,
        twice * p.n_c * p.n_c * z,
        twice * p.n_a * x * x,
        twice * p.n_b * y * y,
        twice * p.n_c * z * z,
        height,
        slope * (u * u + v * v + w * w),
    )


def sign(p, h, k, l):
    """Of (sin t - t cos t) / t^3, from t = pi radius."""
    t = math.pi * radius(p, h - nearest(h), k - nearest(k), l - nearest(l))
    return -1.0 if np.sin(t) < t * np.cos(t) else 1.0


def ceiling(p, x, y, z):
    """|sin t - t cos t| is at most 1 + t."""
    t = math.pi * radius(p, x, y, z)
    return p.peak * min(1.0, 3.0 * (1.0 + t) / not_zero(t * t * t))


STAGE = LatticeShape(
    name="round",
    summary="ellipsoidal crystal",
    prepare=prepare,
    function=round_,
    derivative=derivative,
    varied=("n_a", "n_b", "n_c", "peak", "fudge"),
    sign=sign,
    ceiling=ceiling,
    parameters=(experiment_parameter(Crystal, "cells"), FUDGE),
    spec=("LAT-3",),
    worked_values=(
        WorkedValue(Round(2.0, 3.0, 4.0, 10.0, 1.0), (0.0, 0.0, 0.0), 10.0),
        # At a radius of 1 / 2 the argument is pi / 2, where sinc3 = 24 / pi^3.
        WorkedValue(Round(2.0, 3.0, 4.0, 10.0, 1.0), (0.25, 0.0, 0.0), 240.0 / math.pi**3),
        WorkedValue(Round(2.0, 3.0, 4.0, 10.0, 4.0), (0.125, 0.0, 0.0), 240.0 / math.pi**3),
    ),
)


@hookimpl
def lattice_shape() -> list[LatticeShape]:
    return [STAGE]
