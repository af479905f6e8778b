"""Extreme and odd values in the parts of an experiment: an image of finite photons, none negative, or one line that names the field."""

from __future__ import annotations

import math
import time
import warnings
from collections import UserString
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nbnumba
from nbnumba import (
    Background,
    Beam,
    Crystal,
    Detector,
    Goniometer,
    Model,
    NbnumbaError,
    ParameterError,
    Sampling,
    Sources,
    StructureFactors,
)
from nbnumba.errors import OptionError
from nbnumba.experiment import advice

PARTS = (Beam, Sources, Crystal, Background, Detector, Goniometer, Sampling, StructureFactors, Model)
USUAL: dict[str, dict[str, Any]] = {
    "crystal": {"cell": (5e-9, 6e-9, 7e-9, 1.57, 1.5, 1.6), "cells": (3, 3, 3)},
    "detector": {"fast_pixels": 6, "slow_pixels": 5},
    "sampling": {"oversample": 1},
    "structure_factors": {"default_F": 10.0},
}


def repr_of(value: object) -> str:
    """A name for a value that may have none."""
    return value if isinstance(value, str) else type(value).__name__


class Contrary:
    """Answers nothing that it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __float__(self) -> float:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


NUMBERS = [
    *(0, -0.0, 1, -1, 2, 3, 0.5, math.pi, math.pi / 2.0, 1e-300, -1e-300, 5e-324, 1e300, -1e300, 1.7e308, 1e-160, 1e160, 1e-10, 1e10),
    *(math.nan, math.inf, -math.inf, 2**31, 2**63, 2**64, 10**308, 10**400, -(10**5000), 1e-14, 1e-6, 100_000, 100_001, 1e-3, 1e3),
]
ODD = [
    *(True, None, "1", b"1", "nan", "", 1j, [], (), {}, [1], [[1], [2, 3]], {1: 2}, {"a": 10**5000}, {"fudge": math.nan}, range(3)),
    *(object(), Contrary(), UserString("mosflm"), Decimal(1), Fraction(1, 3), float, len, Ellipsis, memoryview(b"123"), np.ma.masked),
    *(np.float32(1.5), np.float64("nan"), np.int8(5), np.bool_(True), np.datetime64(5, "s"), np.str_("1"), np.array(3.0), np.array("a")),
    *(np.zeros(0), np.zeros((3, 0)), np.ones((1, 3)), np.ones(3, bool), np.ones(3, object), np.ones((5, 6)), np.ones((5, 6), bool)),
    *(np.full((2, 3), np.iinfo(np.int64).min), np.full((2, 3), 2**63, np.uint64), np.array([1.0, np.nan, 2.0]), np.full(9, 1e300)),
]
numbers = st.sampled_from(NUMBERS) | st.floats(1e-12, 1e3)
values = numbers | st.sampled_from(ODD) | st.lists(numbers, min_size=3, max_size=9).map(tuple)
changes = st.lists(st.sampled_from([(part, f.name) for part in PARTS for f in fields(part)]), min_size=1, max_size=3, unique=True)
choices = st.fixed_dictionaries(
    {"preset": st.sampled_from(["reference", "c-parity", "physics"]), "convention": st.sampled_from(["mosflm", "xds", "custom"])}
)


def made(changed: dict[tuple[type, str], Any], preset: str, convention: str) -> nbnumba.Experiment:
    """The usual experiment with some fields changed."""
    parts = {part.section(): dict(USUAL.get(part.section(), {})) for part in PARTS}
    parts["model"]["preset"], parts["detector"]["convention"] = preset, convention
    for (part, name), value in changed.items():
        parts[part.section()][name] = value
    return nbnumba.Experiment(**{part.section(): part(**parts[part.section()]) for part in PARTS})


def image_of(experiment: nbnumba.Experiment) -> nbnumba.Image | None:
    """The image, unless it would take long; what is said of it is worked out, too."""
    began = time.process_time()
    experiment.check()
    assert len(advice.warnings(experiment)) + len(advice.quirk_notes(experiment)) < 50
    assert time.process_time() - began < 2.0
    small = experiment.terms < 2e5 and math.prod(experiment.detector.shape) < 1e6
    return nbnumba.simulate(experiment) if small else None


@pytest.mark.spec("CLI-47", "EXP-1")
@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, values))), choices)
def test_any_value_gives_an_image_or_is_refused(changed: dict[tuple[type, str], Any], chosen: dict[str, str]) -> None:
    refusal = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", nbnumba.QuirkWarning)
        try:
            image = image_of(made(changed, **chosen))
            assert image is None or (np.isfinite(image.float32).all() and image.pixels.min() >= 0.0)
        except NbnumbaError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) < 800


@pytest.mark.spec("EXP-1")
@pytest.mark.parametrize(
    ("part", "name", "value", "problem"),
    [
        (Sampling, "capture_per_subpixel", np.array([1.0, 2.0]), "sampling.capture_per_subpixel: [1.0, 2.0] must be true or false"),
        (Sampling, "capture_per_subpixel", np.zeros(0), "sampling.capture_per_subpixel: [] must be true or false"),
        (Sources, "round", "yes", "sources.round: 'yes' must be true or false"),
        (Sampling, "dtype", np.array([[1.0]]), "sampling.dtype: array([[1.]]) is not one of float64, float32"),
        (Detector, "pivot", Contrary(), "detector.pivot: a Contrary that cannot be shown is not one of beam, sample"),
        (Sources, "horizontal_steps", 10**400, f"sources.horizontal_steps: 1{'0' * 76}...: must be a finite number"),
        (Beam, "wavelength", 10**5000, "beam.wavelength: a int that cannot be shown: must be a finite number"),
        (Beam, "wavelength", Contrary(), "beam.wavelength: a Contrary that cannot be shown is not a number"),
        (Crystal, "misset", (1, "2", 3), "crystal.misset: '2' is not a number"),
        (Crystal, "cells", (math.nan, 1, 1), "crystal.cells: nan is not a number"),
        (Model, "stages", {1: "planar"}, "model.stages: 1 is not a name; stages has the form kind = name"),
        (Model, "quirks", {1: True}, "model.quirks: 1 is not a name; quirks has the form name = true or false"),
        (Model, "parameters", {"fudge": 10**5000}, "model.parameters.fudge: a int that cannot be shown does not fit"),
        (
            Model,
            "parameters",
            {"fudge": math.nan},
            "model.parameters.fudge: nan does not fit; parameters has the form name = finite number",
        ),
        (Sampling, "mask", [[1, 2], [3]], "sampling.mask: its rows must all have the same length"),
        (StructureFactors, "column", np.zeros(3), "structure_factors.column: array([0., 0., 0.]) is not the name of a column"),
    ],
    ids=repr_of,
)
def test_what_is_refused_and_how(part: type, name: str, value: Any, problem: str) -> None:
    with pytest.raises(ParameterError) as raised:
        part(**({"default_F": 1.0} if part is StructureFactors else {}), **{name: value})
    assert str(raised.value).startswith(problem)


@pytest.mark.spec("EXP-1")
def test_what_is_taken_for_a_number_or_a_truth() -> None:
    assert Sampling(capture_per_subpixel=np.bool_(True)).capture_per_subpixel is True  # type: ignore[arg-type]
    assert Sampling(capture_per_subpixel=1).capture_per_subpixel is True  # type: ignore[arg-type]
    assert Crystal(cell=np.array([[5e-9] * 3, [1.5] * 3])).cell == (5e-9, 5e-9, 5e-9, 1.5, 1.5, 1.5)  # type: ignore[arg-type]
    assert Beam(wavelength=Fraction(1, 10**10)).wavelength == 1e-10  # type: ignore[arg-type]
    assert Crystal(cells=range(1, 4)).cells == (1, 2, 3)  # type: ignore[arg-type]


@pytest.mark.spec("EXP-14", "SF-1")
@pytest.mark.parametrize(
    ("positions", "weights", "wavelengths", "problem"),
    [
        ([[10**400, 1, 1]], [1.0], [1e-10], "positions, weights and wavelengths must be arrays of numbers"),
        ([[1e300, 0, 0]], [1.0], [1e-10], "must be at most 1e+12 m from the crystal, or NaN where the beam's own are meant"),
        ([[math.inf, 0, 0]], [1.0], [1e-10], "must be at most 1e+12 m from the crystal"),
        ([[-1.0, 0, 0]] * 2, [1e308, 1e308], [1e-10] * 2, "must be 0 or between 1e-100 and 1e+100, and not all of them 0"),
    ],
)
def test_lists_of_sources_that_are_refused(positions: Any, weights: Any, wavelengths: Any, problem: str) -> None:
    with pytest.raises(ParameterError) as raised:
        Sources(positions=positions, weights=weights, wavelengths=wavelengths)
    assert problem in str(raised.value)


@pytest.mark.spec("SF-1")
@pytest.mark.parametrize("index", [np.iinfo(np.int64).min, np.iinfo(np.int64).max, -100_001])
def test_indices_at_the_ends_of_their_type(index: int) -> None:
    with pytest.raises(ParameterError, match=f"index {index} is larger than 100000"):
        StructureFactors(hkl=np.array([[1, 2, 3], [0, index, 0]]), F=np.ones(2))


@pytest.mark.spec("EXP-3")
@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200, 5e-324, 1e-310])
def test_directions_of_any_length(size: float) -> None:
    """Whose squares may vanish or overflow."""
    usual, sized = (
        nbnumba.experiment_from_options(
            {"default_F": 1, "cell": (50,), "fdet_vector": (0, 0, s), "beam_vector": (s, 0, 0), "spindle_axis": (0, s, s)}
        )
        for s in (1.0, size)
    )
    for name in ("fast_axis", "incident", "spindle_axis", "pix0", "normal"):
        assert getattr(sized.frame, name) == pytest.approx(getattr(usual.frame, name), abs=1e-15), name


@pytest.mark.spec("EXP-13")
def test_a_hundred_thousand_sources_take_no_time_to_list() -> None:
    experiment = nbnumba.experiment_from_options("-default_F 1 -cell 50 -detpixels 4 -hdivrange 100 -hdivsteps 100000")
    began = time.process_time()
    assert experiment.source_list.incident.shape == (100_000, 3)
    assert np.linalg.norm(experiment.source_list.incident, axis=1) == pytest.approx(np.ones(100_000))
    assert time.process_time() - began < 2.0


@pytest.mark.spec("CLI-47")
@pytest.mark.parametrize(
    "options",
    [
        {"nopolar": np.array([1, 2])},
        {"misset": np.array([[1.0, 2.0], [3.0, 4.0]])},
        {"lambda": 10**5000},
        {"lambda": Contrary()},
        {1: 1},
        {"cell": [[50, 60], [70]]},
        "-cell '50",
        [1, 2, 3],
        [Contrary()],
    ],
    ids=repr_of,
)
def test_odd_options(options: Any) -> None:
    with pytest.raises(OptionError) as raised:
        nbnumba.experiment_from_options(options)
    assert "\n" not in str(raised.value)


@pytest.mark.spec("CLI-47")
def test_arrays_are_lists_in_options() -> None:
    found = nbnumba.experiment_from_options(
        {"default_F": 1, "cell": np.array([50.0, 60.0, 70.0, 90.0, 90.0, 90.0]), "nopolar": np.bool_(False)}
    )
    assert found.crystal.cell == pytest.approx((5e-9, 6e-9, 7e-9, math.pi / 2, math.pi / 2, math.pi / 2))
    assert found.model.stages == {}
