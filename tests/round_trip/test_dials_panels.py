"""A sweep on a detector of sixteen tilted modules with gaps, processed by DIALS as a beamline's images are."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from formats.dxtbx_reader import answer
from many_panels import sixteen
from round_trip.test_dials import CELL_A, angle_deg, dials, process, reindexed, structure_factors
from scipy.spatial.transform import Rotation

from nbnumba import units
from nbnumba.cli.main import main
from nbnumba.geometry.dials_out import expt_text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("dials.integrate") is None, reason="DIALS is not installed (Debian's package dials)"),
]

SHAPE, PIXEL, DISTANCE = (170, 170), 0.172e-3, 0.14
DEAD = slice(80, 90)  # rows of every module
IMAGES, WIDTH_DEG = 40, 0.5
RECIPROCAL_A = Rotation.from_euler("xyz", [10.0, 25.0, 40.0], degrees=True).as_matrix() @ np.diag(1.0 / np.array(CELL_A))
OPTIONS = "-hkl p1.hkl -N 10 -gauss_xtal -fluence 5e28 -polar 0.998 -water 0.08 -phisteps 5 --quirk water-squared=off"

INTEGRATED = """
import json, sys
from dials.array_family import flex
found = flex.reflection_table.from_file(sys.argv[1])
found = found.select(found.get_flags(found.flags.integrated, all=False))
print(json.dumps({"panel": list(found["panel"]), "px": [list(v) for v in found["xyzcal.px"]]}))
"""


@pytest.mark.spec("FMT-99")
def test_dials_finds_the_crystal_on_sixteen_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savetxt("p1.hkl", structure_factors(), fmt="%d %d %d %.4f")
    there = sixteen(
        SHAPE, PIXEL, DISTANCE, tilt=0.03, spindle_axis=(1.0, 0.0, 0.0), oscillation=units.radians(WIDTH_DEG), exposure_time=0.1
    )
    mask = np.ones(SHAPE, bool)
    mask[DEAD] = False
    there = replace(there, panels=tuple(replace(panel, mask=mask, sensor_thickness=0.0) for panel in there.panels))
    Path("true.expt").write_text(expt_text(there, RECIPROCAL_A.T * 1e10))
    sweep = ["--images", str(IMAGES), "--width", str(WIDTH_DEG), "-o", "scan.nxs"]
    assert main(["sweep", "--expt", "true.expt", *OPTIONS.split(), *sweep]) == 0

    dials(tmp_path, "import", "scan.nxs")
    outcome = process(tmp_path, IMAGES)
    assert outcome.found > 1500
    assert outcome.indexed >= 0.95
    change = reindexed(outcome.reciprocal, RECIPROCAL_A)
    assert angle_deg(outcome.reciprocal @ change, RECIPROCAL_A) <= 0.02
    np.testing.assert_allclose(outcome.cell[:3], CELL_A, rtol=1e-3)

    integrated = json.loads(answer(["-c", INTEGRATED, "integrated.refl"]))
    fast, slow, _ = np.array(integrated["px"]).T
    assert len(fast) > 4000
    assert set(integrated["panel"]) == set(range(16))
    assert ((fast >= 0.0) & (fast <= SHAPE[1]) & (slow >= 0.0) & (slow <= SHAPE[0])).all()
    assert not ((slow > DEAD.start) & (slow < DEAD.stop)).any()

    factors = {(h, k, l): F for h, k, l, F in structure_factors()}
    squares = np.array([factors.get(tuple(row), np.nan) ** 2 for row in outcome.hkl @ change])
    known = np.isfinite(squares)
    assert np.corrcoef(squares[known], outcome.intensity[known])[0, 1] >= 0.98
