"""On a machine with an NVIDIA GPU: what nbnumba.gpu_check looks at, as tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GOLDEN
from own_golden import own_golden

import nbnumba
from nbnumba.gpu_check import cases, compare, memory_checks
from nbnumba.simulation.devices import gpu_problem

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(gpu_problem()), reason=f"GPU: {gpu_problem()}")]


def parameters() -> list[Any]:
    folders = [folder for folder in (own_golden(), GOLDEN) if (folder / "cases.json").is_file()]
    return [pytest.param(folder, name, id=name) for folder in folders for name in names(folder)]


def names(folder: Path) -> list[str]:
    import json

    return [case["id"] for case in json.loads((folder / "cases.json").read_text())]


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize(("folder", "name"), parameters())
def test_reference_images(folder: Path, name: str, tmp_path: Path) -> None:
    words, stored = next((words, stored) for case, words, stored in cases(folder, tmp_path) if case == name)
    assert [row for row in compare(name, words, stored) if not row["passed"]] == []


@pytest.mark.spec("DEV-2", "DEV-6")
def test_every_kind_of_option(tmp_path: Path) -> None:
    rows = [row for case in cases(None, tmp_path) for row in compare(*case)]
    assert [row for row in rows if not row["passed"]] == []


@pytest.mark.spec("DEV-4", "DEV-6")
def test_memory() -> None:
    assert [row for row in memory_checks() if not row["passed"]] == []


@pytest.mark.spec("DEV-4")
def test_images_stay_on_the_gpu() -> None:
    experiment = nbnumba.experiment_from_options("-default_F 100 -cell 100 -lambda 1 -N 5 -detpixels 64 -pixel 1")
    simulator = nbnumba.Simulator(device="cuda")
    pixels = simulator.render(experiment)
    assert pixels.__cuda_array_interface__["shape"] == (64, 64)
    expected = nbnumba.simulate(experiment).pixels
    np.testing.assert_allclose(pixels.copy_to_host(), expected, rtol=0.0, atol=1e-10 * expected.max())
    turned = replace(experiment, crystal=replace(experiment.crystal, misset=(0.1, 0.0, 0.0)))
    assert simulator.render(turned) is pixels
