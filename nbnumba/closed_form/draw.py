"""Draw spots into an image: the integral of each over every pixel's area (CLO-8), and how that changes (CLO-12).

A spot is exp(-|v|^2 / 2) times factors, v and these being polynomials of the place. It is integrated line by line: over a line in closed
form where it is narrower than pixels, at Gauss-Legendre points where it is not; over lines at such points. Threads claim bands of rows,
and add up the spots of a pixel in one order.
"""

import math
from typing import NamedTuple

import numpy as np

from nbnumba.kernel.cpu.work_queue import claim

MOST_POINTS = 24
NEWTON = 2
CHANGING = 0  # whether derivatives are wanted
ANGLE, FACTOR, ROWS = 3, 4, 5  # of a spot's polynomials, after the three of v
VALUE, SLOPE, BEND = range(3)  # of a polynomial along a line: 1, x, x^2
ROOT_TWO_PI = math.sqrt(2.0 * math.pi)
ROOT_HALF = math.sqrt(0.5)
OF_ERF = 2.0 / math.sqrt(math.pi)


class Drawn(NamedTuple):
    """n spots: polynomials (n, 5, 6) and sharpness (n,) as in Spots; half_width: of the turn, rad.

    places: (n, 4), the middle along lines and across them, half the reach across, lines to a pixel; kinds: (n, 2), whether lines run along
    slow, points of a line to a pixel; bands: (bands + 1, 2), the first row, and where in members the numbers of spots begin that reach it.
    """

    polynomials: np.ndarray
    sharpness: np.ndarray
    half_width: float
    places: np.ndarray
    kinds: np.ndarray
    bands: np.ndarray
    members: np.ndarray


class Changes(NamedTuple):
    """The derivatives of what is drawn along m directions: (m, n, 5, 6), (m, n) and (m,)."""

    polynomials: np.ndarray
    sharpness: np.ndarray
    half_width: np.ndarray


class Paper(NamedTuple):
    """What is drawn on: image [1 + m, slow, fast], photons and what they change with; sums (members,), of what weighs pixels instead."""

    image: np.ndarray
    sums: np.ndarray


class Line(NamedTuple):
    """Part of a spot: where x = 0 is, which row or column of pixels it is in, whether that is a column, its weight, its member."""

    start: float
    across: int
    swapped: int
    weight: float
    member: int


def draw(spots, changes, reach, points, paper, counter):
    """Add spots to the paper.

    reach: standard deviations to which spots are drawn; points: (2, k, k) Gauss-Legendre points in (0, 1) and weights.
    """
    lines, slopes = np.empty((ROWS, 3)), np.empty((ROWS, 3))
    while True:
        band = claim(counter)
        if band >= spots.bands.shape[0] - 1:
            break
        for m in range(spots.bands[band, 1], spots.bands[band + 1, 1]):
            spot(spots, changes, m, spots.bands[band, 0], spots.bands[band + 1, 0], reach, points, lines, slopes, paper)


def spot(spots, changes, member, first_row, last_row, reach, points, lines, slopes, paper):
    """Those of its lines, or of their pixels, that are in a band of rows."""
    n, width = spots.members[member], paper.image.shape[2]
    start, middle, half, density = spots.places[n, 0], spots.places[n, 1], spots.places[n, 2], spots.places[n, 3]
    swapped = spots.kinds[n, 0]
    low, high = (0, width) if swapped else (first_row, last_row)
    first, last = (first_row, last_row) if swapped else (0, width)
    x = 0.0
    for across in range(max(low, math.floor(middle - half)), min(high, math.floor(middle + half) + 1)):
        begin, length = max(float(across), middle - half), min(across + 1.0, middle + half) - max(float(across), middle - half)
        nodes = min(MOST_POINTS, 1 + int(density * length))
        for node in range(nodes):
            y = begin + length * points[0, nodes - 1, node] - middle
            along_line(spots.polynomials[n], y, lines)
            total, slope, square = exponent(lines, x)
            if total - slope * slope / square > reach * reach:
                continue
            for _ in range(NEWTON):
                x -= slope / square
                total, slope, square = exponent(lines, x)
            if total <= reach * reach:
                line = Line(start, across, swapped, length * points[1, nodes - 1, node], member)
                if spots.kinds[n, 1] == 0:
                    narrow(spots, changes, n, line, y, x, first, last, lines, slopes, paper)
                else:
                    wide(spots, changes, n, line, y, x, reach / math.sqrt(square), first, last, points, lines, slopes, paper)


def along_line(p, y, lines):
    """Polynomials of x along the line at y."""
    for row in range(ROWS):
        lines[row, VALUE] = p[row, 0] + y * (p[row, 2] + y * p[row, 5])
        lines[row, SLOPE] = p[row, 1] + y * p[row, 4]
        lines[row, BEND] = p[row, 3]


def value_at(lines, row, x):
    """A polynomial at x."""
    return lines[row, VALUE] + x * (lines[row, SLOPE] + x * lines[row, BEND])


def slope_at(lines, row, x):
    """Its slope."""
    return lines[row, SLOPE] + 2.0 * x * lines[row, BEND]


def exponent(lines, x):
    """|v|^2 at x, half its slope, and half its second derivative but for the bend of v, which matters less than the rest."""
    total, slope, square = 0.0, 0.0, 0.0
    for row in range(ANGLE):
        v, by_x = value_at(lines, row, x), slope_at(lines, row, x)
        total += v * v
        slope += v * by_x
        square += by_x * by_x
    return total, slope, square


def passed(half_width, sharpness, angle):
    """How much of a spot the turn of the spindle passes, whose middle is this angle away, but for factors; 1 for a still."""
    return 1.0 if sharpness == 0.0 else math.erf(sharpness * (half_width - angle)) + math.erf(sharpness * (half_width + angle))


def passed_change(half_width, sharpness, angle, d_half_width, d_sharpness, d_angle):
    """Its derivative."""
    before, after = half_width + angle, half_width - angle
    by_after = math.exp(-((sharpness * after) ** 2)) * (d_sharpness * after + sharpness * (d_half_width - d_angle))
    by_before = math.exp(-((sharpness * before) ** 2)) * (d_sharpness * before + sharpness * (d_half_width + d_angle))
    return OF_ERF * (by_after + by_before)


def add_to(paper, n, line, along, value):
    """Add to a pixel of a line."""
    if line.swapped:
        paper.image[n, along, line.across] += value
    else:
        paper.image[n, line.across, along] += value


def weigh(paper, n, line, along, value):
    """Instead of that, add to what a spot's pixels are in all, each times what the image has there."""
    paper.sums[line.member] += value * (paper.image[n, along, line.across] if line.swapped else paper.image[n, line.across, along])


def narrow(spots, changes, n, line, y, x, first, last, lines, slopes, paper):
    """A line across a narrow spot, there a Gaussian about x: the part of it in each pixel."""
    deviation, half, factor, part, _, _ = profile(spots, n, line, x, lines)
    share(paper, 0, line, x, deviation, first, last, half * factor * part, 0.0, 0.0, 0.0)
    for m in range(changes.half_width.size if CHANGING else 0):
        narrow_change(spots, changes, n, m, line, y, x, first, last, lines, slopes, paper)


def profile(spots, n, line, x, lines):
    """That Gaussian: its standard deviation, half of what it is but for factors, these, what the turn passes, and of that two numbers.

    The mean of an erf over a Gaussian is an erf that is less steep: by ``blunt``, for a spindle angle that changes by u in a deviation.
    """
    total, _, square = exponent(lines, x)
    deviation = 1.0 / math.sqrt(square)
    u = spots.sharpness[n] * slope_at(lines, ANGLE, x) * deviation
    blunt = 1.0 / math.sqrt(1.0 + 2.0 * u * u)
    part = passed(spots.half_width, spots.sharpness[n] * blunt, value_at(lines, ANGLE, x))
    half = 0.5 * line.weight * ROOT_TWO_PI * deviation * math.exp(-0.5 * total)
    return deviation, half, value_at(lines, FACTOR, x), part, u, blunt


def narrow_change(spots, changes, n, m, line, y, x, first, last, lines, slopes, paper):
    """How that changes along a direction: the Gaussian grows, moves and widens."""
    deviation, half, factor, part, u, blunt = profile(spots, n, line, x, lines)
    sharpness, angle, by_x = spots.sharpness[n], value_at(lines, ANGLE, x), slope_at(lines, ANGLE, x)
    along_line(changes.polynomials[m, n], y, slopes)
    d_total, d_slope, d_square, bends, square = 0.0, 0.0, 0.0, 0.0, 0.0
    for row in range(ANGLE):
        v, v_by_x, bend = value_at(lines, row, x), slope_at(lines, row, x), 2.0 * lines[row, BEND]
        dv, dv_by_x = value_at(slopes, row, x), slope_at(slopes, row, x)
        d_total += 2.0 * v * dv
        d_slope += dv * v_by_x + v * dv_by_x
        d_square += 2.0 * v_by_x * dv_by_x
        bends += 2.0 * v_by_x * bend
        square += v_by_x * v_by_x + v * bend
    dx = -d_slope / square  # at x the slope of |v|^2 stays 0
    d_deviation = -0.5 * deviation**3 * (d_square + bends * dx)
    d_factor = value_at(slopes, FACTOR, x) + slope_at(lines, FACTOR, x) * dx
    d_angle = value_at(slopes, ANGLE, x) + by_x * dx
    d_by_x = slope_at(slopes, ANGLE, x) + 2.0 * lines[ANGLE, BEND] * dx
    d_sharpness = changes.sharpness[m, n]
    du = d_sharpness * by_x * deviation + sharpness * (d_by_x * deviation + by_x * d_deviation)
    d_blunt = blunt * (d_sharpness - 2.0 * sharpness * u * du * blunt * blunt)
    d_part = passed_change(spots.half_width, sharpness * blunt, angle, changes.half_width[m], d_blunt, d_angle)
    relative = d_deviation / deviation - 0.5 * d_total
    d_value = half * (factor * part * relative + d_factor * part + factor * d_part)
    share(paper, 1 + m, line, x, deviation, first, last, d_value, half * factor * part, dx, d_deviation)


def share(paper, n, line, x, deviation, first, last, half, moved, dx, d_deviation):
    """Share out among pixels a Gaussian about x that is 2 ``half`` all in all, and what changes as one of 2 ``moved`` moves and widens."""
    place, scale = line.start + x, ROOT_HALF / deviation
    begin, end = math.floor(place - 6.0 * deviation), math.floor(place + 6.0 * deviation)
    before, change_before = -1.0, 0.0
    for along in range(begin, end + 1):
        after, change_after = 1.0, 0.0
        if along < end:
            to_edge = along + 1.0 - place
            after = math.erf(scale * to_edge)
            if moved != 0.0:
                change_after = -OF_ERF * scale * math.exp(-((scale * to_edge) ** 2)) * (dx + to_edge * d_deviation / deviation)
        if first <= along < last:
            add_to(paper, n, line, along, half * (after - before) + moved * (change_after - change_before))
        before, change_before = after, change_after


def wide(spots, changes, n, line, y, x, reach, first, last, points, lines, slopes, paper):  # noqa: PLR0913
    """A line across a wide spot: in each pixel the mean over some points."""
    count = spots.kinds[n, 1]
    sharpness, begin, end = spots.sharpness[n], math.floor(line.start + x - reach), math.floor(line.start + x + reach)
    for m in range(-1, changes.half_width.size if CHANGING else 0):
        if m >= 0:
            along_line(changes.polynomials[m, n], y, slopes)
        for along in range(max(begin, first), min(end + 1, last)):
            sum_ = 0.0
            for node in range(count):
                at = along + points[0, count - 1, node] - line.start
                total, _, _ = exponent(lines, at)
                factor, angle = value_at(lines, FACTOR, at), value_at(lines, ANGLE, at)
                part = passed(spots.half_width, sharpness, angle)
                term = factor * part
                if m >= 0:
                    d_half_total = 0.0
                    for row in range(ANGLE):
                        d_half_total += value_at(lines, row, at) * value_at(slopes, row, at)
                    d_angle = value_at(slopes, ANGLE, at)
                    d_part = passed_change(spots.half_width, sharpness, angle, changes.half_width[m], changes.sharpness[m, n], d_angle)
                    term = value_at(slopes, FACTOR, at) * part + factor * d_part - term * d_half_total
                sum_ += points[1, count - 1, node] * math.exp(-0.5 * total) * term
            add_to(paper, 1 + m, line, along, line.weight * sum_)
