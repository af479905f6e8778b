"""Several panels as they are seen from the crystal, on one plane across the beam (EXP-36)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.geometry.beamstop import plane_axes
from nbnumba.geometry.exposure import Exposure, at_beam
from nbnumba.geometry.of_experiment import exposure_of, vector
from nbnumba.geometry.prediction import Spots, crossing, is_within

if TYPE_CHECKING:
    from nbnumba.image.image import Image

Array = NDArray[np.float64]
LARGEST = 4096  # pixels along an edge of the view
WIDEST = math.cos(math.radians(80.0))  # of rays to the beam, which meet the plane too far away


def flat_view(image: Image) -> tuple[Array, Exposure]:
    """An image of several panels, ``laid_out``."""
    return laid_out([exposure_of(panel.experiment) for panel in image.panels], [panel.pixels for panel in image.panels])


def laid_out(panels: Sequence[Exposure], images: Sequence[Array]) -> tuple[Array, Exposure]:
    """Pixels [slow, fast] of a plane in the detector's distance, and where it is: of the panels' pixels those that rays through its own
    pixels' centres meet, 0 between panels. Raises ParameterError where panels reach beyond 80 deg from the beam.
    """
    exposure = plane_of(panels)
    view = np.zeros(exposure.shape)
    for panel, pixels in zip(panels, images, strict=True):
        rows, columns = seen_within(exposure, panel)
        for row, rays in zip(rows, rays_to(exposure, rows, columns), strict=True):
            fast, slow = crossing(panel.origin, panel.fast_axis, panel.slow_axis, panel.pixel_size, rays)
            met = is_within(panel.shape, fast, slow)
            view[row, columns[met]] = pixels[np.rint(slow[met]).astype(int), np.rint(fast[met]).astype(int)]
    return view, exposure


def seen_within(plane: Exposure, panel: Exposure) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of a plane's pixels that rays to a panel may meet: its corners are the outermost places that it is seen at."""
    fast, slow = crossing(plane.origin, plane.fast_axis, plane.slow_axis, plane.pixel_size, corners_of(panel))
    rows, columns = (
        np.arange(max(math.floor(at.min()), 0), min(math.ceil(at.max()) + 1, edge))
        for at, edge in zip((slow, fast), plane.shape, strict=True)
    )
    return rows, columns


def rays_to(plane: Exposure, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Iterator[Array]:
    """Centres of pixels in each of these rows, (n, 3), seen from the crystal."""
    along = plane.origin + plane.pixel_size * (columns + 0.5)[:, np.newaxis] * np.array(plane.fast_axis)
    for row in rows:
        yield along + plane.pixel_size * (row + 0.5) * np.array(plane.slow_axis)


def seen_at(plane: Exposure, panels: Sequence[Exposure], spots: Spots) -> Spots:
    """The same spots where a plane shows the places that they have on panels."""
    on = [panels[number] for number in spots.panel]
    at = [
        p.origin + p.pixel_size * (np.array([f, s]) + 0.5) @ [p.fast_axis, p.slow_axis]
        for p, f, s in zip(on, spots.fast, spots.slow, strict=True)
    ]
    fast, slow = crossing(plane.origin, plane.fast_axis, plane.slow_axis, plane.pixel_size, np.reshape(at, (-1, 3)))
    return replace(spots, fast=fast, slow=slow)


def plane_of(panels: Sequence[Exposure]) -> Exposure:
    """The plane across the beam that all panels are seen on; its pixels are as fine as the finest of theirs, as far as LARGEST lets."""
    first, beam = panels[0], np.array(panels[0].incident)
    x, y = plane_axes(np.array(first.fast_axis), np.array(first.slow_axis), beam)
    corners = np.array([corners_of(panel) for panel in panels])
    along = corners @ beam
    if (along < WIDEST * np.linalg.norm(corners, axis=-1)).any():
        raise ParameterError("detector.panels", "reach beyond 80 deg from the beam, too far for one picture; image.panels has each alone")
    distance = at_beam(panels).stated_distance
    u, v = (distance * (corners @ axis) / along for axis in (x, y))
    finest = min(panel.pixel_size * distance / far for panel, far in zip(panels, along.max(axis=1), strict=True))
    pixel = max(finest, max(np.ptp(u), np.ptp(v)) / LARGEST)
    return replace(
        first,
        shape=(edge(np.ptp(v), pixel), edge(np.ptp(u), pixel)),
        pixel_size=pixel,
        origin=vector(distance * beam + u.min() * x + v.min() * y),
        fast_axis=vector(x),
        slow_axis=vector(y),
        mask=None,
    )


def corners_of(panel: Exposure) -> Array:
    """Those of a panel, (4, 3)."""
    height, width = panel.pixel_size * np.array(panel.shape)
    fast, slow = np.array(panel.fast_axis), np.array(panel.slow_axis)
    return np.array([panel.origin + f * fast + s * slow for f in (0.0, width) for s in (0.0, height)])


def edge(length: float, pixel: float) -> int:
    """As many pixels as cover a length, but for rounding."""
    return max(1, math.ceil(length / pixel - 1e-6))
