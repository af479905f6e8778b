"""Rendering from a list: only the stretches of sub-pixels that a reflection can reach, with the terms of those orientations and sources.

``list_spots`` finds, for every orientation and source, the lattice points whose support cuts the Ewald sphere, and the box of sub-pixels
that it can be seen in (SCA-30); ``render_listed`` adds up their terms. A box is never too small, and the same test as in the rendering of
all terms leaves out what is negligible in a stretch, so that without sub-pixels both give the same numbers.

A stretch is CHUNK neighbouring sub-pixels of a row of sub-pixels. Its terms come in scan order.
"""

from typing import NamedTuple

import numpy as np

from nbnumba.kernel.cpu.render import (
    BEFORE,
    CAPTURE,
    CHUNK,
    DX,
    DY,
    DZ,
    FIRST_POLARIZATION,
    INSIDE,
    LANES,
    LONGEST,
    ROW,
    ROWS,
    SOLID_ANGLE,
    TOTAL,
    WHOLE_ROWS,
    add_terms,
    most_in_chunk,
    photons,
    rays,
    scatter,
    stretch_of,
)

MARGIN = 1.0 + 1e-9  # for rounding
TINY = 1e-12  # the same, of the reach
PIXEL_MARGIN = 1e-6  # the same of pixel coordinates
DIGIT = 11  # bits by which places are sorted at once
ROW_OF, FIRST_COLUMN, LAST_COLUMN, SUB_ROWS, PAIR, FIELDS = range(6)  # of a spot; columns and rows (first << 16 | last) are of sub-pixels


class Lattice(NamedTuple):
    """The lattice of every orientation, and how far around its points the crystal's shape is seen. Lengths in 1/m."""

    reciprocal: np.ndarray  # (orientations, 3, 3) columns a*, b*, c* in an order in which the last is that of the longest edge
    spread: np.ndarray  # (orientations, 6) xx, yy, zz, xy, yz, zx of C, where u' C^-1 u <= 1 is the support about a point
    reach: float  # longest half-axis of a support
    resolution: float  # longest scattering vector that the detector sees


class Places(NamedTuple):
    """Where the rows of panels are: from first on to before last, beginning with row ``slow`` of the panel; and the pixels of each."""

    first: np.ndarray
    last: np.ndarray
    slow: np.ndarray
    begin: np.ndarray  # first pixel that is wanted
    end: np.ndarray  # the one after the last


class Rows(NamedTuple):
    """Rows of pixels to render: their panel, number there, and where in the image they begin; spots of row n: first[n] to first[n + 1]."""

    panel: np.ndarray
    slow: np.ndarray
    at: np.ndarray
    begin: np.ndarray  # of the pixels that are wanted
    end: np.ndarray
    first: np.ndarray
    spots: np.ndarray  # (n, FIELDS) int32
    most: int  # stretches that the spots of a row cover
    widest: int  # pixels of a row, in whole LANES


def of_panel(table, panel): ...


def geometry(p, fast, slow, layer): ...


def bounds(p, x, y, z, xx, yy, zz, xy, yz, zx, layer): ...


def claim(counter): ...


def find_widest(p, inputs, pixels, found, counter):
    """Set ``found``[j] to the least cosine between a source and the rays to the border of panel j, and that to its middle."""
    while True:
        j = claim(counter)
        if j >= pixels.shape[0]:
            break
        gp = of_panel(p.geometry, j)
        slow, fast = pixels[j, 0], pixels[j, 1]
        found[j, 0], found[j, 1] = 1.0, 1.0
        for n in range(inputs.layers * (2 * (fast + slow) + 1)):
            layer, at = n % inputs.layers, n // inputs.layers
            f, s = 0.5 * fast, 0.5 * slow
            if 0 < at <= 2 * fast:
                f, s = (at + 1) // 2, slow * (at % 2)
            elif at > 2 * fast:
                f, s = fast * (at % 2), (at - 2 * fast) // 2
            dx, dy, dz, _, _ = geometry(gp, f, s, layer)
            for source in range(inputs.wavelength.size):
                cosine = dx * inputs.incident[source, 0] + dy * inputs.incident[source, 1] + dz * inputs.incident[source, 2]
                found[j, 0 if at > 0 else 1] = min(found[j, 0 if at > 0 else 1], cosine)


def list_spots(p, inputs, lattice, places, spots, found, counter):
    """Write the spots of some orientations and sources to row j of ``spots``, for the pieces of work j that are claimed here.

    found: how many there are, of which those are written for which there is room.
    """
    turns = lattice.reciprocal.shape[0]
    pairs, pieces = inputs.wavelength.size * turns, found.size
    while True:
        j = claim(counter)
        if j >= pieces:
            break
        found[j] = 0
        for pair in range(j * pairs // pieces, (j + 1) * pairs // pieces):
            list_pair(p, inputs, lattice, places, pair // turns, pair % turns, j, spots, found)


def list_pair(p, inputs, lattice, places, source, turn, piece, spots, found):
    """The spots of an orientation and a source: lattice points r for which |s + r| is nearly the length of s, the incident wave vector.

    Row by row of the lattice, along which |s + r|^2 is a quadratic; rows are those that come near enough to the centre of the Ewald sphere
    and to the origin.
    """
    radius = 1.0 / inputs.wavelength[source]
    sx, sy, sz = inputs.incident[source, 0] * radius, inputs.incident[source, 1] * radius, inputs.incident[source, 2] * radius
    ux, uy, uz = lattice.reciprocal[turn, 0, 0], lattice.reciprocal[turn, 1, 0], lattice.reciprocal[turn, 2, 0]
    vx, vy, vz = lattice.reciprocal[turn, 0, 1], lattice.reciprocal[turn, 1, 1], lattice.reciprocal[turn, 2, 1]
    wx, wy, wz = lattice.reciprocal[turn, 0, 2], lattice.reciprocal[turn, 1, 2], lattice.reciprocal[turn, 2, 2]
    ww = wx * wx + wy * wy + wz * wz
    # What is at right angles to a row.
    u_w, v_w, s_w = (ux * wx + uy * wy + uz * wz) / ww, (vx * wx + vy * wy + vz * wz) / ww, (sx * wx + sy * wy + sz * wz) / ww
    ax, ay, az = ux - u_w * wx, uy - u_w * wy, uz - u_w * wz
    bx, by, bz = vx - v_w * wx, vy - v_w * wy, vz - v_w * wz
    tx, ty, tz = sx - s_w * wx, sy - s_w * wy, sz - s_w * wz
    aa, bb, ab = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz, ax * bx + ay * by + az * bz
    longest = (lattice.resolution + lattice.reach) * MARGIN
    outer, inner = (radius + 2.0 * lattice.reach) ** 2, (radius - 2.0 * lattice.reach) ** 2
    most = np.int64(longest / np.sqrt(aa - ab * ab / bb))
    for i in range(-most, most + 1):
        # Of the row j: |i a + j b|^2 <= longest^2.
        middle = -i * ab / bb
        half = np.sqrt(max(longest * longest - i * i * (aa - ab * ab / bb), 0.0) / bb)
        for j in range(np.int64(np.ceil(middle - half)), np.int64(np.floor(middle + half)) + 1):
            x, y, z = tx + i * ax + j * bx, ty + i * ay + j * by, tz + i * az + j * bz
            across = x * x + y * y + z * z
            if across > outer:
                continue
            along = s_w + i * u_w + j * v_w
            far, near = np.sqrt((outer - across) / ww), np.sqrt(max(inner - across, 0.0) / ww)
            low, last = np.int64(np.ceil(-along - far)), np.int64(np.floor(-along + far))
            gap, high = np.int64(np.floor(-along - near)), np.int64(np.ceil(-along + near))  # points between them are inside
            n = low
            while n <= last:
                if gap < n < high:
                    n = high
                    continue
                list_point(p, inputs, lattice, places, source, turn, (i * ux + j * vx + n * wx, i * uy + j * vy + n * wy,
                           i * uz + j * vz + n * wz), piece, spots, found)  # fmt: skip
                n += 1


def list_point(p, inputs, lattice, places, source, turn, point, piece, spots, found):
    """The spot of a lattice point.

    The part of its support, an ellipsoid, that is on the Ewald sphere is between two planes at right angles to k, as far from each other
    as the sphere bends on the support: in an ellipse plus half the way from one to the other.
    """
    radius, reach = 1.0 / inputs.wavelength[source], lattice.reach
    x, y, z = point
    if x * x + y * y + z * z > (lattice.resolution + reach) ** 2 * MARGIN:
        return
    kx, ky, kz = x + inputs.incident[source, 0] * radius, y + inputs.incident[source, 1] * radius, z + inputs.incident[source, 2] * radius
    length = np.sqrt(kx * kx + ky * ky + kz * kz)
    vx, vy, vz, off = kx / length, ky / length, kz / length, length - radius
    xx, yy, zz = lattice.spread[turn, 0], lattice.spread[turn, 1], lattice.spread[turn, 2]
    xy, yz, zx = lattice.spread[turn, 3], lattice.spread[turn, 4], lattice.spread[turn, 5]
    gx, gy, gz = xx * vx + xy * vy + zx * vz, xy * vx + yy * vy + yz * vz, zx * vx + yz * vy + zz * vz
    thick = vx * gx + vy * gy + vz * gz  # the squared half-width of the support along k
    most = np.sqrt(thick) * MARGIN
    bend = (radius - np.sqrt(radius * radius - reach * reach)) * MARGIN
    low, high = max(-off - bend - TINY * radius, -most), min(-off + TINY * radius, most)
    if low > high:
        return
    middle, half, least = 0.5 * (low + high) / thick, 0.5 * (high - low) / thick, max(max(low, -high), 0.0)
    part = max(1.0 - least * least / thick, 0.0) * MARGIN
    ex, ey, ez = half * gx, half * gy, half * gz
    # The ellipsoid about the sum of an ellipse and a line, each weighted by its size.
    of_disc = np.sqrt(part * max(xx + yy + zz - (gx * gx + gy * gy + gz * gz) / thick, 0.0)) + TINY * reach
    of_line = np.sqrt(ex * ex + ey * ey + ez * ez) + TINY * reach
    a, b = part * (1.0 + of_line / of_disc), 1.0 + of_disc / of_line
    c, tiny = a / thick, TINY * reach * reach
    shape = (
        a * xx - c * gx * gx + b * ex * ex + tiny,
        a * yy - c * gy * gy + b * ey * ey + tiny,
        a * zz - c * gz * gz + b * ez * ez + tiny,
        a * xy - c * gx * gy + b * ex * ey,
        a * yz - c * gy * gz + b * ey * ez,
        a * zx - c * gz * gx + b * ez * ex,
    )
    k = kx + middle * gx, ky + middle * gy, kz + middle * gz
    for panel in range(places.first.size):
        list_in_panel(p, inputs, places, panel, source * lattice.reciprocal.shape[0] + turn, k, shape, piece, spots, found)


def list_in_panel(p, inputs, places, panel, pair, k, shape, piece, spots, found):
    """The box of sub-pixels of a panel that these rays meet, cut into the rows of pixels."""
    gp, n_sub = of_panel(p.geometry, panel), inputs.oversample
    left, right, bottom, top = np.inf, -np.inf, np.inf, -np.inf
    for layer in range(inputs.layers):
        f_low, f_high, s_low, s_high = bounds(gp, *k, *shape, layer)
        left, right, bottom, top = min(left, f_low), max(right, f_high), min(bottom, s_low), max(top, s_high)
    begin, end, slow = places.begin[panel], places.end[panel], places.slow[panel]
    stop = slow + places.last[panel] - places.first[panel]
    if not (left <= end and right >= begin and bottom <= stop and top >= slow):
        return
    first_column, last_column = sub_pixels(left, right, begin, end, n_sub)
    first_row, last_row = sub_pixels(bottom, top, slow, stop, n_sub)
    if first_column > last_column:
        return
    for row in range(first_row // n_sub, last_row // n_sub + 1):
        at = found[piece]
        found[piece] += 1
        if at < spots.shape[1]:
            spots[piece, at, ROW_OF] = places.first[panel] + row - slow
            spots[piece, at, FIRST_COLUMN] = first_column
            spots[piece, at, LAST_COLUMN] = last_column
            spots[piece, at, SUB_ROWS] = max(first_row - row * n_sub, 0) << 16 | min(last_row - row * n_sub, n_sub - 1)
            spots[piece, at, PAIR] = pair


def sub_pixels(low, high, begin, end, n_sub):
    """The first and the last sub-pixel whose middle is between two coordinates, of those of the pixels from begin on to before end."""
    low, high = max(low, begin - 1.0), min(high, end + 1.0)
    first, last = np.int64(np.ceil((low - PIXEL_MARGIN) * n_sub - 0.5)), np.int64(np.floor((high + PIXEL_MARGIN) * n_sub - 0.5))
    return max(first, begin * n_sub), min(last, end * n_sub - 1)


def render_listed(p, inputs, choice, rows, image, counter):
    """Fill ``image`` with photons per pixel, in the rows of pixels that are claimed here; what no spot reaches is left alone.

    choice: as of the rendering of all terms.
    """
    n_sub, lit = inputs.oversample, 1 if p.scaling.background != 0.0 else 0
    work, whole = np.empty((ROWS, ROW)), np.empty((WHOLE_ROWS, ROW), np.int64)
    spare = np.empty(LONGEST, np.float32)
    totals, reached = np.empty(rows.widest), np.empty(rows.widest // LANES, np.int64)
    digits = np.empty(1 << DIGIT, np.int64)
    places, other = np.empty((rows.most, 2), np.int64), np.empty((rows.most, 2), np.int64)
    while True:
        j = claim(counter)
        if j >= rows.panel.size:
            break
        if rows.first[j] == rows.first[j + 1] and not lit:
            continue
        gp, columns = of_panel(p.geometry, rows.panel[j]), (rows.end[j] * n_sub + CHUNK - 1) // CHUNK
        for pixel in range(rows.widest):
            totals[pixel] = p.scaling.background
            reached[pixel // LANES] = lit
        count = fill_places(rows, j, columns, places)
        sort_places(places, other, count, n_sub * columns, digits)
        begin = 0
        while begin < count:
            place, end = places[begin, 0], begin + 1
            while end < count and places[end, 0] == place:
                end += 1
            column, slow = place % columns * CHUNK, rows.slow[j] + (place // columns + 0.5) / n_sub
            add_stretch(p, gp, inputs, choice, slow, column, places, begin, end, work, whole, spare)
            for i in range(CHUNK):
                pixel = (column + i) // n_sub
                if pixel < rows.end[j]:
                    totals[pixel] += work[TOTAL, i]
                    reached[pixel // LANES] = 1
            begin = end
        for block in range(rows.begin[j] // LANES, (rows.end[j] + LANES - 1) // LANES):
            start = block * LANES
            if reached[block]:
                for i in range(LANES):
                    work[TOTAL, i] = totals[start + i]
                factors_of_pixels(p, gp, inputs, rows.slow[j], start, work, whole)
                first, last = max(rows.begin[j] - start, 0), min(rows.end[j] - start, LANES)
                photons(p.scaling, work, image, rows.at[j] + start, first, last)


def fill_places(rows, row, columns, places):
    """Every stretch of a row's spots: its number, row by row of sub-pixels, and the orientation and source; returns how many there are."""
    count = 0
    for n in range(rows.first[row], rows.first[row + 1]):
        for sub in range(rows.spots[n, SUB_ROWS] >> 16, (rows.spots[n, SUB_ROWS] & 0xFFFF) + 1):
            for column in range(rows.spots[n, FIRST_COLUMN] // CHUNK, rows.spots[n, LAST_COLUMN] // CHUNK + 1):
                places[count, 0] = sub * columns + column
                places[count, 1] = rows.spots[n, PAIR]
                count += 1
    return count


def sort_places(places, other, count, numbers, digits):
    """Put the places in the order of their numbers, which are below ``numbers``; equal ones stay as they are."""
    shift = 0
    while numbers >> shift > 0:
        for n in range(digits.size):
            digits[n] = 0
        for n in range(count):
            digits[(places[n, 0] >> shift) & (digits.size - 1)] += 1
        total = 0
        for n in range(digits.size):
            total += digits[n]
            digits[n] = total - digits[n]
        for n in range(count):
            digit = (places[n, 0] >> shift) & (digits.size - 1)
            other[digits[digit], 0] = places[n, 0]
            other[digits[digit], 1] = places[n, 1]
            digits[digit] += 1
        for n in range(count):
            places[n, 0] = other[n, 0]
            places[n, 1] = other[n, 1]
        shift += DIGIT


def add_stretch(p, gp, inputs, choice, slow, column, places, begin, end, work, whole, spare):
    """The sums of the terms of a stretch, of the orientations and sources in ``places`` from begin on to before end."""
    turns = inputs.orientations.shape[1]
    for i in range(CHUNK):
        work[TOTAL, i] = 0.0
    for layer in range(inputs.layers):
        stretch_rays(gp, inputs.oversample, layer, slow, column, work)
        n = begin
        while n < end:
            source = places[n, 1] // turns
            visible = scatter(p.polarization, p.factors, p.scaling, inputs, source, CHUNK, work, whole)
            if visible < CHUNK:
                for i in range(CHUNK):
                    work[BEFORE, i] = work[TOTAL, i]
            n = add_source(p, inputs, choice, source, places, n, end, visible, work, spare)
            if visible < CHUNK:
                for i in range(CHUNK):
                    work[TOTAL, i] = work[TOTAL, i] if whole[INSIDE, i] != 0 else work[BEFORE, i]


def stretch_rays(gp, n_sub, layer, slow, column, work):
    """Directions, solid angles and captured fractions of the sub-pixels of a stretch."""
    for i in range(CHUNK):
        dx, dy, dz, solid_angle, capture = geometry(gp, (column + i + 0.5) / n_sub, slow, layer)
        work[DX, i] = dx
        work[DY, i] = dy
        work[DZ, i] = dz
        work[SOLID_ANGLE, i] = solid_angle
        work[CAPTURE, i] = capture
        work[FIRST_POLARIZATION, i] = 1.0


def add_source(p, inputs, choice, source, places, begin, end, visible, work, spare):
    """Add the terms of one source that follow each other in ``places``; returns where those of the next begin."""
    turns, last, n = inputs.orientations.shape[1], np.int64(-1), begin
    mx, my, mz, ex, ey, ez, bend = stretch_of(0, work)
    while n < end and places[n, 1] // turns == source:
        turn = places[n, 1] % turns
        n += 1
        if turn == last or visible == 0:  # two lattice points, one term
            continue
        last = turn
        if most_in_chunk(p.lattice_shape, choice, 0, turn, mx, my, mz, ex, ey, ez, bend) <= inputs.negligible:
            continue
        add_terms(p, inputs, source, 0, turn, 0, np.uint64(0), np.uint64(CHUNK), work, spare)
    return n


def factors_of_pixels(p, gp, inputs, slow, start, work, whole):
    """What multiplies the sums of LANES pixels, as far as that is of a pixel, not of a term."""
    for i in range(LANES):
        work[FIRST_POLARIZATION, i] = p.scaling.initial_polarization
    missing, layer, sub, subs = LANES, 0, 0, inputs.oversample * inputs.oversample
    while missing > 0 and layer < inputs.layers:
        rays(gp, inputs.oversample, layer, sub, slow, start, LANES, work)
        for source in range(inputs.wavelength.size):
            scatter(p.polarization, p.factors, p.scaling, inputs, source, LANES, work, whole)
        missing = 0
        for i in range(LANES):
            missing += 1 if work[FIRST_POLARIZATION, i] == 0.0 and work[TOTAL, i] != 0.0 else 0
        layer, sub = layer + (sub + 1) // subs, (sub + 1) % subs
    if inputs.layers > 1:
        rays(gp, inputs.oversample, inputs.layers - 1, 0, slow, start, LANES, work)
