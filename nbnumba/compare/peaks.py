"""Whether two images have their peaks in the same places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MATCHED = 1.0  # pixels
SHOWN = 10


def match_peaks(a: NDArray[np.float64], b: NDArray[np.float64], count: int) -> dict[str, Any]:
    """For the highest peaks of ``a``, how far away the nearest of ``b``'s is, in pixels; for JSON.

    Of ``b`` twice as many are looked at, since two of nearly equal height may change places.
    """
    from scipy.spatial import cKDTree

    ours, theirs = highest_peaks(a, count), highest_peaks(b, 2 * count)
    found: dict[str, Any] = {"in_a": len(ours), "in_b": len(highest_peaks(b, count)), "matched": 0}
    if not (len(ours) and len(theirs)):
        return found
    distances, nearest = cKDTree(theirs).query(ours)
    rows = [
        {
            "slow_fast_a": tuple(map(int, place)),
            "slow_fast_b": tuple(map(int, theirs[n])),
            "distance": float(d),
            "a": float(a[tuple(place)]),
            "b": float(b[tuple(theirs[n])]),
        }
        for place, n, d in zip(ours, nearest, distances, strict=True)
    ]
    return found | {
        "matched": int(np.count_nonzero(distances <= MATCHED)),
        "median_distance": float(np.median(distances)),
        "largest_distance": float(distances.max()),
        "highest": rows[:SHOWN],
    }


def highest_peaks(image: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """(slow, fast) of the highest pixels that no neighbour exceeds, but some neighbour is below; the highest first."""
    from scipy.ndimage import maximum_filter, minimum_filter

    is_peak = (image == maximum_filter(image, 3, mode="nearest")) & (image > minimum_filter(image, 3, mode="nearest"))
    places = np.argwhere(is_peak)
    order = np.argsort(-image[is_peak], kind="stable")[:count]
    return places[order]
