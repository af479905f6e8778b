"""Flat detector: direction, solid angle and capture fraction of a sub-pixel (GEO-2, GEO-3, GEO-5, GEO-6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.detector import Detector
from nbnumba.kernel.math import exp
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
    normal_x: float
    normal_y: float
    normal_z: float
    pixel_size: float
    close_distance: float
    point_pixel: int
    layers: int
    layer_thickness: float
    absorption: float


def prepare(experiment: Experiment) -> Planar:
    frame, detector = experiment.frame, experiment.detector
    x0, y0, z0 = frame.pix0.tolist()
    fast_x, fast_y, fast_z = frame.fast_axis.tolist()
    slow_x, slow_y, slow_z = frame.slow_axis.tolist()
    normal_x, normal_y, normal_z = frame.normal.tolist()
    layers, thickness = experiment.layers
    return Planar(
        x0, y0, z0, fast_x, fast_y, fast_z, slow_x, slow_y, slow_z, normal_x, normal_y, normal_z,
        detector.pixel_size, frame.close_distance, int(detector.point_pixel), layers, thickness, detector.absorption,
    )  # fmt: skip


def captured(p, layer, cosine):
    """Fraction of the photons that a sensor layer absorbs, of rays at this cosine to the detector's normal; 1 without a sensor."""
    if p.layer_thickness == 0.0:
        return 1.0
    if cosine <= 0.0:
        return 0.0
    depth = p.layer_thickness * p.absorption / cosine
    return exp(-layer * depth) - exp(-(layer + 1.0) * depth)


def place(p, fast, slow, layer):
    """The point, in m from the crystal, at pixel coordinates (fast, slow), counted from the outer corner of the first pixel."""
    f = fast * p.pixel_size
    s = slow * p.pixel_size
    o = layer * p.layer_thickness
    x = f * p.fast_x + s * p.slow_x + o * p.normal_x + p.x0
    y = f * p.fast_y + s * p.slow_y + o * p.normal_y + p.y0
    z = f * p.fast_z + s * p.slow_z + o * p.normal_z + p.z0
    return x, y, z


def planar(p, fast, slow, layer):
    """The ray from the crystal to pixel coordinates (fast, slow)."""
    x, y, z = place(p, fast, slow, layer)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    obliquity = p.close_distance / distance
    solid_angle = 1.0 / distance / distance if p.point_pixel else p.pixel_size * p.pixel_size / distance / distance * obliquity
    return dx, dy, dz, solid_angle, captured(p, layer, dx * p.normal_x + dy * p.normal_y + dz * p.normal_z)


def captured_slope(p, layer, cosine):
    """The derivative of captured() by the depth of a layer in attenuation depths, and that depth; 0 and 1 where nothing varies."""
    if p.layer_thickness == 0.0 or cosine <= 0.0:
        return 0.0, 1.0
    depth = p.layer_thickness * p.absorption / cosine
    return (layer + 1.0) * exp(-(layer + 1.0) * depth) - layer * exp(-layer * depth), depth


def derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture):
    """By the fields of ``varied``: what reaches the point through ray, solid angle and captured fraction, and from there the frame."""
    x, y, z = place(p, fast, slow, layer)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    cosine = dx * p.normal_x + dy * p.normal_y + dz * p.normal_z
    slope, depth = captured_slope(p, layer, cosine)
    by_depth = g_capture * slope * depth  # times the relative change of the depth
    by_cosine = -by_depth / cosine
    gx, gy, gz = gx + by_cosine * p.normal_x, gy + by_cosine * p.normal_y, gz + by_cosine * p.normal_z
    obliquity = p.close_distance / distance
    solid_angle = 1.0 / distance / distance if p.point_pixel else p.pixel_size * p.pixel_size / distance / distance * obliquity
    by_solid_angle = g_solid_angle * solid_angle  # times its relative change
    along = gx * dx + gy * dy + gz * dz + by_solid_angle * (2.0 if p.point_pixel else 3.0)
    gx, gy, gz = (gx - along * dx) / distance, (gy - along * dy) / distance, (gz - along * dz) / distance
    f, s, o = fast * p.pixel_size, slow * p.pixel_size, layer * p.layer_thickness
    by_fast = gx * p.fast_x + gy * p.fast_y + gz * p.fast_z
    by_slow = gx * p.slow_x + gy * p.slow_y + gz * p.slow_z
    by_normal = gx * p.normal_x + gy * p.normal_y + gz * p.normal_z
    return (
        gx, gy, gz,
        f * gx, f * gy, f * gz,
        s * gx, s * gy, s * gz,
        o * gx + by_cosine * dx, o * gy + by_cosine * dy, o * gz + by_cosine * dz,
        fast * by_fast + slow * by_slow + (0.0 if p.point_pixel else 2.0 * by_solid_angle / p.pixel_size),
        0.0 if p.point_pixel else by_solid_angle / p.close_distance,
        layer * by_normal + (by_depth / p.layer_thickness if p.layer_thickness != 0.0 else 0.0),
        by_depth / p.absorption if p.absorption != 0.0 else 0.0,
    )  # fmt: skip


FACING = Planar(0.3, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.1, 0.3, 0, 1, 0.0, 0.0)

STAGE = Stage(
    kind="geometry",
    name="planar",
    summary="flat detector in any of the named conventions or with axes of its own",
    prepare=prepare,
    function=planar,
    derivative=derivative,
    varied=(
        *("x0", "y0", "z0", "fast_x", "fast_y", "fast_z", "slow_x", "slow_y", "slow_z", "normal_x", "normal_y", "normal_z"),
        *("pixel_size", "close_distance", "layer_thickness", "absorption"),
    ),
    place=place,
    parameters=(
        experiment_parameter(Detector, "pixel_size"),
        experiment_parameter(Detector, "distance"),
        experiment_parameter(Detector, "rotations"),
        experiment_parameter(Detector, "twotheta"),
    ),
    spec=("GEO-2", "GEO-3", "GEO-5", "GEO-6"),
    worked_values=(
        # A 0.1 m x 0.1 m "pixel" 0.3 m away, seen at its far corner: the ray (0.3, 0.4, 0) is 0.5 m long.
        WorkedValue(FACING, (4.0, 0.0, 0), (0.6, 0.8, 0.0, 0.01 * 0.3 / 0.125, 1.0)),
        WorkedValue(FACING._replace(point_pixel=1), (4.0, 0.0, 0), (0.6, 0.8, 0.0, 4.0, 1.0)),
        # Two layers of one attenuation depth each, 0.15 m apart; the second is met by the ray (0.45, 0.6, 0).
        WorkedValue(
            FACING._replace(layers=2, layer_thickness=0.15, absorption=1.0 / 0.15),
            (6.0, 0.0, 1),
            (0.6, 0.8, 0.0, 0.01 * 0.3 / 0.75**3, math.exp(-1.0 / 0.6) - math.exp(-2.0 / 0.6)),
        ),
    ),
)


@hookimpl
def geometry() -> list[Stage]:
    return [STAGE]
