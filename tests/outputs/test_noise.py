"""Counting noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nbnumba
from nbnumba.outputs.noise import counter_noise, noisy_counts, sequential_noise

MEANS = (0.0, 0.3, 5.0, 11.9, 12.1, 300.0, 5e4, 3e6)


@pytest.mark.spec("FMT-11", "FMT-12")
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("noise", [sequential_noise, counter_noise])
def test_deviates_have_the_mean_and_variance_of_a_poisson_distribution(noise, mean: float) -> None:
    drawn = noise(np.full((200, 200), mean, np.float32), 7)
    error = max(np.sqrt(mean / drawn.size), 1e-12)
    assert drawn.mean() == pytest.approx(mean, abs=5 * error)
    if mean:
        assert drawn.var() == pytest.approx(mean, rel=0.1)
    assert (drawn == np.floor(drawn)).all() or mean > 1e6


@pytest.mark.spec("FMT-12")
def test_counter_noise_depends_on_seed_image_and_pixel_alone() -> None:
    photons = np.random.default_rng(0).random((30, 40)).astype(np.float32) * 20
    whole = counter_noise(photons, 5)
    changed = photons.copy()
    changed[:10] *= 2
    np.testing.assert_array_equal(counter_noise(changed, 5)[10:], whole[10:])
    assert (counter_noise(photons, 6) != whole).any()
    assert (counter_noise(photons, 5, image=1) != whole).any()


@pytest.mark.spec("FMT-11")
def test_sequential_noise_is_one_stream() -> None:
    photons = np.full((4, 50), 3.0, np.float32)
    np.testing.assert_array_equal(sequential_noise(photons, 5), sequential_noise(photons, 5))
    np.testing.assert_array_equal(sequential_noise(photons, 0), sequential_noise(photons, 1))
    changed = photons.copy()
    changed[0, 0] = 200.0
    assert (sequential_noise(changed, 5)[0, 1:] != sequential_noise(photons, 5)[0, 1:]).any()


@pytest.mark.spec("FMT-11", "FMT-12", "EXP-12")
@pytest.mark.parametrize("preset", ["reference", "physics"])
def test_noise_images_keep_to_the_region_of_interest_and_16_bits(preset: str) -> None:
    found = nbnumba.experiment_from_options("-default_F 100 -cell 50 -N 5 -detpixels 20 -oversample 1 -lambda 5 -roi 3 12 4 15")
    image = nbnumba.simulate(replace(found, model=nbnumba.Model(preset=preset)))
    counts = noisy_counts(replace(image, pixels=image.pixels * 1e9), 3, 40.0)
    assert counts[:4].max() == 0
    assert counts[:, 13:].max() == 0
    assert counts.max() == 65535
    assert noisy_counts(replace(image, pixels=image.pixels * 0), 3, 40.0)[image.roi].min() == 40
