"""Flat detector: direction, solid angle and capture fraction of a sub-pixel (GEO-2, GEO-3, GEO-5, GEO-6, GEO-20, GEO-21)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba.experiment.detector import Detector
from nbnumba.plugin import Geometry, WorkedValue, exp, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SERIES = 0.3  # attenuation depths, up to which the series is within 2e-13 and the difference of two large numbers is not needed


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
        detector.pixel_size, facing_distance(experiment), int(detector.point_pixel), layers, thickness, detector.absorption,
    )  # fmt: skip


def facing_distance(experiment: Experiment) -> float:
    """From the crystal to the detector's plane; less than 0 where the crystal sees its back, with the quirk ``negative-back`` (GEO-21)."""
    close_distance = experiment.frame.close_distance
    return close_distance if "negative-back" in experiment.quirks else abs(close_distance)


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
    return at_depth(p, fast, slow, layer * p.layer_thickness)


def at_depth(p, fast, slow, depth):
    """The same at this depth in the sensor."""
    f = fast * p.pixel_size
    s = slow * p.pixel_size
    x = f * p.fast_x + s * p.slow_x + depth * p.normal_x + p.x0
    y = f * p.fast_y + s * p.slow_y + depth * p.normal_y + p.y0
    z = f * p.fast_z + s * p.slow_z + depth * p.normal_z + p.z0
    return x, y, z


def planar(p, fast, slow, layer):
    """The ray from the crystal to pixel coordinates (fast, slow)."""
    x, y, z = place(p, fast, slow, layer)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    obliquity = p.close_distance / distance
    solid_angle = 1.0 / distance / distance if p.point_pixel else p.pixel_size * p.pixel_size / distance / distance * obliquity
    return dx, dy, dz, solid_angle, captured(p, layer, dx * p.normal_x + dy * p.normal_y + dz * p.normal_z)


def bounds(p, x, y, z, xx, yy, zz, xy, yz, zx, layer):
    """Between which coordinates rays meet a layer at its front."""
    return bounds_at_depth(p, (x, y, z), (xx, yy, zz, xy, yz, zx), layer * p.layer_thickness)


def deep_bounds(p, x, y, z, xx, yy, zz, xy, yz, zx, layer):
    """The same where the layer absorbs in the mean: between the least and the greatest depth, in which the coordinates of a ray are linear.

    A ray and the one that goes to the middle of the layer, from whose cosine the depth follows, are half a layer apart at most.
    """
    k, spread, front = (x, y, z), (xx, yy, zz, xy, yz, zx), layer * p.layer_thickness
    if p.layer_thickness == 0.0:
        return bounds_at_depth(p, k, spread, front)
    length = math.sqrt(dot(k, k))
    cosine = dot(k, (p.normal_x, p.normal_y, p.normal_z)) / length
    apart = 0.5 * math.pi * (math.sqrt(xx + yy + zz) / length + 0.5 * p.layer_thickness / abs(p.close_distance))  # an angle, at most
    shallow, deep = front, front + p.layer_thickness
    if cosine - apart > 0.0:
        shallow = front + mean_fraction(p.layer_thickness * p.absorption / (cosine - apart)) * p.layer_thickness
        deep = front + mean_fraction(p.layer_thickness * p.absorption / min(cosine + apart, 1.0)) * p.layer_thickness
    f_low, f_high, s_low, s_high = bounds_at_depth(p, k, spread, shallow)
    low, high, bottom, top = bounds_at_depth(p, k, spread, deep)
    return min(f_low, low), max(f_high, high), min(s_low, bottom), max(s_high, top)


def bounds_at_depth(p, k, spread, depth):
    """Between which coordinates rays meet the plane at a depth: the ray k at (k . F / k . N) N . P - P . F, P any point of the plane.

    N = f x s for the axes f and s, F = s x N / N^2 and S = N x f / N^2, since axes and normal may be at any angle.
    """
    fast, slow = (p.fast_x, p.fast_y, p.fast_z), (p.slow_x, p.slow_y, p.slow_z)
    point = p.x0 + depth * p.normal_x, p.y0 + depth * p.normal_y, p.z0 + depth * p.normal_z
    normal = cross(fast, slow)
    far = dot(normal, point)
    if far < 0.0:
        far, normal = -far, (-normal[0], -normal[1], -normal[2])
    towards, wide = dot(normal, k), form(spread, normal, normal)
    if towards * towards <= wide:  # some rays run along the plane
        return -math.inf, math.inf, -math.inf, math.inf
    if towards < 0.0:
        return math.inf, -math.inf, math.inf, -math.inf
    along_f, along_s = cross(slow, normal), cross(normal, fast)
    if dot(along_f, fast) < 0.0:
        along_f, along_s = cross(normal, slow), cross(fast, normal)
    size = dot(along_f, fast) * p.pixel_size
    f_low, f_high = ratio_bounds(k, spread, along_f, normal)
    s_low, s_high = ratio_bounds(k, spread, along_s, normal)
    f, s = dot(point, along_f), dot(point, along_s)
    return (f_low * far - f) / size, (f_high * far - f) / size, (s_low * far - s) / size, (s_high * far - s) / size


def ratio_bounds(k, spread, a, n):
    """The least and the greatest v . a / v . n over the vectors v of an ellipsoid about k.

    With r that of k and d = a - r n it is r + m, where (m k . n)^2 = (d - m n)' C (d - m n): a quadratic in m.
    """
    towards = dot(k, n)
    ratio = dot(k, a) / towards
    d = a[0] - ratio * n[0], a[1] - ratio * n[1], a[2] - ratio * n[2]
    own, mixed, left = form(spread, d, d), form(spread, d, n), towards * towards - form(spread, n, n)
    root = math.sqrt(max(mixed * mixed + left * own, 0.0))
    return ratio - (mixed + root) / left, ratio + (root - mixed) / left


def form(c, u, v):
    """u' C v of a symmetric matrix C = (xx, yy, zz, xy, yz, zx)."""
    x, y, z = c[0] * v[0] + c[3] * v[1] + c[5] * v[2], c[3] * v[0] + c[1] * v[1] + c[4] * v[2], c[5] * v[0] + c[4] * v[1] + c[2] * v[2]
    return dot(u, (x, y, z))


def dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def cross(u, v):
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


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


def mean_fraction(u):
    """Mean depth of what a layer absorbs over the layer's thickness, that being u attenuation depths: 1 / u - 1 / (e^u - 1)."""
    if u < SERIES:
        return 0.5 - u * (1.0 / 12.0 - u * u * (1.0 / 720.0 - u * u * (1.0 / 30240.0 - u * u / 1209600.0)))
    q = exp(-u)
    return 1.0 / u - q / (1.0 - q)


def mean_fraction_slope(u):
    """The derivative of mean_fraction()."""
    if u < SERIES:
        return u * u * (1.0 / 240.0 - u * u * (1.0 / 6048.0 - u * u / 172800.0)) - 1.0 / 12.0
    q = exp(-u)
    return q / ((1.0 - q) * (1.0 - q)) - 1.0 / (u * u)


def middle(p, fast, slow, layer):
    """The ray to the middle of a layer, its length in m, and its cosine to the detector's normal."""
    x, y, z = at_depth(p, fast, slow, (layer + 0.5) * p.layer_thickness)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    return dx, dy, dz, distance, dx * p.normal_x + dy * p.normal_y + dz * p.normal_z


def layer_depth(p, fast, slow, layer):
    """How deep in the sensor a layer is, in m: the mean depth of what it absorbs; its middle if it is met from behind (GEO-20)."""
    _, _, _, _, cosine = middle(p, fast, slow, layer)
    u = p.layer_thickness * p.absorption / cosine if cosine > 0.0 else 0.0
    return (layer + mean_fraction(u)) * p.layer_thickness


def deep_place(p, fast, slow, layer):
    """The point, in m from the crystal, at pixel coordinates (fast, slow), in the sensor where a layer absorbs in the mean."""
    return at_depth(p, fast, slow, layer_depth(p, fast, slow, layer))


def planar_depth(p, fast, slow, layer):
    """The ray from the crystal to pixel coordinates (fast, slow), in the sensor where a layer absorbs in the mean."""
    depth = layer_depth(p, fast, slow, layer)
    x, y, z = at_depth(p, fast, slow, depth)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    obliquity = (p.close_distance + depth) / distance
    solid_angle = 1.0 / distance / distance if p.point_pixel else p.pixel_size * p.pixel_size / distance / distance * obliquity
    return dx, dy, dz, solid_angle, captured(p, layer, dx * p.normal_x + dy * p.normal_y + dz * p.normal_z)


def depth_derivative(p, fast, slow, layer, gx, gy, gz, g_solid_angle, g_capture):
    """As derivative(), where the depth changes with the ray to the middle of the layer."""
    depth = layer_depth(p, fast, slow, layer)
    x, y, z = at_depth(p, fast, slow, depth)
    distance = math.sqrt(x * x + y * y + z * z)
    dx, dy, dz = x / distance, y / distance, z / distance
    cosine = dx * p.normal_x + dy * p.normal_y + dz * p.normal_z
    slope, optical = captured_slope(p, layer, cosine)
    by_optical = g_capture * slope * optical  # times the relative change of the depth in attenuation depths
    by_cosine = -by_optical / cosine
    gx, gy, gz = gx + by_cosine * p.normal_x, gy + by_cosine * p.normal_y, gz + by_cosine * p.normal_z
    facing = p.close_distance + depth
    solid_angle = 1.0 / distance / distance if p.point_pixel else p.pixel_size * p.pixel_size / distance / distance * facing / distance
    by_solid_angle = g_solid_angle * solid_angle  # times its relative change
    by_facing = 0.0 if p.point_pixel else by_solid_angle / facing
    along = gx * dx + gy * dy + gz * dz + by_solid_angle * (2.0 if p.point_pixel else 3.0)
    gx, gy, gz = (gx - along * dx) / distance, (gy - along * dy) / distance, (gz - along * dz) / distance
    by_depth = gx * p.normal_x + gy * p.normal_y + gz * p.normal_z + by_facing
    mx, my, mz, distance, across = middle(p, fast, slow, layer)
    u = p.layer_thickness * p.absorption / across if across > 0.0 else 0.0
    by_mean = by_depth * p.layer_thickness * mean_fraction_slope(u) * u  # times the relative change of u
    by_across = -by_mean / across if by_mean != 0.0 else 0.0
    ax = by_across * (p.normal_x - across * mx) / distance
    ay = by_across * (p.normal_y - across * my) / distance
    az = by_across * (p.normal_z - across * mz) / distance
    by_middle = ax * p.normal_x + ay * p.normal_y + az * p.normal_z
    tx, ty, tz = gx + ax, gy + ay, gz + az
    f, s, o = fast * p.pixel_size, slow * p.pixel_size, (layer + 0.5) * p.layer_thickness
    by_fast = tx * p.fast_x + ty * p.fast_y + tz * p.fast_z
    by_slow = tx * p.slow_x + ty * p.slow_y + tz * p.slow_z
    by_thickness = (layer + mean_fraction(u)) * by_depth + ((by_optical + by_mean) / p.layer_thickness if p.layer_thickness != 0.0 else 0.0)
    return (
        tx, ty, tz,
        f * tx, f * ty, f * tz,
        s * tx, s * ty, s * tz,
        depth * gx + by_cosine * dx + o * ax + by_across * mx,
        depth * gy + by_cosine * dy + o * ay + by_across * my,
        depth * gz + by_cosine * dz + o * az + by_across * mz,
        fast * by_fast + slow * by_slow + (0.0 if p.point_pixel else 2.0 * by_solid_angle / p.pixel_size),
        by_facing,
        by_thickness + (layer + 0.5) * by_middle,
        (by_optical + by_mean) / p.absorption if p.absorption != 0.0 else 0.0,
    )  # fmt: skip


def oblique(x: float, y: float, before: float, behind: float) -> tuple[float, ...]:
    """What is expected of a pixel of 0.1 m whose ray goes to (x, y, 0), with what is left of it per metre along the normal."""
    distance = math.hypot(x, y)
    cosine = x / distance
    captured = before ** (1.0 / cosine) - behind ** (1.0 / cosine)
    return cosine, y / distance, 0.0, 0.01 * cosine / distance**2, captured


FACING = Planar(0.3, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.1, 0.3, 0, 1, 0.0, 0.0)

VARIED = (
    *("x0", "y0", "z0", "fast_x", "fast_y", "fast_z", "slow_x", "slow_y", "slow_z", "normal_x", "normal_y", "normal_z"),
    *("pixel_size", "close_distance", "layer_thickness", "absorption"),
)
PARAMETERS = (
    experiment_parameter(Detector, "pixel_size"),
    experiment_parameter(Detector, "distance"),
    experiment_parameter(Detector, "rotations"),
    experiment_parameter(Detector, "twotheta"),
)

PLANAR = Geometry(
    name="planar",
    summary="flat detector in any of the named conventions or with axes of its own",
    prepare=prepare,
    function=planar,
    derivative=derivative,
    varied=VARIED,
    place=place,
    bounds=bounds,
    parameters=PARAMETERS,
    spec=("GEO-2", "GEO-3", "GEO-5", "GEO-6", "GEO-21", "GEO-22"),
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


PLANAR_DEPTH = Geometry(
    name="planar-depth",
    summary="flat detector with a sensor whose layers are at the mean depth of what they absorb",
    prepare=prepare,
    function=planar_depth,
    derivative=depth_derivative,
    varied=VARIED,
    place=deep_place,
    bounds=deep_bounds,
    parameters=(
        *PARAMETERS,
        experiment_parameter(Detector, "sensor_thickness"),
        experiment_parameter(Detector, "sensor_attenuation"),
        experiment_parameter(Detector, "sensor_layers"),
    ),
    spec=("GEO-2", "GEO-3", "GEO-5", "GEO-6", "GEO-20", "GEO-21", "GEO-22"),
    worked_values=(
        WorkedValue(FACING, (4.0, 0.0, 0), (0.6, 0.8, 0.0, 0.01 * 0.3 / 0.125, 1.0)),
        # One layer of one attenuation depth, met head on: what it absorbs is 1 - 1 / (e - 1) of its thickness deep in the mean.
        WorkedValue(
            FACING._replace(layer_thickness=0.15, absorption=1.0 / 0.15),
            (0.0, 0.0, 0),
            (1.0, 0.0, 0.0, 0.01 / (0.3 + 0.15 * (1.0 - 1.0 / (math.e - 1.0))) ** 2, 1.0 - math.exp(-1.0)),
        ),
        # Two thin layers; the middle of the second is met by the ray (0.6, 0.45), along which it is 1/80 of an attenuation depth deep.
        WorkedValue(
            FACING._replace(layers=2, layer_thickness=0.2, absorption=0.05),
            (4.5, 0.0, 1),
            oblique(0.5 + 0.2 * (80.0 - 1.0 / math.expm1(1.0 / 80.0)), 0.45, math.exp(-0.01), math.exp(-0.02)),
            1e-11,
        ),
    ),
)


@hookimpl
def geometry() -> list[Geometry]:
    return [PLANAR, PLANAR_DEPTH]
