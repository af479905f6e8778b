"""A detector of several panels: each as if it were alone, and what is said of all of them."""

from __future__ import annotations

import gc
import re
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import naive
import numpy as np
import pytest
from many_panels import sixteen

import nbnumba
from nbnumba import Detector, Experiment, Image, ParameterError, simulate
from nbnumba.campaign.products import Product, content
from nbnumba.cli.main import main
from nbnumba.errors import InputFileError, OutputFileError
from nbnumba.experiment.panel import Panel
from nbnumba.formats.format import stacked, unstacked
from nbnumba.formats.write import image_content
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.prediction import predicted_spots
from nbnumba.image.flat_view import flat_view
from nbnumba.image.image import not_rendered
from nbnumba.image.statistics import statistics_of
from nbnumba.image.summary import image_summary
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.options.configuration import toml_text
from nbnumba.options.output import GREYS, NOISY_COUNTS, PICTURE, Output
from nbnumba.response.counts import INT32
from nbnumba.response.noise import noisy_counts
from nbnumba.simulation.simulator import Simulator
from nbnumba.stages.registry import installed

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -N 5 -misset 10 20 30 -osc 1 -phisteps 2"
BASE = f"{CRYSTAL} -fluence 1e22 -distance 50 -pixel 0.7 -oversample 2"
PLACES = (
    "-detpixels_x 14 -detpixels_y 11",
    "-detpixels_x 9 -detpixels_y 16 -twotheta 25 -detector_roty 10",
    "-detpixels_x 12 -detpixels_y 12 -distance 30 -pixel 0.4 -detector_thick 450 -detector_abs 300 -thicksteps 3",
)


PANEL = {
    "origin": (0.1, 0.0, 0.0), "fast_axis": (0.0, 0.0, 1.0), "slow_axis": (0.0, -1.0, 0.0), "pixel_size": 1e-4,
    "fast_pixels": 4, "slow_pixels": 3,
}  # fmt: skip


def alone(number: int, more: str = "") -> Experiment:
    """A detector of one panel, in the place of one of three."""
    return nbnumba.experiment_from_options(f"{BASE} {PLACES[number]} {more}", base=None)


def mask_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).random(alone(number).detector.shape) > 0.3


def together(more: str = "", masked: bool = False) -> Experiment:
    """A detector of three panels."""
    each = [alone(n, more) for n in range(3)]
    panels = [one.panels[0] for one in each]
    if masked:
        panels = [replace(panel, mask=mask_of(n)) for n, panel in enumerate(panels)]
    detector = replace(each[0].detector, panels=panels, sensor_layers=each[2].detector.sensor_layers)
    return replace(each[0], detector=detector)


@pytest.fixture(scope="module")
def image() -> Image:
    return simulate(together())


@pytest.mark.spec("EXP-30", "EXP-31")
def test_each_panel_is_rendered_as_if_it_were_alone(image: Image) -> None:
    for number, panel in enumerate(image.panels):
        expected = simulate(alone(number))
        assert panel.shape == expected.shape
        np.testing.assert_allclose(panel.pixels, expected.pixels, rtol=1e-12, atol=0.0)
        assert expected.pixels.max() > 0.0


@pytest.mark.spec("EXP-31", "GEO-20")
def test_a_sensor_of_one_panel_is_deep_among_others() -> None:
    """One of the three has a sensor."""
    found = simulate(together("--preset physics"))
    for number, panel in enumerate(found.panels):
        np.testing.assert_array_equal(panel.pixels, simulate(alone(number, "--preset physics")).pixels)


@pytest.mark.spec("EXP-30")
def test_a_detector_of_one_panel_is_one(image: Image) -> None:
    one = alone(1)
    assert one.by_panel == (one,)
    (panel,) = one.panels
    assert panel.shape == one.detector.shape
    np.testing.assert_array_equal(panel.origin, one.frame.pix0)
    again = replace(one, detector=Detector(panels=(panel,), sensor_layers=one.detector.sensor_layers))
    assert again.detector.shape == panel.shape
    assert again.detector.pixel_size == pytest.approx(7e-4)
    np.testing.assert_array_equal(simulate(again).pixels, image.panels[1].pixels)
    found = simulate(one)
    assert found.panels == (found,)


@pytest.mark.spec("EXP-31")
def test_an_image_holds_the_pixels_of_its_panels(image: Image) -> None:
    shapes = [panel.shape for panel in image.panels]
    assert shapes == [(11, 14), (16, 9), (12, 12)]
    np.testing.assert_array_equal(image.pixels, np.concatenate([panel.pixels.ravel() for panel in image.panels]))
    assert repr(image).startswith("<Image of 3 panels, preset reference, ")
    assert all(np.shares_memory(panel.pixels, image.pixels) for panel in image.panels)


@pytest.mark.spec("EXP-31", "FMT-15")
@pytest.mark.parametrize("make", [lambda: alone(0), together])
def test_nothing_has_to_be_searched_for_to_be_freed(make) -> None:
    """The command line seldom searches for garbage; a sweep would keep its images until then."""
    gc.collect()
    gc.disable()
    try:
        experiment = make()
        found = simulate(experiment)
        assert found.statistics.pixels == sum(panel.pixels.size for panel in found.panels)
        left = [weakref.ref(found), weakref.ref(found.pixels), weakref.ref(experiment)]
        del found, experiment
        assert [ref() is None for ref in left] == [True] * 3
    finally:
        gc.enable()


@pytest.mark.spec("EXP-31")
def test_region_and_masks_are_of_each_panel() -> None:
    image = simulate(together("-roi 2 7 3 9", masked=True))
    for number, panel in enumerate(image.panels):
        one = alone(number, "-roi 2 7 3 9")
        expected = simulate(replace(one, sampling=replace(one.sampling, mask=mask_of(number))))
        np.testing.assert_allclose(panel.pixels, expected.pixels, rtol=1e-12, atol=0.0)
        assert panel.pixels[:3].max() == panel.pixels[~mask_of(number)].max() == 0.0
    left = sum(int(mask_of(n)[3:10, 2:8].sum()) for n in range(3))
    assert not_rendered(image.experiment) == image.pixels.size - left
    assert image.statistics.pixels == left


@pytest.mark.spec("EXP-31")
def test_one_panel_with_a_mask() -> None:
    one = alone(0)
    found = simulate(replace(one, detector=Detector(panels=(replace(one.panels[0], mask=mask_of(0)),))))
    expected = simulate(replace(one, sampling=replace(one.sampling, mask=mask_of(0))))
    assert found.shape == (11, 14)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.statistics == expected.statistics


@pytest.mark.spec("EXP-32", "FMT-8")
def test_statistics_are_over_all_panels(image: Image) -> None:
    found, pixels = image.statistics, image.pixels.astype(np.float32).astype(np.float64)
    assert found.pixels == pixels.size
    assert found.sum == pytest.approx(pixels.sum(), rel=1e-12)
    assert found.rms == pytest.approx(np.sqrt((pixels**2).sum() / (pixels.size - 1)), rel=1e-12)
    assert found.rms_deviation == pytest.approx(pixels.std(ddof=1), rel=1e-12)
    brightest = max(range(3), key=lambda n: image.panels[n].pixels.max())
    assert found.maximum_panel == brightest
    assert image.panels[brightest].pixels[found.maximum_slow, found.maximum_fast] == image.pixels.max()
    assert statistics_of(image.panels[1]).maximum_panel == 0
    backwards = replace(image.experiment, detector=replace(image.experiment.detector, panels=image.experiment.panels[::-1]))
    pixels = np.concatenate([panel.pixels.ravel() for panel in image.panels[::-1]])
    other = Image(pixels=pixels, experiment=backwards, provenance={}).statistics
    assert (other.maximum_panel, other.maximum_slow, other.maximum_fast) == (2 - brightest, found.maximum_slow, found.maximum_fast)


@pytest.mark.spec("EXP-32")
def test_what_is_said_of_all_panels(image: Image) -> None:
    each = [alone(n) for n in range(3)]
    assert image.experiment.finest_d == pytest.approx(min(one.finest_d for one in each), rel=1e-12)
    assert image.experiment.terms == sum(one.terms for one in each)
    summary = image_summary(image)
    assert [summary["geometry"][f"panel_{n}"]["pixels_fast_slow"] for n in range(3)] == [(14, 11), (9, 16), (12, 12)]
    assert summary["sampling"]["panel_1"]["roi_fast_fast_slow_slow"] == (0, 8, 0, 15)
    assert summary["estimate"]["samples"] == image.experiment.terms


@pytest.mark.spec("EXP-32", "SCA-5")
def test_each_panel_has_the_sub_pixels_that_it_needs() -> None:
    """In the distance along the beam, and in pixels, that are its own; as the equations of specs/ have it, worked out independently."""
    experiment = together()
    experiment = replace(experiment, sampling=replace(experiment.sampling, oversample=None, roi=(1, 3, 2, 4)))
    assert [panel.oversample for panel in experiment.by_panel] == [15, 15, 14]
    assert experiment.oversample == 15
    for panel, expected in zip(simulate(experiment).panels, naive.photons_of_panels(experiment), strict=True):
        assert np.abs(panel.pixels - expected).max() <= 1e-9 * expected.max()
        assert expected.max() > 0.0


@pytest.mark.spec("EXP-33", "FMT-30")
def test_spots_have_the_number_of_their_panel(image: Image) -> None:
    found = predicted_spots(image.experiment)
    assert set(found.panel) == {0, 1, 2}
    for number in range(3):
        expected, here = predicted_spots(alone(number)), found.panel == number
        np.testing.assert_array_equal(found.hkl[here], expected.hkl)
        np.testing.assert_allclose(found.fast[here], expected.fast, rtol=0.0, atol=1e-9)
        np.testing.assert_allclose(found.slow[here], expected.slow, rtol=0.0, atol=1e-9)
        assert (expected.panel == 0).all()


@pytest.mark.spec("EXP-34", "FMT-12")
def test_noise_is_numbered_by_panel_and_pixel() -> None:
    """Flat panels of the same photons: alike in nothing but the first, which has the noise of a detector of one."""
    one = alone(0)
    experiment = replace(one, detector=replace(one.detector, panels=(one.panels[0],) * 3))
    experiment = replace(experiment, model=replace(experiment.model, preset="physics"))
    flat = Image(pixels=np.full(3 * 11 * 14, 50.0), experiment=experiment, provenance={})
    first, second, third = (np.vstack([*noisy_counts(panel, 7, 0.0, INT32)]) for panel in flat.panels)
    np.testing.assert_array_equal(first, second)  # each alone
    drawn = np.vstack([*noisy_counts(flat, 7, 0.0, INT32)]).reshape(3, 11, 14)
    np.testing.assert_array_equal(drawn[0], first)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(drawn[a].ravel(), drawn[b].ravel())[0, 1]) < 0.25
        assert (drawn[a] != drawn[b]).mean() > 0.8
    assert drawn.mean() == pytest.approx(50.0, abs=2.0)
    wider = replace(one.panels[0], fast_pixels=20)
    beside = replace(experiment, detector=replace(one.detector, panels=(wider, one.panels[0])))
    flat = Image(pixels=np.full(11 * 20 + 11 * 14, 50.0), experiment=beside, provenance={})
    np.testing.assert_array_equal([*noisy_counts(flat, 7, 0.0, INT32)][-1], drawn[1])  # whatever is before it
    np.testing.assert_array_equal(third, first)


@pytest.mark.spec("EXP-34", "FMT-11")
def test_sequential_noise_goes_on_from_panel_to_panel() -> None:
    """As one image of all their rows."""
    one = alone(0)
    three = replace(one, detector=replace(one.detector, panels=(one.panels[0],) * 3))
    tall = nbnumba.experiment_from_options(f"{BASE} -detpixels_x 14 -detpixels_y 33")
    photons = np.random.default_rng(1).random((33, 14)) * 40.0
    found = [*noisy_counts(Image(pixels=photons.ravel(), experiment=three, provenance={}), 7, 0.0, INT32)]
    expected = [*noisy_counts(Image(pixels=photons, experiment=tall, provenance={}), 7, 0.0, INT32)]
    np.testing.assert_array_equal(np.vstack(found), np.vstack(expected))


@pytest.mark.spec("EXP-31")
def test_a_simulator_renders_into_memory_of_all_panels(image: Image) -> None:
    simulator, out, said = Simulator(), np.full(image.pixels.size, np.nan), []
    assert simulator.render(image.experiment, out) is out
    np.testing.assert_array_equal(out, image.pixels)
    np.testing.assert_array_equal(simulator.render(image.experiment), image.pixels)
    with pytest.raises(ParameterError, match=r"out: has the shape \(3,\), the detector \(442,\)"):
        simulator.render(image.experiment, np.zeros(3))
    simulate(image.experiment, progress=lambda done, total: said.append((done, total)))
    assert said[0] == (0, 442)
    assert said[-1] == (442, 442)
    assert [done for done, _ in said] == sorted(done for done, _ in said)


def launches_of(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of panels of the launches that an image takes."""
    found, render = [], Cpu.render

    def counted(self, physics, sampling, panels, image, progress=None):
        found.append(len(panels.areas))
        render(self, physics, sampling, panels, image, progress)

    monkeypatch.setattr(Cpu, "render", counted)
    expected = [simulate(panel).pixels for panel in experiment.by_panel]
    found.clear()
    for panel, alone in zip(simulate(experiment).panels, expected, strict=True):
        np.testing.assert_array_equal(panel.pixels, alone)
    return found


@pytest.mark.spec("EXP-31", "EXP-35")
def test_a_region_of_interest_of_each_panel(tmp_path: Path) -> None:
    experiment = replace(together(masked=True), sampling=nbnumba.Sampling(oversample=1, roi=(0, 3, 0, 4)))
    whole = simulate(replace(experiment, sampling=nbnumba.Sampling(oversample=1)))
    first, second, third = experiment.detector.panels
    panels = (first, replace(second, roi=(2, 5, 1, 14)), replace(third, roi=(3, -1, 2, 2)))
    experiment = replace(experiment, detector=replace(experiment.detector, panels=panels))
    for panel, of_whole, (rows, columns) in zip(
        simulate(experiment).panels, whole.panels, (np.s_[0:5, 0:4], np.s_[1:15, 2:6], np.s_[2:3, 3:12]), strict=True
    ):
        expected = np.zeros(panel.shape)
        expected[rows, columns] = of_whole.pixels[rows, columns]
        np.testing.assert_array_equal(panel.pixels, expected)
    nbnumba.save_experiment(experiment, tmp_path / "e.toml")
    assert nbnumba.load_experiment(tmp_path / "e.toml") == experiment
    off = replace(experiment, detector=replace(experiment.detector, panels=(first, replace(second, roi=(20, 30, 0, 1)))))
    with pytest.raises(ParameterError, match=r"panel 1: sampling\.roi: 20 30 0 1 holds no pixel of the 9 x 16 image"):
        simulate(off)


@pytest.mark.spec("DEV-8", "EXP-31")
def test_panels_that_differ_by_their_places_take_one_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    panels = list(sixteen().panels)
    panels[3] = replace(panels[3], mask=np.random.default_rng(3).random(panels[3].shape) > 0.3)
    panels[7] = replace(panels[7], mask=np.zeros(panels[7].shape, bool))
    panels[9] = replace(panels[9], fast_pixels=70, slow_pixels=3, pixel_size=7e-5)
    experiment = replace(alone(0), detector=Detector(panels=panels), sampling=nbnumba.Sampling(oversample=1, roi=(1, 9, 1, 8)))
    assert launches_of(experiment, monkeypatch) == [16]


@pytest.mark.spec("DEV-8")
def test_panels_that_differ_by_more_take_more_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launches_of(together("--preset physics"), monkeypatch) == [2, 1]  # one has a sensor of three layers
    assert launches_of(replace(together(), sampling=nbnumba.Sampling()), monkeypatch) == [2, 1]  # and two sub-pixels along its edge


@pytest.mark.spec("DEV-8")
def test_panels_that_depend_on_scan_order_are_launched_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launches_of(together("--preset c-parity"), monkeypatch) == [1, 1, 1]


@pytest.mark.spec("DEV-8")
def test_a_geometry_with_an_array_is_launched_panel_by_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    planar = installed().get("geometry", "planar")
    kind = NamedTuple("WithArray", [*((name, float) for name in planar.prepare(alone(0))._fields), ("array", np.ndarray)])
    kind.__module__, globals()["WithArray"] = __name__, kind
    stage = replace(
        planar, name="array", prepare=lambda e: kind(*planar.prepare(e), np.zeros(3)), derivative=None, varied=(), worked_values=()
    )
    found, panels = [], replace(together(), sampling=nbnumba.Sampling(oversample=1))
    render = Cpu.render
    monkeypatch.setattr(Cpu, "render", lambda self, *given: found.append(len(given[2].areas)) or render(self, *given))
    image = simulate(panels, stages=[stage])
    assert found == [1, 1, 1]
    np.testing.assert_array_equal(image.pixels, simulate(panels).pixels)


@pytest.mark.spec("DEV-8")
def test_memory_with_gaps_is_rendered_into(image: Image) -> None:
    out = np.full((image.pixels.size, 2), np.nan)
    Simulator().render(image.experiment, out[:, 0])
    np.testing.assert_array_equal(out[:, 0], image.pixels)
    assert np.isnan(out[:, 1]).all()


@pytest.mark.slow
@pytest.mark.spec("DEV-8")
@pytest.mark.parametrize(("domains", "most"), [(1, 1.1), (6, 1.05)])
def test_256_panels_cost_what_one_of_as_many_pixels_does(domains: int, most: float) -> None:
    """Medians of pairs in turn, each of another orientation, on one thread."""
    size, pixel, edge = 256, 5e-5, 16
    places = [((column - edge / 2) * size * pixel, (row - edge / 2) * size * pixel) for row in range(edge) for column in range(edge)]
    axes = {"fast_axis": (1.0, 0.0, 0.0), "slow_axis": (0.0, 1.0, 0.0), "pixel_size": pixel}
    many = [Panel(origin=(x, y, -0.2), fast_pixels=size, slow_pixels=size, **axes) for x, y in places]
    one = [Panel(origin=(*places[0], -0.2), fast_pixels=edge * size, slow_pixels=edge * size, **axes)]
    beam = nbnumba.Beam(direction=(0.0, 0.0, -1.0), polarization_axis=(1.0, 0.0, 0.0), fluence=1e24)
    base = replace(alone(0, f"-mosaic 0.1 -mosaic_dom {domains}"), beam=beam, sampling=nbnumba.Sampling(oversample=1))
    experiments = [replace(base, detector=Detector(convention="custom", panels=panels)) for panels in (many, one)]
    simulators, ratios = [Simulator(threads=1), Simulator(threads=1)], []
    for n in range(8):
        took = []
        for simulator, experiment in zip(simulators, experiments, strict=True):
            turned = replace(experiment, crystal=replace(experiment.crystal, misset=(0.1, 0.2, 0.1 * n)))
            began = time.process_time()
            simulator.render(turned)
            took.append(time.process_time() - began)
        ratios.append(took[0] / took[1])
    assert np.median(ratios[1:]) <= most


@pytest.mark.spec("EXP-31", "API-6")
def test_pixels_of_all_panels_are_written_in_any_form(image: Image, tmp_path: Path) -> None:
    image.save(tmp_path / "a.nxs")
    each = [panel.pixels for panel in image.panels]
    for form in (image.pixels, each, stacked(each)):
        nbnumba.write_image(tmp_path / "b.nxs", form, experiment=image.experiment)
        assert (tmp_path / "b.nxs").read_bytes() == (tmp_path / "a.nxs").read_bytes()


@pytest.mark.spec("EXP-31", "API-6")
@pytest.mark.parametrize("pixels", [np.zeros((3, 4)), np.zeros(5), [np.zeros((11, 14))] * 3, [[1.0, 2.0], [3.0]], np.zeros((39, 15))])
def test_pixels_that_are_not_of_these_panels(pixels, image: Image, tmp_path: Path) -> None:
    told = r"or \(442,\) for their pixels one after the other, or \(39, 14\) for their rows"
    other = r"image: must be an Image, or an array \[slow, fast\] of finite numbers"
    with pytest.raises(ParameterError, match=rf"image: has .*, the detector 3 panels: give an array for each, {told}|{other}"):
        nbnumba.write_image(tmp_path / "a.nxs", pixels, experiment=image.experiment)
    assert not list(tmp_path.iterdir())


@pytest.mark.spec("EXP-31", "API-6")
def test_an_image_of_several_panels_is_an_array(image: Image) -> None:
    assert (image.shape, image.ndim, np.shape(image)) == ((442,), 1, (442,))
    assert image.panels[1].shape == (16, 9)


@pytest.mark.spec("EXP-31")
def test_what_follows_is_given_to_every_panel() -> None:
    """Cells that are not whole, which are in no field."""
    experiment = replace(together(), sampling=nbnumba.Sampling(oversample=1))
    before = simulate(experiment).pixels
    after = simulate(experiment.taking(cells=(5.5, 5.0, 5.0)))
    assert np.abs(after.pixels / before - 1.0).max() > 0.01
    for number, panel in enumerate(after.panels):
        one = replace(alone(number), sampling=nbnumba.Sampling(oversample=1)).taking(cells=(5.5, 5.0, 5.0))
        np.testing.assert_allclose(panel.pixels, simulate(one).pixels, rtol=1e-12)


@pytest.mark.spec("EXP-35")
@pytest.mark.parametrize(("name", "holds"), [("a.img", NOISY_COUNTS), ("a.pgm", GREYS)])
def test_a_file_of_one_panel_is_refused(name: str, holds: str, image: Image) -> None:
    kind = {"a.img": "a SMV file", "a.pgm": "a PGM file"}[name]
    expected = f"{name}: {kind} holds one panel, the image has 3; a .nxs file (-o NAME.nxs) holds all"
    with pytest.raises(OutputFileError, match=re.escape(expected)):
        content(Product(Path(name), holds), image, Output(), 1)


@pytest.mark.spec("EXP-36", "FMT-9")
def test_halves_of_a_detector_are_drawn_as_the_whole() -> None:
    """A detector that is straight in the beam, as two panels."""
    whole = simulate(alone(0))
    panel = replace(alone(0).panels[0], fast_pixels=6)
    other = tuple(np.array(panel.origin) + 6 * panel.pixel_size * np.array(panel.fast_axis))
    halves = simulate(replace(alone(0), detector=Detector(panels=(panel, replace(panel, origin=other, fast_pixels=8)))))
    view, exposure = flat_view(halves)
    np.testing.assert_allclose(view, whole.pixels, rtol=1e-9, atol=0.0)
    expected = exposure_of(alone(0))
    for field in ("origin", "fast_axis", "slow_axis", "pixel_size", "beam_centre", "distance"):
        np.testing.assert_allclose(getattr(exposure, field), getattr(expected, field), rtol=1e-9, atol=1e-12)


def centre(place, fast: int, slow: int) -> np.ndarray:
    """Of a pixel of a panel or an exposure, m."""
    fast_axis, slow_axis = np.array(place.fast_axis), np.array(place.slow_axis)
    return np.array(place.origin) + place.pixel_size * ((fast + 0.5) * fast_axis + (slow + 0.5) * slow_axis)


@pytest.mark.spec("EXP-36")
def test_a_panel_is_drawn_where_its_rays_are(image: Image) -> None:
    """The brightest pixel of a tilted panel, and the pixels of the view that show it."""
    experiment = replace(image.experiment, detector=replace(image.experiment.detector, panels=image.experiment.panels[:2]))
    found = simulate(experiment)
    view, exposure = flat_view(found)
    slow, fast = np.unravel_index(found.panels[1].pixels.argmax(), found.panels[1].shape)
    there = centre(experiment.panels[1], fast, slow)
    shown = np.argwhere(view == found.panels[1].pixels.max())
    assert len(shown) > 0
    for s, f in shown:
        here = centre(exposure, f, s)
        assert np.linalg.norm(np.cross(here, there)) / np.linalg.norm(here) < experiment.panels[1].pixel_size / np.sqrt(2.0)
    assert (view == 0.0).any()
    assert content(Product(Path("a.png"), PICTURE), image, Output(), 1).startswith(b"\x89PNG")


@pytest.mark.spec("EXP-36")
def test_panels_beside_the_crystal_are_not_drawn_in_one_picture() -> None:
    side = Panel(**{**PANEL, "origin": (0.0, 0.05, -0.002), "fast_axis": (1.0, 0.0, 0.0), "slow_axis": (0.0, 0.0, 1.0)})
    one = alone(0)
    pair = replace(one, detector=Detector(panels=(one.panels[0], side)))
    with pytest.raises(ParameterError, match=r"detector\.panels: reach beyond 80 deg from the beam, too far for one picture"):
        flat_view(Image(pixels=np.zeros(11 * 14 + 12), experiment=pair, provenance={}))


@pytest.mark.spec("EXP-35")
def test_each_panel_can_be_written(image: Image) -> None:
    panel = image.panels[1]
    written = b"".join(image_content(Path("a.bin"), panel.experiment, (block.photons for block in panel.blocks())))
    np.testing.assert_array_equal(np.frombuffer(written, np.float32), panel.float32.ravel())
    with pytest.raises(OutputFileError, match="a miniCBF file holds one panel, the image has 3"):
        b"".join(image_content(Path("a.cbf"), image.experiment, iter(())))


@pytest.mark.spec("CLI-64", "API-6")
def test_photons_of_all_panels_in_files_that_state_no_geometry(image: Image, tmp_path: Path) -> None:
    alike = simulate(replace(image.experiment, detector=Detector(panels=(image.experiment.detector.panels[1],) * 2)))
    for name in ("a.npy", "a.tif"):
        image.save(tmp_path / name)
        parts = unstacked(nbnumba.read_image(tmp_path / name), [panel.shape for panel in image.panels])
        np.testing.assert_array_equal(np.concatenate([part.ravel() for part in parts]), image.float32)
        alike.save(tmp_path / name)
        np.testing.assert_array_equal(nbnumba.read_image(tmp_path / name), alike.float32.reshape(32, 9))
    image.save(tmp_path / "a.bin")
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.bin", np.float32), image.float32)


@pytest.mark.spec("EXP-35")
@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.frame,
        lambda e: e.roi,
        lambda e: e.detector.shape,
    ],
)
def test_what_is_of_one_panel_is_refused_of_several(ask, image: Image) -> None:
    with pytest.raises(ParameterError, match=r"detector\.panels: are 3, and one is asked for; experiment\.by_panel has each alone"):
        ask(image.experiment)


@pytest.mark.spec("EXP-35")
def test_panels_in_an_experiment_file(tmp_path: Path) -> None:
    experiment = together(masked=True)
    named = tuple(replace(panel, name=f"p{n}", group=f"q{n % 2}") for n, panel in enumerate(experiment.detector.panels))
    experiment = replace(experiment, detector=replace(experiment.detector, panels=named))
    nbnumba.save_experiment(experiment, tmp_path / "e.toml")
    assert nbnumba.load_experiment(tmp_path / "e.toml") == experiment


@pytest.mark.spec("EXP-35")
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("pixel_size = 0.0007", "pixel_sise = 0.0007", "detector.panels[0]: has no 'pixel_sise'; it has origin, fast_axis"),
        ("fast_pixels = 14\n", "", "detector.panels[0]: has no fast_pixels"),
        ("fast_pixels = 14", "fast_pixels = 0", "detector.panels[0]: panel.fast_pixels: 0: must be at least 1"),
        ("shape = [\n    11,", "shape = [\n    12,", "detector.panels[0]: panel.mask: has shape (12, 14), the image (slow, fast) (11, 14)"),
        ('packed = "', 'packed = "!', "detector.panels[0]: panel.mask: is damaged; save the experiment again"),
    ],
)
def test_a_panel_of_a_file_that_cannot_be(before: str, after: str, message: str, tmp_path: Path) -> None:
    head, mark, panels = toml_text(together(masked=True)).partition("[[detector.panels]]")
    assert before in panels
    (tmp_path / "e.toml").write_text(head + mark + panels.replace(before, after, 1))
    with pytest.raises(InputFileError, match=re.escape(message)):
        nbnumba.load_experiment(tmp_path / "e.toml")


@pytest.mark.spec("EXP-30")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast_axis": (0.0, 0.0, 2.0)}, "panel.fast_axis: has the length 2; give a unit vector"),
        ({"slow_axis": (0.0, -0.8, 0.6)}, "panel.slow_axis: is not at right angles to panel.fast_axis"),
        ({"pixel_size": 0.0}, "panel.pixel_size: 0.0 m: must be greater than 0"),
        ({"origin": None}, "panel.origin: needs 3 numbers, got None"),
        ({"mask": np.ones((4, 3), bool)}, "panel.mask: has shape (4, 3), the panel (slow, fast) (3, 4)"),
        ({"group": 3}, "panel.group: 3 is not a text"),
        ({"sensor_material": 3}, "panel.sensor_material: 3 is not a chemical formula such as Si or CdTe"),
        ({"mask": np.ones(3)}, "panel.mask: must be a [slow, fast] array of true and false, not float64 (3,)"),
    ],
)
def test_a_panel_that_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        Panel(**{**PANEL, **change})


@pytest.mark.spec("EXP-30")
def test_panels_that_cannot_be() -> None:
    with pytest.raises(ParameterError, match=r"detector\.panels: \(3,\) is not a tuple of Panel"):
        Detector(panels=(3,))
    through = replace(alone(0), detector=Detector(panels=(Panel(**{**PANEL, "origin": (0.0, 0.1, 0.0)}),)))
    with pytest.raises(ParameterError, match=r"panel\.origin: puts the panel's plane through the crystal"):
        simulate(through)
    second = replace(through, detector=Detector(panels=(alone(0).panels[0], replace(through.detector.panels[0], name="right"))))
    with pytest.raises(ParameterError, match=r"^panel right: panel\.origin: puts the panel's plane through the crystal"):
        simulate(second)
    masked = replace(together(), sampling=replace(alone(0).sampling, mask=mask_of(0)))
    with pytest.raises(ParameterError, match=r"sampling\.mask: is of a detector without panels; give each panel its own mask"):
        simulate(masked)


@pytest.mark.spec("EXP-30")
def test_a_panel_along_the_beam() -> None:
    """Its distance is that of its nearest point; its pixels are where they are."""
    side = Panel(
        **{**PANEL, "origin": (0.01, 0.05, -0.002), "fast_axis": (1.0, 0.0, 0.0), "slow_axis": (0.0, 0.0, 1.0), "pixel_size": 1e-3}
    )
    one = replace(alone(0), detector=Detector(panels=(side,)))
    assert one.frame.distance == one.frame.close_distance == pytest.approx(0.05)
    assert (one.frame.beam_fast, one.frame.beam_slow) == pytest.approx((-0.01, 0.002))
    assert np.isfinite(simulate(one).pixels).all()


@pytest.mark.spec("EXP-35")
def test_a_run_names_the_panel_and_refuses_files_of_one_before_it_renders(
    image: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nbnumba.save_experiment(image.experiment, "e.toml")
    assert main(["run", "--config", "e.toml", "-o", "a.nxs"]) == 0
    found = image.statistics
    assert f"at fast {found.maximum_fast}, slow {found.maximum_slow} of panel {found.maximum_panel}; mean" in capsys.readouterr().out
    monkeypatch.setattr("nbnumba.simulation.simulator.simulate", lambda *_, **__: pytest.fail("rendered"))
    assert main(["run", "--config", "e.toml", "-o", "b.nxs", "-o", "b.cbf"]) == 2
    told = "b.cbf: a miniCBF file holds one panel, the image has 3; a .nxs file (-o NAME.nxs) holds all"
    assert capsys.readouterr().err.splitlines()[-1] == f"nbnumba: error: {told}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nxs", "e.toml"]
