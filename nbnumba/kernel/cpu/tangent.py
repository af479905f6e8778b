"""The rendering kernel with derivatives going forward: photons, and what they change with where what the kernel is given changes.

Every direction is a way in which orientations, sources and fields of the stages' parameters change together. Terms and slopes are those
of adjoint.py; d... are derivatives along a direction.
"""

from typing import NamedTuple

import numpy as np

from nbnumba.kernel.cpu.adjoint import (
    BY_BEFORE,
    BY_H,
    BY_K,
    BY_L,
    BY_WAVELENGTH,
    BY_WEIGHT,
    MULTIPLIES,
    N_FACTORS,
    N_GEOMETRY,
    N_LATTICE_SHAPE,
    N_POLARIZATION,
    N_SCALING,
    N_STRUCTURE_FACTOR,
    N_TERM,
    add_blank,
    add_slopes,
    clear,
    has_latched,
    which_table,
)
from nbnumba.kernel.cpu.render import (
    CAPTURE,
    DX,
    DY,
    DZ,
    FIRST_POLARIZATION,
    FIRST_SAMPLE,
    FIRST_SOLID_ANGLE,
    LANES,
    LAST_CAPTURE,
    QX,
    QY,
    QZ,
    ROW,
    ROWS,
    SOLID_ANGLE,
    TOTAL,
    WHOLE_ROWS,
    photons,
    rays,
    rows_of_numbers,
    scatter,
)

# Slopes by the scattering vector, and the factors of a sample with what they change by along a direction.
SQX, SQY, SQZ, POLARIZATION, OTHERS, D_POLARIZATION, D_OTHERS, D_SOLID_ANGLE, D_CAPTURE, DDX, DDY, DDZ, SLOPES = range(13)


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
    factors: np.ndarray


def claim(counter): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz): ...


def factors_derivative(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def add_geometry(rows, first, i, before, factor, slopes): ...


def add_polarization(rows, first, i, before, factor, slopes): ...


def add_factors(rows, first, i, before, factor, slopes): ...


def tangents(p, inputs, along, spans, image, changes, counter):
    """Fill ``image``, row by row, with photons, and ``changes`` [n, slow, fast] with their derivatives along n directions."""
    n_sub, n_sources, turns = inputs.oversample, inputs.wavelength.size, inputs.orientations.shape[1]
    directions = along.turns.size
    work = rows_of_numbers(ROWS)
    whole = np.empty((WHOLE_ROWS, ROW), np.int64)
    of_terms = np.ones((4, 1, ROW))
    of_samples = np.empty((2, 1, ROW))
    of_fields = rows_of_numbers(N_TERM + 1)
    s = np.zeros((SLOPES, ROW))
    of_place = np.zeros((5, N_GEOMETRY + 1, ROW))  # of ray, solid angle, captured fraction
    by_ray = rows_of_numbers(13)  # polarization by incident and diffracted ray, then factors by these and the wavelength
    by_fields = np.zeros((N_POLARIZATION + N_FACTORS + 1, ROW))
    d_total = np.empty((directions, ROW))
    d_photons = np.empty((directions, ROW))  # of the logarithm of the factors of the whole pixel
    while True:
        j = claim(counter)
        if j >= spans.shape[0]:
            break
        slow, begin, end = spans[j, 0], spans[j, 1], spans[j, 2]
        start = begin // LANES * LANES
        width = (end - start + LANES - 1) // LANES * LANES
        row = slow * changes.shape[2]
        pixel = row + begin
        for i in range(width):
            work[TOTAL, i] = p.scaling.background
            work[FIRST_POLARIZATION, i] = p.scaling.initial_polarization
            whole[FIRST_SAMPLE, i] = -1
        clear(of_fields, width)
        for n in range(directions):
            for i in range(width):
                d_total[n, i] = along.scaling[n, N_SCALING + 1]
                d_photons[n, i] = 0.0
        sample = 0
        for layer in range(inputs.layers):
            for sub in range(n_sub * n_sub):
                rays(p.geometry, n_sub, layer, sub, slow, start, width, work)
                places(p.geometry, n_sub, layer, sub, slow, start, width, of_place)
                if sub == 0 and layer == 0 and not p.scaling.solid_angle_per_term:
                    add_relative(along.geometry, width, of_place[3], work[SOLID_ANGLE], d_photons)
                if sub == 0 and layer == inputs.layers - 1 and not p.scaling.capture_per_term:
                    add_relative(along.geometry, width, of_place[4], work[CAPTURE], d_photons)
                for source in range(n_sources):
                    scatter(p.polarization, p.factors, p.scaling, inputs, source, width, work, whole)
                    for i in range(width):
                        first, polarized = whole[FIRST_SAMPLE, i], work[FIRST_POLARIZATION, i] != 0.0
                        whole[FIRST_SAMPLE, i] = sample if first < 0 and polarized else first
                        of_samples[BY_WEIGHT, 0, i] = 0.0
                        of_samples[BY_WAVELENGTH, 0, i] = 0.0
                        s[SQX, i] = 0.0
                        s[SQY, i] = 0.0
                        s[SQZ, i] = 0.0
                    if inputs.blank_terms > 0:
                        add_blank(p.scaling, inputs.blank_terms, width, work, whole, 0, of_samples, of_fields)
                    table = which_table(inputs, pixel, sample)
                    for turn in range(turns):
                        latched = has_latched(inputs.scan_order, pixel, sample * turns + turn)
                        add_slopes(
                            p, inputs, source, table, turn, latched, np.uint64(width), work, whole, (0, 0),
                            (of_terms, of_samples, of_fields),
                        )  # fmt: skip
                        by_vector(inputs.orientations, table, turn, width, of_terms, s)
                        for n in range(directions):
                            if along.turns[n] != 0:
                                turned(along.orientations, n, table, turn, width, work, of_terms, d_total)
                            elif MULTIPLIES:
                                for i in range(width):
                                    d_total[n, i] *= of_terms[BY_BEFORE, 0, i]
                    weighed(p, inputs, source, width, work, s, by_ray, by_fields)
                    for n in range(directions):
                        moved(along.geometry, n, width, of_place, s)
                        reweighed(along, n, source, width, by_ray, by_fields, s)
                        if not p.scaling.polarization_per_term:
                            repolarized(n, sample, width, work, whole, s, d_photons)
                        scattered(p.scaling, inputs, along, n, source, width, work, of_samples, s, d_total)
                    sample += 1
        photons(p.scaling, work, image, row + start, begin - start, end - start)
        for n in range(directions):
            add_fields(along.lattice_shape, n, N_LATTICE_SHAPE, 0, width, of_fields, d_total)
            add_fields(along.structure_factor, n, N_STRUCTURE_FACTOR, N_LATTICE_SHAPE, width, of_fields, d_total)
            add_fields(along.scaling, n, N_SCALING, N_LATTICE_SHAPE + N_STRUCTURE_FACTOR, width, of_fields, d_total)
            d_scale = along.scaling[n, N_SCALING]
            changed_photons(p.scaling, n, d_scale, work, image, d_total, d_photons, changes, (slow, row, start, begin, end))


def places(gp, n_sub, layer, sub, slow, start, width, of_place):
    """The derivatives of ray, solid angle and captured fraction by the fields of the geometry."""
    fast, row = start + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub
    for i in range(width):
        add_geometry(of_place[0], 0, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 1.0, 0.0, 0.0, 0.0, 0.0))
    for i in range(width):
        add_geometry(of_place[1], 0, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 1.0, 0.0, 0.0, 0.0))
    for i in range(width):
        add_geometry(of_place[2], 0, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 0.0, 1.0, 0.0, 0.0))
    for i in range(width):
        add_geometry(of_place[3], 0, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 0.0, 0.0, 1.0, 0.0))
    for i in range(width):
        add_geometry(of_place[4], 0, i, 0.0, 1.0, geometry_derivative(gp, fast + i, row, layer, 0.0, 0.0, 0.0, 0.0, 1.0))


def add_relative(changes, width, slopes, value, d_photons):
    """Add the relative change of a factor that is one for the whole pixel."""
    for n in range(d_photons.shape[0]):
        for m in range(N_GEOMETRY):
            if changes[n, m] != 0.0:
                for i in range(width):
                    d_photons[n, i] += changes[n, m] * slopes[m, i] / value[i] if value[i] != 0.0 else 0.0


def by_vector(axes, table, turn, width, of_terms, s):
    """Add the derivatives of the terms of one orientation by the scattering vector."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(width):
        by_h, by_k, by_l, before = of_terms[BY_H, 0, i], of_terms[BY_K, 0, i], of_terms[BY_L, 0, i], of_terms[BY_BEFORE, 0, i]
        s[SQX, i] = before * s[SQX, i] + (ax * by_h + bx * by_k + cx * by_l)
        s[SQY, i] = before * s[SQY, i] + (ay * by_h + by * by_k + cy * by_l)
        s[SQZ, i] = before * s[SQZ, i] + (az * by_h + bz * by_k + cz * by_l)


def turned(changes, n, table, turn, width, work, of_terms, d_total):
    """Add the change of the terms of one orientation, where a, b and c change."""
    ax, ay, az = changes[n, table, turn, 0], changes[n, table, turn, 1], changes[n, table, turn, 2]
    bx, by, bz = changes[n, table, turn, 3], changes[n, table, turn, 4], changes[n, table, turn, 5]
    cx, cy, cz = changes[n, table, turn, 6], changes[n, table, turn, 7], changes[n, table, turn, 8]
    for i in range(width):
        qx, qy, qz = work[QX, i], work[QY, i], work[QZ, i]
        by_h = of_terms[BY_H, 0, i] * (ax * qx + ay * qy + az * qz)
        by_k = of_terms[BY_K, 0, i] * (bx * qx + by * qy + bz * qz)
        by_l = of_terms[BY_L, 0, i] * (cx * qx + cy * qy + cz * qz)
        d_total[n, i] = of_terms[BY_BEFORE, 0, i] * d_total[n, i] + (by_h + by_k + by_l)


def weighed(p, inputs, source, width, work, s, by_ray, by_fields):
    """Polarization and the other factors, and their derivatives by the rays, the wavelength and the stages' fields."""
    ix, iy, iz = inputs.incident[source, 0], inputs.incident[source, 1], inputs.incident[source, 2]
    for i in range(width):
        polarized = polarization_derivative(p.polarization, ix, iy, iz, work[DX, i], work[DY, i], work[DZ, i])
        others = factors_derivative(p.factors, ix, iy, iz, work[DX, i], work[DY, i], work[DZ, i], inputs.wavelength[source])
        s[POLARIZATION, i] = polarized[0]
        s[OTHERS, i] = others[0]
        by_ray[0, i] = polarized[1]
        by_ray[1, i] = polarized[2]
        by_ray[2, i] = polarized[3]
        by_ray[3, i] = polarized[4]
        by_ray[4, i] = polarized[5]
        by_ray[5, i] = polarized[6]
        by_ray[6, i] = others[1]
        by_ray[7, i] = others[2]
        by_ray[8, i] = others[3]
        by_ray[9, i] = others[4]
        by_ray[10, i] = others[5]
        by_ray[11, i] = others[6]
        by_ray[12, i] = others[7]
        add_polarization(by_fields, 0, i, 0.0, 1.0, polarized)
        add_factors(by_fields, N_POLARIZATION, i, 0.0, 1.0, others)


def moved(changes, n, width, of_place, s):
    """The changes of ray, solid angle and captured fraction with the fields of the geometry."""
    for i in range(width):
        s[DDX, i] = 0.0
        s[DDY, i] = 0.0
        s[DDZ, i] = 0.0
        s[D_SOLID_ANGLE, i] = 0.0
        s[D_CAPTURE, i] = 0.0
    for m in range(N_GEOMETRY):
        if changes[n, m] != 0.0:
            for i in range(width):
                s[DDX, i] += changes[n, m] * of_place[0, m, i]
                s[DDY, i] += changes[n, m] * of_place[1, m, i]
                s[DDZ, i] += changes[n, m] * of_place[2, m, i]
                s[D_SOLID_ANGLE, i] += changes[n, m] * of_place[3, m, i]
                s[D_CAPTURE, i] += changes[n, m] * of_place[4, m, i]


def reweighed(along, n, source, width, by_ray, by_fields, s):
    """The changes of polarization and the other factors."""
    for i in range(width):
        polarized = by_ray[3, i] * s[DDX, i] + by_ray[4, i] * s[DDY, i] + by_ray[5, i] * s[DDZ, i]
        others = by_ray[9, i] * s[DDX, i] + by_ray[10, i] * s[DDY, i] + by_ray[11, i] * s[DDZ, i]
        others += by_ray[12, i] * along.wavelength[n, source]
        for m in range(3):
            polarized += along.incident[n, source, m] * by_ray[m, i]
            others += along.incident[n, source, m] * by_ray[6 + m, i]
        for m in range(N_POLARIZATION):
            polarized += along.polarization[n, m] * by_fields[m, i]
        for m in range(N_FACTORS):
            others += along.factors[n, m] * by_fields[N_POLARIZATION + m, i]
        s[D_POLARIZATION, i] = polarized
        s[D_OTHERS, i] = others


def repolarized(n, sample, width, work, whole, s, d_photons):
    """The relative change of the polarization where it is one for the whole pixel."""
    for i in range(width):
        if whole[FIRST_SAMPLE, i] == sample:
            d_photons[n, i] += s[D_POLARIZATION, i] / work[FIRST_POLARIZATION, i]


def scattered(sp, inputs, along, n, source, width, work, of_samples, s, d_total):
    """The change of the total with the scattering vectors, the wavelength and the weights of a source."""
    wavelength, brightness = inputs.wavelength[source], inputs.brightness[source]
    change = along.wavelength[n, source]
    longer, brighter = change / wavelength, along.brightness[n, source]
    ix, iy, iz = along.incident[n, source, 0], along.incident[n, source, 1], along.incident[n, source, 2]
    for i in range(width):
        f, df = (s[POLARIZATION, i], s[D_POLARIZATION, i]) if sp.polarization_per_term else (1.0, 0.0)
        o, do = (work[SOLID_ANGLE, i], s[D_SOLID_ANGLE, i]) if sp.solid_angle_per_term else (1.0, 0.0)
        c, dc = (work[CAPTURE, i], s[D_CAPTURE, i]) if sp.capture_per_term else (1.0, 0.0)
        x, dx = s[OTHERS, i], s[D_OTHERS, i]
        by_q = s[SQX, i] * ((s[DDX, i] - ix) / wavelength - longer * work[QX, i])
        by_q += s[SQY, i] * ((s[DDY, i] - iy) / wavelength - longer * work[QY, i])
        by_q += s[SQZ, i] * ((s[DDZ, i] - iz) / wavelength - longer * work[QZ, i])
        d_weight = brighter * f * o * c * x + brightness * (df * o * c * x + f * (do * c * x + o * (dc * x + c * dx)))
        d_total[n, i] += by_q + of_samples[BY_WAVELENGTH, 0, i] * change + of_samples[BY_WEIGHT, 0, i] * d_weight


def add_fields(changes, n, count, first, width, of_fields, d_total):
    """Add the change of the total with fields of a stage."""
    for m in range(count):
        for i in range(width):
            d_total[n, i] += changes[n, m] * of_fields[first + m, i]


def changed_photons(sp, n, d_scale, work, image, d_total, d_photons, changes, place):
    """The change of the photons of a span; place: row of pixels, where in the image it begins, its first pixel, those of the span."""
    slow, row, start, begin, end = place
    for i in range(np.uint64(begin - start), np.uint64(end - start)):
        factor = 1.0
        if not sp.polarization_per_term:
            factor *= work[FIRST_POLARIZATION, i]
        if not sp.solid_angle_per_term:
            factor *= work[FIRST_SOLID_ANGLE, i]
        if not sp.capture_per_term:
            factor *= work[LAST_CAPTURE, i]
        pixel = np.uint64(start) + i
        change = factor * (sp.photons * d_total[n, i] + d_scale * work[TOTAL, i])
        changes[n, slow, pixel] = change + image[np.uint64(row) + pixel] * d_photons[n, i]
