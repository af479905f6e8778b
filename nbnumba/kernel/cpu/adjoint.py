"""The adjoint of the rendering kernel: photons, a loss of them, and what that changes with, in one pass over the same terms.

On the way there a pixel's total, and what every term of it changes with. Then the loss. On the way back, in the opposite order, its
derivatives by every orientation, source and field of a stage's parameters. Written as render.py is, and with the same rules: loops over
the pixels of a span innermost, and no array under two names. Slopes (s_...) are derivatives of the total, gradients (g...) those of L.
"""

from typing import NamedTuple

import numpy as np

from nbnumba.kernel.cpu.render import LANES, LONGEST, photons, rays, scatter

# How many fields of their parameters stages vary with.
N_GEOMETRY = N_LATTICE_SHAPE = N_STRUCTURE_FACTOR = N_POLARIZATION = N_SCALING = 0
MULTIPLIES = 0  # whether a term changes what the total before it counts
KEPT = 1  # whether slopes are kept for all terms of a pixel, or worked out again on the way back
WITH_TABLE = 0  # whether the table of structure factors is wanted
ROW = LONGEST + 8  # of arrays with several: rows of 4096 bytes would all be in the same lines of the cache


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
    table: np.ndarray  # of the structure factors; empty if it was not asked for


def loss(photons, observed, weight): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def lattice_shape_derivative(p, x, y, z): ...


def structure_factor_derivative(p, h, k, l, h0, k0, l0, latched): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz): ...


def scaling_derivative(p, total, f_latt, f_cell, weight): ...


def spread(p, h, k, l, h0, k0, l0, latched, g, into): ...


def nearest(x): ...


def claim(counter): ...


# Made by fields.adder().
def add_geometry(rows, i, before, factor, slopes): ...


def add_lattice_shape(rows, i, before, factor, slopes): ...


def add_structure_factor(rows, i, before, factor, slopes): ...


def add_polarization(rows, i, before, factor, slopes): ...


def add_scaling(rows, i, before, factor, slopes): ...


def adjoint(
    gp, lp, fp, pp, sp, sampling, spans, observed, weights, rows,
    of_loss, orientations, incident, wavelength, brightness, of_geometry, of_shape, of_factor, of_polarization, of_scaling,
    of_table, counter,
):  # fmt: skip
    """Add L, the sum of loss(photons, observed, weight) over the pixels, and its derivatives to Sums; observed, weights: [slow, fast].

    rows: for how many terms of a pixel slopes are kept on the way there.
    Spans are dealt out into shares, as many as Sums has rows, which threads claim: what a share adds up to depends on nothing else.
    """
    n_sub, n_sources, turns = sampling.oversample, sampling.wavelength.size, sampling.orientations.shape[1]
    samples = sampling.layers * n_sub * n_sub * n_sources
    shares = of_loss.shape[0]
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
    found = np.empty((1, LONGEST))  # photons
    s_h = np.empty((rows, ROW))
    s_k = np.empty((rows, ROW))
    s_l = np.empty((rows, ROW))
    s_before = np.empty((rows if MULTIPLIES else 1, ROW))
    s_weight = np.empty((samples if KEPT else 1, ROW))
    s_shape = np.empty((N_LATTICE_SHAPE + 1, ROW))
    s_factor = np.empty((N_STRUCTURE_FACTOR + 1, ROW))
    s_scaling = np.empty((N_SCALING + 1, ROW))
    g_total = np.empty(LONGEST)
    g_polarization = np.empty(LONGEST)
    g_factors = np.empty(LONGEST)
    gqx = np.empty(LONGEST)
    gqy = np.empty(LONGEST)
    gqz = np.empty(LONGEST)
    g_weight = np.empty(LONGEST)
    gdx = np.empty(LONGEST)
    gdy = np.empty(LONGEST)
    gdz = np.empty(LONGEST)
    g_solid_angle = np.empty(LONGEST)
    g_capture = np.empty(LONGEST)
    by_loss = np.empty((1, ROW))
    by_geometry = np.empty((N_GEOMETRY + 1, ROW))
    by_shape = np.empty((N_LATTICE_SHAPE + 1, ROW))
    by_factor = np.empty((N_STRUCTURE_FACTOR + 1, ROW))
    by_polarization = np.empty((N_POLARIZATION + 1, ROW))
    by_scaling = np.empty((N_SCALING + 2, ROW))
    by_source = np.empty((5, ROW))
    while True:
        share = claim(counter)
        if share >= shares:
            break
        clear(by_loss, LONGEST)
        clear(by_geometry, LONGEST)
        clear(by_shape, LONGEST)
        clear(by_factor, LONGEST)
        clear(by_polarization, LONGEST)
        clear(by_scaling, LONGEST)
        for j in range(share, spans.shape[0], shares):
            slow, begin, end = spans[j, 0], spans[j, 1], spans[j, 2]
            start = begin // LANES * LANES
            width = (end - start + LANES - 1) // LANES * LANES
            pixel = slow * observed.shape[1] + begin
            for i in range(width):
                total[i] = sp.background
                first_polarization[i] = sp.initial_polarization
                first_sample[i] = -1
            clear(s_shape, width)
            clear(s_factor, width)
            clear(s_scaling, width)
            sample = 0
            for layer in range(sampling.layers):
                for sub in range(n_sub * n_sub):
                    rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture)
                    for source in range(n_sources):
                        scatter(
                            pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture,
                            qx, qy, qz, inside, weight, first_polarization,
                        )  # fmt: skip
                        at = sample if KEPT else 0
                        for i in range(width):
                            if first_sample[i] < 0 and first_polarization[i] != 0.0:
                                first_sample[i] = sample
                            s_weight[at, i] = 0.0
                        if sampling.blank_terms > 0:
                            add_blank(sp, sampling.blank_terms, width, inside, weight, total, at, s_weight, s_scaling)
                        table = which_table(sampling, pixel, sample)
                        for turn in range(turns):
                            term = sample * turns + turn
                            add_slopes(
                                lp, fp, sp, sampling.orientations, table, turn, has_latched(sampling, pixel, term),
                                np.uint64(width), qx, qy, qz, inside, weight, total, term if KEPT else 0, s_h, s_k, s_l, s_before,
                                at, s_weight, s_shape, s_factor, s_scaling,
                            )  # fmt: skip
                        sample += 1
            photons(
                sp, total, first_polarization, first_solid_angle, last_capture, found, 0, 0, begin - start, end - start,
            )  # fmt: skip
            by_pixel(
                sp, observed, weights, found, total, slow, start, begin, end, width,
                first_polarization, first_solid_angle, last_capture, s_shape, s_factor, s_scaling,
                g_total, g_polarization, g_factors, by_loss, by_shape, by_factor, by_scaling,
            )  # fmt: skip
            for layer in range(sampling.layers - 1, -1, -1):
                for sub in range(n_sub * n_sub - 1, -1, -1):
                    if samples > 1:  # else everything is where it was
                        rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture)
                    for i in range(width):
                        gdx[i] = 0.0
                        gdy[i] = 0.0
                        gdz[i] = 0.0
                        g_solid_angle[i] = 0.0
                        g_capture[i] = 0.0
                    for source in range(n_sources - 1, -1, -1):
                        sample -= 1
                        if samples > 1:
                            scatter(
                                pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture,
                                qx, qy, qz, inside, weight, first_polarization,
                            )  # fmt: skip
                        at = sample if KEPT else 0
                        for i in range(width):
                            gqx[i] = 0.0
                            gqy[i] = 0.0
                            gqz[i] = 0.0
                            s_weight[at, i] = s_weight[at, i] if KEPT else 0.0
                            g_weight[i] = g_total[i]
                        if not KEPT and sampling.blank_terms > 0:
                            add_blank(sp, sampling.blank_terms, width, inside, weight, total, 0, s_weight, s_scaling)
                        table = which_table(sampling, pixel, sample)
                        for turn in range(turns - 1, -1, -1):
                            term = sample * turns + turn
                            if not KEPT:
                                add_slopes(
                                    lp, fp, sp, sampling.orientations, table, turn, has_latched(sampling, pixel, term),
                                    np.uint64(width), qx, qy, qz, inside, weight, total, 0, s_h, s_k, s_l, s_before, 0, s_weight,
                                    s_shape, s_factor, s_scaling,
                                )  # fmt: skip
                            row = term if KEPT else 0
                            products = sums_of_products(
                                sampling.orientations, table, turn, width, row, s_h, s_k, s_l, g_total, qx, qy, qz, gqx, gqy, gqz
                            )
                            for n in range(9):
                                orientations[share, table, turn, n] += products[n]
                            if WITH_TABLE:
                                by_table(
                                    lp, fp, sp, sampling.orientations, table, turn, has_latched(sampling, pixel, term), width,
                                    qx, qy, qz, inside, weight, total, g_total, share, of_table,
                                )  # fmt: skip
                            if MULTIPLIES:
                                for i in range(width):
                                    g_total[i] *= s_before[row, i]
                        for i in range(width):
                            g_weight[i] *= s_weight[at, i]
                        by_ray(
                            pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture, qx, qy, qz, gqx, gqy, gqz, g_weight,
                            g_polarization, first_sample, sample, gdx, gdy, gdz, g_solid_angle, g_capture, by_polarization, by_source,
                        )  # fmt: skip
                        for n in range(3):
                            incident[share, source, n] += total_of(by_source, n, width)
                        wavelength[share, source] += total_of(by_source, 3, width)
                        brightness[share, source] += total_of(by_source, 4, width)
                    by_place(
                        gp, sp, n_sub, layer, sub, slow, start, width, g_factors, solid_angle, capture,
                        sampling.layers, gdx, gdy, gdz, g_solid_angle, g_capture, by_geometry,
                    )  # fmt: skip
            if MULTIPLIES:
                for i in range(width):
                    by_scaling[N_SCALING + 1, i] += g_total[i]  # what is left of the background
        of_loss[share, 0] = total_of(by_loss, 0, LONGEST)
        for n in range(N_GEOMETRY):
            of_geometry[share, n] = total_of(by_geometry, n, LONGEST)
        for n in range(N_LATTICE_SHAPE):
            of_shape[share, n] = total_of(by_shape, n, LONGEST)
        for n in range(N_STRUCTURE_FACTOR):
            of_factor[share, n] = total_of(by_factor, n, LONGEST)
        for n in range(N_POLARIZATION):
            of_polarization[share, n] = total_of(by_polarization, n, LONGEST)
        for n in range(N_SCALING + 2):
            of_scaling[share, n] = total_of(by_scaling, n, LONGEST)


def clear(rows, width):
    """Set the first elements of every row to 0."""
    for n in range(rows.shape[0]):
        for i in range(width):
            rows[n, i] = 0.0


def which_table(sampling, pixel, sample):
    """The table of orientations that a sample takes."""
    return 1 if pixel == sampling.first_pixel and sample == sampling.first_sample else 0


def has_latched(sampling, pixel, term):
    """1 from the term on at which the structure factor's latch falls."""
    return 1 if pixel > sampling.latch_pixel or (pixel == sampling.latch_pixel and term >= sampling.latch_term) else 0


def add_slopes(
    lp, fp, sp, axes, table, turn, latched, count, qx, qy, qz, inside, weight, total, row, s_h, s_k, s_l, s_before, at, s_weight,
    s_shape, s_factor, s_scaling,
):  # fmt: skip
    """Add the terms of one orientation to the total, and to its slopes; keep those by the indices of the terms."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(np.uint64(0), count):
        h = ax * qx[i] + (ay * qy[i] + az * qz[i])
        k = bx * qx[i] + (by * qy[i] + bz * qz[i])
        l = cx * qx[i] + (cy * qy[i] + cz * qz[i])
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        shape = lattice_shape_derivative(lp, h - h0, k - k0, l - l0)
        factor = structure_factor_derivative(fp, h, k, l, h0, k0, l0, latched)
        term = scaling_derivative(sp, total[i], shape[0], factor[0], weight[i])
        by_before = term[1] if inside[i] != 0 else 1.0
        by_latt = term[2] if inside[i] != 0 else 0.0
        by_cell = term[3] if inside[i] != 0 else 0.0
        by_weight = term[4] if inside[i] != 0 else 0.0
        total[i] = term[0] if inside[i] != 0 else total[i]
        s_h[row, i] = by_both(by_latt, shape[1], by_cell, factor[1])
        s_k[row, i] = by_both(by_latt, shape[2], by_cell, factor[2])
        s_l[row, i] = by_both(by_latt, shape[3], by_cell, factor[3])
        s_weight[at, i] = by_before * s_weight[at, i] + by_weight
        if MULTIPLIES:
            s_before[row, i] = by_before
        add_lattice_shape(s_shape, i, by_before, by_latt, shape)
        add_structure_factor(s_factor, i, by_before, by_cell, factor)
        add_scaling(s_scaling, i, by_before, 1.0 if inside[i] != 0 else 0.0, term)


def add_blank(sp, terms, count, inside, weight, total, at, s_weight, s_scaling):
    """Add the terms without a reflection of samples that are cut to the total, and to its slopes."""
    for i in range(count):
        blank = scaling_derivative(sp, total[i], 0.0, 0.0, terms * weight[i])
        total[i] = total[i] if inside[i] != 0 else blank[0]
        s_weight[at, i] += 0.0 if inside[i] != 0 else terms * blank[4]
        add_scaling(s_scaling, i, 1.0, 0.0 if inside[i] != 0 else 1.0, blank)


def by_both(by_latt, latt, by_cell, cell):
    """The chain rule; a slope that is 0 by name costs nothing."""
    return by_latt * latt + by_cell * cell


def by_pixel(
    sp, observed, weights, found, total, slow, start, begin, end, width,
    first_polarization, first_solid_angle, last_capture, s_shape, s_factor, s_scaling,
    g_total, g_polarization, g_factors, by_loss, by_shape, by_factor, by_scaling,
):  # fmt: skip
    """The loss; dL by the total, by the logarithm of photons (g_factors), by a polarization of the whole pixel, by fields."""
    for i in range(width):
        g_total[i] = 0.0
        g_polarization[i] = 0.0
        g_factors[i] = 0.0
    for i in range(np.uint64(begin - start), np.uint64(end - start)):
        pixel = np.uint64(start) + i
        of_pixel = loss(found[0, i], observed[slow, pixel], weights[slow, pixel])
        by_loss[0, i] += of_pixel[0]
        g, g_factors[i] = of_pixel[1], of_pixel[1] * found[0, i]
        factor = 1.0
        if not sp.polarization_per_term:
            factor *= first_polarization[i]
        if not sp.solid_angle_per_term:
            factor *= first_solid_angle[i]
        if not sp.capture_per_term:
            factor *= last_capture[i]
        g_total[i] = g * sp.photons * factor
        if not sp.polarization_per_term and first_polarization[i] != 0.0:
            g_polarization[i] = g_factors[i] / first_polarization[i]
        by_scaling[N_SCALING, i] += g * factor * total[i]
        if not MULTIPLIES:
            by_scaling[N_SCALING + 1, i] += g_total[i]
    for n in range(N_LATTICE_SHAPE):
        for i in range(width):
            by_shape[n, i] += g_total[i] * s_shape[n, i]
    for n in range(N_STRUCTURE_FACTOR):
        for i in range(width):
            by_factor[n, i] += g_total[i] * s_factor[n, i]
    for n in range(N_SCALING):
        for i in range(width):
            by_scaling[n, i] += g_total[i] * s_scaling[n, i]


def sums_of_products(axes, table, turn, count, row, s_h, s_k, s_l, g_total, qx, qy, qz, gqx, gqy, gqz):
    """Sums of index times scattering vector over pixels: dL by a, b and c; adds dL by scattering vectors."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    hx, hy, hz, kx, ky, kz, lx, ly, lz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        gh, gk, gl = g_total[i] * s_h[row, i], g_total[i] * s_k[row, i], g_total[i] * s_l[row, i]
        hx += gh * qx[i]
        hy += gh * qy[i]
        hz += gh * qz[i]
        kx += gk * qx[i]
        ky += gk * qy[i]
        kz += gk * qz[i]
        lx += gl * qx[i]
        ly += gl * qy[i]
        lz += gl * qz[i]
        gqx[i] += ax * gh + bx * gk + cx * gl
        gqy[i] += ay * gh + by * gk + cy * gl
        gqz[i] += az * gh + bz * gk + cz * gl
    return hx, hy, hz, kx, ky, kz, lx, ly, lz


def by_table(lp, fp, sp, axes, table, turn, latched, count, qx, qy, qz, inside, weight, total, g_total, share, of_table):
    """From the terms of one orientation to the elements of the table that their structure factors come from."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    for i in range(count):
        h = ax * qx[i] + (ay * qy[i] + az * qz[i])
        k = bx * qx[i] + (by * qy[i] + bz * qz[i])
        l = cx * qx[i] + (cy * qy[i] + cz * qz[i])
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        shape = lattice_shape_derivative(lp, h - h0, k - k0, l - l0)
        factor = structure_factor_derivative(fp, h, k, l, h0, k0, l0, latched)
        term = scaling_derivative(sp, total[i], shape[0], factor[0], weight[i])
        if inside[i] != 0 and g_total[i] != 0.0:
            spread(fp, h, k, l, h0, k0, l0, latched, g_total[i] * term[3], of_table[share])


def by_ray(
    pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture, qx, qy, qz, gqx, gqy, gqz, g_weight,
    g_polarization, first_sample, sample, gdx, gdy, gdz, g_solid_angle, g_capture, by_polarization, by_source,
):  # fmt: skip
    """From scattering vectors and weights of a source to rays and factors."""
    ix, iy, iz = sampling.incident[source, 0], sampling.incident[source, 1], sampling.incident[source, 2]
    wavelength, brightness = sampling.wavelength[source], sampling.brightness[source]
    for i in range(width):
        factor = polarization_derivative(pp, ix, iy, iz, dx[i], dy[i], dz[i])
        p = factor[0] if sp.polarization_per_term else 1.0
        o = solid_angle[i] if sp.solid_angle_per_term else 1.0
        c = capture[i] if sp.capture_per_term else 1.0
        of_pixel = g_polarization[i] if first_sample[i] == sample else 0.0
        g = g_weight[i] * brightness * o * c if sp.polarization_per_term else of_pixel
        gdx[i] += gqx[i] / wavelength + g * factor[4]
        gdy[i] += gqy[i] / wavelength + g * factor[5]
        gdz[i] += gqz[i] / wavelength + g * factor[6]
        if sp.solid_angle_per_term:
            g_solid_angle[i] += g_weight[i] * brightness * p * c
        if sp.capture_per_term:
            g_capture[i] += g_weight[i] * brightness * p * o
        by_source[0, i] = g * factor[1] - gqx[i] / wavelength
        by_source[1, i] = g * factor[2] - gqy[i] / wavelength
        by_source[2, i] = g * factor[3] - gqz[i] / wavelength
        by_source[3, i] = -(gqx[i] * qx[i] + gqy[i] * qy[i] + gqz[i] * qz[i]) / wavelength
        by_source[4, i] = g_weight[i] * p * o * c
        add_polarization(by_polarization, i, 1.0, g, factor)


def by_place(
    gp, sp, n_sub, layer, sub, slow, start, width, g_factors, solid_angle, capture,
    layers, gdx, gdy, gdz, g_solid_angle, g_capture, by_geometry,
):  # fmt: skip
    """From rays and factors of a sub-pixel to the fields of the geometry."""
    if sub == 0:
        for i in range(width):
            if not sp.solid_angle_per_term and layer == 0 and solid_angle[i] != 0.0:
                g_solid_angle[i] += g_factors[i] / solid_angle[i]
            if not sp.capture_per_term and layer == layers - 1 and capture[i] != 0.0:
                g_capture[i] += g_factors[i] / capture[i]
    fast = start + (sub % n_sub + 0.5) / n_sub
    for i in range(width):
        of_place = geometry_derivative(
            gp, fast + i, slow + (sub // n_sub + 0.5) / n_sub, layer, gdx[i], gdy[i], gdz[i], g_solid_angle[i], g_capture[i]
        )
        add_geometry(by_geometry, i, 1.0, 1.0, of_place)


def total_of(rows, row, count):
    """The sum of the first elements of a row."""
    total = 0.0
    for i in range(count):
        total += rows[row, i]
    return total
