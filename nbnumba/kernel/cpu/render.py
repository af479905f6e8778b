"""The rendering kernel: what happens to every sample, in order. Written once, linked with the chosen stages.

A sample is one (pixel, sensor layer, sub-pixel, source), a term one (sample, orientation). Work comes as spans (slow, begin, end)
of neighbouring pixels of a row, which every thread claims one by one. The innermost loops run over LANES neighbouring pixels
that begin at a multiple of LANES, so that they vectorise, and that a pixel meets the same instructions in every span.

The loops vectorise since kernels are compiled on the promise that no two of their arrays overlap.
"""

from typing import NamedTuple

import numpy as np

from nbnumba.kernel.math import distance_to_nearest

LANES = 64
LONGEST = 512  # pixels of a span: its working arrays stay in the processor's first cache
CHUNK = 16  # pixels that are left out together
REACH = CHUNK // 2 / (CHUNK - 1)
MARGIN = 1.0 + 1e-9  # for rounding
NEVER = 2**62

# Stage kinds in the order in which the kernel takes their parameters.
ORDER = ("geometry", "lattice_shape", "structure_factor", "polarization", "scaling")


class Sampling(NamedTuple):
    """What is summed over in each pixel."""

    oversample: int  # sub-pixels along each axis
    layers: int  # sensor layers
    longest: float  # 1 / m; samples with a longer scattering vector are cut; infinite: none is
    negligible: float  # |F_latt| that may be left out; 0: none is
    incident: np.ndarray  # (sources, 3) unit vectors of the incident beams
    wavelength: np.ndarray  # (sources,) m
    brightness: np.ndarray  # (sources,) relative intensities
    orientations: np.ndarray  # (1, orientations, 3, 3) rows a, b, c in m; a second table where the first sample has its own
    first_pixel: int  # slow * fast_pixels + fast of the pixel that holds the first sample in scan order, -1 if none needs to be told
    first_sample: int  # ((layer * oversample + sub_slow) * oversample + sub_fast) * sources + source of that sample
    latch_pixel: int  # the pixel in which the structure factor's latch falls, NEVER if it does not
    latch_without_spot: int  # whether a term with F_latt = 0 can end interpolation too
    latch_term: int  # sample * orientations + orientation of the first term after that
    blank_terms: int  # terms without a reflection that stand for a sample which is cut; 0: it is left out

    @property
    def terms_per_pixel(self) -> int:
        """Terms that every pixel adds up."""
        return int(self.layers * self.oversample**2 * self.wavelength.size * self.orientations.shape[1])


def geometry(p, fast, slow, layer): ...


def lattice_shape(p, x, y, z): ...


def ceiling(p, x, y, z): ...


def structure_factor(p, h, k, l, h0, k0, l0, latched): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def scaling(p, total, f_latt, f_cell, weight): ...


def nearest(x): ...


def claim(counter): ...


TIE = 0.0  # taken off an index, where that is what makes nearest() take the lower of two integers
LOOK_UP_FIRST = 0  # whether structure factors are looked up in a loop of their own, before lattice shapes


def mark(array, i, value): ...


def render(gp, lp, fp, pp, sp, sampling, choice, spans, image, counter):
    """Fill ``image`` [slow, fast] with photons per pixel over those of ``spans`` (n, 3) that are claimed here.

    choice: (1, 12, orientations), the orientations by component: a and its length, b, c. counter: counts the spans that were claimed.
    """
    n_sub, n_sources, turns = sampling.oversample, sampling.wavelength.size, sampling.orientations.shape[1]
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
    before = np.empty(LONGEST)
    total = np.empty(LONGEST)
    f_cell = np.empty(LONGEST)
    spare = np.empty(LONGEST, np.float32)
    keep = np.empty(turns, np.int64)
    chosen = np.empty(turns, np.int64)
    for turn in range(turns):
        chosen[turn] = turn
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
        sample = 0
        for layer in range(sampling.layers):
            for sub in range(n_sub * n_sub):
                rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture)
                for source in range(n_sources):
                    visible = scatter(
                        pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture,
                        qx, qy, qz, inside, weight, first_polarization,
                    )  # fmt: skip
                    for i in range(width):
                        before[i] = total[i]
                    if sampling.blank_terms > 0:
                        for i in range(width):
                            before[i] = scaling(sp, total[i], 0.0, 0.0, sampling.blank_terms * weight[i])
                    is_first = 0
                    if pixel == sampling.first_pixel and sample == sampling.first_sample:
                        is_first = 1
                    pieces, size, count = 1, width, turns
                    if visible == 0:
                        pieces = 0
                    elif sampling.negligible > 0.0:
                        pieces, size = width // CHUNK, CHUNK
                    for n in range(pieces):
                        if sampling.negligible > 0.0:
                            count = choose_turns(lp, choice, is_first, sampling.negligible, n * CHUNK, qx, qy, qz, keep, chosen)
                        for m in range(count):
                            turn = chosen[m]
                            latched = 0
                            if pixel > sampling.latch_pixel or (
                                pixel == sampling.latch_pixel and sample * turns + turn >= sampling.latch_term
                            ):
                                latched = 1
                            add_terms(
                                lp, fp, sp, sampling.orientations, is_first, turn, latched, np.uint64(n * size), np.uint64(size),
                                qx, qy, qz, weight, f_cell, spare, total,
                            )  # fmt: skip
                    for i in range(width):
                        if inside[i] == 0:
                            total[i] = before[i]
                    sample += 1
        photons(sp, total, first_polarization, first_solid_angle, last_capture, image, slow, start, begin, end)


def rays(gp, n_sub, layer, sub, slow, start, width, dx, dy, dz, solid_angle, capture, first_solid_angle, last_capture):
    """Directions, solid angles and captured fractions of a sub-pixel, for the pixels of a span."""
    fast = start + (sub % n_sub + 0.5) / n_sub
    for i in range(width):
        dx[i], dy[i], dz[i], solid_angle[i], capture[i] = geometry(gp, fast + i, slow + (sub // n_sub + 0.5) / n_sub, layer)
    if sub == 0:
        for i in range(width):
            last_capture[i] = capture[i]
        if layer == 0:
            for i in range(width):
                first_solid_angle[i] = solid_angle[i]


def scatter(pp, sp, sampling, source, width, dx, dy, dz, solid_angle, capture, qx, qy, qz, inside, weight, first_polarization):
    """Scattering vectors (1 / m), whether they are inside the resolution limit, the factors of their terms; how many are inside."""
    visible = 0
    ix, iy, iz = sampling.incident[source, 0], sampling.incident[source, 1], sampling.incident[source, 2]
    wavelength = sampling.wavelength[source]
    for i in range(width):
        qx[i] = (dx[i] - ix) / wavelength
        qy[i] = (dy[i] - iy) / wavelength
        qz[i] = (dz[i] - iz) / wavelength
        inside[i] = 1 if np.sqrt(qx[i] * qx[i] + qy[i] * qy[i] + qz[i] * qz[i]) <= sampling.longest else 0
        visible += inside[i]
        factor = polarization(pp, ix, iy, iz, dx[i], dy[i], dz[i])
        if first_polarization[i] == 0.0 and (inside[i] == 1 or sampling.blank_terms > 0):
            first_polarization[i] = factor
        weight[i] = sampling.brightness[source]
        if sp.polarization_per_term:
            weight[i] *= factor
        if sp.solid_angle_per_term:
            weight[i] *= solid_angle[i]
        if sp.capture_per_term:
            weight[i] *= capture[i]
    return visible


def add_terms(lp, fp, sp, axes, table, turn, latched, first, count, qx, qy, qz, weight, f_cell, spare, total):
    """Add to ``total`` the terms of one orientation, for ``count`` pixels of a span."""
    ax, ay, az = axes[table, turn, 0, 0], axes[table, turn, 0, 1], axes[table, turn, 0, 2]
    bx, by, bz = axes[table, turn, 1, 0], axes[table, turn, 1, 1], axes[table, turn, 1, 2]
    cx, cy, cz = axes[table, turn, 2, 0], axes[table, turn, 2, 1], axes[table, turn, 2, 2]
    if LOOK_UP_FIRST:
        for i in range(first, first + count):
            h = ax * qx[i] + (ay * qy[i] + (az * qz[i] - TIE))
            k = bx * qx[i] + (by * qy[i] + (bz * qz[i] - TIE))
            l = cx * qx[i] + (cy * qy[i] + (cz * qz[i] - TIE))
            f_cell[i] = structure_factor(fp, h, k, l, nearest(h), nearest(k), nearest(l), latched)
    for i in range(first, first + count):
        h = ax * qx[i] + (ay * qy[i] + (az * qz[i] - TIE))
        k = bx * qx[i] + (by * qy[i] + (bz * qz[i] - TIE))
        l = cx * qx[i] + (cy * qy[i] + (cz * qz[i] - TIE))
        h0, k0, l0 = nearest(h), nearest(k), nearest(l)
        f_latt = lattice_shape(lp, h - h0, k - k0, l - l0)
        mark(spare, i, f_latt)
        f = f_cell[i] if LOOK_UP_FIRST else structure_factor(fp, h, k, l, h0, k0, l0, latched)
        total[i] = scaling(sp, total[i], f_latt, f, weight[i])


def photons(sp, total, first_polarization, first_solid_angle, last_capture, image, slow, start, begin, end):
    """The sums of the terms of a span in photons."""
    for i in range(np.uint64(begin - start), np.uint64(end - start)):
        result = sp.photons * total[i]
        if not sp.polarization_per_term:
            result *= first_polarization[i]
        if not sp.solid_angle_per_term:
            result *= first_solid_angle[i]
        if not sp.capture_per_term:
            result *= last_capture[i]
        image[slow, np.uint64(start) + i] = result


def choose_turns(lp, choice, table, negligible, first, qx, qy, qz, keep, chosen):
    """Set ``chosen`` to the orientations for which |F_latt| may be more than negligible in a chunk; returns their number (SCA-11)."""
    middle, last = first + CHUNK // 2, first + CHUNK - 1
    mx, my, mz = qx[middle], qy[middle], qz[middle]
    ex, ey, ez = (qx[last] - qx[first]) * REACH, (qy[last] - qy[first]) * REACH, (qz[last] - qz[first]) * REACH
    bend = 0.0  # how far scattering vectors are off the line from m - e to m + e
    for i in range(first, first + CHUNK):
        t = (i - middle) / (CHUNK // 2)
        x, y, z = qx[i] - mx - t * ex, qy[i] - my - t * ey, qz[i] - mz - t * ez
        bend = max(bend, x * x + y * y + z * z)
    bend = np.sqrt(bend)
    for turn in range(keep.size):
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
        keep[turn] = 0 if ceiling(lp, x, y, z) <= negligible else 1  # what is not a number shall be seen
    count = np.uint64(0)
    for turn in range(keep.size):
        chosen[count] = turn
        count += np.uint64(keep[turn])
    return np.int64(count)
