"""Geometry of full imgCIF files: chains of axes."""

import math
from pathlib import Path

import numpy as np
import pytest
from formats.cbf_files import COUNTS, byte_offsets, whole
from scipy.spatial.transform import Rotation

from nbnumba.formats.format import ImageFile
from nbnumba.formats.read import read_image_file

pytestmark = pytest.mark.spec("FMT-48")

HEADER = """_diffrn.id DS1
_diffrn_source.diffrn_id DS1
_diffrn_source.source synchrotron
_diffrn_detector.diffrn_id DS1
_diffrn_detector.id DETECTOR
_diffrn_detector.number_of_axes 2
loop_
_diffrn_detector_axis.detector_id
_diffrn_detector_axis.axis_id
DETECTOR DET_Z
DETECTOR TILT
_diffrn_detector_element.id ELEMENT1
_diffrn_detector_element.detector_id DETECTOR
_diffrn_data_frame.id FRAME1
_diffrn_data_frame.detector_element_id ELEMENT1
_diffrn_data_frame.array_id ARRAY1
_diffrn_data_frame.binary_id 1
_diffrn_measurement.diffrn_id DS1
_diffrn_measurement.id GONIOMETER
_diffrn_measurement.number_of_axes 2
loop_
_diffrn_measurement_axis.measurement_id
_diffrn_measurement_axis.axis_id
GONIOMETER OMEGA
GONIOMETER CHI
_diffrn_scan.id SCAN1
_diffrn_scan.frame_id_start FRAME1
_diffrn_scan.frame_id_end FRAME1
_diffrn_scan.frames 1
_diffrn_radiation.diffrn_id DS1
_diffrn_radiation.wavelength_id W1
_diffrn_radiation.polarizn_source_ratio 0.8
_diffrn_radiation.polarizn_source_norm 0.0
_diffrn_radiation_wavelength.id W1
_diffrn_radiation_wavelength.wavelength 1.30375
_diffrn_scan_frame.frame_id FRAME1
_diffrn_scan_frame.frame_number 1
_diffrn_scan_frame.scan_id SCAN1
_diffrn_scan_frame.date 2018-12-13T15:51:34
_diffrn_scan_frame.integration_time 0.009
_diffrn_scan_frame.exposure_time 0.010
loop_
_diffrn_scan_axis.scan_id
_diffrn_scan_axis.axis_id
_diffrn_scan_axis.angle_start
_diffrn_scan_axis.angle_range
_diffrn_scan_axis.angle_increment
_diffrn_scan_axis.displacement_start
_diffrn_scan_axis.displacement_range
_diffrn_scan_axis.displacement_increment
SCAN1 OMEGA 45.0 0.1 0.1 0.0 0.0 0.0
SCAN1 CHI 30.0 0.0 0.0 0.0 0.0 0.0
SCAN1 DET_Z 0.0 0.0 0.0 124.0 0.0 0.0
SCAN1 TILT 10.0 0.0 0.0 0.0 0.0 0.0
loop_
_diffrn_scan_frame_axis.frame_id
_diffrn_scan_frame_axis.axis_id
_diffrn_scan_frame_axis.angle
_diffrn_scan_frame_axis.displacement
FRAME1 OMEGA 45.5 0.0
FRAME1 CHI 30.0 0.0
FRAME1 TILT 20.0 0.0
FRAME1 DET_Z 0.0 124.0
loop_
_axis.id
_axis.type
_axis.equipment
_axis.depends_on
_axis.vector[1] _axis.vector[2] _axis.vector[3]
_axis.offset[1] _axis.offset[2] _axis.offset[3]
CHI    rotation    goniometer .      0 0 -1 . . .
OMEGA  rotation    goniometer CHI    1 0  0 . . .
SOURCE general     source     .      0 0  1 . . .
DET_Z  translation detector   .      0 0 -2 1 2 3
TILT   rotation    detector   DET_Z  0 1  0 5 0 0
ROWS   translation detector   TILT   0 -1 0 -170 170 0
COLUMNS translation detector  ROWS   1 0  0 0 0 0
loop_
_array_structure_list.array_id
_array_structure_list.index
_array_structure_list.dimension
_array_structure_list.precedence
_array_structure_list.direction
_array_structure_list.axis_set_id
ARRAY1 2 3 2 increasing ROWS
ARRAY1 1 4 1 increasing COLUMNS
loop_
_array_structure_list_axis.axis_set_id
_array_structure_list_axis.axis_id
_array_structure_list_axis.displacement
_array_structure_list_axis.displacement_increment
COLUMNS COLUMNS 0.5 0.177
ROWS ROWS 0.0 0.177
_array_structure.id ARRAY1
_array_structure.encoding_type "signed 32-bit integer"
_array_intensities.array_id ARRAY1
_array_intensities.binary_id 1
_array_intensities.overload 65535
_array_intensities.undefined_value -1
_array_data.array_id ARRAY1
_array_data.binary_id 1
"""


def read(path: Path, header: str = HEADER) -> ImageFile:
    path.write_bytes(whole(header, byte_offsets(COUNTS), COUNTS, "x-CBF_BYTE_OFFSET"))
    return read_image_file(path)


def test_what_the_axes_say(tmp_path: Path) -> None:
    found = read(tmp_path / "a.cbf").exposure
    assert found is not None
    tilt, chi = Rotation.from_rotvec([0, math.radians(20), 0]), Rotation.from_rotvec([0, 0, -math.radians(30)])
    np.testing.assert_allclose(found.fast_axis, tilt.apply([1, 0, 0]), atol=1e-12)
    np.testing.assert_allclose(found.slow_axis, [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(found.origin, (tilt.apply([-170 + 0.5, 170, 0]) + np.array([1 + 5, 2, 3 - 124])) * 1e-3, atol=1e-12)
    np.testing.assert_allclose(found.spindle_axis, chi.apply([1, 0, 0]), atol=1e-12)
    assert (found.phi_start, found.oscillation) == (pytest.approx(math.radians(45.5)), pytest.approx(math.radians(0.1)))
    assert found.incident == (0, 0, -1)
    assert (found.pixel_size, found.shape) == (pytest.approx(177e-6), COUNTS.shape)
    assert found.wavelength == pytest.approx(1.30375e-10)
    assert (found.polarization_fraction, found.polarization_axis) == (0.8, pytest.approx((1, 0, 0)))
    assert (found.exposure_time, found.exposure_period) == (0.009, 0.010)
    assert found.trusted_range == (0.0, 65535.0)
    assert (found.sensor_thickness, found.sensor_material) == (0.0, None)


def test_rows_may_run_backwards(tmp_path: Path) -> None:
    found = read(tmp_path / "a.cbf", HEADER.replace("ROWS ROWS 0.0 0.177", "ROWS ROWS 0.0 -0.177")).exposure
    assert found is not None
    np.testing.assert_allclose(found.slow_axis, [0, 1, 0], atol=1e-12)


def test_the_sensor_is_that_of_the_detector_s_own_header(tmp_path: Path) -> None:
    mini = '_array_data.header_convention "PILATUS_1.2"\n_array_data.header_contents\n;\n# CdTe sensor, thickness 0.001 m\n;\n'
    found = read(tmp_path / "a.cbf", mini + HEADER).exposure
    assert found is not None
    assert (found.sensor_thickness, found.sensor_material) == (0.001, "CdTe")


def test_a_still_has_no_spindle(tmp_path: Path) -> None:
    still = "\n".join(line for line in HEADER.splitlines() if not line.startswith(("CHI ", "OMEGA ", "SCAN1 OMEGA", "SCAN1 CHI")))
    found = read(tmp_path / "a.cbf", still).exposure
    assert found is not None
    assert (found.spindle_axis, found.oscillation) == (None, 0.0)


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        ("TILT   rotation    detector   DET_Z", "TILT rotation detector NOTHING", "its axis TILT depends on NOTHING, which is not there"),
        ("DET_Z  translation detector   .", "DET_Z translation detector COLUMNS", "its axis DET_Z depends on COLUMNS, which is not there"),
        ("ROWS ROWS 0.0 0.177", "ROWS ROWS 0.0 0.1", "its displacement_increment = 0.177 0.1: pixels must be square"),
        ("ROWS ROWS 0.0 0.177", "ROWS ROWS 0.0 x", "its displacement_increment is 'x', not a number below 1e+09"),
        ("0.177", "1e999", "its displacement_increment is '1e999', not a number below 1e+09"),
        ("SCAN1 CHI 30.0 0.0 0.0", "SCAN1 CHI 30.0 0.2 0.2", "its axes CHI and OMEGA turn together; rotations about one are read"),
        ("COLUMNS COLUMNS 0.5", "COLUMNS NOTHING 0.5", "its pixels do not follow each other along axes that are stated"),
        ("2 increasing", "2 decreasing", "has no array of two dimensions, both increasing; the geometry of others is not read"),
        ("SOURCE general     source     .      0 0  1", "SOURCE general source . 0 0 0", "the vector to its source is a zero vector"),
        ("ratio 0.8", "ratio 8", "its polarizn_source_ratio is 8, which is not from -1 to 1"),
        ("loop_", "loop", "its imgCIF header cannot be read: "),
        ("_axis.offset[2]", "_other.offset", "its imgCIF header cannot be read: Tag _other.offset in loop with _axis."),
    ],
)  # fmt: skip
def test_a_bad_header_hides_no_pixels(written: str, instead: str, problem: str, tmp_path: Path) -> None:
    assert written in HEADER
    found = read(tmp_path / "a.cbf", HEADER.replace(written, instead))
    assert found.exposure is None
    assert problem in found.problem
    assert "\n" not in found.problem
    np.testing.assert_array_equal(found.pixels, COUNTS)
