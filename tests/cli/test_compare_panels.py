"""``nbnumba compare`` of images of several panels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_panels import MODULES

import nbnumba
from nbnumba import Image
from nbnumba.cli.main import main
from nbnumba.compare import picture
from nbnumba.image.flat_view import flat_view

pytestmark = pytest.mark.spec("CLI-85")

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -misset 10 20 30 -N 6 -lambda 1.3 -oversample 1 -osc 2 -phisteps 3"
OPTIONS = f"{CRYSTAL} --detector ./four.toml -distance 60"


@pytest.fixture
def image(in_tmp_path: Path) -> Image:
    """What OPTIONS render, in a folder with detectors of four panels and of two."""
    Path("four.toml").write_text(MODULES.format(rows=2))
    Path("two.toml").write_text(MODULES.format(rows=1))
    return nbnumba.simulate(nbnumba.experiment_from_options(OPTIONS))


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is drawn."""
    drawn: list[tuple[np.ndarray, np.ndarray]] = []

    def keep(a: np.ndarray, b: np.ndarray, names: tuple[str, str]) -> bytes:
        drawn.append((a, b))
        return b"drawn"

    monkeypatch.setattr(picture, "picture", keep)
    return drawn


def compared(*words: str) -> dict[str, Any]:
    assert main(["compare", *words]) == 0
    return json.loads(Path("comparison/summary.json").read_text())


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compare", *words]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_presets(image: Image, pictures: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = compared("--presets", "reference", "c-parity", *OPTIONS.split())
    assert found["explanation"]["switches"] == {"phi-carryover": True}
    a, b = (nbnumba.simulate(nbnumba.experiment_from_options(f"{OPTIONS} --preset {preset}")) for preset in ("reference", "c-parity"))
    apart = [np.abs(ours.float32 - theirs.float32.astype(float)) for ours, theirs in zip(a.panels, b.panels, strict=True)]
    panel = max(range(4), key=lambda n: apart[n].max())
    where = np.unravel_index(apart[panel].argmax(), (10, 12))
    assert found["largest_difference_panel"] == panel
    assert found["largest_difference_slow_fast"] == list(where)
    name = a.experiment.panels[panel].name
    assert f" of the maximum) at slow {where[0]}, fast {where[1]} of panel {panel} ({name})\n" in capsys.readouterr().out
    assert found["largest_difference"] == pytest.approx(apart[panel].max())
    assert found["rmse"] == pytest.approx(np.sqrt(np.square(apart).mean()))
    assert found["correlation"] == pytest.approx(np.corrcoef(a.float32, b.float32)[0, 1])
    assert found["sum_a"] == pytest.approx(a.float32.sum(dtype=float))
    assert found["maximum_b"] == b.float32.max()
    assert [one["sum_b"] for one in found["panels"]] == pytest.approx([one.float32.sum(dtype=float) for one in b.panels])
    assert [one["name"] for one in found["panels"]] == [one.name for one in a.experiment.panels]
    assert found["peaks"]["in_a"] == sum(one["peaks"]["in_a"] for one in found["panels"]) > 4
    for drawn, rendered in zip(pictures[0], (a, b), strict=True):
        np.testing.assert_allclose(drawn, flat_view(rendered)[0], rtol=1e-6)


def test_option_sets(image: Image) -> None:
    found = compared(OPTIONS, f"{OPTIONS} -N 5")
    assert found["explanation"]["settings"] == {"crystal.cells": [[6, 6, 6], [5, 5, 5]]}
    assert Path("comparison/comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("ending", [".npy", ".tif", ".bin"])
def test_a_file_with_options(ending: str, image: Image, pictures: list[Any]) -> None:
    image.save(f"a{ending}")
    assert compared(f"a{ending}", *OPTIONS.split())["identical"]
    assert compared(f"a{ending}", OPTIONS)["identical"]
    assert pictures[0][0].shape == (23, 28)


def test_pixels_in_one_row(image: Image) -> None:
    np.save("row.npy", image.float32[np.newaxis])
    assert compared("row.npy", *OPTIONS.split())["identical"]


def test_two_files_of_which_one_states_panels(image: Image) -> None:
    image.save("a.nxs")
    image.save("a.npy")
    found = compared("a.npy", "a.nxs")
    assert [one["pixels_slow_fast"] for one in found["panels"]] == [[10, 12]] * 4
    assert found["identical"]


def test_two_files_with_the_options_of_one(image: Image) -> None:
    image.save("a.npy")
    nbnumba.simulate(nbnumba.experiment_from_options(f"{OPTIONS} --preset c-parity")).save("b.npy")
    found = compared("a.npy", "b.npy", *OPTIONS.split())
    assert len(found["panels"]) == 4
    assert found["explanation"]["switches"] == {"phi-carryover": True}


def test_panels_that_are_not_the_same(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    of_two = OPTIONS.replace("four", "two")
    line = refused(capsys, OPTIONS, of_two)
    assert line == "nbnumba: error: the images have different panels: panel 2 is 10 x 12 pixels (slow x fast) of A, none of B"
    np.save("b.npy", np.ones((20, 12)))
    expected = "nbnumba: error: nbnumba has 4 panels, one below the other 40 x 12 pixels (slow x fast); b.npy has 20 x 12"
    assert refused(capsys, "b.npy", *OPTIONS.split()) == expected
    assert not Path("comparison").exists()


def test_panels_too_far_from_the_beam_for_one_picture(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    image.save("a.npy")
    found = compared("a.npy", *OPTIONS.replace("-distance 60", "-distance 1").split())
    assert len(found["panels"]) == 4
    assert "nbnumba: warning: no picture: detector.panels: reach beyond 80 deg from the beam" in capsys.readouterr().err
    assert not Path("comparison/comparison.png").exists()


def test_a_detector_is_not_given_to_an_executable(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    Path("exe").write_text("")
    line = refused(capsys, "--exe", "exe", *OPTIONS.split())
    assert line == "nbnumba: error: --exe exe: takes options of nanoBragg; --detector is none of them"
