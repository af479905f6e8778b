"""The rendering kernel: what happens to every sample, in order. Written once, linked with the chosen stages.

A sample is one (pixel, sensor layer, sub-pixel, source), a term one (sample, phi step, mosaic domain). Work comes as spans
(slow, begin, end) of neighbouring pixels of a row. The innermost loops run over the pixels of a span, so that they vectorise;
their length is rounded up to a multiple of LANES, so that a pixel meets the same instructions wherever its span begins or ends.

The loops vectorise only while numba sees no array under two names. Inside ``prange`` that forbids slices, several arrays in
one assignment, and variables of type bool (flags are integers).
"""

from typing import NamedTuple

import numpy as np
from numba import prange

LANES = 64
NEVER = 2**62

# Stage kinds in the order in which the kernel takes their parameters.
ORDER = ("geometry", "rotation", "lattice_shape", "structure_factor", "polarization", "scaling")


class Sampling(NamedTuple):
    """What is summed over in each pixel."""

    oversample: int  # sub-pixels along each axis
    layers: int  # sensor layers
    longest: float  # 1 / m; samples with a longer scattering vector are cut; infinite: none is
    incident: np.ndarray  # (sources, 3) unit vectors of the incident beams
    wavelength: np.ndarray  # (sources,) m
    brightness: np.ndarray  # (sources,) relative intensities
    first_pixel: int  # slow * fast_pixels + fast of the pixel that holds the first sample in scan order, -1 if none needs to be told
    first_sample: int  # ((layer * oversample + sub_slow) * oversample + sub_fast) * sources + source of that sample
    latch_pixel: int  # the pixel in which the structure factor's latch falls, NEVER if it does not
    latch_without_spot: int  # whether a term with F_latt = 0 can end interpolation too
    latch_term: int  # (sample * phi_steps + step) * domains + domain of the first term after that


def geometry(p, fast, slow, layer): ...


def rotation(p, step, is_first): ...


def lattice_shape(p, x, y, z): ...


def structure_factor(p, h, k, l, h0, k0, l0, latched): ...


def polarization(p, ix, iy, iz, dx, dy, dz): ...


def scaling(p, total, f_latt, f_cell, weight): ...


def nearest(x): ...


def render(gp, rp, lp, fp, pp, sp, sampling, spans, image):
    """Fill ``image`` [slow, fast] with photons per pixel over ``spans`` (n, 3)."""
    n_sub, n_sources = sampling.oversample, sampling.wavelength.size
    for j in prange(spans.shape[0]):
        slow, begin, count = spans[j, 0], spans[j, 1], spans[j, 2] - spans[j, 1]
        width = (count + LANES - 1) // LANES * LANES
        pixel = slow * image.shape[1] + begin
        dx = np.empty(width)
        dy = np.empty(width)
        dz = np.empty(width)
        qx = np.empty(width)
        qy = np.empty(width)
        qz = np.empty(width)
        solid_angle = np.empty(width)
        capture = np.empty(width)
        weight = np.empty(width)
        first_solid_angle = np.empty(width)
        first_polarization = np.full(width, sp.initial_polarization)
        last_capture = np.empty(width)
        length = np.empty(width)
        before = np.empty(width)
        total = np.full(width, sp.background)
        sample = 0
        term = 0
        for layer in range(sampling.layers):
            for sub in range(n_sub * n_sub):
                sub_slow, sub_fast = sub // n_sub, sub % n_sub
                for i in range(width):
                    dx[i], dy[i], dz[i], solid_angle[i], capture[i] = geometry(
                        gp, begin + i + (sub_fast + 0.5) / n_sub, slow + (sub_slow + 0.5) / n_sub, layer
                    )
                if sub == 0:
                    for i in range(width):
                        last_capture[i] = capture[i]
                    if layer == 0:
                        for i in range(width):
                            first_solid_angle[i] = solid_angle[i]
                for source in range(n_sources):
                    ix, iy, iz = sampling.incident[source, 0], sampling.incident[source, 1], sampling.incident[source, 2]
                    wavelength = sampling.wavelength[source]
                    for i in range(width):
                        qx[i] = (dx[i] - ix) / wavelength
                        qy[i] = (dy[i] - iy) / wavelength
                        qz[i] = (dz[i] - iz) / wavelength
                        length[i] = np.sqrt(qx[i] * qx[i] + qy[i] * qy[i] + qz[i] * qz[i])
                        before[i] = total[i]
                        factor = polarization(pp, ix, iy, iz, dx[i], dy[i], dz[i])
                        if first_polarization[i] == 0.0 and length[i] <= sampling.longest:
                            first_polarization[i] = factor
                        weight[i] = sampling.brightness[source]
                        if sp.polarization_per_term:
                            weight[i] *= factor
                        if sp.solid_angle_per_term:
                            weight[i] *= solid_angle[i]
                        if sp.capture_per_term:
                            weight[i] *= capture[i]
                    is_first = 0
                    if pixel == sampling.first_pixel and sample == sampling.first_sample:
                        is_first = 1
                    sample += 1
                    for step in range(rp.phi_steps):
                        row = rotation(rp, step, is_first)
                        for domain in range(rp.axes.shape[1]):
                            latched = 0
                            if pixel > sampling.latch_pixel or (pixel == sampling.latch_pixel and term >= sampling.latch_term):
                                latched = 1
                            term += 1
                            ax, ay, az = rp.axes[row, domain, 0, 0], rp.axes[row, domain, 0, 1], rp.axes[row, domain, 0, 2]
                            bx, by, bz = rp.axes[row, domain, 1, 0], rp.axes[row, domain, 1, 1], rp.axes[row, domain, 1, 2]
                            cx, cy, cz = rp.axes[row, domain, 2, 0], rp.axes[row, domain, 2, 1], rp.axes[row, domain, 2, 2]
                            for i in range(width):
                                h = ax * qx[i] + ay * qy[i] + az * qz[i]
                                k = bx * qx[i] + by * qy[i] + bz * qz[i]
                                l = cx * qx[i] + cy * qy[i] + cz * qz[i]
                                h0, k0, l0 = nearest(h), nearest(k), nearest(l)
                                f_latt = lattice_shape(lp, h - h0, k - k0, l - l0)
                                f_cell = structure_factor(fp, h, k, l, h0, k0, l0, latched)
                                total[i] = scaling(sp, total[i], f_latt, f_cell, weight[i])
                    for i in range(width):
                        if length[i] > sampling.longest:
                            total[i] = before[i]
        for i in range(count):
            photons = sp.photons * total[i]
            if not sp.polarization_per_term:
                photons *= first_polarization[i]
            if not sp.solid_angle_per_term:
                photons *= first_solid_angle[i]
            if not sp.capture_per_term:
                photons *= last_capture[i]
            image[slow, begin + i] = photons
