"""Orientations spread evenly over phi and mosaic domains together, so that few of them go far (ROT-20 to ROT-22).

The additive lattice of three dimensions is M. Roberts' ("The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.unit_cell import counter_deviates
from nbnumba.experiment.vectors import Array, cross, dot, rotate_each
from nbnumba.plugin import Rotation, WorkedValue, hookimpl
from nbnumba_plugins.rotation_spec import PARAMETERS, spec

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

GROWTH = 1.2207440846057596  # the root of x^4 = x + 1
LATTICE = np.array([GROWTH**-1, GROWTH**-2, GROWTH**-3])
SHIFT = 2**64 - 2  # stands in Philox's key beside the seed


class Even(NamedTuple):
    """axes: (phi_steps, domains, 3, 3), rows a, b, c in m; phi: (phi_steps, domains) rad, the spindle angle of each."""

    axes: np.ndarray
    phi_steps: int
    phi: np.ndarray


def prepare_cap(experiment: Experiment) -> Even:
    return prepare(experiment, cap_angle)


def prepare_gaussian(experiment: Experiment) -> Even:
    return prepare(experiment, normal_angle)


def prepare(experiment: Experiment, angle: Callable[[Array], Array]) -> Even:
    """angle: of a domain in units of the mosaic spread, from numbers that are uniform in (0, 1)."""
    spread, domains = experiment.mosaic
    phi = spindle_angles(experiment, domains)
    turned = rotate_each(experiment.unit_cell.direct, experiment.axes["spindle"], phi.ravel())
    if domains > 1:
        axis, angles = mosaic_turns(phi.size, experiment.crystal.mosaic_seed, angle)
        turned = turned_by(turned, axis, spread * angles)
    return Even(axes=turned.reshape(*phi.shape, 3, 3), phi_steps=len(phi), phi=phi)


def spindle_angles(experiment: Experiment, domains: int) -> Array:
    """At the middle of equal parts of every phi step, one for each domain, (phi_steps, domains) (ROT-20)."""
    return experiment.phi[:, np.newaxis] + experiment.goniometer.scan.step * (np.arange(domains) + 0.5) / domains


@lru_cache(maxsize=8)  # a series of images has the same domains, and its derivatives
def mosaic_turns(number: int, seed: int, angle: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Axis and angle of every domain, (number, 3) and (number,), the angle in units of the mosaic spread (ROT-21)."""
    x = in_ball(number, seed)
    distance = np.sqrt(dot(x, x))
    return x / distance[:, np.newaxis], angle(distance**3)


def in_ball(number: int, seed: int) -> Array:
    """The first points of the shifted lattice that a ball of radius 1 holds, (number, 3): a map of the cube would bend the lattice."""
    tried = np.arange(2 * number + 100)  # of which it holds pi / 6
    x = 2.0 * np.fmod(counter_deviates(seed, SHIFT) + tried[:, np.newaxis] * LATTICE, 1.0) - 1.0
    return np.asarray(x[dot(x, x) < 1.0][:number])


def cap_angle(v: Array) -> Array:
    """As ROT-8 has it, with r = 1 - v."""
    return np.cbrt(v * (2.0 - v))


def normal_angle(v: Array) -> Array:
    """As ROT-9 has it: of random axes, either sign is as likely."""
    from scipy.special import ndtri

    return np.asarray(ndtri(0.5 * (1.0 + v)))


def turned_by(v: Array, axis: Array, angle: Array) -> Array:
    """Vectors (n, 3, 3), of which each row is turned about an axis (n, 3) by an angle (n,) in rad (Rodrigues)."""
    axis = np.broadcast_to(axis[:, np.newaxis], v.shape)
    c, s = (np.array([f(a) for a in angle])[:, np.newaxis, np.newaxis] for f in (math.cos, math.sin))
    return np.asarray(axis * dot(v, axis)[..., np.newaxis] * (1.0 - c) + v * c + cross(axis, v) * s)


EVEN = Rotation(
    name="even",
    summary="spread evenly over every phi step and the mosaic cap together, with domains of its own at each step",
    prepare=prepare_cap,
    function=spec,
    parameters=PARAMETERS,
    spec=("ROT-20", "ROT-21"),
    worked_values=(WorkedValue(parameters=Even(np.zeros((3, 1, 3, 3)), 3, np.zeros((3, 1))), arguments=(2, 1), result=2),),
)

GAUSSIAN = Rotation(
    name="even-gaussian",
    summary="the same with domains about random axes by normally distributed angles",
    prepare=prepare_gaussian,
    function=spec,
    parameters=PARAMETERS,
    spec=("ROT-22",),
    worked_values=(WorkedValue(parameters=Even(np.zeros((3, 1, 3, 3)), 3, np.zeros((3, 1))), arguments=(1, 0), result=1),),
)


@hookimpl
def rotation() -> list[Rotation]:
    return [EVEN, GAUSSIAN]
