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
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


class Round(NamedTuple):
    """Unit cells along a, b, c; F_latt at a lattice point; fudge."""

    n_a: float
    n_b: float
    n_c: float
    peak: float
    fudge: float


def prepare(experiment: Experiment) -> Round:
    (n_a, n_b, n_c), fudge = map(float, experiment.cells), STAGE.value_of("fudge", experiment.model.parameters)
    # PEAK makes the square integrate to the number of cells over all space, without a fudge (LAT-20).
    edges = 0.5 * math.sqrt(fudge) * np.array(experiment.cells)
    of_a_mosaic = fudge**0.75 / math.sqrt(1.0 - outside_box(edges)) if experiment.crystal.extent else 1.0
    return Round(n_a, n_b, n_c, PEAK * n_a * n_b * n_c * of_a_mosaic, fudge)


def outside_box(edges: np.ndarray) -> float:
    """The part of the squared transform of a sphere that lies outside a box of these half edges, in units of the radius.

    By the divergence of r g(|r|) / |r|^3, where g(R) is the integral of s^2 sinc3(pi s)^2 from R on, it is the flux through the faces.
    """
    total = 0.0
    for n, edge in enumerate(edges):
        u, v = np.meshgrid(*(0.5 * other * (NODES + 1.0) for other in np.delete(edges, n)))
        r = np.sqrt(edge * edge + u * u + v * v)
        # Two faces of four quarters.
        total += 8.0 * edge * float(WEIGHTS @ (beyond(math.pi * r) / r**3) @ WEIGHTS) * np.delete(edges, n).prod() / 4.0
    return math.pi / 6.0 * total


def beyond(t: np.ndarray) -> np.ndarray:
    """The integral of s^2 sinc3(pi s)^2 from s = t / pi on."""
    from scipy.special import sici

    sine_integral, _ = sici(2.0 * t)
    within = np.sin(2.0 * t) / (3.0 * t**2) - np.sin(t) ** 2 / (3.0 * t**3) - 0.5 / t + np.cos(2.0 * t) / (6.0 * t) + sine_integral / 3.0
    return np.asarray(9.0 / math.pi**3 * (math.pi / 6.0 - within))


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
    spec=("LAT-3", "LAT-20"),
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
