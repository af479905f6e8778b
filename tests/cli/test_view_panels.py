"""``nbnumba view`` of pixels of several panels that options describe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from many_panels import MODULES, sixteen

import nbnumba
from nbnumba import Experiment, Image
from nbnumba.cli.main import main
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.exposure import at_beam
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.prediction import predicted_spots
from nbnumba.image import png
from nbnumba.image.drawing import Picture
from nbnumba.image.flat_view import flat_view, seen_at

pytestmark = pytest.mark.spec("CLI-79")

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -misset 10 20 30 -N 8"
FOUR = MODULES.format(rows=2)
TILTED = sixteen((20, 24), 5e-4, 0.06, tilt=0.2)


@pytest.fixture
def drawn(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """Pictures in place of which a mark is written, in a folder with the description of a detector of tilted panels."""
    found: list[Picture] = []

    def keep(picture: Picture, asked: str) -> tuple[bytes, int]:
        found.append(picture)
        return b"drawn", len(picture.labels)

    monkeypatch.setattr(png, "png_of", keep)
    Path("t.expt").write_text(expt_text(TILTED, np.eye(3) * 2e8))
    return found


def tilted(options: str = "") -> Experiment:
    return nbnumba.experiment_from_options(f"{CRYSTAL} --expt t.expt {options}")


def view(*words: str, code: int = 0) -> None:
    assert main(["view", *words]) == code


@pytest.mark.parametrize("ending", [".npy", ".tif", ".bin"])
def test_pixels_without_a_geometry_are_on_the_panels_that_options_describe(ending: str, drawn: list[Picture]) -> None:
    experiment = tilted()
    image = Image(np.random.default_rng(1).random(16 * 20 * 24) + 1.0, experiment, {})
    image.save(f"a{ending}")
    nbnumba.save_experiment(experiment, "saved.toml")
    expected, plane = flat_view(image)
    view(f"a{ending}", "--expt", "t.expt")
    view(f"a{ending}", "--config", "saved.toml")
    for picture in drawn:
        np.testing.assert_allclose(picture.pixels, expected, rtol=1e-6)
        assert picture.exposure is not None
        assert picture.exposure.origin == pytest.approx(plane.origin, abs=1e-12)
    view(f"a{ending}", "--expt", "t.expt", "--minus", f"a{ending}")
    assert drawn[-1].pixels.shape == expected.shape
    assert not drawn[-1].pixels.any()


def test_a_detector_by_name(drawn: list[Picture]) -> None:
    Path("four.toml").write_text(FOUR)
    np.save("a.npy", np.repeat([1.0, 2.0, 3.0, 4.0], 10)[:, np.newaxis] * np.ones(12))
    view("a.npy", "--detector", "./four.toml", "-distance", "100", "-lambda", "1")
    expected = np.zeros((23, 28))
    for number, (row, column) in enumerate(np.ndindex(2, 2), 1):
        expected[13 * row : 13 * row + 10, 16 * column : 16 * column + 12] = number
    np.testing.assert_array_equal(drawn[0].pixels, expected)


def test_panels_of_different_widths_in_one_row(drawn: list[Picture]) -> None:
    experiment = tilted()
    narrow = replace(experiment.panels[1], fast_pixels=10)
    mixed = replace(experiment, detector=replace(experiment.detector, panels=(experiment.panels[0], narrow, *experiment.panels[2:])))
    image = Image(np.random.default_rng(1).random(16 * 20 * 24 - 20 * 14) + 1.0, mixed, {})
    nbnumba.save_experiment(mixed, "mixed.toml")
    image.save("a.npy")
    view("a.npy", "--config", "mixed.toml")
    np.testing.assert_allclose(drawn[0].pixels, flat_view(image)[0], rtol=1e-6)


def test_options_come_before_what_a_file_says_of_panels(drawn: list[Picture]) -> None:
    """As after DIALS has refined where the panels are."""
    elsewhere = replace(TILTED, panels=tuple(replace(p, origin=(*p.origin[:2], p.origin[2] * 1.1)) for p in TILTED.panels))
    counts = np.random.default_rng(1).integers(1, 99, TILTED.frame_shape).astype(np.int32)
    Path("s.nxs").write_bytes(nxmx_bytes([(counts, elsewhere)]))
    view("s.nxs")
    view("s.nxs", "--expt", "t.expt")
    distances = [picture.exposure.distance for picture in drawn if picture.exposure is not None]
    assert distances == pytest.approx([at_beam(exposure.by_panel).distance for exposure in (elsewhere, TILTED)])
    assert distances[0] > 1.1 * distances[1]
    assert drawn[0].pixels.shape != drawn[1].pixels.shape or (drawn[0].pixels != drawn[1].pixels).any()


def test_labels_are_where_the_spots_of_panels_are_seen(drawn: list[Picture]) -> None:
    experiment = tilted()
    image = nbnumba.simulate(experiment)
    image.save("a.npy")
    view("a.npy", *CRYSTAL.split(), "--expt", "t.expt", "--labels", "8")
    (picture,) = drawn
    plane, spots = picture.exposure, predicted_spots(experiment)
    assert plane is not None
    assert len(picture.labels) == 8
    seen = seen_at(plane, exposure_of(experiment).by_panel, spots)
    names = {f"{h} {k} {l}": n for n, (h, k, l) in enumerate(spots.hkl)}
    pixels = np.pad(picture.pixels, 2)
    for label in picture.labels:
        n = names[label.text]
        assert (label.fast, label.slow) == pytest.approx((seen.fast[n], seen.slow[n]))
        panel = experiment.panels[spots.panel[n]]
        there = panel.origin + panel.pixel_size * (np.array([spots.fast[n], spots.slow[n]]) + 0.5) @ [panel.fast_axis, panel.slow_axis]
        here = plane.origin + plane.pixel_size * (np.array([label.fast, label.slow]) + 0.5) @ [plane.fast_axis, plane.slow_axis]
        np.testing.assert_allclose(np.cross(here, there), 0.0, atol=1e-12)
        around = pixels[round(label.slow) : round(label.slow) + 5, round(label.fast) : round(label.fast) + 5]
        assert around.max() > 20.0 * np.median(picture.pixels[picture.pixels > 0.0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("b.npy --expt t.expt", "the options describe 16 panels, one below the other 320 x 24 pixels (slow x fast); b.npy has 10 x 12"),
        (
            "a.npy --expt t.expt --minus b.npy",
            "the options describe 16 panels, one below the other 320 x 24 pixels (slow x fast); b.npy has 10 x 12",
        ),
        ("s.bin --expt t.expt", "s.bin: has 120 float32 pixels, which are not 320 x 24"),
    ],
)
def test_other_pixels_than_the_panels_have(words: str, message: str, drawn: list[Picture], capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", np.ones((320, 24)))
    np.save("b.npy", np.ones((10, 12)))
    np.ones(120, np.float32).tofile("s.bin")
    view(*words.split(), code=2)
    err = capsys.readouterr().err
    assert err.startswith(f"nbnumba: error: {message}")
    assert err.count("\n") == 1
    assert not drawn


@pytest.mark.spec("CLI-86")
def test_no_crystal_is_needed(drawn: list[Picture], capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", np.ones(TILTED.frame_shape))
    Path("bare.expt").write_text(expt_text(TILTED, None))
    Path("four.toml").write_text(FOUR)
    np.save("f.npy", np.ones((40, 12)))
    view("a.npy", "--expt", "bare.expt")
    np.testing.assert_array_equal(drawn[0].pixels, flat_view(Image(np.ones(16 * 20 * 24), tilted(), {}))[0])
    view("f.npy", "--detector", "./four.toml", "-distance", "110")
    assert drawn[1].exposure is not None
    assert drawn[1].exposure.distance == pytest.approx(0.11)
    view("f.npy", "--detector", "./four.toml", "-distance", "110", "--labels", "3", code=2)
    assert capsys.readouterr().err.startswith("nbnumba: error: --labels: needs a crystal; ")
