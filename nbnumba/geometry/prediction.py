"""Where on the detector which reflection is expected, without rendering (FMT-30)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbnumba.errors import ParameterError
from nbnumba.experiment.vectors import Array, cross, rotate_about

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

WHOLE_TURN = 2.0 * np.pi
MOST_CANDIDATES = 3e9  # lattice points within the resolution; a minute or two


@dataclass(frozen=True, kw_only=True, eq=False)
class Spots:
    """hkl: (n, 3) integers; fast, slow: (n,) pixels, a pixel's centre being whole; phi: (n,) rad, where the spot is brightest.

    panel: (n,) the number of the panel that it is on; 0 is the first.
    """

    hkl: NDArray[np.int64]
    fast: Array
    slow: Array
    phi: Array
    panel: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def predicted_spots(experiment: Experiment, d_min: float | None = None) -> Spots:
    """Every reflection that meets the Ewald sphere during the sweep, or comes near enough to light up, and whose ray meets the detector.

    d_min: m; default: -dmin, else the best resolution that the detector sees. With s0 = incident / wavelength and the reciprocal lattice
    vector r(phi), the sphere is |s0 + r| = 1 / wavelength. Near enough is within what the crystal's size and mosaic spread smear r over.
    The beam is the experiment's own: divergence and dispersion are left out. A reflection that meets the sphere twice is there twice.

    Raises ParameterError for a cell so large that there are too many reflections.
    """
    found = [replace(spots, panel=np.full(len(spots.hkl), number)) for number, spots in spots_of_panels(experiment, d_min)]
    return Spots(**{f.name: np.concatenate([getattr(spots, f.name) for spots in found]) for f in fields(Spots)})


def spots_of_panels(experiment: Experiment, d_min: float | None) -> Iterator[tuple[int, Spots]]:
    """The spots of every panel, plane by plane of h, with the panel's number."""
    for number, panel in enumerate(experiment.by_panel):
        for plane in lattice_points(panel, d_min or panel.sampling.dmin or best_resolution(panel)):
            hkl = plane[may_light_up(panel, plane)]
            yield number, on_detector(panel, hkl, *crossings(panel, hkl))


def best_resolution(experiment: Experiment) -> float:
    """The smallest d on the detector, m: at a corner, or half a wavelength where it is hit straight back."""
    frame, (height, width) = experiment.frame, pixel_edges(experiment)
    corners = frame.pix0 + np.array([f * frame.fast_axis + s * frame.slow_axis for f in (0.0, width) for s in (0.0, height)])
    back = in_pixels(experiment, -frame.incident[np.newaxis])
    if np.isfinite(back).all() and is_inside(experiment, *back)[0]:
        return experiment.beam.wavelength / 2.0
    cos_2theta = corners @ frame.incident / np.linalg.norm(corners, axis=1)
    return float(experiment.beam.wavelength / 2.0 / np.sqrt((1.0 - cos_2theta.min()) / 2.0))


def pixel_edges(experiment: Experiment) -> tuple[float, float]:
    """Height and width of all pixels together, m."""
    slow, fast = experiment.detector.shape
    return slow * experiment.detector.pixel_size, fast * experiment.detector.pixel_size


def lattice_points(experiment: Experiment, d_min: float) -> Iterator[NDArray[np.int64]]:
    """Miller indices (n, 3) with |r| <= 1 / d_min but for 0 0 0, plane by plane of h; an index is at most its axis over d."""
    most = np.floor(np.array(experiment.unit_cell.lengths_and_angles[:3]) / d_min)
    if np.prod(2.0 * most + 1.0) > MOST_CANDIDATES:
        raise ParameterError(
            "sampling.dmin", f"the cell has too many reflections to {d_min * 1e10:.3g} A to predict them; give a larger one"
        )
    reciprocal = experiment.unit_cell.reciprocal
    h_most, k_most, l_most = (int(n) for n in most)
    k, l = (plane.ravel() for plane in np.meshgrid(np.arange(-k_most, k_most + 1), np.arange(-l_most, l_most + 1), indexing="ij"))
    in_plane = k[:, np.newaxis] * reciprocal[1] + l[:, np.newaxis] * reciprocal[2]
    for h in range(-h_most, h_most + 1):
        squared = ((in_plane + h * reciprocal[0]) ** 2).sum(axis=1)
        within = (squared <= 1.0 / d_min**2) & (squared > 0.0)
        yield np.stack([np.full(int(within.sum()), h), k[within], l[within]], axis=1)


def may_light_up(experiment: Experiment, hkl: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether reflections can be near the sphere at any time in the sweep, which few are: a bound that takes two products for each.

    g = 2 s0 . r + r . r is |s0 + r|^2 - 1 / wavelength^2; it changes by 2 |r across the spindle| |s0 across the spindle| in a radian.
    """
    wavelength, spindle, scan = experiment.beam.wavelength, experiment.frame.spindle_axis, experiment.goniometer.scan
    s0 = experiment.frame.incident / wavelength
    middle = experiment.goniometer.phi_start + 0.5 * scan.oscillation
    r = hkl @ experiment.unit_cell.reciprocal
    squared = (r * r).sum(axis=1)
    length = np.sqrt(squared)
    g = 2.0 * r @ rotate_about(s0, spindle, -middle) + squared
    by_size = float(np.sqrt(((np.linalg.norm(experiment.unit_cell.reciprocal, axis=1) / experiment.cells) ** 2).sum()))
    smeared = length * experiment.mosaic[0] + by_size
    by_turning = length * float(np.linalg.norm(cross(spindle, s0))) * scan.oscillation
    return np.asarray(np.abs(g) <= by_turning + smeared * (2.0 / wavelength + smeared))


def crossings(experiment: Experiment, hkl: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
    """Spindle angles, (n, 2), at which each reflection meets the sphere or is nearest to it in the sweep, and which of them count.

    2 s0 . r + r . r = 0 with r turned about the spindle u by phi is A + B cos phi + C sin phi = -r . r / 2, where
    A = (s0 . u)(r . u), B = s0 . r - A, C = s0 . (u x r).
    """
    s0, u = experiment.frame.incident / experiment.beam.wavelength, experiment.frame.spindle_axis
    start, width = experiment.goniometer.phi_start, experiment.goniometer.scan.oscillation
    r = hkl @ experiment.unit_cell.reciprocal
    A = (s0 @ u) * (r @ u)
    B, C = r @ s0 - A, cross(u, r) @ s0
    amplitude = np.hypot(B, C)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(amplitude > 0.0, (-0.5 * (r * r).sum(axis=1) - A) / amplitude, np.inf)
    away = np.arccos(np.clip(cosine, -1.0, 1.0))  # where it never meets the sphere, clipped: the angle at which it is nearest
    phi = np.arctan2(C, B)[:, np.newaxis] + np.stack([-away, away], axis=1)
    since = np.mod(phi - start, WHOLE_TURN)
    # An angle outside the sweep gives way to the end that is nearer.
    inside = since <= width
    since = np.where(inside, since, np.where(since - width < WHOLE_TURN - since, width, 0.0))
    meets = inside & (np.abs(cosine) <= 1.0)[:, np.newaxis]
    near = np.abs(excitation(experiment, r, start + since)) <= smear(experiment, r, start + since)
    near[:, 1] &= (since[:, 1] != since[:, 0]) | ~near[:, 0]
    return start + since, np.where(meets.any(axis=1)[:, np.newaxis], meets, near)


def turned(experiment: Experiment, r: Array, phi: Array) -> Array:
    """Vectors r (n, 3) turned about the spindle, each by its own angles phi (n, m): (n, m, 3)."""
    u, v = experiment.frame.spindle_axis, r[:, np.newaxis, :]
    c, s = np.cos(phi)[..., np.newaxis], np.sin(phi)[..., np.newaxis]
    return np.asarray(u * (v @ u)[..., np.newaxis] * (1.0 - c) + v * c + cross(u, v) * s)


def excitation(experiment: Experiment, r: Array, phi: Array) -> Array:
    """How far outside the sphere the reflections are at angles phi (n, m), 1/m."""
    s0 = experiment.frame.incident / experiment.beam.wavelength
    return np.asarray(np.linalg.norm(s0 + turned(experiment, r, phi), axis=-1) - 1.0 / experiment.beam.wavelength)


def smear(experiment: Experiment, r: Array, phi: Array) -> Array:
    """How far from a lattice point there is diffraction across the sphere, 1/m: |r| times the mosaic spread, and the crystal's size.

    A crystal of N cells along a diffracts up to a*/N from the point, where its shape transform vanishes first.
    """
    s = experiment.frame.incident / experiment.beam.wavelength + turned(experiment, r, phi)
    across = s / np.linalg.norm(s, axis=-1, keepdims=True)
    spread, _ = experiment.mosaic
    by_size = np.zeros(phi.shape)
    for axis, cells in zip(experiment.unit_cell.reciprocal, experiment.cells, strict=True):
        by_size += ((across * turned(experiment, axis[np.newaxis], phi)).sum(axis=-1) / cells) ** 2
    return np.asarray(np.linalg.norm(r, axis=1)[:, np.newaxis] * spread + np.sqrt(by_size))


def on_detector(experiment: Experiment, hkl: NDArray[np.int64], phi: Array, counted: NDArray[np.bool_]) -> Spots:
    """The spots of reflections at those of their angles that count."""
    reflection, which = np.nonzero(counted)
    phi = phi[reflection, which]
    r = turned(experiment, hkl[reflection] @ experiment.unit_cell.reciprocal, phi[:, np.newaxis])[:, 0]
    fast, slow = in_pixels(experiment, diffracted(experiment, r))
    seen = is_inside(experiment, fast, slow)
    return Spots(hkl=hkl[reflection][seen], fast=fast[seen], slow=slow[seen], phi=phi[seen])


def diffracted(experiment: Experiment, r: Array) -> Array:
    """Directions of the diffracted beam for reciprocal vectors (n, 3) near the sphere.

    Mosaic domains turn a vector onto the sphere, at its own Bragg angle; a small crystal's shape reaches there on the shortest way.
    """
    incident, wavelength = experiment.frame.incident, experiment.beam.wavelength
    if experiment.mosaic[0] == 0.0:
        return np.asarray(incident / wavelength + r)
    squared = (r * r).sum(axis=1, keepdims=True)
    along = -0.5 * wavelength * squared  # the part of r along the beam, once it is on the sphere
    across = r - (r @ incident)[:, np.newaxis] * incident
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = across / np.where(length > 0.0, length, 1.0)
    return np.asarray(incident / wavelength + along * incident + np.sqrt(np.clip(squared - along**2, 0.0, None)) * across)


def in_pixels(experiment: Experiment, rays: Array) -> tuple[Array, Array]:
    """Where rays (n, 3) from the crystal meet the detector's plane, (fast, slow), a pixel's centre being whole; NaN where they do not."""
    frame = experiment.frame
    return crossing(frame.pix0, frame.fast_axis, frame.slow_axis, experiment.detector.pixel_size, rays)


def crossing(origin: ArrayLike, fast_axis: ArrayLike, slow_axis: ArrayLike, pixel: float, rays: Array) -> tuple[Array, Array]:
    """The same of any panel."""
    pix0, fast, slow = (np.asarray(v, np.float64) for v in (origin, fast_axis, slow_axis))
    normal = cross(fast, slow)
    with np.errstate(divide="ignore", invalid="ignore"):
        way = (normal @ pix0) / (rays @ normal)
        place = rays * np.where(way > 0.0, way, np.nan)[:, np.newaxis] - pix0
        return place @ fast / pixel - 0.5, place @ slow / pixel - 0.5


def is_inside(experiment: Experiment, fast: Array, slow: Array) -> NDArray[np.bool_]:
    """Whether places are on the detector; NaN is not."""
    return is_within(experiment.detector.shape, fast, slow)


def is_within(shape: tuple[int, int], fast: Array, slow: Array) -> NDArray[np.bool_]:
    """Whether places are on a panel of so many pixels (slow, fast); NaN is not."""
    slow_pixels, fast_pixels = shape
    return np.asarray((fast >= -0.5) & (fast < fast_pixels - 0.5) & (slow >= -0.5) & (slow < slow_pixels - 0.5))
