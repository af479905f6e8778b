"""Sweeps on detectors of sixteen modules with gaps, processed by DIALS as a beamline's images are."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from formats.dxtbx_reader import answer
from many_panels import sixteen
from round_trip.test_dials import CELL_A, Outcome, assert_crystal, dials, process, structure_factors, true_reciprocal
from scipy.spatial.transform import Rotation

from nbnumba import Panel, experiment_from_options, units
from nbnumba.cli.main import main
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.of_experiment import exposure_of

pytestmark = pytest.mark.skipif(shutil.which("dials.integrate") is None, reason="DIALS is not installed (Debian's package dials)")

PIXEL, WIDTH_DEG = 0.172e-3, 0.5
CRYSTAL = "-hkl p1.hkl -N 10 -gauss_xtal -polar 0.998 -water 0.08 -phisteps 5 -seed 1 --quirk water-squared=off"
SMALL_CELL_A = (40.0, 46.0, 52.0)
SIXTEEN = """
[modules]
one_panel = false
pixel_size = 172e-6
slow_pixels = 96
fast_pixels = 96
rows = 4
columns = 4
slow_gap = 12
fast_gap = 9
"""
INTEGRATED = """
import json, sys
from dials.array_family import flex
found = flex.reflection_table.from_file(sys.argv[1])
found = found.select(found.get_flags(found.flags.integrated, all=False))
print(json.dumps({"panel": list(found["panel"]), "px": [list(v) for v in found["xyzcal.px"]], "ray": [list(v) for v in found["s1"]]}))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def swept(folder: Path, images: int, options: str, fixed: tuple[str, ...] = ()) -> Outcome:
    """What DIALS makes of a sweep."""
    sweep = ["--images", str(images), "--width", str(WIDTH_DEG), "-o", "scan.nxs"]
    assert main(["sweep", *CRYSTAL.split(), *options.split(), *sweep]) == 0
    dials(folder, "import", "scan.nxs")
    return process(folder, images, fixed)


def assert_on_panels(panels: Sequence[Panel], mask: np.ndarray) -> int:
    """Reflections are integrated on every panel, where their rays meet it, and on pixels that the mask [panel, slow, fast] leaves in."""
    integrated = json.loads(answer(["-c", INTEGRATED, "integrated.refl"]))
    number, (fast, slow, _), rays = np.array(integrated["panel"]), np.array(integrated["px"]).T, np.array(integrated["ray"])
    assert set(number) == set(range(len(panels)))
    slow_pixels, fast_pixels = mask.shape[1:]
    assert ((fast >= 0.0) & (fast < fast_pixels) & (slow >= 0.0) & (slow < slow_pixels)).all()
    assert mask[number, slow.astype(int), fast.astype(int)].all()
    origin, along_fast, along_slow = (np.array([getattr(p, name) for p in panels])[number] for name in ("origin", "fast_axis", "slow_axis"))
    at = origin + PIXEL * (fast[:, np.newaxis] * along_fast + slow[:, np.newaxis] * along_slow)
    far = np.linalg.norm(at, axis=1, keepdims=True)
    assert np.linalg.norm(at / far - rays / np.linalg.norm(rays, axis=1, keepdims=True), axis=1).max() * far.max() < PIXEL
    return len(number)


@pytest.mark.slow
@pytest.mark.spec("FMT-99")
def test_dials_finds_the_crystal_on_a_detector_of_modules(folder: Path) -> None:
    np.savetxt("p1.hkl", structure_factors(SMALL_CELL_A), fmt="%d %d %d %.4f")
    mask = np.ones((16, 96, 96), bool)
    mask[:, 40:48] = False
    np.save("dead.npy", mask.reshape(16 * 96, 96))
    Path("sixteen.toml").write_text(SIXTEEN)
    a, b, c = SMALL_CELL_A
    options = f"-cell {a} {b} {c} 90 90 90 -misset 10 25 40 -lambda 1 --detector sixteen.toml -distance 80 -mask dead.npy -fluence 2e29"
    outcome = swept(folder, 16, options, ("detector.fix=all", "beam.fix=all"))
    experiment = experiment_from_options(f"{CRYSTAL} {options}")
    assert outcome.found > 300
    np.testing.assert_allclose(outcome.cell[:3], SMALL_CELL_A, rtol=1e-3)
    assert assert_crystal(outcome, true_reciprocal(experiment), structure_factors(SMALL_CELL_A)) > 600
    assert assert_on_panels(exposure_of(experiment).imgcif.panels, mask) > 1000


@pytest.mark.slow
@pytest.mark.spec("FMT-99")
def test_dials_finds_the_crystal_on_tilted_modules(folder: Path) -> None:
    np.savetxt("p1.hkl", structure_factors(), fmt="%d %d %d %.4f")
    scan = {"spindle_axis": (1.0, 0.0, 0.0), "oscillation": units.radians(WIDTH_DEG), "exposure_time": 0.1}
    there = sixteen((170, 170), PIXEL, 0.14, tilt=0.03, **scan)
    mask = np.ones((16, 170, 170), bool)
    mask[:, 80:90] = False
    there = replace(there, panels=tuple(replace(panel, mask=mask[0], sensor_thickness=0.0) for panel in there.panels))
    reciprocal_A = Rotation.from_euler("xyz", [10.0, 25.0, 40.0], degrees=True).as_matrix() @ np.diag(1.0 / np.array(CELL_A))
    Path("true.expt").write_text(expt_text(there, reciprocal_A.T * 1e10))
    outcome = swept(folder, 40, "--expt true.expt -fluence 5e28")
    assert outcome.found > 1500
    np.testing.assert_allclose(outcome.cell[:3], CELL_A, rtol=1e-3)
    assert assert_crystal(outcome, reciprocal_A, structure_factors()) > 4000
    assert assert_on_panels(there.panels, mask) > 4000
