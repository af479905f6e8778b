"""Rendering from a list: only the stretches of sub-pixels that a reflection can reach, with the terms of those orientations and sources.

``list_spots`` finds, for every orientation and source, the lattice points whose support cuts the Ewald sphere, and the box of sub-pixels
that it can be seen in (SCA-21); ``render_listed`` adds up their terms, in whole stretches. A box is never too small.

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
    photons,
    rays,
    rows_of_numbers,
    scatter,
)

MARGIN = 1.0 + 1e-9  # for rounding
TINY = 1e-12  # the same, of the reach
PIXEL_MARGIN = 1e-6  # the same of pixel coordinates
DIGIT = 11  # bits by which places are sorted at once
ABOUT, WIDEST, MIDDLE, CONE = range(3, 7)  # of a cone of rays, after the direction of its middle
ROW_OF, FIRST_COLUMN, LAST_COLUMN, SUB_ROWS, TERM, FIELDS = range(6)  # of a spot; columns and rows (first << 16 | last) are of sub-pixels


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
    cones: np.ndarray  # (panels, CONE) of find_cones(), wide enough for the rays of a spot


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


def find_cones(table, inputs, regions, cones, counter):
    """The ray to the middle of every region of a panel claimed here, and the least cosines of rays to its border with that and the sources.

    regions: (n, 4) first fast and slow coordinate, and the last of both. cones: (n, CONE).
    """
    while True:
        j = claim(counter)
        if j >= regions.shape[0]:
            break
        gp = of_panel(table, j)
        wide, high = regions[j, 2] - regions[j, 0], regions[j, 3] - regions[j, 1]
        cones[j, ABOUT], cones[j, WIDEST], cones[j, MIDDLE] = 1.0, 1.0, 1.0
        for n in range(inputs.layers * (2 * (wide + high) + 5)):
            layer, at = n % inputs.layers, n // inputs.layers - 1
            f, s = 0.5 * wide, 0.5 * high
            if 0 <= at < 2 * wide + 2:
                f, s = at // 2, high * (at % 2)
            elif at >= 0:
                f, s = wide * (at % 2), (at - 2 * wide - 2) // 2
            dx, dy, dz, _, _ = geometry(gp, regions[j, 0] + f, regions[j, 1] + s, layer)
            if n == 0:
                cones[j, 0], cones[j, 1], cones[j, 2] = dx, dy, dz
            cones[j, ABOUT] = min(cones[j, ABOUT], dx * cones[j, 0] + dy * cones[j, 1] + dz * cones[j, 2])
            for source in range(inputs.wavelength.size):
                cosine = dx * inputs.incident[source, 0] + dy * inputs.incident[source, 1] + dz * inputs.incident[source, 2]
                cones[j, WIDEST if at >= 0 else MIDDLE] = min(cones[j, WIDEST if at >= 0 else MIDDLE], cosine)


def list_spots(table, inputs, lattice, places, beams, spots, found, counter):
    """Write the spots of some orientations to row j of ``spots``, for the pieces of work j that are claimed here.

    beams: (n, 2) first source, and the one after the last, of those in one direction. found: how many spots there are, of which those are
    written for which there is room.
    """
    turns, pieces = lattice.reciprocal.shape[0], found.size
    works = beams.shape[0] * turns
    while True:
        j = claim(counter)
        if j >= pieces:
            break
        found[j] = 0
        for work in range(j * works // pieces, (j + 1) * works // pieces):
            list_lattice(table, inputs, lattice, places, beams[work // turns, 0], beams[work // turns, 1], work % turns, j, spots, found)


def list_lattice(table, inputs, lattice, places, first, last, turn, piece, spots, found):
    """The spots of an orientation and sources in one direction i: lattice points r near a sphere |i / wavelength + r| = 1 / wavelength.

    Row by row of the lattice, of those that come near enough to the origin: points in the largest sphere and not in the smallest, both of
    which the origin is on.
    """
    ix, iy, iz = inputs.incident[first, 0], inputs.incident[first, 1], inputs.incident[first, 2]
    small, large = 1.0 / inputs.wavelength[first], 1.0 / inputs.wavelength[first]
    for source in range(first + 1, last):
        small, large = min(small, 1.0 / inputs.wavelength[source]), max(large, 1.0 / inputs.wavelength[source])
    ux, uy, uz = lattice.reciprocal[turn, 0, 0], lattice.reciprocal[turn, 1, 0], lattice.reciprocal[turn, 2, 0]
    vx, vy, vz = lattice.reciprocal[turn, 0, 1], lattice.reciprocal[turn, 1, 1], lattice.reciprocal[turn, 2, 1]
    wx, wy, wz = lattice.reciprocal[turn, 0, 2], lattice.reciprocal[turn, 1, 2], lattice.reciprocal[turn, 2, 2]
    ww = wx * wx + wy * wy + wz * wz
    # Along a row, and at right angles to it.
    u_w, v_w, i_w = (ux * wx + uy * wy + uz * wz) / ww, (vx * wx + vy * wy + vz * wz) / ww, (ix * wx + iy * wy + iz * wz) / ww
    ax, ay, az = ux - u_w * wx, uy - u_w * wy, uz - u_w * wz
    bx, by, bz = vx - v_w * wx, vy - v_w * wy, vz - v_w * wz
    tx, ty, tz = ix - i_w * wx, iy - i_w * wy, iz - i_w * wz
    aa, bb, ab = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz, ax * bx + ay * by + az * bz
    longest, margin = (lattice.resolution + lattice.reach) * MARGIN, 2.0 * lattice.reach
    outer, inner = (large + margin) ** 2, (small - margin) ** 2
    most = np.int64(longest / np.sqrt(aa - ab * ab / bb))
    for i in range(-most, most + 1):
        # Of the row j: |i a + j b|^2 <= longest^2.
        middle = -i * ab / bb
        half = np.sqrt(max(longest * longest - i * i * (aa - ab * ab / bb), 0.0) / bb)
        for j in range(np.int64(np.ceil(middle - half)), np.int64(np.floor(middle + half)) + 1):
            x, y, z, start = i * ax + j * bx, i * ay + j * by, i * az + j * bz, i * u_w + j * v_w
            across = (x + large * tx) ** 2 + (y + large * ty) ** 2 + (z + large * tz) ** 2
            if across > outer:
                continue
            far, centre = np.sqrt((outer - across) / ww), -start - large * i_w
            low, high = np.int64(np.ceil(centre - far)), np.int64(np.floor(centre + far))
            across = (x + small * tx) ** 2 + (y + small * ty) ** 2 + (z + small * tz) ** 2
            near, centre = np.sqrt(max(inner - across, 0.0) / ww), -start - small * i_w
            before, after = np.int64(np.floor(centre - near)), np.int64(np.ceil(centre + near))  # points between are in the smallest
            n = low
            while n <= high:
                if before < n < after:
                    n = after
                    continue
                point = i * ux + j * vx + n * wx, i * uy + j * vy + n * wy, i * uz + j * vz + n * wz
                for source in range(first, last):
                    list_point(table, inputs, lattice, places, source, turn, point, piece, spots, found)
                n += 1


def list_point(table, inputs, lattice, places, source, turn, point, piece, spots, found):
    """The spot of a lattice point.

    The part of its support, an ellipsoid, that is on the Ewald sphere is between two planes at right angles to k, as far from each other
    as the sphere bends on the support: in an ellipse plus half the way from one to the other.
    """
    radius, reach = 1.0 / inputs.wavelength[source], lattice.reach
    x, y, z = point
    kx, ky, kz = x + inputs.incident[source, 0] * radius, y + inputs.incident[source, 1] * radius, z + inputs.incident[source, 2] * radius
    square = kx * kx + ky * ky + kz * kz
    if not (radius - 2.0 * reach) ** 2 <= square <= (radius + 2.0 * reach) ** 2:
        return
    if x * x + y * y + z * z > (lattice.resolution + reach) ** 2 * MARGIN:
        return
    length = np.sqrt(square)
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
        cosine = vx * places.cones[panel, 0] + vy * places.cones[panel, 1] + vz * places.cones[panel, 2]
        if cosine < places.cones[panel, ABOUT]:
            continue
        for layer in range(inputs.layers):
            term = (layer * inputs.wavelength.size + source) * lattice.reciprocal.shape[0] + turn
            list_in_panel(table, inputs, places, panel, layer, term, k, shape, piece, spots, found)


def list_in_panel(table, inputs, places, panel, layer, term, k, shape, piece, spots, found):
    """The box of sub-pixels of a layer of a panel that these rays meet, cut into the rows of pixels."""
    n_sub = inputs.oversample
    left, right, bottom, top = bounds(of_panel(table, panel), *k, *shape, layer)
    if not (left <= right and bottom <= top):
        return
    # Whole stretches of columns, so that what is added up in one does not depend on where the region of interest ends.
    begin, end = places.begin[panel] * n_sub // CHUNK * CHUNK, (places.end[panel] * n_sub + CHUNK - 1) // CHUNK * CHUNK
    slow, rows = places.slow[panel], places.last[panel] - places.first[panel]
    first_column, last_column = sub_pixels(left, right, begin, end, n_sub)
    first_row, last_row = sub_pixels(bottom, top, slow * n_sub, (slow + rows) * n_sub, n_sub)
    if first_column > last_column or first_row > last_row:
        return
    for row in range(first_row // n_sub, last_row // n_sub + 1):
        at = found[piece]
        found[piece] += 1
        if at < spots.shape[1]:
            spots[piece, at, ROW_OF] = places.first[panel] + row - slow
            spots[piece, at, FIRST_COLUMN] = first_column
            spots[piece, at, LAST_COLUMN] = last_column
            spots[piece, at, SUB_ROWS] = max(first_row - row * n_sub, 0) << 16 | min(last_row - row * n_sub, n_sub - 1)
            spots[piece, at, TERM] = term


def sub_pixels(low, high, begin, end, n_sub):
    """The first and the last sub-pixel whose middle is between two coordinates, of those from begin on to before end."""
    first = min(max((low - PIXEL_MARGIN) * n_sub - 0.5, begin), end)
    last = max(min((high + PIXEL_MARGIN) * n_sub - 0.5, end - 1.0), begin - 1.0)
    return np.int64(np.ceil(first)), np.int64(np.floor(last))


def sort_spots(table, spots, found, first, covered, ordered, counter):
    """Put all spots into ``ordered`` row by row of pixels, those of a row in the order that they are in. One thread claims all of it.

    first: (rows + 1,) zeros, then where those of each row begin; covered: (rows,) zeros, then the stretches that they cover.
    """
    if claim(counter) > 0:
        return
    for j in range(found.size):
        for n in range(found[j]):
            first[spots[j, n, ROW_OF] + 1] += 1
    for row in range(covered.size):
        first[row + 1] += first[row]
    for j in range(found.size):
        for n in range(found[j]):
            row = spots[j, n, ROW_OF]
            for field in range(FIELDS):
                ordered[first[row], field] = spots[j, n, field]
            wide = spots[j, n, LAST_COLUMN] // CHUNK - spots[j, n, FIRST_COLUMN] // CHUNK + 1
            covered[row] += wide * ((spots[j, n, SUB_ROWS] & 0xFFFF) - (spots[j, n, SUB_ROWS] >> 16) + 1)
            first[row] += 1
    for row in range(covered.size, 0, -1):
        first[row] = first[row - 1]
    first[0] = 0


def render_listed(p, inputs, rows, image, counter):
    """Fill ``image`` with photons per pixel, in the rows of pixels that are claimed here; what no spot reaches is left alone."""
    n_sub, lit = inputs.oversample, 1 if p.scaling.background != 0.0 else 0
    work, whole = rows_of_numbers(ROWS), np.empty((WHOLE_ROWS, ROW), np.int64)
    spare = np.empty(LONGEST, np.float32)
    totals, reached = np.empty(rows.widest), np.empty(rows.widest // LANES, np.int64)
    digits = np.empty(1 << DIGIT, np.int64)
    spots, places, other = np.empty((rows.most, 2), np.int64), np.empty((rows.most, 2), np.int64), np.empty((rows.most, 2), np.int64)
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
        count = sorted_places(inputs, rows, j, columns, spots, places, other, digits)
        begin = 0
        while begin < count:
            place, end = places[begin, 0], begin + 1
            while end < count and places[end, 0] == place:
                end += 1
            column, slow = place % columns * CHUNK, rows.slow[j] + (place // columns + 0.5) / n_sub
            add_stretch(p, gp, inputs, slow, column, places, begin, end, work, whole, spare)
            for i in range(CHUNK):
                pixel = (column + i) // n_sub
                if pixel < rows.end[j]:
                    totals[pixel] += work[TOTAL, i]
                    reached[pixel // LANES] = 1
            begin = end
        photons_of_row(p, gp, inputs, rows, j, totals, reached, work, whole, image)


def sorted_places(inputs, rows, row, columns, spots, places, other, digits):
    """The stretches of the spots of a row, in the order of places and there of terms; returns how many there are."""
    found = rows.first[row + 1] - rows.first[row]
    for n in range(found):
        spots[n, 0], spots[n, 1] = rows.first[row] + n, rows.spots[rows.first[row] + n, TERM]
    sort_places(spots, other, found, 1, inputs.layers * inputs.wavelength.size * inputs.orientations.shape[1], digits)
    count = fill_places(rows.spots, spots, found, columns, places)
    sort_places(places, other, count, 0, inputs.oversample * columns, digits)
    return count


def fill_places(spots, order, found, columns, places):
    """Every stretch of the spots of a row: its number, row by row of sub-pixels, and what term it is of; returns how many there are.

    order: (found, 2), numbers of spots and what terms they are of, in the order of these.
    """
    count = 0
    for m in range(found):
        n = order[m, 0]
        for sub in range(spots[n, SUB_ROWS] >> 16, (spots[n, SUB_ROWS] & 0xFFFF) + 1):
            for column in range(spots[n, FIRST_COLUMN] // CHUNK, spots[n, LAST_COLUMN] // CHUNK + 1):
                places[count, 0] = sub * columns + column
                places[count, 1] = order[m, 1]
                count += 1
    return count


def sort_places(places, other, count, key, numbers, digits):
    """Put the places in the order of one of their two numbers, which are below ``numbers``; equal ones stay as they are."""
    shift = 0
    while numbers >> shift > 0:
        for n in range(digits.size):
            digits[n] = 0
        for n in range(count):
            digits[(places[n, key] >> shift) & (digits.size - 1)] += 1
        total = 0
        for n in range(digits.size):
            total += digits[n]
            digits[n] = total - digits[n]
        for n in range(count):
            digit = (places[n, key] >> shift) & (digits.size - 1)
            other[digits[digit], 0] = places[n, 0]
            other[digits[digit], 1] = places[n, 1]
            digits[digit] += 1
        for n in range(count):
            places[n, 0] = other[n, 0]
            places[n, 1] = other[n, 1]
        shift += DIGIT


def photons_of_row(p, gp, inputs, rows, row, totals, reached, work, whole, image):
    """The sums of a row in photons, as far as a spot reaches LANES pixels."""
    for block in range(rows.begin[row] // LANES, (rows.end[row] + LANES - 1) // LANES):
        start = block * LANES
        if reached[block]:
            for i in range(LANES):
                work[TOTAL, i] = totals[start + i]
            factors_of_pixels(p, gp, inputs, rows.slow[row], start, work, whole)
            first, last = max(rows.begin[row] - start, 0), min(rows.end[row] - start, LANES)
            photons(p.scaling, work, image, rows.at[row] + start, first, last)


def add_stretch(p, gp, inputs, slow, column, places, begin, end, work, whole, spare):
    """The sums of the terms of a stretch, of the layers, sources and orientations in ``places`` from begin on to before end."""
    turns, sources = inputs.orientations.shape[1], inputs.wavelength.size
    for i in range(CHUNK):
        work[TOTAL, i] = 0.0
    n, layer = begin, np.int64(-1)
    while n < end:
        sample = places[n, 1] // turns
        if sample // sources != layer:
            layer = sample // sources
            stretch_rays(gp, inputs.oversample, layer, slow, column, work)
        visible = scatter(p.polarization, p.factors, p.scaling, inputs, sample % sources, CHUNK, work, whole)
        if visible < CHUNK:
            for i in range(CHUNK):
                work[BEFORE, i] = work[TOTAL, i]
        n = add_sample(p, inputs, sample, places, n, end, visible, work, spare)
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


def add_sample(p, inputs, sample, places, begin, end, visible, work, spare):
    """Add the terms of a layer and source that follow each other in ``places``; returns where those of the next begin."""
    turns, source, last, n = inputs.orientations.shape[1], sample % inputs.wavelength.size, np.int64(-1), begin
    while n < end and places[n, 1] < (sample + 1) * turns:
        turn = places[n, 1] - sample * turns
        n += 1
        if turn != last and visible > 0:  # two lattice points may be in one term
            add_terms(p, inputs, source, 0, turn, 0, np.uint64(0), np.uint64(CHUNK), work, spare)
        last = turn
    return n


def factors_of_pixels(p, gp, inputs, slow, start, work, whole):
    """What multiplies the sums of LANES pixels, as far as that is of a pixel, not of a term."""
    for i in range(LANES):
        work[FIRST_POLARIZATION, i] = p.scaling.initial_polarization
    n_sub, sources = inputs.oversample, inputs.wavelength.size
    missing, sample = LANES, 0
    while missing > 0 and sample < inputs.layers * n_sub * n_sub * sources:
        sub, source = sample // sources, sample % sources
        if source == 0:
            rays(gp, n_sub, sub // (n_sub * n_sub), sub % (n_sub * n_sub), slow, start, LANES, work)
        if p.scaling.polarization_per_term:
            break
        scatter(p.polarization, p.factors, p.scaling, inputs, source, LANES, work, whole)
        missing = 0
        for i in range(LANES):
            missing += 1 if work[FIRST_POLARIZATION, i] == 0.0 and work[TOTAL, i] != 0.0 else 0
        sample += 1
    if inputs.layers > 1:
        rays(gp, n_sub, inputs.layers - 1, 0, slow, start, LANES, work)
