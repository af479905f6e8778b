"""Rendering from a list of spots gives what all terms give, but for what is negligible (SCA-21)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator

import nbnumba
from nbnumba import Experiment, Simulator, StructureFactors
from nbnumba.cli.main import main
from nbnumba.kernel.cpu import listing
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.simulation import support
from nbnumba.simulation.scene import scene_of, scenes_of
from nbnumba.stages.registry import installed
from nbnumba.testing import stage_suite

BASE = (
    "-cell 80 60 38 80 95 100 -misset 10 20 30 -lambda 1 -distance 200 -pixel 0.3 -default_F 100 -detpixels_f 150 -detpixels_s 120 -N 150"
)
TURNING = "-mosaic 0.3 -mosaic_dom 20 -phi 0 -osc 0.5 -phisteps 3 -dispersion 0.5 -dispsteps 3"
MOSAIC = f"-gauss_xtal {TURNING}"
SHAPES = ("-gauss_xtal", "-tophat_spots", "--plugin lattice_shape=gauss-sizes")
HKL = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists also where looking at all terms takes less."""
    monkeypatch.setattr(support, "MANY", 0.0)
    monkeypatch.setattr(support, "FEW", 1e9)


def experiment_of(options: str, preset: str = "physics", negligible: float = 1e-12) -> Experiment:
    experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
    model = replace(experiment.model, preset=preset)
    return replace(experiment, sampling=replace(experiment.sampling, negligible=negligible), model=model)


def both(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """The image from lists, and from all terms."""
    assert all(support.support_of(scene).any() for scene in scenes_of(experiment))
    listed = Simulator().render(experiment)
    monkeypatch.setattr(Cpu, "lists", False)
    return listed, Simulator().render(experiment)


def most_left_out(experiment: Experiment) -> float:
    """Photons of all terms of a pixel, if each were as large as what may be left out, and the pixel at the nearest point."""
    scene = scene_of(experiment.by_panel[0])
    solid_angle = (experiment.detector.pixel_size / abs(experiment.frame.close_distance)) ** 2
    term = scene.parameters["scaling"].photons * (100.0 * np.prod(np.array(experiment.cells, float))) ** 2
    return float(experiment.negligible * term * solid_angle * experiment.steps * experiment.layers[0])


@pytest.mark.spec("SCA-21")
@pytest.mark.parametrize(
    "options",
    [
        f"{MOSAIC} -oversample 1",
        f"{MOSAIC} -oversample 3 -detector_rotx 20 -detector_roty 30 -twotheta 15",
        f"{MOSAIC} -oversample 2 -dmin 2.5",
        pytest.param(f"-tophat_spots -N 60 {TURNING} -oversample 4", marks=pytest.mark.slow),
        pytest.param(f"{MOSAIC} -oversample 2 -detector_thick 450 -detector_abs 300 -thicksteps 3", marks=pytest.mark.slow),
    ],
)
def test_a_list_gives_what_all_terms_give(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(options)
    listed, full = both(experiment, monkeypatch)
    assert full.max() > 0.0
    assert np.abs(listed - full).max() <= most_left_out(experiment) + 1e-12 * full.max()
    assert listed.sum() == pytest.approx(full.sum(), rel=1e-9)


@pytest.mark.spec("SCA-21", "ROT-5")
@pytest.mark.parametrize("options", ["-oversample 1", "-oversample 2 -detector_thick 450 -detector_abs 300 -thicksteps 3"])
def test_what_is_peculiar_to_nanobragg(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sample's own orientation, factors of a pixel's first and last sample, a background that every pixel begins with."""
    words = f"-tophat_spots -phi 0 -osc 2 -phisteps 3 -water 0.01 -mosaic 0.3 -mosaic_dom 4 {options}"
    experiment = experiment_of(words, "c-parity", 1e-60)
    listed, full = both(experiment, monkeypatch)
    np.testing.assert_allclose(listed, full, rtol=1e-13)
    assert len(np.unique(full)) > 100


@pytest.mark.spec("SCA-22")
@pytest.mark.parametrize(
    ("options", "off"),
    [
        ("-oversample 1 -detector_thick 450 -detector_abs 300 -thicksteps 2", 1e-13),
        ("-oversample 3 -dmin 2.5 -roi 10 140 5 110", 1e-13),
        ("-oversample 3 -pixel 0.19", 1e-6),  # water at the middle of pixels, not of sub-pixels
    ],
)
def test_water_is_added_to_what_is_listed(options: str, off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(f"{MOSAIC} -N 100 -polar 0.9 -water 0.05 {options}")
    scene = scene_of(experiment)
    assert support.why_not_listed(scene)
    assert support.support_of(scene.dry).any()
    listed = Simulator().render(experiment)
    monkeypatch.setattr(Cpu, "lists", False)
    full, first = Simulator().render(experiment), (11, 11)
    np.testing.assert_allclose(listed, full, rtol=off, atol=most_left_out(experiment))
    assert full.max() > 10.0 * full[first] > 0.0


@pytest.mark.spec("SCA-22")
def test_what_is_given_instead_of_worked_out_is_without_water_too() -> None:
    scene = scene_of(experiment_of(f"{MOSAIC} -N 100 -water 0.05").taking(cells=(90.5, 100.0, 100.0), oversample=3))
    assert scene.dry is not scene
    assert scene.dry.experiment.background.water_size == 0.0
    assert (scene.dry.experiment.cells, scene.dry.inputs.oversample) == ((90.5, 100.0, 100.0), 3)


@pytest.mark.spec("SCA-22")
@pytest.mark.parametrize(("quirk", "options"), [("first-sample-factors", ""), ("dmin-cuts-water", "-dmin 2.5")])
def test_water_stays_with_terms_whose_factors_or_limit_differ(quirk: str, options: str) -> None:
    """Those of a pixel's first sub-pixel, which is not its middle, and of samples that are cut."""
    experiment = experiment_of(f"{MOSAIC} -oversample 2 -water 0.05 {options}")
    scene = scene_of(experiment)
    assert scene.dry is not scene
    scene = scene_of(replace(experiment, model=replace(experiment.model, quirks={quirk: True})))
    assert scene.dry is scene


@pytest.mark.spec("SCA-21", "SCA-7")
def test_a_pixel_does_not_depend_on_what_else_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The region, the number of threads, how many spots are listed at once, parts between which progress is shown."""
    experiment = experiment_of(f"{MOSAIC} -oversample 2")
    whole, calls = Simulator(threads=1).render(experiment).copy(), []
    assert np.count_nonzero(whole) > 30
    np.testing.assert_array_equal(Simulator(threads=2).image(experiment, lambda *done: calls.append(done)).pixels, whole)
    assert calls[0] == (0, 120 * 150)
    assert calls[-1] == (120 * 150, 120 * 150)
    assert len(calls) > 3
    part = replace(experiment, sampling=replace(experiment.sampling, roi=(37, 101, 20, 90)))
    found = Simulator().render(part)
    np.testing.assert_array_equal(found[20:91, 37:102], whole[20:91, 37:102])
    assert np.count_nonzero(found) == np.count_nonzero(whole[20:91, 37:102])
    monkeypatch.setattr(listing, "MOST_SPOTS", 512)
    np.testing.assert_array_equal(Simulator().render(experiment), whole)


@pytest.mark.spec("SCA-21")
@pytest.mark.parametrize("n_sub", [1, 3])
def test_a_pixel_does_not_depend_on_where_the_region_ends(n_sub: int) -> None:
    """Within a stretch, next to spots that are seen in the rest of it: the regions cut many, of which some are wide."""
    experiment = experiment_of(f"{MOSAIC} -N 30 -oversample {n_sub}", negligible=1e-4)
    whole = Simulator().render(experiment).copy()
    for first, last in ((5, 60), (17, 100), (31, 33), (47, 149), (1, 14)):
        found = Simulator().render(replace(experiment, sampling=replace(experiment.sampling, roi=(first, last, 3, 110))))
        np.testing.assert_array_equal(found[3:111, first : last + 1], whole[3:111, first : last + 1])
    assert np.count_nonzero(whole) > 250


@pytest.mark.spec("SCA-21", "EXP-31")
def test_panels_one_by_one_give_what_they_give_together() -> None:
    experiment = experiment_of(f"{MOSAIC} -oversample 2")
    first, second = experiment.panels[0], experiment_of("-twotheta 10 -detpixels_f 70 -detpixels_s 90").panels[0]
    mask = np.arange(120 * 150).reshape(120, 150) % 7 > 0
    together = replace(experiment, detector=replace(experiment.detector, panels=[replace(first, mask=mask), second]))
    image = nbnumba.simulate(together)
    for panel, alone in zip(image.panels, together.by_panel, strict=True):
        assert panel.pixels.max() > 0.0
        np.testing.assert_array_equal(panel.pixels, nbnumba.simulate(alone).pixels)
    assert not image.panels[0].pixels[~mask].any()


def random_options(random: Generator) -> Iterator[str]:
    """Crystals of 5 to 2000 cells, any cell, orientation, wavelength, distance and tilt, with or without all else that is summed over."""
    wavelength, distance = random.uniform(0.5, 3.0), 10.0 ** random.uniform(1.3, 3.0)
    pixel = distance * 10.0 ** random.uniform(-4.0, -1.5)
    yield f"-cell {line(random.uniform(20.0, 150.0, 3))} {line(random.uniform(75.0, 105.0, 3))}"
    yield f"-misset {line(random.uniform(0.0, 360.0, 3))}"
    yield f"-lambda {wavelength:g} -distance {distance:g} -pixel {pixel:g} -default_F 100 -oversample {random.choice([1, 1, 2, 3, 5])}"
    yield f"-detpixels_f {random.integers(5, 90)} -detpixels_s {random.integers(5, 60)} {random.choice(SHAPES)}"
    yield " ".join(f"-N{axis} {int(10.0 ** random.uniform(0.7, 3.3))}" for axis in "abc")
    for often, words in (
        (0.6, f"-mosaic {10.0 ** random.uniform(-2.0, 0.5):g} -mosaic_dom {random.integers(2, 60)}"),
        (0.5, f"-phi {random.uniform(-5.0, 5.0):g} -osc {random.uniform(0.01, 5.0):g} -phisteps {random.integers(1, 12)}"),
        (0.4, f"-dispersion {random.uniform(0.01, 8.0):g} -dispsteps {random.integers(2, 5)}"),
        (0.3, f"-divergence {random.uniform(0.1, 20.0):g} -divsteps 2"),
        (0.4, f"-detector_rotx {random.uniform(-40.0, 40.0):g} -detector_roty {random.uniform(-40.0, 40.0):g}"),
        (0.3, f"-twotheta {random.uniform(-60.0, 60.0):g} -detector_rotz {random.uniform(0.0, 360.0):g}"),
        (0.3, f"-detector_thick {random.uniform(50.0, 2000.0):g} -detector_abs {random.uniform(100.0, 1000.0):g} -thicksteps 2"),
        (0.2, f"-dmin {wavelength * random.uniform(0.6, 5.0):g}"),
        (0.5, f"-Xbeam {random.uniform(-20.0, 40.0) * pixel:g} -Ybeam {random.uniform(-20.0, 40.0) * pixel:g}"),
        (0.2, "-roi 3 40 2 20"),
    ):
        if random.random() < often:
            yield words


def line(numbers: np.ndarray) -> str:
    return " ".join(f"{number:g}" for number in numbers)


def random_experiment(random: Generator) -> Experiment | None:
    """One of moderate size whose terms can be listed."""
    preset, table, quirk = random.choice(["physics", "reference", "c-parity"]), random.random() < 0.5, random.random() < 0.3
    try:
        experiment = nbnumba.experiment_from_options(" ".join(random_options(random)))
        model = replace(experiment.model, preset=str(preset), quirks={"spot-width": quirk})
        experiment = replace(experiment, model=model, sampling=replace(experiment.sampling, negligible=10.0 ** random.uniform(-60.0, -2.0)))
        if table:
            F = random.random(len(HKL)) * 100.0
            experiment = replace(experiment, structure_factors=StructureFactors(hkl=HKL, F=F, default_F=1.0, interpolate=False))
        experiment.check()
        return experiment if experiment.terms < 1e8 and support.support_of(scene_of(experiment)).any() else None
    except nbnumba.ParameterError:  # such as a detector seen from behind
        return None


@pytest.mark.slow
@pytest.mark.spec("SCA-21")
@pytest.mark.filterwarnings("ignore::nbnumba.NbnumbaWarning")
@pytest.mark.parametrize("seed", range(300))
def test_random_experiments(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    experiment = next(found for found in iter(lambda: random_experiment(random), 0) if found)
    listed, full = both(experiment, monkeypatch)
    # Where a sub-pixel is has other last digits, which the slope of a narrow spot makes larger.
    assert np.abs(listed - full).max() <= most_left_out(experiment) + 1e-11 * full.max()


@pytest.mark.spec("SCA-21")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("-gauss_xtal", "from a list of spots, about "),
        ("", "all terms, since none is negligible"),
        ("-gauss_xtal --negligible 0", "all terms, since none is negligible"),
        ("-round_xtal --negligible 1e-3", "all terms, since lattice_shape 'round' states no support"),
        ("-gauss_xtal -curved_det", "all terms, since geometry 'curved' states no bounds"),
        ("-gauss_xtal -interpolate -hkl few.hkl", "all terms, since structure_factor 'tricubic' counts those outside its table"),
        (
            "-gauss_xtal -water 1 -dmin 5 --quirk dmin-cuts-water=off --plugin scaling=reference",
            "all terms, since samples beyond the resolution limit have a background",
        ),
    ],
)
def test_explain_says_how_terms_are_found(options: str, told: str, tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.hkl").write_text("1 1 1 5\n2 2 2 7\n")
    assert main(["explain", *BASE.split(), "-oversample", "1", "--preset", "physics", *options.split()]) == 0
    assert f"rendered                         {told}" in capsys.readouterr().out


@pytest.mark.spec("SCA-21")
def test_all_terms_are_looked_at_where_that_takes_less(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(experiment_of("-gauss_xtal -N 20 -oversample 1", negligible=1e-6))
    monkeypatch.undo()
    assert support.why_not_listed(scene) == "there are fewer than 1e+08"
    monkeypatch.setattr(support, "MANY", 0.0)
    assert "of them, and pays up to 0.062" in support.why_not_listed(scene)


@pytest.mark.spec("LAT-8", "GEO-22")
def test_what_a_stage_states_of_its_reach_is_checked() -> None:
    gauss, planar = installed().get("lattice_shape", "gauss"), installed().get("geometry", "planar")

    def smaller(p: Any, least: float) -> tuple[float, ...]:
        *form, radius_squared = gauss.support(p, least)
        return (*form, 0.98 * radius_squared)

    def narrower(p: Any, *given: Any) -> tuple[float, ...]:
        low, high, bottom, top = planar.bounds(p, *given)
        return low + 0.02 * (high - low), high, bottom, top

    assert stage_suite.support(gauss) == ""
    assert "outside the support of" in str(stage_suite.support(replace(gauss, support=smaller)))
    assert stage_suite.bounds(planar) == ""
    assert "but not between" in str(stage_suite.bounds(replace(planar, bounds=narrower)))


@pytest.mark.spec("SCA-21")
def test_a_support_that_fails_is_one_line() -> None:
    gauss = replace(installed().get("lattice_shape", "gauss"), name="mine", support=lambda p, least: (1.0, 1.0))
    with pytest.raises(nbnumba.StageError, match=r"lattice_shape 'mine': its support fails: ValueError: not enough values"):
        nbnumba.simulate(experiment_of("-gauss_xtal -oversample 1"), stages=[gauss])
