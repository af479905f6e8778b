"""Reading the experiments of DIALS; where dxtbx is installed, against dxtbx itself."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, answer, has_dxtbx
from geometry_files import REAL_AXES, expt_content, panel, turn, write_expt

import nbnumba
from nbnumba.errors import InputFileError
from nbnumba.geometry.dials import read_expt


@pytest.mark.spec("FMT-21")
def test_what_an_experiment_says(tmp_path: Path) -> None:
    sensor = {"thickness": 0.32, "mu": 3.9, "px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}}
    path = write_expt(tmp_path / "a.expt", detector={"panels": [panel(**sensor)]})
    exposure, reciprocal, cell, notes, panels = read_expt(path, 9)[:5]
    assert (exposure.shape, exposure.number, exposure.exposure_time, cell, notes, panels) == ((420, 400), 9, 0.1, None, (), ())
    assert exposure.pixel_size == pytest.approx(0.15e-3)
    assert exposure.origin == pytest.approx((-0.03, 0.033, -0.12))
    assert exposure.wavelength == pytest.approx(0.97e-10)
    away = np.array([0.01, -0.02, 1.0]) / np.linalg.norm([0.01, -0.02, 1.0])
    assert exposure.incident == pytest.approx(-away)
    assert exposure.polarization_fraction == pytest.approx(0.9)
    field = np.cross([0, 1, 0], away)
    assert np.abs(np.cross(exposure.polarization_axis or (0, 0, 0), field)).max() < 1e-15
    assert (exposure.sensor_thickness, exposure.sensor_attenuation) == pytest.approx((0.32e-3, 1e-3 / 3.9))
    assert (math.degrees(exposure.phi_start), math.degrees(exposure.oscillation)) == pytest.approx((5.0, 0.5))
    S, F = turn([3, -1, 2], 15), turn([1, 2, 3], 25)
    assert exposure.spindle_axis == pytest.approx(S @ [1, 0, 0])
    assert reciprocal is not None
    assert pytest.approx(S @ F @ np.linalg.inv(REAL_AXES), abs=1e-15) == reciprocal.T * 1e-10
    assert read_expt(path).exposure.number == 5
    assert math.degrees(read_expt(path, 14).exposure.phi_start) == pytest.approx(7.5)


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize(
    "sensor",
    [
        {"thickness": 0.32, "mu": 3.9},
        {"thickness": 0.32, "mu": 0.0, "px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}},
        {"thickness": 0.0, "mu": 3.9, "px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}},
        {"thickness": 0.32, "mu": 3.9, "px_mm_strategy": None},
    ],
)
def test_a_sensor_counts_only_where_dials_corrects_for_parallax(tmp_path: Path, sensor: dict[str, Any]) -> None:
    exposure = read_expt(write_expt(tmp_path / "a.expt", detector={"panels": [panel(**sensor)]})).exposure
    assert (exposure.sensor_thickness, exposure.sensor_attenuation) == (0.0, None)


@pytest.mark.spec("FMT-21")
def test_a_sensor_that_does_not_count_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.expt"
    for sensor, why in (({"thickness": 0.32, "mu": 3.9}, "the panel does not correct for parallax"), ({"thickness": 0.32}, "it has no mu")):
        write_expt(path, detector={"panels": [panel(**sensor)]})
        (note,) = read_expt(path).notes
        assert note == f"{path}: the sensor of 0.32 mm is left out: {why}; give -detector_thick and -detector_abs"
    assert read_expt(write_expt(path)).notes == ()


@pytest.mark.spec("FMT-21")
def test_what_a_panel_says_of_its_pixels(tmp_path: Path) -> None:
    sensor = {"thickness": 1.0, "mu": 4.5, "px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}, "material": "CdTe"}
    path = write_expt(tmp_path / "a.expt", detector={"panels": [panel(**sensor, trusted_range=[-1, 65000], pedestal=10.5)]})
    exposure = read_expt(path).exposure
    assert (exposure.sensor_material, exposure.trusted_range, exposure.pedestal) == ("CdTe", (-1.0, 65000.0), 10.5)
    plain = read_expt(write_expt(tmp_path / "a.expt")).exposure
    assert (plain.sensor_material, plain.trusted_range, plain.pedestal) == (None, None, 0.0)


TIMES = [0.1, 0.2, 0.4]


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        ({"exposure_time": TIMES}, TIMES),
        ({"exposure_time": [0.1, 0.2]}, [0.1, 0.2, 0.2]),
        ({"exposure_time": [0.1]}, [0.1] * 3),
        ({"exposure_time": 0.3}, [0.3] * 3),
        ({"exposure_time": [0.0, 0.2, 0.2]}, [None, 0.2, 0.2]),
        ({"exposure_time": []}, [None] * 3),
        ({}, [None] * 3),
        ({"properties": {"oscillation": [3.0, 3.5, 4.0], "exposure_time": TIMES}}, TIMES),
    ],
)
def test_every_image_has_its_own_exposure_time(tmp_path: Path, scan: dict[str, Any], expected: list[float | None]) -> None:
    path = write_expt(tmp_path / "a.expt", scan={"image_range": [5, 7], "oscillation": [3.0, 0.5], **scan})
    assert [read_expt(path, number).exposure.exposure_time for number in (5, 6, 7)] == expected
    found = [nbnumba.experiment_from_options(f"--expt {path} {n} -default_F 1 -flux 1e12").beam for n in (5, 6, 7)]
    assert [beam.exposure for beam in found] == [time or 1.0 for time in expected]
    assert [beam.photons_per_area for beam in found] == pytest.approx([1e12 * (time or 1.0) / 1e-8 for time in expected])
    assert nbnumba.experiment_from_options(f"--expt {path} 5 -default_F 1 -exposure 7").beam.exposure == 7.0


@pytest.mark.spec("FMT-21")
def test_starts_of_images_that_are_listed_are_their_own(tmp_path: Path) -> None:
    path = write_expt(tmp_path / "a.expt", scan={"image_range": [5, 7], "properties": {"oscillation": [3.0, 3.5, 4.25]}})
    starts = [math.degrees(read_expt(path, number).exposure.phi_start) for number in (5, 6, 7)]
    assert starts == pytest.approx([3.0, 3.5, 4.25])


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize("size", [3.0, 1e-200, 1e200])
def test_directions_of_any_length(tmp_path: Path, size: float) -> None:
    """As in dxtbx, which makes them unit length."""
    tilted = turn([1, 2, -1], 12)

    def written(factor: float) -> Path:
        frame = panel(tilted)
        frame |= {name: (factor * np.array(frame[name])).tolist() for name in ("fast_axis", "slow_axis")}
        beam = {
            "direction": [0.0, 0.1 * factor, factor],
            "wavelength": 1,
            "polarization_normal": [0, factor, 0],
            "polarization_fraction": 0.9,
        }
        gonio = {"axes": [[factor, 0, 0], [0, factor, factor]], "angles": [10, 20], "scan_axis": 1, "names": ["A", "B"]}
        return write_expt(tmp_path / "a.expt", detector={"panels": [frame]}, beam=beam, goniometer=gonio)

    usual, sized = read_expt(written(1.0)), read_expt(written(size))
    for name in ("fast_axis", "slow_axis", "incident", "polarization_axis", "spindle_axis", "origin"):
        assert getattr(sized.exposure, name) == pytest.approx(getattr(usual.exposure, name), abs=1e-15)
    assert sized.reciprocal == pytest.approx(usual.reciprocal, rel=1e-12)


@pytest.mark.spec("FMT-21")
def test_axes_are_listed_from_the_crystal_outward(tmp_path: Path) -> None:
    axes, angles = [[1.0, 0.1, 0.0], [0.5, 0.5, 0.7], [1.0, 0.0, 0.2]], [10.0, 20.0, 30.0]
    for scanned in range(3):
        gonio = {"axes": axes, "angles": angles, "names": ["PHI", "KAPPA", "OMEGA"], "scan_axis": scanned}
        exposure, reciprocal, *_ = read_expt(write_expt(tmp_path / "a.expt", goniometer=gonio))
        F, S = np.eye(3), np.eye(3)
        for i in range(scanned):
            F = turn(axes[i], angles[i]) @ F
        for i in range(scanned + 1, 3):
            S = turn(axes[i], angles[i]) @ S
        assert exposure.spindle_axis == pytest.approx(S @ axes[scanned] / np.linalg.norm(axes[scanned]), abs=1e-14)
        assert reciprocal is not None
        assert pytest.approx(S @ F @ np.linalg.inv(REAL_AXES), abs=1e-15) == reciprocal.T * 1e-10


@pytest.mark.spec("FMT-21")
def test_models_that_vary_along_the_scan(tmp_path: Path) -> None:
    A = [turn([1, 1, 0], 0.1 * i) @ np.linalg.inv(REAL_AXES) for i in range(11)]
    S = [turn([1, 2, 0], 0.2 * i) for i in range(11)]
    s0 = [[0.001 * i, 0.0, -1.0 / 0.97] for i in range(11)]
    content = expt_content()
    path = write_expt(
        tmp_path / "a.expt",
        crystal={**content["crystal"][0], "A_at_scan_points": [a.ravel().tolist() for a in A]},
        goniometer={"rotation_axis": [1, 0, 0], "setting_rotation_at_scan_points": [s.ravel().tolist() for s in S]},
        beam={**content["beam"][0], "s0_at_scan_points": s0},
    )
    exposure, reciprocal, *_ = read_expt(path, 8)
    middle = turn([1, 2, 0], 0.7)
    assert exposure.spindle_axis == pytest.approx(middle @ [1, 0, 0], abs=1e-12)
    assert exposure.incident == pytest.approx(np.array([0.0035, 0, -1 / 0.97]) / np.linalg.norm([0.0035, 0, -1 / 0.97]))
    assert reciprocal is not None
    assert pytest.approx(middle @ (A[3] + A[4]) / 2, abs=1e-14) == reciprocal.T * 1e-10


@pytest.mark.spec("FMT-21")
def test_groups_of_a_hierarchy(tmp_path: Path) -> None:
    outer, inner, own = turn([1, 0, 1], 170), turn([0, 1, 0], 5), turn([0, 0, 1], 3)
    at = [np.array(v, dtype=float) for v in ([1, 2, -130], [3, -4, 5], [-30, -30, 0])]

    def group(frame: np.ndarray, origin: np.ndarray, *children: Any) -> dict[str, Any]:
        return {"fast_axis": frame[:, 0].tolist(), "slow_axis": frame[:, 1].tolist(), "origin": origin.tolist(), "children": list(children)}

    hierarchy = group(outer, at[0], group(own, at[2]), group(inner, at[1], {"panel": 0}))
    exposure = read_expt(write_expt(tmp_path / "a.expt", detector={"panels": [panel(own, tuple(at[2]))], "hierarchy": hierarchy})).exposure
    assert np.array(exposure.origin) * 1e3 == pytest.approx(at[0] + outer @ (at[1] + inner @ at[2]))
    assert exposure.fast_axis == pytest.approx((outer @ inner @ own)[:, 0])
    assert exposure.slow_axis == pytest.approx((outer @ inner @ own)[:, 1])


@pytest.mark.spec("FMT-21")
def test_stills_and_what_is_left_out(tmp_path: Path) -> None:
    still = read_expt(write_expt(tmp_path / "a.expt", scan=None, goniometer=None, beam={"direction": [0, 0, 1], "wavelength": 1.3}), 1)
    assert (still.exposure.spindle_axis, still.exposure.oscillation, still.exposure.polarization_fraction) == (None, 0.0, None)
    assert still.reciprocal is not None
    assert read_expt(write_expt(tmp_path / "a.expt", crystal=None)).reciprocal is None
    # A scan with nothing to turn about is a still; a goniometer without a scan still holds the crystal.
    assert read_expt(write_expt(tmp_path / "a.expt", goniometer=None), 9).exposure.phi_start == 0.0
    held = read_expt(write_expt(tmp_path / "a.expt", scan=None))
    assert held.reciprocal is not None
    assert held.reciprocal == pytest.approx(read_expt(write_expt(tmp_path / "b.expt")).reciprocal)
    assert read_expt(write_expt(tmp_path / "a.expt", scan={"image_range": [3, 3], "oscillation": [20.0, 0.0]})).exposure.oscillation == 0.0
    unpolarised = {"direction": [0, 0, 1], "wavelength": 1.0, "polarization_normal": [0, 0, 1], "polarization_fraction": 0.5}
    exposure = read_expt(write_expt(tmp_path / "a.expt", beam=unpolarised)).exposure
    assert (exposure.polarization_axis, exposure.polarization_fraction) == (None, 0.0)


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize(
    ("scan", "start", "width"),
    [
        ({"image_range": [5, 7], "properties": {"oscillation": [3.0, 3.5, 4.0], "exposure_time": [1.0, 2.0, 3.0]}}, 3.5, 0.5),
        ({"image_range": [6, 6], "properties": {"oscillation": [3.5], "oscillation_width": [0.5]}}, 3.5, 0.5),
        ({"image_range": [6, 6], "properties": {"oscillation": [3.5]}}, 3.5, 0.0),
        ({"image_range": [5, 7], "properties": {}}, 0.0, 0.0),
        ({"image_range": [5, 7]}, 0.0, 0.0),
    ],
)
def test_scans_of_newer_versions(tmp_path: Path, scan: dict[str, Any], start: float, width: float) -> None:
    exposure = read_expt(write_expt(tmp_path / "a.expt", scan=scan), 6).exposure
    assert (math.degrees(exposure.phi_start), math.degrees(exposure.oscillation)) == pytest.approx((start, width))


@pytest.mark.spec("FMT-21")
def test_one_of_several_experiments(tmp_path: Path) -> None:
    content = expt_content()
    content["experiment"].append({**content["experiment"][0], "beam": 1})
    content["beam"].append({"direction": [0, 0, 1], "wavelength": 1.3})
    path = tmp_path / "a.expt"
    path.write_text(json.dumps(content))
    assert read_expt(path, 5, 1).exposure.wavelength == pytest.approx(1.3e-10)
    assert read_expt(path, 5, 0).exposure.wavelength == pytest.approx(0.97e-10)
    assert nbnumba.experiment_from_options(f"--expt {path} 6 1 -default_F 1").beam.wavelength == pytest.approx(1.3e-10)
    with pytest.raises(InputFileError) as raised:
        read_expt(path, 5)
    assert str(raised.value) == f"{path}: holds 2 experiments; say which: --expt {path} IMAGE EXPERIMENT, from 0 to 1"
    for index in (2, -1):
        with pytest.raises(InputFileError, match=f"has experiments 0 to 1; there is no experiment {index}"):
            read_expt(path, 5, index)


def changed(*keys: Any, to: Any) -> Callable[[dict[str, Any]], Any]:
    """Put a value where the keys lead."""

    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


def one_axis(axis: list[float], scanned: float) -> dict[str, Any]:
    return {"axes": [axis], "angles": [0], "scan_axis": scanned}


DEEP: dict[str, Any] = {"panel": 0}
for _ in range(110):
    DEEP = {"fast_axis": [1, 0, 0], "slow_axis": [0, 1, 0], "origin": [0, 0, 0], "children": [DEEP]}
NESTED: list[Any] = [1]
for _ in range(400):
    NESTED = [NESTED]
PANEL = ("detector", 0, "panels", 0)


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed("__id__", to="x"), "is not an experiment list of DIALS (.expt); it has no __id__ ExperimentList"),
        (changed("experiment", to=[]), "holds no experiment"),
        (changed("experiment", to={}), "file.experiment is not a list in brackets"),
        (changed("experiment", to=[3]), "experiment[0] is not an object in braces"),
        (changed("experiment", 0, "beam", to=None), "experiment[0] has no beam; export it with its geometry"),
        (changed("experiment", 0, "detector", to=None), "experiment[0] has no detector; export it with its geometry"),
        (changed("experiment", 0, "beam", to=1), "experiment[0].beam = 1 is not an index of the list 'beam'"),
        (changed("experiment", 0, "beam", to="a"), "experiment[0].beam = \"a\" is not an index of the list 'beam'"),
        (changed("beam", 0, to=[]), "beam is not an object in braces"),
        (changed("beam", 0, "wavelength", to=None), "beam.wavelength is missing; a beam of one wavelength is simulated"),
        (changed("beam", 0, "wavelength", to=0), "beam.wavelength = 0 must be greater than 0"),
        (changed("beam", 0, "wavelength", to="1"), 'beam.wavelength = "1" is not 1 finite number'),
        (changed("beam", 0, "wavelength", to=math.nan), "beam.wavelength = NaN is not 1 finite number"),
        (changed("beam", 0, "direction", to=[0, 0, 0]), "beam.direction is a zero vector; give a direction"),
        (changed("beam", 0, "direction", to=[0, 1]), "beam.direction = [0, 1] is not 3 finite numbers"),
        (changed("beam", 0, "direction", to=None), "beam.direction = null is not 3 finite numbers"),
        (changed("beam", 0, "polarization_fraction", to=1.2), "beam.polarization_fraction = 1.2 is not between 0 and 1"),
        (
            changed("beam", 0, "polarization_normal", to=[0.01, -0.02, 1.0]),
            "beam.polarization_normal = 0.01 -0.02 1 is along the beam; it must be across it",
        ),
        (changed("detector", 0, "panels", to=[]), "the detector has no panels"),
        (changed(*PANEL, "pixel_size", to=[0.1, 0.2]), "panel.pixel_size = 0.1 0.2: pixels must be square"),
        (changed(*PANEL, "pixel_size", to=[0.1, -0.1]), "panel.pixel_size = 0.1 -0.1 must be greater than 0"),
        (changed(*PANEL, "image_size", to=[0, 3]), "panel.image_size[0] = 0 is not a number of pixels from 1 to 100000"),
        (changed(*PANEL, "image_size", to=[3, 2.5]), "panel.image_size[1] = 2.5 is not a number of pixels from 1 to 100000"),
        (
            changed(*PANEL, "slow_axis", to=[3.0, 4.0, 0.0]),
            "panel.fast_axis and panel.slow_axis are 53.1301 degrees apart; pixels must be square",
        ),
        (changed(*PANEL, "fast_axis", to=[0, 0, 0]), "detector.panels[0].fast_axis is a zero vector; give a direction"),
        (changed(*PANEL, "origin", to=[5, 5, 0]), "panel.origin puts the detector plane through the crystal; give a distance"),
        (changed("detector", 0, "hierarchy", to=DEEP), "detector.hierarchy is more than 100 groups deep"),
        (changed("detector", 0, "hierarchy", to={**panel(), "children": []}), "detector.hierarchy does not hold the panel"),
        (changed("detector", 0, "hierarchy", to={**panel(), "children": [3]}), "detector.hierarchy.children is not an object in braces"),
        (changed("scan", 0, "image_range", to=[5, 4]), "scan.image_range = 5 4 holds no image"),
        (changed("goniometer", 0, "rotation_axis", to=[0, 0, 0]), "goniometer.rotation_axis is a zero vector; give a direction"),
        (changed("goniometer", 0, "fixed_rotation", to=[1] * 9), "goniometer.fixed_rotation is not a rotation"),
        (
            changed("goniometer", 0, to=one_axis([1, 0, 0], 1)),
            "goniometer.scan_axis = 1 is not the index of one of 1 axes",
        ),
        (changed("goniometer", 0, to=one_axis([1, 0, 0], 0.5)), "goniometer.scan_axis = 0.5 is not a whole number"),
        (changed("goniometer", 0, "axes", to=[1, 2]), "goniometer.axes = [1, 2] is not several times 3 finite numbers"),
        (changed("goniometer", 0, to=one_axis([0, 0, 0], 0)), "goniometer.axes[0] is a zero vector; give a direction"),
        (changed("crystal", 0, "real_space_c", to=[41, 5, -3]), "crystal.real_space_a, _b, _c do not span a unit cell"),
        (
            changed("crystal", 0, "A_at_scan_points", to=[[0.01] * 9] * 3),
            "crystal.A_at_scan_points has 3 points; a scan of 10 images has 11",
        ),
        (changed("crystal", 0, "A_at_scan_points", to=[[0.01] * 9] * 11), "crystal.A_at_scan_points do not span a unit cell"),
        (changed("scan", 0, "image_range", to=[5, 6.5]), "scan.image_range = 6.5 is not a whole number"),
        (changed("scan", 0, "image_range", to=[1, 1e300]), "scan.image_range = 1e+300 is beyond 1e+09"),
        (changed("scan", 0, "exposure_time", to=[-1]), "scan.exposure_time = -1 must be greater than 0"),
        (changed("scan", 0, "exposure_time", to=["1"]), 'scan.exposure_time = "1" is not 1 finite number'),
        (
            changed("scan", 0, to={"image_range": [5, 7], "properties": {"oscillation": [1, 2]}}),
            "scan.properties.oscillation has 2 angles; a scan of 3 images has 3",
        ),
        (changed("beam", 0, "wavelength", to=10**400), f"beam.wavelength = 1{'0' * 56}... is not 1 finite number"),
        (changed("beam", 0, "direction", to=[True, False, True]), "beam.direction = [true, false, true] is not 3 finite numbers"),
        (changed("beam", 0, "direction", to=["0", "0", "1"]), 'beam.direction = ["0", "0", "1"] is not 3 finite numbers'),
        (changed("beam", 0, "direction", to=NESTED), f"beam.direction = {'[' * 57}... is not 3 finite numbers"),
        (changed("experiment", 0, "beam", to=True), "experiment[0].beam = true is not an index of the list 'beam'"),
        (changed(*PANEL, "material", to=5), "panel.material = 5 is not a chemical formula such as Si or CdTe"),
        (changed("crystal", 0, "A_at_scan_points", to=[[0.01]] * 11), "crystal.A_at_scan_points[0] = [0.01] is not 9 finite numbers"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any], problem: str) -> None:
    content = copy.deepcopy(expt_content())
    change(content)
    path = tmp_path / "bad.expt"
    path.write_text(json.dumps(content))
    with pytest.raises(InputFileError) as raised:
        read_expt(path)
    assert str(raised.value) == f"{path}: {problem}"


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize(
    ("models", "image", "problem"),
    [
        ({}, 4, "has images 5 to 14; there is no image 4"),
        ({}, 15, "has images 5 to 14; there is no image 15"),
        ({"scan": None}, 2, "has images 1 to 1; there is no image 2"),
    ],
)
def test_images_that_there_are_not(tmp_path: Path, models: dict[str, Any], image: int, problem: str) -> None:
    path = write_expt(tmp_path / "a.expt", **models)
    with pytest.raises(InputFileError) as raised:
        read_expt(path, image)
    assert str(raised.value) == f"{path}: {problem}"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", "3"])
def test_what_is_no_experiment_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.expt").write_text(text)
    with pytest.raises(InputFileError, match=r"is not JSON: |is not an experiment list of DIALS"):
        read_expt(tmp_path / "bad.expt")


# Against dxtbx: it writes the file, and says where it has pixels, and what turns the crystal.

DXTBX = """
import json, sys
from scitbx import matrix
from scitbx.array_family import flex
from dxtbx.model import *
from dxtbx.model.experiment_list import Experiment, ExperimentList
kind, path = sys.argv[1:]
detector = Detector()
root = detector.hierarchy()
tilt = matrix.col((1, 0.2, 0.1)).normalize().axis_and_angle_as_r3_rotation_matrix(7, deg=True)
root.set_frame(tilt * matrix.col((1, 0, 0)), tilt * matrix.col((0, -1, 0)), (2, 3, -140))
group = root.add_group() if "group" in kind else root
if "group" in kind:
    swing = matrix.col((0, 1, 0)).axis_and_angle_as_r3_rotation_matrix(20, deg=True)
    group.set_local_frame(swing * matrix.col((1, 0, 0)), swing * matrix.col((0, 1, 0)), (1, 2, 3))
panel = group.add_panel()
panel.set_local_frame((1, 0, 0), (0, 1, 0), (-50, -60, 1))
panel.set_pixel_size((0.172, 0.172))
panel.set_image_size((487, 619))
panel.set_thickness(1.0)
panel.set_mu(4.5)
panel.set_material("CdTe")
panel.set_trusted_range((-1, 65535))
panel.set_px_mm_strategy(ParallaxCorrectedPxMmStrategy(4.5, 1.0))
beam = BeamFactory.make_polarized_beam(
    sample_to_source=(0.01, 0.02, 1), wavelength=0.98, polarization=(0, 1, 0), polarization_fraction=0.97
)
if "kappa" in kind:
    axes = flex.vec3_double([(1, 0, 0), (0.9, 0.43, 0.01), (1, 0.01, 0)])
    gonio = MultiAxisGoniometer(axes, flex.double([10, 40, 70]), flex.std_string(["PHI", "KAPPA", "OMEGA"]), 2 if "omega" in kind else 0)
else:
    gonio = GoniometerFactory.make_goniometer((1, 0, 0), tilt.elems)
    gonio.set_setting_rotation((tilt * tilt).elems)
scan = Scan((5, 14), (3.0, 0.5))
scan.set_exposure_times(flex.double([0.1 * i for i in range(1, 11)]))
crystal = Crystal((40, 1, 2), (3, 50, 4), (-5, 6, 60), space_group_symbol="P1")
A = matrix.sqr(crystal.get_A())
if "varying" in kind:
    turns = [matrix.col((1, 2, 3)).normalize().axis_and_angle_as_r3_rotation_matrix(0.05 * i, deg=True) for i in range(11)]
    crystal.set_A_at_scan_points([(turn * A).elems for turn in turns])
    A = (turns[3] * A + turns[4] * A) * 0.5
experiments = ExperimentList([Experiment(beam=beam, detector=detector, goniometer=gonio, scan=scan, crystal=crystal)])
experiments.as_file(path)
S, F = matrix.sqr(gonio.get_setting_rotation()), matrix.sqr(gonio.get_fixed_rotation())
axis = matrix.col(gonio.get_rotation_axis_datum())
phi = scan.get_angle_from_image_index(8)
R = axis.axis_and_angle_as_r3_rotation_matrix(phi, deg=True)
pixels = [(0, 0), (487, 0), (0, 619), (100.5, 200.5)]
print(json.dumps({
    "phi": phi, "pixels": pixels, "lab": [panel.get_lab_coord((0.172 * f, 0.172 * s)) for f, s in pixels],
    "SRFA": (S * R * F * A).elems, "s0": beam.get_s0(),
    "seconds": scan.get_exposure_times()[3], "sensor": [panel.get_thickness(), panel.get_mu(), panel.get_material()],
    "trusted": panel.get_trusted_range(), "normal": beam.get_polarization_normal(), "fraction": beam.get_polarization_fraction(),
}))
"""


@pytest.mark.spec("FMT-21")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
@pytest.mark.parametrize("preset", ["reference", "c-parity", "physics"])
@pytest.mark.parametrize("kind", ["plain", "group", "kappa", "kappa-omega-group", "varying-group", "kappa-omega-varying"])
def test_against_dxtbx(kind: str, preset: str, tmp_path: Path) -> None:
    theirs = json.loads(answer(["-c", DXTBX, kind, str(tmp_path / "a.expt")]))
    from nbnumba.options.arguments import split_arguments
    from nbnumba.options.experiment import apply_all

    given = split_arguments(["--expt", str(tmp_path / "a.expt"), "8", "-default_F", "1"]).given
    ours = apply_all(given, None, nbnumba.Model(preset=preset)).experiment()
    frame = ours.frame
    for (fast, slow), lab in zip(theirs["pixels"], theirs["lab"], strict=True):
        place = frame.pix0 + ours.detector.pixel_size * (fast * frame.fast_axis + slow * frame.slow_axis)
        assert place * 1e3 == pytest.approx(lab, abs=1e-10)
    assert math.degrees(ours.goniometer.phi_start) == pytest.approx(theirs["phi"], abs=1e-12)
    turned = turn(frame.spindle_axis.tolist(), theirs["phi"]) @ ours.unit_cell.reciprocal.T * 1e-10
    assert turned == pytest.approx(np.reshape(theirs["SRFA"], (3, 3)), abs=1e-13)
    assert frame.incident / (ours.beam.wavelength * 1e10) == pytest.approx(theirs["s0"], abs=1e-12)
    assert frame.polarization_axis @ theirs["normal"] == pytest.approx(0.0, abs=1e-12)
    assert ours.beam.polarization_fraction == pytest.approx(2.0 * theirs["fraction"] - 1.0)
    assert ours.beam.exposure == pytest.approx(theirs["seconds"], rel=1e-12)
    sensor = [ours.detector.sensor_thickness * 1e3, 1e-3 * ours.detector.absorption, ours.detector.sensor_material]
    assert sensor[:2] == pytest.approx(theirs["sensor"][:2], rel=1e-12)
    assert sensor[2] == theirs["sensor"][2]
    assert list(read_expt(tmp_path / "a.expt", 8).exposure.trusted_range or ()) == theirs["trusted"]


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize("depth", [200, 900, 100_000])
def test_lists_however_deep(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a.expt"
    path.write_text(json.dumps(expt_content()).replace('"wavelength": ', f'"wavelength": {"[" * depth}1{"]" * depth}, "x": '))
    with pytest.raises(InputFileError, match=r"is not 1 finite number|is not JSON: maximum recursion depth exceeded"):
        read_expt(path)
