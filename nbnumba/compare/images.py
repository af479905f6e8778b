"""How far apart two images are."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.compare.peaks import match_peaks
from nbnumba.errors import OptionError

Pixels = NDArray[np.float64]
AGREEMENT = 1e-6  # largest difference, as a fraction of the maximum, of images that count as equal


def compare_images(a: Pixels, b: Pixels, peaks: int = 50, regions: int = 3) -> dict[str, Any]:
    """What there is to say about two images [slow, fast], for JSON.

    peaks: how many of the highest to match; regions: how many the image is divided into along each axis. Raises OptionError for
    images of different shapes.
    """
    if a.shape != b.shape:
        raise OptionError(f"the images have {a.shape[0]} x {a.shape[1]} and {b.shape[0]} x {b.shape[1]} pixels (slow x fast)")
    return {
        "pixels_slow_fast": a.shape,
        "identical": bool((a == b).all()),
        "agree": agree(a, b),
        **distance(a, b),
        "maximum_a": float(a.max()),
        "maximum_b": float(b.max()),
        "peaks": match_peaks(a, b, peaks),
        "regions": by_region(a, b, regions),
    }


def agree(a: Pixels, b: Pixels) -> bool:
    """Whether no pixel differs by more than AGREEMENT of the brighter maximum."""
    return bool(np.abs(a - b).max() <= AGREEMENT * max(np.abs(a).max(), np.abs(b).max()))


def distance(a: Pixels, b: Pixels) -> dict[str, Any]:
    """Correlation, differences and sums."""
    apart = np.abs(a - b)
    where = np.unravel_index(int(apart.argmax()), a.shape)
    largest, brightest = float(apart[where]), float(max(np.abs(a).max(), np.abs(b).max()))
    sum_a, sum_b = float(a.sum()), float(b.sum())
    return {
        "correlation": correlation(a, b),
        "rmse": math.sqrt(float(np.square(apart).mean())),
        "largest_difference": largest,
        "largest_difference_of_maximum": largest / brightest if brightest else 0.0,
        "largest_difference_slow_fast": tuple(map(int, where)),
        "sum_a": sum_a,
        "sum_b": sum_b,
        "sum_ratio": sum_b / sum_a if sum_a else None,
    }


def correlation(a: Pixels, b: Pixels) -> float | None:
    """Pearson's; 1 for equal images, None where one is the same everywhere and the other is not equal to it."""
    if (a == b).all():
        return 1.0
    x, y = a - a.mean(), b - b.mean()
    size = math.sqrt(float((x * x).sum())) * math.sqrt(float((y * y).sum()))
    return float((x * y).sum()) / size if size else None


def by_region(a: Pixels, b: Pixels, regions: int) -> list[dict[str, Any]]:
    """The same for each of regions x regions parts of the image; fewer where there are fewer pixels."""
    rows, columns = (np.linspace(0, edge, min(regions, edge) + 1).astype(int) for edge in a.shape)
    found = []
    for top, bottom in pairwise(rows.tolist()):
        for left, right in pairwise(columns.tolist()):
            part = slice(top, bottom), slice(left, right)
            here = distance(a[part], b[part])
            slow, fast = here["largest_difference_slow_fast"]
            here["largest_difference_slow_fast"] = (slow + top, fast + left)
            found.append({"slow": (top, bottom - 1), "fast": (left, right - 1), **here})
    return found
