"""The adjoint of the rendering kernel: what a number that depends on the pixels changes with, in one pass over the same terms.

Given dL/dI of every pixel, the derivatives of L by every orientation, source and field of a stage's parameters. Written as render.py is,
and with the same rules: loops over the pixels of a span innermost, and no array under two names.
"""

from typing import NamedTuple

import numpy as np
from numba import prange

from nbnumba.kernel.render import LANES, LONGEST, rays, scatter

# How many fields of their parameters stages vary with.
N_GEOMETRY = N_LATTICE_SHAPE = N_STRUCTURE_FACTOR = N_POLARIZATION = N_SCALING = 0


class Sums(NamedTuple):
    """Derivatives of L by what the kernel is given; in the kernel every worker has a row of its own."""

    orientations: np.ndarray  # (tables, turns, 9) by a, b, c
    incident: np.ndarray  # (sources, 3)
    wavelength: np.ndarray  # (sources,)
    brightness: np.ndarray  # (sources,)
    geometry: np.ndarray  # (fields,), those that the stage varies with
    lattice_shape: np.ndarray
    structure_factor: np.ndarray
    polarization: np.ndarray
    scaling: np.ndarray  # fields, then photons and background


def lattice_shape(p, x, y, z): ...


def structure_factor(p, h, k, l, h0, k0, l0, latched): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def lattice_shape_derivative(p, x, y, z, g): ...


def structure_factor_derivative(p, h, k, l, h0, k0, l0, latched, g): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz, g): ...


def scaling_derivative(p, total, f_latt, f_cell, weight, g): ...


def nearest(x): ...


def adjoint(
    gp, lp, fp, pp, sp, sampling, spans, image, cotangents, workers,
    orientations, incident, wavelength, brightness, of_geometry, of_shape, of_factor, of_polarization, of_scaling,
):  # fmt: skip
    """Add the derivatives of L to the arrays of Sums. image, cotangents: photons and dL/dI of every pixel, [slow, fast].

    Worker n takes every span whose number is n modulo their number, so that sums are the same from run to run.
    """
    n_sub, n_sources, turns = sampling.oversample, sampling.wavelength.size, sampling.orientations.shape[1]
    for worker in prange(workers):
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
        last_capture = np.empty(LONGEST)
        g_total = np.empty(LONGEST)
        g_polarization = np.empty(LONGEST)
        gh = np.empty(LONGEST)
        gk = np.empty(LONGEST)
        gl = np.empty(LONGEST)
        gqx = np.empty(LONGEST)
        gqy = np.empty(LONGEST)
        gqz = np.empty(LONGEST)
        g_weight = np.empty(LONGEST)
        gdx = np.empty(LONGEST)
        gdy = np.empty(LONGEST)
        gdz = np.empty(LONGEST)
        g_solid_angle = np.empty(LONGEST)
        g_capture = np.empty(LONGEST)
        by_geometry = np.zeros((N_GEOMETRY + 1, LONGEST))
        by_shape = np.zeros((N_LATTICE_SHAPE + 1, LONGEST))
        by_factor = np.zeros((N_STRUCTURE_FACTOR + 1, LONGEST))
        by_polarization = np.zeros((N_POLARIZATION + 1, LONGEST))
        by_scaling = np.zeros((N_SCALING + 2, LONGEST))
        by_source = np.zeros((5, LONGEST))
        for j in range(worker, spans.shape[0], workers):
            slow, begin, end = spans[j, 0], spans[j, 1], spans[j, 2]
            start = begin // LANES * LANES
            width = (end - start + LANES - 1) // LANES * LANES
            pixel = slow * image.shape[1] + begin
            for i in range(width):
                first_polarization[i] = sp.initial_polarization
            for layer in range(sampling.layers):
                for sub in range(n_sub * n_sub):
                    rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture)
                    for source in range(n_sources):
                        scatter(
                            pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture,
                            qx, qy, qz, inside, weight, first_polarization,
                        )  # fmt: skip
            by_pixel(
                sp, image, cotangents, slow, start, begin, end, width, first_polarization, first_solid_angle, last_capture,
                g_total, g_polarization, by_scaling,
            )  # fmt: skip
            sample = 0
            for layer in range(sampling.layers):
                for sub in range(n_sub * n_sub):
                    rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture)
                    for i in range(width):
                        gdx[i] = 0.0
                        gdy[i] = 0.0
                        gdz[i] = 0.0
                        g_solid_angle[i] = 0.0
                        g_capture[i] = 0.0
                    for source in range(n_sources):
                        scatter(
                            pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture,
                            qx, qy, qz, inside, weight, first_polarization,
                        )  # fmt: skip
                        for i in range(width):
                            gqx[i] = 0.0
                            gqy[i] = 0.0
                            gqz[i] = 0.0
                            g_weight[i] = 0.0
                        table = 0
                        if pixel == sampling.first_pixel and sample == sampling.first_sample:
                            table = 1
                        for turn in range(turns):
                            latched = 0
                            if pixel > sampling.latch_pixel or (
                                pixel == sampling.latch_pixel and sample * turns + turn >= sampling.latch_term
                            ):
                                latched = 1
                            by_terms(
                                lp, fp, sp, sampling.orientations, table, turn, latched, np.uint64(width), qx, qy, qz, inside, weight,
                                g_total, gh, gk, gl, g_weight, by_shape, by_factor, by_scaling,
                            )  # fmt: skip
                            products = sums_of_products(sampling.orientations, table, turn, width, gh, gk, gl, qx, qy, qz, gqx, gqy, gqz)
                            for n in range(9):
                                orientations[worker, table, turn, n] += products[n]
                        by_ray(
                            pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture, qx, qy, qz, weight, gqx, gqy, gqz, g_weight,
                            g_polarization, gdx, gdy, gdz, g_solid_angle, g_capture, by_polarization, by_source,
                        )  # fmt: skip
                        for n in range(3):
                            incident[worker, source, n] += total_of(by_source, n, width)
                        wavelength[worker, source] += total_of(by_source, 3, width)
                        brightness[worker, source] += total_of(by_source, 4, width)
                        sample += 1
                    by_place(
                        gp, sp, n_sub, layer, sub, slow, start, begin, end, width, image, cotangents, solid_angle, capture,
                        sampling.layers, gdx, gdy, gdz, g_solid_angle, g_capture, by_geometry,
                    )  # fmt: skip
        for n in range(N_GEOMETRY):
            of_geometry[worker, n] = total_of(by_geometry, n, LONGEST)
        for n in range(N_LATTICE_SHAPE):
            of_shape[worker, n] = total_of(by_shape, n, LONGEST)
        for n in range(N_STRUCTURE_FACTOR):
            of_factor[worker, n] = total_of(by_factor, n, LONGEST)
        for n in range(N_POLARIZATION):
            of_polarization[worker, n] = total_of(by_polarization, n, LONGEST)
        for n in range(N_SCALING + 2):
            of_scaling[worker, n] = total_of(by_scaling, n, LONGEST)


def by_pixel(
    sp, image, cotangents, slow, start, begin, end, width, first_polarization, first_solid_angle, last_capture,
    g_total, g_polarization, by_scaling,
):  # fmt: skip
    """dL by the sum of terms, 0 off the span; by a polarization factor of the whole pixel; by photons and background."""
    for i in range(width):
        g_total[i] = 0.0
        g_polarization[i] = 0.0
    for i in range(np.uint64(begin - start), np.uint64(end - start)):
        photons, g = image[slow, np.uint64(start) + i], cotangents[slow, np.uint64(start) + i]
        factor = 1.0
        if not sp.polarization_per_term:
            factor *= first_polarization[i]
        if not sp.solid_angle_per_term:
            factor *= first_solid_angle[i]
        if not sp.capture_per_term:
            factor *= last_capture[i]
        g_total[i] = g * sp.photons * factor
        if not sp.polarization_per_term and first_polarization[i] != 0.0:
            g_polarization[i] = g * photons / first_polarization[i]
        by_scaling[N_SCALING, i] += g * photons / sp.photons if sp.photons != 0.0 else 0.0
        by_scaling[N_SCALING + 1, i] += g_total[i]


def by_terms(
    lp, fp, sp, axes, table, turn, latched, count, qx, qy, qz, inside, weight,
    g_total, gh, gk, gl, g_weight, by_shape, by_factor, by_scaling,
):  # fmt: skip
    """dL by the indices of one orientation; adds what its terms say of scattering vectors, weights and fields."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(np.uint64(0), count):
        h = ax * qx[i] + (ay * qy[i] + az * qz[i])
        k = bx * qx[i] + (by * qy[i] + bz * qz[i])
        l = cx * qx[i] + (cy * qy[i] + cz * qz[i])
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        f_latt = lattice_shape(lp, h - h0, k - k0, l - l0)
        f_cell = structure_factor(fp, h, k, l, h0, k0, l0, latched)
        of_term = scaling_derivative(sp, 0.0, f_latt, f_cell, weight[i], g_total[i] if inside[i] != 0 else 0.0)
        of_shape = lattice_shape_derivative(lp, h - h0, k - k0, l - l0, of_term[1])
        of_factor = structure_factor_derivative(fp, h, k, l, h0, k0, l0, latched, of_term[2])
        gh[i] = of_shape[0] + of_factor[0]
        gk[i] = of_shape[1] + of_factor[1]
        gl[i] = of_shape[2] + of_factor[2]
        g_weight[i] += of_term[3]
        for n in range(N_LATTICE_SHAPE):
            by_shape[n, i] += of_shape[3 + n]
        for n in range(N_STRUCTURE_FACTOR):
            by_factor[n, i] += of_factor[3 + n]
        for n in range(N_SCALING):
            by_scaling[n, i] += of_term[4 + n]


def by_ray(
    pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture, qx, qy, qz, weight, gqx, gqy, gqz, g_weight,
    g_polarization, gdx, gdy, gdz, g_solid_angle, g_capture, by_polarization, by_source,
):  # fmt: skip
    """From scattering vectors and weights of a source to rays and factors."""
    ix, iy, iz = sampling.incident[source, 0], sampling.incident[source, 1], sampling.incident[source, 2]
    wavelength, brightness = sampling.wavelength[source], sampling.brightness[source]
    for i in range(width):
        factor = polarization(pp, ix, iy, iz, dx[i], dy[i], dz[i])
        p = factor if sp.polarization_per_term else 1.0
        o = solid_angle[i] if sp.solid_angle_per_term else 1.0
        c = capture[i] if sp.capture_per_term else 1.0
        if sp.polarization_per_term:
            g = g_weight[i] * brightness * o * c
        else:
            # The factor of the pixel's first sample: what is left of it is given to that sample alone.
            g = g_polarization[i] if factor != 0.0 else 0.0
            g_polarization[i] = 0.0
        of_ray = polarization_derivative(pp, ix, iy, iz, dx[i], dy[i], dz[i], g)
        gdx[i] += gqx[i] / wavelength + of_ray[3]
        gdy[i] += gqy[i] / wavelength + of_ray[4]
        gdz[i] += gqz[i] / wavelength + of_ray[5]
        if sp.solid_angle_per_term:
            g_solid_angle[i] += g_weight[i] * brightness * p * c
        if sp.capture_per_term:
            g_capture[i] += g_weight[i] * brightness * p * o
        by_source[0, i] = of_ray[0] - gqx[i] / wavelength
        by_source[1, i] = of_ray[1] - gqy[i] / wavelength
        by_source[2, i] = of_ray[2] - gqz[i] / wavelength
        by_source[3, i] = -(gqx[i] * qx[i] + gqy[i] * qy[i] + gqz[i] * qz[i]) / wavelength
        by_source[4, i] = g_weight[i] * p * o * c
        for n in range(N_POLARIZATION):
            by_polarization[n, i] += of_ray[6 + n]


def by_place(
    gp, sp, n_sub, layer, sub, slow, start, begin, end, width, image, cotangents, solid_angle, capture,
    layers, gdx, gdy, gdz, g_solid_angle, g_capture, by_geometry,
):  # fmt: skip
    """From rays and factors of a sub-pixel to the fields of the geometry."""
    if sub == 0:
        for i in range(np.uint64(begin - start), np.uint64(end - start)):
            g = cotangents[slow, np.uint64(start) + i] * image[slow, np.uint64(start) + i]
            if not sp.solid_angle_per_term and layer == 0 and solid_angle[i] != 0.0:
                g_solid_angle[i] += g / solid_angle[i]
            if not sp.capture_per_term and layer == layers - 1 and capture[i] != 0.0:
                g_capture[i] += g / capture[i]
    fast = start + (sub % n_sub + 0.5) / n_sub
    for i in range(width):
        of_place = geometry_derivative(
            gp, fast + i, slow + (sub // n_sub + 0.5) / n_sub, layer, gdx[i], gdy[i], gdz[i], g_solid_angle[i], g_capture[i]
        )
        for n in range(N_GEOMETRY):
            by_geometry[n, i] += of_place[n]


def total_of(rows, row, count):
    """The sum of the first elements of a row."""
    total = 0.0
    for i in range(count):
        total += rows[row, i]
    return total


def sums_of_products(axes, table, turn, count, gh, gk, gl, qx, qy, qz, gqx, gqy, gqz):
    """Sums of index times scattering vector over pixels: dL by a, b and c; adds dL by scattering vectors."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    hx, hy, hz, kx, ky, kz, lx, ly, lz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        hx += gh[i] * qx[i]
        hy += gh[i] * qy[i]
        hz += gh[i] * qz[i]
        kx += gk[i] * qx[i]
        ky += gk[i] * qy[i]
        kz += gk[i] * qz[i]
        lx += gl[i] * qx[i]
        ly += gl[i] * qy[i]
        lz += gl[i] * qz[i]
        gqx[i] += ax * gh[i] + bx * gk[i] + cx * gl[i]
        gqy[i] += ay * gh[i] + by * gk[i] + cy * gl[i]
        gqz[i] += az * gh[i] + bz * gk[i] + cz * gl[i]
    return hx, hy, hz, kx, ky, kz, lx, ly, lz
