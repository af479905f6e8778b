"""A real experiment, whole: 2463 x 2527 pixels, 64,333 reflections, ten phi steps from 0."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import SUPERVISOR
from parity.gate import assert_passes_gate

import nbnumba

pytestmark = pytest.mark.skipif(
    not (SUPERVISOR / "expected.json").is_file(), reason=f"no data in {SUPERVISOR}; NBNUMBA_SUPERVISOR names their folder"
)
CROP = (slice(585, 785), slice(940, 1140))


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return json.loads((SUPERVISOR / "expected.json").read_text())


@pytest.mark.spec("ROT-4", "ROT-5", "SCA-2")
@pytest.mark.parametrize(("mode", "key"), [("spec", "spec"), ("c-parity", "cparity")])
def test_whole_image(data: dict[str, Any], mode: str, key: str) -> None:
    words = [str(SUPERVISOR / w) if w in ("A.mat", "scaled.hkl") else w for w in data["args"].split()]
    experiment = nbnumba.experiment_from_options(words)
    model = replace(experiment.model, stages={**experiment.model.stages, "rotation": mode})
    pixels = nbnumba.simulate(replace(experiment, model=model)).pixels
    expected = data["expected"][key]
    assert pixels.sum() == pytest.approx(expected["sum"], rel=1e-6)
    assert pixels[685, 1039] == pytest.approx(expected["pixel_685_1039"], rel=1e-6)
    assert pixels[684, 1039] == pytest.approx(expected["pixel_684_1039"], rel=1e-6)
    for slow, fast, photons in expected["top50"]:
        assert pixels[slow, fast] == pytest.approx(photons, rel=1e-6)
    with np.load(next(SUPERVISOR.glob("crop_*.npz"))) as crops:
        assert_passes_gate(pixels[CROP], crops[f"{key}_crop"])
