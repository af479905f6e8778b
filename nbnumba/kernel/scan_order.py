"""Find where, in scan order, something happens for the first time: the first sample, and the first term off the table; count such terms.

Scan order is nanoBragg's: slow, fast, layer, sub-slow, sub-fast, source, phi step, mosaic domain.
"""

import numpy as np


def geometry(p, fast, slow, layer): ...


def lattice_shape(p, x, y, z): ...


def latch(p, h, k, l): ...


def outside(p, h, k, l): ...


def nearest(x): ...


def claim(counter): ...


def scattering(p, inputs, slow, fast, sample):
    """Scattering vector (1/m) and its length for a sample of a pixel, numbered in scan order."""
    n_sub, n_sources = inputs.oversample, inputs.wavelength.size
    sub, source = sample // n_sources % (n_sub * n_sub), sample % n_sources
    layer = sample // (n_sources * n_sub * n_sub)
    dx, dy, dz, _, _ = geometry(p.geometry, fast + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub, layer)
    qx = (dx - inputs.incident[source, 0]) / inputs.wavelength[source]
    qy = (dy - inputs.incident[source, 1]) / inputs.wavelength[source]
    qz = (dz - inputs.incident[source, 2]) / inputs.wavelength[source]
    return qx, qy, qz, np.sqrt(qx * qx + qy * qy + qz * qz)


def indices(orientations, table, turn, qx, qy, qz):
    """h, k, l of a scattering vector for an orientation."""
    ax, ay, az = orientations[table, turn, 0, 0], orientations[table, turn, 0, 1], orientations[table, turn, 0, 2]
    bx, by, bz = orientations[table, turn, 1, 0], orientations[table, turn, 1, 1], orientations[table, turn, 1, 2]
    cx, cy, cz = orientations[table, turn, 2, 0], orientations[table, turn, 2, 1], orientations[table, turn, 2, 2]
    return ax * qx + ay * qy + az * qz, bx * qx + by * qy + bz * qz, cx * qx + cy * qy + cz * qz


def first_in_pixel(p, inputs, slow, fast):
    """Number of the pixel's first sample that is not cut; -1 if all are."""
    for sample in range(samples_of(inputs)):
        _, _, _, length = scattering(p, inputs, slow, fast, sample)
        if length <= inputs.longest:
            return sample
    return -1


def last_in_pixel(p, inputs, slow, fast):
    """Number of the pixel's last sample that is not cut; -1 if all are."""
    for sample in range(samples_of(inputs) - 1, -1, -1):
        _, _, _, length = scattering(p, inputs, slow, fast, sample)
        if length <= inputs.longest:
            return sample
    return -1


def latch_in_pixel(p, inputs, slow, fast, pixel):
    """Number of the pixel's first term for which latch() is 1 and F_latt, if it counts, not 0; -1 if there is none."""
    turns, order = inputs.orientations.shape[1], inputs.scan_order
    for sample in range(samples_of(inputs)):
        qx, qy, qz, length = scattering(p, inputs, slow, fast, sample)
        if length > inputs.longest:
            continue
        table = 1 if pixel == order.first_pixel and sample == order.first_sample else 0
        for turn in range(turns):
            h, k, l = indices(inputs.orientations, table, turn, qx, qy, qz)
            if not latch(p.structure_factor, h, k, l):
                continue
            if order.latch_without_spot or lattice_shape(p.lattice_shape, h - nearest(h), k - nearest(k), l - nearest(l)) != 0.0:
                return sample * turns + turn
    return -1


def outside_in_pixel(p, inputs, slow, fast):
    """Number of the pixel's terms for which outside() is 1."""
    count = 0
    for sample in range(samples_of(inputs)):
        qx, qy, qz, length = scattering(p, inputs, slow, fast, sample)
        if length > inputs.longest:
            continue
        for turn in range(inputs.orientations.shape[1]):
            h, k, l = indices(inputs.orientations, 0, turn, qx, qy, qz)
            count += outside(p.structure_factor, h, k, l)
    return count


def samples_of(inputs):
    """Samples of a pixel."""
    return inputs.layers * inputs.oversample * inputs.oversample * inputs.wavelength.size


def find_first_sample(p, inputs, spans, fast_pixels, found, counter):
    """Set ``found`` to (pixel, sample) of the first sample that is not cut; leave it alone if all are. One thread claims all of it."""
    if claim(counter) > 0:
        return
    for j in range(spans.shape[0]):
        for fast in range(spans[j, 1], spans[j, 2]):
            sample = first_in_pixel(p, inputs, spans[j, 0], fast)
            if sample >= 0:
                found[0] = spans[j, 0] * fast_pixels + fast
                found[1] = sample
                return


def find_latch(p, inputs, spans, fast_pixels, found, counter):
    """Set row j of ``found`` to (pixel, term) of the first term in span j at which the latch falls, for the spans claimed here."""
    while True:
        j = claim(counter)
        if j >= spans.shape[0]:
            break
        for fast in range(spans[j, 1], spans[j, 2]):
            pixel = spans[j, 0] * fast_pixels + fast
            term = latch_in_pixel(p, inputs, spans[j, 0], fast, pixel)
            if term >= 0:
                found[j, 0] = pixel
                found[j, 1] = term
                break


def count_outside(p, inputs, spans, counts, counter):
    """Set ``counts``[j] to the number of terms in span j for which outside() is 1, for the spans claimed here."""
    while True:
        j = claim(counter)
        if j >= spans.shape[0]:
            break
        for fast in range(spans[j, 1], spans[j, 2]):
            counts[j] += outside_in_pixel(p, inputs, spans[j, 0], fast)
