"""Samples spread over phi steps and mosaic domains together: where they are, how they are distributed, how far they go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nbnumba_plugins.rotation_even import Even, prepare_cap, prepare_gaussian
from nbnumba_plugins.rotation_gaussian import normal_domains
from nbnumba_plugins.rotation_spec import mosaic_rotations

import nbnumba
from nbnumba.campaign.sweep import Counting, Sweep
from nbnumba.experiment.vectors import rotate_about
from nbnumba.gradients.gradient import value_and_grad

CRYSTAL = "-default_F 100 -cell 80 90 100 85 95 105 -lambda 1 -misset 10 20 30 -distance 80 -pixel 0.2 --preset physics "


def made(options: str) -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(CRYSTAL + options)


def turns(experiment: nbnumba.Experiment, found: Even) -> np.ndarray:
    """Rotation vectors of the domains (n, 3) in units of the mosaic spread: what is left when phi is taken back."""
    direct, spindle = experiment.unit_cell.direct, experiment.axes["spindle"]
    before = [np.linalg.inv(rotate_about(direct, spindle, angle)) for angle in found.phi.ravel()]
    domains = [(inverse @ axes).T for inverse, axes in zip(before, found.axes.reshape(-1, 3, 3), strict=True)]
    return vectors(np.array(domains)) / experiment.mosaic[0]


def vectors(rotations: np.ndarray) -> np.ndarray:
    """Axis times angle of rotations by small angles (n, 3, 3)."""
    skew = 0.5 * (rotations - rotations.transpose(0, 2, 1))
    sine = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
    length = np.linalg.norm(sine, axis=1, keepdims=True)
    return np.asarray(sine / length * np.arcsin(length))


def moments(v: np.ndarray) -> np.ndarray:
    """Second moments of the vectors, and the mean of powers of their lengths."""
    length = np.linalg.norm(v, axis=1)
    return np.array([*(v.T @ v / len(v)).ravel(), *(np.mean(length**n) for n in (1, 2, 3, 4))])


@pytest.mark.spec("ROT-20")
def test_phi_is_sampled_over_the_whole_of_every_step() -> None:
    experiment = made("-phi 30 -osc 1 -phisteps 4 -mosaic 0.5 -mosaic_dom 5")
    found = np.degrees(prepare_cap(experiment).phi)
    np.testing.assert_allclose(found.ravel(), 30.0 + (np.arange(20) + 0.5) / 20, rtol=1e-12)
    np.testing.assert_allclose(np.degrees(prepare_cap(made("-phi 30 -osc 1 -phisteps 4")).phi).ravel(), [30.125, 30.375, 30.625, 30.875])
    assert prepare_cap(made("-phi 30 -mosaic 1 -mosaic_dom 3")).phi.ravel() == pytest.approx(np.radians([30, 30, 30]))


@pytest.mark.spec("ROT-21")
def test_domains_are_distributed_as_random_ones_of_the_cap() -> None:
    experiment = made("-phi 30 -osc 40 -phisteps 8 -mosaic 0.5 -mosaic_dom 500")
    even = turns(experiment, prepare_cap(experiment))
    random = vectors(mosaic_rotations(experiment.mosaic[0], 40000, 1, False)[1:]) / experiment.mosaic[0]
    np.testing.assert_allclose(moments(even), moments(random), atol=0.01)
    # The mean of powers of (1 - r^2)^(1/3) over r.
    r = (np.arange(100000) + 0.5) / 100000
    np.testing.assert_allclose(moments(even)[9:], [np.mean((1 - r * r) ** (n / 3)) for n in (1, 2, 3, 4)], rtol=1e-3)
    np.testing.assert_allclose(even.mean(axis=0), 0.0, atol=2e-3)
    assert np.linalg.norm(even, axis=1).max() <= 1.0 + 1e-9


@pytest.mark.spec("ROT-21")
def test_each_step_has_domains_of_its_own_which_the_seed_decides() -> None:
    experiment = made("-osc 1 -phisteps 3 -mosaic 0.5 -mosaic_dom 4")
    found = turns(experiment, prepare_cap(experiment))
    assert len(np.unique(found.round(6), axis=0)) == 12
    other = replace(experiment, crystal=replace(experiment.crystal, mosaic_seed=7))
    assert np.abs(turns(other, prepare_cap(other)) - found).max() > 0.1
    single = made("-osc 1 -phisteps 3 -mosaic 0.5 -mosaic_dom 1")
    middle = rotate_about(single.unit_cell.direct, single.axes["spindle"], np.radians(0.5))
    np.testing.assert_allclose(prepare_cap(single).axes[1, 0], middle, rtol=1e-12)


@pytest.mark.spec("ROT-22")
def test_normal_domains_are_distributed_as_random_ones() -> None:
    experiment = made("-osc 40 -phisteps 8 -mosaic 0.5 -mosaic_dom 500 --plugin rotation=even-gaussian")
    even = turns(experiment, prepare_gaussian(experiment))
    random = vectors(normal_domains(experiment.mosaic[0], 40000, 1)) / experiment.mosaic[0]
    np.testing.assert_allclose(moments(even)[:12], moments(random)[:12], atol=0.04)  # the fourth of a random set is noisy
    np.testing.assert_allclose(moments(even)[9:12], [np.sqrt(2 / np.pi), 1.0, 2 * np.sqrt(2 / np.pi)], rtol=0.04)
    assert nbnumba.simulate(replace(experiment, detector=replace(experiment.detector, slow_pixels=3, fast_pixels=3))).max() > 0.0


@pytest.mark.spec("ROT-20", "ROT-21", "PRE-1")
def test_few_samples_go_further_than_random_ones() -> None:
    """Photons of the spots of a region, against those of very many samples: a third of the error at most."""
    spots = "-N 20 -gauss_xtal -oversample 3 -osc 0.5 -phisteps 5 -mosaic 0.5 -detpixels 200 -roi 110 149 20 59 "

    def photons(options: str) -> np.ndarray:
        return np.asarray(nbnumba.simulate(made(spots + options)).pixels[20:60, 110:150].reshape(4, 10, 4, 10).sum(axis=(1, 3)))

    many = photons("-mosaic_dom 600")
    errors = {
        rotation: [np.linalg.norm(photons(f"-mosaic_dom 30 -mosaic_seed {seed} {rotation}") - many) for seed in range(4)]
        for rotation in ("--plugin rotation=spec -phi 0.05", "")
    }
    random, even = (float(np.sqrt(np.mean(np.square(found)))) for found in errors.values())
    assert even < random / 3.0


@pytest.mark.spec("ROT-20", "TRA-1")
def test_a_trace_states_the_angle_of_each_term() -> None:
    experiment = made("-N 5 -phi 30 -osc 1 -phisteps 2 -mosaic 0.5 -mosaic_dom 2 -oversample 1 -detpixels 4")
    trace = nbnumba.trace(experiment, 1, 2)
    assert [term["phi_deg"] for term in trace.terms] == pytest.approx([30.125, 30.375, 30.625, 30.875])
    found = prepare_cap(experiment).axes * 1e10
    np.testing.assert_allclose([term["b_angstroms"] for term in trace.terms], found.reshape(-1, 3, 3)[:, 1], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.spec("ROT-20", "GRA-2")
def test_gradients_go_through_the_orientations() -> None:
    experiment = made("-N 5 -phi 30 -osc 1 -phisteps 2 -mosaic 0.5 -mosaic_dom 3 -oversample 1 -detpixels 12 -pixel 2")
    weights = np.random.default_rng(1).random((12, 12))
    names = ["phi_start", "oscillation", "mosaic_spread", "misset_x"]
    value, slopes = value_and_grad(experiment, names, lambda image: (float((weights * image).sum()), weights))
    again, differences = value_and_grad(experiment, names, lambda image: (float((weights * image).sum()), weights), differences=True)
    assert value == pytest.approx(again)
    np.testing.assert_allclose(slopes, differences, rtol=1e-5)


@pytest.mark.spec("ROT-20", "CLI-13")
def test_images_of_a_sweep_begin_where_the_image_before_ends() -> None:
    """In any preset their samples are about the middle of their width."""
    for preset, begin in (("physics", 30.0), ("reference", 30.05)):
        experiment = made(f"-phi 30 -N 5 -detpixels 20 -oversample 1 -phisteps 2 --preset {preset}")
        sweep = Sweep(experiment=experiment, images=2, width=np.radians(0.2), counting=Counting())
        first, second = (sweep.image(number) for number in (1, 2))
        assert np.degrees(first.goniometer.phi_start) == pytest.approx(begin)
        assert np.degrees(second.goniometer.phi_start) == pytest.approx(begin + 0.2)
    stepped = made("-phi 30 -N 5 -detpixels 20 -oversample 1")
    evenly, spec = (
        Sweep(
            experiment=replace(stepped, model=replace(stepped.model, stages={"rotation": rotation})),
            images=1,
            width=np.radians(0.2),
            counting=Counting(),
        ).image(1)
        for rotation in ("even", "spec")
    )
    np.testing.assert_allclose(nbnumba.simulate(evenly).pixels, nbnumba.simulate(spec).pixels, rtol=1e-9)
