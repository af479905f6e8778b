"""From one image format to another."""

from pathlib import Path

import numpy as np
import pytest

from nbnumba.cli.main import main
from nbnumba.exposure import Exposure
from nbnumba.inputs.image import is_counts, read_image, read_picture
from nbnumba.outputs.formats import CBF

COUNTS = np.arange(12, dtype=np.int32).reshape(3, 4) * 10_000


def exposure(number: int) -> Exposure:
    return Exposure(
        shape=(3, 4), pixel_size=1e-4, origin=(-0.001, 0.002, -0.1), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0),
        phi_start=0.01 * number, oscillation=0.01,
    )  # fmt: skip


@pytest.fixture
def images(in_tmp_path: Path) -> Path:
    """Three CBF images of a scan."""
    for number in (1, 2, 3):
        (in_tmp_path / f"scan_{number:04d}.cbf").write_bytes(CBF.write(COUNTS + number, exposure(number)))
    return in_tmp_path


@pytest.mark.spec("CLI-16")
def test_a_scan_goes_through_every_format_and_comes_back(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(str(path.name) for path in images.glob("*.cbf"))
    assert main(["convert", *files, "scan.nxs"]) == 0
    assert main(["convert", "scan.nxs", "back_##.cbf"]) == 0
    assert main(["convert", "back_02.cbf", "back.h5"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 images; wrote scan.nxs", "3 images; wrote back_01.cbf to back_03.cbf", "1 image; wrote back.h5",
    ]  # fmt: skip
    for number, name in ((1, "back_01.cbf"), (2, "back.h5"), (3, "scan.nxs:3")):
        found = read_picture(name)
        np.testing.assert_array_equal(found.pixels, COUNTS + number)
        assert found.exposure is not None
        assert found.exposure.phi_start == pytest.approx(0.01 * number)
    assert not list(images.glob(".*"))


@pytest.mark.spec("CLI-16")
def test_one_image_of_a_scan(images: Path) -> None:
    assert main(["convert", *sorted(path.name for path in images.glob("*.cbf")), "scan.nxs"]) == 0
    assert main(["convert", "scan.nxs:2", "second.tif"]) == 0
    np.testing.assert_array_equal(read_image("second.tif"), COUNTS + 2)


@pytest.mark.spec("CMP-1")
def test_images_of_any_format_are_compared(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", *sorted(path.name for path in images.glob("*.cbf")), "scan.nxs"]) == 0
    capsys.readouterr()
    assert main(["compare", "scan_0002.cbf", "scan.nxs:2"]) == 0
    assert "1.000000" in capsys.readouterr().out
    assert is_counts("scan.nxs:2")
    assert is_counts("scan_0002.cbf")


@pytest.mark.spec("CLI-16")
def test_what_is_lost_is_said(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "scan_0001.cbf", "a.img"]) == 0
    assert "a.img: a SMV file cannot hold 5 pixels, which were cut off at its limits" in capsys.readouterr().err
    np.testing.assert_array_equal(read_image("a.img"), np.minimum(COUNTS + 1, 65535))
    assert main(["convert", "scan_0001.cbf", "a.npy"]) == 0
    assert "a.npy: a NumPy file says nothing of geometry or scan" in capsys.readouterr().err
    np.save("photons.npy", np.full((3, 4), 0.6))
    assert main(["convert", "photons.npy", "photons.cbf", "--like", "scan_0001.cbf"]) == 0
    assert "photons.cbf: a miniCBF file holds whole counts: photons were rounded in 1 image" in capsys.readouterr().err
    np.testing.assert_array_equal(read_image("photons.cbf"), np.ones((3, 4)))


@pytest.mark.spec("CLI-16")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("scan_0001.cbf a.xyz", "a.xyz: .xyz stands for no image format"),
        ("scan_0001.cbf scan_0001.cbf", "scan_0001.cbf: is an input of this run; give the output another name"),
        ("scan_0001.cbf scan_0002.cbf", "scan_0002.cbf: is there already; give another OUTPUT, which comes last, or --overwrite"),
        ("nan.npy a.tif", "nan.npy: has 1 pixels that are not finite numbers, or too large for an image"),
        ("nowhere.cbf a.img", "nowhere.cbf: cannot be read: No such file or directory"),
        ("plain.npy a.cbf", "plain.npy: says nothing of geometry, which OUTPUT has to state; --like FILE names an image that does"),
        ("plain.npy a.cbf --like plain.npy", "plain.npy: its header says too little of the geometry"),
        ("plain.npy a.cbf --like scan_0001.cbf", "plain.npy: has 2 x 2 pixels, the image of --like 3 x 4"),
        ("scan_0001.cbf small.cbf a.nxs", "small.cbf: has 2 x 2 pixels of int32, scan_0001.cbf 3 x 4 pixels of int32; one file holds"),
        ("scan.cbf", "Missing argument"),
    ],
)
def test_bad_input(words: str, message: str, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("plain.npy", np.zeros((2, 2)))
    np.save("nan.npy", np.array([[np.nan, 1.0]]))
    Path("small.cbf").write_bytes(CBF.write(np.zeros((2, 2), np.int32), exposure(1)))
    before = {path.name for path in images.iterdir()}
    assert main(["convert", *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in images.iterdir()} == before
