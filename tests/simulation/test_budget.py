"""How many photons an image will have, and how well they can be measured."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nbnumba
from nbnumba.cli.main import main
from nbnumba.response.chain import with_parameters
from nbnumba.simulation.budget import Noise, budget
from nbnumba.simulation.scene import choose_stages
from nbnumba.stages.registry import installed

BASE = (
    "--preset physics -default_F 300 -cell 50 60 70 -lambda 1 -distance 100 -N 20 -detpixels 60 -pixel 1.6 -misset 10 20 30 -osc 2 "
    "-fluence 1e24 -water 1 -mosaic 0.2 --dmin 2.5"
)
LEVELS = np.array([0.0, 3e-3, 0.4, 7.0, 2e3, 5e6])


def noise_of(options: str) -> Noise:
    experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
    return Noise(with_parameters(choose_stages(experiment, installed()).responses, experiment))


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
    found = noise_of(options).variance(LEVELS)
    error = 4.0 * np.sqrt((2.0 + 1.0 / (4.0 * LEVELS + 1e-9)) / 2304.0) + (0.2 if "psf" in options else 0.0)
    assert (np.abs(found - expected) <= error * expected + 1e-9).all()


@pytest.mark.spec("CLI-124")
def test_photons_and_i_over_sigma(capsys: pytest.CaptureFixture[str]) -> None:
    experiment = nbnumba.experiment_from_options(f"{BASE} --plugin response=readout-noise --set readout_noise=3")
    found = budget(experiment, nbnumba.Simulator())
    image = nbnumba.simulate(experiment)
    bare = nbnumba.experiment_from_options(f"{BASE} -default_F 1e-200 -mosaic 0")
    water = nbnumba.simulate(bare)
    assert found["photons_of_background"] == pytest.approx(water.sum(), rel=1e-4)
    assert found["photons_of_reflections"] == pytest.approx(image.sum() - water.sum(), rel=0.1)
    assert found["noise_of_a_dark_pixel_in_photons"] == pytest.approx(3.0, rel=0.05)
    assert sum(shell["reflections"] for shell in found["shells"].values()) > 50
    for shell in found["shells"].values():
        variance = shell["photons"] + shell["pixels_of_a_spot"] * (shell["background_of_a_pixel"] + 9.0)
        assert shell["I_over_sigma"] == pytest.approx(shell["photons"] / math.sqrt(variance), rel=0.4)
    assert main(["explain", *BASE.split(), "--budget", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["budget"]["photons_of_reflections"] == pytest.approx(found["photons_of_reflections"])
