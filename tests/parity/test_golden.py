"""Images of nanoBragg: the subset in tests/golden, and the whole collection where it is to be found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GOLDEN
from own_golden import own_golden
from parity.gate import assert_passes_gate

import nbnumba
from nbnumba.formats.pgm import pgm_blocks
from nbnumba.formats.smv import header_text
from nbnumba.response.noise import expected_counts, noisy_counts

OWN = own_golden()
MODES = ("spec", "c-parity")

# nanoBragg seeds '-misset random' from its clock whatever -seed says; the image shows the seed it had.
CLOCK_SEEDS = {"misset_random_seed": "-misset_seed 1795152918"}


def cases(folder: Path) -> list[dict[str, Any]]:
    file = folder / "cases.json"
    return json.loads(file.read_text()) if file.is_file() else []


def parameters(folder: Path) -> list[Any]:
    """A test for every case and mode."""
    tests = [pytest.param(folder, case, mode, id=f"{case['id']}-{mode}", marks=marks(case)) for case in cases(folder) for mode in MODES]
    reason = f"no golden images in {folder}; NBNUMBA_GOLDEN names their folder"
    return tests or [pytest.param(folder, {}, "", marks=pytest.mark.skip(reason=reason))]


def marks(case: dict[str, Any]) -> list[pytest.MarkDecorator]:
    """Of the cases those that the oldest numba gets, too."""
    return [pytest.mark.oldest] if case["id"] in ("interpolate_latch", "osc_roi_dmin", "shape_gauss_fudge") else []


def simulate(folder: Path, case: dict[str, Any], mode: str, tmp_path: Path) -> nbnumba.Image:
    for name, text in case.get("files", {}).items():
        (tmp_path / name).write_text(text)
    words = case["args"].split() + CLOCK_SEEDS.get(case["id"], "").split()
    words = [str(folder / w) if (folder / w).is_file() else str(tmp_path / w) if (tmp_path / w).is_file() else w for w in words]
    experiment = nbnumba.experiment_from_options(words)
    model = replace(experiment.model, preset={"spec": "reference", "c-parity": "c-parity"}[mode])
    return nbnumba.simulate(replace(experiment, model=model))


def stored(folder: Path, case: dict[str, Any], mode: str, what: str) -> np.ndarray | None:
    with np.load(folder / f"{case['id']}.npz") as arrays:
        own = f"{mode.replace('-', '')}_{what}"
        return arrays[own] if own in arrays else arrays.get(f"spec_{what}")


@pytest.mark.spec(
    "GEO-2",
    "ROT-4",
    "ROT-5",
    "LAT-1",
    "SF-1",
    "POL-1",
    "SCA-2",
    "SCA-3",
    "FMT-5",
    "FMT-6",
    "FMT-7",
    "FMT-8",
    "FMT-11",
    "PRE-1",
    "SCA-8",
    "SCA-9",
    "EXP-13",
    "EXP-14",
    "EXP-15",
    "GEO-6",
)
@pytest.mark.filterwarnings("ignore:noise. .* nanoBragg's variance:nbnumba.errors.NbnumbaWarning")  # the very noise that is asked for
@pytest.mark.parametrize(("folder", "case", "mode"), [*parameters(OWN), *parameters(GOLDEN)])
def test_image_of_nanobragg(folder: Path, case: dict[str, Any], mode: str, tmp_path: Path) -> None:
    image = simulate(folder, case, mode, tmp_path)
    expected = stored(folder, case, mode, "image")
    assert expected is not None
    assert_passes_gate(image.pixels[image.roi], expected, tophat="tophat" in case["id"])

    printed = case[mode] if mode in case else case["spec"]
    found = image.statistics
    for value, name in ((found.maximum, "max_I"), (found.mean, "mean"), (found.rms, "rms"), (found.rms_deviation, "rmsd")):
        assert value == pytest.approx(printed[name], rel=1e-5)
    assert header_keywords(image).items() >= printed["header"].items()

    scale, offset = number(case, "-scale", 0.0), number(case, "-adc", 40.0)
    if (integers := stored(folder, case, mode, "int")) is not None:
        np.testing.assert_array_equal(np.vstack([*expected_counts(image, scale, offset)])[image.roi], integers)
    if (noise := stored(folder, case, mode, "noise")) is not None:
        drawn = np.vstack([*noisy_counts(image, int(number(case, "-seed", 0)), offset)])
        np.testing.assert_array_equal(drawn[image.roi], noise)
    if (pgm := stored(folder, case, mode, "pgm")) is not None:
        assert b"".join(pgm_blocks(image, number(case, "-pgmscale", 0.0))) == pgm.tobytes()


def header_keywords(image: nbnumba.Image) -> dict[str, str]:
    lines = header_text(image.experiment, 512).splitlines()[1:-1]
    return {name: value.rstrip(";") for name, _, value in (line.partition("=") for line in lines)}


def number(case: dict[str, Any], option: str, default: float) -> float:
    words = case["args"].split()
    return float(words[words.index(option) + 1]) if option in words else default
