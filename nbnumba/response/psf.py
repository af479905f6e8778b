"""How the light of a pixel's photons spreads over its neighbours: kernels, integrated over pixels, and images that are spread (RSP-32)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.device import compiled_alone

Array = NDArray[np.float64]
FIBRE = 0.5 / math.sqrt(2.0 ** (2.0 / 3.0) - 1.0)  # g of (r^2 + g^2)^(-3/2) over its full width at half maximum
GAUSS = 2.0 * math.sqrt(math.log(2.0))  # x / fwhm times this is the argument of erf
DIRECT = 25  # elements of a kernel up to which adding them up is faster than Fourier transforms


@lru_cache(8)
def gauss_profile(fwhm: float, lost: float, most: int) -> Array:
    """Shares of the pixels in a row that a Gaussian of this fwhm (pixels) gives to, as far as all but ``lost`` goes, which sum to 1.

    The spread is the product of two profiles, one along each axis. most: pixels to either side.
    """
    from scipy.special import erf, erfinv

    radius = min(max(1, math.ceil(float(erfinv(math.sqrt(1.0 - lost))) * fwhm / GAUSS - 0.5)), most)
    return normalised(np.diff(erf((np.arange(2 * radius + 2) - radius - 0.5) * GAUSS / fwhm)))


@lru_cache(8)
def fibre_kernel(fwhm: float, lost: float, most: int) -> Array:
    """Shares of the pixels, [slow, fast], that a taper of fibres gives to: g / 2 pi (r^2 + g^2)^(-3/2) integrated over each.

    Over the square of half edge h it is 2 / pi atan(h^2 / (g sqrt(g^2 + 2 h^2))).
    Source: Holton, Nielsen, Frankel (2012) J. Synchrotron Rad. 19, 1006, doi:10.1107/S0909049512035571.
    """
    g = FIBRE * fwhm
    t = (g * math.tan(0.5 * math.pi * (1.0 - lost))) ** 2
    half_edge = math.sqrt(t + math.sqrt(t * (t + g * g)))  # where all but ``lost`` is within
    radius = min(max(1, math.ceil(half_edge - 0.5)), most)
    edges = np.arange(2 * radius + 2) - radius - 0.5
    x, y = edges, edges[:, np.newaxis]
    return normalised(np.diff(np.diff(np.arctan(x * y / (g * np.sqrt(g * g + x * x + y * y))), axis=0), axis=1))


def normalised(shares: Array) -> Array:
    """What is beyond the radius goes to all pixels within, so that no photon is lost."""
    return shares / math.fsum(shares.flat)


def along_both(values: Array, profile: Array) -> Array:
    """An image spread by the product of two profiles, one along each axis; what is spread over its edges is lost."""
    spread = np.empty(values.shape)
    convolve(np.ascontiguousarray(values, np.float64), profile, spread)
    return spread


@compiled_alone(error_model="numpy", nogil=True)
def convolve(values, profile, spread):  # type: ignore[no-untyped-def]
    """Rows are added up first, into one with a margin of nothing to both sides."""
    slow, fast = values.shape
    radius = profile.size // 2
    row = np.zeros(fast + 2 * radius)
    for s in range(slow):
        row[radius : radius + fast] = 0.0
        for k in range(max(-radius, -s), min(radius, slow - 1 - s) + 1):
            share = profile[radius + k]
            for f in range(fast):
                row[radius + f] += share * values[s + k, f]
        for f in range(fast):
            spread[s, f] = 0.0
        for k in range(2 * radius + 1):
            for f in range(fast):
                spread[s, f] += profile[k] * row[f + k]


def over_neighbours(values: Array, kernel: Array) -> Array:
    """An image spread by a kernel with its middle at a pixel; what is spread over its edges is lost."""
    if kernel.size <= DIRECT:
        from scipy.ndimage import convolve as directly

        return np.asarray(directly(values, kernel, mode="constant"))
    return by_transforms(values, kernel)


def by_transforms(values: Array, kernel: Array) -> Array:
    """The same by Fourier transforms, along rows only of those that the image has."""
    from scipy.fft import fft, ifft, irfft, rfft

    slow, fast = transform_shape(values.shape, kernel.shape)
    waves = fft(rfft(values, fast, axis=1), slow, axis=0, overwrite_x=True)
    waves *= transform(kernel.tobytes(), kernel.shape, (slow, fast))
    (above, left), (rows, columns) = (n // 2 for n in kernel.shape), values.shape
    found = irfft(ifft(waves, axis=0, overwrite_x=True)[above : above + rows], fast, axis=1, overwrite_x=True)
    return np.asarray(found[:, left : left + columns])


def transform_shape(image: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, int]:
    """Of Fourier transforms in which nothing that leaves an edge comes back at another."""
    from scipy.fft import next_fast_len

    slow, fast = (next_fast_len(n + m // 2, real=True) for n, m in zip(image, kernel, strict=True))
    return slow, fast


@lru_cache(2)
def transform(kernel: bytes, shape: tuple[int, int], padded: tuple[int, int]) -> NDArray[np.complex128]:
    """That of a kernel, which many images need."""
    from scipy.fft import rfft2

    return np.asarray(rfft2(np.frombuffer(kernel).reshape(shape), padded))
