"""``nbnumba view`` as a user meets it."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amplitudes.crystals import sf_cif, write_mtz, write_pdb

import nbnumba
from nbnumba.cli.main import main
from nbnumba.formats.read import read_image_file
from nbnumba.formats.smv import read_smv, smv_blocks
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image import png
from nbnumba.image.drawing import Picture
from nbnumba.image.rings import resolution_A
from nbnumba.response.noise import expected_counts

pytestmark = pytest.mark.spec("CLI-15")

CRYSTAL = "-cell 40 50 60 80 95 100 -misset 10 20 30 -N 20"
GEOMETRY = "-lambda 1.2 -distance 80 -pixel 0.4 -detpixels_f 120 -detpixels_s 100 -phi 5 -osc 2 -phisteps 10 -Xbeam 15 -Ybeam 30"
OPTIONS = f"-default_F 100 {CRYSTAL} {GEOMETRY} -oversample 1"


@pytest.fixture(scope="module")
def image() -> nbnumba.Image:
    return nbnumba.simulate(nbnumba.experiment_from_options(OPTIONS))


@pytest.fixture
def files(image: nbnumba.Image, in_tmp_path: Path) -> Path:
    """The image as a raw file, NumPy's and SMV."""
    image.float32.tofile("a.bin")
    np.save("a.npy", image.pixels)
    np.savez("a.npz", one=image.pixels, two=image.pixels[:50])
    Path("a.img").write_bytes(b"".join(smv_blocks(image.experiment, expected_counts(image, 0.0, 40.0))))
    return in_tmp_path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """Pictures in place of which a mark is written."""
    found: list[Picture] = []

    def keep(picture: Picture, asked: str) -> tuple[bytes, int]:
        found.append(picture)
        return b"drawn", len(picture.labels)

    monkeypatch.setattr(png, "png_of", keep)
    return found


def view(*words: str, code: int = 0) -> None:
    assert main(["view", *words]) == code


def test_a_picture_is_written_beside_the_working_folders_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view("a.img", "--zoom", "60", "50", "40", "--labels", "5", *CRYSTAL.split(), "--rings", "8,6", "--title", "Title")
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert out == "40 x 40 pixels (slow x fast), 5 of 5 labels; wrote a.png\n"
    assert err == ""


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["a.bin", "--shape", "100", "120"], "a.png"),
        (["a.npz:one"], "a_one.png"),
        (["a.npy", "-o", "b.png"], "b.png"),
        (["a.npy", "--output=c.PNG"], "c.PNG"),
        (["a.bin", *OPTIONS.split()], "a.png"),
    ],
)
def test_what_is_read_and_where_it_is_written(files: Path, drawn: list[Picture], image: nbnumba.Image, words: list[str], name: str) -> None:
    view(*words)
    assert Path(name).read_bytes() == b"drawn"
    np.testing.assert_allclose(drawn[0].pixels, image.pixels, rtol=1e-6)
    assert drawn[0].unit == "photons"
    assert drawn[0].scale == "log"
    assert drawn[0].window is None


def test_the_geometry_is_the_options_or_the_files(files: Path, drawn: list[Picture], image: nbnumba.Image) -> None:
    view("a.img")
    view("a.img", *CRYSTAL.split(), "--labels", "3")
    view("a.npy", *OPTIONS.split(), "--labels", "3")
    view("a.npy")
    view("a.img", "-distance", "160")
    own = exposure_of(image.experiment)
    for picture in drawn[:3]:
        assert picture.exposure is not None
        assert picture.exposure.origin == pytest.approx(own.origin, rel=1e-5)
        assert picture.exposure.wavelength == pytest.approx(1.2e-10)
        assert (picture.exposure.phi_start, picture.exposure.oscillation) == pytest.approx((own.phi_start, own.oscillation))
        assert picture.title.endswith(": 1.2 Å, 80 mm, φ 5 to 7°")
    assert drawn[1].labels
    assert [label.text for label in drawn[1].labels] == [label.text for label in drawn[2].labels]
    assert drawn[3].exposure is None
    assert drawn[3].title == "a.npy"
    moved = drawn[4].exposure
    assert moved is not None
    assert moved.distance == pytest.approx(0.16)
    assert (moved.wavelength, moved.pixel_size) == (pytest.approx(1.2e-10), pytest.approx(4e-4))


@pytest.mark.parametrize("more", ["", "-twotheta 15", "-xds -ORGX 40 -ORGY 30", "-twotheta 15 --quirk swung-distance=off", "-adxv"])
def test_the_geometry_of_an_smv_header_is_that_of_its_image(in_tmp_path: Path, image: nbnumba.Image, more: str) -> None:
    from nbnumba.cli.sides import from_words

    experiment = from_words("", f"{OPTIONS} {more}".split()).experiment()
    Path("b.img").write_bytes(b"".join(smv_blocks(experiment, expected_counts(image, 1.0, 0.0))))
    found = read_image_file("b.img").exposure
    assert found is not None
    fast, slow = np.arange(0.0, 120.0, 30.0), np.arange(0.0, 100.0, 30.0)
    np.testing.assert_allclose(resolution_A(found, fast, slow), resolution_A(exposure_of(experiment), fast, slow), rtol=2e-4)


def test_an_smv_header_of_another_program(in_tmp_path: Path) -> None:
    header = (
        "{\nHEADER_BYTES=  512;\nSIZE1=4;\nSIZE2=3;\nPIXEL_SIZE=0.1;\nDISTANCE=100;\nBEAM_CENTER_X=0.15;\nBEAM_CENTER_Y=0.25;\nPHI=1;\n"
    )
    for more, number in (("OSC_START=2;\nWAVELENGTH=1.5;\nOSC_RANGE=0.5;\n", 2.0), ("", 1.0)):
        Path("a.img").write_bytes((header + more + "}").ljust(512).encode() + bytes(24))
        found = read_image_file("a.img").exposure
        assert found is not None
        assert found.beam_centre == pytest.approx((2.5, 1.5))
        assert found.distance == pytest.approx(0.1)
        assert np.degrees(found.phi_start) == pytest.approx(number)
        assert (found.wavelength is None) == (not more)
    for left_out in ("PIXEL_SIZE", "DISTANCE", "BEAM_CENTER_X"):
        Path("a.img").write_bytes((header.replace(left_out, "OTHER") + "}").ljust(512).encode() + bytes(24))
        assert read_image_file("a.img").exposure is None
    Path("a.img").write_bytes((header.replace("=100", "=-1") + "}").ljust(512).encode() + bytes(24))
    assert read_image_file("a.img").problem == "DISTANCE = -1 is not greater than 0"
    assert read_smv("a.img").pixels.shape == (3, 4)


@pytest.mark.parametrize(
    ("words", "window"),
    [
        (["--zoom", "60", "50", "11"], (55, 65, 45, 55)),
        (["--zoom", "60.4", "50", "1"], (60, 60, 50, 50)),
        (["--zoom", "0", "99", "10"], (0, 5, 95, 99)),
        (["--region", "3", "9", "-5", "400"], (3, 9, 0, 99)),
    ],
)
def test_windows(files: Path, drawn: list[Picture], words: list[str], window: tuple[int, ...]) -> None:
    view("a.npy", *words)
    assert drawn[0].window == window


def test_scales_and_rings(files: Path, drawn: list[Picture]) -> None:
    view("a.img", "--linear", "--range", "-5", "100", "--rings", "auto")
    view("a.img", "--range", "5", "100", "--log", "--rings", "none")
    view("a.img", "--rings", "4,3.5")
    assert [(p.scale, p.limits, p.rings) for p in drawn] == [
        ("linear", (-5.0, 100.0), None),
        ("log", (5.0, 100.0), []),
        ("log", None, [4.0, 3.5]),
    ]
    assert {p.unit for p in drawn} == {"counts"}


def test_a_difference(files: Path, drawn: list[Picture], image: nbnumba.Image) -> None:
    np.save("b.npy", image.pixels + 2.0)
    view("b.npy", "--minus", "a.bin", "--range", "-3", "3")
    np.testing.assert_allclose(drawn[0].pixels, 2.0, atol=1e-6 * image.pixels.max())
    assert (drawn[0].scale, drawn[0].limits, drawn[0].title) == ("difference", (-3.0, 3.0), "b.npy − a.bin")


def test_labels_of_a_saved_experiment(files: Path, drawn: list[Picture], image: nbnumba.Image) -> None:
    from nbnumba.options.configuration import toml_text

    Path("saved.toml").write_text(toml_text(image.experiment, files))
    view("a.bin", "--config", "saved.toml", "--labels", "4")
    view("a.npy", *OPTIONS.split(), "-hkl", "nowhere.hkl", "--labels", "4")  # no amplitudes are needed
    assert [label.text for label in drawn[0].labels] == [label.text for label in drawn[1].labels]
    assert len(drawn[0].labels) == 4


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("option", ["--model", "--mtz", "--sf-cif"])
def test_labels_by_the_cell_of_a_file(files: Path, drawn: list[Picture], option: str, wrong: bool) -> None:
    write_pdb(files / "a.pdb")
    write_mtz(files / "a.mtz", cell=(20, 23, 28, 90, 90, 90), F="F")
    (files / "a.cif").write_text(sf_cif("F_meas_au", "1 2 3 10\n0 0 2 20\n").replace("length_c 27", "length_c 28"))
    file = {"--model": "a.pdb", "--mtz": "a.mtz", "--sf-cif": "a.cif"}[option]
    turned = [*GEOMETRY.split(), *"-misset 10 20 30 -N 20 --labels 4".split()]
    view("a.npy", *turned, "-cell", *"20 23 28 90 90 90".split())
    view("a.npy", *turned, option, file, *(["-cell", "40"] if wrong else []))
    cells = [[label.text for label in picture.labels] for picture in drawn]
    assert len(cells[0]) > 0
    assert (cells[0] == cells[1]) != wrong


@pytest.mark.parametrize("rings", ["auto", "4,3"])
def test_rings_without_a_geometry(files: Path, drawn: list[Picture], capsys: pytest.CaptureFixture[str], rings: str) -> None:
    view("a.npy", "--rings", rings)
    note = "nbnumba: warning: no rings: a.npy does not state its geometry; give the options of the experiment\n"
    assert capsys.readouterr().err == note
    view("a.npy")
    view("a.npy", "--rings", "none")
    assert capsys.readouterr().err == ""


def test_notes_of_options_are_said(files: Path, drawn: list[Picture], capsys: pytest.CaptureFixture[str]) -> None:
    view("a.npy", *OPTIONS.split(), "-printout")
    assert capsys.readouterr().err == "nbnumba: warning: -printout: changes nothing: pixels are not printed\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "view: give one image file; got 0"),
        (["a.npy", "a.bin"], "view: give one image file; got 2 (a difference is --minus OTHER)"),
        (["nowhere.npy"], "nowhere.npy: cannot be read: No such file or directory"),
        (["a.bin"], "a.bin: has 12000 float32 pixels, which are not square; give --shape SLOW FAST"),
        (["a.npy", "--number", "2"], "a.npy: holds one image; there is no number 2"),
        (["a.npy", "--zoom", "500", "5", "10"], "--zoom 500 5 10: holds no pixel of the 100 x 120 image (slow x fast)"),
        (["a.npy", "--region", "0", "9", "100", "120"], "--region 0 9 100 120: holds no pixel of the 100 x 120 image (slow x fast)"),
        (["a.npy", "--region", "9", "0", "0", "9"], "--region 9 0 0 9: needs first and last fast, then first and last slow pixel"),
        (["a.npy", "--zoom", "5", "5", "0"], "--zoom 5 5 0: needs a pixel, and a size of at least 1"),
        (["a.npy", "--zoom", "nan", "5", "9"], "--zoom nan 5 9: needs a pixel, and a size of at least 1"),
        (["a.npy", "--zoom", "5", "5", "9", "--region", "0", "9", "0", "9"], "--zoom and --region: give one of them"),
        (["a.npy", "--zoom", "5", "5"], "--zoom: needs 3 values"),
        (["a.npy", "--range", "5", "5"], "--range 5 5: needs two numbers, the lower first"),
        (["a.npy", "--range", "nan", "5"], "--range nan 5: needs two numbers, the lower first"),
        (["a.npy", "--range", "0", "5"], "--range 0 5: a logarithmic scale begins above 0; give --linear, or a larger number"),
        (["a.npy", "--minus", "a.bin", "--range", "0", "5"], "--range 0 5: the scale of a difference is symmetric; give --range -5 5"),
        (["a.npy", "--minus", "a.bin", "--log"], "--log: a difference has a scale of its own; leave out --log or --minus"),
        (["a.npy", "--minus", "a.npz:two"], "--minus a.npz:two: the images have 100 x 120 and 50 x 120 pixels (slow x fast)"),
        (["a.npy", "--minus", "nowhere"], "nowhere: cannot be read: No such file or directory"),
        (["a.npy", "--rings", "4,x"], "--rings 4,x: needs resolutions in A, such as 4,3,2.5, or auto, or none"),
        (["a.npy", "--rings", "0"], "--rings 0: needs resolutions in A, such as 4,3,2.5, or auto, or none"),
        (
            ["a.npy", "--labels", "5"],
            "--labels: needs a crystal; give an orientation matrix (-mat), or a cell (-cell, --model, --mtz, --sf-cif) and -misset",
        ),
        (["a.img", "--labels", "5", "-lambda", "1"], "--labels: needs a crystal; give an orientation matrix (-mat), or a cell (-cell, "),
        (["a.npy", "-detpixels", "50"], "the options describe 50 x 50 pixels (slow x fast); a.npy has 100 x 120"),
        (["a.npy", "-pixel", "0"], "-pixel 0: must be greater than 0 mm"),
        (["a.npy", "-o", "a.npy"], "a.npy: is an input of this run; give the output another name"),
        (["a.npy", "--minus", "a.bin", "-o", "a.bin"], "a.bin: is an input of this run; give the output another name"),
        (["a.npz:one", "-o", "a.npz"], "a.npz: is an input of this run; give the output another name"),
        (["a.npy", "-o", "b.pdf"], "--output b.pdf: pictures are PNG files; give a name that ends in .png"),
        (["a.npy", "-o", "no/b.png"], "no/b.png: cannot be written: the folder no does not exist"),
        (["a.npy", "--lables", "3"], "--lables: no such option; the nearest are --labels"),
    ],
)
def test_what_cannot_be_drawn(files: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    before = sorted(os.listdir())
    view(*words, code=2)
    err = capsys.readouterr().err
    assert err.startswith("nbnumba: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("backend", ["", "agg", "tkagg"])
def test_no_window_without_a_display(files: Path, backend: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}
    environment |= {"MPLBACKEND": backend} if backend else {}
    command = [sys.executable, "-m", "nbnumba.cli.main", "view", "a.npy", "--show"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    message = "--show: matplotlib finds no display, or no toolkit for windows; leave --show out, which writes a PNG file\n"
    assert done.stderr == f"nbnumba: error: {message}"
    assert not Path("a.png").exists()


def test_a_window_takes_the_place_of_the_file(files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(png, "windows", lambda: "pyplot")
    monkeypatch.setattr(png, "show", lambda picture, pyplot: shown.append(pyplot) or 0)
    view("a.npy", "--show")
    assert shown == ["pyplot"]
    assert capsys.readouterr().out == "100 x 120 pixels (slow x fast)\n"
    assert not Path("a.png").exists()
    view("a.npy", "--show", "-o", "b.png")
    assert Path("b.png").is_file()


def test_a_window_is_drawn_in_as_a_file_is() -> None:
    from matplotlib import pyplot

    before = pyplot.get_backend()
    pyplot.switch_backend("agg")
    try:
        assert png.show(Picture(pixels=np.ones((9, 9)), title="Title"), pyplot) == 0
        assert pyplot.gcf().axes[0].get_title() == "Title"
    finally:
        pyplot.close("all")
        pyplot.switch_backend(before)


@pytest.mark.parametrize(("words", "asked"), [([], "view"), (["--show"], "--show")])
def test_without_matplotlib(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], asked: str
) -> None:
    original = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return original(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    view("a.npy", *words, code=2)
    assert capsys.readouterr().err == f"nbnumba: error: {asked}: needs matplotlib; install it with: pip install 'nbnumba[plot]'\n"
