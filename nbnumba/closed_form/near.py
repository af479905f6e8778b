"""Reflections that come near the Ewald sphere in a turn (CLO-6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbnumba.closed_form.smear import Reflections, Smear, applied, smeared
from nbnumba.experiment.vectors import Array, dot

LEFT_OUT = 1e-7  # of the intensity of a spot
REACH = float(np.sqrt(-2.0 * np.log(LEFT_OUT)))  # standard deviations within which the rest is, of two dimensions


def near_sphere(smear: Smear, longest: float) -> NDArray[np.float64]:
    """Miller indices, (n, 3), of lattice points no longer than ``longest`` (1/m) that any part of reaches the sphere."""
    most = np.floor(longest * np.linalg.norm(np.linalg.inv(smear.reciprocal), axis=0)).astype(int)  # |h| <= |a| |r|
    k, l = (plane.ravel() for plane in np.meshgrid(*(np.arange(-n, n + 1.0) for n in most[1:]), indexing="ij"))
    in_plane = k[:, np.newaxis] * smear.reciprocal[1] + l[:, np.newaxis] * smear.reciprocal[2]
    widths = tuple(float(np.sqrt(np.linalg.eigvalsh(v).max())) for v in (smear.block, smear.turns, smear.beam))
    planes = []
    for h in range(-most[0], most[0] + 1):
        near = may_reach(smear, widths, in_plane + h * smear.reciprocal[0], longest)
        planes.append(np.stack([np.full(int(near.sum()), float(h)), k[near], l[near]], axis=1))
    hkl = np.concatenate(planes)
    return hkl[reaches(smear, smeared(smear, hkl))]


def may_reach(smear: Smear, widths: tuple[float, ...], points: Array, longest: float) -> NDArray[np.bool_]:
    """The same by a bound that takes a few products for each, near enough to the sphere."""
    squared = dot(points, points)
    length = np.sqrt(squared)
    outside = points @ smear.incident + 0.5 * smear.wavelength * squared
    block, turns, beam = widths
    width = REACH * (block + beam + (turns + smear.bandwidth) * length) + 0.5 * smear.width * length
    return np.asarray((np.abs(outside) <= width + 0.5 * smear.wavelength * width**2) & (length <= longest))


def reaches(smear: Smear, reflections: Reflections) -> NDArray[np.bool_]:
    """The same exactly, to first order."""
    out = smear.incident / smear.wavelength + reflections.points
    length = np.sqrt(dot(out, out))
    out /= length[:, np.newaxis]
    spread = np.sqrt(dot(out, applied(reflections.smeared, out)))
    turned = 0.5 * smear.width * np.abs(dot(out, reflections.moved))
    return np.asarray(np.abs(length - 1.0 / smear.wavelength) <= REACH * spread + turned)
