"""Counting noise."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri, pdtr, pdtrc, pdtrik
from scipy.stats import chisquare, poisson

import nbnumba
from nbnumba.image.image import Block
from nbnumba.kernel.cpu.device import device_function
from nbnumba.response.counter_noise import CounterNoise
from nbnumba.response.noise import noisy_counts
from nbnumba.response.philox import four_numbers
from nbnumba.response.poisson import expanded, invert_from_normal
from nbnumba.response.poisson import poisson as inverted
from nbnumba.response.sequential_noise import OUTPUT, SequentialNoise
from nbnumba.response.spans import draw_few, draw_many, normal

MEANS = (0.0, 0.3, 5.0, 11.9, 12.1, 300.0, 5e4, 3e6)


def draw(noise: SequentialNoise | CounterNoise, photons: np.ndarray) -> np.ndarray:
    return noise.draw(Block(slice(0, len(photons)), photons, np.s_[:, :]))


@pytest.mark.spec("FMT-11", "FMT-12")
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("noise", [SequentialNoise, CounterNoise])
def test_deviates_have_the_mean_and_variance_of_a_poisson_distribution(noise, mean: float) -> None:
    drawn = draw(noise(7), np.full((200, 200), mean, np.float32))
    error = max(np.sqrt(mean / drawn.size), 1e-12)
    assert drawn.mean() == pytest.approx(mean, abs=5 * error)
    if mean:
        # Five standard deviations of the variance of that many deviates; the fourth moment of Poisson's distribution is 3 mean^2 + mean.
        assert drawn.var() == pytest.approx(mean, rel=5.0 * np.sqrt((2.0 + 1.0 / mean) / drawn.size))
    assert (drawn == np.floor(drawn)).all() or mean > 1e6


@pytest.mark.spec("FMT-11", "FMT-12")
@pytest.mark.parametrize(("mean", "off"), [(2e5, 0.0035), (4e5, 0.0126), (7e5, 0.148), (8e5, -0.0114), (9e5, 0.0268)])
def test_nanobraggs_noise_is_off_beyond_a_hundred_thousand_photons(mean: float, off: float) -> None:
    """By float32's rounding of logarithms; noise that depends on seed and pixel alone is Poisson's there, too."""
    photons, error = np.full((700, 700), mean, np.float32), 4.0 * np.sqrt(2.0 / 700**2)
    noise = SequentialNoise(3)
    assert draw(noise, photons).var() / mean - 1.0 == pytest.approx(off, abs=error + 0.002)
    assert noise.doubtful == photons.size
    assert draw(CounterNoise(3), photons).var() / mean - 1.0 == pytest.approx(0.0, abs=error)


@pytest.mark.spec("FMT-11")
def test_pixels_whose_noise_is_off_are_counted_and_said() -> None:
    found = nbnumba.experiment_from_options("-default_F 100 -cell 50 -N 5 -detpixels 20 -oversample 1 -lambda 5")
    image = nbnumba.simulate(found)
    pixels = np.full(image.shape, 9.9e4)
    pixels[:3] = 2e5
    pixels[5] = 2e6
    with pytest.warns(nbnumba.errors.NbnumbaWarning) as said:
        list(noisy_counts(replace(image, pixels=pixels), 1, 40.0))
    assert [str(one.message) for one in said] == [
        "noise: 60 pixels have 1e5 to 1e6 photons, where nanoBragg's variance is off by up to 15 % "
        "(--quirk sequential-noise=off: it is Poisson's)"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(noisy_counts(replace(image, pixels=np.full(image.shape, 9.9e4)), 1, 40.0))
        off = replace(image, pixels=pixels, experiment=replace(found, model=nbnumba.Model(preset="physics")))
        list(noisy_counts(off, 1, 40.0))


@pytest.mark.spec("FMT-71")
@pytest.mark.parametrize(("name", "seed", "most"), [("a_1.cbf", None, 2**30 - 1), ("a_1.cbf", 1, 2**30 - 1), ("a_1.img", 1, 65535)])
def test_counts_that_a_file_cannot_hold_are_said(name: str, seed: int | None, most: int, tmp_path: Path) -> None:
    image = nbnumba.simulate(nbnumba.experiment_from_options("-default_F 100 -cell 50 -N 5 -detpixels 20 -lambda 5 --preset physics"))
    pixels = np.zeros(image.shape)
    pixels[2, :3] = 1e10
    kind = "miniCBF" if name.endswith("cbf") else "SMV"
    with pytest.warns(nbnumba.errors.NbnumbaWarning) as said:
        replace(image, pixels=pixels).save(tmp_path / name, seed=seed)
    limit = f"3 pixels have more than {most} counts, which a {kind} file cannot hold: cut off"
    assert [str(one.message) for one in said if "cut off" in str(one.message)] == [f"{tmp_path / name}: {limit}"]
    assert nbnumba.read_image(tmp_path / name)[2, 0] == most


@pytest.mark.spec("FMT-12")
def test_counter_noise_is_put_right_upward_alone() -> None:
    """The guess is put right upward alone: that it is never too large, over all deviates that there are."""
    uniform = np.concatenate([np.linspace(2.0**-54, 1.0 - 1e-14, 20_000), 2.0 ** -np.arange(1.0, 54.0), 1.0 - 2.0 ** -np.arange(1.0, 46.0)])
    for mean in np.geomspace(200.5, 1e6, 60):
        count = invert_from_normal(uniform, np.full(uniform.size, mean))
        assert (pdtr(count, mean) >= uniform).all()
        assert (pdtr(count - 1.0, mean) < uniform + 1e-13).all()  # to the digits that pdtr has


@pytest.mark.spec("FMT-12")
def test_counter_noise_depends_on_seed_image_and_pixel_alone() -> None:
    photons = np.random.default_rng(0).random((30, 40)).astype(np.float32) * 20
    whole = draw(CounterNoise(5), photons)
    changed = photons.copy()
    changed[:10] *= 2
    np.testing.assert_array_equal(draw(CounterNoise(5), changed)[10:], whole[10:])
    assert (draw(CounterNoise(6), photons) != whole).any()
    assert (draw(CounterNoise(5, image=1), photons) != whole).any()


@pytest.mark.spec("FMT-12")
@pytest.mark.parametrize("panel", [0, 3])
def test_counter_noise_is_the_same_for_any_region_and_block(panel: int) -> None:
    """Blocks in any order, of any rows and region."""
    photons = np.random.default_rng(1).lognormal(0.0, 4.0, (30, 41)).astype(np.float32)
    everything = np.s_[0:30, 0:41]
    whole = CounterNoise(5, 2).draw(Block(everything[0], photons, everything, panel=panel))
    noise = CounterNoise(5, 2)
    for first, last, region in [(20, 30, np.s_[1:9, 3:40]), (7, 20, np.s_[0:13, 40:41]), (0, 7, np.s_[:, :]), (3, 4, np.s_[1:1, 2:9])]:
        rows = slice(first, last)
        drawn = noise.draw(Block(rows, photons[rows], region, panel=panel))
        np.testing.assert_array_equal(drawn, whole[rows][region])


@pytest.mark.spec("FMT-12")
def test_numbers_are_those_of_numpys_philox() -> None:
    four = device_function(four_numbers)
    for key, panel in (((0, 0), 0), ((7, 2), 1), ((2**64 - 1, 2**31), 2**40)):
        numbers = np.random.Philox(key=np.array(key, np.uint64), counter=np.array([0, 0, 0, panel], np.uint64)).random_raw(400)
        for fours in (0, 1, 99):
            found = four(*(np.uint64(number) for number in (fours, panel, *key)))
            np.testing.assert_array_equal(found, numbers[4 * fours : 4 * fours + 4])


@pytest.mark.spec("RSP-20")
def test_the_expansion_is_never_further_off_than_it_says() -> None:
    """At all numbers of photons, or 400 of them, that a deviate of 53 bits can be."""
    for mean in np.geomspace(4.0, 1e6, 40):
        count = np.unique(np.rint(np.linspace(max(1.0, mean - 9.0 * np.sqrt(mean)), mean + 9.0 * np.sqrt(mean) + 30.0, 400)))
        below, above = pdtr(count - 1.0, mean), pdtrc(count - 1.0, mean)
        normal = np.where(below < 0.5, ndtri(below), -ndtri(above))
        can_be = (np.minimum(below, above) >= 2.0**-54) & ((mean < 4e5) | (normal < 4.4))  # beyond, pdtrc has few digits
        near, doubt = zip(*(expanded(w, mean) for w in normal[can_be]), strict=True)
        assert (np.abs(near - count[can_be]) < doubt).all()


@pytest.mark.spec("RSP-20")
def test_the_least_deviates_of_few_photons_are_none() -> None:
    """Where the expansion is below 0 and close to a whole number."""
    uniform = np.geomspace(2.0**-54, 1e-4, 200)
    for mean in np.linspace(4.05, 20.0, 50):
        count = np.array([inverted(number, mean) for number in uniform])
        assert (pdtr(count, mean) >= uniform * (1.0 - 1e-12)).all()
        assert (pdtr(count - 1.0, mean)[count > 0.0] < uniform[count > 0.0] * (1.0 + 1e-12)).all()


@pytest.mark.spec("RSP-20")
@pytest.mark.parametrize("mean", [201.0, 1e4, 1e6, 1e7])
def test_few_deviates_are_left_to_more_digits(mean: float) -> None:
    uniform = np.random.default_rng(1).random(5000)
    found = np.array([inverted(number, mean) for number in uniform])
    assert (found < 0.0).sum() <= 10
    np.testing.assert_array_equal(np.where(found < 0.0, -found, uniform), uniform)
    np.testing.assert_array_equal(found[found >= 0.0], invert_from_normal(uniform, np.full(uniform.size, mean))[found >= 0.0])


@pytest.mark.spec("RSP-20")
@pytest.mark.parametrize("mean", [0.01, 0.7, 3.9, 4.1, 40.0, 250.0, 1e4, 9.9e5])
def test_counter_noise_has_poissons_distribution(mean: float) -> None:
    """Chi-squared over 50 ranges alike in probability, moments up to the third, quantiles."""
    drawn, exact = draw(CounterNoise(11), np.full((700, 700), mean, np.float32)).ravel(), float(np.float32(mean))
    edges = np.unique(np.ceil(pdtrik(np.linspace(0.02, 0.98, 49), exact)))
    share = np.diff(pdtr(edges, exact), prepend=0.0, append=1.0)
    found = np.bincount(np.searchsorted(edges, drawn), minlength=share.size)
    assert chisquare(found, share * drawn.size).pvalue > 1e-3
    away = (drawn - exact) / np.sqrt(exact)
    skew, kurtosis = exact**-0.5, 1.0 / exact
    sixth = 15.0 + 25.0 * kurtosis + 10.0 * skew**2 + kurtosis**2  # central moments over the power of the deviation
    assert away.mean() == pytest.approx(0.0, abs=5.0 / 700)
    assert (away**2).mean() == pytest.approx(1.0, abs=5.0 * np.sqrt(2.0 + kurtosis) / 700)
    assert (away**3).mean() == pytest.approx(skew, abs=5.0 * np.sqrt(sixth - skew**2) / 700)
    tails = np.array([1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0 - 1e-4])
    assert (pdtr(np.quantile(drawn, tails, method="inverted_cdf"), exact) >= tails - 5.0 * np.sqrt(tails * (1.0 - tails)) / 700).all()
    assert (poisson.ppf(tails - 5.0 * np.sqrt(tails * (1.0 - tails)) / 700 - 1e-9, exact) <= np.quantile(drawn, tails)).all()


@pytest.mark.spec("RSP-30")
def test_normal_deviates_of_all_numbers_that_there_are() -> None:
    """Of 0, too; within seven digits."""
    uniform = np.concatenate([[0.0], 2.0 ** -np.arange(1.0, 54.0), 1.0 - 2.0 ** -np.arange(1.0, 54.0), np.linspace(0.001, 0.999, 145)])
    deviate = np.empty(uniform.size)
    normal(uniform, np.empty(uniform.size, np.int64), deviate)
    np.testing.assert_allclose(deviate, ndtri(np.maximum(uniform, 2.0**-54)), rtol=2e-7, atol=1e-9)


@pytest.mark.spec("RSP-20")
@pytest.mark.parametrize("mean", [1e-9, 0.02, 1.0, 3.99, 4.01, 30.0, 500.0, 1e5, 3e6])
def test_pixels_together_are_drawn_as_one_by_one(mean: float) -> None:
    """Of the least and the greatest numbers, too, but for the very last of few photons, which the last digits of exp decide."""
    uniform = np.concatenate(
        [[0.0, 2.0**-53], 1.0 - 2.0 ** -np.arange(1.0, 48.0 if mean <= 4.0 else 54.0), np.random.default_rng(1).random(200)]
    )
    photons, drawn, work, places = np.full(uniform.size, mean), np.zeros(uniform.size), np.empty((5, 256)), np.empty((2, 256), np.int64)
    left = (draw_few if mean <= 4.0 else draw_many)(uniform, photons, places, work, drawn)
    np.testing.assert_array_equal(drawn, [inverted(max(number, 2.0**-54), mean) for number in uniform])
    assert (left or 0) == np.count_nonzero(drawn < 0.0)


@pytest.mark.spec("FMT-12")
@pytest.mark.parametrize("mean", [1e-3, 0.5, 3.9, 4.1, 30.0, 199.0, 201.0, 1e4, 9e5])
def test_counter_noise_is_the_inverse_of_the_distribution(mean: float) -> None:
    count = draw(CounterNoise(3), np.full((100, 100), mean, np.float32)).ravel()
    uniform = (np.random.Philox(key=np.array([3, 0], np.uint64)).random_raw(10_000) >> np.uint64(11)) * 2.0**-53
    exact = float(np.float32(mean))
    assert (pdtr(count, exact) >= uniform - 1e-13).all()
    assert (pdtr(count[count > 0] - 1.0, exact) < uniform[count > 0] + 1e-13).all()


@pytest.mark.spec("FMT-11")
def test_numbers_beyond_64_bits_are_rejected() -> None:
    """A deviate of 1/2 makes tan(pi / 2) of them."""
    noise = SequentialNoise(1)
    noise._stream[: OUTPUT + 1] = 2**30
    assert draw(noise, np.array([[9e5]], np.float32)) == pytest.approx(9e5, rel=0.01)


@pytest.mark.spec("FMT-11")
def test_sequential_noise_is_one_stream() -> None:
    photons = np.full((4, 50), 3.0, np.float32)
    np.testing.assert_array_equal(draw(SequentialNoise(5), photons), draw(SequentialNoise(5), photons))
    np.testing.assert_array_equal(draw(SequentialNoise(0), photons), draw(SequentialNoise(1), photons))
    changed = photons.copy()
    changed[0, 0] = 200.0
    assert (draw(SequentialNoise(5), changed)[0, 1:] != draw(SequentialNoise(5), photons)[0, 1:]).any()


@pytest.mark.spec("FMT-11", "FMT-12", "EXP-12")
@pytest.mark.parametrize("preset", ["reference", "physics"])
def test_noise_images_keep_to_the_region_of_interest_and_16_bits(preset: str) -> None:
    found = nbnumba.experiment_from_options("-default_F 100 -cell 50 -N 5 -detpixels 20 -oversample 1 -lambda 5 -roi 3 12 4 15")
    image = nbnumba.simulate(replace(found, model=nbnumba.Model(preset=preset)))
    counts = np.vstack([*noisy_counts(replace(image, pixels=image.pixels * 1e9), 3, 40.0)])
    assert counts[:4].max() == 0
    assert counts[:, 13:].max() == 0
    assert counts.max() == 65535
    assert np.vstack([*noisy_counts(replace(image, pixels=image.pixels * 0), 3, 40.0)])[image.roi].min() == 40
