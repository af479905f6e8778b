"""One suite over every registered stage, and stages that must not pass it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nbnumba.stages.registry import installed
from nbnumba.stages.stage import Stage
from nbnumba.testing.stage_suite import CHECKS, run_suite

STAGES = {f"{stage.kind}-{stage.name}": stage for stage, _ in installed()}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_stage(stage: Stage, check: str) -> None:
    assert not CHECKS[check](stage)


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_every_stage_cites_statements_of_its_own_kind(stage: Stage) -> None:
    assert stage.spec
    assert all(statement.startswith(f"{stage.of.prefix}-") for statement in stage.spec)


def wrong_value(p, x, y, z):
    return 1.0 + p.n_a


def negative(p, total, f_latt, f_cell, weight):
    return -1.0


def clipped(p, x, y, z):
    return np.clip(p.n_a * x, 0.0, 1.0)


def rounded(p, x, y, z):
    return np.round(p.n_a * x)


def no_such_function_on_a_gpu(p, x, y, z):
    return np.gcd(np.int64(x), np.int64(y)) * 1.0


def found_by(check: str, stage: Stage) -> str | None:
    """What a check of the suite says; those after it, of which some compile a kernel, are not asked."""
    return next(problem for name, problem in run_suite(stage) if name == check)


def test_the_suite_finds_what_is_wrong() -> None:
    square, scaling = STAGES["lattice_shape-square"], STAGES["scaling-reference"]
    assert "gives 6.0, not 315.0" in found_by("gives its worked values", replace(square, function=wrong_value))
    assert "no worked values" in found_by("gives its worked values", replace(square, worked_values=()))
    assert "photons" in found_by("renders an image", replace(scaling, function=negative))
    assert "must take" in found_by("keeps the contract", replace(square, function=negative))
    pytest.importorskip("numba_cuda")
    assert "there is no <ufunc 'gcd'> on the GPU" in found_by("compiles for the GPU", replace(square, function=no_such_function_on_a_gpu))
    assert "No implementation" in found_by("compiles for the GPU", replace(square, function=clipped))
    assert "NVIDIA's compiler refuses it" in found_by("compiles for the GPU", replace(square, function=rounded))
