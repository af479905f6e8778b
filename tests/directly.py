"""A spot of one reflection summed up from samples, in plain NumPy: exact rotations, exact scattering vectors, nothing of the first order.

Along one direction the samples are even and as close as a block's shape asks for, in all others they are of low discrepancy: Sobol
sequences of normal and of even deviates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, qmc

from nbnumba import Experiment
from nbnumba.experiment.vectors import rotate_about

SQUARED_ELECTRON_RADIUS = 7.94079248018965e-30
DEVIATIONS = 6.0  # to which Gaussians are summed
WIDTH = 0.63  # LAT-4


class Window(NamedTuple):
    """The first slow and fast pixel, and the photons of those about a spot."""

    slow: int
    fast: int
    photons: np.ndarray


def rotation(vectors: np.ndarray) -> np.ndarray:
    """Rotations (n, 3, 3) by rotation vectors (n, 3) (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, np.newaxis, np.newaxis]
    x, y, z = (vectors / np.where(angle[:, 0] > 0.0, angle[:, 0], 1.0)).T
    zero = np.zeros_like(x)
    k = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)


def deviates(count: int, seed: int = 0) -> np.ndarray:
    """Of low discrepancy, (2^count, 8): four normal, then even in (0, 1)."""
    even = np.clip(qmc.Sobol(8, seed=seed).random_base2(count), 1e-9, 1.0 - 1e-9)
    return np.concatenate([norm.ppf(even[:, :4]), even[:, 4:]], axis=1)


def spot(experiment: Experiment, hkl: tuple[int, int, int], F: float, count: int = 8, reach: int = 16) -> Window:
    """The spot of a reflection of a crystal of one mosaic width, on a surface; the beam is unpolarised, and diverges along its axis."""
    frame, crystal, spots = experiment.frame, experiment.unit_cell, experiment.spots
    start, width = experiment.goniometer.phi_start, experiment.goniometer.oscillation or 0.0
    spread, wavelength = experiment.crystal.mosaic_spread or 0.0, experiment.beam.wavelength
    cells = np.array(experiment.cells, float)
    pixel, index = experiment.detector.pixel_size, np.array(hkl, float)
    smallest, largest = (f(math.sqrt(WIDTH / 4.0) / (cells * crystal.lengths_and_angles[:3])) for f in (min, max))
    u = deviates(count)
    # One direction of the domains' rotations, about which the point passes the sphere, is summed up evenly.
    point = index @ rotate_about(crystal.reciprocal, frame.spindle_axis, start + width / 2.0)
    about = np.cross(frame.incident, point)
    about /= np.linalg.norm(about)
    others = np.linalg.svd(about[np.newaxis])[2][1:]
    evenly = math.ceil(2.0 * DEVIATIONS * spread * np.linalg.norm(point) / smallest / 1.2) if spread else 1
    step = 2.0 * DEVIATIONS / evenly
    total = np.zeros((2 * reach + 1, 2 * reach + 1))
    corner = None
    for row in u:
        z = (np.arange(evenly) + row[4]) * step - DEVIATIONS if spread else np.zeros(1)
        weight = step * norm.pdf(z) if spread else np.ones(1)
        turn = rotate_about(np.eye(3), frame.spindle_axis, start + width * row[5])  # rows: where x, y, z are turned to
        rotations = rotation(spread * (row[0] * others[0] + row[1] * others[1] + z[:, np.newaxis] * about))
        axes = (crystal.direct @ turn) @ rotations.transpose(0, 2, 1)
        length = wavelength * (1.0 + spots.bandwidth * row[3])
        incident = frame.incident + spots.divergence_widths[0] * row[2] * frame.polarization_axis
        incident /= np.linalg.norm(incident)
        points = index @ (crystal.reciprocal @ turn) @ rotations.transpose(0, 2, 1)
        out = incident / length + points
        near = np.abs(np.linalg.norm(out, axis=1) - 1.0 / length) < DEVIATIONS * largest * 1.1
        if not near.any():
            continue
        axes, out, weight = axes[near], out[near], weight[near]
        way = (frame.pix0 @ frame.normal) / (out @ frame.normal)
        place = out * way[:, np.newaxis] - frame.pix0
        fast, slow = place @ frame.fast_axis / pixel, place @ frame.slow_axis / pixel
        if corner is None:
            corner = int(slow.mean()) - reach, int(fast.mean()) - reach
        per_pixel = pixel / (wavelength * np.linalg.norm(frame.pix0 + place[0]))
        finely = math.ceil(per_pixel / smallest)  # sub-pixels
        around = np.arange(-(n := math.ceil(finely * DEVIATIONS * 1.3 * largest / per_pixel) + 1), n + 1)
        f, s = (
            ((np.floor(middle * finely)[:, np.newaxis] + around) + shift) / finely for middle, shift in ((fast, row[6]), (slow, row[7]))
        )
        x = frame.pix0 + pixel * (f[:, np.newaxis, :, np.newaxis] * frame.fast_axis + s[:, :, np.newaxis, np.newaxis] * frame.slow_axis)
        distance = np.linalg.norm(x, axis=-1, keepdims=True)
        q = (x / distance - incident) / length
        offsets = cells * (np.einsum("nsfi,nji->nsfj", q, axes) - index)
        cos_2theta = (x / distance) @ frame.incident
        factors = pixel**2 * abs(frame.close_distance) / distance[..., 0] ** 3 * 0.5 * (1.0 + cos_2theta**2)
        value = weight[:, np.newaxis, np.newaxis] * np.exp(-2.0 / WIDTH * (offsets**2).sum(axis=-1)) * factors / finely**2 / len(u)
        i = np.broadcast_to(np.floor(s)[:, :, np.newaxis], value.shape).astype(int) - corner[0]
        j = np.broadcast_to(np.floor(f)[:, np.newaxis, :], value.shape).astype(int) - corner[1]
        inside = (i >= 0) & (j >= 0) & (i < len(total)) & (j < len(total))
        np.add.at(total, (i[inside], j[inside]), value[inside])
    assert corner is not None
    return Window(*corner, total * (cells.prod() * F) ** 2 * SQUARED_ELECTRON_RADIUS * experiment.beam.photons_per_area)
