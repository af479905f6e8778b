"""How far wavelengths and directions of sources may be apart before spots show them one by one (EXP-88)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba.experiment.vectors import unit

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.vectors import Array

PART = 0.5  # of a spot's width
MOST_WAVELENGTHS, MOST_DIRECTIONS = 1000, 25  # that are chosen, of directions along each axis


class SourceSteps(NamedTuple):
    """relative: between energies; angle: between directions, rad."""

    relative: float
    angle: float


def source_steps(experiment: Experiment) -> SourceSteps:
    """By which a scattering vector 1 / d long moves by part of a spot's width 1 / L, L the crystal's longest edge."""
    longest = max(n * edge for n, edge in zip(experiment.cells, experiment.unit_cell.lengths_and_angles, strict=False))
    finest = max(finest_on(experiment), experiment.sampling.dmin)
    return SourceSteps(PART * finest / longest, PART * experiment.beam.wavelength / longest)


def finest_on(experiment: Experiment) -> float:
    """Smallest d in m that corners of the detector see in the beam's own direction, of its wavelength: lambda / (2 sin theta)."""
    incident = experiment.axes["incident"]
    cosine = min(float(unit(corner) @ incident) for corner in corners(experiment))
    return experiment.beam.wavelength / (2.0 * math.sqrt(max((1.0 - cosine) / 2.0, 1e-30)))


def corners(experiment: Experiment) -> list[Array]:
    """Of all panels, seen from the crystal."""
    import numpy as np

    if panels := experiment.detector.panels:
        placed = [(panel.shape, panel.pixel_size, panel.origin, panel.slow_axis, panel.fast_axis) for panel in panels]
        return [point for shape, pixel, *place in placed for point in corners_of(shape, pixel, *map(np.array, place))]
    frame, detector = experiment.frame, experiment.detector
    return corners_of(detector.shape, detector.pixel_size, frame.pix0, frame.slow_axis, frame.fast_axis)


def corners_of(shape: tuple[int, int], pixel_size: float, origin: Array, slow_axis: Array, fast_axis: Array) -> list[Array]:
    """Of a panel."""
    slow, fast = (pixels * pixel_size for pixels in shape)
    return [origin + s * slow * slow_axis + f * fast * fast_axis for s in (0, 1) for f in (0, 1)]


def steps_for(width: float, step: float, most: int) -> int:
    """Strata of a width that are no wider than a step, at most so many."""
    return max(1, min(most, math.ceil(min(width / step, 1e9))))
