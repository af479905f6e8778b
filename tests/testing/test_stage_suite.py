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


def test_the_suite_finds_what_is_wrong() -> None:
    square, scaling = STAGES["lattice_shape-square"], STAGES["scaling-reference"]
    found = dict(run_suite(replace(square, function=wrong_value)))
    assert "gives 6.0, not 315.0" in found["gives its worked values"]
    assert "no worked values" in dict(run_suite(replace(square, worked_values=())))["gives its worked values"]
    assert "photons" in dict(run_suite(replace(scaling, function=negative)))["renders an image"]
    pytest.importorskip("numba_cuda")
    elsewhere = dict(run_suite(replace(square, function=no_such_function_on_a_gpu)))["compiles for the GPU"]
    assert "there is no <ufunc 'gcd'> on the GPU" in elsewhere
    assert "No implementation" in dict(run_suite(replace(square, function=clipped)))["compiles for the GPU"]
    assert "NVIDIA's compiler refuses it" in dict(run_suite(replace(square, function=rounded)))["compiles for the GPU"]
    assert "must take" in dict(run_suite(replace(square, function=negative)))["keeps the contract"]
