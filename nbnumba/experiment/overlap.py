"""Panels that are in each other's way: seen from the crystal, they cover the same directions (FMT-84)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbnumba.experiment.panel import Panel

if TYPE_CHECKING:
    import numpy as np

ROUND = ((0, 0), (1, 0), (1, 1), (0, 1))  # corners of a panel, (fast, slow), one after the other
ROUNDING = 1e-12  # of the cosine between unit vectors
MARGIN = 0.5 - 1e-6  # pixels from an edge of a panel; two of them are a pixel, and a pixel has a middle


def overlapping(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """Pairs of panels, by number, that a ray from the crystal meets both of, half a pixel and more from their edges."""
    import numpy as np

    corners = np.array([rays(panel) for panel in panels])
    first, second = np.nonzero(np.triu(near(corners), 1))
    met = ~apart(corners[first], corners[second])
    return list(zip(first[met].tolist(), second[met].tolist(), strict=True))


def rays(panel: Panel) -> np.ndarray:
    """Unit vectors from the crystal to half a pixel inside the corners, (4, 3)."""
    import numpy as np

    inside = np.array(ROUND) * (np.array([panel.fast_pixels, panel.slow_pixels]) - 2.0 * MARGIN) + MARGIN
    return of_unit_length(np.array(panel.origin) + panel.pixel_size * inside @ np.array([panel.fast_axis, panel.slow_axis]))


def of_unit_length(v: np.ndarray) -> np.ndarray:
    """Vectors along the last axis; those without a direction become nan."""
    import numpy as np

    size = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.asarray(v / np.where(size > ROUNDING, size, np.nan))


def near(corners: np.ndarray) -> np.ndarray:
    """Whether the circular cones around two panels meet, (panels, panels)."""
    import numpy as np

    middle = of_unit_length(corners.mean(axis=1))
    reach = np.arccos(np.clip(np.einsum("pck,pk->pc", corners, middle).min(axis=1), -1.0, 1.0))
    return np.asarray(np.arccos(np.clip(middle @ middle.T, -1.0, 1.0)) < reach[:, None] + reach)


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether a plane through the crystal has panel a on one side and b on the other, for pairs of (pairs, 4, 3) corners.

    If there is one, there is one along an edge of either, as of polygons in a plane; but for panels that together see all around.
    """
    import numpy as np

    normals = of_unit_length(np.concatenate([np.cross(corners, np.roll(corners, -1, axis=1)) for corners in (a, b)], axis=1))
    of_a, of_b = (np.einsum("pnk,pck->pnc", normals, corners) for corners in (a, b))
    sides = [((s * of_a >= -ROUNDING) & (s * of_b <= ROUNDING)).all(axis=2) for s in (1.0, -1.0)]
    return np.asarray((sides[0] | sides[1]).any(axis=1))


def seen_from_behind(panels: Sequence[Panel]) -> list[int]:
    """Numbers of panels that the crystal sees the other side of than of most: fast x slow points towards it, or away (FMT-84)."""
    import numpy as np

    normals = np.cross([panel.fast_axis for panel in panels], [panel.slow_axis for panel in panels])
    away = np.einsum("pk,pk->p", normals, [panel.origin for panel in panels]) > 0.0
    most = away[0] if 2 * away.sum() == len(panels) else 2 * away.sum() > len(panels)
    return np.flatnonzero(away != most).tolist()
