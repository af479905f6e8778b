"""Parallelepiped crystal: the interference function of Na x Nb x Nc unit cells (LAT-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.crystal import Crystal
from nbnumba.kernel.math import cosine_series, distance_to_nearest, multiple, not_zero, ratio, sin_pi, sinc_series
from nbnumba.plugin import LatticeShape, WorkedValue, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


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


def interference(n, x, sinc_x):
    """For sin(pi N x) / sin(pi x), over its denominator pi x sinc: the numerator, its product with the slope's, and x cos(pi N x).

    Cosines are sincs and what they lack, so that nothing cancels near a lattice point.
    """
    whole = np.rint(n * x)
    t = n * x - whole
    u, v = t * t, x * x
    sinc_t, lack = sinc_series(u), u * cosine_series(u)
    cosine = sinc_t + lack
    return t * sinc_t, sinc_x * (whole * cosine + t * lack) - t * sinc_t * (v * cosine_series(v)), x * cosine


def derivative(p, x, y, z):
    """The product, and its derivatives by offsets and cells, from numerators and one division for the three axes."""
    x, y, z = not_zero(x), not_zero(y), not_zero(z)
    sinc_x, sinc_y, sinc_z = sinc_series(x * x), sinc_series(y * y), sinc_series(z * z)
    s_x, s_y, s_z = x * sinc_x, y * sinc_y, z * sinc_z  # sin(pi x) / pi
    yz, zx, xy = s_y * s_z, s_z * s_x, s_x * s_y
    inverse = 1.0 / (s_x * yz)
    a, a_x, a_n = interference(p.n_a, x, sinc_x)
    b, b_y, b_n = interference(p.n_b, y, sinc_y)
    c, c_z, c_n = interference(p.n_c, z, sinc_z)
    bc, ca, ab = b * (c * inverse), c * (a * inverse), a * (b * inverse)
    return a * bc, bc * (yz * inverse) * a_x, ca * (zx * inverse) * b_y, ab * (xy * inverse) * c_z, bc * a_n, ca * b_n, ab * c_n


def sign(p, h, k, l):
    """Of sin(pi N h) / sin(pi h), multiplied over the three axes."""
    half_waves = np.floor(p.n_a * h) + np.floor(h) + np.floor(p.n_b * k) + np.floor(k) + np.floor(p.n_c * l) + np.floor(l)
    return 1.0 - 2.0 * (half_waves % 2.0)


def ceiling(p, x, y, z):
    """No fringe is higher than 1 / sin(pi x), or than the peak."""
    return min(p.n_a, 1.0 / sin_pi(not_zero(x))) * min(p.n_b, 1.0 / sin_pi(not_zero(y))) * min(p.n_c, 1.0 / sin_pi(not_zero(z)))


STAGE = LatticeShape(
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
def lattice_shape() -> list[LatticeShape]:
    return [STAGE]
