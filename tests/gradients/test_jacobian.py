"""How every pixel changes: against differences of images, and against the gradient of a loss."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares as fit_least_squares
from scipy.optimize import minimize

import nbnumba
from nbnumba.errors import ParameterError
from nbnumba.experiment.physics import Model
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.experiment.vectors import rotate_about
from nbnumba.gradients import differences
from nbnumba.gradients.derivatives import Derivatives
from nbnumba.gradients.losses import least_squares, poisson
from nbnumba.gradients.parameters import variable

# The experiments of two other modules, whose kernels are compiled for them as well.
BASE = (
    "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 20 -oversample 1 "
    "-Xbeam 10.3 -Ybeam 9.6 -fluence 1e24 -polar 0.5 "
)
NAMES = [
    *("cell_a", "cell_b", "cell_gamma", "misset_x", "misset_z", "cells_b", "distance", "beam_x", "detector_rotx", "twotheta"),
    *("wavelength", "polarization_fraction", "scale", "default_F"),
]
CASES = {
    "sweep": "-phi 3 -osc 2 -phisteps 3 -mosaic 0.5 -mosaic_dom 2",
    "sensor": "-detector_thick 400 -detector_abs 300 -thicksteps 3 -oversample 2 -dispersion 2 -dispsteps 2 -dmin 3",
}


def experiment_of(case: str, preset: str = "reference") -> nbnumba.Experiment:
    experiment = nbnumba.experiment_from_options(BASE + CASES[case])
    return replace(experiment, model=replace(experiment.model, preset=preset))


def with_table(experiment: nbnumba.Experiment) -> nbnumba.Experiment:
    hkl = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    F = 50.0 + 40.0 * np.random.default_rng(1).random(len(hkl))
    return replace(experiment, structure_factors=StructureFactors(hkl=hkl, F=F, default_F=30.0), model=Model(preset="physics"))


@pytest.mark.spec("GRA-5")
@pytest.mark.parametrize(
    ("case", "preset"),
    [("sweep", "reference"), ("sensor", "reference"), pytest.param("sensor", "physics", marks=pytest.mark.slow)],  # it takes a kernel
)
def test_columns(case: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against differences, and times any vector against the gradient of a linear loss."""
    experiment = experiment_of(case, preset)
    found = nbnumba.jacobian(experiment, NAMES)
    assert found.shape == (400, len(NAMES))
    w = np.random.default_rng(0).normal(size=(20, 20))
    _, gradient = nbnumba.value_and_grad(experiment, NAMES, lambda photons: (float((w * photons).sum()), w))
    assert w.ravel() @ found == pytest.approx(gradient, rel=1e-9)
    expected = nbnumba.jacobian(experiment, NAMES, differences=True)
    scale = np.abs(expected).max(axis=0)
    monkeypatch.setattr(differences, "OF_IMAGES", 3e-4)
    closer = nbnumba.jacobian(experiment, NAMES, differences=True)
    # Single pixels meet a kink on the way of a difference, where the reflection nearest to them becomes another.
    kinks = np.abs(expected - closer) > 1e-6 * scale
    assert kinks.mean() < 0.01
    assert (np.abs(found - expected) / scale)[~kinks].max() < 1e-6


def index_at(experiment: nbnumba.Experiment, fast: int, slow: int) -> tuple[int, ...]:
    """The reflection nearest to a pixel at the spindle's start."""
    frame, pixel, start = experiment.frame, experiment.detector.pixel_size, experiment.goniometer.phi_start
    place = frame.pix0 + (fast + 0.5) * pixel * frame.fast_axis + (slow + 0.5) * pixel * frame.slow_axis
    scattering = (place / np.linalg.norm(place) - frame.incident) / experiment.beam.wavelength
    return tuple(np.rint(rotate_about(experiment.unit_cell.direct, frame.spindle_axis, start) @ scattering).astype(int).tolist())


@pytest.mark.spec("GRA-5")
def test_the_columns_of_a_table_of_amplitudes() -> None:
    """By rendering alone, without the kernels of derivatives: photons are a quadratic form of the amplitudes."""
    experiment = with_table(experiment_of("sweep"))
    factors = experiment.structure_factors
    derivatives = Derivatives(experiment)
    for fast, slow in ((2, 3), (15, 4)):
        h, k, l = index = index_at(experiment, fast, slow)
        slope = derivatives.slopes([variable(f"F({h},{k},{l})")])[0]["table"]
        at = (factors.hkl == index).all(axis=1)
        less, more = (
            nbnumba.simulate(replace(experiment, structure_factors=replace(factors, F=factors.F + step * at))).pixels
            for step in (-1.0, 1.0)
        )
        expected = (more - less) / 2.0
        assert np.abs(expected).max() > 0.0
        assert derivatives._along_table(slope) == pytest.approx(expected, rel=1e-6, abs=1e-9 * np.abs(expected).max())


@pytest.mark.slow  # it takes kernels of its own
@pytest.mark.spec("GRA-5")
def test_columns_by_amplitudes() -> None:
    experiment = with_table(experiment_of("sweep"))
    names = ["F(1,2,-3)", "F(0,1,0)", "default_F", "misset_x"]
    found = nbnumba.jacobian(experiment, names)
    w = np.random.default_rng(0).normal(size=(20, 20))
    _, gradient = nbnumba.value_and_grad(experiment, names, lambda photons: (float((w * photons).sum()), w))
    assert w.ravel() @ found == pytest.approx(gradient, rel=1e-9)
    assert np.abs(found).max(axis=0)[2] > 0.0


@pytest.mark.spec("GRA-5")
def test_operator() -> None:
    """J v and J^T w without J."""
    experiment = experiment_of("sweep")
    names = ["cell_a", "misset_y", "scale", "default_F"]
    J, operator = nbnumba.jacobian(experiment, names), nbnumba.linear_operator(experiment, names)
    random = np.random.default_rng(0)
    v, w = random.normal(size=4) * [1e-10, 1e-3, 1.0, 1.0], random.normal(size=400)
    assert operator.shape == J.shape
    assert operator.matvec(v) == pytest.approx(J @ v, rel=1e-9, abs=1e-12 * np.abs(J @ v).max())
    assert operator.rmatvec(w) == pytest.approx(J.T @ w, rel=1e-9)


@pytest.mark.spec("GRA-5")
def test_masked_pixels_do_not_change() -> None:
    experiment = experiment_of("sweep")
    mask = np.random.default_rng(2).random((20, 20)) > 0.4
    found = nbnumba.jacobian(replace(experiment, sampling=replace(experiment.sampling, mask=mask)), ["cell_a"])
    assert (found[~mask.ravel()] == 0.0).all()
    assert found[mask.ravel()] == pytest.approx(nbnumba.jacobian(experiment, ["cell_a"])[mask.ravel()], rel=1e-12)


TRUE = {"misset_x": 0.1763, "misset_y": 0.3501, "cell_a": 70.02e-10, "scale": 1.1}


def observed() -> Any:
    from nbnumba.gradients.parameters import with_values

    return nbnumba.simulate(with_values(experiment_of("sweep"), TRUE)).pixels


@pytest.mark.spec("GRA-6")
def test_refined_by_least_squares() -> None:
    """SciPy takes residuals and Jacobian as they are."""
    fit = nbnumba.Refinement(experiment_of("sweep"), list(TRUE), observed(), weights=1e-4)
    found = fit_least_squares(fit.residuals, fit.start, fit.jacobian, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert fit.values_at(found.x) == pytest.approx(TRUE, rel=1e-8)
    refined = fit.experiment_at(found.x)
    assert refined.crystal.cell[0] == pytest.approx(TRUE["cell_a"], rel=1e-8)
    assert fit.values_at(fit.start)["cell_a"] == pytest.approx(70e-10)


@pytest.mark.spec("GRA-6")
def test_refined_by_minimize() -> None:
    """And value and gradient; those of half the sum of squares are those of the residuals."""
    fit = nbnumba.Refinement(experiment_of("sweep"), list(TRUE), observed(), weights=1e-4)
    value, gradient = fit.value_and_grad(fit.start)
    residuals = fit.residuals(fit.start)
    assert value == pytest.approx(0.5 * residuals @ residuals, rel=1e-9)
    assert gradient == pytest.approx(fit.jacobian(fit.start).T @ residuals, rel=1e-8)
    there = np.array([0.001, 0.002, 1e-4, 0.1])  # and elsewhere, too, of the same numbers
    by_differences = [(fit.value_and_grad(there + h)[0] - fit.value_and_grad(there - h)[0]) / 2e-6 for h in 1e-6 * np.eye(4)]
    assert fit.value_and_grad(there)[1] == pytest.approx(by_differences, rel=1e-5)
    found = minimize(fit.value_and_grad, fit.start, jac=True, options={"gtol": 1e-9})
    assert fit.values_at(found.x) == pytest.approx(TRUE, rel=1e-5)


@pytest.mark.spec("GRA-6")
def test_another_loss() -> None:
    counts = np.random.default_rng(0).poisson(observed())
    fit = nbnumba.Refinement(experiment_of("sweep"), ["scale"], loss=poisson(counts))
    value, gradient = fit.value_and_grad(fit.start)
    expected, slopes = nbnumba.value_and_grad(experiment_of("sweep"), ["scale"], poisson(counts))
    assert (value, gradient[0]) == (expected, slopes[0])


@pytest.mark.spec("GRA-6")
def test_steps_of_one_size() -> None:
    """Angles in radians, other numbers in units of the start value, of 1 where that is 0."""
    fit = nbnumba.Refinement(experiment_of("sweep"), ["cell_a", "cell_alpha", "twotheta", "wavelength", "polarization_fraction"])
    assert fit.values_at([0.01] * 5) == pytest.approx(
        {
            "cell_a": 70.7e-10,
            "cell_alpha": variable("cell_alpha").value(experiment_of("sweep")) + 0.01,
            "twotheta": 0.01,
            "wavelength": 1.515e-10,
            "polarization_fraction": 0.505,
        }
    )


@pytest.mark.spec("GRA-6")
def test_pixels_that_say_nothing_may_be_anything() -> None:
    """Those without a weight, and those that are not rendered."""
    mask = np.ones((20, 20), bool)
    mask[3, 4] = False
    experiment = experiment_of("sweep")
    masked = replace(experiment, sampling=replace(experiment.sampling, mask=mask))
    counts = np.where(mask, 1.0, np.nan)
    weighted = nbnumba.Refinement(experiment, ["cell_a"], counts, 1.0 * mask)
    without = nbnumba.Refinement(masked, ["cell_a"], counts)
    for fit in (weighted, without):
        residuals = fit.residuals(fit.start)
        assert np.isfinite(residuals).all()
        assert residuals[3 * 20 + 4] == 0.0
        assert fit.value_and_grad(fit.start)[0] == pytest.approx(0.5 * residuals @ residuals, rel=1e-9)
    assert weighted.residuals(weighted.start) == pytest.approx(without.residuals(without.start))


def test_bad_input() -> None:
    experiment = experiment_of("sweep")
    for names in (["cell_a", "cell_a"], ["cell_a", "crystal.cell[0]"], ["scale", "fluence"]):
        with pytest.raises(ParameterError, match=re.escape(f"parameters: {names[0]} and {names[1]} are one number; give one of them")):
            nbnumba.Refinement(experiment, names)
    fit = nbnumba.Refinement(experiment, ["cell_a", "misset_x"])
    for x in ([0.0], [0.0, 0.0, 0.0]):
        with pytest.raises(ParameterError, match=f"x: has {len(x)} numbers for 2 parameters"):
            fit.residuals(x)
    with pytest.raises(ParameterError, match="weights: nan is not a number of at least 0"):
        nbnumba.Refinement(experiment, ["cell_a"], weights=float("nan"))
    assert nbnumba.jacobian(experiment, []).shape == (400, 0)


def test_negative_weights() -> None:
    with pytest.raises(ParameterError, match=r"weights: -1\.0 is not a number of at least 0"):
        nbnumba.Refinement(experiment_of("sweep"), ["cell_a"], 0.0, weights=-1.0)
    with pytest.raises(ParameterError, match="loss: has observations of shape"):
        nbnumba.Refinement(experiment_of("sweep"), ["cell_a"], np.zeros((3, 4)))
    assert nbnumba.value_and_grad(experiment_of("sweep"), [], least_squares(0.0))[1].size == 0
