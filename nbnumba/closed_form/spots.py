"""Spots on a panel: where each is, and the logarithm of its intensity as polynomials of the place (CLO-7).

Over the few pixels of a spot, what is smooth is a polynomial of second order of fast and slow: the offset from the lattice point in
standard deviations, the spindle angle at which it is least, and the product of all factors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.closed_form.near import REACH
from nbnumba.closed_form.smear import Reflections, Smear, applied, determinant, inverse, middle_of, smeared, turned_back
from nbnumba.experiment.vectors import Array, dot
from nbnumba.geometry.prediction import crossing

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

Rays = Callable[[Array, Array, NDArray[np.int64]], Array]

NARROW = 0.35  # pixels, of a standard deviation: a narrower spot is integrated across in closed form
FITTED = 0.4  # of the reach of a spot, where the polynomials are exact
STILL = 1e-6  # squared standard deviations of a turn that changes nothing
STEPS = np.array([-1.0, 0.0, 1.0])


class Layout(NamedTuple):
    """What is decided for n spots, and does not vary with the parameters of an experiment.

    fast, slow: pixel coordinates of the middle; reach_fast, reach_slow: how far they reach, in pixels. They are integrated line by line:
    swapped, where lines run along slow; lines: how many to a pixel; points: of a line to a pixel, 0 where it is integrated in closed form.
    """

    hkl: NDArray[Any]
    layer: NDArray[Any]
    fast: NDArray[Any]
    slow: NDArray[Any]
    reach_fast: NDArray[Any]
    reach_slow: NDArray[Any]
    swapped: NDArray[Any]
    lines: NDArray[Any]
    points: NDArray[Any]

    @property
    def half(self) -> Array:
        """Reach across lines."""
        return np.where(self.swapped, self.reach_fast, self.reach_slow)


class Panel(NamedTuple):
    """origins: of every layer, m; fast, slow: axes; pixel: m; region: first and last fast, first and last slow pixel that are wanted; rays:
    directions and factors at places.
    """

    origins: Array
    fast: Array
    slow: Array
    pixel: float
    region: tuple[int, int, int, int]
    rays: Rays


def panel_of(experiment: Experiment, rays: Rays) -> Panel:
    """A panel of an experiment."""
    frame, (layers, thickness) = experiment.frame, experiment.layers
    depth = (np.arange(layers) + 0.5) * thickness
    origins = frame.pix0 + depth[:, np.newaxis] * frame.normal
    return Panel(origins, frame.fast_axis, frame.slow_axis, experiment.detector.pixel_size, experiment.roi, rays)


def layout_of(smear: Smear, panel: Panel, hkl: Array, blur: float) -> Layout:
    """The spots of reflections on a panel, layer by layer. blur: standard deviation of the point spread, m."""
    found = [layout_of_layer(smear, panel, hkl, layer, blur) for layer in range(len(panel.origins))]
    return Layout(*map(np.concatenate, zip(*found, strict=True)))


def layout_of_layer(smear: Smear, panel: Panel, hkl: Array, layer: int, blur: float) -> Layout:
    """Those in one layer of the sensor that meet the panel."""
    out = on_sphere(smear, smeared(smear, hkl))
    fast, slow = (v + 0.5 for v in crossing(panel.origins[layer], panel.fast, panel.slow, panel.pixel, out))
    seen = np.isfinite(fast) & np.isfinite(slow)
    hkl, fast, slow = hkl[seen], fast[seen], slow[seen]
    along = by_pixels(smear, panel, layer, fast, slow)
    reflections = smeared(smear, hkl, blurred(panel, along, blur))
    widths = np.linalg.inv(quadratic(along, reflections.all))
    reach = REACH * np.sqrt(np.diagonal(widths, axis1=1, axis2=2)) + 0.5
    first_fast, last_fast, first_slow, last_slow = panel.region
    meets = within(fast, reach[:, 0], first_fast, last_fast) & within(slow, reach[:, 1], first_slow, last_slow)
    sharpest = 1.0 / np.sqrt(np.diagonal(quadratic(along, reflections.smeared), axis1=1, axis2=2))
    swapped = sharpest[:, 1] < sharpest[:, 0]
    along_lines, across = (np.where(swapped, sharpest[:, n], sharpest[:, 1 - n]) for n in (1, 0))
    everything = Layout(
        hkl=hkl,
        layer=np.full(len(hkl), layer),
        fast=fast,
        slow=slow,
        reach_fast=reach[:, 0],
        reach_slow=reach[:, 1],
        swapped=swapped,
        lines=lines_for(along_lines, across),
        points=points_for(along_lines),
    )
    return Layout(*(part[meets] for part in everything))


def within(middle: Array, reach: Array, first: int, last: int) -> NDArray[np.bool_]:
    """Whether what reaches so far about its middle meets these pixels."""
    return np.asarray((middle + reach >= first) & (middle - reach <= last + 1.0))


def lines_for(along: Array, across: Array) -> Array:
    """Lines to a pixel, of spots with these standard deviations in pixels along the lines and across.

    Narrow spots need fewer: what they are short of in one pixel they have in the next one of the line.
    """
    return np.where(along < NARROW, 1.0 + 0.8 / across, 1.6 + 1.2 / across)


def points_for(along: Array) -> NDArray[np.int64]:
    """Points of a line to a pixel: none where it is integrated in closed form."""
    return np.where(along < NARROW, 0, np.clip(np.ceil(0.6 + 1.2 / along), 1, 4)).astype(np.int64)


def on_sphere(smear: Smear, reflections: Reflections) -> Array:
    """Diffracted rays (n, 3), 1/m, where spots are brightest: lattice points turned by the spindle as far as it goes, then smeared."""
    out = smear.incident / smear.wavelength + reflections.points
    speed = dot(out, reflections.moved)
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.nan_to_num(-outside(smear, out) * length_of(out) / speed)
    turned = out + np.clip(turn, -0.5 * smear.width, 0.5 * smear.width)[:, np.newaxis] * reflections.moved
    for _ in range(2):
        way = applied(reflections.smeared, turned)
        turned -= (outside(smear, turned) * length_of(turned) / dot(way, turned))[:, np.newaxis] * way
    return np.asarray(turned)


def length_of(vectors: Array) -> Array:
    """Of vectors (n, 3)."""
    return np.asarray(np.sqrt(dot(vectors, vectors)))


def outside(smear: Smear, out: Array) -> Array:
    """How far outside the Ewald sphere diffracted rays end, 1/m."""
    return np.asarray(length_of(out) - 1.0 / smear.wavelength)


def by_pixels(smear: Smear, panel: Panel, layer: int, fast: Array, slow: Array) -> Array:
    """The derivatives of scattering vectors by fast and slow pixel coordinates, (n, 2, 3)."""
    place = panel.origins[layer] + panel.pixel * (fast[:, np.newaxis] * panel.fast + slow[:, np.newaxis] * panel.slow)
    distance = length_of(place)[:, np.newaxis, np.newaxis]
    ray = place[:, np.newaxis] / distance
    axes = np.stack([panel.fast, panel.slow])
    return np.asarray(panel.pixel / smear.wavelength * (axes - ray * (ray @ axes.T).transpose(0, 2, 1)) / distance)


def blurred(panel: Panel, along: Array, blur: float) -> Array:
    """The covariances that a point spread adds, (n, 3, 3)."""
    return np.asarray((blur / panel.pixel) ** 2 * along.transpose(0, 2, 1) @ along)


def quadratic(along: Array, covariance: Array) -> Array:
    """The exponent of a Gaussian as a form of pixel coordinates, (n, 2, 2)."""
    return np.asarray(along @ inverse(covariance) @ along.transpose(0, 2, 1))


class Spots(NamedTuple):
    """polynomials: (n, 5, 6), of 1, x, y, x^2, x y, y^2 from the middle in pixels, x along lines: offsets in three standard deviations, the
    spindle angle from the middle, rad, and the product of all factors. sharpness: of the spindle angle, 1 / (standard deviation sqrt 2).
    """

    polynomials: Array
    sharpness: Array


def spots_of(smear: Smear, panel: Panel, layout: Layout, F: Array, blur: float) -> Spots:
    """What is drawn in a layout. F: amplitudes of the reflections."""
    along = np.concatenate([by_pixels(smear, panel, layer, layout.fast[at], layout.slow[at]) for layer, at in by_layer(layout)])
    rays = rays_on_grid(panel, layout)
    q = (rays[..., :3] - smear.incident) / smear.wavelength
    blurs = blurred(panel, along, blur)
    about = smeared(smear, layout.hkl, blurs)
    middle = middle_of(smear, about, turned_back(about, q[:, 4:5])[:, 0])
    reflections = smeared(smear, layout.hkl, blurs, middle)
    offset = polynomial(layout, turned_back(reflections, q))
    sharp, angle, sharpness, share = parted(smear, reflections)
    dims = np.sqrt(np.linalg.det(smear.block) / determinant(reflections.smeared)) * share * smear.height * F * F
    parts = [sharp @ offset, (angle[:, np.newaxis] @ offset), polynomial(layout, rays[..., 3:]) * dims[:, np.newaxis, np.newaxis]]
    return Spots(np.ascontiguousarray(np.concatenate(parts, axis=1)), sharpness)


def by_layer(layout: Layout) -> list[tuple[int, slice]]:
    """The spots of every layer, which follow each other."""
    ends = np.searchsorted(layout.layer, np.arange(int(layout.layer.max(initial=0)) + 2))
    return [(layer, slice(ends[layer], ends[layer + 1])) for layer in range(len(ends) - 1)]


def rays_on_grid(panel: Panel, layout: Layout) -> Array:
    """Directions of rays, and factors, at the nine places about every spot's middle, fast by fast, (n, 9, 4)."""
    fast = layout.fast[:, np.newaxis] + FITTED * layout.reach_fast[:, np.newaxis] * np.repeat(STEPS, 3)
    slow = layout.slow[:, np.newaxis] + FITTED * layout.reach_slow[:, np.newaxis] * np.tile(STEPS, 3)
    return panel.rays(fast.ravel(), slow.ravel(), np.repeat(layout.layer, 9)).reshape(*fast.shape, 4)


def polynomial(layout: Layout, values: Array) -> Array:
    """What goes through values (n, 9, m) on that grid: coefficients (n, m, 6) of 1, x, y, x^2, x y, y^2."""
    v, swapped = values.reshape(len(values), 3, 3, values.shape[-1]), layout.swapped[:, np.newaxis]
    f, s = (FITTED * reach[:, np.newaxis] for reach in (layout.reach_fast, layout.reach_slow))
    by_fast, fast_fast = along_axis(v[:, 0, 1], v[:, 1, 1], v[:, 2, 1], f)
    by_slow, slow_slow = along_axis(v[:, 1, 0], v[:, 1, 1], v[:, 1, 2], s)
    both = (v[:, 2, 2] - v[:, 2, 0] - v[:, 0, 2] + v[:, 0, 0]) / (4.0 * f * s)
    by_x, xx = np.where(swapped, by_slow, by_fast), np.where(swapped, slow_slow, fast_fast)
    by_y, yy = np.where(swapped, by_fast, by_slow), np.where(swapped, fast_fast, slow_slow)
    return np.stack([v[:, 1, 1], by_x, by_y, xx, both, yy], axis=-1)


def along_axis(before: Array, middle: Array, after: Array, step: Array) -> tuple[Array, Array]:
    """Slope and half the second derivative of what has these values a step apart."""
    return (after - before) / (2.0 * step), (after - 2.0 * middle + before) / (2.0 * step * step)


def parted(smear: Smear, reflections: Reflections) -> tuple[Any, ...]:
    """The exponent -d' T^-1 d / 2 of an offset d, and of d - phi u, integrated over the angle phi of an even turn.

    That is -|V d|^2 / 2, times erf(s (W/2 - g d)) + erf(s (W/2 + g d)) times a share: V (n, 3, 3), g (n, 3), s and the share, (n,).
    """
    whole: Array = np.asarray(np.linalg.cholesky(inverse(reflections.smeared)).transpose(0, 2, 1), np.float64)
    moved = applied(whole, reflections.moved)
    square = dot(moved, moved)
    if not smear.width:
        return whole, np.zeros_like(moved), np.zeros_like(square), np.ones_like(square)
    turns = square * smear.width**2 > STILL  # else the turn moves the point by less than can be seen
    square = np.where(turns, square, 1.0)
    direction = np.where(turns, 1.0, 0.0)[:, np.newaxis] * moved / square[:, np.newaxis]
    angle = applied(whole.transpose(0, 2, 1), direction)
    sharp = whole - moved[:, :, np.newaxis] * angle[:, np.newaxis]
    sharpness = np.where(turns, np.sqrt(0.5 * square), 0.0)
    return sharp, angle, sharpness, np.where(turns, np.sqrt(0.5 * np.pi / square) / smear.width, 1.0)
