"""The shadow of a beamstop (FMT-97): a disc about the direct beam and the arm that holds it, on a plane across the beam."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

Array = NDArray[np.float64]


class Beamstop(NamedTuple):
    """radius of the disc's shadow and width of the arm's, in m, in the distance of the first panel; angle, in rad: from the fast axis to
    the arm, toward the slow one.
    """

    radius: float
    width: float = 0.0
    angle: float = 0.0


def plane_axes(fast_axis: Array, slow_axis: Array, beam: Array) -> tuple[Array, Array]:
    """Unit vectors across the beam, along a panel's fast axis and toward its slow one."""
    x = across(fast_axis, beam) if abs(fast_axis @ beam) < 0.99 else across(slow_axis, beam)
    y = np.cross(beam, x)
    return x, -y if y @ slow_axis < 0.0 else y


def across(axis: Array, beam: Array) -> Array:
    """The unit vector along that part of an axis that is across the beam."""
    part = axis - (axis @ beam) * beam
    return np.asarray(part / np.linalg.norm(part))


def lit(beamstop: Beamstop, experiment: Experiment) -> list[NDArray[np.bool_]]:
    """Where the beamstop lets rays from the crystal pass to the centres of each panel's pixels, [slow, fast]."""
    first, beam = experiment.by_panel[0].frame, experiment.axes["incident"]
    plane = np.stack([*plane_axes(first.fast_axis, first.slow_axis, beam), beam / abs(first.distance)])
    with np.errstate(all="ignore"):  # of pixels beside the crystal
        return [np.stack([~shadowed(beamstop, *rays) for rays in rows(panel, plane)]) for panel in experiment.by_panel]


def rows(panel: Experiment, plane: Array) -> Iterator[Array]:
    """Pixels of each row of a panel: x, y, and the distance along the beam in units of the plane's, (3, fast)."""
    (slow, fast), frame, pixel = panel.detector.shape, panel.frame, panel.detector.pixel_size
    along_row = frame.pix0[:, np.newaxis] + pixel * np.outer(frame.fast_axis, np.arange(fast) + 0.5)
    for row in range(slow):
        yield plane @ (along_row + pixel * (row + 0.5) * frame.slow_axis[:, np.newaxis])


def shadowed(beamstop: Beamstop, x: Array, y: Array, away: Array) -> NDArray[np.bool_]:
    """Whether rays to (x, y), so far away along the beam, are stopped; what is behind the crystal is not."""
    x, y, cos, sin = x / away, y / away, math.cos(beamstop.angle), math.sin(beamstop.angle)
    arm = (np.abs(y * cos - x * sin) <= beamstop.width / 2.0) & (x * cos + y * sin >= 0.0)
    return np.asarray((away > 0.0) & ((np.hypot(x, y) <= beamstop.radius) | (arm & (beamstop.width > 0.0))))
