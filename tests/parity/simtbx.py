"""Cases of simtbx, and experiments that are theirs."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbnumba

FOLDER = Path(os.environ.get("NBNUMBA_GOLDEN_SIMTBX", Path(__file__).parents[2].parent / "shared" / "golden_simtbx"))
ANGSTROM, MM = 1e-10, 1e-3


@cache
def cases() -> dict[str, Any]:
    if not (FOLDER / "cases.json").is_file():
        pytest.skip(f"no images of simtbx in {FOLDER} (NBNUMBA_GOLDEN_SIMTBX)")
    found: dict[str, Any] = json.loads((FOLDER / "cases.json").read_text())["cases"]
    return found


def arrays_of(name: str) -> dict[str, np.ndarray]:
    _ = cases()
    with np.load(FOLDER / f"{name}.npz") as found:
        return dict(found)


def panel_of(given: dict[str, Any]) -> nbnumba.Panel:
    fast, slow = given["image_size_fs"]
    return nbnumba.Panel(
        origin=tuple(MM * x for x in given["origin_mm"]),
        fast_axis=tuple(given["fast"]),
        slow_axis=tuple(given["slow"]),
        pixel_size=given["pixel_mm"] * MM,
        fast_pixels=fast,
        slow_pixels=slow,
    )


def experiment_of(name: str, **stages: str) -> nbnumba.Experiment:
    """Every term has its own polarization and solid angle; without polarization where the case is without."""
    inputs = cases()[name]["inputs"]
    table = arrays_of("table")
    normal, direction = np.array(inputs["polarization_normal"]), np.array(inputs["s0"])
    polarization = {"polarization": "none"} if inputs.get("nopolar") else {}
    return nbnumba.Experiment(
        beam=nbnumba.Beam(
            wavelength=inputs["wavelength_A"] * ANGSTROM,
            fluence=inputs["fluence"],
            direction=tuple(direction),
            polarization_axis=tuple(np.cross(direction, normal)),
            polarization_fraction=inputs["polarization"],
        ),
        crystal=nbnumba.Crystal(
            cell=(*(ANGSTROM * edge for edge in inputs["cell"][:3]), *np.radians(inputs["cell"][3:])),
            reciprocal_matrix=tuple(a / ANGSTROM for a in inputs["A_recip"]),
            cells=tuple(inputs["cells"]),
        ),
        detector=nbnumba.Detector(convention="custom", panels=tuple(map(panel_of, inputs["panels"]))),
        structure_factors=nbnumba.StructureFactors(hkl=table["hkl"], F=table["F"], default_F=inputs["default_F"], interpolate=False),
        sampling=nbnumba.Sampling(oversample=inputs["oversample"]),
        model=nbnumba.Model(preset="physics", stages={"lattice_shape": inputs["shape"], **polarization, **stages}),
    )
