"""The variance that a chain of responses leaves."""

from __future__ import annotations

import numpy as np
import pytest

import nbnumba
from nbnumba.response.chain import with_parameters
from nbnumba.simulation.photon_budget import photon_budget
from nbnumba.simulation.scene import choose_stages, scenes_of
from nbnumba.simulation.variance import Variance
from nbnumba.stages.registry import installed

BASE = (
    "--preset physics -default_F 300 -cell 50 60 70 -lambda 1 -distance 100 -N 20 -detpixels 60 -pixel 1.6 -misset 10 20 30 -osc 2 "
    "-fluence 1e24 -water 1 -mosaic 0.2 --dmin 2.5"
)
LEVELS = np.array([0.0, 3e-3, 0.4, 7.0, 2e3, 5e6])


def variance_of(options: str) -> Variance:
    experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
    return Variance(with_parameters(choose_stages(experiment, installed()).responses, experiment))


@pytest.mark.spec("CLI-124")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", LEVELS),
        ("--plugin response=readout-noise --set readout_noise=3", LEVELS + 9.0),
        ("--plugin response=gain --set gain=4 --plugin response=readout-noise --set readout_noise=2", LEVELS + 0.25),
        ("--plugin response=efficiency --set efficiency=0.25", 4.0 * LEVELS),
        ("--plugin response=calibration --set calibration=0.02", LEVELS + (0.02 * LEVELS) ** 2),
        ("--plugin response=dark-current --set dark_current=5", LEVELS + 5.0),
        ("--plugin response=psf-gauss --set psf_gauss=8e-4", LEVELS),
        ("--plugin response=gain-switching --plugin response=bit-depth", np.append(LEVELS[:-1], 1e200)),
    ],
)
def test_variance_of_a_chain(options: str, expected: np.ndarray) -> None:
    """Of photons that are counted in squares of pixels: what spreads between them is no less of them, but for the squares' edges."""
    found = variance_of(options).of(LEVELS)
    error = 4.0 * np.sqrt((2.0 + 1.0 / (4.0 * LEVELS + 1e-9)) / 2304.0) + (0.2 if "psf" in options else 0.0)
    assert (np.abs(found - expected) <= error * expected + 1e-9).all()


@pytest.mark.spec("CLI-124")
def test_the_budget_has_the_noise_of_the_responses() -> None:
    def budget(options: str) -> dict:
        experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
        return photon_budget(experiment, scenes_of(experiment))

    counted, read = budget(""), budget("--plugin response=readout-noise --set readout_noise=3")
    np.testing.assert_allclose(np.square(read["noise_per_pixel"]), np.square(counted["noise_per_pixel"]) + 9.0, rtol=0.1)
    photons, area = np.array(counted["photons_of_a_reflection"]), counted["pixels_of_a_spot"]
    lit = photons > 0.0
    assert (np.array(read["I_over_sigma"])[lit] < np.array(counted["I_over_sigma"])[lit]).all()
    few = lit & (photons < area)
    np.testing.assert_allclose(np.array(read["I_over_sigma"])[few], (photons / np.sqrt(9.0 * area))[few], rtol=0.3)
