"""An Image as an array, as files of every format, as a picture, and as a copy of itself."""

from __future__ import annotations

import copy
import pickle
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import nbnumba
from nbnumba import Image, OutputFileError, ParameterError, read_image, write_image
from nbnumba.cli.main import main
from nbnumba.formats.registry import FORMATS, by_ending
from nbnumba.formats.smv import read_smv
from nbnumba.image.png import plain_png

OPTIONS = "-default_F 100 -cell 50 50 50 90 90 90 -N 3 -lambda 2 -detpixels_x 12 -detpixels_y 8 -distance 100 -pixel 1 -fluence 1e29"


@pytest.fixture(scope="module")
def image() -> Image:
    found = nbnumba.simulate(nbnumba.experiment_from_options(OPTIONS))
    assert found.max() > 100.0
    return found


@pytest.mark.spec("API-5")
def test_an_image_is_an_array(image: Image) -> None:
    pixels = image.pixels
    assert (image.shape, image.ndim, image.size, image.dtype, len(image)) == ((8, 12), 2, 96, np.float64, 8)
    assert image[2, 3] == pixels[2, 3]
    np.testing.assert_array_equal(image[1:3, ::2], pixels[1:3, ::2])
    np.testing.assert_array_equal(image[image > 5.0], pixels[pixels > 5.0])
    for found, expected in (
        (image - 1.0, pixels - 1.0),
        (2.0 * image, 2.0 * pixels),
        (image / image, pixels / pixels),
        (-image, -pixels),
        (image**2, pixels**2),
        (np.sqrt(image), np.sqrt(pixels)),
        (np.add.reduce(image), pixels.sum(axis=0)),
        (np.maximum(image, 3.0), np.maximum(pixels, 3.0)),
        (np.percentile(image, 90.0), np.percentile(pixels, 90.0)),
        (image.sum(axis=0), pixels.sum(axis=0)),
        (np.sum(image, axis=1), pixels.sum(axis=1)),
        (list(image)[3], pixels[3]),
        (image == pixels, np.ones((8, 12), bool)),
        (image != 0.0, pixels != 0.0),
    ):
        assert type(found) is type(expected)
        np.testing.assert_array_equal(found, expected)
    assert (image.max(), image.min(), image.sum(), image.mean()) == (pixels.max(), pixels.min(), pixels.sum(), pixels.mean())
    assert np.argmax(image) == np.argmax(pixels)


@pytest.mark.spec("API-5")
def test_an_image_is_not_changed_in_place(image: Image) -> None:
    with pytest.raises(TypeError, match=r"an Image is not changed in place; give another out, or work on np\.array"):
        np.add(image.pixels, 1.0, out=image)
    here = image
    with pytest.raises(TypeError, match="not changed in place"):
        here += 1.0
    into = np.zeros(image.shape)
    np.add(image, 1.0, out=into)
    np.testing.assert_array_equal(into, image.pixels + 1.0)
    np.testing.assert_array_equal(image.pixels - image, into * 0.0)


@pytest.mark.spec("API-2")
@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda image: pickle.loads(pickle.dumps(image))])
def test_an_image_equals_its_copies(image: Image, made: object) -> None:
    there = made(image)
    assert there is not image
    assert there == image
    assert (there != image) is False
    assert there.statistics == image.statistics
    assert Image(image.pixels + 1.0, image.experiment, image.provenance) != image
    with pytest.raises(TypeError, match="unhashable"):
        hash(image)


@pytest.mark.spec("API-6")
@pytest.mark.parametrize("ending", [ending for kind in FORMATS if kind.write and not kind.drawn for ending in kind.endings])
def test_a_file_of_every_format(image: Image, tmp_path: Path, ending: str) -> None:
    holds_photons = by_ending(Path(ending[1:] + ending)).photons
    expected = image.float32 if holds_photons else np.rint(image.pixels)
    image.save(tmp_path / f"i_1{ending}")
    write_image(str(tmp_path / f"j_1{ending}"), image.pixels, experiment=image.experiment)
    assert (tmp_path / f"j_1{ending}").stat().st_size == (tmp_path / f"i_1{ending}").stat().st_size
    for name in "ij":
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}_1{ending}", shape=(8, 12)), expected)


@pytest.mark.spec("API-6")
@pytest.mark.parametrize("ending", sorted({".img", ".cbf", ".tif"}))
def test_noise_is_that_of_the_command_line(image: Image, tmp_path: Path, ending: str) -> None:
    image.save(tmp_path / f"i_1{ending}", seed=5)
    counts = tmp_path / f"run_1{'.img' if ending == '.tif' else ending}"
    assert main(["run", *OPTIONS.split(), "-seed", "5", "-o", str(counts)]) == 0
    found = read_image(tmp_path / f"i_1{ending}")
    np.testing.assert_array_equal(found, read_image(counts))
    assert (found != np.rint(image)).any()


@pytest.mark.spec("API-6")
def test_an_array_without_a_geometry(tmp_path: Path) -> None:
    pixels = np.arange(12.0).reshape(3, 4) + 0.25
    for ending in (".npy", ".tif", ".bin"):
        write_image(tmp_path / f"a{ending}", pixels)
        np.testing.assert_array_equal(read_image(tmp_path / f"a{ending}", shape=(3, 4)), pixels)
    write_image(tmp_path / "a.img", pixels)
    np.testing.assert_array_equal(read_smv(tmp_path / "a.img").pixels, np.rint(pixels))


@pytest.mark.spec("API-6")
@pytest.mark.parametrize(
    ("name", "array", "options", "error", "problem"),
    [
        ("a.cbf", np.ones((2, 2)), {}, OutputFileError, r"a\.cbf: needs a geometry, which an array does not have"),
        ("a.png", np.ones((2, 2)), {}, OutputFileError, r"a\.png: needs a geometry"),
        ("a.jpg", None, {}, OutputFileError, r"a\.jpg: \.jpg stands for no kind of image"),
        ("none/a.npy", None, {}, OutputFileError, "the folder .* does not exist"),
        ("a.npy", np.ones(4), {}, ParameterError, r"image: must be an Image, or an array \[slow, fast\] of finite numbers"),
        ("a.npy", np.full((2, 2), np.nan), {}, ParameterError, "finite numbers"),
        ("a.npy", "pixels", {}, ParameterError, "finite numbers"),
        ("a.npy", np.ones((2, 2)), {"seed": 1}, ParameterError, "seed: noise is that of an experiment's image"),
        ("a.npy", None, {"seed": -1}, ParameterError, "seed: -1 must be a whole number, at least 0"),
    ],
)
def test_what_cannot_be_written(
    image: Image, tmp_path: Path, name: str, array: object, options: dict[str, int], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        write_image(tmp_path / name, image if array is None else array, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.spec("API-6")
def test_an_array_of_another_shape(image: Image, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"image: has shape \(2, 2\), the experiment's detector \(8, 12\)"):
        write_image(tmp_path / "a.cbf", np.ones((2, 2)), experiment=image.experiment)


@pytest.mark.spec("API-7")
def test_a_notebook_shows_a_picture(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    with_axes = PillowImage.open(BytesIO(image._repr_png_()))
    assert with_axes.format == "PNG"
    assert min(with_axes.size) > 300
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    plain = PillowImage.open(BytesIO(image._repr_png_()))
    assert plain.size == (12, 8)
    grey = np.asarray(plain)
    assert grey[np.unravel_index(image.pixels.argmax(), image.shape)] == 0
    assert grey.max() > 0


@pytest.mark.spec("API-7")
def test_a_plain_picture_has_a_logarithmic_scale() -> None:
    grey = np.asarray(PillowImage.open(BytesIO(plain_png(np.array([[1.0, 0.1, 0.01, 1e-4, 1e-6, 0.0]])))))
    assert grey.tolist() == [[0, 63, 127, 255, 255, 255]]
    assert np.asarray(PillowImage.open(BytesIO(plain_png(np.zeros((2, 3)))))).tolist() == [[255] * 3] * 2
