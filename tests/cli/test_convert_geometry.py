"""Geometry as a file of its own: of images, and for images that have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from manual_geom import read_manual
from many_panels import assert_in_place, sixteen

from nbnumba.cli.main import main
from nbnumba.formats.cbf import CBF
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.crystfel import read_geom
from nbnumba.geometry.dials import read_expt
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.exposure import Exposure

SHAPE = (4, 5)
PANELS = sixteen(SHAPE, trusted_range=(0.0, 1e5))
COUNTS = np.arange(16 * 20, dtype=np.int32).reshape(64, 5)
COUNTS[2, 1:3] = -1
COUNTS[63, 4] = -2
STRAIGHT = Exposure(
    shape=(3, 4), pixel_size=1e-4, origin=(-0.001, 0.002, -0.1), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0), oscillation=0.01,
    exposure_time=0.5,
)  # fmt: skip


@pytest.fixture
def images(in_tmp_path: Path) -> Path:
    """One of many panels, and a scan of one panel."""
    Path("many.nxs").write_bytes(nxmx_bytes([(COUNTS, PANELS)]))
    for number in (1, 2, 3):
        one = replace(STRAIGHT, number=number, phi_start=0.1 + 0.01 * (number - 1))
        Path(f"scan_{number}.cbf").write_bytes(CBF.write(np.arange(12, dtype=np.int32).reshape(3, 4), one))
    return in_tmp_path


@pytest.mark.spec("FMT-104", "FMT-83")
def test_a_crystfel_geometry_of_an_image(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every pixel where it is in the laboratory that has z along the beam and y up; what is below 0 is bad."""
    assert main(["convert", "many.nxs", "many.geom"]) == 0
    out, said = capsys.readouterr()
    assert out == "1 image; geometry alone; wrote many.geom\n"
    assert said == "nbnumba: warning: many.geom: a CrystFEL geometry does not say: the sensor\n"
    found = read_manual(Path("many.geom"))
    assert found.wavelength == pytest.approx(1e-10, rel=1e-12)
    for number, (sheet, panel) in enumerate(zip(found.panels.values(), PANELS.panels, strict=True)):
        fast, slow = np.arange(panel.fast_pixels)[None, :, None], np.arange(panel.slow_pixels)[:, None, None]
        steps = fast * np.array(panel.fast_axis) + slow * np.array(panel.slow_axis)
        assert np.abs(sheet.corners() - (np.array(panel.origin) + panel.pixel_size * steps) * (-1.0, 1.0, -1.0)).max() < 1e-9
        np.testing.assert_array_equal(sheet.bad, COUNTS[number * 4 : number * 4 + 4] < 0)


@pytest.mark.spec("FMT-104")
@pytest.mark.parametrize("like", ["many.geom", "many.expt"])
def test_images_without_a_geometry_get_one(like: str, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "many.nxs", like]) == 0
    np.save("pixels.npy", np.abs(COUNTS))
    assert main(["convert", "pixels.npy", "back.nxs", "--like", like]) == 0
    found = read_image_file("back.nxs")
    np.testing.assert_array_equal(found.pixels, np.where(COUNTS < 0, -1, COUNTS))
    assert found.exposure is not None
    for ours, expected in zip(found.exposure.panels, PANELS.panels, strict=True):
        assert_in_place(ours, expected, 1e-9)
    assert found.exposure.wavelength == pytest.approx(1e-10, rel=1e-12)
    capsys.readouterr()
    assert main(["convert", "pixels.npy", "back.npy", "--like", like]) == 0
    assert "pixels.npy: nothing marks the 3 pixels that the geometry masks" in capsys.readouterr().err


@pytest.mark.spec("FMT-104")
def test_an_experiment_of_a_scan(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "scan_1.cbf", "scan_2.cbf", "scan_3.cbf", "scan.expt"]) == 0
    assert capsys.readouterr().out == "3 images; geometry alone; wrote scan.expt\n"
    content = json.loads(Path("scan.expt").read_text())
    assert content["crystal"] == []
    assert content["scan"][0]["image_range"] == [1, 3]
    for number in (1, 2, 3):
        found = read_expt("scan.expt", number).exposure
        assert found.phi_start == pytest.approx(0.1 + 0.01 * (number - 1))
        assert found.origin == pytest.approx(STRAIGHT.origin)


@pytest.mark.spec("FMT-104")
@pytest.mark.parametrize(
    ("change", "target", "problem"),
    [
        ({"phi_start": 0.2}, "a.expt", "scan_2.cbf: does not follow the image before it in a scan; an experiment of DIALS has one"),
        ({"oscillation": 0.02}, "a.expt", "scan_2.cbf: does not follow the image before it in a scan; an experiment of DIALS has one"),
        ({"wavelength": 1.1e-10}, "a.geom", "scan_2.cbf: its wavelength is not that of scan_1.cbf; a geometry is of one"),
        ({"pixel_size": 2e-4}, "a.geom", "scan_2.cbf: its pixel size is not that of scan_1.cbf; a geometry is of one"),
    ],
)
def test_images_of_several_geometries(
    change: dict[str, float], target: str, problem: str, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(STRAIGHT, **{"number": 2, "phi_start": 0.11, **change})
    Path("scan_2.cbf").write_bytes(CBF.write(np.zeros((3, 4), np.int32), other))
    assert main(["convert", "scan_1.cbf", "scan_2.cbf", target]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"nbnumba: error: {problem}"
    assert not Path(target).exists()


@pytest.mark.spec("FMT-104")
def test_what_is_refused(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("pixels.npy", np.zeros((3, 4)))
    assert main(["convert", "pixels.npy", "a.geom"]) == 2
    assert "pixels.npy: says nothing of geometry, which OUTPUT has to state; --like FILE" in capsys.readouterr().err
    assert main(["convert", "scan_1.cbf", "a.geom"]) == 0
    assert main(["convert", "scan_1.cbf", "a.geom"]) == 2
    assert "a.geom: is there already; give another OUTPUT, which comes last, or --overwrite" in capsys.readouterr().err
    Path("b.geom").write_text(Path("a.geom").read_text().replace("min_ss = 0", "min_ss = 5").replace("max_ss = 2", "max_ss = 7"))
    assert main(["convert", "pixels.npy", "a.nxs", "--like", "b.geom"]) == 2
    assert (
        "b.geom: its panels are not one below the other in the data, as those of images without a geometry are" in capsys.readouterr().err
    )
    assert main(["convert", "pixels.npy", "a.nxs", "--like", "many.nxs"]) == 2
    assert "pixels.npy: has 3 x 4 pixels, the image of --like 64 x 5" in capsys.readouterr().err


@pytest.mark.spec("FMT-104")
def test_modules_side_by_side(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("many.nxs", "r+") as file:
        del file["entry/data/data"]
        file["entry/data/data"] = COUNTS.reshape(1, 2, 32, 5).swapaxes(1, 2).reshape(1, 32, 10)
        del file["entry/instrument/detector/pixel_mask"]
        for number in range(16):
            module = file[f"entry/instrument/detector/module_{number:02d}"]
            module["data_origin"][...] = (number % 8) * 4, (number // 8) * 5
    assert main(["convert", "many.nxs", "many.geom"]) == 0
    assert (
        "many.nxs: its modules are not one below the other, as many.geom has them; convert its images, too (.nxs)"
        in capsys.readouterr().err
    )
    assert len(read_geom("many.geom").panels) == 16


@pytest.mark.spec("FMT-104")
def test_a_sensor_of_what_nobody_knows(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = replace(PANELS.panels[0], sensor_material="Xx2")
    Path("a.nxs").write_bytes(nxmx_bytes([(COUNTS[:4], replace(PANELS.of_panel(strange), panels=()))]))
    assert main(["convert", "a.nxs", "a.expt"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("nbnumba: warning: a.expt: states no mu of its sensor: detector.sensor_material: Xx2: its density is not known")
    panel = json.loads(Path("a.expt").read_text())["detector"][0]["panels"][0]
    assert (panel["mu"], panel["material"], panel["thickness"]) == (0.0, "Xx2", pytest.approx(0.45))


GEOM = """photon_energy = 9500 eV
clen = 0.1
res = 10000
group_m0 = p0
group_q0 = m0
group_q1 = p1
min_fs = 0
max_fs = 4
p0/min_ss = 0
p0/max_ss = 3
p0/corner_x = 2
p0/corner_y = 3
p1/min_ss = 7
p1/max_ss = 10
p1/corner_x = -9
p1/corner_y = 3
p1/fs = +0.8x +0.6y
p1/ss = -0.6x +0.8y
p1/coffset = 0.01
bad_a/min_fs = 2
bad_a/max_fs = 3
bad_a/min_ss = 1
bad_a/max_ss = 1
bad_a/panel = p0
"""


@pytest.mark.spec("FMT-110", "FMT-80")
def test_a_geometry_without_images(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To DIALS and back: places, masks, names, groups and wavelength; panels may be anywhere in the data."""
    Path("a.geom").write_text(GEOM)
    assert main(["convert", "a.geom", "a.expt"]) == 0
    assert main(["convert", "a.expt", "b.geom"]) == 0
    assert capsys.readouterr() == ("geometry alone; wrote a.expt\ngeometry alone; wrote b.geom\n", "")
    first, between, last = read_geom("a.geom"), read_expt("a.expt"), read_geom("b.geom")
    assert [found.exposure.wavelength for found in (between, last)] == [pytest.approx(12398.4198 / 9500 * 1e-10, rel=1e-8)] * 2
    assert [(panel.name, panel.group) for panel in between.panels] == [("p0", "q0/m0"), ("p1", "q1")]
    for ours, dials, again in zip(first.panels, between.panels, last.panels, strict=True):
        assert_in_place(again, ours, 1e-12)
        assert (again.name, again.group) == (ours.name, ours.group)
        assert dials.origin == pytest.approx(np.array(ours.origin) * (-1.0, 1.0, -1.0))
        for one in (dials, again):
            np.testing.assert_equal(one.mask, ours.mask)
    assert first.panels[0].mask is not None


@pytest.mark.spec("FMT-110")
def test_a_mask_in_a_file(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = np.random.default_rng(5).random((11, 5)) < 0.3
    with h5py.File("m.h5", "w") as file:
        file["mask"] = bad.astype(np.int8)
    Path("a.geom").write_text("mask_file = m.h5\nmask = /mask\nmask_bad = 0x1\n" + GEOM.replace("bad_a/", "; "))
    assert main(["convert", "a.geom", "a.expt"]) == 0
    assert capsys.readouterr().err == ""
    for panel, rows in zip(read_expt("a.expt").panels, (bad[:4], bad[7:]), strict=True):
        np.testing.assert_array_equal(panel.mask, ~rows)


@pytest.mark.spec("FMT-110")
def test_what_an_experiment_says_besides(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = replace(STRAIGHT, sensor_thickness=3e-4, sensor_attenuation=2e-4, sensor_material="Si", mask=np.arange(12).reshape(3, 4) > 1)
    Path("a.expt").write_text(expt_text(one, np.eye(3) * 2e8, 3))
    assert main(["convert", "a.expt", "a.geom"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "nbnumba: warning: a.expt: its crystal is left out; a geometry has none",
        "nbnumba: warning: a.geom: a CrystFEL geometry does not say: the rotation about the spindle, the sensor",
    ]
    np.testing.assert_array_equal(read_geom("a.geom").exposure.mask, one.mask)
    assert read_geom("a.geom").exposure.origin == pytest.approx((0.001, 0.002, 0.1))


@pytest.mark.spec("FMT-110")
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("a.geom a.nxs", "a.geom: holds no image; it becomes a .geom or .expt file, or gives images its geometry with --like a.geom"),
        ("a.geom b.geom", "a.geom: is a .geom file already"),
        ("a.geom a.npy b.expt", "a.geom: is a geometry, which is converted alone; leave out the other inputs and --like"),
        ("a.geom b.expt --like b.geom", "a.geom: is a geometry, which is converted alone; leave out the other inputs and --like"),
        ("gone.geom b.expt", "gone.geom: cannot be read: No such file or directory"),
        ("dark.geom b.expt", "dark.geom: states no wavelength, which an experiment of DIALS has; write the number there"),
        (
            "far.geom b.expt",
            "far.geom, line 2: clen = /far is a place in a data file; give --geom-data or -distance, or write the number there",
        ),
    ],
)
def test_what_is_refused_of_a_geometry(words: str, problem: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.geom").write_text(GEOM)
    Path("dark.geom").write_text(GEOM.replace("9500 eV", "/energy eV"))
    Path("far.geom").write_text(GEOM.replace("clen = 0.1", "clen = /far"))
    assert main(["convert", *words.split()]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {problem}\n"


@pytest.mark.spec("FMT-104")
def test_of_a_sweep(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "-default_F 1 -cell 50 -lambda 1 -distance 100 -detpixels 12 -pixel 0.5 -oversample 1 -N 1 -roi 0 9 0 11"
    sweep = ["sweep", *words.split(), "--images", "2", "--width", "0.5", "-o", "a.nxs", "--save-geom", "a.geom"]
    assert main(sweep) == 0
    out, said = capsys.readouterr()
    assert out.endswith("wrote a.nxs, a.nxs.json, a.geom\n")
    assert "a.geom: a CrystFEL geometry does not say: the rotation about the spindle" in said
    assert main(["run", *words.split(), "-o", "b.geom"]) == 0
    assert Path("a.geom").read_text() == Path("b.geom").read_text()
    assert main(["convert", "a.nxs", "c.geom"]) == 0
    ours, run = read_manual(Path("c.geom")), read_manual(Path("b.geom"))
    for one, other in zip(ours.panels.values(), run.panels.values(), strict=True):
        np.testing.assert_array_equal(one.bad, other.bad)
        np.testing.assert_allclose(one.corners(), other.corners(), atol=1e-12)
