"""Rotations and products of 3-vectors, as NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def length(v: Sequence[float] | Array) -> float:
    return math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])


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
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(v @ about_x.T @ about_y.T @ about_z.T)


def rotate_about(v: Array, axis: Array, angle: float) -> Array:
    """Rotate v (..., 3) about an axis, meant to be of unit length, by an angle in rad, right-handed (Rodrigues' formula, ROT-1)."""
    c, s = math.cos(angle), math.sin(angle)
    along = (v @ axis)[..., np.newaxis] * (1.0 - c)
    return axis * along + v * c + cross(axis, v) * s


def rotate_each(v: Array, axis: Array, angles: Array) -> Array:
    """The same by every one of the angles (n,): (n, ..., 3)."""
    c, s = (f(angles).reshape(-1, *[1] * v.ndim) for f in (np.cos, np.sin))
    return np.asarray(axis * (v @ axis)[..., np.newaxis] * (1.0 - c) + v * c + cross(axis, v) * s)
