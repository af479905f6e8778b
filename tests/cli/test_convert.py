"""From one image format to another."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from nbnumba.cli.main import main
from nbnumba.formats.cbf import CBF
from nbnumba.formats.nxmx import chunk_bytes, nxmx_bytes
from nbnumba.formats.nxmx_files import write_nxmx
from nbnumba.formats.read import is_counts, read_image, read_image_file
from nbnumba.geometry.exposure import Exposure

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
        found = read_image_file(name)
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


@pytest.mark.spec("CLI-16", "FMT-53")
def test_images_of_different_wavelengths(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        wavelength = (0.9 + 0.1 * number) * 1e-10
        (images / f"scan_{number:04d}.cbf").write_bytes(CBF.write(COUNTS, replace(exposure(number), wavelength=wavelength)))
    assert main(["convert", *sorted(path.name for path in images.glob("*.cbf")), "scan.nxs"]) == 0
    assert "the wavelength differs from image to image; DIALS takes the first one" in capsys.readouterr().err
    with h5py.File("scan.nxs") as file:
        np.testing.assert_allclose(file["entry/instrument/beam/incident_wavelength"], [1.0, 1.1, 1.2])
    assert main(["convert", "scan.nxs", "back_#.cbf"]) == 0
    found = [read_image_file(f"back_{number}.cbf").exposure for number in (1, 2, 3)]
    assert [e.wavelength for e in found if e] == pytest.approx([1e-10, 1.1e-10, 1.2e-10])


@pytest.mark.spec("CLI-45", "FMT-53")
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"origin": (-0.001, 0.002, -0.2)}, "distance"),
        ({"origin": (-0.0011, 0.002, -0.1)}, "detector's place"),
        ({"pixel_size": 1.1e-4}, "pixel size"),
        ({"fast_axis": (0.8, 0.6, 0.0), "slow_axis": (0.6, -0.8, 0.0)}, "detector's axes"),
        ({"spindle_axis": (0.0, 1.0, 0.0)}, "spindle"),
        ({"polarization_fraction": 0.5}, "polarization"),
        ({"exposure_time": 0.1, "exposure_period": 0.2}, "time from image to image"),
        ({"wavelength": None}, "wavelength"),
        ({"sensor_thickness": 1e-3}, "sensor's thickness"),
        ({"sensor_material": "CdTe", "sensor_thickness": 0.0}, ""),
        ({"trusted_range": (0.0, 65535.0)}, "range of trusted counts"),
        ({"pedestal": 10.0}, "pedestal"),
        ({"gain": 2.0}, "gain"),
        ({"origin": (-0.001, 0.002, -0.1 - 1e-12)}, ""),
    ],
)
def test_what_one_file_cannot_state(change: dict[str, object], what: str, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One NXmx file of two, of which the second differs in one thing."""
    for name, given in (("a.nxs", exposure(1)), ("b.nxs", replace(exposure(2), **change))):  # type: ignore[arg-type]
        Path(name).write_bytes(nxmx_bytes([(COUNTS, given)]))
    before = {path.name for path in images.iterdir()}
    assert main(["convert", "a.nxs", "b.nxs", "c.nxs"]) == (2 if what else 0)
    told = capsys.readouterr().err
    assert not what or f"b.nxs: its {what} is not that of a.nxs, but one file states it once; # in OUTPUT gives files of their own" in told
    assert {path.name for path in images.iterdir()} == before | (set() if what else {"c.nxs"})
    assert main(["convert", "a.nxs", "b.nxs", "d_#.nxs"]) == 0


@pytest.mark.spec("CLI-44")
def test_a_kind_of_loss_is_said_once(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 3):
        write_nxmx(images / f"bad_{number}.nxs", [exposure(number)], np.int32, [chunk_bytes(COUNTS)])
        with h5py.File(images / f"bad_{number}.nxs", "r+") as file:
            del file["entry/instrument/beam/incident_wavelength"].attrs["units"]
    assert main(["convert", "bad_1.nxs", "bad_2.nxs", "bad_3.nxs", "a_#.npy"]) == 0
    said = "bad_1.nxs: its geometry is left out (and of 2 more): its geometry cannot be read: incident_wavelength has no units"
    assert capsys.readouterr().err == f"nbnumba: warning: {said}\n"
    assert main(["convert", "bad_1.nxs", "bad_2.nxs", "bad_3.nxs", "a_#.cbf"]) == 2
    assert "error: bad_1.nxs: its geometry cannot be read: incident_wavelength has no units" in capsys.readouterr().err
    assert main(["convert", "bad_1.nxs", "a.cbf", "--like", "scan_0001.cbf"]) == 0


@pytest.mark.spec("CLI-44")
def test_masked_pixels_go_through(images: Path) -> None:
    masked = COUNTS.copy()
    masked[1, 2], masked[0, 0] = -1, -2
    Path("a.cbf").write_bytes(CBF.write(masked, exposure(1)))
    assert main(["convert", "a.cbf", "a.nxs"]) == 0
    with h5py.File("a.nxs") as file:
        assert file["entry/instrument/detector/pixel_mask"][1, 2] == 1
        assert file["entry/instrument/detector/pixel_mask"][0, 0] == 2
        assert np.count_nonzero(file["entry/instrument/detector/pixel_mask"]) == 2
    with h5py.File("a.nxs", "r+") as file:
        file["entry/data/data"][0] = COUNTS
    assert main(["convert", "a.nxs", "b.cbf"]) == 0
    expected = COUNTS.copy()
    expected[1, 2], expected[0, 0] = -1, -2
    np.testing.assert_array_equal(read_image_file("b.cbf").pixels, expected)


@pytest.mark.spec("CLI-44")
def test_memory_is_that_of_one_image(in_tmp_path: Path) -> None:
    shape, images = (500, 400), 40
    pixels = np.random.default_rng(1).integers(0, 2**20, shape).astype(np.int32)
    write_nxmx(in_tmp_path / "a.nxs", [replace(exposure(i), shape=shape) for i in range(images)], np.int32, [chunk_bytes(pixels)] * images)
    main(["convert", "a.nxs:1", "warm.nxs"])
    for output in ("b.nxs", "b_##.npy"):
        tracemalloc.start()
        assert main(["convert", "a.nxs", output]) == 0
        assert tracemalloc.get_traced_memory()[1] < 12 * pixels.nbytes
        tracemalloc.stop()
