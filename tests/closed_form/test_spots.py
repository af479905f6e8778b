"""Gaussian spots against sums over samples: those of the renderer, and those of tests/directly.py."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from directly import deviates, rotation, spot
from nbnumba_plugins.rotation_spec import spec
from scipy.ndimage import gaussian_filter, label, maximum_filter

import nbnumba
from nbnumba.experiment.vectors import rotate_about
from nbnumba.plugin import Rotation

DOMAINS = 12  # powers of two
GAUSSIAN = "--preset physics -gauss_xtal --model-of-spots gaussian"


class Domains(NamedTuple):
    """As a rotation stage prepares them."""

    axes: np.ndarray
    phi_steps: int


def domains_of(experiment: nbnumba.Experiment, widths: tuple[float, float, float], turn: float) -> Domains:
    """Orientations with normal rotation vectors, about a, b' and c*, each at an angle of its own of an even turn."""
    u, direct, spindle = deviates(DOMAINS), experiment.unit_cell.direct, experiment.axes["spindle"]
    along = direct[0] / np.linalg.norm(direct[0])
    across = np.cross(direct[0], direct[1])
    across /= np.linalg.norm(across)
    axes = np.stack([along, np.cross(across, along), across])
    angles = experiment.goniometer.phi_start + turn * u[:, 4]
    turned = np.array([rotate_about(np.concatenate([direct, axes]), spindle, angle) for angle in angles])
    rotations = rotation(np.einsum("ni,nij->nj", u[:, :3] * widths, turned[:, 3:]))
    return Domains((turned[:, :3] @ rotations.transpose(0, 2, 1))[np.newaxis], 1)


def sampled(experiment: nbnumba.Experiment, widths: tuple[float, float, float], turn: float) -> np.ndarray:
    """The same experiment by the renderer."""
    plain = replace(
        experiment,
        spots=nbnumba.Spots(),
        goniometer=replace(experiment.goniometer, oscillation=None),
        crystal=replace(experiment.crystal, mosaic_spread=1.0, mosaic_domains=2**DOMAINS),
    )
    stage = Rotation(
        name="domains", summary="of the test", prepare=lambda e: domains_of(experiment, widths, turn), function=spec, parameters=()
    )
    return nbnumba.simulate(plain, stages=[stage]).pixels


def close_in_spots(found: np.ndarray, wanted: np.ndarray, spots: float = 1e-3, pixels: float = 1e-2) -> None:
    """Compare the sums of pixels that hang together, and pixels."""
    assert np.abs(found - wanted).max() < pixels * wanted.max()
    places, _ = label(maximum_filter(wanted > 1e-6 * wanted.max(), 3))
    sums = [np.bincount(places.ravel(), image.ravel())[1:] for image in (found, wanted)]
    bright = sums[1] > 0.1 * sums[1].max()
    assert bright.sum() >= 2
    np.testing.assert_allclose(sums[0][bright], sums[1][bright], rtol=spots)


CELL = (
    "-default_F 100 -cell 50 60 70 85 95 100 -misset 10 20 30 -lambda 1.2 -distance 100 -pixel 0.1 -N 8 -oversample 3 -Xbeam -10 -Ybeam -5"
)


@pytest.mark.spec("CLO-1", "CLO-2", "CLO-3", "CLO-4", "CLO-5", "CLO-7", "CLO-11")
@pytest.mark.parametrize(
    ("options", "widths_deg", "turn_deg"),
    [
        ("-mosaic 0.4", (0.4, 0.4, 0.4), 0.0),
        ("-mosaic 0.2 -phi 5 -osc 0.6", (0.2, 0.2, 0.2), 0.6),
        ("--mosaic-widths 0.1 0.5 0.3 -osc 0.2 -polar 0.9", (0.1, 0.5, 0.3), 0.2),
    ],
    ids=["still", "turn", "anisotropic"],
)
def test_spots_are_what_many_samples_give(options: str, widths_deg: tuple[float, float, float], turn_deg: float) -> None:
    experiment = nbnumba.experiment_from_options(f"{GAUSSIAN} {CELL} -detpixels 64 {options}")
    wanted = sampled(experiment, tuple(np.radians(widths_deg)), np.radians(turn_deg))
    close_in_spots(nbnumba.simulate(experiment).pixels, wanted)


@pytest.mark.spec("CLO-2", "CLO-3")
def test_a_spectrum_and_a_divergence_are_what_many_sources_give() -> None:
    band, divergence = 5e-3, (3e-3, 2e-3)
    experiment = nbnumba.experiment_from_options(f"{GAUSSIAN} {CELL} -oversample 5 -detpixels 64 --bandwidth 0.5 --divergence-widths 3 2")
    u = deviates(11)
    axes = experiment.axes
    across = np.cross(axes["incident"], axes["polarization"])
    beams = axes["incident"] + divergence[0] * u[:, :1] * axes["polarization"] + divergence[1] * u[:, 1:2] * across
    sources = nbnumba.Sources(positions=-beams, weights=np.ones(len(u)), wavelengths=experiment.beam.wavelength * (1.0 + band * u[:, 2]))
    wanted = nbnumba.simulate(replace(experiment, spots=nbnumba.Spots(), sources=sources)).pixels
    close_in_spots(nbnumba.simulate(experiment).pixels, wanted)


REAL = f"{GAUSSIAN} -default_F 100 -cell 80 80 38 90 90 90 -misset 10 20 30 -lambda 1 -distance 200 -pixel 0.075 -detpixels 2000 -N 200"


@pytest.mark.spec("CLO-1", "CLO-5", "CLO-7", "CLO-8", "CLO-11")
@pytest.mark.parametrize(
    ("options", "hkl"),
    [
        pytest.param("", (-6, -17, -8), id="still"),
        pytest.param("-osc 0.1", (-11, -11, 3), id="turn", marks=pytest.mark.slow),
        pytest.param("-osc 0.1 --bandwidth 0.02", (8, 24, 0), id="spectrum", marks=pytest.mark.slow),
        pytest.param("-osc 0.1 --divergence-widths 0.3 0", (-11, 3, 9), id="divergence", marks=pytest.mark.slow),
    ],
)
def test_a_spot_of_a_crystal_of_real_size_has_the_intensity_of_many_samples(options: str, hkl: tuple[int, int, int]) -> None:
    experiment = nbnumba.experiment_from_options(f"{REAL} -mosaic 0.1 {options}")
    wanted = spot(experiment, hkl, 100.0, count=9 if options else 6)
    slow, fast = wanted.slow, wanted.fast
    alone = nbnumba.StructureFactors(hkl=np.array([hkl]), F=np.array([100.0]))
    region = nbnumba.Sampling(roi=(fast, fast + wanted.photons.shape[1] - 1, slow, slow + len(wanted.photons) - 1))
    image = nbnumba.simulate(replace(experiment, structure_factors=alone, sampling=region))
    found = image.pixels[image.roi]
    assert found.sum() == pytest.approx(wanted.photons.sum(), rel=1e-3)


@pytest.mark.spec("CLO-8")
@pytest.mark.parametrize("cells", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_pixels_have_the_integral_over_their_area(cells: int) -> None:
    """Of a perfect crystal, whose spots are a few tenths of a pixel: the same pixels in 25 x 25 parts, each of nearly one intensity."""
    options = f"{GAUSSIAN} -default_F 100 -cell 50 60 70 85 95 100 -misset 10 20 30 -lambda 1 -N {cells} -distance 100 -point_pixel"
    coarse = nbnumba.simulate(nbnumba.experiment_from_options(f"{options} -pixel 0.1 -detpixels 200")).pixels
    plain = options.replace("--model-of-spots gaussian", "-oversample 40")
    wanted = nbnumba.simulate(nbnumba.experiment_from_options(f"{plain} -pixel 0.1 -detpixels 200")).pixels
    assert np.abs(coarse - wanted).max() < 1e-2 * wanted.max()


@pytest.mark.spec("CLO-2")
def test_a_point_spread_is_a_filter_of_the_image() -> None:
    options = f"{GAUSSIAN} {CELL} -detpixels 64 -mosaic 0.4"
    sharp = nbnumba.simulate(nbnumba.experiment_from_options(options)).pixels
    spread = nbnumba.simulate(nbnumba.experiment_from_options(f"{options} --point-spread 200")).pixels
    wanted = gaussian_filter(sharp, 2.0, mode="constant", truncate=6.0)
    inside = np.s_[14:-14, 14:-14]
    assert np.abs(spread[inside] - wanted[inside]).max() < 1e-2 * wanted.max()


@pytest.mark.slow
@pytest.mark.spec("CLO-1")
def test_layers_of_a_sensor_are_what_they_are_for_samples() -> None:
    options = f"{GAUSSIAN} {CELL} -detpixels 64 -mosaic 0.4 -detector_thick 450 -detector_abs 500 -thicksteps 3"
    experiment = nbnumba.experiment_from_options(options)
    wanted = sampled(experiment, (np.radians(0.4),) * 3, 0.0)
    close_in_spots(nbnumba.simulate(experiment).pixels, wanted)
