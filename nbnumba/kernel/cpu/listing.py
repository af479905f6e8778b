"""Lists of spots for the kernels of listed.py: the lattice of every orientation, the rows of all panels, and how memory is shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.listed import FIELDS, FIRST_COLUMN, LAST_COLUMN, ROW_OF, SUB_ROWS, Lattice, Places, Rows
from nbnumba.kernel.cpu.render import CHUNK, LANES, KernelInputs
from nbnumba.kernel.device import Area

Run = Callable[[str, int, tuple[Any, ...]], None]  # a kernel by name, how many pieces of work it has, and its arguments

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
    lattice = lattice_of(inputs, resolution_of(run, inputs, areas))
    pixel_rows, places = rows_of(areas), places_of(areas)
    bands, room = [(0, len(pixel_rows.slow))], MOST_SPOTS
    while bands:
        begin, end = bands.pop(0)
        spots = spots_of(run, inputs, lattice, within(places, begin, end), room)
        if spots is None and end - begin > 1:
            bands = [(begin, (begin + end) // 2), ((begin + end) // 2, end), *bands]
        elif spots is None:
            bands, room = [(begin, end), *bands], 4 * room
        else:
            yield by_row(spots, PixelRows(*(numbers[begin:end] for numbers in pixel_rows)), places, inputs)


def spots_of(run: Run, inputs: KernelInputs, lattice: Lattice, places: Places, room: int) -> NDArray[np.int32] | None:
    """All spots in scan order of their terms, (n, FIELDS); None if there are more than there is room for."""
    pairs = inputs.wavelength.size * len(lattice.reciprocal)
    pieces = min(pairs, MOST_PIECES)
    spots, found = np.empty((pieces, room // pieces, FIELDS), np.int32), np.zeros(pieces, np.int64)
    run("list_spots", pieces, (inputs, lattice, places, spots, found))
    return None if found.max() > spots.shape[1] else np.concatenate([own[:count] for own, count in zip(spots, found, strict=True)])


def by_row(spots: NDArray[np.int32], pixel_rows: PixelRows, places: Places, inputs: KernelInputs) -> Rows:
    """The spots row by row, those of a row in the order that they were in."""
    row = spots[:, ROW_OF]
    order = np.argsort((row & 0xFFFF).astype(np.uint16), kind="stable")  # by digits, which are sorted in no time
    order = order[np.argsort((row[order] >> 16).astype(np.uint16), kind="stable")]
    spots = spots[order]
    first = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(pixel_rows.slow)))])
    wide = spots[:, LAST_COLUMN] // CHUNK - spots[:, FIRST_COLUMN] // CHUNK + 1
    high = (spots[:, SUB_ROWS] & 0xFFFF) - (spots[:, SUB_ROWS] >> 16) + 1
    stretches = np.bincount(spots[:, ROW_OF], weights=wide * high, minlength=1)
    end = places.end[pixel_rows.panel]
    widest = -(-int(end.max()) // LANES) * LANES
    return Rows(*pixel_rows, places.begin[pixel_rows.panel], end, first, spots, int(stretches.max()), widest)


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


def resolution_of(run: Run, inputs: KernelInputs, areas: Sequence[Area]) -> float:
    """The longest scattering vector that the panels see, in 1/m: at their borders, if they do not see against the beam."""
    found = np.ones((len(areas), 2))
    run("find_widest", len(areas), (inputs, np.array([area.shape for area in areas]), found))
    least = float(found[:, 0].min())
    if least < BACKWARD or (found[:, 1] < found[:, 0]).any():
        least = -1.0
    seen = float(np.sqrt(2.0 - 2.0 * least)) / float(inputs.wavelength.min())
    return min(seen, inputs.longest) * (1.0 + 1e-9)


def places_of(areas: Sequence[Area]) -> Places:
    """Where the rows of every panel are, one after the other."""
    roi = np.array([area.roi for area in areas])
    last = np.cumsum(roi[:, 3] + 1 - roi[:, 2])
    return Places(last - (roi[:, 3] + 1 - roi[:, 2]), last, roi[:, 2].copy(), roi[:, 0].copy(), roi[:, 1] + 1)


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
