"""The adjoint of the rendering kernel: photons, a loss of them, and what that changes with, in one pass over the same terms.

On the way there a pixel's total, and what every term of it changes with. Then the loss. On the way back, in the opposite order, its
derivatives by every orientation, source and field of a stage's parameters. Written as render.py is, and with the same rules: loops over
the pixels of a span innermost, and no array under two names. Slopes are derivatives of the total, gradients those of L.
"""

from typing import NamedTuple

import numpy as np

from nbnumba.kernel.cpu.render import (
    CAPTURE,
    DX,
    DY,
    DZ,
    FIRST_POLARIZATION,
    FIRST_SAMPLE,
    FIRST_SOLID_ANGLE,
    INSIDE,
    LANES,
    LAST_CAPTURE,
    LONGEST,
    QX,
    QY,
    QZ,
    ROW,
    ROWS,
    SOLID_ANGLE,
    TOTAL,
    WEIGHT,
    WHOLE_ROWS,
    photons,
    rays,
    rows_of_numbers,
    scatter,
)

# How many fields of their parameters stages vary with.
N_GEOMETRY = N_LATTICE_SHAPE = N_STRUCTURE_FACTOR = N_POLARIZATION = N_SCALING = N_FACTORS = 0
N_TERM = 0  # those of what is worked out for every term: lattice shape, structure factor, scaling
N_ALL = 0
MULTIPLIES = 0  # whether a term changes what the total before it counts
KEPT = 1  # whether slopes are kept for all terms of a pixel, or worked out again on the way back
WITH_TABLE = 0  # whether the table of structure factors is wanted

# Slopes: of every term by its indices, and by the total before it; of every sample.
BY_H, BY_K, BY_L, BY_BEFORE = range(4)
BY_WEIGHT, BY_WAVELENGTH = range(2)
# Gradients: by what a pixel, a sample and a sub-pixel have.
G_TOTAL, G_POLARIZATION, G_PHOTONS, GQX, GQY, GQZ, G_WEIGHT, G_WAVELENGTH, GDX, GDY, GDZ, G_SOLID_ANGLE, G_CAPTURE, G_ROWS = range(14)
# Sums over pixels: L, dL by a source, by the photons of a unit, by the background, and then by the fields of stages, those of terms first.
OF_LOSS, OF_INCIDENT, OF_WAVELENGTH, OF_BRIGHTNESS, OF_PHOTONS, OF_BACKGROUND, OF_FIELDS = 0, 1, 4, 5, 6, 7, 8


class Sums(NamedTuple):
    """L, and its derivatives by what the kernel is given; in the kernel every share of the spans has a row of its own."""

    loss: np.ndarray  # (1,)
    orientations: np.ndarray  # (tables, turns, 9) by a, b, c
    incident: np.ndarray  # (sources, 3)
    wavelength: np.ndarray  # (sources,)
    brightness: np.ndarray  # (sources,)
    geometry: np.ndarray  # (fields,), those that the stage varies with
    lattice_shape: np.ndarray
    structure_factor: np.ndarray
    polarization: np.ndarray
    scaling: np.ndarray  # fields, then photons and background
    factors: np.ndarray
    table: np.ndarray  # of the structure factors; empty if it was not asked for


def loss(photons, observed, weight): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def lattice_shape_derivative(p, x, y, z): ...


def structure_factor_derivative(p, h, k, l, h0, k0, l0, wavelength, latched): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz): ...


def scaling_derivative(p, total, f_latt, f_cell, weight): ...


def factors_derivative(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def spread(p, h, k, l, h0, k0, l0, wavelength, latched, g, into): ...


def nearest(x): ...


def claim(counter): ...


# Made by unrolled.adder().
def add_geometry(rows, first, i, before, factor, slopes): ...


def add_lattice_shape(rows, first, i, before, factor, slopes): ...


def add_structure_factor(rows, first, i, before, factor, slopes): ...


def add_polarization(rows, first, i, before, factor, slopes): ...


def add_scaling(rows, first, i, before, factor, slopes): ...


def add_factors(rows, first, i, before, factor, slopes): ...


def adjoint(p, inputs, spans, observed, weights, rows, sums, counter):
    """Add L, the sum of loss(photons, observed, weight) over the pixels, and its derivatives to ``sums``; observed, weights: [slow, fast].

    rows: for how many terms of a pixel slopes are kept on the way there.
    Spans are dealt out into shares, as many as Sums has rows, which threads claim: what a share adds up to depends on nothing else.
    """
    n_sub, n_sources, turns = inputs.oversample, inputs.wavelength.size, inputs.orientations.shape[1]
    samples = inputs.layers * n_sub * n_sub * n_sources
    shares = sums.loss.shape[0]
    work = rows_of_numbers(ROWS)
    whole = np.empty((WHOLE_ROWS, ROW), np.int64)
    found = np.empty(LONGEST)  # photons
    of_terms = np.empty((4 if MULTIPLIES else 3, rows, ROW))
    of_samples = np.empty((2, samples if KEPT else 1, ROW))
    of_fields = rows_of_numbers(N_TERM + 1)
    g = rows_of_numbers(G_ROWS)
    by = rows_of_numbers(OF_FIELDS + N_ALL)
    while True:
        share = claim(counter)
        if share >= shares:
            break
        clear(by, LONGEST)
        for j in range(share, spans.shape[0], shares):
            slow, begin, end = spans[j, 0], spans[j, 1], spans[j, 2]
            start = begin // LANES * LANES
            width = (end - start + LANES - 1) // LANES * LANES
            pixel = slow * observed.shape[1] + begin
            for i in range(width):
                work[TOTAL, i] = p.scaling.background
                work[FIRST_POLARIZATION, i] = p.scaling.initial_polarization
                whole[FIRST_SAMPLE, i] = -1
            clear(of_fields, width)
            sample = 0
            for layer in range(inputs.layers):
                for sub in range(n_sub * n_sub):
                    rays(p.geometry, n_sub, layer, sub, slow, start, width, work)
                    for source in range(n_sources):
                        scatter(p.polarization, p.factors, p.scaling, inputs, source, width, work, whole)
                        at = sample if KEPT else 0
                        for i in range(width):
                            first, polarized = whole[FIRST_SAMPLE, i], work[FIRST_POLARIZATION, i] != 0.0
                            whole[FIRST_SAMPLE, i] = sample if first < 0 and polarized else first
                            of_samples[BY_WEIGHT, at, i] = 0.0
                            of_samples[BY_WAVELENGTH, at, i] = 0.0
                        if inputs.blank_terms > 0:
                            add_blank(p.scaling, inputs.blank_terms, width, work, whole, at, of_samples, of_fields)
                        table = which_table(inputs, pixel, sample)
                        for turn in range(turns):
                            term = sample * turns + turn
                            latched = has_latched(inputs.scan_order, pixel, term)
                            kept = term if KEPT else 0
                            add_slopes(
                                p, inputs, source, table, turn, latched, np.uint64(width), work, whole, (kept, at),
                                (of_terms, of_samples, of_fields),
                            )  # fmt: skip
                        sample += 1
            photons(p.scaling, work, found, 0, begin - start, end - start)
            by_pixel(p.scaling, (observed, weights), found, work, (slow, start, begin, end), of_fields, g, by)
            for layer in range(inputs.layers - 1, -1, -1):
                for sub in range(n_sub * n_sub - 1, -1, -1):
                    if samples > 1:  # else everything is where it was
                        rays(p.geometry, n_sub, layer, sub, slow, start, width, work)
                    for n in range(GDX, G_ROWS):
                        for i in range(width):
                            g[n, i] = 0.0
                    for source in range(n_sources - 1, -1, -1):
                        sample -= 1
                        if samples > 1:
                            scatter(p.polarization, p.factors, p.scaling, inputs, source, width, work, whole)
                        at = sample if KEPT else 0
                        for i in range(width):
                            g[GQX, i] = 0.0
                            g[GQY, i] = 0.0
                            g[GQZ, i] = 0.0
                            of_samples[BY_WEIGHT, at, i] = of_samples[BY_WEIGHT, at, i] if KEPT else 0.0
                            of_samples[BY_WAVELENGTH, at, i] = of_samples[BY_WAVELENGTH, at, i] if KEPT else 0.0
                            g[G_WEIGHT, i] = g[G_TOTAL, i]
                        if not KEPT and inputs.blank_terms > 0:
                            add_blank(p.scaling, inputs.blank_terms, width, work, whole, 0, of_samples, of_fields)
                        table = which_table(inputs, pixel, sample)
                        for turn in range(turns - 1, -1, -1):
                            term = sample * turns + turn
                            latched = has_latched(inputs.scan_order, pixel, term)
                            if not KEPT:
                                add_slopes(
                                    p, inputs, source, table, turn, latched, np.uint64(width), work, whole, (0, 0),
                                    (of_terms, of_samples, of_fields),
                                )  # fmt: skip
                            row = term if KEPT else 0
                            products = sums_of_products(inputs.orientations, table, turn, width, row, of_terms, work, g)
                            for n in range(9):
                                sums.orientations[share, table, turn, n] += products[n]
                            if WITH_TABLE:
                                by_table(p, inputs, source, table, turn, latched, width, work, whole, g, share, sums.table)
                            if MULTIPLIES:
                                for i in range(width):
                                    g[G_TOTAL, i] *= of_terms[BY_BEFORE, row, i]
                        for i in range(width):
                            g[G_WAVELENGTH, i] = g[G_WEIGHT, i] * of_samples[BY_WAVELENGTH, at, i]
                            g[G_WEIGHT, i] *= of_samples[BY_WEIGHT, at, i]
                        by_ray(p, inputs, source, sample, width, work, whole, g, by)
                        for n in range(3):
                            sums.incident[share, source, n] += total_of(by, OF_INCIDENT + n, width)
                        sums.wavelength[share, source] += total_of(by, OF_WAVELENGTH, width)
                        sums.brightness[share, source] += total_of(by, OF_BRIGHTNESS, width)
                    by_place(p, inputs, layer, sub, slow, start, width, work, g, by)
            if MULTIPLIES:
                for i in range(width):
                    by[OF_BACKGROUND, i] += g[G_TOTAL, i]  # what is left of the background
        sums.loss[share, 0] = total_of(by, OF_LOSS, LONGEST)
        at = OF_FIELDS
        for n in range(N_LATTICE_SHAPE):
            sums.lattice_shape[share, n] = total_of(by, at + n, LONGEST)
        at += N_LATTICE_SHAPE
        for n in range(N_STRUCTURE_FACTOR):
            sums.structure_factor[share, n] = total_of(by, at + n, LONGEST)
        at += N_STRUCTURE_FACTOR
        for n in range(N_SCALING):
            sums.scaling[share, n] = total_of(by, at + n, LONGEST)
        sums.scaling[share, N_SCALING] = total_of(by, OF_PHOTONS, LONGEST)
        sums.scaling[share, N_SCALING + 1] = total_of(by, OF_BACKGROUND, LONGEST)
        at += N_SCALING
        for n in range(N_GEOMETRY):
            sums.geometry[share, n] = total_of(by, at + n, LONGEST)
        at += N_GEOMETRY
        for n in range(N_POLARIZATION):
            sums.polarization[share, n] = total_of(by, at + n, LONGEST)
        at += N_POLARIZATION
        for n in range(N_FACTORS):
            sums.factors[share, n] = total_of(by, at + n, LONGEST)


def clear(rows, width):
    """Set the first elements of every row to 0."""
    for n in range(rows.shape[0]):
        for i in range(width):
            rows[n, i] = 0.0


def which_table(inputs, pixel, sample):
    """The table of orientations that a sample takes."""
    return 1 if pixel == inputs.scan_order.first_pixel and sample == inputs.scan_order.first_sample else 0


def has_latched(order, pixel, term):
    """1 from the term on at which the structure factor's latch falls; order: ScanOrder."""
    return 1 if pixel > order.latch_pixel or (pixel == order.latch_pixel and term >= order.latch_term) else 0


def add_slopes(p, inputs, source, table, turn, latched, count, work, whole, rows, slopes):
    """Add the terms of one orientation to the total, and to its slopes; keep those by the indices of the terms.

    rows: of the term and of its sample; slopes: of terms, of samples, by fields.
    """
    (row, at), (of_terms, of_samples, of_fields) = rows, slopes
    axes, wavelength = inputs.orientations, inputs.wavelength[source]
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(np.uint64(0), count):
        qx, qy, qz, total = work[QX, i], work[QY, i], work[QZ, i], work[TOTAL, i]
        h = ax * qx + (ay * qy + az * qz)
        k = bx * qx + (by * qy + bz * qz)
        l = cx * qx + (cy * qy + cz * qz)
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        shape = lattice_shape_derivative(p.lattice_shape, h - h0, k - k0, l - l0)
        factor = structure_factor_derivative(p.structure_factor, h, k, l, h0, k0, l0, wavelength, latched)
        term = scaling_derivative(p.scaling, total, shape[0], factor[0], work[WEIGHT, i])
        counts = whole[INSIDE, i] != 0
        by_before = term[1] if counts else 1.0
        by_latt = term[2] if counts else 0.0
        by_cell = term[3] if counts else 0.0
        by_weight = term[4] if counts else 0.0
        work[TOTAL, i] = term[0] if counts else total
        of_terms[BY_H, row, i] = by_both(by_latt, shape[1], by_cell, factor[1])
        of_terms[BY_K, row, i] = by_both(by_latt, shape[2], by_cell, factor[2])
        of_terms[BY_L, row, i] = by_both(by_latt, shape[3], by_cell, factor[3])
        of_samples[BY_WEIGHT, at, i] = by_before * of_samples[BY_WEIGHT, at, i] + by_weight
        of_samples[BY_WAVELENGTH, at, i] = by_before * of_samples[BY_WAVELENGTH, at, i] + times(by_cell, factor[4])
        if MULTIPLIES:
            of_terms[BY_BEFORE, row, i] = by_before
        add_lattice_shape(of_fields, 0, i, by_before, by_latt, shape)
        add_structure_factor(of_fields, N_LATTICE_SHAPE, i, by_before, by_cell, factor)
        add_scaling(of_fields, N_LATTICE_SHAPE + N_STRUCTURE_FACTOR, i, by_before, 1.0 if counts else 0.0, term)


def add_blank(sp, terms, count, work, whole, at, of_samples, of_fields):
    """Add the terms without a reflection of samples that are cut to the total, and to its slopes."""
    for i in range(count):
        total, counts = work[TOTAL, i], whole[INSIDE, i] == 0
        blank = scaling_derivative(sp, total, 0.0, 0.0, terms * work[WEIGHT, i])
        work[TOTAL, i] = blank[0] if counts else total
        of_samples[BY_WEIGHT, at, i] += terms * blank[4] if counts else 0.0
        add_scaling(of_fields, N_LATTICE_SHAPE + N_STRUCTURE_FACTOR, i, 1.0, 1.0 if counts else 0.0, blank)


def by_both(by_latt, latt, by_cell, cell):
    """The chain rule; a slope that is 0 by name costs nothing."""
    return by_latt * latt + by_cell * cell


def times(by, slope):
    """The chain rule for one; a slope that is 0 by name costs nothing."""
    return by * slope


def by_pixel(sp, data, found, work, place, of_fields, g, by):
    """The loss; dL by the total, by the logarithm of photons, by a polarization of the whole pixel, by fields.

    data: observed, weights; found: photons; place: row of pixels, its first, those of the span.
    """
    (observed, weights), (slow, start, begin, end) = data, place
    width = (end - start + LANES - 1) // LANES * LANES
    for i in range(width):
        g[G_TOTAL, i] = 0.0
        g[G_POLARIZATION, i] = 0.0
        g[G_PHOTONS, i] = 0.0
    for i in range(np.uint64(begin - start), np.uint64(end - start)):
        pixel = np.uint64(start) + i
        of_pixel = loss(found[i], observed[slow, pixel], weights[slow, pixel])
        by[OF_LOSS, i] += of_pixel[0]
        g[G_PHOTONS, i] = of_pixel[1] * found[i]
        factor = 1.0
        if not sp.polarization_per_term:
            factor *= work[FIRST_POLARIZATION, i]
        if not sp.solid_angle_per_term:
            factor *= work[FIRST_SOLID_ANGLE, i]
        if not sp.capture_per_term:
            factor *= work[LAST_CAPTURE, i]
        g[G_TOTAL, i] = of_pixel[1] * sp.photons * factor
        if not sp.polarization_per_term and work[FIRST_POLARIZATION, i] != 0.0:
            g[G_POLARIZATION, i] = g[G_PHOTONS, i] / work[FIRST_POLARIZATION, i]
        by[OF_PHOTONS, i] += of_pixel[1] * factor * work[TOTAL, i]
        if not MULTIPLIES:
            by[OF_BACKGROUND, i] += g[G_TOTAL, i]
    for n in range(N_TERM):
        for i in range(width):
            by[OF_FIELDS + n, i] += g[G_TOTAL, i] * of_fields[n, i]


def sums_of_products(axes, table, turn, count, row, of_terms, work, g):
    """Sums of index times scattering vector over pixels: dL by a, b and c; adds dL by scattering vectors."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    hx, hy, hz, kx, ky, kz, lx, ly, lz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        g_total, qx, qy, qz = g[G_TOTAL, i], work[QX, i], work[QY, i], work[QZ, i]
        gh, gk, gl = g_total * of_terms[BY_H, row, i], g_total * of_terms[BY_K, row, i], g_total * of_terms[BY_L, row, i]
        hx += gh * qx
        hy += gh * qy
        hz += gh * qz
        kx += gk * qx
        ky += gk * qy
        kz += gk * qz
        lx += gl * qx
        ly += gl * qy
        lz += gl * qz
        g[GQX, i] += ax * gh + bx * gk + cx * gl
        g[GQY, i] += ay * gh + by * gk + cy * gl
        g[GQZ, i] += az * gh + bz * gk + cz * gl
    return hx, hy, hz, kx, ky, kz, lx, ly, lz


def by_table(p, inputs, source, table, turn, latched, count, work, whole, g, share, of_table):
    """From the terms of one orientation to the elements of the table that their structure factors come from."""
    axes, wavelength = inputs.orientations, inputs.wavelength[source]
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(count):
        qx, qy, qz = work[QX, i], work[QY, i], work[QZ, i]
        h = ax * qx + (ay * qy + az * qz)
        k = bx * qx + (by * qy + bz * qz)
        l = cx * qx + (cy * qy + cz * qz)
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        shape = lattice_shape_derivative(p.lattice_shape, h - h0, k - k0, l - l0)
        factor = structure_factor_derivative(p.structure_factor, h, k, l, h0, k0, l0, wavelength, latched)
        term = scaling_derivative(p.scaling, work[TOTAL, i], shape[0], factor[0], work[WEIGHT, i])
        if whole[INSIDE, i] != 0 and g[G_TOTAL, i] != 0.0:
            spread(p.structure_factor, h, k, l, h0, k0, l0, wavelength, latched, g[G_TOTAL, i] * term[3], of_table[share])


def by_ray(p, inputs, source, sample, width, work, whole, g, by):
    """From scattering vectors and weights of a source to rays and factors."""
    ix, iy, iz = inputs.incident[source, 0], inputs.incident[source, 1], inputs.incident[source, 2]
    wavelength, brightness = inputs.wavelength[source], inputs.brightness[source]
    fields = OF_FIELDS + N_TERM + N_GEOMETRY
    for i in range(width):
        dx, dy, dz, gqx, gqy, gqz, g_weight = work[DX, i], work[DY, i], work[DZ, i], g[GQX, i], g[GQY, i], g[GQZ, i], g[G_WEIGHT, i]
        polarized = polarization_derivative(p.polarization, ix, iy, iz, dx, dy, dz)
        others = factors_derivative(p.factors, ix, iy, iz, dx, dy, dz, wavelength)
        f = polarized[0] if p.scaling.polarization_per_term else 1.0
        o = work[SOLID_ANGLE, i] if p.scaling.solid_angle_per_term else 1.0
        c = work[CAPTURE, i] if p.scaling.capture_per_term else 1.0
        of_pixel = g[G_POLARIZATION, i] if whole[FIRST_SAMPLE, i] == sample else 0.0
        g_polarized = g_weight * brightness * o * c * others[0] if p.scaling.polarization_per_term else of_pixel
        g_others = g_weight * brightness * f * o * c
        g[GDX, i] += gqx / wavelength + (g_polarized * polarized[4] + times(g_others, others[4]))
        g[GDY, i] += gqy / wavelength + (g_polarized * polarized[5] + times(g_others, others[5]))
        g[GDZ, i] += gqz / wavelength + (g_polarized * polarized[6] + times(g_others, others[6]))
        if p.scaling.solid_angle_per_term:
            g[G_SOLID_ANGLE, i] += g_weight * brightness * f * c * others[0]
        if p.scaling.capture_per_term:
            g[G_CAPTURE, i] += g_weight * brightness * f * o * others[0]
        by[OF_INCIDENT, i] = g_polarized * polarized[1] + times(g_others, others[1]) - gqx / wavelength
        by[OF_INCIDENT + 1, i] = g_polarized * polarized[2] + times(g_others, others[2]) - gqy / wavelength
        by[OF_INCIDENT + 2, i] = g_polarized * polarized[3] + times(g_others, others[3]) - gqz / wavelength
        by_q = -(gqx * work[QX, i] + gqy * work[QY, i] + gqz * work[QZ, i]) / wavelength
        by[OF_WAVELENGTH, i] = by_q + g[G_WAVELENGTH, i] + times(g_others, others[7])
        by[OF_BRIGHTNESS, i] = g_weight * f * o * c * others[0]
        add_polarization(by, fields, i, 1.0, g_polarized, polarized)
        add_factors(by, fields + N_POLARIZATION, i, 1.0, g_others, others)


def by_place(p, inputs, layer, sub, slow, start, width, work, g, by):
    """From rays and factors of a sub-pixel to the fields of the geometry."""
    if sub == 0:
        for i in range(width):
            if not p.scaling.solid_angle_per_term and layer == 0 and work[SOLID_ANGLE, i] != 0.0:
                g[G_SOLID_ANGLE, i] += g[G_PHOTONS, i] / work[SOLID_ANGLE, i]
            if not p.scaling.capture_per_term and layer == inputs.layers - 1 and work[CAPTURE, i] != 0.0:
                g[G_CAPTURE, i] += g[G_PHOTONS, i] / work[CAPTURE, i]
    n_sub = inputs.oversample
    fast, row = start + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub
    for i in range(width):
        gx, gy, gz = g[GDX, i], g[GDY, i], g[GDZ, i]
        of_place = geometry_derivative(p.geometry, fast + i, row, layer, gx, gy, gz, g[G_SOLID_ANGLE, i], g[G_CAPTURE, i])
        add_geometry(by, OF_FIELDS + N_TERM, i, 1.0, 1.0, of_place)


def total_of(rows, row, count):
    """The sum of the first elements of a row."""
    total = 0.0
    for i in range(count):
        total += rows[row, i]
    return total
