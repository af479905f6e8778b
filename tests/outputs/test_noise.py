"""Counting noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import pdtr

import nbnumba
from nbnumba.outputs.counter_noise import CounterNoise
from nbnumba.outputs.image import Block
from nbnumba.outputs.noise import noisy_counts
from nbnumba.outputs.sequential_noise import OUTPUT, SequentialNoise

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
        assert drawn.var() == pytest.approx(mean, rel=0.1)
    assert (drawn == np.floor(drawn)).all() or mean > 1e6


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
@pytest.mark.parametrize("mean", [1e-3, 0.5, 30.0, 199.0, 201.0, 1e4, 9e5])
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
