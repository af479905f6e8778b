"""Spots with all that is decided of them, ready to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nbnumba.closed_form.draw import MOST_POINTS, Changes, Drawn, Paper, draw, weigh
from nbnumba.closed_form.near import REACH
from nbnumba.closed_form.smear import Smear
from nbnumba.closed_form.spots import Layout, Spots
from nbnumba.experiment.vectors import Array
from nbnumba.kernel.cpu.device import CPU, OF_KERNELS
from nbnumba.kernel.cpu.work_queue import NOTHING_LEFT, share_out
from nbnumba.kernel.linker import Linker
from nbnumba.kernel.numba_parts import kept_on_disk

BANDS = 32  # of rows, that threads claim


@dataclass(frozen=True, eq=False)
class Drawing:
    """The spots of a panel in a part of the turn."""

    smear: Smear
    layout: Layout
    spots: Spots

    @cached_property
    def places(self) -> Array:
        """Middles along lines and across, half the reach across, lines to a pixel."""
        layout = self.layout
        middles = np.where(layout.swapped, layout.slow, layout.fast), np.where(layout.swapped, layout.fast, layout.slow)
        return np.stack([*middles, layout.half, layout.lines], axis=1)

    def drawn(self, rows: int) -> Drawn:
        """As the kernel takes it, of an image of so many rows."""
        kinds = np.stack([self.layout.swapped.astype(np.int64), self.layout.points], axis=1)
        return Drawn(*self.spots, 0.5 * self.smear.width, self.places, kinds, *in_bands(self.layout, rows))

    def add_to(self, image: Array, threads: int, changes: Changes | None = None) -> None:
        """Add photons, and their derivatives along directions, to an image [1 + directions, slow, fast]."""
        self._run("changes" if changes else "photons", threads, changes or UNCHANGED, Paper(image, np.zeros(1)))

    def weighed(self, weights: Array, threads: int) -> Array:
        """The sum over pixels of the photons of each spot, times weights [slow, fast]."""
        members = self.drawn(len(weights)).members
        paper = Paper(weights[np.newaxis], np.zeros(len(members)))
        self._run("weights", threads, UNCHANGED, paper)
        return np.asarray(np.bincount(members, paper.sums, len(self.layout.hkl)), np.float64)

    def _run(self, what: str, threads: int, changes: Changes, paper: Paper) -> None:
        work = partial(kernel(what), self.drawn(paper.image.shape[1]), changes, REACH, gauss_legendre(), paper)
        work(np.full(1, NOTHING_LEFT))
        share_out(threads, work)


UNCHANGED = Changes(np.zeros((0, 1, 5, 6)), np.zeros((0, 1)), np.zeros(0))


KINDS: dict[str, dict[str, Any]] = {"photons": {}, "changes": {"CHANGING": 1}, "weights": {"add_to": weigh}}


@cache
def kernel(what: str) -> Any:
    """What draws photons, these and their derivatives, or weighs them, compiled when first called."""
    return kept_on_disk(njit(**OF_KERNELS)(Linker(CPU, KINDS[what]).kernel(draw)))


@cache
def gauss_legendre() -> Array:
    """Points in (0, 1) and weights, (2, m, m): those of n points in row n - 1."""
    found = np.zeros((2, MOST_POINTS, MOST_POINTS))
    for n in range(1, MOST_POINTS + 1):
        x, weights = np.polynomial.legendre.leggauss(n)
        found[0, n - 1, :n], found[1, n - 1, :n] = 0.5 * (x + 1.0), 0.5 * weights
    return found


def in_bands(layout: Layout, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bands of rows: their first, and where in ``members`` the spots begin that reach it; numbers of these spots, in order."""
    size = max(1, -(-rows // BANDS))
    edges = np.append(np.arange(0, rows, size), rows)
    first, last = (np.clip((layout.slow + way * layout.reach_slow) // size, 0, len(edges) - 2).astype(np.int64) for way in (-1.0, 1.0))
    counts = last - first + 1
    spots = np.repeat(np.arange(len(counts)), counts)
    bands = np.repeat(first, counts) + np.arange(len(spots)) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.argsort(bands, kind="stable")
    begins = np.searchsorted(bands[order], np.arange(len(edges)))
    return np.stack([edges, begins], axis=1), spots[order]
