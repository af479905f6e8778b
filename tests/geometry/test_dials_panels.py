"""Experiments of DIALS with detectors of several panels, read and written; where dxtbx is installed, against dxtbx itself."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, answer, has_dxtbx
from geometry_files import expt_content, panel, turn, write_expt
from many_panels import assert_in_place, sixteen

import nbnumba
from nbnumba.cli.main import main
from nbnumba.errors import InputFileError
from nbnumba.geometry.dials import read_expt
from nbnumba.geometry.dials_out import expt_text, masked_rectangles
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.panel_groups import group_of, middles_of_groups

RECIPROCAL = np.array([[2e8, 1e7, 0.0], [0.0, 1.7e8, -2e7], [3e6, 0.0, 1.4e8]])  # rows a*, b*, c* in 1/m
IDENTITY = np.eye(3)
CRYSTAL = "-default_F 10 -N 3"


def group(name: str | None, *children: Any, frame: np.ndarray = IDENTITY, origin: tuple[float, ...] = (0.0, 0.0, 0.0)) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {
        **named,
        "fast_axis": frame[:, 0].tolist(),
        "slow_axis": frame[:, 1].tolist(),
        "origin": list(origin),
        "children": list(children),
    }


def detector(hierarchy: dict[str, Any], panels: int = 4) -> dict[str, Any]:
    return {"panels": [panel(turn([0, 0, 1], 90.0 * n), (1.0, n, -120.0), name=f"p{n}") for n in range(panels)], "hierarchy": hierarchy}


@pytest.mark.spec("FMT-94")
def test_every_panel_has_its_groups_frames_one_after_the_other(tmp_path: Path) -> None:
    outer, inner = turn([1, 0, 1], 17), turn([0, 1, 0], 5)
    hierarchy = group(
        "root",
        group(
            "/entry/top", group("a", {"panel": 2}, frame=inner, origin=(1, 2, 3)), group("b", {"panel": 0}), frame=outer, origin=(0, 0, -9)
        ),
        group(None, {"panel": 1}),
        group("twice", {"panel": 3}),
        group("twice"),
        origin=(0, 0, -1),
    )
    exposure, _, _, _, panels, *_ = read_expt(write_expt(tmp_path / "a.expt", detector=detector(hierarchy)))
    assert [(one.name, one.group) for one in panels] == [("p0", "top/b"), ("p1", "group1"), ("p2", "top/a"), ("p3", "twice2")]
    own = turn([0, 0, 1], 180)
    at = np.array([0, 0, -1]) + np.array([0, 0, -9]) + outer @ (np.array([1, 2, 3]) + inner @ [1, 2, -120])
    assert np.array(panels[2].origin) * 1e3 == pytest.approx(at)
    assert panels[2].fast_axis == pytest.approx((outer @ inner @ own)[:, 0])
    assert (exposure.origin, exposure.fast_axis) == (panels[0].origin, panels[0].fast_axis)


@pytest.mark.spec("FMT-94")
def test_sensors_and_masks_are_of_each_panel(tmp_path: Path) -> None:
    thick = {"thickness": 0.32, "mu": 3.9, "px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}, "material": "Si"}
    small = {"image_size": [10, 8]}
    content = {"panels": [panel(**small, **thick), panel(**small, mask=[[1, 2, 4, 5], [0, 6, 200, 7]]), panel(**small, thickness=1.0)]}
    path = write_expt(tmp_path / "a.expt", detector=content)
    found = read_expt(path)
    sensors = [(one.sensor_thickness, one.sensor_attenuation, one.sensor_material) for one in found.panels]
    assert sensors == [(pytest.approx(0.32e-3), pytest.approx(1e-3 / 3.9), "Si"), (0.0, None, None), (0.0, None, None)]
    assert found.notes == (f"{path}: the sensor of 1 mm is left out: it has no mu; give -detector_thick and -detector_abs",)
    expected = np.ones((8, 10), bool)
    expected[2:5, 1:4] = expected[6] = False
    np.testing.assert_array_equal(found.panels[1].mask, expected)
    assert found.panels[0].mask is None
    experiment = nbnumba.experiment_from_options(f"--expt {path} {CRYSTAL}")
    assert [one.sampling.mask is None for one in experiment.by_panel] == [True, False, True]


@pytest.mark.spec("FMT-95", "EXP-15")
@pytest.mark.parametrize(
    ("given", "depth"),
    [({}, 5e-4), ({"sensor_attenuation": 1e-4}, 1e-4), ({"sensor_attenuation": 0.0}, None), ({"sensor_thickness": 0.0}, None)],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_sensor_is_written_as_it_is_rendered(count: int, given: dict[str, float], depth: float | None) -> None:
    """Without an attenuation its depth is its thickness; of one panel as of several."""
    sensor = {"sensor_material": "CdTe", "sensor_thickness": 5e-4} | given
    place = {"fast_axis": (1, 0, 0), "slow_axis": (0, -1, 0), "pixel_size": 1e-4, "fast_pixels": 4, "slow_pixels": 3}
    panels = tuple(nbnumba.Panel(origin=(0.01 * n, 0, -0.1), **place, **sensor) for n in range(count))
    experiment = replace(nbnumba.experiment_from_options(f"-lambda 1 -cell 50 {CRYSTAL}"), detector=nbnumba.Detector(panels=panels))
    written = json.loads(expt_text(exposure_of(experiment), None))["detector"][0]["panels"]
    mu = 0.0 if depth is None else pytest.approx(1e-3 / depth)
    strategy = "SimplePxMmStrategy" if depth is None else "ParallaxCorrectedPxMmStrategy"
    assert [(one["mu"], one["px_mm_strategy"]["type"]) for one in written] == [(mu, strategy)] * count
    assert [one.detector.absorption for one in experiment.by_panel] == [0.0 if depth is None else pytest.approx(1 / depth)] * count


@pytest.mark.spec("FMT-94")
def test_the_mask_of_a_single_panel_is_that_of_the_image(tmp_path: Path) -> None:
    path = write_expt(tmp_path / "a.expt", detector={"panels": [panel(image_size=[10, 8], mask=[[0, 0, 3, 8]])]})
    experiment = nbnumba.experiment_from_options(f"--expt {path} {CRYSTAL}")
    assert experiment.detector.panels == ()
    assert experiment.sampling.mask is not None
    np.testing.assert_array_equal(experiment.sampling.mask, np.repeat([np.arange(10) >= 3], 8, axis=0))


def changed(*keys: Any, to: Any) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


PANEL = ("detector", 0, "panels", 2)
HIERARCHY = ("detector", 0, "hierarchy")


@pytest.mark.spec("FMT-94")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed(*HIERARCHY, "children", to=[{"panel": 0}, {"panel": 1}]), "detector.hierarchy does not hold panel 2"),
        (changed(*HIERARCHY, "children", 0, "panel", to=4), "detector.hierarchy holds panel 4; there are 0 to 3"),
        (changed(*HIERARCHY, "children", 0, "panel", to=-1), "detector.hierarchy holds panel -1; there are 0 to 3"),
        (changed(*HIERARCHY, "children", 0, "panel", to=0.5), "detector.hierarchy.children.panel = 0.5 is not a whole number"),
        (changed(*HIERARCHY, "children", 0, "panel", to=1), "detector.hierarchy holds panel 1 twice"),
        (changed(*HIERARCHY, "children", to=3), "detector.hierarchy.children is not a list in brackets"),
        (changed(*PANEL, to=[]), "detector.panels[2] is not an object in braces"),
        (changed(*PANEL, "pixel_size", to=[0.1, 0.2]), "panel.pixel_size = 0.1 0.2: pixels must be square"),
        (changed(*PANEL, "origin", to=[5, 5, 0]), "panel.origin puts the detector plane through the crystal; give a distance"),
        (changed(*PANEL, "mask", to=[[1, 2, 3]]), "detector.panels[2].mask = [[1, 2, 3]] is not several times 4 finite numbers"),
        (
            changed(*PANEL, "mask", to=[[0, 0, 2, 2], [-3, 6, 20, 7]]),
            "detector.panels[2].mask[1] = [-3, 6, 20, 7] is not first fast, first slow, end of fast, end of slow, from 0 up",
        ),
        (
            changed(*PANEL, "mask", to=[[4, 0, 2, 2]]),
            "detector.panels[2].mask[0] = [4, 0, 2, 2] is not first fast, first slow, end of fast, end of slow, from 0 up",
        ),
        (changed(*PANEL, "thickness", to=-1), "detector.panels[2].thickness = -1 must be at least 0"),
        (changed(*PANEL, "mu", to=-0.5), "detector.panels[2].mu = -0.5 must be at least 0"),
        (changed(*PANEL, "mask", to="all"), "detector.panels[2].mask is not a list in brackets"),
        (
            changed(*PANEL, "slow_axis", to=[1e-4, -1.0, 0.0]),
            "panel p2: panel.slow_axis: is not at right angles to panel.fast_axis",
        ),
        (changed(*PANEL, "material", to=5), "panel.material = 5 is not a chemical formula such as Si or CdTe"),
    ],
)
def test_what_is_refused_of_several(tmp_path: Path, change: Callable[[dict[str, Any]], Any], problem: str) -> None:
    content = copy.deepcopy(expt_content(detector=detector(group("root", *({"panel": n} for n in range(4))))))
    change(content)
    (tmp_path / "bad.expt").write_text(json.dumps(content))
    with pytest.raises(InputFileError) as raised:
        read_expt(tmp_path / "bad.expt")
    assert str(raised.value) == f"{tmp_path / 'bad.expt'}: {problem}"


def masked() -> Exposure:
    """Sixteen panels of a rotating crystal, some with a mask."""
    whole = sixteen(spindle_axis=(0.8, 0.6, 0.0), phi_start=0.3, oscillation=0.01, exposure_time=0.2, trusted_range=(0.0, 5e4))
    rng = np.random.default_rng(3)
    masks = [None if n % 3 else rng.random(one.shape) > 0.2 for n, one in enumerate(whole.panels)]
    return replace(whole, panels=tuple(replace(one, mask=mask) for one, mask in zip(whole.panels, masks, strict=True)))


@pytest.mark.spec("FMT-95")
def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    exposure = masked()
    (tmp_path / "a.expt").write_text(expt_text(exposure, RECIPROCAL, 5))
    found = read_expt(tmp_path / "a.expt", 4)
    for ours, expected in zip(found.panels, exposure.panels, strict=True):
        assert_in_place(ours, expected)
        assert (ours.name, ours.group, ours.sensor_material) == (expected.name, expected.group, "Si")
        assert (ours.sensor_thickness, ours.sensor_attenuation) == pytest.approx((4.5e-4, 3e-4))
        np.testing.assert_array_equal(ours.mask if ours.mask is not None else True, expected.mask if expected.mask is not None else True)
    assert found.reciprocal == pytest.approx(RECIPROCAL, abs=1.0)
    here = found.exposure
    assert (here.phi_start, here.oscillation) == pytest.approx((0.3 + 3 * 0.01, 0.01))
    assert (here.wavelength, here.exposure_time, here.trusted_range) == (pytest.approx(1e-10), 0.2, (0.0, 5e4))
    assert (here.polarization_fraction, here.polarization_axis) == (pytest.approx(0.998), pytest.approx((1.0, 0.0, 0.0)))


@pytest.mark.spec("FMT-95")
def test_a_still_has_its_crystal_as_it_is_turned(tmp_path: Path) -> None:
    still = replace(masked(), oscillation=0.0)
    (tmp_path / "a.expt").write_text(expt_text(still, RECIPROCAL))
    content = json.loads((tmp_path / "a.expt").read_text())
    assert (content["goniometer"], content["scan"]) == ([], [])
    found = read_expt(tmp_path / "a.expt").reciprocal
    assert found is not None
    assert pytest.approx(turn([0.8, 0.6, 0.0], math.degrees(0.3)) @ RECIPROCAL.T, abs=1.0) == found.T


@pytest.mark.spec("FMT-95")
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_rectangles_cover_what_is_masked_once(share: float) -> None:
    mask = np.random.default_rng(1).random((9, 7)) >= share
    mask[4] = mask[5]
    covered = np.zeros(mask.shape, int)
    for f0, s0, f1, s1 in masked_rectangles(mask):
        covered[s0:s1, f0:f1] += 1
    np.testing.assert_array_equal(covered, ~mask)


@pytest.mark.spec("FMT-91", "FMT-95")
def test_groups_are_in_the_middle_of_their_panels() -> None:
    panels = masked().panels
    middles = middles_of_groups(panels)
    assert list(middles)[:3] == ["", "quadrant00", "quadrant00/half0"]
    assert len(middles) == 1 + 4 + 8
    assert group_of(replace(panels[0], group="/a//b/")) == "a/b"


DXTBX = """
import json, sys
from dxtbx.model.experiment_list import ExperimentListFactory
(experiment,) = ExperimentListFactory.from_json_file(sys.argv[1], check_format=False)
gonio, scan, beam, crystal = experiment.goniometer, experiment.scan, experiment.beam, experiment.crystal
def panel(p):
    fast, slow = p.get_image_size()
    pixels = [(0, 0), (fast, 0), (0, slow), (3.25, 4.5)]
    size = p.get_pixel_size()
    return {
        "lab": [p.get_lab_coord((size[0] * f, size[1] * s)) for f, s in pixels], "pixels": pixels, "name": p.get_name(),
        "mask": p.get_untrusted_rectangle_mask().as_numpy_array().tolist(), "trusted": p.get_trusted_range(),
        "sensor": [p.get_thickness(), p.get_mu(), p.get_material(), type(p.get_px_mm_strategy()).__name__], "parent": p.parent().get_name(),
    }
print(json.dumps({
    "panels": [panel(p) for p in experiment.detector],
    "s0": beam.get_s0(), "normal": beam.get_polarization_normal(), "fraction": beam.get_polarization_fraction(),
    "axis": None if gonio is None else gonio.get_rotation_axis(),
    "scan": None if scan is None else [scan.get_image_range(), scan.get_oscillation(), list(scan.get_exposure_times())],
    "A": crystal.get_A(), "cell": crystal.get_unit_cell().parameters(),
}))
"""


@pytest.mark.spec("FMT-95")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
@pytest.mark.parametrize("kind", ["panels", "still", "one"])
def test_dxtbx_reads_what_is_written(kind: str, tmp_path: Path) -> None:
    exposure = masked()
    exposure = replace(exposure, oscillation=0.0) if kind == "still" else replace(exposure, panels=()) if kind == "one" else exposure
    (tmp_path / "a.expt").write_text(expt_text(exposure, RECIPROCAL, 1 if kind == "still" else 3))
    theirs = json.loads(answer(["-c", DXTBX, str(tmp_path / "a.expt")]))
    panels = exposure.panels or (exposure.as_panel("Panel", ""),)
    assert len(theirs["panels"]) == len(panels)
    for found, ours in zip(theirs["panels"], panels, strict=True):
        for (fast, slow), lab in zip(found["pixels"], found["lab"], strict=True):
            place = ours.origin + ours.pixel_size * (fast * np.array(ours.fast_axis) + slow * np.array(ours.slow_axis))
            assert place * 1e3 == pytest.approx(lab, abs=1e-9)
        assert (found["name"], found["parent"]) == (ours.name, ours.group.rpartition("/")[2])
        np.testing.assert_array_equal(found["mask"], True if ours.mask is None else ours.mask)
        assert found["trusted"] == [0.0, 5e4]
        assert found["sensor"] == [pytest.approx(0.45), pytest.approx(1.0 / 0.3), "Si", "ParallaxCorrectedPxMmStrategy"]
    assert theirs["s0"] == pytest.approx([0.0, 0.0, -1.0])
    assert theirs["fraction"] == pytest.approx(0.999)
    assert np.cross(theirs["normal"], (0.0, 0.0, -1.0)) == pytest.approx([1.0, 0.0, 0.0])
    turned = turn([0.8, 0.6, 0.0], math.degrees(0.3)) if kind == "still" else np.eye(3)
    assert np.reshape(theirs["A"], (3, 3)) == pytest.approx(turned @ RECIPROCAL.T * 1e-10, abs=1e-12)
    if kind == "still":
        assert (theirs["axis"], theirs["scan"]) == (None, None)
    else:
        assert theirs["axis"] == pytest.approx([0.8, 0.6, 0.0])
        assert theirs["scan"] == [[1, 3], pytest.approx([math.degrees(0.3), math.degrees(0.01)]), [0.2] * 3]


@pytest.mark.spec("FMT-95")
def test_commands_write_it(in_tmp_path: Path) -> None:
    Path("a.expt").write_text(expt_text(masked(), RECIPROCAL, 3))
    options = f"--expt a.expt {CRYSTAL} -oversample 1 -phisteps 1 -fluence 1e20"
    assert main(["run", *options.split(), "-o", "a.nxs", "-o", "b.expt"]) == 0
    assert main(["sweep", *options.split(), "--images", "2", "-o", "c.nxs", "--save-expt", "c.expt"]) == 0
    before, one, two = (read_expt(name) for name in ("a.expt", "b.expt", "c.expt"))
    for ours, other, expected in zip(one.panels, two.panels, before.panels, strict=True):
        assert_in_place(ours, expected)
        assert_in_place(other, expected)
    assert one.reciprocal == pytest.approx(before.reciprocal, rel=1e-9, abs=1.0)
    assert [json.loads(Path(name).read_text())["scan"][0]["image_range"] for name in ("b.expt", "c.expt")] == [[1, 1], [1, 2]]
    assert read_expt("c.expt", 2).exposure.phi_start == pytest.approx(0.31)


@pytest.mark.spec("FMT-106")
def test_the_trusted_range_goes_into_files(in_tmp_path: Path) -> None:
    content = json.loads(expt_text(replace(sixteen(), trusted_range=(0.0, 65000.0)), RECIPROCAL))
    Path("a.expt").write_text(json.dumps(content))
    experiment = nbnumba.experiment_from_options(f"--expt a.expt {CRYSTAL}")
    assert experiment.detector.saturation == 65000.0
    assert exposure_of(experiment).trusted_range == (0.0, 65000.0)
    assert read_expt("a.expt").notes == ()
    for one in content["detector"][0]["panels"][3:5]:
        one["trusted_range"] = [0.0, 1000.0]
    Path("b.expt").write_text(json.dumps(content))
    assert read_expt("b.expt").notes == ("b.expt: the trusted range of the first panel is taken for all; 2 have others",)
    for one in content["detector"][0]["panels"]:
        one["trusted_range"] = [-1.0, 2.0**31 - 1.0]
    Path("c.expt").write_text(json.dumps(content))
    assert nbnumba.experiment_from_options(f"--expt c.expt {CRYSTAL}").detector.saturation is None
