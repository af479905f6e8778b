"""The rendering kernel: what happens to every sample, in order. Written once, linked with the chosen stages.

A sample is one (pixel, sensor layer, sub-pixel, source), a term one (sample, orientation). Work comes as spans (slow, begin, end)
of neighbouring pixels of a row of a panel, which every thread claims one by one. The innermost loops run over LANES neighbouring pixels
that begin at a multiple of LANES, so that they vectorise, and that a pixel meets the same instructions in every span.

The loops vectorise since kernels are compiled on the promise that no two of their arrays overlap.
"""

from typing import Any, NamedTuple

import numpy as np

from nbnumba.kernel.math import distance_to_nearest

LANES = 64
LONGEST = 512  # pixels of a span: its working arrays stay in the processor's first cache
CHUNK = 16  # pixels that are left out together
REACH = CHUNK // 2 / (CHUNK - 1)
MARGIN = 1.0 + 1e-9  # for rounding
NEVER = 2**62

# What is worked out for every pixel of a span, a row each: arrays of their own would be as many arguments of every function.
DX, DY, DZ, SOLID_ANGLE, CAPTURE = range(5)  # of a sub-pixel
QX, QY, QZ, WEIGHT, F_CELL, BEFORE = range(5, 11)  # of a sample
TOTAL, FIRST_SOLID_ANGLE, FIRST_POLARIZATION, LAST_CAPTURE, ROWS = range(11, 16)  # of a pixel
INSIDE, FIRST_SAMPLE, WHOLE_ROWS = range(3)  # of whole numbers
LINE = 8  # numbers of a line of the cache
ROW = LONGEST + LINE  # rows of 4096 bytes would all be in the same lines of the cache


class Parameters(NamedTuple):
    """What stages have prepared, a NamedTuple each; of the chain of factors, one for every factor."""

    geometry: Any
    lattice_shape: Any
    structure_factor: Any
    polarization: Any
    scaling: Any
    factors: tuple[Any, ...]


# Kinds of stages, the chain of factors as one of them, in the order in which the kernel has their parameters.
ORDER = Parameters._fields


class ScanOrder(NamedTuple):
    """What terms have to be told of those before them, pixel by pixel in rows, and in a pixel by layer, sub-pixel, source, orientation."""

    first_pixel: int  # that holds the first sample, numbered as in the image, -1 if none needs to be told
    first_sample: int  # ((layer * oversample + sub_slow) * oversample + sub_fast) * sources + source of that sample
    latch_pixel: int  # the pixel in which the structure factor's latch falls, NEVER if it does not
    latch_without_spot: int  # whether a term with F_latt = 0 can end interpolation too
    latch_term: int  # sample * orientations + orientation of the first term after that


class KernelInputs(NamedTuple):
    """What is summed over in each pixel."""

    oversample: int  # sub-pixels along each axis
    layers: int  # sensor layers
    longest: float  # 1 / m; samples with a longer scattering vector are cut; infinite: none is
    longest_squared: float  # the largest number whose root is no more than that
    negligible: float  # |F_latt| that may be left out; 0: none is
    support: np.ndarray  # (3, 3) offsets: an ellipsoid, the unit sphere's image, beyond which all may be; zeros: terms are not listed
    incident: np.ndarray  # (sources, 3) unit vectors of the incident beams
    wavelength: np.ndarray  # (sources,) m
    brightness: np.ndarray  # (sources,) relative intensities
    orientations: np.ndarray  # (1, orientations, 3, 3) rows a, b, c in m; a second table where the first sample has its own
    blank_terms: int  # terms without a reflection that stand for a sample which is cut; 0: it is left out
    scan_order: ScanOrder

    @property
    def terms_per_pixel(self) -> int:
        """Terms that every pixel adds up."""
        return int(self.layers * self.oversample**2 * self.wavelength.size * self.orientations.shape[1])


def of_panel(table, panel): ...


def geometry(p, fast, slow, layer): ...


def lattice_shape(p, x, y, z): ...


def ceiling(p, x, y, z): ...


def structure_factor(p, h, k, l, h0, k0, l0, wavelength, latched): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def scaling(p, total, f_latt, f_cell, weight): ...


def factors(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def nearest(x): ...


def claim(counter): ...


TIE = 0.0  # taken off an index, where that is what makes nearest() take the lower of two integers
LOOK_UP_FIRST = 0  # whether structure factors are looked up in a loop of their own, before lattice shapes


def mark(array, i, value): ...


def render(p, inputs, choice, spans, image, counter):
    """Fill ``image``, the pixels of all panels one after the other, with photons per pixel over those of ``spans`` that are claimed here.

    p: Parameters, those of the geometry for all panels. choice: (1, 12, orientations), the orientations by component: a and its length, b,
    c. spans: (n, 5), the last two their panel, and where in the image their row begins. counter: counts the spans that were claimed.
    """
    n_sub, n_sources, turns, order = inputs.oversample, inputs.wavelength.size, inputs.orientations.shape[1], inputs.scan_order
    work = rows_of_numbers(ROWS)
    whole = np.empty((WHOLE_ROWS, ROW), np.int64)
    spare = np.empty(LONGEST, np.float32)
    keep = np.empty(turns, np.int64)
    chosen = np.empty(turns, np.int64)
    for turn in range(turns):
        chosen[turn] = turn
    while True:
        j = claim(counter)
        if j >= spans.shape[0]:
            break
        slow, begin, end, row = spans[j, 0], spans[j, 1], spans[j, 2], spans[j, 4]
        gp = of_panel(p.geometry, spans[j, 3])
        start = begin // LANES * LANES
        width = (end - start + LANES - 1) // LANES * LANES
        pixel = row + begin
        for i in range(width):
            work[TOTAL, i] = p.scaling.background
            work[FIRST_POLARIZATION, i] = p.scaling.initial_polarization
        sample = 0
        for layer in range(inputs.layers):
            for sub in range(n_sub * n_sub):
                rays(gp, n_sub, layer, sub, slow, start, width, work)
                for source in range(n_sources):
                    visible = scatter(p.polarization, p.factors, p.scaling, inputs, source, width, work, whole)
                    if visible < width:
                        for i in range(width):
                            work[BEFORE, i] = work[TOTAL, i]
                    if visible < width and inputs.blank_terms > 0:
                        for i in range(width):
                            work[BEFORE, i] = scaling(p.scaling, work[TOTAL, i], 0.0, 0.0, inputs.blank_terms * work[WEIGHT, i])
                    is_first = 0
                    if pixel == order.first_pixel and sample == order.first_sample:
                        is_first = 1
                    pieces, size, count = 1, width, turns
                    if visible == 0:
                        pieces = 0
                    elif inputs.negligible > 0.0:
                        pieces, size = width // CHUNK, CHUNK
                    for n in range(pieces):
                        if inputs.negligible > 0.0:
                            count = choose_turns(p.lattice_shape, choice, is_first, inputs.negligible, n * CHUNK, work, keep, chosen)
                        for m in range(count):
                            turn = chosen[m]
                            latched = 0
                            if pixel > order.latch_pixel or (pixel == order.latch_pixel and sample * turns + turn >= order.latch_term):
                                latched = 1
                            add_terms(p, inputs, source, is_first, turn, latched, np.uint64(n * size), np.uint64(size), work, spare)
                    if visible < width:
                        for i in range(width):
                            work[TOTAL, i] = work[TOTAL, i] if whole[INSIDE, i] != 0 else work[BEFORE, i]
                    sample += 1
        photons(p.scaling, work, image, row + start, begin - start, end - start)


def rows_of_numbers(rows):
    """Rows of ROW numbers that begin at a line of the cache: vectors that lie across two take longer (gauss, float32: 6 %)."""
    numbers = np.empty(rows * ROW + LINE)
    at = -(numbers.ctypes.data // 8) % LINE
    return numbers[at : at + rows * ROW].reshape(rows, ROW)


def rays(gp, n_sub, layer, sub, slow, start, width, work):
    """Directions, solid angles and captured fractions of a sub-pixel, for the pixels of a span."""
    fast = start + (sub % n_sub + 0.5) / n_sub
    for i in range(width):
        dx, dy, dz, solid_angle, capture = geometry(gp, fast + i, slow + (sub // n_sub + 0.5) / n_sub, layer)
        work[DX, i] = dx
        work[DY, i] = dy
        work[DZ, i] = dz
        work[SOLID_ANGLE, i] = solid_angle
        work[CAPTURE, i] = capture
    if sub == 0:
        for i in range(width):
            work[LAST_CAPTURE, i] = work[CAPTURE, i]
        if layer == 0:
            for i in range(width):
                work[FIRST_SOLID_ANGLE, i] = work[SOLID_ANGLE, i]


def scatter(pp, fp, sp, inputs, source, width, work, whole):
    """Scattering vectors (1 / m), whether they are inside the resolution limit, the factors of their terms; how many are inside."""
    visible = 0
    ix, iy, iz = inputs.incident[source, 0], inputs.incident[source, 1], inputs.incident[source, 2]
    wavelength = inputs.wavelength[source]
    for i in range(width):
        dx, dy, dz = work[DX, i], work[DY, i], work[DZ, i]
        qx, qy, qz = (dx - ix) / wavelength, (dy - iy) / wavelength, (dz - iz) / wavelength
        work[QX, i] = qx
        work[QY, i] = qy
        work[QZ, i] = qz
        inside = 1 if qx * qx + qy * qy + qz * qz <= inputs.longest_squared else 0
        whole[INSIDE, i] = inside
        visible += inside
        polarized, first = polarization(pp, ix, iy, iz, dx, dy, dz), work[FIRST_POLARIZATION, i]
        work[FIRST_POLARIZATION, i] = polarized if first == 0.0 and (inside == 1 or inputs.blank_terms > 0) else first
        weight = inputs.brightness[source] * factors(fp, ix, iy, iz, dx, dy, dz, wavelength)
        if sp.polarization_per_term:
            weight *= polarized
        if sp.solid_angle_per_term:
            weight *= work[SOLID_ANGLE, i]
        if sp.capture_per_term:
            weight *= work[CAPTURE, i]
        work[WEIGHT, i] = weight
    return visible


def add_terms(p, inputs, source, table, turn, latched, first, count, work, spare):
    """Add to the total the terms of one orientation, for ``count`` pixels of a span."""
    axes, wavelength = inputs.orientations, inputs.wavelength[source]
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    if LOOK_UP_FIRST:
        for i in range(first, first + count):
            h = ax * work[QX, i] + (ay * work[QY, i] + (az * work[QZ, i] - TIE))
            k = bx * work[QX, i] + (by * work[QY, i] + (bz * work[QZ, i] - TIE))
            l = cx * work[QX, i] + (cy * work[QY, i] + (cz * work[QZ, i] - TIE))
            work[F_CELL, i] = structure_factor(p.structure_factor, h, k, l, nearest(h), nearest(k), nearest(l), wavelength, latched)
    for i in range(first, first + count):
        h = ax * work[QX, i] + (ay * work[QY, i] + (az * work[QZ, i] - TIE))
        k = bx * work[QX, i] + (by * work[QY, i] + (bz * work[QZ, i] - TIE))
        l = cx * work[QX, i] + (cy * work[QY, i] + (cz * work[QZ, i] - TIE))
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        f_latt = lattice_shape(p.lattice_shape, h - h0, k - k0, l - l0)
        mark(spare, i, f_latt)
        f = work[F_CELL, i] if LOOK_UP_FIRST else structure_factor(p.structure_factor, h, k, l, h0, k0, l0, wavelength, latched)
        work[TOTAL, i] = scaling(p.scaling, work[TOTAL, i], f_latt, f, work[WEIGHT, i])


def photons(sp, work, image, at, begin, end):
    """The sums of the terms of pixels of a span in photons; at: where in the image the span starts."""
    for i in range(np.uint64(begin), np.uint64(end)):
        result = sp.photons * work[TOTAL, i]
        if not sp.polarization_per_term:
            result *= work[FIRST_POLARIZATION, i]
        if not sp.solid_angle_per_term:
            result *= work[FIRST_SOLID_ANGLE, i]
        if not sp.capture_per_term:
            result *= work[LAST_CAPTURE, i]
        image[np.uint64(at) + i] = result


def choose_turns(lp, choice, table, negligible, first, work, keep, chosen):
    """Set ``chosen`` to the orientations for which |F_latt| may be more than negligible in a chunk; returns their number (SCA-11)."""
    mx, my, mz, ex, ey, ez, bend = stretch_of(first, work)
    for turn in range(keep.size):
        most = most_in_chunk(lp, choice, table, turn, mx, my, mz, ex, ey, ez, bend)
        keep[turn] = 0 if most <= negligible else 1  # what is not a number shall be seen
    count = np.uint64(0)
    for turn in range(keep.size):
        chosen[count] = turn
        count += np.uint64(keep[turn])
    return np.int64(count)


def stretch_of(first, work):
    """Scattering vectors of a chunk: the middle m, what they differ by from there to an end e, and how far off such a line they are."""
    middle, last = first + CHUNK // 2, first + CHUNK - 1
    mx, my, mz = work[QX, middle], work[QY, middle], work[QZ, middle]
    ex, ey = (work[QX, last] - work[QX, first]) * REACH, (work[QY, last] - work[QY, first]) * REACH
    ez = (work[QZ, last] - work[QZ, first]) * REACH
    bend = 0.0  # how far scattering vectors are off the line from m - e to m + e
    for i in range(first, first + CHUNK):
        t = (i - middle) / (CHUNK // 2)
        x, y, z = work[QX, i] - mx - t * ex, work[QY, i] - my - t * ey, work[QZ, i] - mz - t * ez
        bend = max(bend, x * x + y * y + z * z)
    return mx, my, mz, ex, ey, ez, np.sqrt(bend)


def most_in_chunk(lp, choice, table, turn, mx, my, mz, ex, ey, ez, bend):
    """|F_latt| is at most this in a chunk."""
    ax, ay, az, a = choice[table, 0, turn], choice[table, 1, turn], choice[table, 2, turn], choice[table, 3, turn]
    bx, by, bz, b = choice[table, 4, turn], choice[table, 5, turn], choice[table, 6, turn], choice[table, 7, turn]
    cx, cy, cz, c = choice[table, 8, turn], choice[table, 9, turn], choice[table, 10, turn], choice[table, 11, turn]
    # An index, and its distance from the nearest integer, changes by no more than this within the chunk.
    dh = (abs(ax * ex + ay * ey + az * ez) + a * bend) * MARGIN
    dk = (abs(bx * ex + by * ey + bz * ez) + b * bend) * MARGIN
    dl = (abs(cx * ex + cy * ey + cz * ez) + c * bend) * MARGIN
    x = max(abs(distance_to_nearest(ax * mx + ay * my + az * mz)) - dh, 0.0)
    y = max(abs(distance_to_nearest(bx * mx + by * my + bz * mz)) - dk, 0.0)
    z = max(abs(distance_to_nearest(cx * mx + cy * my + cz * mz)) - dl, 0.0)
    return ceiling(lp, x, y, z)
