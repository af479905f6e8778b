"""Masks of every image format, and SMV files without a geometry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nbnumba
from nbnumba import InputFileError
from nbnumba.cli.main import main
from nbnumba.formats.cbf import CBF
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.formats.read import read_image_file
from nbnumba.formats.smv import SMV
from nbnumba.geometry.exposure import Exposure
from nbnumba.options.arguments import split_arguments
from nbnumba.options.experiment import apply_all

RENDERED = np.random.default_rng(1).random((10, 12)) < 0.7
BASE = "-default_F 1 -cell 50 -N 3 -lambda 1 -distance 100 -pixel 0.5 -oversample 1"
EXPOSURE = Exposure(shape=RENDERED.shape, pixel_size=1e-4, origin=(-1e-3, 1e-3, -0.1), wavelength=1e-10)


def as_counts(type_: type = np.int32, masked: int = -1) -> np.ndarray:
    """An image of a detector: what it did not count is marked, and a pixel may have counted nothing."""
    return np.where(RENDERED, np.arange(RENDERED.size).reshape(RENDERED.shape) % 3, masked).astype(type_)


def write_npz(path: Path) -> None:
    np.savez(path, mask=RENDERED)


MASKS: dict[str, Callable[[Path], object]] = {
    "bool.npy": lambda path: np.save(path, RENDERED),
    "int.npy": lambda path: np.save(path, RENDERED.astype(np.int8) * 7),
    "float.npy": lambda path: np.save(path, np.where(RENDERED, 0.5, np.nan)),
    "negative.npy": lambda path: np.save(path, np.where(RENDERED, 1, -1)),
    "mask.npz": write_npz,
    "mask.tif": lambda path: Image.fromarray(RENDERED.astype(np.uint8) * 255).save(path),
    "bits.tif": lambda path: Image.fromarray(RENDERED).save(path),
    "mask.img": lambda path: path.write_bytes(SMV.write(RENDERED.astype(np.uint16), None)),
    "mask.cbf": lambda path: path.write_bytes(CBF.write(as_counts(), EXPOSURE)),
    "mask.nxs": lambda path: path.write_bytes(nxmx_bytes([(as_counts(np.uint32, 2**32 - 1), EXPOSURE)])),
    "signed.nxs": lambda path: path.write_bytes(nxmx_bytes([(as_counts(), EXPOSURE)] * 2)),
}


def masked_by(file: str, preset: str = "reference") -> nbnumba.Experiment:
    return apply_all(split_arguments(f"{BASE} -mask {file}".split()).given, None, nbnumba.Model(preset=preset)).experiment()


@pytest.mark.spec("CLI-40")
@pytest.mark.parametrize("preset", ["reference", "physics"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_format(name: str, preset: str, in_tmp_path: Path) -> None:
    MASKS[name](in_tmp_path / name)
    found = masked_by(name, preset)
    np.testing.assert_array_equal(found.sampling.mask, RENDERED)
    assert found.detector.shape == RENDERED.shape
    assert found.detector.pixel_size == pytest.approx(5e-4)


@pytest.mark.spec("CLI-40")
def test_a_masked_image(in_tmp_path: Path) -> None:
    np.save("mask.npy", RENDERED)
    assert main(["run", *BASE.split(), "-mask", "mask.npy", "-nopgm", "-nonoise"]) == 0
    photons = np.fromfile("floatimage.bin", np.float32).reshape(RENDERED.shape)
    np.testing.assert_array_equal(photons > 0.0, RENDERED)


@pytest.mark.spec("CLI-40")
@pytest.mark.parametrize(
    ("value", "name", "message"),
    [
        (1, "a.npy", "-mask a.npy: masks no pixel; those above 0 are rendered"),
        (0, "a.npy", "-mask a.npy: masks every pixel; those above 0 are rendered"),
        (0, "a.cbf", "-mask a.cbf: masks no pixel; of a CBF or NXmx file those below 0 are masked"),
    ],
)
def test_a_mask_of_all_pixels_or_of_none_is_said(
    value: int, name: str, message: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.full(RENDERED.shape, value, np.int32)
    if name.endswith("npy"):
        np.save(name, pixels)
    else:
        Path(name).write_bytes(CBF.write(pixels, EXPOSURE))
    assert main(["run", *BASE.split(), "-mask", name, "-nopgm", "-nonoise"]) == 0
    assert f"nbnumba: warning: {message}" in capsys.readouterr().err


@pytest.mark.spec("CLI-40")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.ones((4, 4), np.float32).tobytes(), "a.bin: is no mask; SMV, CBF, NXmx, TIFF, NumPy's files and DIALS's masks are read"),
        (b"", "a.bin: is no mask"),
        (b"\x93NUMPY", "a.bin: is not a NumPy file that can be read"),
    ],
)
def test_what_is_no_mask_is_refused(content: bytes, message: str, in_tmp_path: Path) -> None:
    Path("a.bin").write_bytes(content)
    with pytest.raises(InputFileError) as caught:
        masked_by("a.bin")
    assert message in str(caught.value)


@pytest.mark.spec("CLI-41")
def test_a_mask_becomes_an_smv_file_without_a_geometry(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("mask.npy", RENDERED)
    assert main(["convert", "mask.npy", "mask.img"]) == 0
    said = capsys.readouterr().err
    assert said == "nbnumba: warning: mask.img: a SMV file states no geometry; --like FILE names an image that does\n"
    picture = read_image_file("mask.img")
    assert (picture.exposure, picture.problem) == (None, "")
    np.testing.assert_array_equal(picture.pixels, RENDERED)
    np.testing.assert_array_equal(masked_by("mask.img").sampling.mask, RENDERED)
    assert main(["convert", "mask.npy", "mask.cbf"]) == 2
    assert "mask.npy: says nothing of geometry, which OUTPUT has to state" in capsys.readouterr().err


@pytest.mark.spec("CLI-40")
def test_a_bundle_keeps_its_mask(in_tmp_path: Path) -> None:
    np.savez("mask.npz", mask=RENDERED, other=np.zeros(3))
    assert main(["run", *BASE.split(), "-mask", "mask.npz:mask", "-nopgm", "-nonoise", "--bundle", "kept"]) == 0
    assert main(["bundle", "verify", "kept"]) == 0
