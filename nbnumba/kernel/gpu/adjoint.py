"""The adjoint of the rendering kernel on the GPU: every thread goes through the terms of one pixel there and back.

What adjoint.py works out, by the same functions of the stages. Of a pixel's terms nothing is kept: on the way back they are worked out
again. No term may change what the total before it counts (device.py sees to that), hence terms can come in any order on the way back:
samples come as on the way there, and every thread goes through the orientations from another one on.

A block sums over its pixels in shared memory, and adds what it has found to the sums of all blocks, in whatever order blocks end: from one
run to the next sums differ by rounding.
"""

import numpy as np
from numba import cuda

from nbnumba.kernel.gpu.render import THREADS, TILE, add_term, has_latched, load, photons, place, ray, scatter

COLUMNS = 9  # of the slots in which a block sums; an orientation has as many components
PER_SOURCE = 5  # sums of a source: by incident beam, wavelength, brightness
PER_PIXEL = 3  # sums that every experiment has: L, dL by photons and background

# How many fields of their parameters stages vary with, and rows of the arrays for them, which are never empty.
N_GEOMETRY = N_LATTICE_SHAPE = N_STRUCTURE_FACTOR = N_POLARIZATION = N_SCALING = 0
ROWS_GEOMETRY = ROWS_LATTICE_SHAPE = ROWS_STRUCTURE_FACTOR = ROWS_POLARIZATION = ROWS_SCALING = 1


def loss(photons, observed, weight): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def lattice_shape_derivative(p, x, y, z): ...


def structure_factor_derivative(p, h, k, l, h0, k0, l0, latched): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz): ...


def scaling_derivative(p, total, f_latt, f_cell, weight): ...


def nearest(x): ...


# Made by fields.adder().
def add_geometry(rows, i, before, factor, slopes): ...


def add_lattice_shape(rows, i, before, factor, slopes): ...


def add_structure_factor(rows, i, before, factor, slopes): ...


def add_polarization(rows, i, before, factor, slopes): ...


def add_scaling(rows, i, before, factor, slopes): ...


def adjoint(gp, lp, fp, pp, sp, sampling, region, listed, observed, weights, orientations, sources, fields):
    """Add L, the sum of loss(photons, observed, weight) over ``region``, and its derivatives to sums; observed, weights: [slow, fast].

    orientations: (tables * turns, 9) by a, b, c; sources: (sources, PER_SOURCE); fields: (1, n), the sums PER_PIXEL, then by the fields of
    the stages in their order.
    """
    tile = cuda.shared.array((TILE, COLUMNS), np.float64)
    slots = cuda.shared.array((TILE, COLUMNS), np.float64)  # dL by the orientations of the tile
    own = cuda.shared.array((THREADS, COLUMNS), np.float64)  # a row for every thread, to be summed over
    by_pixel = cuda.local.array((PER_PIXEL, 1), np.float64)
    by_source = cuda.local.array((PER_SOURCE, 1), np.float64)
    by_geometry = cuda.local.array((ROWS_GEOMETRY, 1), np.float64)
    by_shape = cuda.local.array((ROWS_LATTICE_SHAPE, 1), np.float64)
    by_factor = cuda.local.array((ROWS_STRUCTURE_FACTOR, 1), np.float64)
    by_polarization = cuda.local.array((ROWS_POLARIZATION, 1), np.float64)
    by_scaling = cuda.local.array((ROWS_SCALING, 1), np.float64)
    clear(by_source)
    clear(by_geometry)
    clear(by_shape)
    clear(by_factor)
    clear(by_polarization)
    clear(by_scaling)
    for i in range(cuda.threadIdx.x, TILE * COLUMNS, THREADS):  # threads wait for each other in load() before they add to slots
        slots[i // COLUMNS, i % COLUMNS] = 0.0
    slow, fast, alone, counts = pixel_of_thread(sampling, region, listed, observed.shape[1])
    first_sample = sampling.first_sample if alone else -1
    pixel = slow * observed.shape[1] + fast
    total, first_polarization, polarized, first_solid_angle, last_capture, loaded = way_there(
        gp, lp, fp, pp, sp, sampling, slow, fast, pixel, first_sample, tile
    )
    found = photons(sp, total, first_polarization, first_solid_angle, last_capture)
    g_total, g_polarization, g_factors = 0.0, 0.0, 0.0
    by_pixel[0, 0], by_pixel[1, 0], by_pixel[2, 0] = 0.0, 0.0, 0.0
    if counts:
        of_pixel = loss(found, observed[slow, fast], weights[slow, fast])
        by_sum = of_pixel[1] * factors(sp, first_polarization, first_solid_angle, last_capture)
        g_total = by_sum * sp.photons
        g_factors = of_pixel[1] * found
        if not sp.polarization_per_term and first_polarization != 0.0:
            g_polarization = g_factors / first_polarization
        by_pixel[0, 0] = of_pixel[0]
        by_pixel[1, 0] = by_sum * total
        by_pixel[2, 0] = g_total
    way_back(
        gp, lp, fp, pp, sp, sampling, slow, fast, pixel, first_sample, polarized, loaded, total, g_total, g_polarization, g_factors,
        tile, slots, own, by_source, by_geometry, by_shape, by_factor, by_polarization, by_scaling, orientations, sources,
    )  # fmt: skip
    add_rows(own, by_pixel, PER_PIXEL, fields, 0, 0)
    at = PER_PIXEL
    add_rows(own, by_geometry, N_GEOMETRY, fields, 0, at)
    at += N_GEOMETRY
    add_rows(own, by_shape, N_LATTICE_SHAPE, fields, 0, at)
    at += N_LATTICE_SHAPE
    add_rows(own, by_factor, N_STRUCTURE_FACTOR, fields, 0, at)
    at += N_STRUCTURE_FACTOR
    add_rows(own, by_polarization, N_POLARIZATION, fields, 0, at)
    at += N_POLARIZATION
    add_rows(own, by_scaling, N_SCALING, fields, 0, at)


def pixel_of_thread(sampling, region, listed, fast_pixels):
    """Row and column of a thread's pixel, whether its block has the one with a first sample of its own, whether the thread counts.

    That pixel has the first block of the first launch for itself, as in render.py; here no other block may add it once more.
    """
    extra = 1 if sampling.first_pixel >= 0 and region.begin == 0 else 0
    number = region.begin + (cuda.blockIdx.x - extra) * THREADS + cuda.threadIdx.x
    slow, fast = place(region, listed, fast_pixels, min(max(number, region.begin), region.end - 1))
    counts = 1 if number < region.end and slow * fast_pixels + fast != sampling.first_pixel else 0
    alone = 1 if extra and cuda.blockIdx.x == 0 else 0
    if alone:
        slow, fast = sampling.first_pixel // fast_pixels, sampling.first_pixel % fast_pixels
        counts = 1 if cuda.threadIdx.x == 0 else 0
    return slow, fast, alone, counts


def way_there(gp, lp, fp, pp, sp, sampling, slow, fast, pixel, first_sample, tile):
    """The sum of a pixel's terms as render.py has it, with the factors of the whole pixel.

    polarized: the sample whose polarization counts for all, -1 if none does; loaded: which orientations are in the tile.
    """
    n_sub, n_sources, turns = sampling.oversample, sampling.wavelength.size, sampling.orientations.shape[1]
    total, first_polarization, first_solid_angle, last_capture = sp.background, sp.initial_polarization, 0.0, 0.0
    sample, loaded, polarized = 0, -1, -1
    for layer in range(sampling.layers):
        for sub in range(n_sub * n_sub):
            dx, dy, dz, solid_angle, capture = ray(gp, slow, fast, sub, n_sub, layer)
            if sub == 0:
                last_capture = capture
                if layer == 0:
                    first_solid_angle = solid_angle
            for source in range(n_sources):
                qx, qy, qz, inside, factor, weight = scatter(pp, sp, sampling, source, dx, dy, dz, solid_angle, capture)
                if first_polarization == 0.0 and (inside or sampling.blank_terms > 0):
                    first_polarization = factor
                if polarized < 0 and first_polarization != 0.0:
                    polarized = sample
                table = 1 if sample == first_sample else 0
                for first in range(0, turns, TILE):
                    count = min(TILE, turns - first)
                    if loaded != table * turns + first:
                        load(tile, sampling.orientations, table, first, count)
                        loaded = table * turns + first
                    if inside:
                        term = sample * turns + first
                        for m in range(count):
                            latched = has_latched(sampling, pixel, term + m)
                            total = add_term(lp, fp, sp, tile, m, qx, qy, qz, latched, weight, total)
                if not inside and sampling.blank_terms > 0:
                    total = scaling_derivative(sp, total, 0.0, 0.0, sampling.blank_terms * weight)[0]
                sample += 1
    return total, first_polarization, polarized, first_solid_angle, last_capture, loaded


def factors(sp, first_polarization, first_solid_angle, last_capture):
    """The product of those that are the whole pixel's."""
    result = 1.0
    if not sp.polarization_per_term:
        result *= first_polarization
    if not sp.solid_angle_per_term:
        result *= first_solid_angle
    if not sp.capture_per_term:
        result *= last_capture
    return result


def way_back(
    gp, lp, fp, pp, sp, sampling, slow, fast, pixel, first_sample, polarized, loaded, total, g_total, g_polarization, g_factors,
    tile, slots, own, by_source, by_geometry, by_shape, by_factor, by_polarization, by_scaling, orientations, sources,
):  # fmt: skip
    """From dL by a pixel's total, by a polarization of the whole pixel and by the logarithm of photons (g_factors) to everything else."""
    n_sub, n_sources, turns = sampling.oversample, sampling.wavelength.size, sampling.orientations.shape[1]
    samples = sampling.layers * n_sub * n_sub * n_sources
    sample = 0
    for layer in range(sampling.layers):
        for sub in range(n_sub * n_sub):
            dx, dy, dz, solid_angle, capture = ray(gp, slow, fast, sub, n_sub, layer)
            gdx, gdy, gdz, g_solid_angle, g_capture = 0.0, 0.0, 0.0, 0.0, 0.0
            for source in range(n_sources):
                qx, qy, qz, inside, _, weight = scatter(pp, sp, sampling, source, dx, dy, dz, solid_angle, capture)
                gqx, gqy, gqz, g_weight = 0.0, 0.0, 0.0, 0.0
                table = 1 if sample == first_sample else 0
                for first in range(0, turns, TILE):
                    count = min(TILE, turns - first)
                    if loaded != table * turns + first:
                        add_slots(slots, min(TILE, turns - loaded % turns), COLUMNS, orientations, loaded, 0)
                        load(tile, sampling.orientations, table, first, count)
                        loaded = table * turns + first
                    if inside and g_total != 0.0:
                        x, y, z, w = through_tile(
                            lp, fp, sp, sampling, pixel, sample * turns + first, count, tile, slots, qx, qy, qz, weight, total, g_total,
                            by_shape, by_factor, by_scaling,
                        )  # fmt: skip
                        gqx, gqy, gqz, g_weight = gqx + x, gqy + y, gqz + z, g_weight + w
                if not inside and sampling.blank_terms > 0:
                    blank = scaling_derivative(sp, total, 0.0, 0.0, sampling.blank_terms * weight)
                    g_weight += g_total * blank[4] * sampling.blank_terms
                    add_scaling(by_scaling, 0, 1.0, g_total, blank)
                of_pixel = g_polarization if sample == polarized else 0.0
                x, y, z, o, c = by_ray(
                    pp, sp, sampling, source, dx, dy, dz, solid_angle, capture, qx, qy, qz, gqx, gqy, gqz, g_weight, of_pixel,
                    by_polarization, by_source,
                )  # fmt: skip
                gdx, gdy, gdz, g_solid_angle, g_capture = gdx + x, gdy + y, gdz + z, g_solid_angle + o, g_capture + c
                sample += 1
                if n_sources > 1 or sample == samples:
                    add_rows(own, by_source, PER_SOURCE, sources, source, 0)
                    clear(by_source)
            by_place(
                gp, sp, sampling, slow, fast, sub, layer, g_factors, solid_angle, capture, gdx, gdy, gdz, g_solid_angle, g_capture,
                by_geometry,
            )  # fmt: skip
    add_slots(slots, min(TILE, turns - loaded % turns), COLUMNS, orientations, loaded, 0)


def through_tile(
    lp, fp, sp, sampling, pixel, first_term, count, tile, slots, qx, qy, qz, weight, total, g_total, by_shape, by_factor, by_scaling
):
    """From the terms of a sample with the orientations of the tile to these and to fields; returns dL by scattering vector and weight.

    There are as many sets of slots as there is room for, and neighbouring threads begin with neighbouring orientations: hardly ever do two
    add to the same slot at a time.
    """
    gqx, gqy, gqz, g_weight = 0.0, 0.0, 0.0, 0.0
    row = cuda.threadIdx.x // count % (TILE // count) * count
    m = cuda.threadIdx.x % count
    for _ in range(count):
        h = tile[m, 0] * qx + (tile[m, 1] * qy + tile[m, 2] * qz)
        k = tile[m, 3] * qx + (tile[m, 4] * qy + tile[m, 5] * qz)
        l = tile[m, 6] * qx + (tile[m, 7] * qy + tile[m, 8] * qz)
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        shape = lattice_shape_derivative(lp, h - h0, k - k0, l - l0)
        factor = structure_factor_derivative(fp, h, k, l, h0, k0, l0, has_latched(sampling, pixel, first_term + m))
        term = scaling_derivative(sp, total, shape[0], factor[0], weight)
        g_latt, g_cell = g_total * term[2], g_total * term[3]
        gh, gk, gl = g_latt * shape[1] + g_cell * factor[1], g_latt * shape[2] + g_cell * factor[2], g_latt * shape[3] + g_cell * factor[3]
        add_to_slot(slots, row + m, qx, qy, qz, gh, gk, gl)
        gqx += tile[m, 0] * gh + tile[m, 3] * gk + tile[m, 6] * gl
        gqy += tile[m, 1] * gh + tile[m, 4] * gk + tile[m, 7] * gl
        gqz += tile[m, 2] * gh + tile[m, 5] * gk + tile[m, 8] * gl
        g_weight += g_total * term[4]
        add_lattice_shape(by_shape, 0, 1.0, g_latt, shape)
        add_structure_factor(by_factor, 0, 1.0, g_cell, factor)
        add_scaling(by_scaling, 0, 1.0, g_total, term)
        m += 1
        if m == count:
            m = 0
    return gqx, gqy, gqz, g_weight


def add_to_slot(slots, row, qx, qy, qz, gh, gk, gl):
    """Add dL by a, b and c: that by an index, times the scattering vector."""
    cuda.atomic.add(slots, (row, 0), gh * qx)
    cuda.atomic.add(slots, (row, 1), gh * qy)
    cuda.atomic.add(slots, (row, 2), gh * qz)
    cuda.atomic.add(slots, (row, 3), gk * qx)
    cuda.atomic.add(slots, (row, 4), gk * qy)
    cuda.atomic.add(slots, (row, 5), gk * qz)
    cuda.atomic.add(slots, (row, 6), gl * qx)
    cuda.atomic.add(slots, (row, 7), gl * qy)
    cuda.atomic.add(slots, (row, 8), gl * qz)


def by_ray(
    pp, sp, sampling, source, dx, dy, dz, solid_angle, capture, qx, qy, qz, gqx, gqy, gqz, g_weight, of_pixel, by_polarization, by_source
):
    """From scattering vector and weight of a sample to its source; returns dL by ray, solid angle and captured fraction."""
    ix, iy, iz = sampling.incident[source, 0], sampling.incident[source, 1], sampling.incident[source, 2]
    wavelength, brightness = sampling.wavelength[source], sampling.brightness[source]
    factor = polarization_derivative(pp, ix, iy, iz, dx, dy, dz)
    p = factor[0] if sp.polarization_per_term else 1.0
    o = solid_angle if sp.solid_angle_per_term else 1.0
    c = capture if sp.capture_per_term else 1.0
    g = g_weight * brightness * o * c if sp.polarization_per_term else of_pixel
    by_source[0, 0] += g * factor[1] - gqx / wavelength
    by_source[1, 0] += g * factor[2] - gqy / wavelength
    by_source[2, 0] += g * factor[3] - gqz / wavelength
    by_source[3, 0] -= (gqx * qx + gqy * qy + gqz * qz) / wavelength
    by_source[4, 0] += g_weight * p * o * c
    add_polarization(by_polarization, 0, 1.0, g, factor)
    g_solid_angle = g_weight * brightness * p * c if sp.solid_angle_per_term else 0.0
    g_capture = g_weight * brightness * p * o if sp.capture_per_term else 0.0
    return gqx / wavelength + g * factor[4], gqy / wavelength + g * factor[5], gqz / wavelength + g * factor[6], g_solid_angle, g_capture


def by_place(
    gp, sp, sampling, slow, fast, sub, layer, g_factors, solid_angle, capture, gdx, gdy, gdz, g_solid_angle, g_capture, by_geometry
):
    """From ray and factors of a sub-pixel to the fields of the geometry."""
    n_sub = sampling.oversample
    if sub == 0:
        if not sp.solid_angle_per_term and layer == 0 and solid_angle != 0.0:
            g_solid_angle += g_factors / solid_angle
        if not sp.capture_per_term and layer == sampling.layers - 1 and capture != 0.0:
            g_capture += g_factors / capture
    of_place = geometry_derivative(
        gp, fast + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub, layer, gdx, gdy, gdz, g_solid_angle, g_capture
    )
    add_geometry(by_geometry, 0, 1.0, 1.0, of_place)


def clear(rows):
    """Set what a thread sums up to 0."""
    for n in range(rows.shape[0]):
        rows[n, 0] = 0.0


def add_rows(own, rows, count, into, row, column):
    """Add what every thread of the block has in ``count`` rows of its own to columns of a row of ``into``."""
    for first in range(0, count, COLUMNS):
        width = min(COLUMNS, count - first)
        for n in range(width):
            own[cuda.threadIdx.x, n] = rows[first + n, 0]
        add_slots(own, 1, width, into, row, column + first)


def add_slots(slots, count, width, into, row, column):
    """Add sets of ``count`` slots, as many as there are, to rows of ``into`` from ``row`` on; clear them."""
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, count * width, THREADS):
        n = i % width
        total = 0.0
        for slot in range(i // width, slots.shape[0] // count * count, count):
            total += slots[slot, n]
            slots[slot, n] = 0.0
        cuda.atomic.add(into, (row + i // width, column + n), total)
    cuda.syncthreads()
