"""Sensor layers at the mean depth of what they absorb: against integrals over the sensor, and against very many layers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from nbnumba_plugins.geometry_planar import (
    SERIES,
    deep_place,
    layer_depth,
    mean_fraction,
    mean_fraction_slope,
    planar,
    planar_depth,
    prepare,
)
from nbnumba_plugins.geometry_planar import place as front_place
from scipy.integrate import quad

import nbnumba

THICK = "-default_F 100 -cell 50 -lambda 1 -distance 50 -pixel 0.1 -detpixels 1000 -Xbeam 0 -Ybeam 0 -oversample 1 -detector_thick 1000 "
PIXELS = [(5.5, 7.5), (400.5, 200.5), (900.5, 900.5)]


def geometry(options: str, preset: str = "physics") -> object:
    experiment = nbnumba.experiment_from_options(THICK + options)
    return prepare(replace(experiment, model=nbnumba.Model(preset=preset)))


def integrals(p: object, fast: float, slow: float, thickness: float, absorption: float) -> tuple[float, float]:
    """What the sensor behind a pixel captures of solid angle (sr), and the mean depth (m) of that, by quadrature.

    At the depth z a ray to the pixel has its own direction, with the cosine c: exp(-mu z / c) mu / c of the photons stop there.
    """

    def captured(z: float) -> float:
        front = np.array(front_place(p, fast, slow, 0))
        r = front + z * np.array([p.normal_x, p.normal_y, p.normal_z])
        distance = float(np.linalg.norm(r))
        cosine = (p.close_distance + z) / distance
        return math.exp(-absorption * z / cosine) * absorption / cosine * p.pixel_size**2 * cosine / distance**2

    whole, _ = quad(captured, 0.0, thickness, epsabs=0.0, epsrel=1e-11)
    moment, _ = quad(lambda z: z * captured(z), 0.0, thickness, epsabs=0.0, epsrel=1e-11)
    return whole, moment / whole


@pytest.mark.spec("GEO-20")
@pytest.mark.parametrize(("fast", "slow"), PIXELS)
@pytest.mark.parametrize("layers", [0, 1, 2, 3, 20])
@pytest.mark.parametrize("attenuation", [100.0, 400.0, 1000.0, 20000.0])
def test_layers_together_are_the_sensor(attenuation: float, layers: int, fast: float, slow: float) -> None:
    """To second order in what solid angle and absorption change by within a layer; the front planes are off in first order."""
    p = geometry(f"-detector_abs {attenuation} -thicksteps {layers}")
    found = [planar_depth(p, fast, slow, layer)[3:] for layer in range(p.layers)]
    weights = [solid_angle * capture for solid_angle, capture in found]
    mean = sum(w * layer_depth(p, fast, slow, layer) for layer, w in enumerate(weights)) / sum(weights)
    whole, depth = integrals(p, fast, slow, 1e-3, 1e6 / attenuation)
    assert sum(weights) == pytest.approx(whole, rel=3e-3 / p.layers)
    assert mean == pytest.approx(depth, abs=5e-6)  # a twentieth of a pixel along a ray, of which a part is seen
    if layers == 0:
        fronts = geometry(f"-detector_abs {attenuation}", "reference")
        off = sum(w * layer * fronts.layer_thickness for layer, w in enumerate(weights)) / sum(weights)
        assert off < 0.8 * depth


@pytest.mark.spec("GEO-20")
def test_the_solid_angle_of_a_deep_layer_is_its_own() -> None:
    deep = geometry("-detector_abs 1e6 -thicksteps 10"), geometry("-detector_abs 1e6 -thicksteps 10", "reference")
    fast, slow = PIXELS[1]
    own, front = planar_depth(deep[0], fast, slow, 9)[3], planar(deep[1], fast, slow, 9)[3]
    r = np.array(deep_place(deep[0], fast, slow, 9))
    assert own == pytest.approx(1e-8 * r[0] / np.linalg.norm(r) ** 3, rel=1e-12)
    assert front / own < 1.0 - 0.005


@pytest.mark.spec("GEO-20")
@pytest.mark.parametrize("u", [0.0, 1e-9, 1e-3, 0.1, SERIES - 1e-9, SERIES, 1.0, 30.0, 1e4])
def test_the_mean_of_an_exponential_between_two_depths(u: float) -> None:
    weight, _ = quad(lambda x: math.exp(-u * x), 0.0, 1.0, points=[min(1.0, 1.0 / u) if u else 0.5], epsabs=0.0, epsrel=1e-12)
    moment, _ = quad(lambda x: x * math.exp(-u * x), 0.0, 1.0, points=[min(1.0, 1.0 / u) if u else 0.5], epsabs=0.0, epsrel=1e-12)
    assert mean_fraction(u) == pytest.approx(moment / weight, rel=1e-11)
    if u > 1e-4 and u != SERIES:
        step = 1e-4 * u
        values = [mean_fraction(u + n * step) for n in (-2, -1, 1, 2)]
        assert mean_fraction_slope(u) == pytest.approx((values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step), rel=1e-5)


def centroid(options: str, preset: str, about: tuple[int, int] = (388, 370)) -> np.ndarray:
    """Slow and fast of the photons about a pixel, with the same orientations in any preset."""
    experiment = nbnumba.experiment_from_options(THICK + options)
    pixels = nbnumba.simulate(replace(experiment, model=nbnumba.Model(preset=preset, stages={"rotation": "spec"}))).pixels
    rows, columns = (middle + offsets for middle, offsets in zip(about, np.mgrid[-12:13, -12:13], strict=True))
    around = pixels[rows, columns]
    return np.array([(rows * around).sum(), (columns * around).sum()]) / around.sum()


@pytest.mark.spec("GEO-20", "PRE-4")
def test_a_spot_of_two_layers_is_where_that_of_very_many_is() -> None:
    """A millimetre of sensor, met at 45 degrees: the front planes put it half a pixel and more off."""
    spot = "-N 30 -misset 20 10 35 -detector_abs 800 -oversample 3 -roi 350 390 370 405 -mosaic 0.05 -mosaic_dom 30 "
    exact = centroid(spot + "-thicksteps 100", "physics")
    for layers in ("", "-thicksteps 1", "-thicksteps 4"):
        assert np.abs(centroid(spot + layers, "physics") - exact).max() < 0.05
    assert np.abs(centroid(spot, "reference") - exact).min() > 0.5
