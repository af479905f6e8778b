"""What is left of photons on their way: by materials, by the crystal itself, by the dose it has had."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xraydb
from nbnumba_plugins import factor_absorption as absorption

import nbnumba
from nbnumba.simulation.simulator import simulate
from nbnumba.stages.registry import installed

OPTIONS = (
    "-default_F 100 -cell 50 60 70 -lambda 1 -distance 50 -N 4 -detpixels 24 -pixel 3 -oversample 1 -misset 10 20 30 -fluence 1e24 "
    "--preset physics"
)


def image(options: str, layers: bool = True) -> nbnumba.Image:
    return simulate(nbnumba.experiment_from_options(f"{OPTIONS} {options}"), layers=layers)


def rays() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors to the pixels' middles, [slow, fast, 3], and the beam."""
    one = nbnumba.experiment_from_options(OPTIONS)
    panel = one.panels[0]
    f = s = (np.arange(24) + 0.5) * panel.pixel_size
    at = np.array(panel.origin) + f[None, :, None] * np.array(panel.fast_axis) + s[:, None, None] * np.array(panel.slow_axis)
    return at / np.linalg.norm(at, axis=-1, keepdims=True), one.axes["incident"]


def mu(formula: str, density: float) -> float:
    """1/mm at 1 A."""
    return float(xraydb.material_mu(formula, 12398.42, density=density, kind="total")) / 10.0


@pytest.mark.slow
@pytest.mark.spec("BKG-1", "FAC-70", "FAC-71", "FAC-72", "FAC-73")
def test_photons_are_attenuated_absorbed_and_lost_to_decay() -> None:
    materials = (
        "--background air 200 --background-place behind --background kapton 0.5 --background-place before --background water 1 "
        "--background atoms 0.1 --background-formula Al --background-density 2.7 --background-place behind "
        "-N 20 --crystal-size 1 0.5 0.5 -beamsize 0.3 -phi 10"
    )
    factors = (
        "--plugin factor=attenuation --plugin factor=absorption --plugin factor=decay --set crystal_absorption=1000 --set dose_rate=5e5 "
        "--set dose_start=2"
    )
    d, i = rays()
    water, air = mu("H2O", 0.997), mu("N1.562O0.419Ar0.009", 0.001204)
    before = 0.5 * mu("C22H10N2O5", 1.42) + 0.5 * water
    behind = 200.0 * air + 0.5 * water + 0.1 * mu("Al", 2.7)
    attenuated = np.exp(-before - behind / (d @ i))
    up = np.cross(nbnumba.experiment_from_options(OPTIONS).axes["polarization"], i)
    absorbed = absorption.transmission(1.0, 0.3, 0.3, d @ i, np.abs(d @ np.cross(i, up)), np.abs(d @ up))
    # 1 A^2/MGy, half a MGy a degree, from 2 deg to 10 deg
    decayed = np.exp(-2.0 * 0.5 * 8.0 * (np.linalg.norm(d - i, axis=-1) / 2.0) ** 2)
    for left in (attenuated, absorbed, decayed):
        assert 0.2 < left.min() < 0.8
    plain, dimmed = image(materials), image(f"{materials} {factors}")
    assert [layer.name for layer in dimmed.layers] == ["bragg", "air", "kapton", "water", "atoms"]
    np.testing.assert_allclose(dimmed.layers[0].photons, attenuated * absorbed * decayed * plain.layers[0].photons, rtol=1e-4)
    for layer, without in zip(dimmed.layers[1:], plain.layers[1:], strict=True):
        np.testing.assert_allclose(layer.photons, attenuated * without.photons, rtol=1e-9)


@pytest.mark.spec("FAC-70")
def test_attenuation_at_other_wavelengths() -> None:
    function, prepare = (getattr(stage_of("attenuation"), name) for name in ("function", "prepare"))
    at = {w: prepare(nbnumba.experiment_from_options(f"{OPTIONS} -lambda {w} --background water 1")) for w in (1.0, 1.03)}
    forward = (1.0, 0.0, 0.0) * 2
    assert function(at[1.0], *forward, 1.03e-10) == pytest.approx(function(at[1.03], *forward, 1.03e-10), rel=1e-3)


def stage_of(name: str) -> Any:
    return installed().get("factor", name)


@pytest.mark.spec("FAC-70")
def test_what_is_unknown_of_a_material_is_asked_for(monkeypatch: pytest.MonkeyPatch, in_tmp_path: Path) -> None:
    (in_tmp_path / "a.stol").write_text("0 1\n")
    with pytest.raises(
        nbnumba.ParameterError, match=r"material.formula: of 'table' is missing, and so what it attenuates; give its formula"
    ):
        image("--background a.stol 1 --plugin factor=attenuation")
    with pytest.raises(nbnumba.ParameterError, match=r"material.density: of 'table' is missing"):
        image("--background a.stol 1 --background-formula H2O --plugin factor=attenuation")
    with pytest.raises(nbnumba.ParameterError, match=r"beam.wavelength: is of 50.* eV; attenuation is known from 100 to 800000 eV"):
        image("-lambda 247.968 --background water 1 --plugin factor=attenuation")
    monkeypatch.setitem(sys.modules, "xraydb", None)
    with pytest.raises(nbnumba.ParameterError, match=r"what H2O attenuates needs xraydb; pip install 'nbnumba\[sensor\]'"):
        image("--background water 1 --plugin factor=attenuation")


def integrated(edges: tuple[float, float, float], ray: np.ndarray, n: int) -> float:
    """The mean over a box of exp(-(way in + way out)), by the midpoints of n^3 cells."""
    at = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n * edge for edge in edges], indexing="ij"))
    walls = np.where(ray > 0.0, edges, 0.0)
    with np.errstate(divide="ignore"):
        out = ((walls[:, None, None, None] - at) / ray[:, None, None, None]).min(axis=0)
    return float(np.exp(-at[0] - out).mean())


@pytest.mark.spec("FAC-71")
@pytest.mark.parametrize("edges", [(0.7, 0.7, 0.7), (0.05, 0.05, 1.0), (1.0, 0.05, 0.05)], ids=["cube", "needle across", "needle along"])
def test_a_cube_and_a_needle_against_integration(edges: tuple[float, float, float]) -> None:
    random, table = np.random.default_rng(0), absorption.table_of(*edges, absorption.EDGE)
    p = absorption.Absorption(table, 1e-10, *np.eye(3).ravel())
    for _ in range(12):
        ray = random.normal(size=3)
        ray /= np.linalg.norm(ray)
        # The error of midpoints falls as n^-2: what is left at n and 2 n says what is left of both.
        coarse, fine = (integrated(edges, ray, n) for n in (40, 80))
        assert absorption.absorption(p, 1.0, 0.0, 0.0, *ray, 1e-10) == pytest.approx(fine + (fine - coarse) / 3.0, abs=1e-4)


@pytest.mark.spec("FAC-72")
def test_dose_is_that_of_the_middle_of_an_image() -> None:
    options = f"{OPTIONS} -osc 2 -phisteps 4 --set dose_rate=1e5"
    B = [stage_of("decay").prepare(nbnumba.experiment_from_options(f"{options} -phi {phi}")).B for phi in (0.0, 10.0)]
    assert B[1] - B[0] == pytest.approx(10.0 * 0.1e-20)
    assert B[0] == pytest.approx(0.75 * 0.1e-20)  # of phi steps at 0, 0.5, 1, 1.5 deg
    with pytest.raises(nbnumba.ParameterError, match=r"dose_start: 20 deg is 19.25 deg after the image, which has no dose then"):
        stage_of("decay").prepare(nbnumba.experiment_from_options(f"{options} --set dose_start=20"))
