"""How strongly all that is alike around the beam scatters, as polynomials of sin(theta) that the kernel of the background looks up.

A scattering curve is a polynomial of the sixth degree between its knots (the square of a cubic is one), and so is the sum of the curves of
several wavelengths, between the knots of all of them: of beams of one direction there is one sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Curve = Callable[[float], "Pieces"]  # of a wavelength (m)

CELLS = 4096  # equal parts of sin(theta), from each of which the search for a piece begins; a power of two, which rounds nothing
MOST_PIECES = 4096  # of a direction; of more knots, so many are taken, evenly
RIGHT, MIDDLE, PER_HALF, LOWEST, COLUMNS = 0, 1, 2, 3, 10  # of a piece: where it ends, how to get to -1 to 1, seven coefficients

FEW = 9  # places of a chunk of pixels for which rays are worked out


def nodes(count: int) -> Array:
    """Chebyshev's, between -1 and 1, where a polynomial is least off in between."""
    return np.asarray(np.cos(np.pi * (np.arange(count) + 0.5) / count))


def to_polynomial(count: int) -> Array:
    """The matrix that makes coefficients, the lowest first, of values at the nodes."""
    return np.asarray(np.linalg.inv(np.vander(nodes(count), increasing=True)), np.float64)


class Pieces(NamedTuple):
    """right: (n,) where each ends, the last nowhere; middle, per_half: (n,) lead from x to t, -1 to 1; coefficients: (n, 7) of t."""

    right: Array
    middle: Array
    per_half: Array
    coefficients: Array

    def __call__(self, x: Array) -> Array:
        """The value at x."""
        piece = np.searchsorted(self.right, x, "right")
        t, found = (x - self.middle[piece]) * self.per_half[piece], self.coefficients[piece, 6]
        for power in range(5, -1, -1):
            found = found * t + self.coefficients[piece, power]
        return np.asarray(found)


class Profile(NamedTuple):
    """Directions of beams, and the pieces of each as rows; first: (directions, CELLS + 1) the row that each cell begins in."""

    incident: Array  # (directions, 3)
    wavelength: Array  # (directions,) m, of beams of one wavelength; else of the first
    pieces: Array  # (rows, COLUMNS)
    first: NDArray[np.int64]
    nodes: Array  # (FEW,)
    to_polynomial: Array  # (FEW, FEW)


class Beams(NamedTuple):
    """Beams of one direction: incident, unit vector; wavelength in m and share of all photons of each."""

    incident: Array
    wavelength: Array
    share: Array


def pieces_of(curve: Callable[[Array], Array], knots: Array) -> Pieces:
    """A curve from 0 to 1, exact where it is a polynomial of the sixth degree between the knots."""
    edges = np.unique(np.concatenate([[0.0, 1.0], knots[(knots > 0.0) & (knots < 1.0)]]))
    if len(edges) > MOST_PIECES + 1:
        edges = edges[np.linspace(0, len(edges) - 1, MOST_PIECES + 1).astype(int)]
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    values = curve(middle[:, np.newaxis] + half[:, np.newaxis] * nodes(7))
    return Pieces(np.append(edges[1:-1], np.inf), middle, 1.0 / half, values @ to_polynomial(7).T)


def profile_of(curve: Curve, beams: Sequence[Beams]) -> Profile:
    """The profile of a scattering curve, for beams of several directions."""
    found = [of_direction(curve, one) for one in beams]
    begin = np.cumsum([0, *(len(pieces.right) for pieces in found)])
    cells = np.arange(CELLS + 1) / CELLS
    return Profile(
        np.array([one.incident for one in beams]),
        np.array([one.wavelength[0] for one in beams]),
        np.concatenate([np.column_stack(pieces) for pieces in found]),
        np.array([start + np.searchsorted(pieces.right, cells, "right") for start, pieces in zip(begin, found, strict=False)]),
        nodes(FEW),
        to_polynomial(FEW),
    )


def of_direction(curve: Curve, beams: Beams) -> Pieces:
    """The sum of the curve over the wavelengths of a direction, each with its share."""
    single = [scaled(curve(wavelength), share) for wavelength, share in zip(beams.wavelength.tolist(), beams.share.tolist(), strict=True)]
    if len(single) == 1:
        return single[0]

    def together(x: Array) -> Array:
        total = np.zeros(x.shape)
        for pieces in single:
            total += pieces(x)
        return total

    return pieces_of(together, np.concatenate([pieces.right for pieces in single]))


def scaled(pieces: Pieces, share: float) -> Pieces:
    """So much of a curve."""
    return pieces._replace(coefficients=share * pieces.coefficients)
