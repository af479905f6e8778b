"""Image headers, masks and dumps as input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import InputFileError
from nbnumba.inputs.dump import dump_blocks, read_dump
from nbnumba.inputs.smv import read_smv
from nbnumba.options.arguments import split_arguments
from nbnumba.options.experiment import apply_all

HEADER = """{
HEADER_BYTES=512;
DIM=2;
BYTE_ORDER=%s_endian;
TYPE=unsigned_short;
SIZE1=6;
SIZE2=4;
PIXEL_SIZE=0.2;
DISTANCE=150;
WAVELENGTH=0.9;
BEAM_CENTER_X=0.5;
BEAM_CENTER_Y=0.3;
CLOSE_DISTANCE=140;
PHI=3;
OSC_RANGE=0.5;
TWOTHETA=7;
}\f"""
PIXELS = np.arange(24, dtype=np.uint16).reshape(4, 6)


def write(path: Path, order: str = "little", text: str = HEADER, pixels: np.ndarray = PIXELS) -> Path:
    header = text % order if "%s" in text else text
    path.write_bytes(header.ljust(512).encode() + pixels.astype(">u2" if order == "big" else "<u2").tobytes())
    return path


def experiment(options: str, preset: str = "reference") -> nbnumba.Experiment:
    return apply_all(split_arguments(f"-default_F 1 -cell 50 {options}".split())[0], None, nbnumba.Model(preset=preset)).experiment()


@pytest.mark.spec("FMT-13")
@pytest.mark.parametrize("order", ["little", "big"])
def test_pixels_in_either_byte_order(tmp_path: Path, order: str) -> None:
    image = read_smv(write(tmp_path / "a.img", order))
    np.testing.assert_array_equal(image.pixels, PIXELS)
    expected = PIXELS if order == "little" else PIXELS.byteswap()
    np.testing.assert_array_equal(image.swapped, expected)


@pytest.mark.spec("FMT-13")
def test_an_image_header_gives_defaults_and_options_win(tmp_path: Path) -> None:
    file = write(tmp_path / "a.img")
    found = experiment(f"-lambda 1.5 -img {file}")
    assert found.detector.shape == (4, 6)
    assert found.detector.pixel_size == pytest.approx(2e-4)
    assert found.beam.wavelength == pytest.approx(1.5e-10)
    assert (found.detector.beam_x, found.detector.beam_y) == pytest.approx((5e-4, 3e-4))
    assert found.goniometer.phi_start == pytest.approx(np.radians(3))
    # The last keyword that ends in DISTANCE is CLOSE_DISTANCE.
    assert found.detector.distance == pytest.approx(0.14)
    assert found.detector.close_distance == pytest.approx(0.14)
    assert found.detector.twotheta == 0.0


@pytest.mark.spec("FMT-13")
def test_physics_reads_headers_as_they_are_meant(tmp_path: Path) -> None:
    found = experiment(f"-mask {write(tmp_path / 'm.img')}", "physics")
    assert found.detector.distance == pytest.approx(0.15)
    assert found.detector.twotheta == pytest.approx(np.radians(7))
    assert found.detector.beam_y == pytest.approx(3e-4)


@pytest.mark.spec("FMT-13")
def test_a_mask_flips_its_beam_centre_and_an_image_overrides_it(tmp_path: Path) -> None:
    mask = write(tmp_path / "m.img")
    assert experiment(f"-mask {mask}").detector.beam_y == pytest.approx(8e-4 - 3e-4)
    image = write(tmp_path / "a.img", text=HEADER.replace("BEAM_CENTER_Y=0.3", "BEAM_CENTER_Y=0.1"))
    both = experiment(f"-img {image} -mask {mask}")
    assert both.detector.beam_y == pytest.approx(1e-4)
    np.testing.assert_array_equal(both.sampling.mask, PIXELS != 0)
    assert nbnumba.simulate(both).pixels[0, 0] == 0.0


@pytest.mark.spec("FMT-13")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:100], "HEADER_BYTES = 512 does not fit a file of 100 bytes"),
        (lambda data: data[:-10], "is cut short: 38 bytes of pixels where the header promises 48"),
        (lambda data: b"P5" + data, "is not an SMV image"),
        (lambda data: data.replace(b"SIZE1=6", b"SIZE1=0"), "SIZE1 = 0.0 is not a number of pixels"),
        (lambda data: data.replace(b"SIZE2=4;", b""), "SIZE2 = nothing is not a number of pixels"),
        (lambda data: data.replace(b"CLOSE_DISTANCE=140", b"CLOSE_DISTANCE=abc"), "DISTANCE = 'abc' is not a number"),
        (lambda data: data.replace(b"=512", b"=-12"), "HEADER_BYTES = 0 does not fit"),
    ],
)
def test_a_bad_image_is_refused(tmp_path: Path, change, message: str) -> None:
    file = write(tmp_path / "a.img")
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputFileError, match=message):
        experiment(f"-img {file}")


@pytest.mark.spec("FMT-14")
def test_a_dump_gives_back_its_table(tmp_path: Path) -> None:
    hkl, F = np.array([[1, -2, 3], [0, 0, 4]], np.int32), np.array([5.0, 6.5])
    file = tmp_path / "F.bin"
    file.write_bytes(b"".join(dump_blocks(hkl, F, 2.0)))
    found_hkl, found_F = read_dump(file)
    table = {tuple(index): amplitude for index, amplitude in zip(found_hkl.tolist(), found_F.tolist(), strict=True)}
    assert len(table) == 2 * 3 * 2
    assert (table[1, -2, 3], table[0, 0, 4], table[0, 0, 3]) == (5.0, 6.5, 2.0)
    options = f"-cell 50 -N 3 -detpixels 8 -default_F 2 -oversample 1 -dump {file}"
    listed = tmp_path / "p1.hkl"
    listed.write_text("1 -2 3 5\n0 0 4 6.5\n")
    from_list = nbnumba.experiment_from_options(f"{options} -hkl {listed}")
    np.testing.assert_array_equal(nbnumba.simulate(nbnumba.experiment_from_options(options)).pixels, nbnumba.simulate(from_list).pixels)


@pytest.mark.spec("FMT-14")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-8], "bytes of amplitudes where its limits promise"),
        (lambda data: b"1 2 3\n\f", "is not a structure factor dump"),
        (lambda data: b"2 1 0 0 0 0\n\f", "make no table"),
        (lambda data: data[:-216] + np.full(27, np.nan).tobytes(), "not finite"),
    ],
)
def test_a_bad_dump_is_refused(tmp_path: Path, change, message: str) -> None:
    file = tmp_path / "F.bin"
    file.write_bytes(change(b"".join(dump_blocks(np.array([[0, 0, 0], [1, 1, 1]], np.int32), np.array([1.0, 2.0]), 0.0))))
    with pytest.raises(InputFileError, match=message):
        read_dump(file)


@pytest.mark.spec("FMT-14")
def test_a_dump_is_written_only_where_it_is_named(in_tmp_path: Path) -> None:
    from nbnumba.cli.main import main

    Path("p1.hkl").write_text("1 2 3 4\n")
    Path("Fdump.bin").write_bytes(b"left over")
    words = "run -hkl p1.hkl -cell 50 -N 3 -detpixels 8 -oversample 1 -nonoise -nopgm"
    assert main(words.split()) == 0
    assert Path("Fdump.bin").read_bytes() == b"left over"
    assert main(f"{words} -dump F.bin".split()) == 0
    assert read_dump("F.bin")[1].tolist() == [4.0]


@pytest.mark.spec("FMT-14", "PRE-4")
def test_the_implicit_dump_is_a_quirk_that_is_switched_on(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nbnumba.cli.main import main

    Path("p1.hkl").write_text("0 0 0 4\n1 2 3 4\n")
    words = "run -cell 50 -N 3 -detpixels 8 -oversample 1 -nonoise -nopgm --quirk implicit-dump=on".split()
    assert main([*words, "-hkl", "p1.hkl"]) == 0
    with_list = Path("floatimage.bin").read_bytes()
    assert read_dump("Fdump.bin")[1].max() == 4.0
    assert main(words) == 0
    assert Path("floatimage.bin").read_bytes() == with_list
    assert capsys.readouterr().err.count("quirk implicit-dump: ") == 2
    assert main(words[:-2]) == 2


@pytest.mark.spec("PRE-4", "FMT-13")
def test_header_reading_is_a_quirk_and_is_said(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nbnumba.cli.main import main

    file = write(in_tmp_path / "a.img")
    words = f"explain -default_F 1 -cell 50 -img {file}".split()
    assert main(words) == 0
    assert "quirk header-reading" in capsys.readouterr().out
    assert main([*words, "--quirk", "header-reading=off"]) == 0
    out = capsys.readouterr().out
    assert "quirk header-reading" not in out
    assert "twotheta" in out or "pix0_mm" in out
