"""Figures about two images, and the files they are read from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba.cli.main import main
from nbnumba.compare.images import compare_images
from nbnumba.compare.peaks import highest_peaks
from nbnumba.errors import InputFileError, OptionError
from nbnumba.formats.read import read_image

RANDOM = np.random.default_rng(1)
A = RANDOM.random((40, 30))
B = A + 0.1 * RANDOM.random((40, 30))


@pytest.mark.spec("CMP-2")
def test_figures_of_the_whole_image() -> None:
    found = compare_images(A, B)
    assert found["correlation"] == pytest.approx(np.corrcoef(A.ravel(), B.ravel())[0, 1], rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(((A - B) ** 2).mean()), rel=1e-12)
    slow, fast = found["largest_difference_slow_fast"]
    assert found["largest_difference"] == abs(A - B).max() == abs(A - B)[slow, fast]
    assert found["largest_difference_of_maximum"] == pytest.approx(abs(A - B).max() / B.max())
    assert found["sum_ratio"] == pytest.approx(B.sum() / A.sum())
    assert (found["identical"], found["agree"]) == (False, False)


@pytest.mark.spec("CMP-2")
def test_figures_of_regions() -> None:
    regions = compare_images(A, B, regions=3)["regions"]
    assert len(regions) == 9
    assert sum(region["sum_a"] for region in regions) == pytest.approx(A.sum())
    for region in regions:
        (top, bottom), (left, right) = region["slow"], region["fast"]
        part = slice(top, bottom + 1), slice(left, right + 1)
        assert region["correlation"] == pytest.approx(np.corrcoef(A[part].ravel(), B[part].ravel())[0, 1], rel=1e-9)
        slow, fast = region["largest_difference_slow_fast"]
        assert abs(A - B)[slow, fast] == region["largest_difference"] == abs(A - B)[part].max()
    assert len(compare_images(A[:2, :1], B[:2, :1], regions=3)["regions"]) == 2


@pytest.mark.spec("CMP-2")
@pytest.mark.parametrize(
    ("a", "b", "correlation", "agree", "ratio"),
    [
        (A, A, 1.0, True, 1.0),
        (A, A + 0.9e-6 * A.max(), 1.0, True, None),
        (A, A + 1.1e-6 * A.max(), 1.0, False, None),
        (np.zeros((4, 4)), np.zeros((4, 4)), 1.0, True, None),
        (np.zeros((4, 4)), np.ones((4, 4)), None, False, None),
        (A, -A, -1.0, False, -1.0),
    ],
)
def test_images_that_are_alike_or_empty(a: np.ndarray, b: np.ndarray, correlation: float | None, agree: bool, ratio: float | None) -> None:
    found = compare_images(a, b)
    assert found["correlation"] == (None if correlation is None else pytest.approx(correlation, abs=1e-9))
    assert found["agree"] is agree
    assert ratio is None or found["sum_ratio"] == ratio


def spots(places: list[tuple[int, int]], heights: list[float]) -> np.ndarray:
    image = np.zeros((60, 60))
    for (slow, fast), height in zip(places, heights, strict=True):
        image[slow - 1 : slow + 2, fast - 1 : fast + 2] += height / 3.0
        image[slow, fast] += height
    return image


@pytest.mark.spec("CMP-3")
def test_peaks_are_matched_to_the_nearest() -> None:
    places = [(10, 10), (10, 40), (30, 20), (50, 50)]
    a = spots(places, [4.0, 3.0, 2.0, 1.0])
    assert highest_peaks(a, 3).tolist() == [[10, 10], [10, 40], [30, 20]]
    moved = spots([(11, 10), (10, 43), (30, 20), (50, 50)], [4.0, 3.0, 2.0, 1.0])
    found = compare_images(a, moved, peaks=4)["peaks"]
    assert (found["in_a"], found["in_b"], found["matched"]) == (4, 4, 3)
    assert (found["median_distance"], found["largest_distance"]) == (0.5, 3.0)
    assert found["highest"][1] == {"slow_fast_a": (10, 40), "slow_fast_b": (10, 43), "distance": 3.0, "a": 4.0, "b": 4.0}
    fainter = spots([(11, 10), (10, 43), (30, 20), (50, 50)], [3.5, 2.5, 2.0, 1.0])
    highest = compare_images(a, fainter, peaks=4)["peaks"]["highest"]
    assert [row["a"] for row in highest] == pytest.approx([16 / 3, 4.0, 8 / 3, 4 / 3])
    assert [row["b"] for row in highest] == pytest.approx([14 / 3, 10 / 3, 8 / 3, 4 / 3])
    swapped = spots(places, [3.0, 4.0, 1.0, 2.0])
    assert compare_images(a, swapped, peaks=2)["peaks"]["largest_distance"] == 0.0
    assert compare_images(a, np.zeros_like(a))["peaks"] == {"in_a": 4, "in_b": 0, "matched": 0}


def test_images_of_different_shapes() -> None:
    with pytest.raises(OptionError, match=r"the images have 40 x 30 and 30 x 40 pixels \(slow x fast\)"):
        compare_images(A, A.T)


@pytest.mark.spec("CMP-1")
def test_every_format_that_is_written_is_read(in_tmp_path: Path) -> None:
    options = "-default_F 100 -cell 70 80 90 -lambda 1.5 -N 5 -detpixels_x 20 -detpixels_y 24 -pixel 1 -nonoise -nopgm".split()
    assert main(["run", *options]) == 0
    pixels = nbnumba.simulate(nbnumba.experiment_from_options(options)).float32
    np.save("a.npy", pixels)
    np.savez("one.npz", image=pixels, note=np.array([1.0, 2.0]))
    np.savez("two.npz", image=pixels, other=pixels + 1)
    for path in ("a.npy", "one.npz", "two.npz:image"):
        assert np.array_equal(read_image(path), pixels)
    assert np.array_equal(read_image("two.npz:other"), pixels + 1)
    assert np.array_equal(read_image("floatimage.bin", (24, 20)), pixels)
    counts = read_image("intimage.img")
    assert counts.shape == (24, 20)
    assert counts.max() == 55040.0
    Path("square.bin").write_bytes(pixels[:20].tobytes())
    assert np.array_equal(read_image("square.bin"), pixels[:20])


@pytest.mark.spec("CMP-1")
def test_files_that_are_no_images(in_tmp_path: Path) -> None:
    np.savez("two.npz", image=A, other=B)
    np.savez("none.npz", image=np.arange(3.0))
    np.save("infinite.npy", np.where(A > 0.5, np.inf, A))
    np.save("words.npy", np.array([["a", "b"]]))
    Path("raw.bin").write_bytes(np.zeros(12, np.float32).tobytes())
    Path("odd.bin").write_bytes(b"abcde")
    Path("broken.npy").write_bytes(b"\x93NUMPYrubbish")
    Path("zip.npz").write_bytes(b"PK\x03\x04xxxx")
    np.save("huge.npy", np.array([[1.0, 1e39]]))
    Path("claims.npy").write_bytes(Path("huge.npy").read_bytes().replace(b"(1, 2)", b"(9, 9)"))
    for path, shape, message in (
        ("two.npz", None, "two.npz: does not hold one image; there are image, other; name one as two.npz:NAME"),
        ("two.npz:third", None, "two.npz: has no image 'third'; there are image, other; name one as two.npz:NAME"),
        ("none.npz", None, "none.npz: does not hold one image; there is no two-dimensional array"),
        ("words.npy", None, "words.npy: does not hold one image; there is no two-dimensional array"),
        ("infinite.npy", None, f"infinite.npy: has {(A > 0.5).sum()} pixels that are not finite numbers, or too large for an image"),
        ("raw.bin", None, "raw.bin: has 12 float32 pixels, which are not square; give --shape SLOW FAST"),
        ("raw.bin", (5, 3), "raw.bin: has 12 float32 pixels, which are not 5 x 3"),
        ("odd.bin", None, "odd.bin: is no image: neither NumPy's nor SMV, and its 5 bytes are not float32 pixels"),
        ("broken.npy", None, "broken.npy: is not a NumPy file that can be read: "),
        ("zip.npz", None, "zip.npz: is not a NumPy file that can be read: "),
        ("huge.npy", None, "huge.npy: has 1 pixels that are not finite numbers, or too large for an image"),
        ("claims.npy", None, "claims.npy: is not a NumPy file that can be read: "),
        ("nowhere.bin", None, "nowhere.bin: cannot be read: No such file or directory"),
    ):
        with pytest.raises(InputFileError) as raised:
            read_image(path, shape)
        assert str(raised.value).startswith(message)
