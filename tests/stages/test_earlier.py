"""Plugins in their earlier form: Stage(kind, ...), and structure factors that are not told the wavelength."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

import nbnumba
from nbnumba.errors import NbnumbaWarning, StageError
from nbnumba.plugin import LatticeShape, StructureFactor, WorkedValue
from nbnumba.stages.registry import installed
from nbnumba.stages.stage import Stage
from nbnumba.testing.stage_suite import run_suite

OPTIONS = "-default_F 7 -cell 50 60 70 -lambda 1 -distance 50 -N 4 -detpixels 8 -pixel 1 -oversample 1 -misset 10 20 30"


class Table(NamedTuple):
    F: np.ndarray
    slope: float


def prepare(experiment):
    return Table(np.array([3.0, 5.0]), 0.25)


def linear(p, h, k, l, h0, k0, l0, latched):
    return p.F[0] + p.F[1] * p.slope * h


def derivative(p, h, k, l, h0, k0, l0, latched):
    return p.F[0] + p.F[1] * p.slope * h, p.F[1] * p.slope, 0.0, 0.0, p.F[1] * h


def spread(p, h, k, l, h0, k0, l0, latched, g, into):
    into[0] += g
    into[1] += g * p.slope * h


def flat(p, x, y, z):
    return 2.0 + x


@pytest.mark.spec("CLI-7")
def test_a_structure_factor_that_is_not_told_the_wavelength() -> None:
    """It renders, passes the suite, and has its derivative and its table; a warning says what to write."""
    worked = (WorkedValue(prepare(None), (2.0, 1.0, 0.0, 2.0, 1.0, 0.0, 1e-10, 0), 5.5),)
    with pytest.warns(NbnumbaWarning, match=r"write nbnumba.plugin.StructureFactor.*, whose functions take wavelength before latched"):
        stage = Stage(
            "structure_factor", "linear", "linear in h", prepare, linear, worked_values=worked, derivative=derivative,
            varied=("slope",), table="F", spread=spread,
        )  # fmt: skip
    assert isinstance(stage, StructureFactor)
    assert [(name, problem) for name, problem in run_suite(stage) if problem] == []


@pytest.mark.spec("CLI-7")
def test_any_other_kind_is_a_stage_of_its_class() -> None:
    with pytest.warns(
        NbnumbaWarning, match=r"lattice_shape 'flat' is a Stage\(kind='lattice_shape', \.\.\.\); write nbnumba.plugin.Lattice"
    ):
        stage = Stage(kind="lattice_shape", name="flat", summary="", prepare=prepare, function=flat)
    assert stage == LatticeShape("flat", "", prepare, flat)
    assert replace(stage, flat=True).flat


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "shape"}, "unknown kind 'shape'; kinds are geometry, rotation, lattice_shape"),
        ({}, "unknown kind None"),
        ({"kind": "scaling", "latch": flat}, "a scaling has no latch; it has additive, "),
    ],
)
def test_what_no_kind_has_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(StageError, match=told):
        Stage(name="x", summary="", prepare=prepare, function=flat, **fields)


def test_shipped_stages_are_of_the_classes() -> None:
    assert all(type(stage) is not Stage for stage, _ in installed())
    assert nbnumba.simulate(nbnumba.experiment_from_options(OPTIONS)).pixels.max() > 0.0
