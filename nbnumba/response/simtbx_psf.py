"""simtbx's point spread (RSP-51), whose kernel is as large for each pixel as a tenth of its noise asks for.

Source: simtbx/nanoBragg/nanoBragg.cpp, apply_psf(); what it does, not how. Photons beyond the radius are spread evenly over the image, and
what falls a column beyond the last is in the first of the next row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.device import compiled_alone

Array = NDArray[np.float64]
GAUSS, FIBRE = 0, 1
G_OF_FIBRE = 0.652383013252053  # of the full width at half maximum
LOST = 0.1  # of a pixel's noise may be beyond the radius
LOG16 = math.log(16.0)


def spread(photons: Array, shape: int, fwhm: float, radius: int = 0) -> Array:
    """An image, [slow, fast], spread by a shape of this width and radius in pixels; radius 0: of each pixel by its photons."""
    if fwhm <= 0.0 or (radius <= 0 and photons.max(initial=0.0) <= 0.0):
        return photons
    most = max(photons.shape)
    largest = radius if radius > 0 else radius_of(photons.max(), shape, fwhm)  # type: ignore[no-untyped-call]
    kernel = kernel_of(shape, fwhm, min(int(largest), most))
    found = np.zeros(photons.size)
    found += scatter(np.ascontiguousarray(photons, np.float64), kernel, shape, fwhm, radius, found) / photons.size
    return found.reshape(photons.shape)


def kernel_of(shape: int, fwhm: float, radius: int) -> Array:
    """Shares of pixels whose middle is within the radius, [slow, fast]."""
    at = np.arange(-radius, radius + 1.0)
    x, y = at[np.newaxis, :], at[:, np.newaxis]
    corners = [sign * of_corner(shape, x + a, y + b, fwhm) for sign, a, b in CORNERS]
    return np.asarray(np.where(x * x + y * y > radius * radius, 0.0, sum(corners)))


CORNERS = ((1.0, 0.5, 0.5), (-1.0, 0.5, -0.5), (-1.0, -0.5, 0.5), (1.0, -0.5, -0.5))


def of_corner(shape: int, x: Array, y: Array, fwhm: float) -> Array:
    """The integral over the rectangle from the middle to a corner."""
    from scipy.special import erf

    if shape == GAUSS:
        root = 2.0 * math.sqrt(math.log(2.0)) / fwhm
        return np.asarray(0.25 * erf(root * x) * erf(root * y))
    g = G_OF_FIBRE * fwhm
    return np.asarray(np.arctan(x * y / (g * np.sqrt(g * g + x * x + y * y))) / (2.0 * math.pi))


def radius_of(photons, shape, fwhm):  # type: ignore[no-untyped-def]
    """Beyond which so many of a pixel's photons are, at the most."""
    lost = LOST * math.sqrt(photons)
    if shape == GAUSS:
        return 1 + math.ceil(math.sqrt(max(-math.log(lost / photons), 0.0) / LOG16) * fwhm)
    return 1 + math.ceil(G_OF_FIBRE * fwhm * (photons / lost))


def lost_of(photons, shape, fwhm, radius):  # type: ignore[no-untyped-def]
    """Photons of a pixel beyond a circle."""
    if shape == GAUSS:
        return photons * math.exp(-LOG16 * (radius / fwhm) ** 2)
    g = G_OF_FIBRE * fwhm
    return photons * g / math.sqrt(g * g + radius * radius)


@compiled_alone(error_model="numpy")
def scatter(photons, kernel, shape, fwhm, given, found):  # type: ignore[no-untyped-def]
    """Add each pixel's photons to those around it; returns how many are lost."""
    slow, fast = photons.shape
    largest, lost = kernel.shape[0] // 2, 0.0
    for y0 in range(slow):
        for x0 in range(fast):
            here = photons[y0, x0]
            if here <= 0.0:
                continue
            radius = min(given if given > 0 else radius_of(here, shape, fwhm), max(slow, fast))  # type: ignore[no-untyped-call]
            lost += lost_of(here, shape, fwhm, radius)  # type: ignore[no-untyped-call]
            for dx in range(max(-radius, -x0), min(radius, fast - x0) + 1):
                for dy in range(max(-radius, -y0), min(radius, slow - y0) + 1):
                    at = (y0 + dy) * fast + x0 + dx
                    if dx * dx + dy * dy <= radius * radius and at < found.size:
                        found[at] += here * kernel[largest + dy, largest + dx]
    return lost
