"""Sweeps whose beam flickers, and whose shutter does not open and close when it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba.campaign.sweep import Counting, Sweep
from nbnumba.cli.main import main
from nbnumba.formats.read import read_image

OPTIONS = (
    "-default_F 50 -cell 50 60 70 -lambda 1 -distance 100 -N 4 -detpixels 16 -pixel 1 -phi 5 -phisteps 3 -oversample 1 --preset physics"
)
WIDTH = float(np.radians(0.5))


def sweep(**disturbed: float) -> Sweep:
    return Sweep(experiment=nbnumba.experiment_from_options(OPTIONS), images=400, width=WIDTH, counting=Counting(seed=3), **disturbed)


@pytest.mark.spec("EXP-71")
def test_flicker_is_of_photons_alone() -> None:
    steady, flickering = sweep(), sweep(flicker=0.05)
    assert steady.image(7) == replace(flickering.image(7), beam=steady.experiment.beam)
    brightness = np.array([flickering.image(n).beam.fluence for n in range(1, 401)]) / steady.experiment.beam.fluence
    # Within four standard errors.
    assert brightness.mean() == pytest.approx(1.0, abs=4 * 0.05 / 20)
    assert brightness.std() == pytest.approx(0.05, abs=4 * 0.05 / np.sqrt(800))
    assert sweep(flicker=0.05).image(7) == flickering.image(7)
    assert replace(flickering, counting=Counting(seed=4)).image(7) != flickering.image(7)


@pytest.mark.spec("EXP-71")
def test_the_shutter_is_early_or_late() -> None:
    jitter, steady = float(np.radians(0.02)), sweep()
    jittery = sweep(shutter_jitter=jitter)
    images = [jittery.image(n) for n in range(1, 401)]
    begin = np.array([one.goniometer.phi_start - steady.image(n).goniometer.phi_start for n, one in enumerate(images, 1)])
    width = np.array([one.goniometer.oscillation for one in images])
    assert begin.std() == pytest.approx(jitter, rel=0.15)
    assert (width - WIDTH).std() == pytest.approx(np.sqrt(2.0) * jitter, rel=0.15)
    np.testing.assert_allclose([one.beam.fluence / steady.experiment.beam.fluence for one in images], width / WIDTH)
    wild = [sweep(shutter_jitter=1.0).image(n) for n in range(1, 40)]
    assert min(one.goniometer.oscillation for one in wild) == 0.0
    assert {one.beam.fluence for one in wild if one.goniometer.oscillation == 0.0} == {0.0}
    assert jittery.exposure(7) == steady.exposure(7)


@pytest.mark.spec("CLI-136")
def test_a_sweep_that_flickers(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", *OPTIONS.split(), "--images", "2", "--width", "0", "-nonoise", "-scale", "1e4", "-seed", "3", "-o", "a_#.npy"]
    assert main([*words, "--flicker", "0.3"]) == 0
    assert main([*words[:-1], "b_#.npy"]) == 0
    ratio = [read_image(f"a_{n}.npy").sum() / read_image(f"b_{n}.npy").sum() for n in (1, 2)]
    expected = [sweep(flicker=0.3).image(n).beam.fluence / sweep().experiment.beam.fluence for n in (1, 2)]
    # Without noise there is no seed: deviates are those of 0.
    assert ratio != pytest.approx(expected, rel=1e-3)
    unseeded = Sweep(experiment=sweep().experiment, images=2, width=WIDTH, counting=Counting(seed=None), flicker=0.3)
    assert ratio == pytest.approx([unseeded.image(n).beam.fluence / sweep().experiment.beam.fluence for n in (1, 2)], rel=1e-2)
    capsys.readouterr()
    assert main(words) == 2
    assert "with flicker 0.3 instead of None" in capsys.readouterr().err
