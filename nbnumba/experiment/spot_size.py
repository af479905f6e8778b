"""How far wavelengths and directions of sources may be apart before spots show them one by one (EXP-88)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nbnumba.experiment.vectors import unit

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.vectors import Array

PART = 0.5  # of a spot's width


def source_step(experiment: Experiment) -> float:
    """Relative energy, and angle in rad, between sources: part of the width 1 / L of a spot at 1 / d, L being the crystal's longest edge."""
    longest = max(n * edge for n, edge in zip(experiment.cells, experiment.unit_cell.lengths_and_angles, strict=False))
    return PART * max(finest_on(experiment), experiment.sampling.dmin) / longest


def finest_on(experiment: Experiment) -> float:
    """Smallest d in m that corners of the detector see in the beam's own direction, of its wavelength: lambda / (2 sin theta)."""
    incident = experiment.axes["incident"]
    cosine = min(float(unit(corner) @ incident) for corner in corners(experiment))
    return experiment.beam.wavelength / (2.0 * math.sqrt(max((1.0 - cosine) / 2.0, 1e-30)))


def corners(experiment: Experiment) -> list[Array]:
    """Of all panels, seen from the crystal."""
    import numpy as np

    if panels := experiment.detector.panels:
        edges = [(panel.shape, panel.pixel_size, *map(np.array, (panel.origin, panel.slow_axis, panel.fast_axis))) for panel in panels]
    else:
        frame, detector = experiment.frame, experiment.detector
        edges = [(detector.shape, detector.pixel_size, frame.pix0, frame.slow_axis, frame.fast_axis)]
    return [
        origin + pixel * (s * slow * slow_axis + f * fast * fast_axis)
        for (slow, fast), pixel, origin, slow_axis, fast_axis in edges
        for s in (0, 1)
        for f in (0, 1)
    ]
