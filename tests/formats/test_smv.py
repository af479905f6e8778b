"""Image headers, masks and dumps as input."""

from __future__ import annotations

import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from fabio.dtrekimage import DtrekImage

import nbnumba
from nbnumba import InputFileError
from nbnumba.amplitudes.dump import dump_blocks, read_dump
from nbnumba.errors import InputFileWarning
from nbnumba.formats.read import is_counts, read_image_file
from nbnumba.formats.smv import exposure_of_smv, read_smv
from nbnumba.geometry.of_experiment import exposure_of
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
    np.testing.assert_array_equal(read_smv(write(tmp_path / "a.img", order)).pixels, PIXELS)


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
    assert found.goniometer.phi_start == pytest.approx(np.radians(3))
    # BEAM_CENTER is from the corner of the first pixel, MOSFLM's X and Y from its centre.
    assert (found.detector.beam_x, found.detector.beam_y) == pytest.approx((4e-4, 2e-4))
    more = HEADER.replace("PHI=3;", "PHI=3;\nOSC_START=8;\nMOSFLM_CENTER_X=0.45;\nMOSFLM_CENTER_Y=0.25;")
    found = experiment(f"-img {write(tmp_path / 'm.img', text=more)}", "physics")
    assert found.goniometer.phi_start == pytest.approx(np.radians(8))
    assert (found.detector.beam_x, found.detector.beam_y) == pytest.approx((4.5e-4, 2.5e-4))


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
    for switch, normal, centre_mm in (
        ("on", (1.0, 0.0, 0.0), (0.5, 0.3)),
        ("off", (math.cos(math.radians(7)), -math.sin(math.radians(7)), 0.0), (0.4, 0.2)),
    ):
        assert main([*words, "--json", "--quirk", f"header-reading={switch}"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert any("quirk header-reading" in note for note in found["warnings"]) == (switch == "on")
        assert found["geometry"]["normal"] == pytest.approx(normal)
        assert found["geometry"]["beam_center_mm"] == pytest.approx(centre_mm)


TYPED = HEADER.replace("TYPE=unsigned_short;\n", "%s")


def typed(path: Path, lines: str, dtype: str, pixels: np.ndarray = PIXELS) -> Path:
    path.write_bytes(((TYPED % ("little", lines)).ljust(512)).encode() + pixels.astype(dtype).tobytes())
    return path


@pytest.mark.spec("FMT-40")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("", "u2"),
        ("TYPE=unsigned_short", "u2"),
        ("TYPE=signed_short", "i2"),
        ("TYPE=signed_long", "i4"),
        ("TYPE=unsigned_long", "u4"),
        ("TYPE=unsigned_char", "u1"),
        ("TYPE=float", "f4"),
        ("Data_type=signed char", "i1"),
        ("Data_type=short int", "i2"),
        ("Data_type=unsigned short int", "u2"),
        ("Data_type=long int", "i4"),
        ("Data_type=unsigned long int", "u4"),
        ("Data_type=float IEEE", "f4"),
    ],
)
def test_pixels_of_every_type(name: str, dtype: str, tmp_path: Path) -> None:
    """Those of d*TREK's specification as fabio has them, too."""
    info = np.finfo(dtype) if dtype == "f4" else np.iinfo(dtype)
    pixels = PIXELS.astype(dtype)
    pixels[1, 2], pixels[3, 5] = info.min, info.max
    file = typed(tmp_path / "a.img", f"{name};\n" if name else "", dtype, pixels)
    found = read_smv(file)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.pixels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read_image_file(file).pixels, pixels)
    assert is_counts(file) == (dtype != "f4")
    if name.startswith("Data_type"):
        np.testing.assert_array_equal(DtrekImage().read(str(file)).data, pixels)


@pytest.mark.spec("FMT-40")
def test_big_endian_pixels_of_four_bytes(tmp_path: Path) -> None:
    pixels = PIXELS.astype(np.int32) * 70_000 - 5
    text = HEADER.replace("unsigned_short", "signed_long") % "big"
    (tmp_path / "a.img").write_bytes(text.ljust(512).encode() + pixels.astype(">i4").tobytes())
    np.testing.assert_array_equal(read_smv(tmp_path / "a.img").pixels, pixels)


@pytest.mark.spec("FMT-40")
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("TYPE=mad;\n", "TYPE = 'mad' is no type of pixels that is read; there are char, unsigned char, "),
        ("Data_type=Compressed;\n", "Data_type = 'Compressed' is no type of pixels that is read"),
        ("TYPE=double;\n", "TYPE = 'double' is no type"),
        ("TYPE=long_int;\n", "is cut short: 48 bytes of pixels where the header promises 96"),
        ("RAXIS_COMPRESSION_RATIO=8;\n", "RAXIS_COMPRESSION_RATIO = 8: packed pixels are not read"),
        ("COMPRESSION=PCK;\n", "COMPRESSION = PCK: packed pixels are not read"),
        ("BYTE_ORDER=middle_endian;\n", "BYTE_ORDER = 'middle_endian' is neither little_endian nor big_endian"),
        ("DIM=3;\n", "DIM = 3: is not an image of two dimensions"),
        ("SIZE1=" + "9" * 400 + ";\n", "SIZE1 = inf is not a number of pixels"),
        ("SIZE1=6 pixels;\n", "SIZE1 = '6 pixels' is not a number"),
        ("SIZE2=99999;\n", "is cut short: 48 bytes of pixels where the header promises 1199988"),
    ],
)
def test_pixels_that_are_not_read_are_refused_with_what_they_are(lines: str, message: str, tmp_path: Path) -> None:
    """Of a keyword that stands twice the last counts."""
    text = HEADER.replace("TWOTHETA=7;\n", f"TWOTHETA=7;\n{lines}") % "little"
    size = 512 * (len(text) // 512 + 1)
    file = tmp_path / "a.img"
    file.write_bytes(text.replace("=512", f"={size}").ljust(size).encode() + PIXELS.tobytes())
    with pytest.raises(InputFileError) as caught:
        read_smv(file)
    assert message in str(caught.value)


@pytest.mark.spec("FMT-40")
def test_types_that_contradict_each_other_are_said(tmp_path: Path) -> None:
    file = typed(tmp_path / "a.img", "TYPE=unsigned_short;\nData_type=long int;\n", "i4")
    with pytest.warns(InputFileWarning, match=r"a.img: TYPE = unsigned_short is not what counts, but Data_type = long int"):
        np.testing.assert_array_equal(read_smv(file).pixels, PIXELS)
    with warnings.catch_warnings(action="error"):
        read_smv(typed(tmp_path / "b.img", "TYPE=signed_long;\nData_type=long int;\n", "i4"))


@pytest.mark.spec("FMT-40")
@pytest.mark.parametrize(
    "text",
    [
        HEADER.replace("DIM=2;", "COMMENT={cell} and }more;\nDIM=2;"),
        HEADER.replace("DIM=2;", "COMMENT=a } b;\nDIM=2;"),
        HEADER.replace("}\f", "}"),
        HEADER.replace("}\f", "}\f\nSIZE1=2;\nSIZE2=3;\n"),
        HEADER.replace("}\f", ""),
        HEADER.replace("DIM=2;\n", "DIM=2; "),
        HEADER.replace(";\n", "  ;\n").replace("BYTES=512  ;", "BYTES=  512;"),
        HEADER.replace("DIM=2;", "NAME=\xb5m;\nDIM=2;"),
    ],
    ids=["braces", "brace", "no form feed", "rest of another header", "no end", "two in a line", "blanks", "Latin-1"],
)
def test_a_header_ends_where_its_bytes_or_a_line_with_a_brace_say(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.img"
    file.write_bytes((text % "little").encode("latin-1").ljust(512) + PIXELS.tobytes())
    found = read_smv(file)
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert found.header.value("TWOTHETA") == 7.0
    exposure = exposure_of_smv(found)
    assert exposure is not None
    assert exposure.wavelength == pytest.approx(0.9e-10)


@pytest.mark.spec("FMT-40")
@pytest.mark.parametrize(
    "body", ["\n" * 1_999_000, "DISTANCE" * 249_000, "DISTANCE=\n" * 199_000, "=" * 1_999_000, "{" * 1_999_000], ids=str.__len__
)
def test_a_header_takes_time_in_proportion_to_its_length(body: str, tmp_path: Path) -> None:
    file = tmp_path / "a.img"
    text = "{\nHEADER_BYTES=2000384;\nSIZE1=6;\nSIZE2=4;\nPIXEL_SIZE=1;\n" + body + "\nDISTANCE=150;\nPHI=1;\n"
    file.write_bytes(text.ljust(2_000_384).encode() + PIXELS.tobytes())
    began = time.monotonic()
    image = read_smv(file)
    assert [image.header.value(keyword) for keyword in ("DISTANCE", "PHI")] == [150.0, 1.0]
    assert [image.header.value(keyword, exact=False) for keyword in ("DISTANCE", "PHI")] == [150.0, 1.0]
    assert time.monotonic() - began < 20.0  # in proportion to its square it would be minutes


@pytest.mark.spec("FMT-41")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("DISTANCE=0.15 m", "DISTANCE = '0.15 m' is not a number"),
        ("DISTANCE=1.5.0", "DISTANCE = '1.5.0' is not a number"),
        ("DISTANCE=unknown", "DISTANCE = 'unknown' is not a number"),
        ("TWOTHETA=", "TWOTHETA = '' is not a number"),
        ("WAVELENGTH=0", "WAVELENGTH = 0 is not greater than 0"),
        ("PIXEL_SIZE=-0.1", "PIXEL_SIZE = -0.1 is not greater than 0"),
        ("DISTANCE=1e999", "has a geometry with numbers beyond 1e+09"),
        ("PIXEL_SIZE=1e-300", "PIXEL_SIZE = 1e-300 is not greater than 1e-09"),
        ("DISTANCE=1e300", "has a geometry with numbers beyond 1e+09"),
        ("BEAM_CENTER_X=1e999", "has a geometry with numbers beyond 1e+09"),
        ("OSC_RANGE=1e999", "has a geometry with numbers beyond 1e+09"),
        ("TIME=-1", "TIME = -1 is not from 0 to 1e+09"),
        ("IMAGE_PEDESTAL=1e999", "IMAGE_PEDESTAL = inf is not from 0 to 1e+09"),
        ("BEAMLINE=TIMEPIX_SU", "its detector (TIMEPIX_SU) is not one flat panel but has chips that have each a place of their own"),
        ("BEAMLINE=fake", "is simulated (BEAMLINE = fake), and its BEAM_CENTER of a convention that it does not name"),
    ],
)
def test_a_bad_field_hides_the_geometry_and_not_the_pixels(line: str, message: str, tmp_path: Path) -> None:
    text = HEADER.replace("TWOTHETA=7;\n", f"TWOTHETA=7;\n{line};\n")
    found = read_image_file(write(tmp_path / "a.img", text=text))
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert found.exposure is None
    assert message in found.problem


@pytest.mark.spec("FMT-41")
def test_numbers_with_their_unit_and_what_the_counter_is(tmp_path: Path) -> None:
    more = "DISTANCE=150.0 mm;\nWAVELENGTH=0.9 A;\nOSC_RANGE=0.5 deg;\nTIME=2.5 s;\nIMAGE_PEDESTAL=40;\nGAIN=2.4;\n"
    text = HEADER.replace("TWOTHETA=7;\n", more)
    found = read_image_file(write(tmp_path / "a.img", text=text)).exposure
    assert found is not None
    assert (found.distance, found.wavelength, found.oscillation) == pytest.approx((0.15, 0.9e-10, math.radians(0.5)))
    assert (found.exposure_time, found.pedestal, found.gain) == (2.5, 40.0, 2.4)
    assert found.trusted_range == (0.0, 65535.0)
    saturated = text.replace("GAIN=2.4;", "GAIN=0;\nTIME=0;\nCCD_IMAGE_SATURATION=60000;")
    found = read_image_file(write(tmp_path / "a.img", text=saturated)).exposure
    assert found is not None
    assert (found.exposure_time, found.gain, found.trusted_range) == (None, 1.0, (0.0, 60000.0))


@pytest.mark.spec("FMT-41")
def test_geometry_in_the_words_of_d_trek_is_said_to_be_left_out(tmp_path: Path) -> None:
    text = HEADER.replace("PIXEL_SIZE=0.2;", "DETECTOR_NAMES=CCD_;")
    found = read_image_file(write(tmp_path / "a.img", text=text))
    assert found.problem == "states its geometry in d*TREK's words, which are not read"


@pytest.mark.spec("FMT-41")
@pytest.mark.parametrize(
    ("name", "centre"), [("XDS_ORG", (2.0, 1.0)), ("ORG", (2.0, 1.0)), ("MOSFLM_CENTER_", (1.5 / 0.2 + 0.5, 2.5 / 0.2 + 0.5))]
)
def test_which_centre_counts(name: str, centre: tuple[float, float], tmp_path: Path) -> None:
    """The nearest point with CLOSE_DISTANCE, else MOSFLM's centre, else the detector's own, in pixels from the corner of the first."""
    text = HEADER.replace("TWOTHETA=7;\n", f"{name}X=2.5;\n{name}Y=1.5;\n")
    found = read_image_file(write(tmp_path / "a.img", text=text)).exposure
    assert found is not None
    assert found.beam_centre == pytest.approx(centre)
    own = read_image_file(write(tmp_path / "a.img", text=text.replace(name, "OTHER_"))).exposure
    assert own is not None
    assert own.beam_centre == pytest.approx((0.3 / 0.2, 0.5 / 0.2))


@pytest.mark.spec("FMT-44")
@pytest.mark.parametrize("twotheta", [15.0, -15.0, 0.02])
def test_the_swing_of_a_sweeps_detector_comes_back(twotheta: float, in_tmp_path: Path) -> None:
    from nbnumba.cli.main import main

    options = (
        f"-default_F 1 -cell 50 -N 3 -lambda 1 -distance 100 -detpixels 12 -pixel 2 -oversample 1 -twotheta {twotheta} --preset physics"
    )
    assert main(["sweep", *options.split(), "--images", "1", "--width", "0", "-o", "a_#.img"]) == 0
    given = exposure_of(experiment(options.replace("-default_F 1 -cell 50 ", "").replace("--preset physics", ""), "physics"))
    found = read_image_file("a_1.img").exposure
    assert found is not None
    for name in ("origin", "fast_axis", "slow_axis", "incident"):
        np.testing.assert_allclose(getattr(found, name), getattr(given, name), atol=1e-8, err_msg=name)
    assert f"TWOTHETA={twotheta:g};".encode() in Path("a_1.img").read_bytes()
