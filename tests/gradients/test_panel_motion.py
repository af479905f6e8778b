"""Gradients of images of several panels, and by the motion of panels."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from many_panels import sixteen
from scipy import optimize
from scipy.spatial.transform import Rotation

import nbnumba
from nbnumba.geometry.panel_groups import middle_of
from nbnumba.gradients.check import check_gradient
from nbnumba.gradients.parameters import parameters_of, with_values

GROUPS = {
    "quadrant00": (0, 1, 4, 5),
    "quadrant11/half1": (14, 15),
    "r2c1": (9,),
    "quadrant11/half0/r2c3": (11,),
    "5": (5,),
    "*": tuple(range(16)),
}
MOVED = (
    *("panels[quadrant00].shift_x", "panels[quadrant00].rotation_y", "panels[quadrant11/half1].rotation_x", "panels[r2c1].rotation_z"),
    *("panels[5].shift_z", "panels[*].shift_y"),
)


def experiment_of(**more: Any) -> nbnumba.Experiment:
    """Sixteen tilted panels of which one has a mask, and a table of structure factors."""
    panels = list(sixteen().panels)
    panels[3] = replace(panels[3], mask=np.random.default_rng(3).random(panels[3].shape) > 0.3)
    hkl = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return nbnumba.Experiment(
        beam=nbnumba.Beam(wavelength=1e-10, fluence=1e28, direction=(0.0, 0.0, -1.0), polarization_axis=(1.0, 0.0, 0.0)),
        crystal=nbnumba.Crystal(cell=(7e-9, 8e-9, 9e-9, 1.5, 1.6, 1.7), cells=(3, 3, 3), misset=(0.1, 0.2, 0.3)),
        detector=nbnumba.Detector(convention="custom", panels=panels),
        structure_factors=nbnumba.StructureFactors(hkl=hkl, F=np.random.default_rng(0).uniform(50.0, 100.0, len(hkl)), default_F=30.0),
        **more,
    )


@pytest.mark.spec("GRA-22", "GRA-8")
def test_gradients_of_many_panels_agree_with_differences() -> None:
    found = check_gradient(experiment_of(), [*MOVED, "cell_a", "cells_b", "misset_x", "wavelength", "scale", "F(1,2,3)"])
    assert found.off() == []
    assert max(row.relative_error for row in found.rows) <= 1e-6
    assert all(row.value == 0.0 for row in found.rows[: len(MOVED)])
    assert sum(row.gradient != 0.0 for row in found.rows) >= len(found.rows) - 1


@pytest.mark.spec("GRA-22")
@pytest.mark.parametrize("group", GROUPS)
def test_a_group_moves_as_one_body(group: str) -> None:
    experiment, members = experiment_of(), GROUPS[group]
    values = {f"panels[{group}].{name}": value for name, value in (("shift_x", 1e-3), ("shift_z", -2e-3), ("rotation_y", 0.1))}
    before, after = experiment.panels, with_values(experiment, values).panels
    turn = Rotation.from_rotvec([0.0, 0.1, 0.0]).as_matrix()
    pivot = np.mean([middle_of(before[n]) for n in members], axis=0)
    for n, (there, here) in enumerate(zip(before, after, strict=True)):
        if n not in members:
            assert here == there
            continue
        np.testing.assert_allclose(here.origin, pivot + (1e-3, 0.0, -2e-3) + turn @ (there.origin - pivot), rtol=0.0, atol=1e-15)
        np.testing.assert_allclose([here.fast_axis, here.slow_axis], [turn @ there.fast_axis, turn @ there.slow_axis], rtol=0.0, atol=1e-15)
        assert (here.name, here.pixel_size, here.shape) == (there.name, there.pixel_size, there.shape)
    np.testing.assert_array_equal(after[3].mask, before[3].mask)


@pytest.mark.slow
@pytest.mark.spec("GRA-22", "GRA-5")
def test_a_column_is_0_off_the_panels_that_move() -> None:
    experiment = experiment_of()
    names = ["panels[quadrant00].shift_x", "panels[9].rotation_z", "cell_b"]
    columns, image = nbnumba.jacobian(experiment, names), nbnumba.simulate(experiment)
    assert columns.shape == (image.pixels.size, 3)
    panels = np.repeat(np.arange(16), [panel.pixels.size for panel in image.panels])
    assert set(panels[columns[:, 0] != 0.0]) == {0, 1, 4, 5}
    assert set(panels[columns[:, 1] != 0.0]) == {9}
    assert (columns[image.pixels == 0.0] == 0.0).all()  # behind the mask
    operator, random = nbnumba.gradients.jacobian.linear_operator(experiment, names), np.random.default_rng(1)
    v, w = random.normal(size=3), random.normal(size=image.pixels.size)
    forward, back = operator.matvec(v), operator.rmatvec(w)
    np.testing.assert_allclose(forward, columns @ v, rtol=0.0, atol=1e-12 * np.abs(forward).max())
    np.testing.assert_allclose(back, columns.T @ w, rtol=1e-10)


@pytest.mark.spec("GRA-22", "GRA-6")
def test_geometry_is_refined() -> None:
    """Where two quadrants have moved and turned, derivatives are those of there, not of the start."""
    experiment = experiment_of(sampling=nbnumba.Sampling(oversample=1))
    names = [f"panels[quadrant00].{name}" for name in ("shift_x", "shift_y", "rotation_z", "rotation_x")] + ["panels[quadrant11].shift_y"]
    truth = with_values(experiment, dict(zip(names, (3e-5, -2e-5, 2e-3, -3e-3, 4e-5), strict=True)))
    fit = nbnumba.Refinement(experiment, names, nbnumba.simulate(truth).pixels)
    there = np.array([0.3, 0.1, 1e-3, 2e-3, -0.2])
    differences = optimize.approx_fprime(there, lambda x: fit.value_and_grad(x)[0], 1e-7)
    np.testing.assert_allclose(fit.value_and_grad(there)[1], differences, rtol=1e-4)
    found = optimize.least_squares(fit.residuals, fit.start, fit.jacobian)
    np.testing.assert_allclose([*fit.values_at(found.x).values()], (3e-5, -2e-5, 2e-3, -3e-3, 4e-5), rtol=1e-4)


@pytest.mark.spec("GRA-22")
def test_a_loss_of_many_panels_is_the_sum_over_them() -> None:
    experiment, names = experiment_of(), ["cell_a", "F(0,1,2)"]
    pixels = nbnumba.simulate(experiment).pixels
    loss = nbnumba.losses.least_squares(0.9 * pixels)
    value, gradient = nbnumba.value_and_grad(experiment, names, loss)
    own = nbnumba.value_and_grad(experiment, names, lambda photons: loss(photons))
    assert value == pytest.approx(own[0], rel=1e-12)
    np.testing.assert_allclose(gradient, own[1], rtol=1e-8)
    by_differences = nbnumba.value_and_grad(experiment, names, loss, differences=True)
    np.testing.assert_allclose(gradient, by_differences[1], rtol=1e-6)
    assert nbnumba.gradient_by_amplitudes(experiment, loss)[1].shape == experiment.structure_factors.F.shape


@pytest.mark.spec("GRA-22")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "panels[quadrant0].shift_x",
            "no panel and no group of panels is called 'quadrant0'; there are numbers from 0 to 15, * for all, quadrant",
        ),
        ("panels[16].shift_x", "no panel and no group of panels is called '16'"),
        ("panels[].shift_x", "no panel and no group of panels is called ''"),
        ("panels[3].shift_w", "no parameter 'panels[3].shift_w'"),
        ("distance", "distance does not move a detector of panels; panels[*].shift_z, panels[*].rotation_x and the like do"),
        ("detector.rotations[0]", "detector.rotations[0] does not move a detector of panels"),
    ],
)
def test_what_cannot_be_moved(name: str, message: str) -> None:
    with pytest.raises(nbnumba.ParameterError, match=re.escape(message)):
        nbnumba.jacobian(experiment_of(), [name])


@pytest.mark.spec("GRA-22")
def test_two_levels_of_groups_at_once_are_refused() -> None:
    names = ["panels[quadrant00].shift_x", "panels[5].shift_x"]
    told = "panels[quadrant00].shift_x and panels[5].shift_x move a panel both; take one level of groups after the other"
    with pytest.raises(nbnumba.ParameterError, match=re.escape(told)):
        nbnumba.Refinement(experiment_of(), names)


@pytest.mark.spec("GRA-22")
def test_pixels_that_say_nothing_are_named_with_their_panel() -> None:
    experiment = experiment_of()
    observed = np.zeros(nbnumba.simulate(experiment).pixels.size)
    observed[125] = np.nan
    told = "loss: panel r0c1, pixel slow 0, fast 5 is observed as nan, with the weight 1.0"
    with pytest.raises(nbnumba.ParameterError, match=re.escape(told)):
        nbnumba.value_and_grad(experiment, ["cell_a"], nbnumba.losses.least_squares(observed))


@pytest.mark.spec("GRA-22")
def test_parameters_of_panels() -> None:
    found = parameters_of(experiment_of())
    assert {f"panels[*].{motion}_{axis}" for motion in ("shift", "rotation") for axis in "xyz"} <= set(found)
    assert not {"distance", "beam_x", "detector_rotx", "twotheta"} & set(found)


@pytest.mark.spec("GRA-22")
def test_a_detector_of_one_panel_can_be_moved_too() -> None:
    one = nbnumba.experiment_from_options("-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -N 5 -detpixels 12 -distance 50")
    moved = with_values(one, {"panels[0].shift_x": 1e-3})
    assert moved.frame.distance == pytest.approx(0.051)  # nanoBragg's beam runs along x
    assert moved.detector.shape == (12, 12)


@pytest.mark.spec("GRA-22", "GRA-5")
def test_a_jacobian_by_nothing() -> None:
    assert nbnumba.jacobian(experiment_of(), []).shape == (16 * 120, 0)
