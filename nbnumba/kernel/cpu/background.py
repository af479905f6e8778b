"""The kernel of the background: what is alike all around the beam scatters into every pixel.

Work comes as tiles of TILE x TILE pixels of a panel, of which rays and their factors are worked out at FEW x FEW places, and in between as
polynomials, which are as good as exact; where they are not, ray by ray.
"""

from typing import Any, NamedTuple

import numpy as np

from nbnumba.kernel.profile import CELLS, FEW, LOWEST, MIDDLE, PER_HALF, RIGHT

TILE = 64
CLOSE = 1e-13  # of a number, as far off as polynomials may be
LOOKED_AT = (1, 26, 62)  # rows and columns of a tile, where polynomials through FEW nodes are most off
TOGETHER = 16  # pixels of a row that are looked up together
BLENDED = 12  # pieces that are worked out for all of these, which vectorises
PANEL, FIRST_SLOW, LAST_SLOW, FIRST_FAST, LAST_FAST, AT, STRIDE = range(7)  # of a tile; AT: where in the image that of its panel begins


class Parts(NamedTuple):
    """What the stages that have a part in it have prepared."""

    geometry: Any
    polarization: Any
    factors: tuple[Any, ...]


class Samples(NamedTuple):
    """What is summed over in each pixel: sub-pixels along each axis, and sensor layers; photons: of all, per m^2, over the sub-pixels."""

    oversample: int
    layers: int
    photons: float


def of_panel(table, panel): ...


def geometry(p, fast, slow, layer): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def factors(p, ix, iy, iz, dx, dy, dz, wavelength): ...


def claim(counter): ...


def scatter_background(p, samples, profile, tiles, image, counter):
    """Fill ``image``, the pixels of all panels one after the other, with photons per pixel over those of ``tiles`` that are claimed here.

    p: Parts, those of the geometry for all panels. tiles: (n, 7). counter: counts the tiles that were claimed.
    """
    total, sines, weights = np.empty((TILE, TILE)), np.empty(TILE), np.empty(TILE)
    squares_of, weights_of, along = np.empty((FEW, FEW)), np.empty((FEW, FEW)), np.empty(FEW)
    places = (np.arange(TILE) + 0.5) / (0.5 * TILE) - 1.0
    while True:
        j = claim(counter)
        if j >= tiles.shape[0]:
            break
        tile = tiles[j]
        gp = of_panel(p.geometry, tile[PANEL])
        slow, fast = tile[FIRST_SLOW] // TILE * TILE, tile[FIRST_FAST] // TILE * TILE
        rows = tile[LAST_SLOW] - slow
        total[:] = 0.0
        for layer in range(samples.layers):
            for sub in range(samples.oversample * samples.oversample):
                f = fast + (sub % samples.oversample + 0.5) / samples.oversample
                s = slow + (sub // samples.oversample + 0.5) / samples.oversample
                for beam in range(profile.wavelength.size):
                    smooth = fit(p, gp, profile, beam, f, s, layer, squares_of, weights_of)
                    for row in range(tile[FIRST_SLOW] - slow, rows):
                        if smooth:
                            fill(squares_of, places, row, along, sines)
                            fill(weights_of, places, row, along, weights)
                        else:
                            for i in range(TILE):
                                sines[i], weights[i] = ray(p, gp, profile, beam, f + i, s + row, layer)
                        for i in range(TILE):
                            sines[i] = np.sqrt(max(sines[i], 0.0))
                        add_scattered(profile, beam, sines, weights, total[row])
        for row in range(tile[FIRST_SLOW] - slow, rows):
            at = tile[AT] + (slow + row) * tile[STRIDE] + fast
            for i in range(tile[FIRST_FAST] - fast, tile[LAST_FAST] - fast):
                image[at + i] = samples.photons * total[row, i]


def ray(p, gp, profile, beam, fast, slow, layer):
    """sin^2(theta) of the ray to a point, and the factors of what is scattered along it."""
    dx, dy, dz, solid_angle, capture = geometry(gp, fast, slow, layer)
    ix, iy, iz = profile.incident[beam, 0], profile.incident[beam, 1], profile.incident[beam, 2]
    x, y, z = dx - ix, dy - iy, dz - iz
    weight = solid_angle * capture * polarization(p.polarization, ix, iy, iz, dx, dy, dz)
    return 0.25 * (x * x + y * y + z * z), weight * factors(p.factors, ix, iy, iz, dx, dy, dz, profile.wavelength[beam])


def fit(p, gp, profile, beam, fast, slow, layer, squares, weights):
    """Polynomials of both over a tile, in whose first pixel the point is, [power of slow, power of fast]; whether these are close."""
    half, matrix = 0.5 * TILE, profile.to_polynomial
    for m in range(FEW):
        for n in range(FEW):
            f, s = fast - 0.5 + half * (1.0 + profile.nodes[n]), slow - 0.5 + half * (1.0 + profile.nodes[m])
            squares[m, n], weights[m, n] = ray(p, gp, profile, beam, f, s, layer)
    transform(matrix, squares)
    transform(matrix, weights)
    for row in LOOKED_AT:
        for i in LOOKED_AT:
            square, weight = ray(p, gp, profile, beam, fast + i, slow + row, layer)
            t, u = (i + 0.5) / half - 1.0, (row + 0.5) / half - 1.0
            if abs(at_place(squares, t, u) - square) > CLOSE * square or abs(at_place(weights, t, u) - weight) > CLOSE * abs(weight):
                return False
    return True


def transform(matrix, c):
    """Coefficients instead of the values at nodes."""
    values = np.empty((FEW, FEW))
    for m in range(FEW):
        for n in range(FEW):
            values[m, n] = 0.0
            for k in range(FEW):
                values[m, n] += matrix[n, k] * c[m, k]
    for m in range(FEW):
        for n in range(FEW):
            c[m, n] = 0.0
            for k in range(FEW):
                c[m, n] += matrix[m, k] * values[k, n]


def at_place(c, t, u):
    """The value of a polynomial of two coordinates, t along fast."""
    found = 0.0
    for m in range(FEW - 1, -1, -1):
        inner = 0.0
        for n in range(FEW - 1, -1, -1):
            inner = inner * t + c[m, n]
        found = found * u + inner
    return found


def fill(c, places, row, along, values):
    """The values of a polynomial of two coordinates in a row of a tile."""
    u = places[row]
    for n in range(FEW):
        along[n] = c[8, n]
    for m in range(FEW - 2, -1, -1):
        for n in range(FEW):
            along[n] = along[n] * u + c[m, n]
    c0, c1, c2, c3, c4, c5, c6, c7, c8 = along[0], along[1], along[2], along[3], along[4], along[5], along[6], along[7], along[8]
    for i in range(TILE):
        t = places[i]
        values[i] = c0 + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * (c5 + t * (c6 + t * (c7 + t * c8)))))))


def add_scattered(profile, beam, sines, weights, total):
    """Add what is scattered along the rays of a row, some at a time."""
    for begin in range(0, TILE, TOGETHER):
        low, high = np.int32(CELLS - 1), np.int32(0)
        for i in range(begin, begin + TOGETHER):
            cell = np.int32(sines[i] * CELLS)
            low, high = min(low, cell), max(high, cell)
        first, last = profile.first[beam, low], profile.first[beam, min(high + 1, CELLS)]
        if last - first >= BLENDED:
            for i in range(begin, begin + TOGETHER):
                total[i] += weights[i] * value(profile.pieces, piece_of(profile, beam, sines[i]), sines[i])
        else:
            left = -1.0
            for row in range(first, last + 1):
                left = add_piece(profile.pieces[row], begin, left, sines, weights, total)


def add_piece(piece, begin, left, sines, weights, total):
    """Add what a piece says of the rays that are in it, from ``left`` on; returns where it ends."""
    right, middle, per_half = piece[RIGHT], piece[MIDDLE], piece[PER_HALF]
    c0, c1, c2, c3, c4, c5, c6 = piece[3], piece[4], piece[5], piece[6], piece[7], piece[8], piece[9]
    for i in range(begin, begin + TOGETHER):
        sine = sines[i]
        t = (sine - middle) * per_half
        weight = weights[i] if left <= sine < right else 0.0
        total[i] += weight * (c0 + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * (c5 + t * c6))))))
    return right


def piece_of(profile, beam, sine):
    """The row of the piece that has this sin(theta)."""
    row = profile.first[beam, np.int64(sine * CELLS)]
    while sine >= profile.pieces[row, RIGHT]:
        row += 1
    return row


def value(pieces, row, sine):
    """The value of a piece."""
    t = (sine - pieces[row, MIDDLE]) * pieces[row, PER_HALF]
    found = pieces[row, LOWEST + 6]
    for power in range(5, -1, -1):
        found = found * t + pieces[row, LOWEST + power]
    return found
