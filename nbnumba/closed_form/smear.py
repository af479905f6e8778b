"""What smears lattice points over reciprocal space, as covariances in the laboratory (CLO-2, CLO-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nbnumba.experiment.vectors import Array, cross, dot, rotate_about, unit

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Smear(NamedTuple):
    """In 1/m and rad, the crystal in the middle of an even turn about the spindle by ``width``.

    reciprocal: rows a*, b*, c*; block: of the shape of a block; turns: of the rotations of domains; bandwidth: standard deviation of the
    relative wavelength; beam: of the incident beam; height: photons per solid angle of a lattice point with an amplitude of 1.
    """

    reciprocal: Array
    block: Array
    turns: Array
    bandwidth: float
    beam: Array
    spindle: Array
    width: float
    incident: Array
    wavelength: float
    height: float


def turning(experiment: Experiment) -> tuple[float, float]:
    """Spindle angle at the start, and how far it turns, rad (CLO-4)."""
    goniometer = experiment.goniometer
    turns = goniometer.oscillation is not None or goniometer.scan.steps > 1
    return goniometer.phi_start, goniometer.scan.oscillation if turns else 0.0


def smear_of(experiment: Experiment, shape: tuple[Any, ...], photons: float, part: int = 0, parts: int = 1) -> Smear:
    """One of so many equal parts of the turn. shape: peak and form of F_latt; photons: of an amplitude of 1 per solid angle."""
    start, width = turning(experiment)
    spindle, spots = experiment.axes["spindle"], experiment.spots
    middle = start + width * (part + 0.5) / parts
    direct, reciprocal = (rotate_about(rows, spindle, middle) for rows in (experiment.unit_cell.direct, experiment.unit_cell.reciprocal))
    axes = domain_axes(direct, reciprocal)
    spread = spots.mosaic_widths or (experiment.crystal.mosaic_spread or 0.0,) * 3
    beam = beam_axes(experiment) * np.array(spots.divergence_widths)[:, np.newaxis]
    wavelength = float(experiment.source_list.wavelength[0])
    peak, xx, yy, zz, xy, yz, zx = shape
    form = np.array([[xx, xy / 2.0, zx / 2.0], [xy / 2.0, yy, yz / 2.0], [zx / 2.0, yz / 2.0, zz]])
    return Smear(
        reciprocal=reciprocal,
        block=np.linalg.inv(4.0 * direct.T @ form @ direct),  # F_latt^2 = peak^2 exp(-d' block^-1 d / 2)
        turns=(axes.T * np.square(spread)) @ axes,
        bandwidth=spots.bandwidth,
        beam=beam.T @ beam / wavelength**2,
        spindle=spindle,
        width=width / parts,
        incident=experiment.source_list.incident[0] * (1.0 - 0.5 * float(np.square(spots.divergence_widths).sum())),  # the mean of all
        wavelength=wavelength,
        height=photons * peak * peak / parts,
    )


def domain_axes(direct: Array, reciprocal: Array) -> Array:
    """Rows: directions of a, of what is at right angles to it in the plane of a and b, of c*."""
    along, across = unit(direct[0]), unit(reciprocal[2])
    return np.stack([along, cross(across, along), across])


def beam_axes(experiment: Experiment) -> Array:
    """Rows: the electric field at right angles to the beam, and what is at right angles to both."""
    incident = experiment.source_list.incident[0]
    across = unit(cross(incident, experiment.axes["polarization"]))
    return np.stack([cross(across, incident), across])


class Reflections(NamedTuple):
    """Of n reflections: lattice points in 1/m, what they are smeared over, and how that is taken apart (CLO-3).

    moving: what rotation vectors of domains move them by, (n, 3, 3); moved: the same of a rad of the spindle; smeared: covariances but for
    the turn of the spindle; all: with it; turned, rotated: covariances of these offsets with rotations of domains, and with all rotations.
    """

    points: Array
    moving: Array
    moved: Array
    smeared: Array
    all: Array
    turned: Array
    rotated: Array


class Middle(NamedTuple):
    """What is expected in the middle of n spots, (n, 3): the offset of what is seen of the block, domains' rotations, all rotations."""

    seen: Array
    turned: Array
    rotated: Array


def smeared(smear: Smear, hkl: Array, blur: Array | float = 0.0, middle: Middle | None = None) -> Reflections:
    """To first order a rotation w moves a lattice point r by w x r, and a longer wavelength lets it be seen farther out.

    About the middle (CLO-5): what is moved is the part of the shape that is seen; a little rotation w more than a rotation v is one by
    w - v x w / 2 after that; and as the crystal has it, beam and detector are turned back. blur: covariances of what the detector adds.
    """
    points = hkl @ smear.reciprocal
    levers, moving, around = points, moved_by_rotations(points), smear.beam + blur
    if middle is not None:
        levers, back = points + middle.seen, moved_by_rotations(middle.rotated)
        moving = moved_by_rotations(levers) @ (np.eye(3) + 0.5 * moved_by_rotations(middle.turned))
        back = np.eye(3) + back + 0.5 * back @ back
        around = back @ around @ back.transpose(0, 2, 1)
    turned = moving @ smear.turns
    still = smear.block + turned @ moving.transpose(0, 2, 1) + around
    still = still + smear.bandwidth**2 * levers[:, :, np.newaxis] * levers[:, np.newaxis, :]
    moved = cross(np.broadcast_to(smear.spindle, levers.shape), levers)
    turn = smear.width**2 / 12.0
    everything = still + turn * moved[:, :, np.newaxis] * moved[:, np.newaxis, :]
    rotated = turned + turn * moved[:, :, np.newaxis] * smear.spindle
    return Reflections(points, moving, moved, still, everything, turned, rotated)


def moved_by_rotations(points: Array) -> Array:
    """The matrices that take rotation vectors w to w x r, (n, 3, 3)."""
    x, y, z = points.T
    zero = np.zeros_like(x)
    return np.stack([zero, z, -y, -z, zero, x, y, -x, zero], axis=1).reshape(-1, 3, 3)


def applied(matrices: Array, vectors: Array) -> Array:
    """Of n matrices and vectors the products, (n, 3)."""
    return np.asarray((matrices @ vectors[:, :, np.newaxis])[:, :, 0])


def inverse(covariance: Array) -> Array:
    """Of symmetric matrices (n, 3, 3)."""
    across = cross(covariance[:, [1, 2, 0]], covariance[:, [2, 0, 1]])
    return np.asarray(across / determinant(covariance)[:, np.newaxis, np.newaxis])


def determinant(matrices: Array) -> Array:
    """Of matrices (n, 3, 3)."""
    return np.asarray(dot(matrices[:, 0], cross(matrices[:, 1], matrices[:, 2])))


def turned_back(reflections: Reflections, q: Array) -> Array:
    """Offsets of scattering vectors q (n, m, 3) from their lattice points, first turned back by the rotation that each lets expect.

    That keeps lengths, and shape and lattice point turned alike, to second order in the rotation (CLO-5).
    """
    offset = q - reflections.points[:, np.newaxis]
    rotation = offset @ (inverse(reflections.all) @ reflections.rotated)
    back = cross(rotation, 0.5 * cross(rotation, q) - q)
    return np.asarray(offset + back + rotation @ reflections.moving.transpose(0, 2, 1))


def middle_of(smear: Smear, reflections: Reflections, offsets: Array) -> Middle:
    """What such offsets (n, 3) let expect."""
    weighed = applied(inverse(reflections.all), offsets)
    turned, rotated = (applied(together.transpose(0, 2, 1), weighed) for together in (reflections.turned, reflections.rotated))
    return Middle(weighed @ smear.block, turned, rotated)
