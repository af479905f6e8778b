"""Exposures of an image of photons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba.cli.main import main
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.of_experiment import exposure_of

CRYSTAL = "-default_F 100 -cell 50 60 70 -N 4 -oversample 1 -misset 10 20 30 -fluence 1e29"
DETECTOR = "-lambda 1 -distance 50 -detpixels 30 -pixel 1"
GEOMETRY = "-lambda 1 -distance 50 -pixel 1"


@pytest.fixture
def photons(in_tmp_path: Path) -> Path:
    """What a run wrote: photons, and counts of the same."""
    outputs = "-o photons.bin -o photons.npy -o counts_1.cbf -noisefile counts.img -seed 7".split()
    assert main(["run", *CRYSTAL.split(), *DETECTOR.split(), *outputs]) == 0
    return in_tmp_path


def image(name: str) -> np.ndarray:
    return nbnumba.read_image(name)


@pytest.mark.spec("CLI-120")
@pytest.mark.parametrize("name", ["photons.bin", "photons.npy"])
def test_one_exposure_is_that_of_the_run(name: str, photons: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["noisify", name, "again_1.cbf", *GEOMETRY.split(), "-seed", "7"]) == 0
    np.testing.assert_array_equal(image("again_1.cbf"), image("counts_1.cbf"))
    assert capsys.readouterr().out.startswith("1 exposure of ")
    assert main(["noisify", name, "again.img", *GEOMETRY.split(), "-seed", "7", "-adc", "40"]) == 0
    np.testing.assert_array_equal(image("again.img"), image("counts.img"))
    exposures = [read_image_file(file).exposure for file in ("again_1.cbf", "counts_1.cbf")]
    assert exposures[0] == exposures[1]


@pytest.mark.spec("CLI-120", "FMT-12")
def test_several_exposures_are_the_images_of_a_sweep(photons: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In any order, and in one file or in several."""
    assert main(["sweep", *CRYSTAL.split(), *DETECTOR.split(), "--images", "3", "--width", "0", "-seed", "5", "-o", "swept_##.cbf"]) == 0
    words = ["noisify", "photons.npy", *GEOMETRY.split(), "-seed", "5"]
    assert main([*words, "all_##.cbf", "--images", "3"]) == 0
    assert main([*words, "last_##.cbf", "--first", "3"]) == 0
    assert main([*words, "all.nxs", "--images", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-3].endswith("; wrote all_01.cbf to all_03.cbf")
    for number in (1, 2, 3):
        np.testing.assert_array_equal(image(f"all_{number:02d}.cbf"), image(f"swept_{number:02d}.cbf"))
        np.testing.assert_array_equal(image(f"all.nxs:{number}"), image(f"swept_{number:02d}.cbf"))
    np.testing.assert_array_equal(image("last_03.cbf"), image("all_03.cbf"))
    assert (image("all_01.cbf") != image("all_02.cbf")).any()


@pytest.mark.spec("CLI-122")
def test_background_is_added_before_noise(photons: Path) -> None:
    np.save("flat.npy", np.full((30, 30), 50.0))
    assert main(["noisify", "photons.npy", "bright.npy", "-nonoise", "--background", "flat.npy"]) == 0
    np.testing.assert_array_equal(image("bright.npy"), np.floor(image("photons.npy") + 50.5))
    assert main(["noisify", "photons.npy", "noisy.npy", "-seed", "1", "--background", "flat.npy"]) == 0
    away = (image("noisy.npy") - image("photons.npy") - 50.0) / np.sqrt(image("photons.npy") + 50.0)
    assert away.mean() == pytest.approx(0.0, abs=4.0 / 30.0)
    assert away.std() == pytest.approx(1.0, abs=4.0 / 30.0)


@pytest.mark.spec("CLI-122")
def test_materials_scatter_as_in_a_run(photons: Path) -> None:
    beam = [*DETECTOR.split(), *"-fluence 1e16 -oversample 1".split()]
    water = "--background water 10 --background-size 0.05".split()
    assert main(["run", *CRYSTAL.split(), *beam, *water, "-o", "wet.npy"]) == 0
    np.save("dry.npy", 1e16 / nbnumba.Beam().fluence * image("photons.npy"))
    assert main(["noisify", "dry.npy", "later.npy", *beam, *water, "-nonoise"]) == 0
    np.testing.assert_allclose(image("later.npy"), image("wet.npy"), atol=0.501)
    assert image("wet.npy").min() > 100.0


@pytest.mark.spec("RSP-30", "SCA-7")
def test_counts_are_the_same_for_any_number_of_threads(in_tmp_path: Path) -> None:
    chain = "--background water 1 --plugin response=psf-gauss --set psf_gauss=1e-3 --plugin response=readout-noise --set readout_noise=3"
    for threads in ("1", "2"):
        words = [*CRYSTAL.split(), *DETECTOR.split(), *chain.split(), "-fluence", "1e16", "-seed", "3", "--threads", threads]
        assert main(["run", *words, "-o", f"{threads}_1.cbf"]) == 0
    np.testing.assert_array_equal(image("1_1.cbf"), image("2_1.cbf"))
    assert image("1_1.cbf").std() > 3.0


@pytest.mark.spec("CLI-120", "CLI-123")
def test_responses_and_the_gain_that_files_state(photons: Path) -> None:
    chain = "--plugin response=gain --set gain=2.5 --plugin response=psf-gauss --set psf_gauss=2e-3".split()
    assert main(["noisify", "photons.npy", "spread.nxs", *GEOMETRY.split(), *chain, "-nonoise", "-scale", "2", "-adc", "40"]) == 0
    found = read_image_file("spread.nxs")
    assert found.exposure is not None
    assert (found.exposure.gain, found.exposure.pedestal) == (5.0, 40.0)
    assert found.pixels.max() < 0.7 * 5.0 * image("photons.npy").max()
    assert main(["noisify", "spread.nxs", "photons_again.npy", "-nonoise"]) == 0
    np.testing.assert_allclose(image("photons_again.npy"), (found.pixels - 40.0) / 5.0, atol=0.51)
    again = nbnumba.experiment_from_options(f"{CRYSTAL} {DETECTOR} {' '.join(chain)}")
    nbnumba.simulate(again).save("run.nxs", seed=3)
    stated = read_image_file("run.nxs").exposure
    assert stated is not None
    assert stated.gain == 2.5


@pytest.mark.spec("CLI-121")
def test_panels_and_what_was_not_measured(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file with two panels, a pixel below 0 in each."""
    panel = {"fast_axis": (1.0, 0.0, 0.0), "slow_axis": (0.0, -1.0, 0.0), "pixel_size": 1e-3, "fast_pixels": 20, "slow_pixels": 10}
    panels = tuple(nbnumba.Panel(origin=(-0.01, 0.011 * n, -0.1), **panel) for n in (1, 0))  # type: ignore[arg-type]
    beam = nbnumba.Beam(direction=(0.0, 0.0, -1.0))
    experiment = nbnumba.experiment_from_options(CRYSTAL)
    detector = nbnumba.Detector(convention="custom", panels=panels)
    exposure = exposure_of(nbnumba.Experiment(**{**vars_of(experiment), "beam": beam, "detector": detector}))
    pixels = np.full((20, 20), 30, np.int32)
    pixels[[2, 15], 3] = -1
    Path("two.nxs").write_bytes(nxmx_bytes([(pixels, exposure)]))
    assert main(["noisify", "two.nxs", "out.nxs", "--images", "2", "-seed", "4"]) == 0
    assert "two.nxs: holds whole numbers, which are taken for the photons that are expected" in capsys.readouterr().err
    first, second = image("out.nxs:1"), image("out.nxs:2")
    assert np.argwhere(first == -1).tolist() == np.argwhere(second == -1).tolist() == [[2, 3], [15, 3]]
    assert (first[:10] != first[10:]).any()
    found = read_image_file("out.nxs:2").exposure
    assert found is not None
    assert [one.origin for one in found.panels] == [one.origin for one in exposure.panels]


def vars_of(experiment: nbnumba.Experiment) -> dict[str, object]:
    return {"crystal": experiment.crystal, "structure_factors": experiment.structure_factors}


@pytest.mark.spec("CLI-121")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("photons.npy", "noisify: give an image of photons and a name for what is counted, IN OUT; got 1 names"),
        ("photons.npy counts_1.cbf -lambda 1 -distance 50", "counts_1.cbf: is there already; give another OUT, or --overwrite"),
        ("photons.npy photons.npy", "photons.npy: is an input of this run; give the output another name"),
        ("photons.npy out.png", "out.png: "),
        ("photons.npy out.npy -detpixels 20", "the options describe 20 x 20 pixels (slow x fast); photons.npy has 30 x 30"),
        ("photons.npy out.npy --background small.npy", "material.photons: have the shape (3, 3), the image (30, 30) [slow, fast]"),
        ("photons.npy out.npy --background water 1", "--background water: depends on the geometry, and photons.npy has none; give -lambda"),
        ("photons.npy out.cbf", "out.cbf: .cbf files state a geometry, and photons.npy has none; give -lambda, -distance and -pixel, or"),
        ("photons.npy out.npy -scale 2", "-scale 2: photons that are drawn count one each; give -nonoise, or --plugin response=gain"),
        ("photons.npy out.npy --set gain=2", "model.parameters.gain: is set, and no response has it; give --plugin response=gain"),
        ("missing.npy out.npy", "missing.npy: "),
    ],
)
def test_what_is_refused(words: str, told: str, photons: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("small.npy", np.ones((3, 3)))
    before = sorted(photons.iterdir())
    capsys.readouterr()
    assert main(["noisify", *words.split()]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"nbnumba: error: {told}")
    assert sorted(photons.iterdir()) == before


@pytest.mark.spec("CLI-121")
def test_what_a_file_cannot_hold_is_said(photons: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("bright.npy", np.full((30, 30), 1e6))
    assert main(["noisify", "bright.npy", "a_1.img", *GEOMETRY.split(), "-seed", "1", "--overwrite"]) == 0
    said = capsys.readouterr().err
    assert "fractions that" not in said
    assert "warning: a_1.img: 900 pixels have more counts than a SMV file holds: cut off" in said
    assert main(["noisify", "bright.npy", "b.npy", "--plugin", "response=gain", "--set", "gain=1.5"]) == 0
    assert "warning: fractions that gain leave are dropped" in capsys.readouterr().err
