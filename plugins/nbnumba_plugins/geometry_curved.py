"""Spherical detector: every pixel at the same distance (GEO-4, GEO-7)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.detector import Detector
from nbnumba.plugin import Geometry, WorkedValue, experiment_parameter, hookimpl
from nbnumba_plugins.geometry_planar import captured, captured_slope, facing_distance

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
        detector.pixel_size, frame.distance, facing_distance(experiment), int(detector.point_pixel), layers, thickness, detector.absorption,
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
    # Rays meet a sphere head on; nanoBragg takes the obliquity and the normal of the flat detector.
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


def dot(ux, uy, uz, vx, vy, vz):
    return ux * vx + uy * vy + uz * vz


def cross(ux, uy, uz, vx, vy, vz):
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


def rotated_back(vx, vy, vz, ax, ay, az, angle, gx, gy, gz):
    """The derivatives of g . rotated(v, a, angle) by v, a and angle."""
    c, s = math.cos(angle), math.sin(angle)
    g_along, along = dot(gx, gy, gz, ax, ay, az), dot(ax, ay, az, vx, vy, vz)
    ga_x, ga_y, ga_z = cross(gx, gy, gz, ax, ay, az)
    vg_x, vg_y, vg_z = cross(vx, vy, vz, gx, gy, gz)
    p, q = g_along * (1.0 - c), along * (1.0 - c)
    by_angle = (g_along * along - dot(gx, gy, gz, vx, vy, vz)) * s + dot(ax, ay, az, vg_x, vg_y, vg_z) * c
    return (
        ax * p + gx * c + ga_x * s, ay * p + gy * c + ga_y * s, az * p + gz * c + ga_z * s,
        vx * p + gx * q + vg_x * s, vy * p + gy * q + vg_y * s, vz * p + gz * q + vg_z * s,
        by_angle,
    )  # fmt: skip


def laboratory_back(p, f, s, o, gx, gy, gz):
    """The derivatives of g . by_laboratory_axes() by y, z, fast and slow axis, beam and distance."""
    y = p.y0 + f * p.fast_y + s * p.slow_y + o * p.normal_y
    z = p.z0 + f * p.fast_z + s * p.slow_z + o * p.normal_z
    first, second = y / p.distance, z / p.distance
    x1, y1, z1 = rotated(p.beam_x, p.beam_y, p.beam_z, p.slow_x, p.slow_y, p.slow_z, first)
    vx, vy, vz, fx, fy, fz, by_second = rotated_back(x1, y1, z1, p.fast_x, p.fast_y, p.fast_z, second, gx, gy, gz)
    bx, by, bz, sx, sy, sz, by_first = rotated_back(p.beam_x, p.beam_y, p.beam_z, p.slow_x, p.slow_y, p.slow_z, first, vx, vy, vz)
    by_distance = -(by_first * first + by_second * second) / p.distance
    return by_first / p.distance, by_second / p.distance, fx, fy, fz, sx, sy, sz, bx, by, bz, by_distance


def own_back(p, along, across, gx, gy, gz):
    """The derivatives of g . on_own_sphere() by along, across, fast axis and beam; the slow axis only chooses a side."""
    ix, iy, iz = p.beam_x, p.beam_y, p.beam_z
    fast_i = dot(p.fast_x, p.fast_y, p.fast_z, ix, iy, iz)
    fx, fy, fz = p.fast_x - fast_i * ix, p.fast_y - fast_i * iy, p.fast_z - fast_i * iz
    size = math.sqrt(dot(fx, fy, fz, fx, fy, fz))
    fx, fy, fz = fx / size, fy / size, fz / size
    sx, sy, sz = cross(ix, iy, iz, fx, fy, fz)
    side = -1.0 if dot(sx, sy, sz, p.slow_x, p.slow_y, p.slow_z) < 0.0 else 1.0
    ca, sa, cb, sb = math.cos(along), math.sin(along), math.cos(across), math.sin(across)
    g_i, g_f, g_s = dot(gx, gy, gz, ix, iy, iz), dot(gx, gy, gz, fx, fy, fz), side * dot(gx, gy, gz, sx, sy, sz)
    gi_x, gi_y, gi_z = cross(gx, gy, gz, ix, iy, iz)
    fg_x, fg_y, fg_z = cross(fx, fy, fz, gx, gy, gz)
    # By the unit vector along the fast axis, by what it was before it had unit length and was at right angles to the beam.
    ux, uy, uz = cb * sa * gx + sb * side * gi_x, cb * sa * gy + sb * side * gi_y, cb * sa * gz + sb * side * gi_z
    part = dot(ux, uy, uz, fx, fy, fz)
    ux, uy, uz = (ux - fx * part) / size, (uy - fy * part) / size, (uz - fz * part) / size
    u_i = dot(ux, uy, uz, ix, iy, iz)
    return (
        cb * (ca * g_f - sa * g_i), cb * g_s - sb * (ca * g_i + sa * g_f),
        ux - ix * u_i, uy - iy * u_i, uz - iz * u_i,
        cb * ca * gx + sb * side * fg_x - fast_i * ux - p.fast_x * u_i,
        cb * ca * gy + sb * side * fg_y - fast_i * uy - p.fast_y * u_i,
        cb * ca * gz + sb * side * fg_z - fast_i * uz - p.fast_z * u_i,
    )  # fmt: skip


def derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture):
    """By the fields of ``varied``: what reaches the point through ray, solid angle and captured fraction, and from there the frame."""
    x, y, z = place(p, fast, slow, layer)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    tilted = 0.0 if p.own_frame else 1.0  # whether rays meet the flat detector's surface
    cosine = dx * p.normal_x + dy * p.normal_y + dz * p.normal_z if tilted else 1.0
    slope, depth = captured_slope(p, layer, cosine)
    by_depth = g_capture * slope * depth  # times the relative change of the depth
    by_cosine = -tilted * by_depth / cosine
    gx, gy, gz = gx + by_cosine * p.normal_x, gy + by_cosine * p.normal_y, gz + by_cosine * p.normal_z
    oblique = 0.0 if p.point_pixel else tilted
    square = 1.0 if p.point_pixel else p.pixel_size * p.pixel_size
    by_solid_angle = g_solid_angle * square / distance / distance * (p.close_distance / distance if oblique else 1.0)
    # By the point, in units of the detector's distance.
    outward = dot(gx, gy, gz, dx, dy, dz) + (2.0 + oblique) * by_solid_angle
    radius = abs(p.distance)
    gx, gy, gz = (gx - outward * dx) * radius / distance, (gy - outward * dy) * radius / distance, (gz - outward * dz) * radius / distance
    by_distance = -(2.0 + oblique) * by_solid_angle / p.distance
    f, s, o = fast * p.pixel_size, slow * p.pixel_size, layer * p.layer_thickness
    by_y, by_z, fx, fy, fz, sx, sy, sz, bx, by, bz, by_along, by_across = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if p.own_frame:
        along, across = (f - p.beam_fast) / p.distance, (s - p.beam_slow) / p.distance
        by_along, by_across, fx, fy, fz, bx, by, bz = own_back(p, along, across, gx, gy, gz)
        by_along, by_across = by_along / p.distance, by_across / p.distance
        by_distance -= by_along * along + by_across * across
    else:
        by_y, by_z, fx, fy, fz, sx, sy, sz, bx, by, bz, turned = laboratory_back(p, f, s, o, gx, gy, gz)
        by_distance += turned
    by_f = by_y * p.fast_y + by_z * p.fast_z + by_along
    by_s = by_y * p.slow_y + by_z * p.slow_z + by_across
    return (
        by_y, by_z,
        fx, fy + f * by_y, fz + f * by_z,
        sx, sy + s * by_y, sz + s * by_z,
        bx, by, bz,
        by_cosine * dx, by_cosine * dy + o * by_y, by_cosine * dz + o * by_z,
        fast * by_f + slow * by_s + (0.0 if p.point_pixel else 2.0 * by_solid_angle / p.pixel_size),
        by_distance,
        by_solid_angle / p.close_distance if oblique else 0.0,
        layer * (by_y * p.normal_y + by_z * p.normal_z) + (by_depth / p.layer_thickness if p.layer_thickness != 0.0 else 0.0),
        by_depth / p.absorption if p.absorption != 0.0 else 0.0,
        -by_along, -by_across,
    )  # fmt: skip


LYING = Curved(
    0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.1, 0.2, 0.2, 0, 1, 0.0, 0.0, 0, 0.0, 0.0
)  # fmt: skip

STAGE = Geometry(
    name="curved",
    summary="spherical detector, every pixel at the same distance from the crystal",
    prepare=prepare,
    function=curved,
    derivative=derivative,
    varied=(
        *("y0", "z0", "fast_x", "fast_y", "fast_z", "slow_x", "slow_y", "slow_z", "beam_x", "beam_y", "beam_z"),
        *("normal_x", "normal_y", "normal_z", "pixel_size", "distance", "close_distance", "layer_thickness", "absorption"),
        *("beam_fast", "beam_slow"),
    ),
    place=place,
    parameters=(experiment_parameter(Detector, "pixel_size"), experiment_parameter(Detector, "distance")),
    spec=("GEO-4", "GEO-7"),
    worked_values=(
        # A quarter turn about the slow axis (0, 0, 1) carries the beam from x to y: y = distance pi / 2.
        WorkedValue(LYING, (math.pi, 0.0, 0), (0.0, 1.0, 0.0, 0.25, 1.0)),
        WorkedValue(LYING._replace(own_frame=1), (math.pi, 0.0, 0), (0.0, 1.0, 0.0, 0.25, 1.0)),
        WorkedValue(LYING._replace(own_frame=1), (0.0, -math.pi / 3.0, 0), (math.sqrt(0.75), 0.0, -0.5, 0.25, 1.0)),
        WorkedValue(LYING._replace(own_frame=1, beam_fast=0.3), (3.0, 0.0, 0), (1.0, 0.0, 0.0, 0.25, 1.0)),
        # A sensor of one layer, half an attenuation depth thick, met head on.
        WorkedValue(
            LYING._replace(own_frame=1, layer_thickness=0.1, absorption=5.0), (0.0, 0.0, 0), (1.0, 0.0, 0.0, 0.25, 1.0 - math.exp(-0.5))
        ),
        # The flat detector's normal is the ray turned by a third of a right angle: the cosine of 60 degrees doubles the depth.
        WorkedValue(
            LYING._replace(layer_thickness=0.1, absorption=5.0),
            (math.pi * 2.0 / 3.0, 0.0, 0),
            (0.5, math.sqrt(0.75), 0.0, 0.25, 1.0 - math.exp(-1.0)),
        ),
    ),
)


@hookimpl
def geometry() -> list[Geometry]:
    return [STAGE]
