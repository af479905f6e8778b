"""The rendering kernel with derivatives going forward: photons, and what they change with where what the kernel is given changes.

Every direction is a way in which orientations, sources and fields of the stages' parameters change together. Terms and slopes are those
of adjoint.py; slopes (s_...) are derivatives of the total, d... those along a direction.
"""

from typing import NamedTuple

import numpy as np

from nbnumba.kernel.cpu.adjoint import (
    MULTIPLIES,
    N_GEOMETRY,
    N_LATTICE_SHAPE,
    N_POLARIZATION,
    N_SCALING,
    N_STRUCTURE_FACTOR,
    add_blank,
    add_slopes,
    clear,
    has_latched,
    which_table,
)
from nbnumba.kernel.cpu.render import LANES, LONGEST, photons, rays, scatter


class Directions(NamedTuple):
    """What changes, and by how much, along n directions."""

    orientations: np.ndarray  # (n, tables, turns, 9) by a, b, c
    turns: np.ndarray  # (n,) 1 where orientations change
    incident: np.ndarray  # (n, sources, 3)
    wavelength: np.ndarray  # (n, sources)
    brightness: np.ndarray  # (n, sources)
    geometry: np.ndarray  # (n, fields)
    lattice_shape: np.ndarray
    structure_factor: np.ndarray
    polarization: np.ndarray
    scaling: np.ndarray  # fields, then photons and background


def claim(counter): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz): ...


def add_geometry(rows, i, before, factor, slopes): ...


def add_polarization(rows, i, before, factor, slopes): ...


def tangents(gp, lp, fp, pp, sp, sampling, along, spans, image, changes, counter):
    """Fill ``image`` [slow, fast] with photons, and ``changes`` [n, slow, fast] with their derivatives along n directions."""
    n_sub, n_sources, turns = sampling.oversample, sampling.wavelength.size, sampling.orientations.shape[1]
    directions = along.turns.size
    dx = np.empty(LONGEST)
    dy = np.empty(LONGEST)
    dz = np.empty(LONGEST)
    qx = np.empty(LONGEST)
    qy = np.empty(LONGEST)
    qz = np.empty(LONGEST)
    inside = np.empty(LONGEST, np.int64)
    solid_angle = np.empty(LONGEST)
    capture = np.empty(LONGEST)
    weight = np.empty(LONGEST)
    first_solid_angle = np.empty(LONGEST)
    first_polarization = np.empty(LONGEST)
    first_sample = np.empty(LONGEST, np.int64)
    last_capture = np.empty(LONGEST)
    total = np.empty(LONGEST)
    s_h = np.empty((1, LONGEST))
    s_k = np.empty((1, LONGEST))
    s_l = np.empty((1, LONGEST))
    s_before = np.ones((1, LONGEST))
    s_weight = np.empty((1, LONGEST))
    s_shape = np.empty((N_LATTICE_SHAPE + 1, LONGEST))
    s_factor = np.empty((N_STRUCTURE_FACTOR + 1, LONGEST))
    s_scaling = np.empty((N_SCALING + 1, LONGEST))
    sqx = np.empty(LONGEST)
    sqy = np.empty(LONGEST)
    sqz = np.empty(LONGEST)
    place_x = np.zeros((N_GEOMETRY + 1, LONGEST))
    place_y = np.zeros((N_GEOMETRY + 1, LONGEST))
    place_z = np.zeros((N_GEOMETRY + 1, LONGEST))
    place_solid_angle = np.zeros((N_GEOMETRY + 1, LONGEST))
    place_capture = np.zeros((N_GEOMETRY + 1, LONGEST))
    d_place = np.empty((5, LONGEST))  # ray, solid angle, captured fraction
    polarization = np.empty(LONGEST)
    d_polarization = np.empty(LONGEST)
    by_ray = np.empty((6, LONGEST))  # incident, then diffracted
    by_polarization = np.zeros((N_POLARIZATION + 1, LONGEST))
    d_total = np.empty((directions, LONGEST))
    d_factors = np.empty((directions, LONGEST))  # of the logarithm of the factors of the whole pixel
    while True:
        j = claim(counter)
        if j >= spans.shape[0]:
            break
        slow, begin, end = spans[j, 0], spans[j, 1], spans[j, 2]
        start = begin // LANES * LANES
        width = (end - start + LANES - 1) // LANES * LANES
        pixel = slow * image.shape[1] + begin
        for i in range(width):
            total[i] = sp.background
            first_polarization[i] = sp.initial_polarization
            first_sample[i] = -1
        clear(s_shape, width)
        clear(s_factor, width)
        clear(s_scaling, width)
        for n in range(directions):
            for i in range(width):
                d_total[n, i] = along.scaling[n, N_SCALING + 1]
                d_factors[n, i] = 0.0
        sample = 0
        for layer in range(sampling.layers):
            for sub in range(n_sub * n_sub):
                rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture)
                places(gp, n_sub, layer, sub, slow, start, width, place_x, place_y, place_z, place_solid_angle, place_capture)
                if sub == 0 and layer == 0 and not sp.solid_angle_per_term:
                    add_relative(along.geometry, width, place_solid_angle, solid_angle, d_factors)
                if sub == 0 and layer == sampling.layers - 1 and not sp.capture_per_term:
                    add_relative(along.geometry, width, place_capture, capture, d_factors)
                for source in range(n_sources):
                    scatter(
                        pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture,
                        qx, qy, qz, inside, weight, first_polarization,
                    )  # fmt: skip
                    for i in range(width):
                        if first_sample[i] < 0 and first_polarization[i] != 0.0:
                            first_sample[i] = sample
                        s_weight[0, i] = 0.0
                        sqx[i] = 0.0
                        sqy[i] = 0.0
                        sqz[i] = 0.0
                    if sampling.blank_terms > 0:
                        add_blank(sp, sampling.blank_terms, width, inside, weight, total, 0, s_weight, s_scaling)
                    table = which_table(sampling, pixel, sample)
                    for turn in range(turns):
                        add_slopes(
                            lp, fp, sp, sampling.orientations, table, turn, has_latched(sampling, pixel, sample * turns + turn),
                            np.uint64(width), qx, qy, qz, inside, weight, total, 0, s_h, s_k, s_l, s_before, 0, s_weight,
                            s_shape, s_factor, s_scaling,
                        )  # fmt: skip
                        by_vector(sampling.orientations, table, turn, width, s_h, s_k, s_l, s_before, sqx, sqy, sqz)
                        for n in range(directions):
                            if along.turns[n] != 0:
                                turned(along.orientations, n, table, turn, width, qx, qy, qz, s_h, s_k, s_l, s_before, d_total)
                            elif MULTIPLIES:
                                for i in range(width):
                                    d_total[n, i] *= s_before[0, i]
                    polarized(pp, sampling, source, width, dx, dy, dz, polarization, by_ray, by_polarization)
                    for n in range(directions):
                        moved(along.geometry, n, width, place_x, place_y, place_z, place_solid_angle, place_capture, d_place)
                        repolarized(
                            along.incident, along.polarization, n, source, sample, width, sp.polarization_per_term, d_place, by_ray,
                            by_polarization, first_sample, first_polarization, d_polarization, d_factors,
                        )  # fmt: skip
                        scattered(
                            sp, sampling, along.incident, along.wavelength, along.brightness, n, source, width, solid_angle, capture,
                            polarization, qx, qy, qz, sqx, sqy, sqz, s_weight, d_place, d_polarization, d_total,
                        )  # fmt: skip
                    sample += 1
        photons(sp, total, first_polarization, first_solid_angle, last_capture, image, slow, start, begin, end)
        for n in range(directions):
            add_fields(along.lattice_shape, n, N_LATTICE_SHAPE, width, s_shape, d_total)
            add_fields(along.structure_factor, n, N_STRUCTURE_FACTOR, width, s_factor, d_total)
            add_fields(along.scaling, n, N_SCALING, width, s_scaling, d_total)
            changed_photons(
                sp, n, along.scaling[n, N_SCALING], total, first_polarization, first_solid_angle, last_capture, image, d_total,
                d_factors, changes, slow, start, begin, end,
            )  # fmt: skip


def places(gp, n_sub, layer, sub, slow, start, width, place_x, place_y, place_z, place_solid_angle, place_capture):
    """The derivatives of ray, solid angle and captured fraction by the fields of the geometry."""
    fast, row = start + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub
    for i in range(width):
        add_geometry(place_x, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 1.0, 0.0, 0.0, 0.0, 0.0))
    for i in range(width):
        add_geometry(place_y, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 1.0, 0.0, 0.0, 0.0))
    for i in range(width):
        add_geometry(place_z, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 0.0, 1.0, 0.0, 0.0))
    for i in range(width):
        add_geometry(place_solid_angle, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 0.0, 0.0, 1.0, 0.0))
    for i in range(width):
        add_geometry(place_capture, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 0.0, 0.0, 0.0, 1.0))


def add_relative(changes, width, slopes, value, d_factors):
    """Add the relative change of a factor that is one for the whole pixel."""
    for n in range(d_factors.shape[0]):
        for m in range(N_GEOMETRY):
            if changes[n, m] != 0.0:
                for i in range(width):
                    d_factors[n, i] += changes[n, m] * slopes[m, i] / value[i] if value[i] != 0.0 else 0.0


def by_vector(axes, table, turn, width, s_h, s_k, s_l, s_before, sqx, sqy, sqz):
    """Add the derivatives of the terms of one orientation by the scattering vector."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(width):
        sqx[i] = s_before[0, i] * sqx[i] + (ax * s_h[0, i] + bx * s_k[0, i] + cx * s_l[0, i])
        sqy[i] = s_before[0, i] * sqy[i] + (ay * s_h[0, i] + by * s_k[0, i] + cy * s_l[0, i])
        sqz[i] = s_before[0, i] * sqz[i] + (az * s_h[0, i] + bz * s_k[0, i] + cz * s_l[0, i])


def turned(changes, n, table, turn, width, qx, qy, qz, s_h, s_k, s_l, s_before, d_total):
    """Add the change of the terms of one orientation, where a, b and c change."""
    ax, ay, az = changes[n, table, turn, 0], changes[n, table, turn, 1], changes[n, table, turn, 2]
    bx, by, bz = changes[n, table, turn, 3], changes[n, table, turn, 4], changes[n, table, turn, 5]
    cx, cy, cz = changes[n, table, turn, 6], changes[n, table, turn, 7], changes[n, table, turn, 8]
    for i in range(width):
        by_h = s_h[0, i] * (ax * qx[i] + ay * qy[i] + az * qz[i])
        by_k = s_k[0, i] * (bx * qx[i] + by * qy[i] + bz * qz[i])
        by_l = s_l[0, i] * (cx * qx[i] + cy * qy[i] + cz * qz[i])
        d_total[n, i] = s_before[0, i] * d_total[n, i] + (by_h + by_k + by_l)


def polarized(pp, sampling, source, width, dx, dy, dz, polarization, by_ray, by_polarization):
    """The polarization factor, and its derivatives by the incident and the diffracted ray and by the stage's fields."""
    ix, iy, iz = sampling.incident[source, 0], sampling.incident[source, 1], sampling.incident[source, 2]
    for i in range(width):
        factor = polarization_derivative(pp, ix, iy, iz, dx[i], dy[i], dz[i])
        polarization[i] = factor[0]
        by_ray[0, i] = factor[1]
        by_ray[1, i] = factor[2]
        by_ray[2, i] = factor[3]
        by_ray[3, i] = factor[4]
        by_ray[4, i] = factor[5]
        by_ray[5, i] = factor[6]
        add_polarization(by_polarization, i, 0.0, 1.0, factor)


def moved(changes, n, width, place_x, place_y, place_z, place_solid_angle, place_capture, d_place):
    """The changes of ray, solid angle and captured fraction with the fields of the geometry."""
    clear(d_place, width)
    for m in range(N_GEOMETRY):
        if changes[n, m] != 0.0:
            for i in range(width):
                d_place[0, i] += changes[n, m] * place_x[m, i]
                d_place[1, i] += changes[n, m] * place_y[m, i]
                d_place[2, i] += changes[n, m] * place_z[m, i]
                d_place[3, i] += changes[n, m] * place_solid_angle[m, i]
                d_place[4, i] += changes[n, m] * place_capture[m, i]


def repolarized(
    incident, fields, n, source, sample, width, per_term, d_place, by_ray, by_polarization, first_sample, first_polarization,
    d_polarization, d_factors,
):  # fmt: skip
    """The change of the polarization factor."""
    for i in range(width):
        change = by_ray[3, i] * d_place[0, i] + by_ray[4, i] * d_place[1, i] + by_ray[5, i] * d_place[2, i]
        for m in range(3):
            change += incident[n, source, m] * by_ray[m, i]
        for m in range(N_POLARIZATION):
            change += fields[n, m] * by_polarization[m, i]
        d_polarization[i] = change
        if not per_term and first_sample[i] == sample:
            d_factors[n, i] += change / first_polarization[i]


def scattered(
    sp, sampling, incident, wavelengths, brightnesses, n, source, width, solid_angle, capture,
    polarization, qx, qy, qz, sqx, sqy, sqz, s_weight, d_place, d_polarization, d_total,
):  # fmt: skip
    """The change of the total with the scattering vectors and the weights of a source."""
    wavelength, brightness = sampling.wavelength[source], sampling.brightness[source]
    longer = wavelengths[n, source] / wavelength
    ix, iy, iz = incident[n, source, 0], incident[n, source, 1], incident[n, source, 2]
    for i in range(width):
        p, dp = (polarization[i], d_polarization[i]) if sp.polarization_per_term else (1.0, 0.0)
        o, do = (solid_angle[i], d_place[3, i]) if sp.solid_angle_per_term else (1.0, 0.0)
        c, dc = (capture[i], d_place[4, i]) if sp.capture_per_term else (1.0, 0.0)
        by_q = sqx[i] * ((d_place[0, i] - ix) / wavelength - longer * qx[i])
        by_q += sqy[i] * ((d_place[1, i] - iy) / wavelength - longer * qy[i])
        by_q += sqz[i] * ((d_place[2, i] - iz) / wavelength - longer * qz[i])
        d_weight = brightnesses[n, source] * p * o * c + brightness * (dp * o * c + p * (do * c + o * dc))
        d_total[n, i] += by_q + s_weight[0, i] * d_weight


def add_fields(changes, n, count, width, slopes, d_total):
    """Add the change of the total with fields of a stage."""
    for m in range(count):
        for i in range(width):
            d_total[n, i] += changes[n, m] * slopes[m, i]


def changed_photons(
    sp, n, d_photons, total, first_polarization, first_solid_angle, last_capture, image, d_total, d_factors,
    changes, slow, start, begin, end,
):  # fmt: skip
    """The change of the photons of a span."""
    for i in range(np.uint64(begin - start), np.uint64(end - start)):
        factor = 1.0
        if not sp.polarization_per_term:
            factor *= first_polarization[i]
        if not sp.solid_angle_per_term:
            factor *= first_solid_angle[i]
        if not sp.capture_per_term:
            factor *= last_capture[i]
        pixel = np.uint64(start) + i
        change = factor * (sp.photons * d_total[n, i] + d_photons * total[i])
        changes[n, slow, pixel] = change + image[slow, pixel] * d_factors[n, i]
