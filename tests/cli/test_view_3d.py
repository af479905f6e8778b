"""``nbnumba view --3d`` as a user meets it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from many_panels import sixteen

import nbnumba
from nbnumba import Image
from nbnumba.cli.main import main
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.formats.smv import smv_blocks
from nbnumba.geometry.crystfel_text import geom_text
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image import png
from nbnumba.image.in_space import Setup
from nbnumba.response.noise import expected_counts

pytestmark = pytest.mark.spec("CLI-77")

CRYSTAL = "-cell 40 50 60 80 95 100 -misset 10 20 30"
OPTIONS = f"-default_F 100 {CRYSTAL} -lambda 1.2 -distance 80 -pixel 0.4 -detpixels_f 12 -detpixels_s 10 -phi 5 -osc 2"


@pytest.fixture
def files(in_tmp_path: Path) -> Path:
    """An image in SMV and without a geometry, one of sixteen panels, and the experiment of this."""
    experiment = nbnumba.experiment_from_options(OPTIONS)
    image = Image(np.ones((10, 12)), experiment, {})
    Path("a.img").write_bytes(b"".join(smv_blocks(experiment, expected_counts(image, 0.0, 40.0))))
    np.save("a.npy", image.pixels)
    still = sixteen()
    Path("s.nxs").write_bytes(nxmx_bytes([(np.ones(still.frame_shape, np.int32), still)]))
    Path("s.expt").write_text(expt_text(still, np.eye(3) * 2e8))
    return in_tmp_path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Setup]:
    """What is drawn, in place of which a mark is written."""
    found: list[Setup] = []

    def keep(setup: Setup, asked: str) -> tuple[bytes, int]:
        found.append(setup)
        return b"drawn", 3

    monkeypatch.setattr(png, "png_of", keep)
    return found


def view(*words: str, code: int = 0) -> None:
    assert main(["view", "--3d", *words]) == code


def test_a_picture_is_written(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view("s.nxs")
    assert Path("s_3d.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr() == ("16 panels, 4 names; wrote s_3d.png\n", "")


@pytest.mark.parametrize(
    ("words", "name", "title"),
    [
        ("a.img", "a_3d.png", "a.img: 1.2 Å, 80 mm, φ 5 to 7°"),
        (f"a.img {CRYSTAL}", "a_3d.png", "a.img: 1.2 Å, 80 mm, φ 5 to 7°"),
        (f"a.npy -o b.png {OPTIONS}", "b.png", "a.npy: 1.2 Å, 80 mm, φ 5 to 7°"),
        (OPTIONS, "experiment_3d.png", "1.2 Å, 80 mm, φ 5 to 7°"),
        (f"{OPTIONS} --title Mine", "experiment_3d.png", "Mine"),
    ],
)
def test_what_is_drawn_of_one_panel(words: str, name: str, title: str, files: Path, drawn: list[Setup]) -> None:
    view(*words.split())
    assert Path(name).read_bytes() == b"drawn"
    (setup,) = drawn
    expected = exposure_of(nbnumba.experiment_from_options(OPTIONS)).imgcif
    np.testing.assert_allclose(setup.exposure.origin, expected.origin, atol=1e-6)
    assert setup.exposure.spindle_axis == pytest.approx((1.0, 0.0, 0.0))
    assert setup.title == title
    assert (setup.cell is None) == (words == "a.img")
    if setup.cell is not None:
        np.testing.assert_allclose(np.linalg.norm(setup.cell, axis=1), [40e-10, 50e-10, 60e-10], rtol=1e-9)


def test_panels_of_an_experiment(files: Path, drawn: list[Setup], capsys: pytest.CaptureFixture[str]) -> None:
    view("--expt", "s.expt")
    view("--detector", "agipd-1m", "-distance", "100", "-hkl", "nowhere.hkl", "-printout")
    view("s.nxs", "--detector", "jungfrau-4m", "-distance", "100")
    assert [len(setup.exposure.panels) for setup in drawn] == [16, 16, 8]
    origins = [[panel.origin for panel in exposure.panels] for exposure in (drawn[0].exposure, sixteen())]
    np.testing.assert_allclose(*origins, atol=1e-9)
    assert drawn[0].cell is not None
    np.testing.assert_allclose(drawn[0].cell, np.eye(3) * 5e-9, atol=1e-15)
    assert drawn[1].cell is None
    assert capsys.readouterr().err == "nbnumba: warning: -printout: changes nothing: pixels are not printed\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "view --3d: give one image file, or the options of an experiment; got 0"),
        ("a.img s.nxs", "view --3d: give one image file, or the options of an experiment; got 2"),
        ("nowhere.img", "nowhere.img: cannot be read: No such file or directory"),
        ("a.npy", "a.npy: does not state its geometry; give the options of the experiment"),
        ("s.nxs -lambda 1", "s.nxs: has 16 panels in their places; leave the options of an experiment out"),
        ("s.expt", "s.expt: is no image; as the description of an experiment it is taken with --expt s.expt"),
        ("s.nxs --zoom 1 1 3", "--zoom: is of pixels, of which --3d shows none; leave one of them out"),
        ("s.nxs --linear", "--log, --linear: is of pixels, of which --3d shows none; leave one of them out"),
        ("s.nxs --minus a.img", "--minus: is of pixels, of which --3d shows none; leave one of them out"),
        ("s.nxs --number 2", "s.nxs: has images 1 to 1, not 2"),
        (f"{OPTIONS} --number 2", "--number: is of an image file, and none is given"),
        ("a.img --dataset x", "--dataset x: a.img is not an HDF5 file"),
        ("a.img -o b.pdf", "--output b.pdf: pictures are PNG files; give a name that ends in .png"),
        ("a.img -o a.img", "a.img: is an input of this run; give the output another name"),
        ("--expt s.expt -o s.expt", "s.expt: is an input of this run; give the output another name"),
    ],
)
def test_what_cannot_be_drawn(words: str, message: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir())
    view(*words.split(), code=2)
    err = capsys.readouterr().err
    assert err.startswith(f"nbnumba: error: {message}")
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_a_window_takes_the_place_of_the_file(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(png, "windows", lambda: "pyplot")
    monkeypatch.setattr(png, "show", lambda setup, pyplot: 4)
    view("s.nxs", "--show")
    assert capsys.readouterr().out == "16 panels, 4 names\n"
    assert not Path("s_3d.png").exists()


@pytest.mark.spec("CLI-86")
@pytest.mark.parametrize(
    "words",
    ["--detector jungfrau-1m -distance 100", "--expt bare.expt", "--geom a.geom", "s.nxs --expt bare.expt", "-distance 100"],
)
def test_no_crystal_is_needed(words: str, files: Path, drawn: list[Setup]) -> None:
    Path("bare.expt").write_text(expt_text(sixteen(), None))
    Path("a.geom").write_text(geom_text(nbnumba.experiment_from_options(OPTIONS)))
    view(*words.split())
    assert drawn[0].cell is None
