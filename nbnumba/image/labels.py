"""Names beside spots: which spots have one, and where there is room for it (FMT-30)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nbnumba.geometry.prediction import Spots

Window = tuple[int, int, int, int]  # first and last fast, first and last slow pixel
REACH = 2  # pixels, along each axis, between a prediction and the brightest pixel of its spot
COLOUR = "#c2185b"
POINTS, CIRCLE = 8.0, 9.0  # size of the letters, and of the circle around a spot
# Where a label may stand, the best first: (x, y) in points from the spot, and which part of the text is there.
PLACES = (
    (7, 5, "left", "bottom"), (-7, 5, "right", "bottom"), (7, -5, "left", "top"), (-7, -5, "right", "top"),
    (0, 9, "center", "bottom"), (0, -9, "center", "top"), (9, 0, "left", "center"), (-9, 0, "right", "center"),
)  # fmt: skip


class Label(NamedTuple):
    """A text at a place of the image, pixel centres being whole."""

    text: str
    fast: float
    slow: float


def strongest(spots: Spots, pixels: NDArray[np.float64], window: Window, count: int) -> list[Label]:
    """Indices of the brightest predicted spots in a window, the brightest first.

    A spot is as bright as the brightest pixel within REACH, which belongs to the prediction next to it; one that is no brighter than
    half of the pixels is not there.
    """
    first_fast, last_fast, first_slow, last_slow = window
    fast, slow = np.rint(spots.fast).astype(np.int64), np.rint(spots.slow).astype(np.int64)
    there = np.flatnonzero((first_fast <= fast) & (fast <= last_fast) & (first_slow <= slow) & (slow <= last_slow))
    around = np.arange(-REACH, REACH + 1)
    near_slow = np.clip(slow[there, np.newaxis, np.newaxis] + around[:, np.newaxis], 0, pixels.shape[0] - 1)
    near_fast = np.clip(fast[there, np.newaxis, np.newaxis] + around, 0, pixels.shape[1] - 1)
    values = pixels[near_slow, near_fast].reshape(len(there), len(around) ** 2)
    best = values.argmax(axis=1)
    height = values.max(axis=1)
    peak_slow, peak_fast = slow[there] + around[best // len(around)], fast[there] + around[best % len(around)]
    off = np.hypot(peak_slow - spots.slow[there], peak_fast - spots.fast[there])
    background = float(np.median(pixels[first_slow : last_slow + 1, first_fast : last_fast + 1]))
    found: dict[tuple[int, int], Label] = {}
    for n in np.lexsort((off, -height)):
        if len(found) == count or height[n] <= background:
            break
        h, k, l = spots.hkl[there[n]]
        label = Label(f"{h} {k} {l}", float(spots.fast[there[n]]), float(spots.slow[there[n]]))
        found.setdefault((int(peak_slow[n]), int(peak_fast[n])), label)
    return list(found.values())


def draw_labels(figure: Any, axes: Any, labels: Sequence[Label], in_the_way: Sequence[Any] = ()) -> int:
    """Draw them in order, each where it overlaps none drawn before; one without such a place is left out.

    in_the_way: texts that are there already. Returns how many labels are drawn.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    if not labels:
        return 0
    figure.draw_without_rendering()  # lays out the axes
    frame = axes.get_window_extent()
    scale = figure.dpi / 72.0  # of points
    centres = axes.transData.transform([(label.fast, label.slow) for label in labels])
    spots = [Bbox.from_bounds(x, y, 0.0, 0.0).padded(0.5 * CIRCLE * scale) for x, y in centres]
    taken, drawn = [*spots, *(text.get_window_extent() for text in in_the_way)], 0
    for label in labels:
        for x, y, horizontal, vertical in PLACES:
            text = axes.annotate(
                spaced(label.text), (label.fast, label.slow), xytext=(x, y), textcoords="offset points", ha=horizontal, va=vertical,
                fontsize=POINTS, color=COLOUR, path_effects=[withStroke(linewidth=2.5, foreground="white")], zorder=5, in_layout=False,
            )  # fmt: skip
            box = text.get_window_extent().padded(1.5)
            if frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 and not box.count_overlaps(taken):
                taken.append(box)
                drawn += 1
                axes.plot(label.fast, label.slow, "o", mfc="none", mec=COLOUR, markersize=CIRCLE, markeredgewidth=0.8, zorder=4)
                break
            text.remove()
    return drawn


def spaced(text: str) -> str:
    """With wide spaces and minus signs, so that -1 -14 3 can be told from -1 -1 43."""
    return text.replace(" ", "\u2002").replace("-", "\u2212")
