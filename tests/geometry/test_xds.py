"""Reading the geometry of XDS."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, answer, has_dxtbx
from geometry_files import REAL_AXES, XDS_INP, XPARM

import nbnumba
from nbnumba.errors import InputFileError
from nbnumba.geometry.xds import read_xds

X, Y = np.array([0.99, 0.1, 0.02]), np.array([-0.1, 0.99, 0.0])
X, Y = X / np.linalg.norm(X), Y / np.linalg.norm(Y)


def written(folder: Path, text: str, *changes: tuple[str, str]) -> Path:
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "file").write_text(text)
    return folder / "file"


@pytest.mark.spec("FMT-22")
def test_what_an_input_says(tmp_path: Path) -> None:
    exposure, reciprocal, cell, notes, panels = read_xds(written(tmp_path, XDS_INP), 9)[:5]
    assert (reciprocal, cell, notes, panels) == (None, None, (), ())  # the cell of a template, without a space group
    assert (exposure.shape, exposure.number, exposure.sensor_thickness) == ((420, 400), 9, 0.0)
    assert exposure.pixel_size == 0.15e-3
    assert (exposure.fast_axis, exposure.slow_axis) == (pytest.approx(X), pytest.approx(Y))
    assert exposure.incident == pytest.approx(np.array([0.01, 0.0, 1.03]) / math.hypot(0.01, 1.03))
    assert exposure.spindle_axis == pytest.approx(np.array([0.999, 0.01, -0.02]) / np.linalg.norm([0.999, 0.01, -0.02]))
    assert exposure.wavelength == pytest.approx(0.97e-10)
    assert exposure.polarization_fraction == pytest.approx(0.9)
    assert exposure.polarization_axis == pytest.approx(np.array([1.03, 0.0, -0.01]) / math.hypot(0.01, 1.03))
    assert (math.degrees(exposure.phi_start), math.degrees(exposure.oscillation)) == pytest.approx((5.0, 0.5))
    # The centre of pixel (1, 1) is at ((1 - ORGX) QX, (1 - ORGY) QY) from the nearest point.
    across = np.cross(X, Y)
    centre = np.array(exposure.origin) + 0.5 * 0.15e-3 * (X + Y)
    assert centre * 1e3 == pytest.approx((1 - 210.5) * 0.15 * X + (1 - 190.25) * 0.15 * Y + 120.5 * across / np.linalg.norm(across))


@pytest.mark.spec("FMT-22")
@pytest.mark.parametrize("preset", ["reference", "c-parity", "physics"])
@pytest.mark.parametrize("distance", [120.5, -120.5])
def test_the_nearest_point_is_orgx_orgy(tmp_path: Path, distance: float, preset: str) -> None:
    path = written(tmp_path, XDS_INP, ("DETECTOR_DISTANCE= 120.5", f"DETECTOR_DISTANCE= {distance}"))
    base = nbnumba.experiment_from_options("-default_F 1 -cell 50")
    from nbnumba.options.arguments import split_arguments
    from nbnumba.options.experiment import apply_all

    frame = apply_all(split_arguments(["--xds", str(path)]).given, base, nbnumba.Model(preset=preset)).experiment().frame
    # Orthogonal only to the digits of the file, hence the tolerance.
    assert (frame.close_fast / 0.15e-3 + 0.5, frame.close_slow / 0.15e-3 + 0.5) == pytest.approx((210.5, 190.25), abs=0.1)
    assert frame.close_distance == pytest.approx(0.1205)
    assert np.abs(frame.pix0 - read_xds(path).exposure.origin).max() < 1e-12
    assert frame.normal @ np.cross(frame.fast_axis, frame.slow_axis) * distance > 0.0


@pytest.mark.spec("FMT-22")
def test_defaults_of_xds(tmp_path: Path) -> None:
    left_out = [
        ("FRACTION_OF_POLARIZATION= 0.95 POLARIZATION_PLANE_NORMAL= 0 1 0", ""), ("STARTING_ANGLE= 3.0", ""), ("DATA_RANGE= 5 14", "")
    ]  # fmt: skip
    exposure = read_xds(written(tmp_path, XDS_INP, *left_out)).exposure
    assert (exposure.polarization_fraction, exposure.polarization_axis) == (0.0, None)
    assert (exposure.phi_start, exposure.number) == (0.0, 1)
    assert math.degrees(read_xds(tmp_path / "file", 3).exposure.phi_start) == pytest.approx(1.0)
    started = written(tmp_path, XDS_INP, *left_out[2:], ("STARTING_ANGLE= 3.0", "STARTING_ANGLE= 3.0 STARTING_FRAME=2"))
    assert read_xds(started).exposure.number == 2
    assert math.degrees(read_xds(started, 4).exposure.phi_start) == pytest.approx(4.0)
    both = written(tmp_path, XDS_INP, ("STARTING_ANGLE= 3.0", "STARTING_ANGLE= 3.0 STARTING_FRAME=1"))
    assert math.degrees(read_xds(both).exposure.phi_start) == pytest.approx(5.0)
    assert math.degrees(read_xds(written(tmp_path, XDS_INP)).exposure.phi_start) == pytest.approx(3.0)


@pytest.mark.spec("FMT-22")
def test_the_range_of_pixels_that_is_trusted(tmp_path: Path) -> None:
    assert read_xds(written(tmp_path, XDS_INP)).exposure.trusted_range == (0.0, 1048500.0)
    assert read_xds(written(tmp_path, XDS_INP + "MINIMUM_VALID_PIXEL_VALUE= 1\n")).exposure.trusted_range == (1.0, 1048500.0)
    assert read_xds(written(tmp_path, XDS_INP.replace("OVERLOAD= 1048500", ""))).exposure.trusted_range is None


@pytest.mark.spec("FMT-22")
@pytest.mark.parametrize("size", ["3", "1e-200", "1e200"])
def test_directions_of_any_length(tmp_path: Path, size: str) -> None:
    def sized(factor: str) -> str:
        return (
            XDS_INP
            + f"DIRECTION_OF_DETECTOR_X-AXIS= {factor} 0 0\nDIRECTION_OF_DETECTOR_Y-AXIS= 0 {factor} 0\nROTATION_AXIS= 0 {factor} 0\n"
            f"INCIDENT_BEAM_DIRECTION= 0 0 {factor}\nPOLARIZATION_PLANE_NORMAL= 0 {factor} 0\n"
        )

    usual, found = (read_xds(written(tmp_path, sized(factor))).exposure for factor in ("1", size))
    for name in ("fast_axis", "slow_axis", "incident", "polarization_axis", "spindle_axis", "origin"):
        assert getattr(found, name) == pytest.approx(getattr(usual, name), abs=1e-15)


@pytest.mark.spec("FMT-22")
@pytest.mark.parametrize(("line", "problem"), [("DATA_RANGE= 1 1e300", "DATA_RANGE= 1e+300 is beyond 1e+09")])
def test_numbers_of_images_are_bounded(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(InputFileError, match=re.escape(problem)):
        read_xds(written(tmp_path, f"{XDS_INP}{line}\n"))


@pytest.mark.spec("FMT-22")
def test_sensors(tmp_path: Path) -> None:
    both = read_xds(written(tmp_path, XDS_INP + "SENSOR_THICKNESS= 0.32 SILICON= 3.9\n"))
    assert (both.exposure.sensor_thickness, both.exposure.sensor_attenuation) == pytest.approx((0.32e-3, 1e-3 / 3.9))
    for more in ("SENSOR_THICKNESS= 0.32", "SENSOR_THICKNESS= 0.32 SILICON= -1"):
        path = written(tmp_path, f"{XDS_INP}{more}\n")
        assert read_xds(path).exposure.sensor_thickness == 0.0
        assert read_xds(path).notes == (
            f"{path}: SENSOR_THICKNESS= 0.32 is left out; give SILICON= too (1/mm), or -detector_thick and -detector_abs",
        )


@pytest.mark.spec("FMT-22")
def test_crystals_of_an_input(tmp_path: Path) -> None:
    path = written(tmp_path, XDS_INP, ("SPACE_GROUP_NUMBER= 0", "SPACE_GROUP_NUMBER= 19"))
    cell = read_xds(path).cell
    assert cell == pytest.approx((70e-10, 80e-10, 90e-10, *[math.pi / 2] * 3))
    assert nbnumba.experiment_from_options(f"-default_F 1 --xds {path}").unit_cell.lengths_and_angles == pytest.approx(cell)
    axes = "\n".join(f"UNIT_CELL_{n}-AXIS= {a} {b} {c}" for n, (a, b, c) in zip("ABC", REAL_AXES.tolist(), strict=True))
    reciprocal = read_xds(written(tmp_path, f"{XDS_INP}{axes}\n")).reciprocal
    assert reciprocal is not None
    assert pytest.approx(REAL_AXES) == np.linalg.inv(reciprocal).T * 1e10


@pytest.mark.spec("FMT-22")
def test_what_xds_refined(tmp_path: Path) -> None:
    refined, given = read_xds(written(tmp_path, XPARM), 9), read_xds(written(tmp_path, XDS_INP), 9)
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
        "number",
    ):
        assert getattr(refined.exposure, name) == pytest.approx(getattr(given.exposure, name)), name
    assert refined.exposure.polarization_fraction is None
    assert refined.reciprocal is not None
    assert pytest.approx(REAL_AXES) == np.linalg.inv(refined.reciprocal).T * 1e10
    without_segments = "\n".join(XPARM.split("\n")[:12])
    assert read_xds(written(tmp_path, without_segments), 9).exposure == refined.exposure
    assert read_xds(written(tmp_path, XPARM)).exposure.number == 5
    cell = nbnumba.experiment_from_options(f"-default_F 1 --xds {tmp_path / 'file'} 9").unit_cell
    assert cell.direct * 1e10 == pytest.approx(REAL_AXES)


@pytest.mark.spec("FMT-22")
def test_a_segment_that_is_the_whole_detector(tmp_path: Path) -> None:
    whole = (
        "SEGMENT= 1 400 1 420\nDIRECTION_OF_SEGMENT_X-AXIS= 1 0 0\nDIRECTION_OF_SEGMENT_Y-AXIS= 0 1 0\nSEGMENT_ORGX= 0 SEGMENT_ORGY= 0\n"
    )
    assert read_xds(written(tmp_path, XDS_INP + whole)).exposure == read_xds(written(tmp_path, XDS_INP)).exposure


ONE = "one flat detector of one panel is simulated"
NOT_WHOLE = f"the detector has a segment that is not the whole of it, in its place; {ONE}"


@pytest.mark.spec("FMT-22")
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("NX= 400 ", "", "file: has no NX=; give it"),
        ("ORGX= 210.5 ", "", "file: has no ORGX=; give it"),
        ("X-RAY_WAVELENGTH= 0.97\n", "", "file: has no X-RAY_WAVELENGTH=; give it"),
        ("NX= 400", "NX= many", "file, line 4: NX= 'many' is not a finite number"),
        ("NX= 400", "NX= 400.5", "file: NX = 400.5 is not a number of pixels from 1 to 100000"),
        ("QX=0.15", "QX=0.16", "file: QX QY = 0.16 0.15: pixels must be square"),
        ("QX=0.15", "QX=-0.15", "file: QX QY = -0.15 0.15 must be greater than 0"),
        ("ROTATION_AXIS= 0.999 0.01 -0.02", "ROTATION_AXIS= 1 0", "file, line 8: ROTATION_AXIS= '1 0' is not 3 finite numbers"),
        ("ROTATION_AXIS= 0.999 0.01 -0.02", "ROTATION_AXIS= 0 0 0", "file: ROTATION_AXIS is a zero vector; give a direction"),
        ("ROTATION_AXIS= 0.999 0.01 -0.02", "ROTATION_AXIS= 0 nan 0", "file, line 8: ROTATION_AXIS= '0 nan 0' is not 3 finite numbers"),
        (
            "DETECTOR_DISTANCE= 120.5",
            "DETECTOR_DISTANCE= 0",
            "file: DETECTOR_DISTANCE puts the detector plane through the crystal; give a distance",
        ),
        ("X-RAY_WAVELENGTH= 0.97", "X-RAY_WAVELENGTH= 0", "file: X-RAY_WAVELENGTH = 0 must be greater than 0"),
        ("-0.1 0.99 0.0", "0.1 0.99 0.0", "degrees apart; pixels must be square"),
        ("POLARIZATION_PLANE_NORMAL= 0 1 0", "", "file: FRACTION_OF_POLARIZATION= needs POLARIZATION_PLANE_NORMAL=; give both"),
        ("FRACTION_OF_POLARIZATION= 0.95", "FRACTION_OF_POLARIZATION= 2", "file: FRACTION_OF_POLARIZATION = 2 is not between 0 and 1"),
        (
            "POLARIZATION_PLANE_NORMAL= 0 1 0",
            "POLARIZATION_PLANE_NORMAL= 0.01 0 1.03",
            "file: POLARIZATION_PLANE_NORMAL = 0.01 0 1.03 is along the beam; it must be across it",
        ),
        ("DATA_RANGE= 5 14", "DATA_RANGE= 5 4", "file, line 14: DATA_RANGE= 5 4 holds no image"),
        ("DATA_RANGE= 5 14", "DATA_RANGE= 5.5 14", "file, line 14: DATA_RANGE= 5.5 is not a whole number"),
        ("DATA_RANGE= 5 14", "STARTING_FRAME= 0.5", "file, line 14: STARTING_FRAME= 0.5 is not a whole number"),
        ("SPACE_GROUP_NUMBER= 0", "UNIT_CELL_A-AXIS= 1 2 3", "file: has no UNIT_CELL_B-AXIS=; give it"),
        (
            "SPACE_GROUP_NUMBER= 0",
            "UNIT_CELL_A-AXIS= 1 2 3\nUNIT_CELL_B-AXIS= 1 2 3\nUNIT_CELL_C-AXIS= 0 0 1",
            "file: UNIT_CELL_A-AXIS, _B, _C do not span a unit cell",
        ),
        (
            "SPACE_GROUP_NUMBER= 0\nUNIT_CELL_CONSTANTS= 70 80",
            "SPACE_GROUP_NUMBER= 1\nUNIT_CELL_CONSTANTS= 0 80",
            "file, line 16: UNIT_CELL_CONSTANTS= 0 80 90 90 90 90: lengths (A) must be greater than 0, angles (deg) between 0 and 180",
        ),
        ("JOB=", "SEGMENT= 1 100 1 420\nSEGMENT= 101 400 1 420 JOB=", f"file, line 2: the detector has 2 segments; {ONE}"),
        (
            "JOB=",
            "SEGMENT= 1 100 1 420\nJOB=",
            f"line 2: {NOT_WHOLE}",
        ),
        (
            "JOB=",
            "SEGMENT= 1 400 1 420\nSEGMENT_ORGX= 5 JOB=",
            f"line 2: {NOT_WHOLE}",
        ),
        ("JOB=", "SEGMENT= 1 x\nJOB=", "file, line 2: SEGMENT= '1 x' is not 4 finite numbers"),
    ],
)
def test_what_is_refused_in_an_input(tmp_path: Path, before: str, after: str, problem: str) -> None:
    path = written(tmp_path, XDS_INP, (before, after))
    with pytest.raises(InputFileError) as raised:
        read_xds(path)
    assert str(raised.value).removeprefix(str(tmp_path) + "/").endswith(problem)


@pytest.mark.spec("FMT-22")
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("     5        3.0000", "     5.5        3.0000", "file, line 2: starting frame 5.5 is not a whole number"),
        ("     5        3.0000", "     x        3.0000", "is not 6 finite numbers"),
        ("41.000000       5.000000", "41.000000", "file, line 5: a axis: '41.000000 -3.000000' is not 3 finite numbers"),
        ("41.000000       5.000000      -3.000000", "-6 52 7", "file: the unit cell axes do not span a unit cell"),
        ("0.970000 ", "-1 ", "file: wavelength = -1 must be greater than 0"),
        ("         1         1       400", "         1         1       200", f"line 13: {NOT_WHOLE}"),
        ("0.00    0.00    0.00  1.0", "0.50    0.00    0.00  1.0", f"line 13: {NOT_WHOLE}"),
    ],
)  # fmt: skip
def test_what_is_refused_in_what_xds_refined(tmp_path: Path, before: str, after: str, problem: str) -> None:
    path = written(tmp_path, XPARM, (before, after))
    with pytest.raises(InputFileError) as raised:
        read_xds(path)
    assert str(raised.value).endswith(problem)


@pytest.mark.spec("FMT-22")
def test_several_segments_of_what_xds_refined(tmp_path: Path) -> None:
    rows = XPARM.split("\n")
    more = written(tmp_path, "\n".join([*rows[:14], *rows[12:14]]))
    with pytest.raises(InputFileError, match=f"file, line 13: the detector has 2 segments; {ONE}"):
        read_xds(more)
    counted = written(tmp_path, "\n".join(rows[:12]), ("         1       400", "         2       400"))
    with pytest.raises(InputFileError, match=f"file: the detector has 2 segments; {ONE}"):
        read_xds(counted)
    with pytest.raises(InputFileError, match="file: is cut short: it ends before 'b axis'"):
        read_xds(written(tmp_path, "\n".join(rows[:5])))


@pytest.mark.spec("FMT-22")
def test_images_and_files_that_there_are_not(tmp_path: Path) -> None:
    path = written(tmp_path, XDS_INP)
    for image in (4, 15):
        with pytest.raises(InputFileError) as raised:
            read_xds(path, image)
        assert str(raised.value) == f"{path}: has images 5 to 14; there is no image {image}"
    for text in ("", "nothing here\n", "! NX= 400"):
        with pytest.raises(InputFileError) as raised:
            read_xds(written(tmp_path, text))
        assert str(raised.value) == f"{path}: is neither an XDS.INP (it has no KEYWORD= value) nor begins with XPARM.XDS"


DXTBX = """
import json, sys
import dxtbx
from dxtbx.serialize import xds
models, crystal = dxtbx.load(sys.argv[1]), xds.to_crystal(sys.argv[1])
panel = models.get_detector()[0]
print(json.dumps([
    *(panel.get_pixel_lab_coord(pixel) for pixel in ((0, 0), (400, 0), (0, 420))), models.get_beam().get_s0(),
    models.get_goniometer().get_rotation_axis(), *crystal.get_real_space_vectors(),
]))
"""


@pytest.mark.spec("FMT-22")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
def test_against_dxtbx(tmp_path: Path) -> None:
    """dxtbx has another frame: lengths and angles between pixels, beam, spindle and cell axes are compared."""
    (tmp_path / "XPARM.XDS").write_text(XPARM)
    theirs = np.array(json.loads(answer(["-c", DXTBX, str(tmp_path / "XPARM.XDS")])))
    found = nbnumba.experiment_from_options(["--xds", str(tmp_path / "XPARM.XDS"), "-default_F", "1"])
    frame, pixel = found.frame, found.detector.pixel_size
    corners = [frame.pix0 + pixel * (f * frame.fast_axis + s * frame.slow_axis) for f, s in ((0, 0), (400, 0), (0, 420))]
    s0 = frame.incident / found.beam.wavelength * 1e-10
    ours = np.stack([*(1e3 * corner for corner in corners), s0, frame.spindle_axis, *(found.unit_cell.direct * 1e10)])
    assert ours @ ours.T == pytest.approx(theirs @ theirs.T, rel=1e-12, abs=1e-10)
    assert np.linalg.det(ours[:3]) == pytest.approx(np.linalg.det(theirs[:3]))
