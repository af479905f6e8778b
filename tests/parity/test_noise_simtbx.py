"""Noise, point spread and whole numbers of simtbx."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from parity.simtbx import MM, arrays_of, cases

import nbnumba
from nbnumba.image.image import Block
from nbnumba.response.chain import counted, responded
from nbnumba.response.counts import UINT16
from nbnumba.response.readout import Frame, Readout
from nbnumba.response.simtbx_psf import FIBRE, GAUSS, spread
from nbnumba.stages.chosen import prepared
from nbnumba.stages.registry import installed

PSF = ("psf_gauss_auto", "psf_gauss_narrow", "psf_fiber_radius12")
NOISE = ("poisson", "poisson_bright", "gain_offset", "flicker", "calibration", "readout", "everything")
PIXEL_MM = 0.1


@cache
def photons() -> np.ndarray:
    return arrays_of("noise_input")["image"]


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.spec("RSP-51")
@pytest.mark.parametrize("name", PSF)
def test_point_spread(name: str) -> None:
    given = cases()[name]["inputs"]
    shape = {"Gauss": GAUSS, "Fiber": FIBRE}[given["psf_type"]]
    found = spread(photons(), shape, given["fwhm_pixels"], given["radius_pixels"])
    assert off(found, arrays_of(name)["image"]) <= 1e-13


def through(chain: str, parameters: dict[str, float], values: np.ndarray, readout: Readout) -> tuple[np.ndarray, Frame]:
    """What a chain makes of an image of simtbx's size."""
    options = f"--preset physics -default_F 1 -cell 50 60 70 -N 1 -lambda 1 -detpixels {len(values)} -pixel {PIXEL_MM} -seed 1"
    words = [f"--set {name}={value!r}" for name, value in parameters.items()]
    experiment = nbnumba.experiment_from_options(f"{options} --response {chain} {' '.join(words)}")
    stages: list[Any] = [installed().get("response", name) for name in chain.split(",")]
    everything = np.s_[0 : values.shape[0], 0 : values.shape[1]]
    frame = Frame(readout, Block(everything[0], values, everything))
    ((_, found),) = responded([(stage, prepared(stage, experiment)) for stage in stages], frame)
    return found, frame


@pytest.mark.spec("RSP-50")
@pytest.mark.parametrize("name", NOISE)
def test_noise_with_its_own_random_numbers(name: str) -> None:
    given = cases()[f"noise_{name}"]["inputs"]
    parameters = {
        "flicker": given["flicker_noise_pct"] / 100.0,
        "calibration": given["detector_calibration_noise_pct"] / 100.0,
        "calibration_seed": float(given["calib_seed"]),
        "gain": given["quantum_gain"],
        "readout_noise": given["readout_noise_adu"],
        "psf_fiber": given.get("psf_fwhm_mm", 0.0) * MM,
        "psf_radius": float(given.get("psf_radius", 0)),
    }
    readout = Readout(given["seed"], 1.0, given["adc_offset_adu"])
    found, _ = through("simtbx", parameters, photons() * given["scale"], readout)
    assert off(found, arrays_of(f"noise_{name}")["image"]) <= 1e-13


@pytest.mark.spec("RSP-1", "RSP-2", "RSP-46")
@pytest.mark.parametrize("scale", [1.0, 0.0, 200.0, -1.0])
def test_whole_numbers(scale: float) -> None:
    """Of photons times a scale, without one such that the brightest is 55000; 65534 at the most."""
    scaled = scale if scale > 0.0 else 55000.0 / photons().max()
    found, frame = through("counting,saturation", {"saturation": 65534.0}, photons(), Readout(None, scaled, held=UINT16))
    np.testing.assert_array_equal(counted(found, frame), arrays_of("smv_integers")[f"scale_{scale:g}"])


@pytest.mark.spec("RSP-1", "RSP-35", "RSP-36", "RSP-37", "RSP-38")
@pytest.mark.parametrize("name", NOISE[:6])
def test_moments_of_the_same_noise_with_numbers_of_each_pixel(name: str) -> None:
    """Images of simtbx's, and of stages of our own in simtbx's order, differ from what is expected by the same."""
    given = cases()[f"noise_{name}"]["inputs"]
    parameters = {
        "flicker": given["flicker_noise_pct"] / 100.0,
        "calibration": given["detector_calibration_noise_pct"] / 100.0,
        "gain": given["quantum_gain"],
        "readout_noise": given["readout_noise_adu"],
    }
    expected, gain, offset = photons() * given["scale"], given["quantum_gain"], given["adc_offset_adu"]
    several = np.tile(expected, (16, 16))
    found, _ = through("flicker,counting,calibration,gain,offset,readout-noise", parameters, several, Readout(3, 1.0, offset))
    square = expected + (1.0 + parameters["flicker"] ** 2) * expected**2
    variance = gain**2 * ((1.0 + parameters["calibration"] ** 2) * square - expected**2)
    variance += parameters["readout_noise"] ** 2
    for image, times in ((found, 16), (arrays_of(f"noise_{name}")["image"], 1)):
        away = (image - gain * np.tile(expected, (times, times)) - offset) / np.sqrt(np.tile(variance, (times, times)))
        assert away.mean() == pytest.approx(0.0, abs=4.0 / np.sqrt(away.size))
        assert away.var() == pytest.approx(1.0, abs=4.0 * np.sqrt((2.0 + 1.0 / expected.min()) / away.size))


def naive(image: np.ndarray, shape: int, fwhm: float, given: int) -> np.ndarray:
    """RSP-51, pixel by pixel and by numerical integrals."""
    slow, fast = image.shape
    found, lost, g = [0.0] * (slow * fast), 0.0, 0.652383013252053 * fwhm

    @cache
    def share(x: int, y: int) -> float:
        nodes, weights = np.polynomial.legendre.leggauss(40)
        rr = (x + 0.5 * nodes[:, None]) ** 2 + (y + 0.5 * nodes[None, :]) ** 2
        gauss = np.log(16.0) / np.pi / fwhm**2 * np.exp(-np.log(16.0) * rr / fwhm**2)
        return float(0.25 * weights @ (gauss if shape == GAUSS else g / (2.0 * np.pi) * (rr + g * g) ** -1.5) @ weights)

    for s in range(slow):
        for f in range(fast):
            photons = float(image[s, f])
            if photons <= 0.0:
                continue
            part = 0.1 / photons**0.5
            automatic = np.sqrt(max(-np.log(part), 0.0) / np.log(16.0)) * fwhm if shape == GAUSS else g / part
            radius = min(given or 1 + int(np.ceil(automatic)), max(slow, fast))
            lost += photons * (np.exp(-np.log(16.0) * (radius / fwhm) ** 2) if shape == GAUSS else g / np.hypot(g, radius))
            for y in range(-radius, radius + 1):
                for x in range(-radius, radius + 1):
                    inside = 0 <= f + x <= fast and 0 <= s + y <= slow and (s + y) * fast + f + x < slow * fast
                    if inside and x * x + y * y <= radius * radius:
                        found[(s + y) * fast + f + x] += photons * share(x, y)
    return np.reshape(found, image.shape) + lost / image.size


@pytest.mark.spec("RSP-51")
@pytest.mark.parametrize(("shape", "fwhm", "radius"), [(GAUSS, 1.1, 0), (GAUSS, 2.0, 2), (FIBRE, 0.4, 0), (FIBRE, 1.5, 4)])
def test_point_spread_of_its_statement(shape: int, fwhm: float, radius: int) -> None:
    """Of dark and bright pixels, some of them none, in an image that is no square."""
    image = np.random.default_rng(4).lognormal(0.0, 2.0, (7, 9)) - 0.5
    np.testing.assert_allclose(spread(image, shape, fwhm, radius), naive(image, shape, fwhm, radius), rtol=1e-9)
