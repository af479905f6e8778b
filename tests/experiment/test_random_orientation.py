"""Random orientations: uniform over all rotations, and another one for every seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from nbnumba.experiment.unit_cell import random_misset
from nbnumba.experiment.vectors import rotate_xyz

SEEDS = range(3000)
UNLIKELY = 1e-3  # chance of a test of uniform orientations to fail


def rotations(seeds: range, uniform: bool) -> np.ndarray:
    """(n, 3, 3), rows: where x, y and z come to lie."""
    return np.array([rotate_xyz(np.eye(3), random_misset(seed, uniform)) for seed in seeds])


@pytest.fixture(scope="module")
def uniform() -> np.ndarray:
    return rotations(SEEDS, uniform=True)


@pytest.mark.spec("EXP-7")
def test_every_direction_is_as_likely_for_every_axis(uniform: np.ndarray) -> None:
    """By Archimedes, every component of a uniform unit vector is uniform between -1 and 1."""
    assert np.linalg.det(uniform) == pytest.approx(np.ones(len(uniform)))
    for axis in range(3):
        for component in range(3):
            assert kstest(uniform[:, axis, component], "uniform", args=(-1.0, 2.0)).pvalue > UNLIKELY
    assert np.abs(uniform.mean(axis=0)).max() < 4.0 / np.sqrt(3 * len(uniform))


@pytest.mark.spec("EXP-7")
def test_angles_and_axes_of_rotation_are_those_of_uniform_rotations(uniform: np.ndarray) -> None:
    """The angle t has the density (1 - cos t) / pi; so has that between neighbouring seeds, which know nothing of each other."""
    for each in (uniform, uniform[1:] @ uniform[:-1].transpose(0, 2, 1), uniform[7:] @ uniform[:-7].transpose(0, 2, 1)):
        angles = np.arccos(np.clip((np.trace(each, axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0))
        assert kstest(angles, lambda t: (t - np.sin(t)) / np.pi).pvalue > UNLIKELY
    axes = np.stack([uniform[:, 1, 2] - uniform[:, 2, 1], uniform[:, 2, 0] - uniform[:, 0, 2], uniform[:, 0, 1] - uniform[:, 1, 0]], axis=1)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    for component in range(3):
        assert kstest(axes[:, component], "uniform", args=(-1.0, 2.0)).pvalue > UNLIKELY


@pytest.mark.spec("EXP-7")
def test_every_seed_has_its_own(uniform: np.ndarray) -> None:
    large = rotations(range(2**31 - 101, 2**31 - 1), uniform=True)
    every = np.concatenate([uniform, large]).reshape(-1, 9)
    assert len(np.unique(every.round(9), axis=0)) == len(every)
    np.testing.assert_array_equal(random_misset(17, uniform=True), random_misset(17, uniform=True))


@pytest.mark.spec("EXP-7", "PRE-4")
def test_nanobraggs_are_neither() -> None:
    capped = rotations(SEEDS, uniform=False)
    assert capped[:, 2, 2].mean() == pytest.approx(0.38, abs=0.03)
    assert kstest(capped[:, 2, 2], "uniform", args=(-1.0, 2.0)).pvalue < 1e-30
    np.testing.assert_array_equal(capped[0], capped[1])
