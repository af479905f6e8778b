"""What geometry files make of an experiment, in every preset, and how other options go with them."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_files import FACING, GEOM, XDS_INP, XPARM, panel, predicted, turn, write_expt

import nbnumba
from nbnumba.cli.main import main
from nbnumba.errors import OptionError, ParameterError
from nbnumba.experiment.vectors import length
from nbnumba.geometry.dials import read_expt
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.recorded import RecordedGeometry
from nbnumba.geometry.xds import read_xds
from nbnumba.options.arguments import split_arguments
from nbnumba.options.experiment import apply_all
from nbnumba.options.exposure import fields_of, of_unit_length

PRESETS = ("reference", "c-parity", "physics")
FRAMES = {
    "facing": (FACING, (-30.0, 33.0, -120.0)),
    "tilted": (turn([1, 2, -1], 12) @ FACING, (-31.0, 29.0, -110.0)),
    "left-handed": (turn([1, 2, -1], 12) @ np.diag([-1.0, -1.0, -1.0]), (31.0, 29.0, -110.0)),
    "upside down": (turn([0, 0, 1], 90) @ FACING, (-28.0, -29.0, -110.0)),
    "two-theta 40": (turn([0, 1, 0], 40) @ FACING, tuple(turn([0, 1, 0], 40) @ [-30.0, 33.0, -120.0])),
    "two-theta 120": (turn([0, 1, 0], 120) @ FACING, tuple(turn([0, 1, 0], 120) @ [-30.0, 33.0, -120.0])),
    "two-theta 180": (turn([1, 0, 0], 180) @ FACING, tuple(turn([1, 0, 0], 180) @ [-30.0, 33.0, -120.0])),
}
BEAMS = {"imgCIF": [0.0, 0.0, 1.0], "askew": [0.05, -0.02, 0.9]}


def experiment(words: str, preset: str = "reference", base: Any = None) -> nbnumba.Experiment:
    return apply_all(split_arguments(shlex.split(f"-default_F 1 {words}")).given, base, nbnumba.Model(preset=preset)).experiment()


@pytest.fixture
def files(in_tmp_path: Path) -> Path:
    write_expt(in_tmp_path / "a.expt")
    for name, text in (("XDS.INP", XDS_INP), ("XPARM.XDS", XPARM), ("a.geom", GEOM)):
        (in_tmp_path / name).write_text(text)
    return in_tmp_path


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("direction", BEAMS.values(), ids=BEAMS)
@pytest.mark.parametrize(("axes", "origin"), FRAMES.values(), ids=FRAMES)
def test_the_frame_is_the_files(axes: np.ndarray, origin: tuple[float, ...], direction: list[float], preset: str, tmp_path: Path) -> None:
    beam = {"direction": direction, "wavelength": 1.1, "polarization_normal": [0, 1, 0], "polarization_fraction": 0.9}
    path = write_expt(tmp_path / "a.expt", detector={"panels": [panel(axes, origin)]}, beam=beam)
    frame = experiment(f"--expt {path}", preset).frame
    incident = -np.array(direction) / np.linalg.norm(direction)
    field = np.cross([0.0, 1.0, 0.0], incident)
    for found, expected in (
        (frame.pix0, np.array(origin) / 1000.0),
        (frame.fast_axis, axes[:, 0]),
        (frame.slow_axis, axes[:, 1]),
        (frame.incident, incident),
        (frame.spindle_axis, turn([3, -1, 2], 15) @ [1.0, 0.0, 0.0]),
        (frame.polarization_axis, field / np.linalg.norm(field)),
    ):
        assert np.abs(found - expected).max() < 1e-12
    assert frame.close_distance > 0.0
    assert frame.normal @ frame.pix0 > 0.0
    assert frame.distance == pytest.approx((frame.normal @ frame.pix0) / (frame.normal @ incident), abs=1e-12)


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize("preset", PRESETS)
def test_reflections_are_where_an_independent_prediction_has_them(preset: str, tmp_path: Path) -> None:
    axes, origin = FRAMES["two-theta 40"]
    path = write_expt(tmp_path / "a.expt", detector={"panels": [panel(axes, origin)]})
    found = experiment(f"--expt {path} 9", preset)
    content = json.loads(path.read_text())
    rows = np.stack([content["crystal"][0][f"real_space_{name}"] for name in "abc"])
    h = np.array([(1, -2, 3), (0, 5, -4), (-3, 1, 2), (7, 0, -6), (-2, -2, -9)])
    s0 = -np.array([0.01, -0.02, 1.0]) / np.linalg.norm([0.01, -0.02, 1.0]) / 0.97
    assert np.degrees(found.phi) == pytest.approx([5.0, 5.25], abs=1e-12)
    frame, cell = found.frame, found.unit_cell
    for phi in np.degrees(found.phi):
        A = turn([3, -1, 2], 15) @ turn([1, 0, 0], phi) @ turn([1, 2, 3], 25) @ np.linalg.inv(rows)
        expected = predicted(h, A, s0, axes, np.array(origin), 0.15)
        own = turn(frame.spindle_axis.tolist(), phi) @ cell.reciprocal.T
        pixels = predicted(
            h,
            own,
            frame.incident / found.beam.wavelength,
            np.stack([frame.fast_axis, frame.slow_axis], axis=1),
            frame.pix0,
            found.detector.pixel_size,
        )
        assert np.abs(pixels - expected).max() < 1e-9
    assert np.abs(cell.direct * 1e10 - turn([3, -1, 2], 15) @ turn([1, 2, 3], 25) @ rows.T @ np.eye(3)).max() > 1.0  # rows, not columns
    assert np.abs(cell.direct * 1e10 - rows @ turn([1, 2, 3], 25).T @ turn([3, -1, 2], 15).T).max() < 1e-10


@pytest.mark.spec("FMT-21")
def test_a_bright_pixel_is_a_predicted_reflection(files: Path) -> None:
    """Through the kernel too: the brightest pixel of a still is where the nearest lattice point is predicted."""
    write_expt(files / "still.expt", scan=None, goniometer=None)
    found = experiment("--expt still.expt -N 30 -oversample 1")
    image = np.asarray(nbnumba.simulate(found))
    slow, fast = np.unravel_index(int(image.argmax()), image.shape)
    frame, wavelength = found.frame, found.beam.wavelength
    place = frame.pix0 + ((fast + 0.5) * frame.fast_axis + (slow + 0.5) * frame.slow_axis) * found.detector.pixel_size
    scattering = (place / np.linalg.norm(place) - frame.incident) / wavelength * 1e-10
    rows = np.stack([json.loads((files / "still.expt").read_text())["crystal"][0][f"real_space_{name}"] for name in "abc"])
    h = rows @ scattering
    assert np.abs(h - np.round(h)).max() < 0.02
    assert np.abs(np.round(h)).max() > 0


@pytest.mark.spec("FMT-21", "FMT-22", "FMT-23")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("file", ["--expt a.expt", "--xds XDS.INP", "--xds XPARM.XDS", "--geom a.geom"])
def test_what_a_base_had_is_overruled(files: Path, file: str, preset: str) -> None:
    before = (
        "-xds -Xbeam 3 -Ybeam 4 -ORGX 5 -ORGY 6 -Xclose 7 -twotheta 8 -detector_rotx 9 -distance 50 -close_distance 40 -twotheta_axis 1 1 0"
    )
    alone, over = experiment(f"-cell 50 {file}", preset), experiment(f"{before} -cell 50 {file}", preset)
    base = experiment(f"{before} -cell 50", preset)
    based = experiment(file, preset, base)
    for other in (over, based):
        for name in ("pix0", "fast_axis", "slow_axis", "normal", "incident", "spindle_axis", "polarization_axis"):
            assert np.array_equal(getattr(alone.frame, name), getattr(other.frame, name)), name
        assert alone.unit_cell.direct.tolist() == other.unit_cell.direct.tolist()


@pytest.mark.spec("FMT-21", "FMT-22")
@pytest.mark.parametrize("preset", PRESETS)
def test_the_sensor_of_a_file_is_that_of_the_experiment(in_tmp_path: Path, preset: str) -> None:
    sensor = {"thickness": 1.0, "mu": 4.5, "px_mm_strategy": {"type": "ParallaxCorrectedPxMmStrategy"}, "material": "CdTe"}
    write_expt(in_tmp_path / "a.expt", detector={"panels": [panel(**sensor)]})
    (in_tmp_path / "XDS.INP").write_text(XDS_INP + "SENSOR_THICKNESS= 0.32 SILICON= 3.9\n")
    found = experiment("--expt a.expt", preset)
    assert (found.detector.sensor_thickness, found.detector.sensor_attenuation) == pytest.approx((1e-3, 1e-3 / 4.5))
    assert (found.detector.sensor_material, exposure_of(found).sensor_material) == ("CdTe", "CdTe")
    assert found.layers[0] == 2
    silicon = experiment("--xds XDS.INP -cell 40", preset)
    assert (silicon.detector.sensor_thickness, silicon.detector.sensor_attenuation) == pytest.approx((0.32e-3, 1e-3 / 3.9))
    assert silicon.detector.sensor_material is None
    write_expt(in_tmp_path / "plain.expt")
    assert experiment("--expt plain.expt", preset).detector.sensor_thickness == 0.0


@pytest.mark.spec("EXP-11")
def test_a_material_is_saved_and_checked(in_tmp_path: Path) -> None:
    made = nbnumba.experiment_from_options("-default_F 1 -cell 50 -detector_thick 1000")
    made = replace(made, detector=replace(made.detector, sensor_material="CdTe"))
    nbnumba.save_experiment(made, "a.toml")
    assert nbnumba.load_experiment("a.toml").detector.sensor_material == "CdTe"
    for wrong in ("", "two\nlines", 5, "x" * 50):
        with pytest.raises(ParameterError, match=r"detector\.sensor_material: .* is not a chemical formula such as Si or CdTe"):
            replace(made.detector, sensor_material=wrong)


@pytest.mark.spec("FMT-21", "FMT-22")
@pytest.mark.parametrize("file", ["--expt a.expt", "--xds XPARM.XDS"])
def test_later_options_win(files: Path, file: str) -> None:
    plain = experiment(file)
    turned = experiment(f"{file} -misset 10 0 0 -phi 7 -osc 2 -phisteps 4 -nopolar")
    assert np.degrees(turned.phi) == pytest.approx([7.0, 7.5, 8.0, 8.5])
    assert turned.unit_cell.direct == pytest.approx(plain.unit_cell.direct @ turn([1, 0, 0], 10).T, abs=1e-20)
    assert turned.model.stages["polarization"] == "none"
    assert experiment(f"-misset 10 0 0 -cell 40 {file}").unit_cell.direct.tolist() == plain.unit_cell.direct.tolist()
    assert experiment(f"{file} -cell 40").unit_cell.lengths_and_angles[0] == pytest.approx(40e-10)
    # A matrix has the wavelength in it; the crystal of a file has not.
    longer = experiment(f"{file} -lambda 1.3")
    assert longer.beam.wavelength == pytest.approx(1.3e-10)
    assert longer.unit_cell.direct == pytest.approx(plain.unit_cell.direct, rel=1e-12)
    (files / "A.mat").write_text("0.02 0 0 0 0.02 0 0 0 0.02")
    assert experiment(f"{file} -mat A.mat").unit_cell.lengths_and_angles[0] == pytest.approx(0.97e-10 / 0.02)
    assert experiment(f"{file} -detpixels_x 30 -pixel 0.2").detector.extent == pytest.approx((420 * 0.2e-3, 30 * 0.2e-3))
    assert experiment(f"{file} -phi 1 -spindle_axis 0 1 0 -beam_vector 0 1 1 -polar_vector 1 0 0").frame.spindle_axis.tolist() == [0, 1, 0]


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("axes", "origin"), FRAMES.values(), ids=FRAMES)
def test_another_distance_or_beam_centre(axes: np.ndarray, origin: tuple[float, ...], preset: str, tmp_path: Path) -> None:
    path = write_expt(tmp_path / "a.expt", detector={"panels": [panel(axes, origin)]})
    plain = experiment(f"--expt {path}", preset).frame
    same = experiment(f"--expt {path} -distance {abs(plain.distance) * 1e3!r}", preset).frame
    assert np.abs(same.pix0 - plain.pix0).max() < 1e-12
    # The detector moves along the beam, which keeps its place on it.
    further = experiment(f"--expt {path} -distance {abs(plain.distance) * 1e3 + 10.0!r}", preset).frame
    moved = further.pix0 - plain.pix0
    assert np.linalg.norm(np.cross(moved, plain.incident)) < 1e-12
    assert abs(moved @ plain.incident) == pytest.approx(0.01, abs=1e-12)
    centred = experiment(f"--expt {path} -Xbeam 12 -Ybeam 13", preset).frame
    assert (centred.beam_fast, centred.beam_slow) == pytest.approx((0.012, 0.013), abs=1e-12)
    assert centred.distance == pytest.approx(plain.distance, abs=1e-12)
    pivoted = experiment(f"--expt {path} -pivot beam", preset).frame
    assert np.abs(pivoted.pix0 - plain.pix0).max() < 1e-12
    nearer = experiment(f"--expt {path} -close_distance 77", preset).frame
    assert np.linalg.norm(np.cross(nearer.pix0 - plain.pix0, plain.normal)) < 1e-12
    assert nearer.close_distance == pytest.approx(0.077, abs=1e-12)
    at = experiment(f"--expt {path} -ORGX 11 -ORGY 21.5", preset).frame
    assert (at.close_fast, at.close_slow) == pytest.approx((10.5 * 0.15e-3, 21 * 0.15e-3), abs=1e-12)
    assert experiment(f"--expt {path} -Xclose 5", preset).frame.close_fast == pytest.approx(0.005, abs=1e-12)


@pytest.mark.spec("FMT-21")
def test_a_named_convention_cannot_follow_a_file(files: Path) -> None:
    with pytest.raises(OptionError) as raised:
        experiment("--expt a.expt 6 -mosflm")
    assert str(raised.value) == "-mosflm: --expt a.expt 6 has a frame of its own; leave -mosflm out, or give it before"


def test_a_beam_along_the_detector_plane(tmp_path: Path) -> None:
    path = write_expt(
        tmp_path / "a.expt",
        detector={"panels": [panel(turn([0, 1, 0], 90) @ FACING, (-120.0, 33.0, 30.0))]},
        beam={"direction": [0, 0, 1], "wavelength": 1.0},
    )
    with pytest.raises(nbnumba.ParameterError, match="puts the beam parallel to the detector plane"):
        _ = experiment(f"--expt {path}").frame


@pytest.mark.spec("FMT-21", "FMT-22")
def test_stills_scans_and_geometry_alone(files: Path) -> None:
    write_expt(files / "still.expt", scan=None)
    assert experiment("-phi 5 -osc 1 -phisteps 7 --expt still.expt").phi.tolist() == [0.0]
    write_expt(files / "bare.expt", scan=None, goniometer=None, crystal=None)
    bare = experiment("-phi 5 -cell 40 -misset 1 2 3 --expt bare.expt")
    assert np.degrees(bare.phi) == pytest.approx([5.0])
    assert bare.unit_cell.lengths_and_angles[0] == pytest.approx(40e-10)
    assert bare.crystal.misset is not None
    assert abs(bare.frame.spindle_axis @ bare.frame.incident) < 1e-12
    with pytest.raises(nbnumba.ParameterError, match="no unit cell: give a cell"):
        _ = experiment("--expt bare.expt").unit_cell
    content = json.loads((files / "a.expt").read_text())
    write_expt(files / "back.expt", scan={**content["scan"][0], "oscillation": [3.0, -0.5]})
    assert np.degrees(experiment("--expt back.expt -phisteps 1").phi) == pytest.approx([2.5])


def test_polarization_that_is_not_stated() -> None:
    exposure = Exposure(shape=(4, 4), pixel_size=1e-4, origin=(0.0, 0.0, -0.1), spindle_axis=(0.6, 0.0, 0.8))
    assert fields_of(RecordedGeometry(exposure))["beam.polarization_axis"] == (1.0, 0.0, 0.0)
    assert "beam.polarization_fraction" not in fields_of(RecordedGeometry(exposure))
    along = Exposure(
        shape=(4, 4),
        pixel_size=1e-4,
        origin=(0.0, 0.0, -0.1),
        spindle_axis=(0.0, 0.0, 1.0),
        fast_axis=(0.0, 1.0, 0.0),
        slow_axis=(1.0, 0.0, 0.0),
    )
    assert fields_of(RecordedGeometry(along))["beam.polarization_axis"] == (0.0, 1.0, 0.0)


def test_unit_length_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    for v in rng.normal(size=(2000, 3)):
        nudged = of_unit_length(v / np.linalg.norm(v))
        assert length(nudged) == 1.0
        assert np.abs(nudged - v / np.linalg.norm(v)).max() < 1e-15


@pytest.mark.spec("FMT-21", "FMT-22", "FMT-23")
@pytest.mark.parametrize("file", ["--expt a.expt 6 0", "--xds XPARM.XDS 7", "--xds XDS.INP 8", "--geom a.geom"])
def test_bundles_configurations_and_named_experiments(files: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*file.split(), *"-default_F 10 -N 3 -detpixels 16 -oversample 1 -seed 1 -nopgm -nonoise".split()]
    words += [] if file.startswith(("--expt", "--xds XPARM")) else ["-cell", "50"]
    assert main(["run", *words, "-floatfile", "a.bin", "--save-config", "saved.toml", "--bundle", "bundle"]) == 0
    assert main(["bundle", "verify", "bundle"]) == 0
    assert main(["run", "--config", "saved.toml", "-floatfile", "b.bin", "-nopgm", "-nonoise"]) == 0
    assert np.array_equal(np.fromfile("a.bin", np.float32), np.fromfile("b.bin", np.float32))
    (files / "folder").mkdir()
    (files / "folder" / "mine.toml").write_text(f'options = "{file.replace(" ", " ../", 1)}"')
    assert main(["run", "--experiment", "folder/mine.toml", *words[len(file.split()) :], "-floatfile", "c.bin"]) == 0
    assert np.array_equal(np.fromfile("a.bin", np.float32), np.fromfile("c.bin", np.float32))
    capsys.readouterr()


@pytest.mark.spec("FMT-21")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--expt", "a.expt", "5.5"], "--expt a.expt 5.5: '5.5' is not a whole number"),
        (["--expt", "a.expt", "nan"], "--expt a.expt nan: 'nan' is not a whole number"),
        (["--expt", "a.expt", "inf"], "--expt a.expt inf: 'inf' is not a whole number"),
        (["--expt", ""], "--expt: needs a name, got an empty one"),
        (["--expt"], "--expt: needs 1 to 3 values"),
        (["--expt", "none.expt"], "none.expt: cannot be read: No such file or directory"),
        (["--geom", "none.geom"], "none.geom: cannot be read: No such file or directory"),
        (["--xds", "none"], "none: cannot be read: No such file or directory"),
        (["--geom", "a.geom", "3"], "'3': is not an option; --geom a.geom takes no more values; see --help"),
    ],
)
def test_values_that_are_refused(files: Path, words: list[str], message: str) -> None:
    with pytest.raises(nbnumba.NbnumbaError) as raised:
        nbnumba.experiment_from_options(words)
    assert str(raised.value) == message


def test_an_executable_does_not_know_these_files(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "program").touch()
    assert main(["compare", "--exe", "program", "--expt", "a.expt", "-default_F", "1"]) == 2
    assert capsys.readouterr().err == "nbnumba: error: --exe program: takes options of nanoBragg; --expt is none of them\n"


@pytest.mark.spec("FMT-21", "FMT-22")
def test_programs_agree_on_the_same_experiment(files: Path) -> None:
    """XPARM.XDS and an .expt of the same numbers make the same experiment."""
    xds = read_xds("XPARM.XDS", 9).exposure
    axes = np.stack([xds.fast_axis, xds.slow_axis, np.cross(xds.fast_axis, xds.slow_axis)], axis=1)
    assert xds.spindle_axis is not None
    write_expt(
        files / "b.expt",
        detector={"panels": [panel(axes, tuple(1e3 * v for v in xds.origin))]},
        goniometer={"rotation_axis": list(xds.spindle_axis)},
        beam={"direction": [-v for v in xds.incident], "wavelength": 0.97},
    )
    expt = read_expt("b.expt", 9).exposure
    for name in (
        "shape",
        "pixel_size",
        "origin",
        "fast_axis",
        "slow_axis",
        "incident",
        "wavelength",
        "spindle_axis",
        "phi_start",
        "oscillation",
    ):
        assert getattr(expt, name) == pytest.approx(getattr(xds, name), abs=1e-15), name
    a, b = experiment("--xds XPARM.XDS 9"), experiment("--expt b.expt 9")
    assert a.unit_cell.direct == pytest.approx(b.unit_cell.direct, abs=1e-22)
    assert math.degrees(a.goniometer.phi_start) == pytest.approx(5.0)
