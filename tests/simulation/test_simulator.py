"""A series of images: what a Simulator keeps changes nothing but the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from nbnumba_plugins import structure_factor_nearest as nearest

import nbnumba
from nbnumba import Experiment, Simulator, StructureFactors, simulate

BASE = "-default_F 100 -cell 60 70 80 -lambda 1 -distance 60 -pixel 1 -detpixels 24 -N 4 -oversample 1 -mosaic 1 -mosaic_dom 3"
HKL = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def experiment_of(options: str = "", F: float | None = None) -> Experiment:
    experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
    if F is None:
        return experiment
    return replace(experiment, structure_factors=StructureFactors(hkl=HKL, F=np.arange(len(HKL)) % 7 * F, default_F=1.0))


def turned(experiment: Experiment, angle: float) -> Experiment:
    return replace(experiment, crystal=replace(experiment.crystal, misset=(angle, 0.0, 0.0)))


@pytest.mark.spec("DEV-4")
def test_images_do_not_depend_on_what_was_rendered_before() -> None:
    first, other = experiment_of(F=10.0), experiment_of(F=20.0)
    mask = np.random.default_rng(0).random(first.detector.shape) < 0.5
    series = [
        first,
        turned(first, 0.1),
        other,  # another table of the same size
        replace(first, sampling=replace(first.sampling, roi=(3, 9, 4, 20))),
        replace(first, sampling=replace(first.sampling, mask=mask)),
        replace(first, sampling=replace(first.sampling, dtype="float32")),
        replace(first, model=replace(first.model, preset="c-parity"), goniometer=replace(first.goniometer, phi_steps=3, oscillation=0.1)),
        experiment_of("-detpixels 30 -gauss_xtal"),
        first,
    ]
    simulator = Simulator()
    for experiment in series:
        np.testing.assert_array_equal(simulator.render(experiment), simulate(experiment).pixels)
        np.testing.assert_array_equal(simulator.image(experiment).pixels, simulate(experiment).pixels)


@pytest.mark.spec("DEV-4")
def test_the_same_memory_unless_told_otherwise() -> None:
    experiment, simulator = experiment_of(), Simulator()
    first = simulator.render(experiment)
    before, image = first.copy(), simulator.image(experiment)
    assert simulator.render(turned(experiment, 0.1)) is first
    assert not np.array_equal(first, before)
    np.testing.assert_array_equal(image.pixels, before)
    own = np.full(experiment.detector.shape, np.nan)
    assert simulator.render(experiment, out=own) is own
    np.testing.assert_array_equal(own, before)


@pytest.mark.spec("DEV-4")
def test_structure_factors_are_told_apart_whatever_they_hold() -> None:
    """By what they hold: a table is kept for structure factors that equal those that it was made of."""
    hkl = np.array([[1, 2, 3], [4, 5, 6]])
    a, same, b = (StructureFactors(hkl=hkl, F=np.array([1.0, f])) for f in (2.0, 2.0, 3.0))
    assert a == same != b
    first, again, other = (nearest.prepare(replace(experiment_of("", F=1.0), structure_factors=one)).F for one in (a, same, b))
    assert first is again
    assert not np.array_equal(first, other)


@pytest.mark.spec("DEV-4")
def test_an_image_of_a_series_costs_less_than_2_ms_besides_its_pixels() -> None:
    experiment = experiment_of("-detpixels 8 -mosaic_dom 50", F=10.0)
    simulator = Simulator(threads=1)
    simulator.render(experiment)
    assert any(median(seconds_of(simulator, experiment, n)) <= 2e-3 * slower() for n in range(20))


def slower() -> float:
    """How many times longer Python takes here and now than on the core, not shared with anything, for which the limit is meant."""
    began = time.thread_time()
    sum(n * n % 7 for n in range(20_000))
    return max(1.0, (time.thread_time() - began) / 1.2e-3)


def seconds_of(simulator: Simulator, experiment: nbnumba.Experiment, series: int) -> Iterator[float]:
    """CPU seconds of each image of a series."""
    for n in range(8):
        began = time.thread_time()
        simulator.render(turned(experiment, 1e-3 * (n + 8 * series)))
        yield time.thread_time() - began


@pytest.mark.spec("DEV-4")
def test_out_of_another_shape_is_refused() -> None:
    with pytest.raises(nbnumba.ParameterError, match=r"out: has the shape \(3, 4\), the detector \(24, 24\)"):
        Simulator().render(experiment_of(), out=np.zeros((3, 4)))
    with pytest.raises(nbnumba.ParameterError, match="out: must be float64, not float32"):
        Simulator().render(experiment_of(), out=np.zeros((24, 24), np.float32))
    fixed = np.zeros((24, 24))
    fixed.setflags(write=False)
    with pytest.raises(nbnumba.ParameterError, match="out: cannot be written to; give an array of your own"):
        Simulator().render(experiment_of(), out=fixed)
