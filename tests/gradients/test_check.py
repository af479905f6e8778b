"""Gradients of random experiments against differences, and the check itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nbnumba
from nbnumba.experiment.physics import Model
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.gradients import check
from nbnumba.gradients.check import as_text, check_gradient
from nbnumba.gradients.parameters import parameters_of
from nbnumba.stages.registry import Registry, installed

SHAPES = ("", "-round_xtal", "-gauss_xtal", "-tophat_spots")
PRESETS = ("reference", "c-parity", "physics")
PROBE = (
    "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 20 -oversample 1 "
    "-phi 0 -osc 2 -phisteps 3 -roi 8 9 11 12"
)


def numbers(values: Any) -> str:
    return " ".join(f"{value:.6g}" for value in np.ravel(values))


def random_experiment(seed: int) -> nbnumba.Experiment:
    """A small image of anything: shapes, phi modes and presets in turn, the rest by chance."""
    random = np.random.default_rng(seed)
    shape, preset = SHAPES[seed % 4], PRESETS[seed // 4 % 3]
    chance = lambda: random.random() < 0.5  # noqa: E731
    words = [
        f"-default_F {numbers(random.uniform(50, 200))} -cell {numbers(random.uniform(40, 120, 3))} {numbers(random.uniform(75, 110, 3))}",
        f"-misset {numbers(random.uniform(-90, 90, 3))} -N {random.integers(2, 8)} -lambda {numbers(random.uniform(0.8, 2))} {shape}",
        f"-distance {numbers(random.uniform(40, 120))} -pixel {numbers(random.uniform(0.5, 2))} -detpixels 12 -fluence 1e24",
        f"-oversample {random.integers(1, 3)} -polar {numbers(random.uniform(-1, 1))}",
        f"-phi {0 if preset == 'c-parity' else numbers(random.uniform(-20, 20))} -osc {numbers(random.uniform(0.1, 3))} -phisteps 3",
    ]
    words += [f"-mosaic {numbers(random.uniform(0.1, 2))} -mosaic_dom 3"] if chance() else []
    words += ["-dispersion 2 -dispsteps 3 -divergence 5 -divsteps 2"] if chance() else []
    words += [f"-detector_rotx {numbers(random.uniform(-9, 9))} -twotheta {numbers(random.uniform(-9, 9))}"] if chance() else []
    words += [f"-Xbeam {numbers(random.uniform(2, 9))} -Ybeam {numbers(random.uniform(2, 9))}"] if chance() else []
    words += [f"-detector_thick 300 -detector_abs {numbers(random.uniform(100, 500))} -thicksteps 3"] if chance() else []
    words += [f"-water {numbers(random.uniform(0.015, 0.025))}"] if chance() else []
    words += [f"-dmin {numbers(random.uniform(1, 3))}"] if chance() else []
    experiment = nbnumba.experiment_from_options(" ".join(words))
    if seed % 5 == 4:
        hkl = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        F = 50.0 + 40.0 * random.random(len(hkl))
        factors = StructureFactors(hkl=hkl, F=F, default_F=30.0, interpolate=chance())
        experiment = replace(experiment, structure_factors=factors)
    return replace(experiment, model=Model(preset=preset))


@pytest.mark.spec("GRA-8")
@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 24))])
def test_every_parameter_of_random_experiments(seed: int) -> None:
    experiment = random_experiment(seed)
    found = check_gradient(experiment)
    assert len(found.rows) > 20
    assert found.off() == [], as_text(found)
    # A parameter that next to nothing depends on may be hidden by rounding of the loss.
    assert sum(row.relative_error > 1e-6 for row in found.rows) <= 1, as_text(found)
    assert np.isfinite([row.gradient for row in found.rows]).all()


@pytest.mark.spec("GRA-8")
def test_the_probe_of_four_pixels_through_the_carried_orientation() -> None:
    experiment = replace(nbnumba.experiment_from_options(PROBE), model=Model(preset="c-parity"))
    (row,) = check_gradient(experiment, ["cell_a"]).rows
    assert row.relative_error < 1e-6
    assert row.gradient != 0.0


@pytest.mark.spec("GRA-8")
def test_a_flat_shape_is_said_to_be_one() -> None:
    found = check_gradient(nbnumba.experiment_from_options(PROBE + " -tophat_spots -N 2 -roi 0 19 0 19"), ["cell_a", "cells_a"])
    assert found.notes == ["lattice_shape 'tophat': is flat but for its edges, where it jumps; its slope is 0 away from them"]
    assert found.rows[0].gradient == found.rows[0].differences == 0.0
    assert found.rows[1].gradient != 0.0
    assert check_gradient(nbnumba.experiment_from_options(PROBE), ["cell_a"]).notes == []


def wrong(p, x, y, z):
    value, by_x, by_y, by_z, by_a, by_b, by_c = planted(p, x, y, z)
    return value, by_x, by_y, by_z, 1.00001 * by_a, by_b, by_c


planted = installed().get("lattice_shape", "square").derivative


@pytest.mark.spec("GRA-8")
def test_a_wrong_derivative_is_found() -> None:
    """Of one part in 100 000, and by name."""
    registry = Registry()
    for stage, origin in installed():
        is_square = (stage.kind, stage.name) == ("lattice_shape", "square")
        registry._add(stage.kind, replace(stage, derivative=wrong) if is_square else stage, origin)
    found = check_gradient(nbnumba.experiment_from_options(PROBE), ["cell_a", "cells_a", "cells_b"], stages=registry)
    assert [row.parameter for row in found.off()] == ["cells_a"]
    assert found.off()[0].relative_error == pytest.approx(1e-5, rel=0.01)
    assert as_text(found).splitlines()[-1] == "1 of 3 parameters are off by more than 1e-06: cells_a"
    assert found.off(1e-4) == []


@pytest.mark.spec("GRA-3")
def test_what_an_experiment_can_be_differentiated_by() -> None:
    usual = set(parameters_of(nbnumba.experiment_from_options(PROBE)))
    assert {"cell_a", "cell_gamma", "misset_x", "cells_c", "phi_start", "oscillation", "beam_x", "fluence", "default_F"} <= usual
    assert usual.isdisjoint({"flux", "mosaic_spread", "background", "crystal.a_matrix[0]", "detector.sensor_thickness"})
    more = set(parameters_of(nbnumba.experiment_from_options(PROBE + " -flux 1e12 -mosaic 1 -water 1 -detector_thick 100 -nopolar")))
    assert {"flux", "mosaic_spread", "background", "detector.sensor_thickness"} <= more
    assert more.isdisjoint({"fluence", "polarization_fraction", "detector.sensor_attenuation"})


@pytest.mark.spec("GRA-8")
def test_differences_that_do_not_settle_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where they happen to agree with the gradient at one step."""
    experiment = nbnumba.experiment_from_options(PROBE)
    (good,) = check_gradient(experiment, ["cell_a"]).rows
    wild = iter(good.gradient * np.array([3.0, 7.0, 13.0, 21.0, 1.0, 1.5]))
    monkeypatch.setattr(check, "difference", lambda *arguments: next(wild))
    found = check_gradient(experiment, ["cell_a"])
    assert found.rows[0].relative_error < 1e-6
    assert found.off() == found.rows
    assert as_text(found).splitlines()[-1].endswith(": cell_a; differences by cell_a do not settle")


@pytest.mark.spec("GRA-8")
def test_what_differences_cannot_see_is_marked() -> None:
    """A little water beside very much light of the crystal: its derivative is there, and differences see none of it."""
    found = check_gradient(nbnumba.experiment_from_options(PROBE + " -water 0.00001"), ["background", "cell_a"])
    assert found.rows[0].relative_error > 1e-6
    assert found.off() == []
    assert "*" in as_text(found).splitlines()[1]
    assert as_text(found).splitlines()[3] == "* less than rounding of the loss lets differences see"


def test_progress() -> None:
    seen: list[tuple[int, int]] = []
    check_gradient(nbnumba.experiment_from_options(PROBE), ["cell_a", "fluence"], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]
