"""Where on a detector which resolution is, and the round values that rings are drawn for (FMT-30)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbnumba.geometry.exposure import Exposure

Array = NDArray[np.float64]
RING_GRID = 256  # points along an edge for the rings, which are smooth
RINGS = 4


def resolution_A(exposure: Exposure, fast: Array, slow: Array) -> Array:
    """d in Angstrom at pixel numbers (a pixel's centre is whole), [slow, fast]: d = wavelength / (2 sin theta)."""
    assert exposure.wavelength is not None
    s, f = np.ix_(slow, fast)
    along_fast, along_slow = (
        ((n + 0.5) * exposure.pixel_size)[..., np.newaxis] * np.array(axis)
        for n, axis in ((f, exposure.fast_axis), (s, exposure.slow_axis))
    )
    position = exposure.origin + along_fast + along_slow
    cos_2theta = position @ np.array(exposure.incident) / np.linalg.norm(position, axis=-1)
    sin_theta = np.sqrt(np.clip((1.0 - cos_2theta) / 2.0, 1e-30, 1.0))
    return np.asarray(exposure.wavelength * 1e10 / 2.0 / sin_theta)


def ring_grid(first: int, last: int) -> Array:
    """Pixel numbers from the outer edge of the first pixel to that of the last, RING_GRID of them at most."""
    return np.linspace(first - 0.5, last + 0.5, min(last - first + 2, RING_GRID))


def ring_resolutions(d: Array) -> list[float]:
    """Round values of d, increasing, for rings at about equal steps of 1/d within an image; d: in it, [slow, fast]."""
    edge = float(1.0 / max(d[0].min(), d[-1].min(), d[:, 0].min(), d[:, -1].min()))
    found = {float(f"{1.0 / (edge * i / RINGS):.2g}") for i in range(1, RINGS + 1)}
    return within(found, d)


def ring_resolutions_of_part(d: Array) -> list[float]:
    """The same for a part of an image, which need not hold the beam: with as many digits as it takes to tell rings apart."""
    least, most = float(1.0 / d.max()), float(1.0 / d.min())
    wanted = [1.0 / (least + (most - least) * (i + 0.5) / RINGS) for i in range(RINGS)]
    rounded: list[float] = []
    for digits in range(2, 7):
        rounded = within({float(f"{value:.{digits}g}") for value in wanted}, d)
        if len(rounded) >= RINGS - 1:
            break
    return rounded


def within(values: set[float], d: Array) -> list[float]:
    """Those that are met, increasing."""
    return sorted(value for value in values if d.min() < value < d.max())
