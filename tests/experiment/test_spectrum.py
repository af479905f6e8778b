"""Spectra, divergences and shots: their formulas, strata, statistics, and what spots need of them."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import integrate

import nbnumba
from nbnumba import Beam, Divergence, ParameterError, QuirkWarning, Sase, Sources, Spectra, Spectrum
from nbnumba.experiment import advice
from nbnumba.experiment.spectrum import HBAR, SIGMA
from nbnumba.simulation.scene import brightness_of

ANGSTROM = 1e-10
OPTIONS = "-default_F 100 -cell 50 60 70 90 90 90 -N 20 -lambda 1 -distance 100 -detpixels 64 -pixel 1 -oversample 1 -gauss_xtal"


def small(preset: str = "physics", **beam: Any) -> nbnumba.Experiment:
    found = nbnumba.experiment_from_options(f"{OPTIONS} --preset {preset}")
    return replace(found, beam=replace(found.beam, **beam))


@pytest.mark.spec("EXP-80")
def test_every_direction_has_every_wavelength() -> None:
    spectrum = Spectrum((1.01e-10, 0.99e-10), (1.0, 3.0))
    experiment = small(spectrum=spectrum)
    np.testing.assert_allclose(experiment.source_list.wavelength, [0.99e-10, 1.01e-10])
    np.testing.assert_allclose(brightness_of(experiment), [1.5, 0.5])
    assert spectrum.mean == pytest.approx(4.0 / (3.0 / 0.99e-10 + 1.0 / 1.01e-10))
    grid = replace(experiment, sources=Sources(horizontal_range=1e-3, horizontal_steps=3)).source_list
    np.testing.assert_allclose(grid.wavelength, [0.99e-10, 1.01e-10] * 3)
    np.testing.assert_allclose(grid.weight, [3.0, 1.0] * 3)
    positions, missing = np.array([[-1.0, 0.0, 0.0], [-1.0, 0.1, 0.0]]), np.full(2, np.nan)
    listed = replace(experiment, sources=Sources(positions=positions, weights=np.array([1.0, 2.0]), wavelengths=missing)).source_list
    np.testing.assert_allclose(listed.weight, [3.0, 1.0, 6.0, 2.0])


@pytest.mark.spec("EXP-80")
def test_an_image_is_the_weighted_sum_of_its_wavelengths() -> None:
    lengths, weights = np.array([0.99, 1.0, 1.02]) * ANGSTROM, np.array([1.0, 5.0, 2.0])
    experiment = small(spectrum=Spectrum(lengths, weights))
    alone = [nbnumba.simulate(small(spectrum=Spectrum((length,), (1.0,)), wavelength=length)).pixels for length in lengths]
    np.testing.assert_allclose(nbnumba.simulate(experiment).pixels, np.average(alone, axis=0, weights=weights), rtol=1e-12)


@pytest.mark.spec("EXP-80")
def test_nanobraggs_quirk_is_said_where_weights_do_not_count() -> None:
    experiment = small("reference", spectrum=Spectrum((0.99e-10, 1.01e-10), (1.0, 3.0)))
    with pytest.warns(QuirkWarning) as said:
        nbnumba.simulate(experiment)
    assert any(
        "weights of sources, listed or of a spectrum, are ignored (Model(quirks={'source-weights': False})" in str(one.message)
        for one in said
    )
    np.testing.assert_array_equal(brightness_of(experiment), [1.0, 1.0])


@pytest.mark.spec("EXP-80")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Spectrum((1e-10,), (1.0, 2.0)),
            r"spectrum.weights: needs as many weights as wavelengths, 1 to 1000000; got \(2,\) and \(1,\)",
        ),
        (lambda: Spectrum((1.0,), (1.0,)), "spectrum.wavelengths: must be between 1e-14 and 1e-06 m"),
        (lambda: Spectrum((1e-10,), (-1.0,)), "spectrum.weights: must be finite and at least 0, and not all of them 0"),
        (lambda: Spectrum((1e-10,), "x"), "spectrum.weights: must be a list of numbers"),
        (lambda: Spectrum([[1e-10]], (1.0,)), r"spectrum.wavelengths: must be a list of numbers, not an array of shape \(1, 1\)"),
        (lambda: Spectrum.from_energies((0.0,), (1.0,)), "spectrum.energies: must be greater than 0 eV"),
        (lambda: Spectrum.gaussian(1e-10, 0.9), "spectrum.bandwidth: 0.9: reaches to energies below 0; give a narrower one"),
        (lambda: Spectrum.gaussian(1e-10, 0.0), "spectrum.bandwidth: 0: must be greater than 0"),
        (
            lambda: Beam(spectrum=Spectrum((1.2e-10,), (1.0,))),
            "beam.wavelength: 1 A is not in the spectrum, 1.2 to 1.2 A; its mean is 1.2 A",
        ),
        (lambda: Beam(spectrum=1), "beam.spectrum: 1 is not a Spectrum, Spectra or Sase"),
        (lambda: Sase(), "sase.bandwidth: bandwidth or coherence_time has to be given, and only one of them"),
        (lambda: Sase(bandwidth=0.01, duration=1.0), "sase.duration: 1 s: makes too many spikes; give a shorter pulse"),
        (lambda: Spectra((1e-10,), (1.0,)), r"spectrum.weights: must be \(shots, n\), not \(1,\)"),
        (lambda: Spectra((1e-10,), [[1.0], [0.0]]), r"spectrum.weights: of shot 2: must be finite and at least 0, and not all of them 0"),
        (lambda: Spectra((1e-10, 2e-10), [[1.0]]), r"spectrum.weights: needs wavelengths \(n,\) or \(shots, n\) and weights \(shots, n\)"),
        (lambda: Divergence([1.0], [1.0]), r"divergence.angles: needs angles \(n, 2\) and weights \(n,\); got \(1,\) and \(1,\)"),
        (lambda: Divergence([[2.0, 0.0]], [1.0]), "divergence.angles: must be less than pi / 2 from the beam's direction"),
        (lambda: Divergence([[0.0, 0.0]], [0.0]), "divergence.weights: must be finite and at least 0, and not all of them 0"),
        (lambda: Divergence([[0.0, 0.0]], ["x"]), "divergence.angles: angles and weights must be lists of numbers"),
        (lambda: Divergence.cone(1.0, 2), "divergence.width: 1 rad: must be at most 0.5"),
        (lambda: Sources(divergence=1), "sources.divergence: 1 is not a Divergence"),
        (
            lambda: Sources(divergence=Divergence.cone(1e-3, 2), horizontal_range=1.0),
            "sources.divergence: and a horizontal grid of sources are",
        ),
        (
            lambda: Sources(divergence=Divergence.cone(1e-3, 2), positions=[[1, 0, 0]], weights=[1], wavelengths=[1e-10]),
            "sources.divergence: listed sources have directions of their own; leave one of them out",
        ),
        (
            lambda: replace(small(spectrum=Spectrum.gaussian(1e-10, 0.01)), sources=Sources(dispersion=0.01)).source_list,
            "sources.dispersion: and beam.spectrum are given; leave one of them out",
        ),
        (
            lambda: (
                replace(
                    small(spectrum=Spectrum.gaussian(1e-10, 0.01)), sources=Sources(positions=[[1, 0, 0]], weights=[1], wavelengths=[1e-10])
                ).source_list
            ),
            r"beam.spectrum: listed sources have wavelengths of their own; leave these out \(NaN\), or the spectrum",
        ),
        (
            lambda: (
                replace(
                    small(spectrum=Spectrum.gaussian(1e-10, 0.01)), sources=Sources(divergence=Divergence.gaussian(1e-3, 1e-3))
                ).source_list
            ),
            r"sources.divergence: 14641 directions x 401 wavelengths; 1000000 sources are the most: sample it \(divergence_steps\)",
        ),
        (lambda: Divergence.gaussian(-1e-3, 1e-3), "divergence.horizontal: -0.001 rad: must be at least 0"),
        (lambda: Divergence.top_hat(1e-3, -1e-3), "divergence.vertical: -0.001 rad: must be at least 0"),
        (lambda: small(spectrum=Spectra((1e-10,), [[1.0]]), shot=2).source_list, "beam.shot: 2: the spectra are of 1 shots"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


@pytest.mark.spec("EXP-81")
def test_a_gaussian() -> None:
    found = Spectrum.gaussian(1.3e-10, 0.02)
    half = np.interp([0.99, 1.0, 1.01], found.energies[::-1] / found.energies[200], found.weights[::-1])
    np.testing.assert_allclose(half, [0.5, 1.0, 0.5], rtol=1e-3)
    assert found.mean == pytest.approx(1.3e-10, rel=1e-12)
    assert found.weights.min() / found.weights.max() == pytest.approx(math.exp(-8.0))


@pytest.mark.spec("EXP-82")
def test_a_pink_beam_is_even_in_wavelength_from_its_own_on() -> None:
    found = Spectrum.pink(1e-10, 0.03, edge=0.002)
    level = found.weights[(found.wavelengths > 1.005e-10) & (found.wavelengths < 1.025e-10)]
    np.testing.assert_allclose(level, 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.interp([1e-10, 1.03e-10], found.wavelengths, found.weights), 0.5, atol=1e-3)
    assert np.trapezoid(found.weights, found.wavelengths) == pytest.approx(0.03e-10, rel=1e-4)


@pytest.mark.spec("EXP-83")
def test_two_crystals() -> None:
    found, total = Spectrum.monochromator(1e-10), 139.8e-6 * 2.0 * math.sqrt(2.0) / 3.0
    x = (found.energies / found.energies[200] - 1.0) / (total / 2.0)
    np.testing.assert_allclose(found.weights[np.abs(x) < 0.999], 1.0)
    for offset, reflected in ((2.0, (2.0 - math.sqrt(3.0)) ** 2), (-1.04, math.exp(-2.0 * math.acosh(1.04)))):
        assert found.weights[np.argmin(np.abs(x - offset))] == pytest.approx(reflected**2, rel=1e-6)


SASE = Sase(wavelength=1.3e-10, bandwidth=2e-3, duration=5e-15)


@pytest.mark.spec("EXP-84")
def test_pulse_energies_follow_a_gamma_distribution() -> None:
    """Mean 1 and variance 1 / M, and the third moment 2 / M^2, each within four standard errors."""
    shots = 2000
    sums = np.array([SASE.of_shot(n).weights.sum() for n in range(shots)])
    M = math.hypot(1.0, 2.0 * (2e-3 * 9537.246 / HBAR * SIGMA) * (5e-15 * SIGMA))
    assert pytest.approx(M, rel=1e-4) == SASE.modes
    assert abs(sums.mean() - 1.0) <= 4.0 / math.sqrt(M * shots)
    assert abs(sums.var() * M - 1.0) <= 4.0 * math.sqrt((2.0 + 6.0 / M) / shots)
    skewness = ((sums - 1.0) ** 3).mean() / sums.std() ** 3
    assert abs(skewness - 2.0 / math.sqrt(M)) <= 4.0 * math.sqrt(6.0 * (1.0 + 3.0 / M) / shots) * 1.5


@pytest.mark.spec("EXP-84")
def test_the_mean_of_shots_and_what_a_shot_looks_like() -> None:
    """The mean is a Gaussian of the gain's width and the pulse's; one energy is exponential over shots; spikes are as wide as is said."""
    shots = np.array([SASE.of_shot(n).weights[::-1] for n in range(1000)])
    E = SASE.of_shot(0).energies[::-1]
    mean = shots.mean(axis=0)
    middle = np.average(E, weights=mean)
    width = math.sqrt(np.average((E - middle) ** 2, weights=mean)) / SIGMA / middle
    assert width == pytest.approx(SASE.mean_width, rel=0.02)
    assert middle == pytest.approx(9537.246, rel=1e-4)
    bright = shots[:, mean > 0.7 * mean.max()] / mean[mean > 0.7 * mean.max()]
    assert bright.var() == pytest.approx(1.0, abs=0.1)
    correlation = [np.mean((bright[:, :-lag] - 1.0) * (bright[:, lag:] - 1.0)) / bright.var() for lag in (1, 2, 3)]
    w = np.arange(1, 4) * (E[1] - E[0]) / HBAR
    np.testing.assert_allclose(correlation, np.exp(-((5e-15 * SIGMA * w) ** 2)), atol=0.06)
    assert SASE.spike_width == pytest.approx(2.0 * math.sqrt(math.log(2.0)) / (5e-15 * SIGMA) * HBAR / 9537.246, rel=1e-6)


@pytest.mark.spec("EXP-84")
def test_seed_and_shot_alone_decide() -> None:
    one, again = SASE.of_shot(3), SASE.of_shot(3)
    assert one == again
    assert one != SASE.of_shot(4)
    assert one != SASE.of_shot(3, seed=2)
    np.testing.assert_allclose(one.weights[400:402], SASE_WEIGHTS, rtol=1e-9)
    same = Sase(wavelength=1.3e-10, coherence_time=math.sqrt(math.pi) / SASE.gain_width, duration=5e-15)
    np.testing.assert_allclose(same.of_shot(3).weights, one.weights, rtol=1e-9)
    jittery = replace(SASE, energy_jitter=1e-3)
    centres = np.array([jittery.of_shot(n).energies.mean() / SASE.of_shot(n).energies.mean() - 1.0 for n in range(300)])
    assert centres.std() == pytest.approx(1e-3, rel=0.2)


SASE_WEIGHTS = [0.003758106030775075, 0.003812868702026382]


@pytest.mark.spec("EXP-85")
def test_strata_keep_weight_and_mean() -> None:
    for spectrum in (
        Spectrum.gaussian(1e-10, 0.02),
        Spectrum.pink(1e-10, 0.02),
        SASE.of_shot(1),
        Spectrum((1e-10, 1.001e-10, 1.01e-10), (1, 2, 3)),
    ):
        for steps in (1, 7, 1000):
            found = spectrum.sampled(steps)
            assert len(found.weights) <= steps
            assert found.weights.sum() == pytest.approx(spectrum.weights.sum(), rel=1e-12)
            assert found.mean == pytest.approx(Spectrum.sampled(spectrum, 1).mean, rel=1e-12)
    twice = Spectrum((1e-10, 1e-10, 1.01e-10), (1.0, 2.0, 3.0)).sampled(4)
    assert twice == Spectrum((1e-10, 1.01e-10), (3.0, 3.0)).sampled(4)
    assert len(Spectrum((1e-10, 1e-10), (1.0, 2.0)).sampled(4).weights) == 2
    found = Spectrum.from_energies((9000.0, 9010.0, 9020.0), (1.0, 2.0, 1.0)).sampled(6)
    np.testing.assert_allclose(found.weights[::-1], [0.5, 0.5, 1.0, 1.0, 0.5, 0.5], rtol=1e-9)
    of_boxes, of_middles = (100.0 + 100.0) / 4 + 10.0**2 / 12, np.average((5.0 * np.arange(6) - 12.5) ** 2, weights=found.weights)
    stretch = math.sqrt(of_boxes / of_middles)
    np.testing.assert_allclose(found.energies[::-1], 9010.0 + stretch * (5.0 * np.arange(6) - 12.5), rtol=1e-12)


@pytest.mark.spec("EXP-86")
def test_divergences() -> None:
    gaussian = Divergence.gaussian(1e-3, 0.0)
    assert len(gaussian.weights) == 121
    spread = np.sqrt(np.average(gaussian.angles**2, axis=0, weights=gaussian.weights))
    np.testing.assert_allclose(spread, [1e-3 * SIGMA, 0.0], rtol=2e-3)
    slits = Divergence.top_hat(1e-3, 2e-3)
    np.testing.assert_allclose(np.sqrt(np.average(slits.angles**2, axis=0)), np.array([1e-3, 2e-3]) / math.sqrt(12.0), rtol=1e-3)
    assert len(Divergence.cone(1e-3, 4).weights) == 13
    for found in (gaussian, slits):
        cells = found.sampled(4, 3)
        assert cells.weights.sum() == pytest.approx(found.weights.sum())
        np.testing.assert_allclose(np.average(cells.angles, axis=0, weights=cells.weights), 0.0, atol=1e-15)
        variances = [np.average(one.angles**2, axis=0, weights=one.weights) for one in (cells, found)]
        np.testing.assert_allclose(*variances, rtol=1e-12)
    assert len(slits.sampled(4, 3).weights) == 12


@pytest.mark.spec("EXP-86")
def test_directions_are_turned_by_both_angles() -> None:
    experiment = replace(small(), sources=Sources(divergence=Divergence([[0.01, 0.0], [0.0, 0.02]], [1.0, 3.0])))
    found, axes = experiment.source_list, experiment.axes
    across = np.cross(axes["incident"], axes["polarization"])
    sines = np.array([found.incident @ axes["polarization"], found.incident @ across])
    np.testing.assert_allclose(np.abs(sines), [[math.sin(0.01), 0.0], [0.0, math.sin(0.02)]], atol=1e-15)
    np.testing.assert_allclose(found.weight, [1.0, 3.0])


@pytest.mark.spec("EXP-87")
def test_jitter_and_spectra_of_shots() -> None:
    directions = np.array([small(direction_jitter=(1e-3, 3e-3), shot=n).source_list.incident[0] for n in range(200)])
    axes = small().axes
    across = np.cross(axes["incident"], axes["polarization"])
    assert np.std(directions @ axes["polarization"]) == pytest.approx(1e-3, rel=0.2)
    assert np.std(directions @ across) == pytest.approx(3e-3, rel=0.2)
    np.testing.assert_array_equal(small(direction_jitter=(1e-3, 3e-3), shot=7).source_list.incident[0], directions[7])
    measured = Spectra((0.99e-10, 1e-10), [[1.0, 2.0], [3.0, 4.0]])
    assert [small(spectrum=measured, shot=n).source_list.weight.tolist() for n in (0, 1, 2)] == [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]
    assert measured.mean == pytest.approx(10.0 / (4.0 / 0.99e-10 + 6.0 / 1e-10))


@pytest.mark.spec("EXP-87")
def test_images_of_a_sweep_are_shots() -> None:
    from nbnumba.campaign.sweep import Counting, Sweep

    still = small(spectrum=SASE, wavelength=1.3e-10)
    sweep = Sweep(experiment=still, images=3, width=0.0, counting=Counting())
    weights = [sweep.image(n).source_list.weight for n in (1, 2)]
    np.testing.assert_array_equal(weights[0], SASE.of_shot(1).weights)
    np.testing.assert_array_equal(weights[1], SASE.of_shot(2).weights)
    assert Sweep(experiment=small(), images=3, width=0.0, counting=Counting()).image(2).beam.shot == 0


@pytest.mark.spec("EXP-88")
def test_as_many_wavelengths_as_spots_need() -> None:
    """The image of strata is within 1e-4 of that of ten times as many; a sixth of them is far off."""
    experiment = small(spectrum=Spectrum.gaussian(1e-10, 0.01), spectrum_steps=0)
    step = 0.5 * experiment.finest_d / (20 * 70e-10)
    chosen = math.ceil(Spectrum.gaussian(1e-10, 0.01).range / step)
    assert len(experiment.source_list.weight) == pytest.approx(chosen, abs=1)
    images = [
        nbnumba.simulate(replace(experiment, beam=replace(experiment.beam, spectrum_steps=steps))).pixels
        for steps in (0, chosen // 6, 10 * chosen)
    ]
    off = [np.abs(image - images[2]).sum() / images[2].sum() for image in images[:2]]
    assert off[0] <= 1e-4
    assert off[1] >= 100.0 * off[0]
    assert advice.few_sources(experiment) == []


@pytest.mark.spec("EXP-88")
def test_as_many_directions_as_spots_need() -> None:
    divergence = Divergence.gaussian(1e-3, 0.5e-3)
    experiment = replace(small(), sources=Sources(divergence=divergence, divergence_steps=0))
    step = 0.5 * 1e-10 / (20 * 70e-10)
    counts = [math.ceil(width / step) for width in divergence.range]
    assert len(experiment.source_list.weight) == pytest.approx(math.prod(counts), abs=max(counts))
    fine = replace(experiment, sources=Sources(divergence=divergence, divergence_steps=40))
    images = [nbnumba.simulate(one).pixels for one in (experiment, fine)]
    assert np.abs(images[0] - images[1]).sum() / images[1].sum() <= 3e-3


@pytest.mark.spec("EXP-88")
def test_panels_have_the_same_sources() -> None:
    one = small(spectrum=Spectrum.gaussian(1e-10, 0.01), spectrum_steps=0)
    (panel,) = one.panels
    near, far = replace(panel, name="near"), replace(panel, name="far", origin=tuple(3.0 * x for x in panel.origin))
    several = replace(one, detector=replace(one.detector, panels=(near, far)))
    assert all(len(alone.source_list.weight) == len(one.source_list.weight) for alone in (several, *several.by_panel))


@pytest.mark.spec("EXP-88")
def test_too_few_are_warned_of() -> None:
    lines = advice.warnings(small(spectrum=Spectrum((0.99e-10, 1e-10), (1.0, 1.0))))
    assert any(
        "2 wavelengths are so far apart that spots show them one by one; " in line and "(--spectrum-steps 0)" in line for line in lines
    )
    sources = Sources(divergence=Divergence([[0.0, 0.0], [0.05, 0.0]], [1.0, 1.0]))
    lines = advice.warnings(replace(small(), sources=sources))
    assert any("2 directions along an axis are so far apart" in line and "(--divergence-steps 0)" in line for line in lines)
    wide = replace(small(), sources=Sources(divergence=Divergence.gaussian(0.1, 0.0), divergence_steps=0))
    assert any("25 directions along an axis are so far apart" in line and "steps 0" not in line for line in advice.warnings(wide))


@pytest.mark.spec("EXP-89")
@pytest.mark.parametrize("edge", [1e-6, 20e-6, 300e-6])
def test_a_gaussian_beam_lights_a_crystal_by_its_profile(edge: float) -> None:
    size = 30e-6
    beam = Beam(profile="gaussian", size=size, flux=1e12)
    profile = lambda y: math.exp(-4.0 * math.log(2.0) * (y / size) ** 2)  # noqa: E731
    assert beam.met(edge) == pytest.approx(integrate.quad(profile, -edge / 2, edge / 2)[0], rel=1e-9)
    assert beam.photons_per_area * integrate.quad(profile, -5.0 * size, 5.0 * size)[0] ** 2 == pytest.approx(1e12, rel=1e-6)
    experiment = nbnumba.experiment_from_options(f"{OPTIONS} --preset physics -fluence 1e20")
    crystal = replace(experiment.crystal, extent=(10e-6, edge, 2 * edge))
    lit = replace(experiment, crystal=crystal, beam=replace(experiment.beam, profile="gaussian", size=size)).illuminated
    assert lit == pytest.approx((10e-6, beam.met(edge), beam.met(2 * edge)))


@pytest.mark.spec("EXP-80")
def test_descriptions_are_what_they_hold() -> None:
    for held in (Spectrum.gaussian(1e-10, 0.01), Spectra((1e-10,), [[1.0]]), SASE, Divergence.cone(1e-3, 2)):
        assert pickle.loads(pickle.dumps(held)) == held
    spectrum = Spectrum((1e-10,), (1.0,))
    with pytest.raises(ValueError, match="read-only"):
        spectrum.weights[0] = 2.0
