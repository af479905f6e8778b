"""The kernel of the background: what is alike all around the beam scatters into every pixel."""

from typing import Any, NamedTuple

import numpy as np

from nbnumba.kernel.cpu.render import CAPTURE, DX, DY, DZ, LANES, QX, ROWS, SOLID_ANGLE, TOTAL, WEIGHT, rays, rows_of_numbers
from nbnumba.kernel.profile import CELLS, LOWEST, MIDDLE, PER_HALF, RIGHT

SINE = QX  # which scattering vectors have elsewhere


class Parts(NamedTuple):
    """What the stages that have a part in it have prepared."""

    geometry: Any
    polarization: Any
    factors: tuple[Any, ...]


class Samples(NamedTuple):
    """What is summed over in each pixel: sub-pixels along each axis, and sensor layers; photons: of all, per m^2, over the sub-pixels."""

    oversample: int
    layers: int
    photons: float


def of_panel(table, panel): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def factors(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def claim(counter): ...


def scatter_background(p, samples, profile, spans, image, counter):
    """Fill ``image``, the pixels of all panels one after the other, with photons per pixel over those of ``spans`` that are claimed here.

    p: Parts, those of the geometry for all panels. spans, counter: as render() has them.
    """
    work = rows_of_numbers(ROWS)
    while True:
        j = claim(counter)
        if j >= spans.shape[0]:
            break
        slow, begin, end, row = spans[j, 0], spans[j, 1], spans[j, 2], spans[j, 4]
        gp = of_panel(p.geometry, spans[j, 3])
        start = begin // LANES * LANES
        width = (end - start + LANES - 1) // LANES * LANES
        for i in range(width):
            work[TOTAL, i] = 0.0
        for layer in range(samples.layers):
            for sub in range(samples.oversample * samples.oversample):
                rays(gp, samples.oversample, layer, sub, slow, start, width, work)
                for beam in range(profile.wavelength.size):
                    weigh(p.polarization, p.factors, profile, beam, width, work)
                    add_scattered(profile, beam, width, work)
        for i in range(np.uint64(begin - start), np.uint64(end - start)):
            image[np.uint64(row + start) + i] = samples.photons * work[TOTAL, i]


def weigh(pp, fp, profile, beam, width, work):
    """sin(theta) of the rays of a span, and the factors of what is scattered along them."""
    ix, iy, iz = profile.incident[beam, 0], profile.incident[beam, 1], profile.incident[beam, 2]
    wavelength = profile.wavelength[beam]
    for i in range(width):
        dx, dy, dz = work[DX, i], work[DY, i], work[DZ, i]
        x, y, z = dx - ix, dy - iy, dz - iz
        work[SINE, i] = 0.5 * np.sqrt(x * x + y * y + z * z)
        weight = work[SOLID_ANGLE, i] * work[CAPTURE, i] * polarization(pp, ix, iy, iz, dx, dy, dz)
        work[WEIGHT, i] = weight * factors(fp, ix, iy, iz, dx, dy, dz, wavelength)


def add_scattered(profile, beam, width, work):
    """Add what is scattered along the rays of a span."""
    pieces = profile.pieces
    for i in range(width):
        sine = work[SINE, i]
        row = profile.first[beam, np.int64(sine * CELLS)]
        while sine >= pieces[row, RIGHT]:
            row += 1
        t = (sine - pieces[row, MIDDLE]) * pieces[row, PER_HALF]
        found = pieces[row, LOWEST + 6]
        for power in range(5, -1, -1):
            found = found * t + pieces[row, LOWEST + power]
        work[TOTAL, i] += work[WEIGHT, i] * found
