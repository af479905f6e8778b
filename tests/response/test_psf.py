"""Photons that spread over neighbouring pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from response.test_stages import BASE, through
from scipy.integrate import dblquad

import nbnumba
from nbnumba.cli.main import main
from nbnumba.response.psf import FIBRE, along_both, fibre_kernel, gauss_profile, normalised, over_neighbours

TABLE = np.array([[0.0, 1.0, 0.0, 2.0, 0.0], [1.0, 6.0, 9.0, 4.0, 1.0], [0.0, 3.0, 0.0, 1.0, 7.0]])


def spots() -> np.ndarray:
    """Seven decades of photons, away from the edges."""
    image = np.zeros((300, 310))
    image[140:150, 150:157] = 10.0 ** np.arange(0, 7.0)
    return image


@pytest.mark.spec("RSP-32", "RSP-33", "RSP-34")
@pytest.mark.parametrize(
    ("chain", "parameters"),
    [("psf-gauss", {"psf_gauss": 1.7e-3}), ("psf-fiber", {"psf_fiber": 0.8e-3, "psf_lost": 0.005}), ("psf-table", {})],
)
def test_no_photon_is_lost_away_from_the_edges(chain: str, parameters: dict[str, float], tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", TABLE)
    options = f"--psf-table {tmp_path / 'table.npy'}" if "table" in chain else ""
    found = through(chain, spots(), options=options, **parameters)
    assert found.sum() == pytest.approx(spots().sum(), rel=1e-12)
    assert found.max() < 0.9 * spots().max()


@pytest.mark.spec("RSP-32", "RSP-33")
@pytest.mark.parametrize("fwhm", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("lost", [0.2, 1e-2])
def test_radii_by_the_share_that_is_lost(fwhm: float, lost: float) -> None:
    root, g = 2.0 * math.sqrt(math.log(2.0)) / fwhm, FIBRE * fwhm
    beyond = {
        "gauss": lambda h: 1.0 - math.erf(root * h) ** 2,
        "fibre": lambda h: 1.0 - 2.0 / math.pi * math.atan(h * h / (g * math.sqrt(g * g + 2.0 * h * h))),
    }
    radii = {"gauss": gauss_profile(fwhm, lost, 10**4).size // 2, "fibre": len(fibre_kernel(fwhm, lost, 10**4)) // 2}
    for shape, radius in radii.items():
        assert beyond[shape](radius + 0.5) <= lost
        assert radius == 1 or beyond[shape](radius - 0.5) > lost


@pytest.mark.spec("RSP-32", "RSP-33")
@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (2, 1), (-3, 2)])
def test_shares_are_integrals_over_pixels(x: int, y: int) -> None:
    fwhm, lost = 2.3, 1e-3
    exponent, g = 4.0 * math.log(2.0) / fwhm**2, FIBRE * fwhm
    shapes = (
        (np.outer(*2 * (gauss_profile(fwhm, lost, 99),)), lambda v, u: exponent / math.pi * math.exp(-exponent * (u * u + v * v))),
        (fibre_kernel(fwhm, lost, 10**4), lambda v, u: g / (2.0 * math.pi) * (u * u + v * v + g * g) ** -1.5),
    )
    for kernel, density in shapes:
        middle = len(kernel) // 2
        expected, _ = dblquad(density, x - 0.5, x + 0.5, y - 0.5, y + 0.5)
        assert kernel[middle + y, middle + x] == pytest.approx(expected, rel=2e-3)
        assert kernel.sum() == pytest.approx(1.0, rel=1e-14)


@pytest.mark.spec("RSP-33")
def test_full_width_at_half_maximum_of_fibres() -> None:
    g = FIBRE * 2.0
    assert (1.0 + g * g) ** -1.5 == pytest.approx(0.5 * g**-3, rel=1e-14)


@pytest.mark.spec("RSP-32", "RSP-33", "RSP-34")
@pytest.mark.parametrize("shape", [(3, 40), (40, 3), (1, 1), (33, 35)])
def test_images_of_any_shape_are_spread_as_sums_say(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).lognormal(0.0, 3.0, shape)
    profile = gauss_profile(1.6, 1e-3, 99)
    np.testing.assert_allclose(along_both(values, profile), summed(values, np.outer(profile, profile)), rtol=1e-12)
    for kernel in (normalised(TABLE), fibre_kernel(1.1, 0.02, max(shape)), np.ones((1, 1))):
        np.testing.assert_allclose(over_neighbours(values, kernel), summed(values, kernel), atol=1e-13 * values.max())


def summed(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Every pixel's photons given to all around it."""
    (above, left), (slow, fast) = (n // 2 for n in kernel.shape), values.shape
    spread = np.zeros((slow + 2 * above, fast + 2 * left))
    for s in range(slow):
        for f in range(fast):
            spread[s : s + kernel.shape[0], f : f + kernel.shape[1]] += values[s, f] * kernel
    return spread[above : above + slow, left : left + fast]


@pytest.mark.spec("RSP-34")
@pytest.mark.parametrize(
    ("table", "told"),
    [
        (np.ones((2, 3)), "detector.psf_table (--psf-table): has shape (2, 3); it must be [slow, fast] with odd edges"),
        (-np.ones((3, 3)), "detector.psf_table (--psf-table): must hold shares of photons: finite numbers of at least 0"),
        (np.zeros((3, 3)), "detector.psf_table (--psf-table): must hold shares of photons"),
    ],
)
def test_tables_that_are_none(table: np.ndarray, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "table.npy", table)
    assert main(["explain", *BASE.split(), "--psf-table", str(tmp_path / "table.npy")]) == 2
    assert capsys.readouterr().err.startswith(f"nbnumba: error: {told}")


@pytest.mark.spec("RSP-34")
def test_a_table_belongs_to_the_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "table.npy", TABLE)
    options = f"{BASE} --psf-table {tmp_path / 'table.npy'}"
    experiment = nbnumba.experiment_from_options(f"{options} --plugin response=psf-table")
    nbnumba.save_experiment(experiment, tmp_path / "a.toml")
    assert nbnumba.load_experiment(tmp_path / "a.toml") == experiment
    assert main(["explain", *options.split()]) == 0
    told = "the table of the point spread is not used; --plugin response=psf-table uses it"
    assert told in capsys.readouterr().out
    with pytest.raises(nbnumba.ParameterError, match=r"detector\.psf_table: is missing"):
        nbnumba.simulate(nbnumba.experiment_from_options(f"{BASE} --plugin response=psf-table")).save(tmp_path / "a.img", seed=1)
