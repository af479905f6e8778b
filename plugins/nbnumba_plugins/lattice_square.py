"""Parallelepiped crystal: the interference function of Na x Nb x Nc unit cells (LAT-1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.crystal import Crystal
from nbnumba.kernel.math import cos_pi, distance_to_nearest, multiple, not_zero, ratio, sin_pi
from nbnumba.stages.stage import experiment_parameter

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


NEAR = 1e-4  # (pi N x)^2 within which the series of the slope is taken


class Square(NamedTuple):
    """Unit cells along a, b, c."""

    n_a: float
    n_b: float
    n_c: float


def prepare(experiment: Experiment) -> Square:
    return Square(*map(float, experiment.cells))


def square(p, x, y, z):
    """sin(pi N x) / sin(pi x), multiplied over the three axes, up to its sign."""
    n_x, n_y, n_z = multiple(p.n_a, x), multiple(p.n_b, y), multiple(p.n_c, z)
    fringes = sin_pi(distance_to_nearest(n_x)) * sin_pi(distance_to_nearest(n_y)) * sin_pi(distance_to_nearest(n_z))
    return ratio(fringes, sin_pi(not_zero(x)) * sin_pi(not_zero(y)) * sin_pi(not_zero(z)))


def interference(n, x, inverse):
    """sin(pi N x) / sin(pi x) up to its sign, and its derivatives by x and N; inverse: of sin(pi x), with x not 0."""
    turns = distance_to_nearest(multiple(n, x))
    f, c_n = sin_pi(turns) * inverse, cos_pi(turns) * inverse
    # Near a lattice point the difference of the two terms is what rounding leaves of them: the series to relative (pi N x)^4 / 160.
    u, n_squared = math.pi * math.pi * x * x, n * n
    near = f * x * (math.pi * math.pi / -3.0) * (n_squared - 1.0) * (1.0 + u * (n_squared + 1.0) * (1.0 / 15.0))
    slope = near if u * n_squared < NEAR else math.pi * (n * c_n - f * cos_pi(x) * inverse)
    return f, slope, math.pi * not_zero(x) * c_n


def derivative(p, x, y, z, g):
    """The product's derivatives by offsets and cells, times g."""
    s_x, s_y, s_z = sin_pi(not_zero(x)), sin_pi(not_zero(y)), sin_pi(not_zero(z))
    inverse = 1.0 / (s_x * s_y * s_z)  # one division for three
    a, by_x, by_n_a = interference(p.n_a, x, inverse * s_y * s_z)
    b, by_y, by_n_b = interference(p.n_b, y, inverse * s_z * s_x)
    c, by_z, by_n_c = interference(p.n_c, z, inverse * s_x * s_y)
    bc, ca, ab = g * b * c, g * c * a, g * a * b
    return bc * by_x, ca * by_y, ab * by_z, bc * by_n_a, ca * by_n_b, ab * by_n_c


def sign(p, h, k, l):
    """Of sin(pi N h) / sin(pi h), multiplied over the three axes."""
    half_waves = np.floor(p.n_a * h) + np.floor(h) + np.floor(p.n_b * k) + np.floor(k) + np.floor(p.n_c * l) + np.floor(l)
    return 1.0 - 2.0 * (half_waves % 2.0)


def ceiling(p, x, y, z):
    """No fringe is higher than 1 / sin(pi x), or than the peak."""
    return min(p.n_a, 1.0 / sin_pi(not_zero(x))) * min(p.n_b, 1.0 / sin_pi(not_zero(y))) * min(p.n_c, 1.0 / sin_pi(not_zero(z)))


STAGE = Stage(
    kind="lattice_shape",
    name="square",
    summary="parallelepiped crystal, with the fringes between Bragg peaks",
    prepare=prepare,
    function=square,
    derivative=derivative,
    varied=("n_a", "n_b", "n_c"),
    sign=sign,
    ceiling=ceiling,
    parameters=(experiment_parameter(Crystal, "cells"),),
    spec=("LAT-1", "LAT-2"),
    worked_values=(
        WorkedValue(Square(5.0, 7.0, 9.0), (0.0, 0.0, 0.0), 315.0),
        WorkedValue(Square(2.0, 1.0, 1.0), (1.0 / 3.0, 0.2, 0.4), 1.0),
        WorkedValue(Square(3.0, 1.0, 1.0), (0.25, 0.0, 0.0), 1.0),
        WorkedValue(
            Square(36.0, 47.0, 29.0),
            (0.1204793975499, 0.392744160423308, 0.233701474531),
            2.38319665299058,
            tolerance=1e-9,
        ),
    ),
)


@hookimpl
def lattice_shape() -> list[Stage]:
    return [STAGE]
