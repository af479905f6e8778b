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
    product = np.empty(u.shape if u.shape == v.shape else np.broadcast_shapes(u.shape, v.shape))
    product[..., 0], product[..., 1], product[..., 2] = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return product


def rotate_xyz(v: Array, angles: Sequence[float]) -> Array:
    """Rotate v (..., 3) about x, then y, then z by the angles in rad (EXP-8)."""
    (cx, cy, cz), (sx, sy, sz) = ([f(angle) for angle in angles] for f in (math.cos, math.sin))
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    y, z = y * cx - z * sx, y * sx + z * cx
    x, z = x * cy + z * sy, z * cy - x * sy
    x, y = x * cz - y * sz, x * sz + y * cz
    return np.stack([x, y, z], axis=-1)


def rotate_about(v: Array, axis: Array, angle: float) -> Array:
    """Rotate v (..., 3) about an axis, meant to be of unit length, by an angle in rad, right-handed (Rodrigues' formula, ROT-1)."""
    c, s = math.cos(angle), math.sin(angle)
    along = dot(v, axis)[..., np.newaxis] * (1.0 - c)
    return np.asarray(axis * along + v * c + cross(axis, v) * s)


def rotate_each(v: Array, axis: Array, angles: Array) -> Array:
    """The same by every one of the angles (n,): (n, ..., 3)."""
    c, s = (np.array([f(angle) for angle in angles]).reshape(-1, *[1] * v.ndim) for f in (math.cos, math.sin))
    return np.asarray(axis * dot(v, axis)[..., np.newaxis] * (1.0 - c) + v * c + cross(axis, v) * s)
