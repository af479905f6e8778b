"""The rendering kernel on the GPU: every thread sums the terms of one pixel. Written once, linked with the chosen stages.

Samples and terms are those of render.py, in the same order. The threads of a block go through the table of orientations together, a tile
of it at a time, which they keep in shared memory.
"""

from typing import NamedTuple

import numpy as np
from numba import cuda

THREADS = 128  # of a block
TILE = 128  # orientations in shared memory


# What is known of every panel: its wanted pixels are those of a rectangle, row by row, or those that are listed.
FIRST, FIRST_FAST, FIRST_SLOW, WIDTH, IS_LIST, FAST_PIXELS, AT, COLUMNS_OF_PANELS = range(8)  # FIRST: number of its first wanted pixel


class Region(NamedTuple):
    """Which of the wanted pixels of all panels, by number, are those of a launch."""

    begin: int
    end: int


def of_panel(table, panel): ...


def geometry(p, fast, slow, layer): ...


def lattice_shape(p, x, y, z): ...


def structure_factor(p, h, k, l, h0, k0, l0, wavelength, latched): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def scaling(p, total, f_latt, f_cell, weight): ...


def factors(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def nearest(x): ...


TIE = 0.0  # taken off an index, where that is what makes nearest() take the lower of two integers


def render(p, inputs, region, panels, listed, image):
    """Fill ``image``, the pixels of all panels one after the other, with photons per pixel over ``region``.

    p: Parameters, those of the geometry for all panels; panels: (n, COLUMNS_OF_PANELS); listed: numbers of pixels in the image.
    """
    tile = cuda.shared.array((TILE, 9), np.float64)
    n_sub, n_sources, turns = inputs.oversample, inputs.wavelength.size, inputs.orientations.shape[1]
    # The pixel that holds the first sample in scan order has the first block for itself: orientations are a block's.
    alone = 1 if inputs.scan_order.first_pixel >= 0 and cuda.blockIdx.x == 0 else 0
    number = region.begin + (cuda.blockIdx.x - (1 if inputs.scan_order.first_pixel >= 0 else 0)) * THREADS + cuda.threadIdx.x
    at = min(max(number, region.begin), region.end - 1)
    panel = panel_with(panels, at)
    slow, fast = place(panels, listed, panel, at)
    if alone:  # in an image of one panel
        in_panel = inputs.scan_order.first_pixel - panels[panel, AT]
        slow, fast = in_panel // panels[panel, FAST_PIXELS], in_panel % panels[panel, FAST_PIXELS]
    pixel = panels[panel, AT] + slow * panels[panel, FAST_PIXELS] + fast
    gp = of_panel(p.geometry, panel)
    total, first_polarization, first_solid_angle, last_capture = p.scaling.background, p.scaling.initial_polarization, 0.0, 0.0
    sample, loaded = 0, -1
    for layer in range(inputs.layers):
        for sub in range(n_sub * n_sub):
            dx, dy, dz, solid_angle, capture = ray(gp, slow, fast, sub, n_sub, layer)
            if sub == 0:
                last_capture = capture
                if layer == 0:
                    first_solid_angle = solid_angle
            for source in range(n_sources):
                qx, qy, qz, inside, factor, weight = scatter(p, inputs, source, (dx, dy, dz, solid_angle, capture))
                if first_polarization == 0.0 and (inside or inputs.blank_terms > 0):
                    first_polarization = factor
                table = 1 if alone and sample == inputs.scan_order.first_sample else 0
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
                    total = scaling(p.scaling, total, 0.0, 0.0, inputs.blank_terms * weight)
                sample += 1
    if (alone and cuda.threadIdx.x == 0) or (not alone and number < region.end and pixel != inputs.scan_order.first_pixel):
        image[pixel] = photons(p.scaling, total, first_polarization, first_solid_angle, last_capture)


def ray(gp, slow, fast, sub, n_sub, layer):
    """Direction, solid angle and captured fraction of a sub-pixel."""
    return geometry(gp, fast + (sub % n_sub + 0.5) / n_sub, slow + (sub // n_sub + 0.5) / n_sub, layer)


def scatter(p, inputs, source, seen):
    """Scattering vector (1 / m), whether it is inside the resolution limit, polarization, and the factors of its terms.

    seen: what the geometry says of the sub-pixel.
    """
    dx, dy, dz, solid_angle, capture = seen
    ix, iy, iz = inputs.incident[source, 0], inputs.incident[source, 1], inputs.incident[source, 2]
    wavelength = inputs.wavelength[source]
    qx, qy, qz = (dx - ix) / wavelength, (dy - iy) / wavelength, (dz - iz) / wavelength
    inside = qx * qx + qy * qy + qz * qz <= inputs.longest_squared
    factor = polarization(p.polarization, ix, iy, iz, dx, dy, dz)
    weight = inputs.brightness[source] * factors(p.factors, ix, iy, iz, dx, dy, dz, wavelength)
    if p.scaling.polarization_per_term:
        weight *= factor
    if p.scaling.solid_angle_per_term:
        weight *= solid_angle
    if p.scaling.capture_per_term:
        weight *= capture
    return qx, qy, qz, inside, factor, weight


def load(tile, orientations, table, first, count):
    """Orientations from ``first`` on into shared memory, when all threads of the block are done with what is there."""
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, count * 9, THREADS):
        tile[i // 9, i % 9] = orientations[table, first + i // 9, i % 9 // 3, i % 3]
    cuda.syncthreads()


def add_term(p, tile, m, q, wavelength, latched, weight, total):
    """``total`` with the term of one orientation; q: the scattering vector."""
    qx, qy, qz = q
    h = tile[m, 0] * qx + (tile[m, 1] * qy + (tile[m, 2] * qz - TIE))
    k = tile[m, 3] * qx + (tile[m, 4] * qy + (tile[m, 5] * qz - TIE))
    l = tile[m, 6] * qx + (tile[m, 7] * qy + (tile[m, 8] * qz - TIE))
    h0, k0, l0 = nearest(h), nearest(k), nearest(l)
    f_latt = lattice_shape(p.lattice_shape, h - h0, k - k0, l - l0)
    f_cell = structure_factor(p.structure_factor, h, k, l, h0, k0, l0, wavelength, latched)
    return scaling(p.scaling, total, f_latt, f_cell, weight)


def has_latched(order, pixel, term):
    """1 from the term on at which the structure factor's latch falls; order: ScanOrder."""
    return 1 if pixel > order.latch_pixel or (pixel == order.latch_pixel and term >= order.latch_term) else 0


def photons(sp, total, first_polarization, first_solid_angle, last_capture):
    """The sum of a pixel's terms in photons."""
    result = sp.photons * total
    if not sp.polarization_per_term:
        result *= first_polarization
    if not sp.solid_angle_per_term:
        result *= first_solid_angle
    if not sp.capture_per_term:
        result *= last_capture
    return result


def panel_with(panels, number):
    """The panel that has a wanted pixel, by the pixel's number: the last one that begins at or before it."""
    low, high = 0, panels.shape[0]
    while high - low > 1:
        middle = (low + high) // 2
        if panels[middle, FIRST] <= number:
            low = middle
        else:
            high = middle
    return low


def place(panels, listed, panel, number):
    """Row and column of a panel's wanted pixel by its number."""
    if panels[panel, IS_LIST]:
        pixel = listed[number] - panels[panel, AT]
        return pixel // panels[panel, FAST_PIXELS], pixel % panels[panel, FAST_PIXELS]
    of_panel = number - panels[panel, FIRST]
    return panels[panel, FIRST_SLOW] + of_panel // panels[panel, WIDTH], panels[panel, FIRST_FAST] + of_panel % panels[panel, WIDTH]
