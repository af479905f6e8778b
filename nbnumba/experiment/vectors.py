"""Rotations and products of 3-vectors, as NumPy arrays.

Sums have one order and no library of linear algebra in them: what such a library gives, and NumPy's sine, differs in the last
digit from processor to processor, and far from a lattice point an image shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def length(v: Sequence[float] | Array) -> float:
    return math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])


def dot(u: Array, v: Array) -> Any:
    """The scalar product of u and v (..., 3)."""
    return u[..., 0] * v[..., 0] + u[..., 1] * v[..., 1] + u[..., 2] * v[..., 2]


def unit(v: Sequence[float] | Array) -> Array:
    """v divided by its length; a zero vector stays zero."""
    array = np.asarray(v, dtype=np.float64)
    array = np.ldexp(array, -math.frexp(float(np.abs(array).max()))[1])  # so that squares neither overflow nor vanish
    return array / (length(array) or 1.0)


def cross(u: Array, v: Array) -> Array:
    """The vector product of u and v (..., 3), without the overhead of NumPy's for a single pair."""
    ux, uy, uz = u[..., 0], u[..., 1], u[..., 2]
    vx, vy, vz = v[..., 0], v[..., 1], v[..., 2]
    product = np.empty(np.broadcast_shapes(u.shape, v.shape))
    product[..., 0], product[..., 1], product[..., 2] = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return product


def rotate_xyz(v: Array, angles: Sequence[float]) -> Array:
    """Rotate v (..., 3) about x, then y, then z by the angles in rad (EXP-8)."""
    (cx, cy, cz), (sx, sy, sz) = ([f(angle) for angle in angles] for f in (math.cos, math.sin))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    for about in (about_x, about_y, about_z):
        v = np.stack([dot(v, row) for row in about], axis=-1)
    return v


def rotate_about(v: Array, axis: Array, angle: float) -> Array:
    """Rotate v (..., 3) about an axis, meant to be of unit length, by an angle in rad, right-handed (Rodrigues' formula, ROT-1)."""
    c, s = math.cos(angle), math.sin(angle)
    along = dot(v, axis)[..., np.newaxis] * (1.0 - c)
    return np.asarray(axis * along + v * c + cross(axis, v) * s)


def rotate_each(v: Array, axis: Array, angles: Array) -> Array:
    """The same by every one of the angles (n,): (n, ..., 3)."""
    c, s = (np.array([f(angle) for angle in angles]).reshape(-1, *[1] * v.ndim) for f in (math.cos, math.sin))
    return np.asarray(axis * dot(v, axis)[..., np.newaxis] * (1.0 - c) + v * c + cross(axis, v) * s)
