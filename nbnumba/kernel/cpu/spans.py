"""Cut the pixels to render into spans: rows of work for the kernel, (slow, begin, end) of a panel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.cpu.render import LANES, LONGEST

if TYPE_CHECKING:
    from nbnumba.kernel.device import Area

SMALLEST_GAP = 64  # unrendered pixels worth a new span; shorter gaps are rendered and cleared


def make_spans(roi: tuple[int, int, int, int], mask: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Spans (n, 3) in scan order that cover the region (inclusive limits) where the mask is true."""
    first_fast, last_fast, first_slow, last_slow = roi
    if mask is None:
        cuts = cut(first_fast, last_fast + 1)
        rows = np.repeat(np.arange(first_slow, last_slow + 1), len(cuts))
        return np.column_stack([rows, np.tile(cuts, (last_slow + 1 - first_slow, 1))]).astype(np.int64)
    spans = [
        (slow, begin, end)
        for slow in range(first_slow, last_slow + 1)
        for run_begin, run_end in runs(mask[slow, first_fast : last_fast + 1])
        for begin, end in cut(first_fast + run_begin, first_fast + run_end)
    ]
    return np.array(spans, np.int64).reshape(-1, 3)


def cut(begin: int, end: int) -> list[tuple[int, int]]:
    """[begin, end) in pieces of nearly equal length, cut at multiples of LANES; none covers more than LONGEST pixels from such to such."""
    first, last = begin // LANES, -(-end // LANES)
    pieces = -(-(last - first) * LANES // LONGEST)
    edges = [begin, *((first + (last - first) * i // pieces) * LANES for i in range(1, pieces)), end]
    return list(itertools.pairwise(edges))


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[begin, end) of the stretches of true flags, across gaps shorter than SMALLEST_GAP."""
    true = np.flatnonzero(flags)
    if not len(true):
        return []
    breaks = np.flatnonzero(np.diff(true) > SMALLEST_GAP)
    begins, ends = true[np.r_[0, breaks + 1]], true[np.r_[breaks, len(true) - 1]] + 1
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def isolate(spans: NDArray[np.int64], slow: int, fast: int) -> NDArray[np.int64]:
    """The same spans of one panel, with pixel (slow, fast) in one of its own."""
    at = np.flatnonzero((spans[:, 0] == slow) & (spans[:, 1] <= fast) & (fast < spans[:, 2]))[0]
    _, begin, end = spans[at, :3]
    pieces = [(slow, b, e, *spans[at, 3:]) for b, e in ((begin, fast), (fast, fast + 1), (fast + 1, end)) if b < e]
    return np.concatenate([spans[:at], np.array(pieces, np.int64), spans[at + 1 :]])


def of_panels(areas: Sequence[Area]) -> NDArray[np.int64]:
    """(n, 5): slow, begin and end of every span, its panel, and where in the image its row begins."""
    found = []
    for panel, area in enumerate(areas):
        spans = make_spans(area.roi, area.mask)
        rows = area.at + spans[:, 0] * area.shape[1]
        found.append(np.column_stack([spans, np.full(len(spans), panel), rows]))
    return np.concatenate(found)


def shorter(spans: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """The same pixels in spans that cover no more than so many, a multiple of LANES, from such to such."""
    if longest >= LONGEST:
        return spans
    slow, begin, end = spans.T
    first = begin // LANES * LANES
    pieces = -(-(end - first) // longest)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    edges = np.repeat(first, pieces) + number * longest
    return np.column_stack(
        [np.repeat(slow, pieces), np.maximum(np.repeat(begin, pieces), edges), np.minimum(np.repeat(end, pieces), edges + longest)]
    )


def unmasked(spans: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Spans that hold nothing but pixels where the mask is true."""
    pieces = []
    for slow, begin, end in spans:
        edges = np.flatnonzero(np.diff(np.r_[False, mask[slow, begin:end], False])) + begin
        pieces += [(slow, b, e) for b, e in zip(edges[::2], edges[1::2], strict=True)]
    return np.array(pieces, np.int64).reshape(-1, 3)


def tiles_of(areas: Sequence[Area], edge: int) -> NDArray[np.int64]:
    """(n, 7): the panel, first and one after the last slow and fast pixel of tiles that cover the regions, where the image of the panel
    begins, and how many pixels are from row to row. Tiles are cut at multiples of the edge."""
    found = []
    for panel, area in enumerate(areas):
        first_fast, last_fast, first_slow, last_slow = area.roi
        rows, columns = (cut_at_multiples(*ends, edge) for ends in ((first_slow, last_slow + 1), (first_fast, last_fast + 1)))
        found += [(panel, *row, *column, area.at, area.shape[1]) for row in rows for column in columns]
    return np.array(found, np.int64)


def cut_at_multiples(begin: int, end: int, size: int) -> list[tuple[int, int]]:
    """[begin, end) in pieces that end at multiples of the size."""
    return list(itertools.pairwise([begin, *range((begin // size + 1) * size, end, size), end]))
