"""Find where, in scan order, something happens for the first time: the first sample, and the first term off the table; count such terms.

Scan order is the reference program's: slow, fast, layer, sub-slow, sub-fast, source, phi step, mosaic domain.
"""

import numpy as np
from numba import prange


def geometry(p, fast, slow, layer): ...


def lattice_shape(p, x, y, z): ...


def latch(p, h, k, l): ...


def outside(p, h, k, l): ...


def nearest(x): ...


def scattering(gp, sampling, slow, fast, sample):
    """Scattering vector (1/m) and its length for a sample of a pixel, numbered in scan order."""
    n_sub, n_sources = sampling.oversample, sampling.wavelength.size
    sub, source = sample // n_sources % (n_sub * n_sub), sample % n_sources
    layer = sample // (n_sources * n_sub * n_sub)
    dx, dy, dz, _, _ = geometry(gp, fast + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub, layer)
    qx = (dx - sampling.incident[source, 0]) / sampling.wavelength[source]
    qy = (dy - sampling.incident[source, 1]) / sampling.wavelength[source]
    qz = (dz - sampling.incident[source, 2]) / sampling.wavelength[source]
    return qx, qy, qz, np.sqrt(qx * qx + qy * qy + qz * qz)


def indices(orientations, table, turn, qx, qy, qz):
    """h, k, l of a scattering vector for an orientation."""
    ax, ay, az = orientations[table, turn, 0, 0], orientations[table, turn, 0, 1], orientations[table, turn, 0, 2]
    bx, by, bz = orientations[table, turn, 1, 0], orientations[table, turn, 1, 1], orientations[table, turn, 1, 2]
    cx, cy, cz = orientations[table, turn, 2, 0], orientations[table, turn, 2, 1], orientations[table, turn, 2, 2]
    return ax * qx + ay * qy + az * qz, bx * qx + by * qy + bz * qz, cx * qx + cy * qy + cz * qz


def find_first_sample(gp, sampling, spans, found):
    """Set ``found`` to (slow, fast, sample) of the first sample that is not cut; leave it alone if all are."""
    samples = sampling.layers * sampling.oversample * sampling.oversample * sampling.wavelength.size
    for j in range(spans.shape[0]):
        for fast in range(spans[j, 1], spans[j, 2]):
            for sample in range(samples):
                _, _, _, length = scattering(gp, sampling, spans[j, 0], fast, sample)
                if length <= sampling.longest:
                    found[0] = spans[j, 0]
                    found[1] = fast
                    found[2] = sample
                    return


def find_latch(gp, lp, fp, sampling, spans, fast_pixels, found):
    """Set row j of ``found`` to (slow, fast, term) of the first term in span j for which latch() is 1 and F_latt, if it counts, not 0."""
    samples = sampling.layers * sampling.oversample * sampling.oversample * sampling.wavelength.size
    turns = sampling.orientations.shape[1]
    for j in prange(spans.shape[0]):
        for fast in range(spans[j, 1], spans[j, 2]):
            if found[j, 2] >= 0:
                break
            for sample in range(samples):
                qx, qy, qz, length = scattering(gp, sampling, spans[j, 0], fast, sample)
                is_first = 0
                if spans[j, 0] * fast_pixels + fast == sampling.first_pixel and sample == sampling.first_sample:
                    is_first = 1
                if length > sampling.longest or found[j, 2] >= 0:
                    continue
                for turn in range(turns):
                    h, k, l = indices(sampling.orientations, is_first, turn, qx, qy, qz)
                    if not latch(fp, h, k, l):
                        continue
                    if sampling.latch_without_spot or lattice_shape(lp, h - nearest(h), k - nearest(k), l - nearest(l)) != 0.0:
                        found[j, 0] = spans[j, 0]
                        found[j, 1] = fast
                        found[j, 2] = sample * turns + turn
                        break


def count_outside(gp, fp, sampling, spans, counts):
    """Set ``counts``[j] to the number of terms in span j for which outside() is 1."""
    samples = sampling.layers * sampling.oversample * sampling.oversample * sampling.wavelength.size
    for j in prange(spans.shape[0]):
        for fast in range(spans[j, 1], spans[j, 2]):
            for sample in range(samples):
                qx, qy, qz, length = scattering(gp, sampling, spans[j, 0], fast, sample)
                if length > sampling.longest:
                    continue
                for turn in range(sampling.orientations.shape[1]):
                    h, k, l = indices(sampling.orientations, 0, turn, qx, qy, qz)
                    counts[j] += outside(fp, h, k, l)
