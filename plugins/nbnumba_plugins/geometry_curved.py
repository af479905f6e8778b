"""Spherical detector: every pixel at the same distance (GEO-4, GEO-7)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.detector import Detector
from nbnumba.stages.stage import experiment_parameter
from nbnumba_plugins.geometry_planar import captured

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.frame import Frame


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
    own_frame: int
    beam_fast: float
    beam_slow: float


def prepare(experiment: Experiment) -> Curved:
    frame, detector = experiment.frame, experiment.detector
    _, y0, z0 = frame.pix0.tolist()
    fast_x, fast_y, fast_z = frame.fast_axis.tolist()
    slow_x, slow_y, slow_z = frame.slow_axis.tolist()
    beam_x, beam_y, beam_z = frame.incident.tolist()
    normal_x, normal_y, normal_z = frame.normal.tolist()
    layers, thickness = experiment.layers
    beam_fast, beam_slow = beam_spot(frame)
    return Curved(
        y0, z0, fast_x, fast_y, fast_z, slow_x, slow_y, slow_z, beam_x, beam_y, beam_z, normal_x, normal_y, normal_z,
        detector.pixel_size, frame.distance, frame.close_distance, int(detector.point_pixel), layers, thickness, detector.absorption,
        int("curved-axes" not in experiment.quirks), beam_fast, beam_slow,
    )  # fmt: skip


def beam_spot(frame: Frame) -> tuple[float, float]:
    """Coordinates along fast and slow, in m, of the point where the beam meets the detector plane."""
    axes = np.array([frame.fast_axis, frame.slow_axis, -frame.incident]).T
    fast, slow, _ = np.linalg.solve(axes, -frame.pix0).tolist()
    return fast, slow


def rotated(vx, vy, vz, ax, ay, az, angle):
    """The vector v turned about the unit vector a by an angle in rad."""
    c, s = math.cos(angle), math.sin(angle)
    along = (ax * vx + ay * vy + az * vz) * (1.0 - c)
    return (
        ax * along + vx * c + (ay * vz - az * vy) * s,
        ay * along + vy * c + (az * vx - ax * vz) * s,
        az * along + vz * c + (ax * vy - ay * vx) * s,
    )


def place(p, fast, slow, layer):
    """The point, in m from the crystal, at pixel coordinates (fast, slow)."""
    f = fast * p.pixel_size
    s = slow * p.pixel_size
    if p.own_frame:
        x, y, z = on_own_sphere(p, (f - p.beam_fast) / p.distance, (s - p.beam_slow) / p.distance)
    else:
        x, y, z = by_laboratory_axes(p, f, s, layer * p.layer_thickness)
    radius = abs(p.distance)
    return x * radius, y * radius, z * radius


def curved(p, fast, slow, layer):
    """The ray to pixel coordinates (fast, slow), and what a pixel at the detector's distance covers."""
    x, y, z = place(p, fast, slow, layer)
    # Not the detector's distance where a twotheta axis of another length has stretched the axes.
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    # Rays meet a sphere head on; the reference program takes the obliquity and the normal of the flat detector.
    obliquity = 1.0 if p.own_frame else p.close_distance / distance
    cosine = 1.0 if p.own_frame else dx * p.normal_x + dy * p.normal_y + dz * p.normal_z
    solid_angle = 1.0 / distance / distance if p.point_pixel else p.pixel_size * p.pixel_size / distance / distance * obliquity
    return dx, dy, dz, solid_angle, captured(p, layer, cosine)


def by_laboratory_axes(p, f, s, o):
    """The beam turned about the slow axis by y / distance, then about the fast axis by z / distance (GEO-4)."""
    y = p.y0 + f * p.fast_y + s * p.slow_y + o * p.normal_y
    z = p.z0 + f * p.fast_z + s * p.slow_z + o * p.normal_z
    x1, y1, z1 = rotated(p.beam_x, p.beam_y, p.beam_z, p.slow_x, p.slow_y, p.slow_z, y / p.distance)
    return rotated(x1, y1, z1, p.fast_x, p.fast_y, p.fast_z, z / p.distance)


def on_own_sphere(p, along, across):
    """Longitude along the fast and latitude along the slow axis, from the beam spot (GEO-7)."""
    ix, iy, iz = p.beam_x, p.beam_y, p.beam_z
    fast_i = p.fast_x * ix + p.fast_y * iy + p.fast_z * iz
    fx, fy, fz = p.fast_x - fast_i * ix, p.fast_y - fast_i * iy, p.fast_z - fast_i * iz
    size = math.sqrt(fx * fx + fy * fy + fz * fz)
    fx, fy, fz = fx / size, fy / size, fz / size
    sx, sy, sz = iy * fz - iz * fy, iz * fx - ix * fz, ix * fy - iy * fx
    if sx * p.slow_x + sy * p.slow_y + sz * p.slow_z < 0.0:
        sx, sy, sz = -sx, -sy, -sz
    i, f, s = math.cos(across) * math.cos(along), math.cos(across) * math.sin(along), math.sin(across)
    return i * ix + f * fx + s * sx, i * iy + f * fy + s * sy, i * iz + f * fz + s * sz


LYING = Curved(
    0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.1, 0.2, 0.2, 0, 1, 0.0, 0.0, 0, 0.0, 0.0
)  # fmt: skip

STAGE = Stage(
    kind="geometry",
    name="curved",
    summary="spherical detector, every pixel at the same distance from the crystal",
    prepare=prepare,
    function=curved,
    place=place,
    parameters=(experiment_parameter(Detector, "pixel_size"), experiment_parameter(Detector, "distance")),
    spec=("GEO-4", "GEO-7"),
    worked_values=(
        # A quarter turn about the slow axis (0, 0, 1) carries the beam from x to y: y = distance pi / 2.
        WorkedValue(LYING, (math.pi, 0.0, 0), (0.0, 1.0, 0.0, 0.25, 1.0)),
        WorkedValue(LYING._replace(own_frame=1), (math.pi, 0.0, 0), (0.0, 1.0, 0.0, 0.25, 1.0)),
        WorkedValue(LYING._replace(own_frame=1), (0.0, -math.pi / 3.0, 0), (math.sqrt(0.75), 0.0, -0.5, 0.25, 1.0)),
        WorkedValue(LYING._replace(own_frame=1, beam_fast=0.3), (3.0, 0.0, 0), (1.0, 0.0, 0.0, 0.25, 1.0)),
    ),
)


@hookimpl
def geometry() -> list[Stage]:
    return [STAGE]
