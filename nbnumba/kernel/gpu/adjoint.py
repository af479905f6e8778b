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

# How many fields of their parameters stages vary with.
N_GEOMETRY = N_LATTICE_SHAPE = N_STRUCTURE_FACTOR = N_POLARIZATION = N_SCALING = N_FACTORS = 0
N_ALL = 0
# Where in what a thread sums up the fields of every stage begin; after them come the sums of a source.
AT_GEOMETRY = AT_LATTICE_SHAPE = AT_STRUCTURE_FACTOR = AT_POLARIZATION = AT_SCALING = AT_FACTORS = 0
ROWS_ALL = PER_SOURCE


def loss(photons, observed, weight): ...


def geometry_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture): ...


def lattice_shape_derivative(p, x, y, z): ...


def structure_factor_derivative(p, h, k, l, h0, k0, l0, wavelength, latched): ...


def polarization_derivative(p, ix, iy, iz, dx, dy, dz): ...


def scaling_derivative(p, total, f_latt, f_cell, weight): ...


def factors_derivative(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def nearest(x): ...


# Made by unrolled.adder().
def add_geometry(rows, first, i, before, factor, slopes): ...


def add_lattice_shape(rows, first, i, before, factor, slopes): ...


def add_structure_factor(rows, first, i, before, factor, slopes): ...


def add_polarization(rows, first, i, before, factor, slopes): ...


def add_scaling(rows, first, i, before, factor, slopes): ...


def add_factors(rows, first, i, before, factor, slopes): ...


def adjoint(p, inputs, region, panels, listed, observed, weights, orientations, sources, fields):
    """Add L, the sum of loss(photons, observed, weight) over ``region``, and its derivatives to sums; observed, weights: [slow, fast].

    orientations: (tables * turns, 9) by a, b, c; sources: (sources, PER_SOURCE); fields: (1, n), the sums PER_PIXEL, then by the fields of
    the stages in their order.
    """
    tile = cuda.shared.array((TILE, COLUMNS), np.float64)
    slots = cuda.shared.array((TILE, COLUMNS), np.float64)  # dL by the orientations of the tile
    own = cuda.shared.array((THREADS, COLUMNS), np.float64)  # a row for every thread, to be summed over
    by_pixel = cuda.local.array((PER_PIXEL, 1), np.float64)
    by = cuda.local.array((ROWS_ALL, 1), np.float64)
    clear(by, 0, ROWS_ALL)
    for i in range(cuda.threadIdx.x, TILE * COLUMNS, THREADS):  # threads wait for each other in load() before they add to slots
        slots[i // COLUMNS, i % COLUMNS] = 0.0
    slow, fast, alone, counts = pixel_of_thread(inputs, region, panels, listed, observed.shape[1])
    first_sample = inputs.scan_order.first_sample if alone else -1
    pixel = slow * observed.shape[1] + fast
    total, first_polarization, polarized, first_solid_angle, last_capture, loaded = way_there(
        p, inputs, slow, fast, pixel, first_sample, tile
    )
    found = photons(p.scaling, total, first_polarization, first_solid_angle, last_capture)
    g_total, g_polarization, g_photons = 0.0, 0.0, 0.0
    by_pixel[0, 0], by_pixel[1, 0], by_pixel[2, 0] = 0.0, 0.0, 0.0
    if counts:
        of_pixel = loss(found, observed[slow, fast], weights[slow, fast])
        by_sum = of_pixel[1] * factors_of_pixel(p.scaling, first_polarization, first_solid_angle, last_capture)
        g_total = by_sum * p.scaling.photons
        g_photons = of_pixel[1] * found
        if not p.scaling.polarization_per_term and first_polarization != 0.0:
            g_polarization = g_photons / first_polarization
        by_pixel[0, 0] = of_pixel[0]
        by_pixel[1, 0] = by_sum * total
        by_pixel[2, 0] = g_total
    way_back(
        p, inputs, (slow, fast, pixel, first_sample, polarized, loaded), total, (g_total, g_polarization, g_photons),
        (tile, slots, own), by, orientations, sources,
    )  # fmt: skip
    add_rows(own, by_pixel, 0, PER_PIXEL, fields, 0, 0)
    add_rows(own, by, 0, N_ALL, fields, 0, PER_PIXEL)


def pixel_of_thread(inputs, region, panels, listed, fast_pixels):
    """Row and column of a thread's pixel, whether its block has the one with a first sample of its own, whether the thread counts.

    That pixel has the first block of the first launch for itself, as in render.py; here no other block may add it once more.
    """
    extra = 1 if inputs.scan_order.first_pixel >= 0 and region.begin == 0 else 0
    number = region.begin + (cuda.blockIdx.x - extra) * THREADS + cuda.threadIdx.x
    slow, fast = place(panels, listed, 0, min(max(number, region.begin), region.end - 1))
    counts = 1 if number < region.end and slow * fast_pixels + fast != inputs.scan_order.first_pixel else 0
    alone = 1 if extra and cuda.blockIdx.x == 0 else 0
    if alone:
        slow, fast = inputs.scan_order.first_pixel // fast_pixels, inputs.scan_order.first_pixel % fast_pixels
        counts = 1 if cuda.threadIdx.x == 0 else 0
    return slow, fast, alone, counts


def way_there(p, inputs, slow, fast, pixel, first_sample, tile):
    """The sum of a pixel's terms as render.py has it, with the factors of the whole pixel.

    polarized: the sample whose polarization counts for all, -1 if none does; loaded: which orientations are in the tile.
    """
    n_sub, n_sources, turns = inputs.oversample, inputs.wavelength.size, inputs.orientations.shape[1]
    total, first_polarization, first_solid_angle, last_capture = p.scaling.background, p.scaling.initial_polarization, 0.0, 0.0
    sample, loaded, polarized = 0, -1, -1
    for layer in range(inputs.layers):
        for sub in range(n_sub * n_sub):
            dx, dy, dz, solid_angle, capture = ray(p.geometry, slow, fast, sub, n_sub, layer)
            if sub == 0:
                last_capture = capture
                if layer == 0:
                    first_solid_angle = solid_angle
            for source in range(n_sources):
                qx, qy, qz, inside, factor, weight = scatter(p, inputs, source, (dx, dy, dz, solid_angle, capture))
                if first_polarization == 0.0 and (inside or inputs.blank_terms > 0):
                    first_polarization = factor
                if polarized < 0 and first_polarization != 0.0:
                    polarized = sample
                table = 1 if sample == first_sample else 0
                for first in range(0, turns, TILE):
                    count = min(TILE, turns - first)
                    if loaded != table * turns + first:
                        load(tile, inputs.orientations, table, first, count)
                        loaded = table * turns + first
                    if inside:
                        term = sample * turns + first
                        for m in range(count):
                            latched = has_latched(inputs.scan_order, pixel, term + m)
                            total = add_term(p, tile, m, (qx, qy, qz), inputs.wavelength[source], latched, weight, total)
                if not inside and inputs.blank_terms > 0:
                    total = scaling_derivative(p.scaling, total, 0.0, 0.0, inputs.blank_terms * weight)[0]
                sample += 1
    return total, first_polarization, polarized, first_solid_angle, last_capture, loaded


def factors_of_pixel(sp, first_polarization, first_solid_angle, last_capture):
    """The product of those that are the whole pixel's."""
    result = 1.0
    if not sp.polarization_per_term:
        result *= first_polarization
    if not sp.solid_angle_per_term:
        result *= first_solid_angle
    if not sp.capture_per_term:
        result *= last_capture
    return result


def way_back(p, inputs, here, total, gradients, shared, by, orientations, sources):
    """From dL by a pixel's total, by a polarization of the whole pixel and by the logarithm of photons to everything else.

    here: row and column of the pixel, its number, its first sample, the one whose polarization counts, what is in the tile; shared: tile,
    slots, rows of threads.
    """
    (slow, fast, pixel, first_sample, polarized, loaded), (g_total, g_polarization, g_photons) = here, gradients
    tile, slots, own = shared
    n_sub, n_sources, turns = inputs.oversample, inputs.wavelength.size, inputs.orientations.shape[1]
    samples = inputs.layers * n_sub * n_sub * n_sources
    sample = 0
    for layer in range(inputs.layers):
        for sub in range(n_sub * n_sub):
            seen = ray(p.geometry, slow, fast, sub, n_sub, layer)
            gdx, gdy, gdz, g_solid_angle, g_capture = 0.0, 0.0, 0.0, 0.0, 0.0
            for source in range(n_sources):
                qx, qy, qz, inside, _, weight = scatter(p, inputs, source, seen)
                gqx, gqy, gqz, g_weight, g_wavelength = 0.0, 0.0, 0.0, 0.0, 0.0
                table = 1 if sample == first_sample else 0
                for first in range(0, turns, TILE):
                    count = min(TILE, turns - first)
                    if loaded != table * turns + first:
                        add_slots(slots, min(TILE, turns - loaded % turns), COLUMNS, orientations, loaded, 0)
                        load(tile, inputs.orientations, table, first, count)
                        loaded = table * turns + first
                    if inside and g_total != 0.0:
                        x, y, z, w, v = through_tile(
                            p, inputs, source, pixel, (sample * turns + first, count), tile, slots, (qx, qy, qz), weight,
                            (total, g_total), by,
                        )  # fmt: skip
                        gqx, gqy, gqz, g_weight, g_wavelength = gqx + x, gqy + y, gqz + z, g_weight + w, g_wavelength + v
                if not inside and inputs.blank_terms > 0:
                    blank = scaling_derivative(p.scaling, total, 0.0, 0.0, inputs.blank_terms * weight)
                    g_weight += g_total * blank[4] * inputs.blank_terms
                    add_scaling(by, AT_SCALING, 0, 1.0, g_total, blank)
                of_pixel = g_polarization if sample == polarized else 0.0
                x, y, z, o, c = by_ray(p, inputs, source, seen, (qx, qy, qz), (gqx, gqy, gqz), g_weight, g_wavelength, of_pixel, by)
                gdx, gdy, gdz, g_solid_angle, g_capture = gdx + x, gdy + y, gdz + z, g_solid_angle + o, g_capture + c
                sample += 1
                if n_sources > 1 or sample == samples:
                    add_rows(own, by, N_ALL, PER_SOURCE, sources, source, 0)
                    clear(by, N_ALL, PER_SOURCE)
            by_place(p, inputs, (slow, fast, sub, layer), g_photons, seen, (gdx, gdy, gdz, g_solid_angle, g_capture), by)
    add_slots(slots, min(TILE, turns - loaded % turns), COLUMNS, orientations, loaded, 0)


def through_tile(p, inputs, source, pixel, terms, tile, slots, q, weight, totals, by):
    """From the terms of a sample with the orientations of the tile to these and to fields.

    terms: number of the first, how many; q: scattering vector; totals: the pixel's, dL by it. Returns dL by scattering vector, weight and
    wavelength. There are as many sets of slots as there is room for, and neighbouring threads begin with neighbouring orientations: hardly
    ever do two add to the same slot at a time.
    """
    (first_term, count), (qx, qy, qz), (total, g_total) = terms, q, totals
    gqx, gqy, gqz, g_weight, g_wavelength = 0.0, 0.0, 0.0, 0.0, 0.0
    row = cuda.threadIdx.x // count % (TILE // count) * count
    m = cuda.threadIdx.x % count
    for _ in range(count):
        h = tile[m, 0] * qx + (tile[m, 1] * qy + tile[m, 2] * qz)
        k = tile[m, 3] * qx + (tile[m, 4] * qy + tile[m, 5] * qz)
        l = tile[m, 6] * qx + (tile[m, 7] * qy + tile[m, 8] * qz)
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        latched, wavelength = has_latched(inputs.scan_order, pixel, first_term + m), inputs.wavelength[source]
        shape = lattice_shape_derivative(p.lattice_shape, h - h0, k - k0, l - l0)
        factor = structure_factor_derivative(p.structure_factor, h, k, l, h0, k0, l0, wavelength, latched)
        term = scaling_derivative(p.scaling, total, shape[0], factor[0], weight)
        g_latt, g_cell = g_total * term[2], g_total * term[3]
        gh, gk, gl = g_latt * shape[1] + g_cell * factor[1], g_latt * shape[2] + g_cell * factor[2], g_latt * shape[3] + g_cell * factor[3]
        add_to_slot(slots, row + m, qx, qy, qz, gh, gk, gl)
        gqx += tile[m, 0] * gh + tile[m, 3] * gk + tile[m, 6] * gl
        gqy += tile[m, 1] * gh + tile[m, 4] * gk + tile[m, 7] * gl
        gqz += tile[m, 2] * gh + tile[m, 5] * gk + tile[m, 8] * gl
        g_weight += g_total * term[4]
        g_wavelength += g_cell * factor[4]
        add_lattice_shape(by, AT_LATTICE_SHAPE, 0, 1.0, g_latt, shape)
        add_structure_factor(by, AT_STRUCTURE_FACTOR, 0, 1.0, g_cell, factor)
        add_scaling(by, AT_SCALING, 0, 1.0, g_total, term)
        m += 1
        if m == count:
            m = 0
    return gqx, gqy, gqz, g_weight, g_wavelength


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


def by_ray(p, inputs, source, seen, q, gq, g_weight, g_wavelength, of_pixel, by):
    """From scattering vector and weight of a sample to its source; returns dL by ray, solid angle and captured fraction."""
    (dx, dy, dz, solid_angle, capture), (qx, qy, qz), (gqx, gqy, gqz) = seen, q, gq
    ix, iy, iz = inputs.incident[source, 0], inputs.incident[source, 1], inputs.incident[source, 2]
    wavelength, brightness = inputs.wavelength[source], inputs.brightness[source]
    polarized = polarization_derivative(p.polarization, ix, iy, iz, dx, dy, dz)
    others = factors_derivative(p.factors, ix, iy, iz, dx, dy, dz, wavelength)
    f = polarized[0] if p.scaling.polarization_per_term else 1.0
    o = solid_angle if p.scaling.solid_angle_per_term else 1.0
    c = capture if p.scaling.capture_per_term else 1.0
    g = g_weight * brightness * o * c * others[0] if p.scaling.polarization_per_term else of_pixel
    g_others = g_weight * brightness * f * o * c
    by[N_ALL, 0] += g * polarized[1] + g_others * others[1] - gqx / wavelength
    by[N_ALL + 1, 0] += g * polarized[2] + g_others * others[2] - gqy / wavelength
    by[N_ALL + 2, 0] += g * polarized[3] + g_others * others[3] - gqz / wavelength
    by[N_ALL + 3, 0] += g_wavelength + g_others * others[7] - (gqx * qx + gqy * qy + gqz * qz) / wavelength
    by[N_ALL + 4, 0] += g_weight * f * o * c * others[0]
    add_polarization(by, AT_POLARIZATION, 0, 1.0, g, polarized)
    add_factors(by, AT_FACTORS, 0, 1.0, g_others, others)
    g_solid_angle = g_weight * brightness * f * c * others[0] if p.scaling.solid_angle_per_term else 0.0
    g_capture = g_weight * brightness * f * o * others[0] if p.scaling.capture_per_term else 0.0
    gdx = gqx / wavelength + g * polarized[4] + g_others * others[4]
    gdy = gqy / wavelength + g * polarized[5] + g_others * others[5]
    gdz = gqz / wavelength + g * polarized[6] + g_others * others[6]
    return gdx, gdy, gdz, g_solid_angle, g_capture


def by_place(p, inputs, place, g_photons, seen, gradients, by):
    """From ray and factors of a sub-pixel to the fields of the geometry."""
    (slow, fast, sub, layer), (_, _, _, solid_angle, capture) = place, seen
    gdx, gdy, gdz, g_solid_angle, g_capture = gradients
    n_sub = inputs.oversample
    if sub == 0:
        if not p.scaling.solid_angle_per_term and layer == 0 and solid_angle != 0.0:
            g_solid_angle += g_photons / solid_angle
        if not p.scaling.capture_per_term and layer == inputs.layers - 1 and capture != 0.0:
            g_capture += g_photons / capture
    fast, slow = fast + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub
    of_place = geometry_derivative(p.geometry, fast, slow, layer, gdx, gdy, gdz, g_solid_angle, g_capture)
    add_geometry(by, AT_GEOMETRY, 0, 1.0, 1.0, of_place)


def clear(rows, begin, count):
    """Set rows of what a thread sums up to 0."""
    for n in range(begin, begin + count):
        rows[n, 0] = 0.0


def add_rows(own, rows, begin, count, into, row, column):
    """Add what every thread of the block has in ``count`` rows of its own, from ``begin`` on, to columns of a row of ``into``."""
    for first in range(0, count, COLUMNS):
        width = min(COLUMNS, count - first)
        for n in range(width):
            own[cuda.threadIdx.x, n] = rows[begin + first + n, 0]
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
