"""Flat detector: direction, solid angle and capture fraction of a sub-pixel (GEO-2, GEO-3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.detector import Detector
from nbnumba.stages.stage import experiment_parameter

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Planar(NamedTuple):
    """Detector frame; lengths in m."""

    x0: float
    y0: float
    z0: float
    fast_x: float
    fast_y: float
    fast_z: float
    slow_x: float
    slow_y: float
    slow_z: float
    pixel_size: float
    close_distance: float
    point_pixel: int
    layers: int


def prepare(experiment: Experiment) -> Planar:
    frame, detector = experiment.frame, experiment.detector
    x0, y0, z0 = frame.pix0.tolist()
    fast_x, fast_y, fast_z = frame.fast_axis.tolist()
    slow_x, slow_y, slow_z = frame.slow_axis.tolist()
    pixel_size, point_pixel = detector.pixel_size, int(detector.point_pixel)
    return Planar(
        x0, y0, z0, fast_x, fast_y, fast_z, slow_x, slow_y, slow_z, pixel_size, frame.close_distance, point_pixel, layers=1
    )  # fmt: skip


def planar(p, fast, slow, layer):
    """The ray from the crystal to pixel coordinates (fast, slow), counted from the outer corner of the first pixel."""
    f = fast * p.pixel_size
    s = slow * p.pixel_size
    x = p.x0 + f * p.fast_x + s * p.slow_x
    y = p.y0 + f * p.fast_y + s * p.slow_y
    z = p.z0 + f * p.fast_z + s * p.slow_z
    distance_squared = x * x + y * y + z * z
    distance = math.sqrt(distance_squared)
    solid_angle = p.pixel_size * p.pixel_size / distance_squared * p.close_distance / distance
    if p.point_pixel:
        solid_angle = 1.0 / distance_squared
    return x / distance, y / distance, z / distance, solid_angle, 1.0


STAGE = Stage(
    kind="geometry",
    name="planar",
    summary="flat detector in any of the named conventions or with axes of its own",
    prepare=prepare,
    function=planar,
    parameters=(
        experiment_parameter(Detector, "pixel_size"),
        experiment_parameter(Detector, "distance"),
        experiment_parameter(Detector, "rotations"),
        experiment_parameter(Detector, "twotheta"),
    ),
    spec=("GEO-2", "GEO-3"),
    worked_values=(
        # A 0.1 m x 0.1 m "pixel" 0.3 m away, seen at its far corner: the ray (0.3, 0.4, 0) is 0.5 m long.
        WorkedValue(
            parameters=Planar(0.3, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.1, 0.3, 0, 1),
            arguments=(4.0, 0.0, 0.0),
            result=(0.6, 0.8, 0.0, 0.01 * 0.3 / 0.125, 1.0),
        ),
        WorkedValue(
            parameters=Planar(0.3, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.1, 0.3, 1, 1),
            arguments=(4.0, 0.0, 0.0),
            result=(0.6, 0.8, 0.0, 4.0, 1.0),
        ),
    ),
)


@hookimpl
def geometry() -> list[Stage]:
    return [STAGE]
