"""Absorption by the crystal, averaged over where in it a photon is scattered (FAC-71)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.crystal import Crystal
from nbnumba.plugin import POSITIVE, Factor, Parameter, WorkedValue, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

EDGE = 384  # cells of the table along an axis; a diagonal of nodes is where rays turn back
GAUSS = np.polynomial.legendre.leggauss(12)


class Absorption(NamedTuple):
    """transmission: by octahedral coordinates of a ray; the beam, and the two directions across it that the crystal's edges have."""

    transmission: np.ndarray
    wavelength: float
    ix: float
    iy: float
    iz: float
    ux: float
    uy: float
    uz: float
    vx: float
    vy: float
    vz: float


def prepare(experiment: Experiment) -> Absorption:
    lengths = experiment.unit_cell.lengths_and_angles
    edges = experiment.illuminated or [n * edge for n, edge in zip(experiment.cells, lengths, strict=False)]
    coefficient = ABSORPTION.value_of("crystal_absorption", experiment.model.parameters)
    i = np.array(experiment.axes["incident"])
    across = np.cross(experiment.axes["polarization"], i)
    v = across / np.linalg.norm(across)
    table = table_of(coefficient * edges[0], coefficient * edges[1], coefficient * edges[2], EDGE)
    return Absorption(table, experiment.beam.wavelength, *map(float, (*i, *np.cross(i, v), *v)))


@lru_cache(maxsize=8)
def table_of(a: float, b: float, c: float, edge: int) -> np.ndarray:
    """Transmission of a box with these edges in attenuation lengths, along the beam and across it, at the nodes of a table."""
    u, v = np.meshgrid(np.arange(edge + 1) / edge, np.arange(edge + 1) / edge, indexing="ij")
    back = u + v > 1.0
    x, y, z = 1.0 - u - v, np.where(back, 1.0 - v, u), np.where(back, 1.0 - u, v)
    length = np.sqrt(x * x + y * y + z * z)
    return transmission(a, b, c, x / length, y / length, z / length)


def transmission(a: float, b: float, c: float, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The mean over a box of exp(-(way in + way out)), for rays (x, y, z) with y, z >= 0; the beam goes along x.

    With the beam's depth t the way out is the least of (a - t) / x, or t / -x, Y / y and Z / z, Y and Z even between 0 and b, c: it is
    longer than s with the probability (1 - s y / b)(1 - s z / c), which makes the mean over both 1 - integral of exp(-s) times that.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        end = np.minimum(b / y, c / z)  # where none is longer
        bend = np.where(x > 0.0, a - end * x, -end * x)  # the depth at which the way along the beam is as long
    bend = np.clip(np.nan_to_num(bend, nan=0.0, posinf=a, neginf=0.0), 0.0, a)
    total = np.zeros(x.shape)
    for low, high in ((np.zeros(x.shape), bend), (bend, np.full(x.shape, a))):
        for node, weight in zip(*GAUSS, strict=True):
            t = 0.5 * (low + high) + 0.5 * (high - low) * node
            with np.errstate(divide="ignore", invalid="ignore"):
                along = np.where(x > 0.0, (a - t) / x, np.where(x < 0.0, t / -x, np.inf))
            total += weight * 0.5 * (high - low) * np.exp(-t) * left(np.minimum(along, end), y / b, z / c)
    return np.asarray(total / a)


def left(s: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """1 - the integral from 0 to s of exp(-r) (1 - p r)(1 - q r) dr, in closed form."""
    e = np.exp(-s)
    first = -np.expm1(-s)
    second = first - s * e
    third = 2.0 * second - s * s * e
    return np.asarray(1.0 - first + (p + q) * second - p * q * third)


def absorption(p, ix, iy, iz, dx, dy, dz, wavelength):
    """The table's entry for a ray, between its nodes; at other wavelengths to the power of (wavelength ratio)^3, as absorption grows."""
    x = p.ix * dx + p.iy * dy + p.iz * dz
    y, z = abs(p.ux * dx + p.uy * dy + p.uz * dz), abs(p.vx * dx + p.vy * dy + p.vz * dz)
    size = abs(x) + y + z
    u, v = y / size, z / size
    if x < 0.0:
        u, v = 1.0 - v, 1.0 - u
    edge = p.transmission.shape[0] - 1
    m, n = min(int(u * edge), edge - 1), min(int(v * edge), edge - 1)
    f, g = u * edge - m, v * edge - n
    one, other = p.transmission[m + 1, n], p.transmission[m, n + 1]
    if f + g <= 1.0:  # in that triangle of the cell, since a diagonal is where rays turn back
        corner = p.transmission[m, n]
        found = corner + f * (one - corner) + g * (other - corner)
    else:
        corner = p.transmission[m + 1, n + 1]
        found = corner + (1.0 - f) * (other - corner) + (1.0 - g) * (one - corner)
    ratio = wavelength / p.wavelength
    if ratio == 1.0:
        return found
    return found ** (ratio * ratio * ratio)


def cube(a: float) -> Absorption:
    """A cube whose edge is so many attenuation lengths, for rays along its edges."""
    return Absorption(table_of(a, a, a, 4), 1e-10, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


FORWARD = (1.0, 0.0, 0.0)

ABSORPTION = Factor(
    name="absorption",
    summary="absorption by the crystal (--crystal-size), averaged over where in it a photon is scattered",
    prepare=prepare,
    function=absorption,
    of_crystal_alone=True,
    parameters=(
        experiment_parameter(Crystal, "extent"),
        Parameter("crystal_absorption", "1/m", 300.0, "absorption coefficient of the crystal at the beam's wavelength", POSITIVE),
    ),
    spec=("FAC-71",),
    worked_values=(
        # Straight on, every way is as long as the cube's edge; to the side, the mean of exp(-t - Y) is that of exp(-t), squared.
        WorkedValue(cube(0.5), (*FORWARD, *FORWARD, 1e-10), math.exp(-0.5)),
        WorkedValue(cube(0.5), (*FORWARD, 0.0, 1.0, 0.0, 1e-10), (2.0 * (1.0 - math.exp(-0.5))) ** 2),
        # Straight back, ways are twice the depth.
        WorkedValue(cube(0.5), (*FORWARD, -1.0, 0.0, 0.0, 1e-10), 1.0 - math.exp(-1.0)),
        WorkedValue(cube(0.5), (*FORWARD, *FORWARD, 2e-10), math.exp(-4.0)),
    ),
)


@hookimpl
def factor() -> list[Factor]:
    return [ABSORPTION]
