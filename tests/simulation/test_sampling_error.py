"""How far off spots are for want of samples: against what they are off by, what it is estimated from, and samples until it is little."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba.cli.main import main
from nbnumba.errors import ParameterError
from nbnumba.experiment import advice
from nbnumba.experiment.panel import panel_of
from nbnumba.simulation import accuracy
from nbnumba.simulation.accuracy import sampled_to
from nbnumba.simulation.sampling_error import (
    REPLICATES,
    NotEstimatedError,
    Spot,
    photons_of,
    sampling_error,
    shifts,
    strongest,
    turned_on,
    with_panels,
)

CRYSTAL = "-default_F 100 -cell 80 90 100 85 95 105 -lambda 1 -misset 10 20 30 -distance 80 -pixel 0.2 -detpixels 200 --preset physics "
MOSAIC = "-N 20 -gauss_xtal -oversample 3 -osc 0.5 -phisteps 5 -mosaic 0.5 -mosaic_dom 30 "
FEW = "-default_F 100 -cell 80 90 100 -lambda 1 -misset 10 20 30 -distance 80 -pixel 0.4 -detpixels 60 -N 10 -oversample 2 "


def made(options: str) -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(CRYSTAL + options)


def off_by(experiments: list[nbnumba.Experiment], converged: nbnumba.Experiment) -> float:
    """Root mean square of what the strongest spots of experiments differ by from those of another, over their photons."""
    panels, simulator = [spot.cut_out() for spot in strongest(converged)], nbnumba.Simulator()
    truth, *found = (photons_of(with_panels(one, panels), simulator) for one in (converged, *experiments))
    return float(np.sqrt(np.mean([np.square(photons - truth).sum() for photons in found]) / np.square(truth).sum()))


@pytest.mark.spec("EXP-61")
@pytest.mark.parametrize("rotation", ["", "--plugin rotation=spec -phi 0.05"])
def test_the_estimate_for_orientations_is_what_spots_are_off_by(rotation: str) -> None:
    experiment = made(MOSAIC + rotation)
    seeds = [replace(experiment, crystal=replace(experiment.crystal, mosaic_seed=seed)) for seed in range(100, 106)]
    truth = off_by(seeds, made(f"{MOSAIC} -mosaic_dom 600"))
    estimate = sampling_error(experiment)
    assert 0.5 * truth < estimate.orientations < 2.0 * truth
    assert estimate.spots == 8


@pytest.mark.spec("EXP-61")
def test_the_estimate_for_sub_pixels_is_what_spots_are_off_by() -> None:
    still = "-N 60 -gauss_xtal -mosaic 0.2 -mosaic_dom 20 -oversample"
    coarse, fine = made(f"{still} 2"), made(f"{still} 12")
    panels, simulator = strongest(fine), nbnumba.Simulator()
    truth = photons_of(with_panels(fine, [spot.cut_out() for spot in panels]), simulator)
    moved = [photons_of(with_panels(coarse, [spot.cut_out(0.1 * n, 0.17 * n) for spot in panels]), simulator) for n in range(-2, 3)]
    off = np.sqrt(np.mean([np.square(photons - truth).sum() for photons in moved]) / np.square(truth).sum())
    assert 0.5 * off < sampling_error(coarse).subpixels < 2.0 * off
    assert sampling_error(fine).subpixels < 0.2 * sampling_error(coarse).subpixels


@pytest.mark.spec("EXP-61")
def test_replicates_are_those_pixels_of_the_image() -> None:
    """Of one panel and of several; water is left out."""
    one = made("-N 20 -gauss_xtal -oversample 2 -osc 0.5 -phisteps 3 -mosaic 0.5 -mosaic_dom 4")
    whole = panel_of(one)
    halves = [replace(whole, slow_pixels=100), replace(Spot(whole, 0, 100, 200).cut_out(), slow_pixels=100)]
    for experiment in (one, replace(one, detector=replace(one.detector, panels=tuple(halves)))):
        spots = strongest(experiment)
        found = photons_of(with_panels(experiment, [spot.cut_out() for spot in spots]), nbnumba.Simulator())
        panels = {panel_of(panel.experiment).origin: panel for panel in nbnumba.simulate(experiment).panels}
        inside = 0
        for spot, photons in zip(spots, found, strict=True):
            rows, columns = (slice(first, first + spot.width) for first in (spot.first_slow, spot.first_fast))
            pixels = panels[spot.panel.origin][rows, columns] if min(rows.start, columns.start) >= 0 else np.zeros(0)
            if pixels.size == spot.width**2:
                inside += 1
                assert photons == pytest.approx(pixels.sum(), rel=1e-9)
        assert inside > 2
    assert sampling_error(made(f"{MOSAIC} -water 1000")) == sampling_error(made(MOSAIC))


@pytest.mark.spec("EXP-61")
def test_replicates_are_spread_over_the_distance_of_samples() -> None:
    even, spec = made(MOSAIC), made(f"{MOSAIC} --plugin rotation=spec")
    for experiment, way in ((even, 0.1 / 30), (spec, 0.1)):
        starts = [np.degrees(turned_on(experiment, n).goniometer.phi_start) for n in range(REPLICATES)]
        np.testing.assert_allclose(starts, way * np.array([-0.375, -0.125, 0.125, 0.375]), atol=1e-12)
    assert len({turned_on(even, n).crystal.mosaic_seed for n in range(REPLICATES)}) == REPLICATES
    along = np.transpose([shifts(n, 2) for n in range(REPLICATES)])
    np.testing.assert_allclose(np.sort(along), [[-0.1875, -0.0625, 0.0625, 0.1875]] * 2)


@pytest.mark.spec("EXP-61")
def test_spots_that_all_samples_miss_are_off_by_all_of_their_photons() -> None:
    assert sampling_error(made("-N 2000 -tophat_spots -oversample 1 -osc 0.1 -phisteps 1")).orientations == 1.0


@pytest.mark.spec("EXP-61")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("-N 20 -curved_det", "spots are predicted on planes, and the geometry is curved"),
        ("-N 20 -roi 0 0 0 0", "no spot is expected in what is rendered"),
    ],
)
def test_why_nothing_is_estimated(options: str, told: str) -> None:
    with pytest.raises(NotEstimatedError, match=told):
        sampling_error(made(options))


@pytest.mark.spec("EXP-63")
def test_samples_are_added_until_spots_are_near_enough() -> None:
    start = made("-N 20 -gauss_xtal -oversample 1 -osc 0.5 -phisteps 2 -mosaic 0.5 -mosaic_dom 4 ")
    before, found = sampling_error(start), sampled_to(start, 0.1)
    assert before.total > 0.1 >= found.error.total
    assert found.met
    assert found.error == sampling_error(found.experiment)
    assert found.experiment.mosaic[1] > 4
    assert found.experiment.oversample > 1
    assert found.experiment.goniometer.scan.steps == 2
    assert sampled_to(found.experiment, 0.1).experiment == found.experiment


@pytest.mark.spec("EXP-63")
def test_phi_steps_are_added_where_no_domain_has_its_own() -> None:
    """Of random domains, until they cover a rocking curve; of a crystal without mosaicity at all."""
    plain = sampled_to(made("-N 20 -gauss_xtal -oversample 3 -osc 0.5 -phisteps 1"), 0.1)
    assert plain.met
    assert plain.experiment.goniometer.scan.steps > 1
    assert plain.experiment.goniometer.scan.oscillation == pytest.approx(np.radians(0.5))
    first = made("-N 20 -oversample 3 -osc 2 -phisteps 1 -mosaic 0.1 -mosaic_dom 3 --plugin rotation=spec")
    (more,) = accuracy.with_orientations(first)
    assert (more.goniometer.scan.steps, more.mosaic[1]) == (2, 3)
    assert accuracy.with_orientations(made("-N 20")) == []


@pytest.mark.spec("EXP-63")
def test_what_cannot_be_met_or_is_no_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "MOST_TERMS", 1e6)
    found = sampled_to(made("-N 20 -gauss_xtal -oversample 1 -mosaic 0.5 -mosaic_dom 4"), 1e-5)
    assert not found.met
    assert found.error.total > 1e-5
    for wrong in (0.0, -1.0, 1.5, np.nan):
        with pytest.raises(ParameterError, match=r"accuracy: .*: must be greater than 0 and at most 1"):
            sampled_to(made("-N 20"), wrong)


@pytest.mark.spec("EXP-62")
def test_domains_that_do_not_cover_the_mosaic_spread_are_warned_of() -> None:
    """The spread both ways and the sweep, over the width of a domain's own rocking curve."""

    def told(options: str) -> list[str]:
        return [line for line in advice.warnings(made(f"-oversample 99 {options}")) if "mosaic domains x" in line]

    spots = "-N 40 -mosaic 0.5 -osc 0.2 -phisteps 4 -mosaic_dom"
    (line,) = told(f"{spots} 2")
    enough = int(line.split("-mosaic_dom ")[1].split()[0])
    width = advice.width_of_a_domain(made("-N 40"))
    assert enough == int(np.ceil(np.ceil(np.radians(1.2) / width) / 4))
    assert line == (
        f"2 mosaic domains x 4 phi steps do not cover a mosaic spread of 0.5 deg with spots {np.degrees(width):.2g} deg wide: their "
        f"photons are random; -mosaic_dom {enough} covers it, --accuracy adds what more it takes"
    )
    assert told(f"{spots} {enough - 1}")
    for quiet in (f"{spots} {enough}", f"{spots} 1", "-N 40 -osc 2 -phisteps 2", "-N 5 -mosaic 0.5 -mosaic_dom 10"):
        assert not told(quiet)


@pytest.mark.spec("EXP-20", "EXP-62")
def test_phi_that_each_domain_has_its_own_of_leaves_no_gap() -> None:
    def told(options: str) -> list[str]:
        return [line for line in advice.warnings(made(options)) if line.startswith("phi steps")]

    coarse = "-N 40 -osc 5 -phisteps 3 -mosaic 0.2 -mosaic_dom 50"
    assert not told(coarse)
    assert told(f"{coarse} --plugin rotation=spec")
    assert told(f"{coarse} -mosaic_dom 1")


@pytest.mark.spec("CLI-111")
def test_small_images_are_rendered_and_no_replicates(in_tmp_path: Path) -> None:
    assert main(f"run {FEW} -o a.npy --json a.json".split()) == 0
    why = "an image of fewer than 1e+07 terms takes less time; --accuracy asks for it"
    assert json.loads(Path("a.json").read_text())["sampling_error"] == {"not_estimated": why}


@pytest.mark.spec("CLI-111")
def test_a_run_says_how_far_off_spots_are(in_tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.cli.accuracy.FEW_TERMS", 0.0)
    words = f"run {FEW} -osc 1 -phisteps 3 -mosaic 0.5 -mosaic_dom 5 -o a.npy --json a.json".split()
    assert main(words) == 0
    found = json.loads(Path("a.json").read_text())["sampling_error"]
    expected = sampling_error(nbnumba.experiment_from_options(f"{FEW} -osc 1 -phisteps 3 -mosaic 0.5 -mosaic_dom 5"))
    assert found == {
        "of_spots": pytest.approx(expected.total),
        "orientations": pytest.approx(expected.orientations),
        "subpixels": pytest.approx(expected.subpixels),
        "spots": expected.spots,
    }
    assert f"; spots off by {expected.total:.2g} for want of samples; wrote a.npy" in capsys.readouterr().out
    assert main([*words, "-curved_det"]) == 0
    assert "off by" not in capsys.readouterr().out
    why = {"not_estimated": "spots are predicted on planes, and the geometry is curved"}
    assert json.loads(Path("a.json").read_text())["sampling_error"] == why


@pytest.mark.spec("CLI-112")
def test_accuracy_of_run_explain_and_sweep(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = f"{FEW} --preset physics -mosaic 0.5 -mosaic_dom 5 --accuracy 0.4"
    start = nbnumba.experiment_from_options(f"{FEW} --preset physics -mosaic 0.5 -mosaic_dom 5 -osc 1 -phisteps 2")
    found = sampled_to(start, 0.4)
    said = f"nbnumba: --accuracy 0.4: {found}\n"
    assert f"{found.experiment.mosaic[1]} mosaic domains, 2 phi steps, " in said
    assert main(["explain", *options.split(), "-osc", "1", "-phisteps", "2", "--json"]) == 0
    shown = capsys.readouterr()
    explained = json.loads(shown.out)
    assert shown.err == said
    assert explained["crystal"]["mosaic_domains"] == found.experiment.mosaic[1]
    assert explained["sampling_error"]["of_spots"] == pytest.approx(found.error.total)
    assert main(["run", *options.split(), "-osc", "1", "-phisteps", "2", "-o", "a.npy"]) == 0
    assert said in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("a.npy"), nbnumba.simulate(found.experiment).float32)
    assert main(["sweep", *options.split(), "--images", "1", "--width", "1", "-phisteps", "2", "-nonoise", "-o", "s_#.npy"]) == 0
    assert said in capsys.readouterr().err
    record = json.loads(Path("s.npy.json").read_text())["about"]
    assert record["crystal"]["mosaic_domains"] == found.experiment.mosaic[1]
    assert record["sampling_error"]["of_spots"] == pytest.approx(found.error.total)


@pytest.mark.spec("CLI-112")
def test_accuracy_that_is_not_met_or_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "MOST_TERMS", 1.0)
    assert main(["explain", *FEW.split(), "-mosaic", "0.5", "-mosaic_dom", "5", "--accuracy", "0.001"]) == 0
    line = capsys.readouterr().err
    assert line.startswith("nbnumba: warning: --accuracy 0.001: 5 mosaic domains, 1 phi steps, 2 x 2 sub-pixels: spots are off by ")
    assert line.endswith(", the most that is tried\n")
    assert main(["explain", *FEW.split(), "-curved_det", "--accuracy", "0.1"]) == 0
    told = "no samples are added: spots are predicted on planes, and the geometry is curved"
    assert capsys.readouterr().err == f"nbnumba: warning: --accuracy 0.1: {told}\n"
    for wrong in ("0", "1.5", "x"):
        assert main(["explain", *FEW.split(), "--accuracy", wrong]) == 2
        assert "--accuracy" in capsys.readouterr().err
