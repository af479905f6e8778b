"""What a run writes: by -o, by nanoBragg's options, and what it says of files that cannot say all."""

from __future__ import annotations

import json
from pathlib import Path

import fabio
import numpy as np
import pytest

from nbnumba.cli.main import main
from nbnumba.formats.read import read_image, read_image_file
from nbnumba.response.counter_noise import CounterNoise

OPTIONS = (
    "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 5 -detpixels 40 -pixel 0.5 -oversample 1 -seed 1 --preset physics"
)
RUN = ["run", *OPTIONS.split()]


@pytest.fixture
def rendered(in_tmp_path: Path) -> np.ndarray:
    """Photons as a run with these options renders them."""
    assert main([*RUN, "-o", "photons.bin"]) == 0
    found = np.fromfile("photons.bin", np.float32).reshape(40, 40)
    Path("photons.bin").unlink()
    return found


def drawn(photons: np.ndarray) -> np.ndarray:
    """Counts with the noise of seed 1, FMT-12."""
    from nbnumba.image.image import Block

    slow, fast = photons.shape
    return CounterNoise(1).draw(Block(slice(0, slow), photons, (slice(0, slow), slice(0, fast))))


@pytest.mark.spec("CLI-23")
@pytest.mark.parametrize("name", ["a_1.cbf", "a_1.img", "a_1.smv", "a.nxs", "a.h5"])
def test_o_writes_what_a_detector_counts_and_nothing_else(name: str, rendered: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "-o", name]) == 0
    assert [path.name for path in Path().iterdir()] == [name]
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"; wrote {name}")
    np.testing.assert_array_equal(read_image(name), drawn(rendered))
    exposure = read_image_file(name).exposure
    assert exposure is not None
    assert (exposure.distance, exposure.wavelength, exposure.pixel_size) == pytest.approx((0.1, 1e-10, 5e-4), rel=1e-6)
    assert main([*RUN, "-o", name, "-nonoise"]) == 0
    np.testing.assert_array_equal(read_image(name), np.rint(rendered))
    assert main([*RUN, "-o", name, "-nonoise", "-scale", "2.5", "-adc", "7"]) == 0
    np.testing.assert_allclose(read_image(name), rendered.astype(float) * 2.5 + 7, atol=0.501)


@pytest.mark.spec("CLI-23")
@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.tiff", "a.bin"])
def test_o_writes_photons_as_they_are(name: str, rendered: np.ndarray) -> None:
    assert main([*RUN, "-o", name]) == 0
    np.testing.assert_array_equal(read_image(name), rendered)
    assert [path.name for path in Path().iterdir()] == [name]


@pytest.mark.spec("CLI-23")
def test_o_again_and_with_files_that_are_named(rendered: np.ndarray) -> None:
    words = "-o a.png -o a.pgm --output a_1.cbf -floatfile mine.bin --png b.png --json a.json --save-config a.toml".split()
    assert main([*RUN, *words]) == 0
    assert {path.name for path in Path().iterdir()} == {"a.png", "a.pgm", "a_1.cbf", "mine.bin", "b.png", "a.json", "a.toml"}
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert Path("a.pgm").read_bytes().startswith(b"P5")
    assert json.loads(Path("a.json").read_text())["preset"] == "physics"


@pytest.mark.spec("CLI-23")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-o a.xyz", "a.xyz: .xyz stands for no kind of image; there are .img, .smv, .cbf, "),
        ("-o p_####.nxs", "--output p_####.nxs: #### numbers the images of a sweep, and a run has one; give its file a name without #"),
        ("-o a", "a: no ending stands for no kind of image; there are "),
        ("-o a.cbf -o a.cbf", "a.cbf: two outputs have this name; give each its own"),
        ("-o a.cbf -noisefile a.cbf", "a.cbf: two outputs have this name; give each its own"),
        ("-o none/a.cbf", "none/a.cbf: cannot be written: the folder none does not exist"),
    ],
)
def test_names_that_cannot_be(words: str, message: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.spec("CLI-23")
def test_a_bundle_repeats_o(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "-o", "a_1.cbf", "-o", "a.npy", "-o", "a.png", "--bundle", "evidence"]) == 0
    assert sorted(path.name for path in Path("evidence/outputs").iterdir()) == ["a.npy", "a.png", "a_1.cbf"]
    assert main(["bundle", "verify", "evidence"]) == 0
    assert "a_1.cbf: identical" in capsys.readouterr().out


@pytest.mark.spec("FMT-63")
@pytest.mark.parametrize("name", ["n_1.cbf", "n.nxs", "n.tif", "n.npy"])
def test_only_smv_files_of_nanobragg_have_an_offset(name: str, rendered: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "-noisefile", name]) == 0
    np.testing.assert_array_equal(read_image(name), drawn(rendered))
    with fabio.open("intimage.img") as smv:
        assert smv.data.min() == 40
    assert main([*RUN, "-noisefile", name, "-adc", "10"]) == 0
    np.testing.assert_array_equal(read_image(name), drawn(rendered) + 10)
    assert f"{name}: a " in (said := capsys.readouterr().err)
    assert "file cannot say that 10 counts are added to every pixel (-adc)" in said


@pytest.mark.spec("FMT-24", "FMT-64")
def test_what_a_file_cannot_say_is_said(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    polarized = [*RUN, "-polar", "0.998"]  # as DIALS takes light to be
    assert main([*polarized, "-twotheta", "10", "-o", "m.cbf", "-o", "m.nxs", "-noisefile", "m.img"]) == 0
    said = [line.removeprefix("nbnumba: warning: ") for line in capsys.readouterr().err.splitlines() if "m." in line]
    straight = "the detector is not straight in the beam with its fast axis along x and its slow axis along -y (a .nxs file can)"
    assert said == [
        f"m.img: a SMV file cannot say that {straight}",
        "m.img: DIALS opens a SMV file only if there is a number before the ending of its name, as in m_1.img",
        f"m.cbf: a miniCBF file cannot say that {straight}",
        "m.cbf: DIALS opens a miniCBF file only if there is a number before the ending of its name, as in m_1.cbf",
    ]
    assert main([*RUN, "-o", "m_1.cbf", "-o", "m.7.img", "-o", "m.img.12", "-noisefile", "m2.cbf"]) == 2  # .12 is no kind of image
    assert main([*polarized, "-o", "m_1.cbf", "-o", "m7.img", "-noisefile", "m2.cbf"]) == 0
    assert "DIALS" not in capsys.readouterr().err


@pytest.mark.spec("FMT-62")
def test_pixels_that_are_not_rendered(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.random.default_rng(1).random((40, 40)) < 0.8
    header = "{\nHEADER_BYTES=512;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nSIZE1=40;\nSIZE2=40;\n}\n"
    Path("mask.img").write_bytes(header.ljust(512).encode() + mask.astype("<u2").tobytes())
    rendered = np.zeros((40, 40), bool)
    rendered[4:31, 2:21] = mask[4:31, 2:21]
    counted = ["a_1.cbf", "a.nxs", "int.cbf", "noise.npy", "float.nxs"]
    unmarked = ["f.npy", "a_1.img", "f.bin"]
    names = "-intfile int.cbf -noisefile noise.npy -floatfile float.nxs -o a_1.cbf -o a.nxs -o f.npy -o a_1.img -o f.bin -o a.png".split()
    assert main([*RUN, "-mask", "mask.img", "-roi", "2", "20", "4", "30", "-adc", "5", *names]) == 0
    for name in counted:
        found = read_image(name)
        assert set(found[~rendered].tolist()) == {-1.0}
        assert found[rendered].min() >= (0.0 if name == "float.nxs" else 5.0)
    for name in unmarked:
        assert read_image(name)[~rendered].max() <= 5.0
    pixels = np.count_nonzero(~rendered)
    said = f"{', '.join(unmarked)}: nothing marks the {pixels} pixels that are not rendered (-roi, -mask), which read as pixels without"
    assert said in capsys.readouterr().err
    assert main([*RUN, "-o", "all.bin"]) == 0
    assert "not rendered" not in capsys.readouterr().err


@pytest.mark.spec("FMT-65")
@pytest.mark.parametrize("name", ["f.cbf", "f.IMG"])
def test_photons_in_a_file_with_the_name_of_another_kind(name: str, rendered: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "-o", "a.png", "-floatfile", name]) == 0
    assert f"{name}: holds photons, raw float32 numbers: no " in capsys.readouterr().err
    np.testing.assert_array_equal(np.fromfile(name, np.float32).reshape(40, 40), rendered)
