"""Derivatives by what a stage brings along, and of stages that state none."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from nbnumba_plugins import lattice_gauss
from nbnumba_plugins.lattice_gauss import derivative
from scipy.optimize import least_squares, minimize

import nbnumba
from nbnumba import NbnumbaWarning, Parameter, ParameterError, Refinement, Stage, StageError, losses
from nbnumba.experiment.part import POSITIVE
from nbnumba.gradients.parameters import variables_of
from nbnumba.stages import registry

OPTIONS = "-default_F 100 -cell 50 60 70 90 90 90 -N 4 -detpixels 16 -pixel 4 -distance 100 -misset 10 20 30"
ROUND = nbnumba.experiment_from_options(f"{OPTIONS} -round_xtal -fudge 1.2")


def prepared(experiment: nbnumba.Experiment) -> lattice_gauss.Spot:
    """As the shipped one, narrower."""
    found = lattice_gauss.spot(experiment)
    narrow = WITHOUT.value_of("narrow", experiment.model.parameters)
    return found._replace(**{name: narrow * value for name, value in found._asdict().items() if name != "peak"})


def by_offsets(p, x, y, z):  # type: ignore[no-untyped-def]
    """The Gaussian, and its derivatives by offsets alone."""
    found = derivative(p, x, y, z)
    return found[0], found[1], found[2], found[3]


GAUSS = registry.installed().get("lattice_shape", "gauss")
NARROW = Parameter("narrow", "", 1.0, "factor to the width", POSITIVE)
WITHOUT = replace(GAUSS, name="without", parameters=(NARROW,), prepare=prepared, derivative=None, varied=())


def by_differences(experiment: nbnumba.Experiment, names: list[str], stages: list[Stage] | None = None) -> np.ndarray:
    return nbnumba.jacobian(experiment, names, stages=stages, differences=True)


@pytest.mark.spec("GRA-20")
@pytest.mark.parametrize("name", ["fudge", "model.parameters.fudge"])
def test_a_parameter_of_a_stage_with_a_derivative(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NbnumbaWarning)
        found = nbnumba.jacobian(ROUND, [name, "scale"])
    expected = by_differences(ROUND, [name, "scale"])
    assert (np.abs(found - expected).max(axis=0) <= 1e-6 * np.abs(expected).max(axis=0)).all()
    loss = losses.least_squares(1.0)
    value, gradient = nbnumba.value_and_grad(ROUND, [name], loss)
    _, expected = nbnumba.value_and_grad(ROUND, [name], loss, differences=True)
    assert value > 0.0
    assert abs(expected[0]) > 0.0
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.spec("GRA-20")
def test_its_value_limits_and_default() -> None:
    (fudge,) = variables_of(ROUND, ["fudge"])
    assert fudge.value(ROUND) == 1.2
    plain = nbnumba.experiment_from_options(f"{OPTIONS} -round_xtal")
    assert fudge.value(plain) == 1.0
    assert fudge.changed(plain, 1.2).model == ROUND.model
    with pytest.raises(ParameterError, match=r"model\.parameters\.fudge: -1 must be greater than 0"):
        fudge.changed(plain, -1)
    with pytest.raises(ParameterError, match=r"fudge and model\.parameters\.fudge are one number"):
        Refinement(ROUND, ["fudge", "model.parameters.fudge"])
    with pytest.raises(ParameterError, match="no parameter 'fudge'"):  # of the square crystal
        nbnumba.jacobian(nbnumba.experiment_from_options(OPTIONS), ["fudge"])


@pytest.mark.spec("GRA-20")
def test_a_parameter_is_refined() -> None:
    observed = nbnumba.simulate(ROUND).pixels
    start = replace(ROUND, model=replace(ROUND.model, parameters={"fudge": 1.1}))
    fit = Refinement(start, ["fudge", "cell_a"], observed)
    found = least_squares(fit.residuals, fit.start, fit.jacobian, xtol=1e-14, ftol=1e-14)
    assert fit.values_at(found.x)["fudge"] == pytest.approx(1.2, rel=1e-8)
    assert fit.experiment_at(found.x).model.parameters["fudge"] == pytest.approx(1.2, rel=1e-8)


@pytest.mark.spec("GRA-20")
def test_a_field_that_a_derivative_does_not_follow() -> None:
    """Of a stage with a derivative by nothing that the parameter changes: never a silent zero."""
    deaf = replace(WITHOUT, name="deaf", derivative=by_offsets, varied=())
    gauss = nbnumba.experiment_from_options(f"{OPTIONS} -gauss_xtal")
    with pytest.raises(StageError, match=r"lattice_shape 'deaf': its field x_least varies with narrow, which a gradient does not follow"):
        nbnumba.value_and_grad(gauss, ["narrow"], losses.least_squares(1.0), stages=[deaf])


@pytest.mark.spec("GRA-21")
def test_a_stage_without_a_derivative() -> None:
    names, told = ["narrow", "scale"], r"lattice_shape 'without': does not state its derivative.*: differences of images take its"
    gauss = nbnumba.experiment_from_options(f"{OPTIONS} -gauss_xtal")
    with pytest.warns(NbnumbaWarning, match=told):
        found = nbnumba.jacobian(gauss, names, stages=[WITHOUT])
    np.testing.assert_array_equal(found, by_differences(gauss, names, [WITHOUT]))
    assert (np.abs(found).max(axis=0) > 0.0).all()
    expected = nbnumba.jacobian(gauss, ["scale"])  # of the same shape, with its derivative
    assert (np.abs(found[:, 1:] - expected).max(axis=0) <= 1e-6 * np.abs(expected).max(axis=0)).all()
    with pytest.raises(StageError, match=r"does not state its derivative"):
        nbnumba.value_and_grad(gauss, names, losses.least_squares(1.0), stages=[WITHOUT])
    with pytest.raises(StageError, match=r"does not state its derivative"):
        nbnumba.linear_operator(gauss, names, stages=[WITHOUT]).matvec(np.ones(2))


@pytest.mark.spec("GRA-21")
@pytest.mark.parametrize("by", ["jacobian", "gradient"])
def test_refinement_of_a_stage_without_a_derivative(by: str) -> None:
    gauss = nbnumba.experiment_from_options(f"{OPTIONS} -gauss_xtal")
    there = replace(gauss, model=replace(gauss.model, parameters={"narrow": 0.9}))
    observed = nbnumba.simulate(there, stages=[WITHOUT]).pixels
    fit = Refinement(gauss, ["narrow"], observed, stages=[WITHOUT])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", NbnumbaWarning)
        if by == "jacobian":
            found = least_squares(fit.residuals, fit.start, fit.jacobian)
        else:
            found = minimize(fit.value_and_grad, fit.start, jac=True, bounds=[(-0.5, 0.5)])
    assert [one.category for one in told] == [NbnumbaWarning]  # once
    assert fit.values_at(found.x)["narrow"] == pytest.approx(0.9, abs=1e-4)


@pytest.mark.spec("GRA-3", "API-2")
def test_nobody_writes_into_an_experiment() -> None:
    """A changed experiment is another one, and so is its copy; what it was made of stays as it was."""
    before = pickle.dumps(ROUND)
    fit = Refinement(ROUND, ["cells_a", "mosaic_spread"] if ROUND.mosaic[0] else ["cells_a", "cell_a", "fudge"])
    fit.value_and_grad(fit.start + 0.01)
    fit.jacobian(fit.start + 0.02)
    assert pickle.dumps(ROUND) == before
    moved = fit.experiment_at([0.01, 0.0, 0.0])
    assert moved.cells[0] == pytest.approx(4.04)
    assert pickle.loads(pickle.dumps(moved)) == moved != ROUND
    np.testing.assert_array_equal(nbnumba.simulate(pickle.loads(pickle.dumps(moved))).pixels, nbnumba.simulate(moved).pixels)
