"""How far apart two images of several panels are: each panel alone, and all pixels together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.compare.images import agree, compare_images, distance

Pixels = NDArray[np.float64]


def compare_panels(a: Sequence[Pixels], b: Sequence[Pixels], names: Iterable[str], peaks: int = 50, regions: int = 3) -> dict[str, Any]:
    """What there is to say about two images of the same panels, for JSON: peaks are matched on each panel."""
    panels = [
        {"panel": number, "name": name, **compare_images(ours, theirs, peaks, regions)}
        for number, (name, ours, theirs) in enumerate(zip(names, a, b, strict=True))
    ]
    whole = [np.concatenate([panel.ravel() for panel in image]) for image in (a, b)]
    farthest = max(panels, key=lambda panel: panel["largest_difference"])
    return {
        "identical": all(panel["identical"] for panel in panels),
        "agree": agree(*whole),
        **distance(*whole),
        "largest_difference_panel": farthest["panel"],
        "largest_difference_slow_fast": farthest["largest_difference_slow_fast"],
        **{name: max(panel[name] for panel in panels) for name in ("maximum_a", "maximum_b")},
        "peaks": added([panel["peaks"] for panel in panels]),
        "panels": panels,
    }


def added(peaks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Peaks of all panels."""
    farthest = max((found["largest_distance"] for found in peaks if "largest_distance" in found), default=None)
    counts = {name: sum(found[name] for found in peaks) for name in ("in_a", "in_b", "matched")}
    return counts if farthest is None else {**counts, "largest_distance": farthest}
