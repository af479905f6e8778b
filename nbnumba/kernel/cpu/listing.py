"""Lists of spots for the kernels of listed.py: the lattice of every orientation, the rows of all panels, and how memory is shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.listed import (
    ABOUT,
    CONE,
    FIELDS,
    MIDDLE,
    WIDEST,
    Lattice,
    Places,
    Rows,
    find_cones,
    list_spots,
    sort_spots,
)
from nbnumba.kernel.cpu.render import LANES, KernelInputs
from nbnumba.kernel.device import Area

Run = Callable[[Callable[..., Any], int, tuple[Any, ...]], None]  # a kernel, how many pieces of work it has, and its arguments

MOST_PIECES = 512  # of work, one after the other in scan order
MOST_SPOTS = 2**24  # that are listed at once, 20 bytes each
BACKWARD = -0.85  # cosine from which on a detector may see the direction against the beam


class PixelRows(NamedTuple):
    """Of every row of pixels that is wanted: its panel, its number there, and where in the image it begins."""

    panel: NDArray[np.int64]
    slow: NDArray[np.int64]
    at: NDArray[np.int64]


def listed_rows(run: Run, inputs: KernelInputs, areas: Sequence[Area]) -> Iterator[Rows]:
    """The rows of all panels, with the spots in them, in as many bands as memory asks for."""
    places = places_of(areas)
    cones = cones_of(run, inputs, places)
    lattice = lattice_of(inputs, resolution_of(inputs, cones))
    places, pixel_rows = places._replace(cones=widened(cones, lattice.reach * float(inputs.wavelength.max()))), rows_of(areas)
    bands, room = [(0, len(pixel_rows.slow))], MOST_SPOTS
    while bands:
        begin, end = bands.pop(0)
        spots, found = spots_of(run, inputs, lattice, within(places, begin, end), room)
        if found.max() <= spots.shape[1]:
            yield by_row(run, spots, found, PixelRows(*(numbers[begin:end] for numbers in pixel_rows)), places)
        elif end - begin > 1:
            bands = [(begin, (begin + end) // 2), ((begin + end) // 2, end), *bands]
        else:
            bands, room = [(begin, end), *bands], 4 * room


def spots_of(run: Run, inputs: KernelInputs, lattice: Lattice, places: Places, room: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Spots, (pieces of work, n, FIELDS), and how many every piece has found, which may be more than there is room for."""
    beams = beams_of(inputs.incident)
    pieces = min(len(beams) * len(lattice.reciprocal), MOST_PIECES)
    spots, found = np.empty((pieces, room // pieces, FIELDS), np.int32), np.zeros(pieces, np.int64)
    run(list_spots, pieces, (inputs, lattice, places, beams, spots, found))
    return spots, found


def beams_of(incident: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 2): first source, and the one after the last, of those that follow each other and have the same direction."""
    edges = np.flatnonzero(np.r_[True, (np.diff(incident, axis=0) != 0.0).any(axis=1), True])
    return np.column_stack([edges[:-1], edges[1:]])


def by_row(run: Run, spots: NDArray[np.int32], found: NDArray[np.int64], pixel_rows: PixelRows, places: Places) -> Rows:
    """The spots row by row, those of a row in the order that they are in."""
    rows, ordered = len(pixel_rows.slow), np.empty((found.sum(), FIELDS), np.int32)
    first, covered = np.zeros(rows + 1, np.int64), np.zeros(rows, np.int64)
    run(sort_spots, 1, (spots, found, first, covered, ordered))
    end = places.end[pixel_rows.panel]
    widest = -(-int(end.max()) // LANES) * LANES
    return Rows(*pixel_rows, places.begin[pixel_rows.panel], end, first, ordered, int(covered.max()), widest)


def lattice_of(inputs: KernelInputs, resolution: float) -> Lattice:
    """The lattice of every orientation; resolution: the longest scattering vector to be seen, in 1/m."""
    direct = inputs.orientations[0]
    reciprocal = np.linalg.inv(direct)
    half_axes = reciprocal @ inputs.support
    form = half_axes @ half_axes.transpose(0, 2, 1)
    edges = np.linalg.norm(direct, axis=2).max(axis=0)
    return Lattice(
        reciprocal=np.ascontiguousarray(reciprocal[:, :, np.argsort(edges)]),
        spread=np.stack([form[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))], axis=1),
        reach=float(np.linalg.norm(half_axes, 2, axis=(1, 2)).max()) * (1.0 + 1e-9),
        resolution=resolution,
    )


def cones_of(run: Run, inputs: KernelInputs, places: Places) -> NDArray[np.float64]:
    """The cone of rays to what is wanted of every panel, (panels, CONE)."""
    last = places.slow + places.last - places.first
    regions, cones = np.column_stack([places.begin, places.slow, places.end, last]), np.empty((len(last), CONE))
    run(find_cones, len(last), (inputs, regions, cones))
    return cones


def widened(cones: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """The same about whatever rays come as near as a few times this angle in rad, and some rounding."""
    about = np.arccos(np.clip(cones[:, ABOUT], -1.0, 1.0)) + 4.0 * angle + 1e-6
    wide = cones.copy()
    wide[:, ABOUT] = np.where(about < np.pi, np.cos(about), -2.0)
    return wide


def resolution_of(inputs: KernelInputs, cones: NDArray[np.float64]) -> float:
    """The longest scattering vector that the panels see, in 1/m: at their borders, if they do not see against the beam."""
    least = float(cones[:, WIDEST].min())
    if least < BACKWARD or (cones[:, MIDDLE] < cones[:, WIDEST]).any():
        least = -1.0
    seen = float(np.sqrt(2.0 - 2.0 * least)) / float(inputs.wavelength.min())
    return min(seen, inputs.longest) * (1.0 + 1e-9)


def places_of(areas: Sequence[Area]) -> Places:
    """Where the rows of every panel are, one after the other."""
    roi = np.array([area.roi for area in areas])
    last = np.cumsum(roi[:, 3] + 1 - roi[:, 2])
    return Places(last - (roi[:, 3] + 1 - roi[:, 2]), last, roi[:, 2].copy(), roi[:, 0].copy(), roi[:, 1] + 1, np.empty((len(roi), CONE)))


def rows_of(areas: Sequence[Area]) -> PixelRows:
    """The rows of all panels."""
    panel = np.repeat(np.arange(len(areas)), [area.roi[3] + 1 - area.roi[2] for area in areas])
    slow = np.concatenate([np.arange(area.roi[2], area.roi[3] + 1) for area in areas])
    return PixelRows(panel, slow, np.array([area.at for area in areas])[panel] + slow * np.array([area.shape[1] for area in areas])[panel])


def within(places: Places, begin: int, end: int) -> Places:
    """The places of the rows from ``begin`` on to before ``end``, numbered from there; of other panels no rows."""
    first, last = np.clip(places.first, begin, end), np.clip(places.last, begin, end)
    return places._replace(first=first - begin, last=last - begin, slow=places.slow + first - places.first)


def in_shares(rows: Rows, shares: int) -> Iterator[Rows]:
    """The same rows in so many parts, or fewer, with about as much work each."""
    work = np.cumsum(np.diff(rows.first) + 1)
    edges = np.unique(np.searchsorted(work, work[-1] * np.arange(1, shares + 1) // shares) + 1).tolist()
    for begin, end in zip([0, *edges[:-1]], edges, strict=True):
        own = slice(begin, end)
        parts = {name: getattr(rows, name)[own] for name in ("panel", "slow", "at", "begin", "end")}
        yield rows._replace(first=rows.first[begin : end + 1], **parts)
