"""Spherical detector: every pixel at the same distance (GEO-4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.detector import Detector
from nbnumba.stages.stage import experiment_parameter
from nbnumba_plugins.geometry_planar import captured

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Curved(NamedTuple):
    """Detector frame; lengths in m."""

    y0: float
    z0: float
    fast_x: float
    fast_y: float
    fast_z: float
    slow_x: float
    slow_y: float
    slow_z: float
    beam_x: float
    beam_y: float
    beam_z: float
    normal_x: float
    normal_y: float
    normal_z: float
    pixel_size: float
    distance: float
    close_distance: float
    point_pixel: int
    layers: int
    layer_thickness: float
    absorption: float


def prepare(experiment: Experiment) -> Curved:
    frame, detector = experiment.frame, experiment.detector
    _, y0, z0 = frame.pix0.tolist()
    fast_x, fast_y, fast_z = frame.fast_axis.tolist()
    slow_x, slow_y, slow_z = frame.slow_axis.tolist()
    beam_x, beam_y, beam_z = frame.incident.tolist()
    normal_x, normal_y, normal_z = frame.normal.tolist()
    layers, thickness = detector.layers
    return Curved(
        y0, z0, fast_x, fast_y, fast_z, slow_x, slow_y, slow_z, beam_x, beam_y, beam_z, normal_x, normal_y, normal_z,
        detector.pixel_size, frame.distance, frame.close_distance, int(detector.point_pixel), layers, thickness, detector.absorption,
    )  # fmt: skip


def rotated(vx, vy, vz, ax, ay, az, angle):
    """The vector v turned about the unit vector a by an angle in rad."""
    c, s = math.cos(angle), math.sin(angle)
    along = (ax * vx + ay * vy + az * vz) * (1.0 - c)
    return (
        ax * along + vx * c + (ay * vz - az * vy) * s,
        ay * along + vy * c + (az * vx - ax * vz) * s,
        az * along + vz * c + (ax * vy - ay * vx) * s,
    )


def curved(p, fast, slow, layer):
    """The beam turned about the slow axis by y / distance, then about the fast axis by z / distance."""
    f = fast * p.pixel_size
    s = slow * p.pixel_size
    o = layer * p.layer_thickness
    y = p.y0 + f * p.fast_y + s * p.slow_y + o * p.normal_y
    z = p.z0 + f * p.fast_z + s * p.slow_z + o * p.normal_z
    x1, y1, z1 = rotated(p.beam_x, p.beam_y, p.beam_z, p.slow_x, p.slow_y, p.slow_z, y / p.distance)
    dx, dy, dz = rotated(x1, y1, z1, p.fast_x, p.fast_y, p.fast_z, z / p.distance)
    distance = abs(p.distance)
    solid_angle = p.pixel_size * p.pixel_size / (distance * distance) * p.close_distance / distance
    if p.point_pixel:
        solid_angle = 1.0 / (distance * distance)
    return dx, dy, dz, solid_angle, captured(p, layer, dx * p.normal_x + dy * p.normal_y + dz * p.normal_z)


STAGE = Stage(
    kind="geometry",
    name="curved",
    summary="spherical detector, every pixel at the same distance from the crystal",
    prepare=prepare,
    function=curved,
    parameters=(experiment_parameter(Detector, "pixel_size"), experiment_parameter(Detector, "distance")),
    spec=("GEO-4",),
    worked_values=(
        # A quarter turn about the slow axis (0, 0, 1) carries the beam from x to y: y = distance pi / 2.
        WorkedValue(
            parameters=Curved(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.1, 0.2, 0.2, 0, 1, 0.0, 0.0),
            arguments=(math.pi, 0.0, 0),
            result=(0.0, 1.0, 0.0, 0.25, 1.0),
        ),
    ),
)


@hookimpl
def geometry() -> list[Stage]:
    return [STAGE]
