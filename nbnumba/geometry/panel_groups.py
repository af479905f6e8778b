"""Groups of panels that programs move as one: what they are called, and where (FMT-91, FMT-95)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.panel import Panel

Array = NDArray[np.float64]


def group_of(panel: Panel) -> str:
    """The groups that a panel is in, the outermost first, without those that have no name."""
    return "/".join(filter(None, panel.group.split("/")))


def middles_of_groups(panels: Sequence[Panel]) -> dict[str, Array]:
    """Every group, those around it before it, and the middle of its panels; the first, without a name, is that of the laboratory."""
    groups = [group_of(panel) for panel in panels]
    paths = sorted({path for group in groups for path in accumulate(group.split("/"), "{}/{}".format) if group})
    return {"": np.zeros(3)} | {
        path: np.mean([middle_of(panel) for panel, own in zip(panels, groups, strict=True) if f"{own}/".startswith(f"{path}/")], axis=0)
        for path in paths
    }


def middle_of(panel: Panel) -> Array:
    """A panel's centre."""
    slow, fast = panel.shape
    return np.asarray(panel.origin + panel.pixel_size / 2.0 * (fast * np.array(panel.fast_axis) + slow * np.array(panel.slow_axis)))
