"""Headers of miniCBF files, field by field."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from formats.cbf_files import COUNTS, PILATUS, byte_offsets, mini, whole, with_fields

from nbnumba.cli.main import main
from nbnumba.errors import InputFileWarning
from nbnumba.formats.format import ImageFile
from nbnumba.formats.read import read_image, read_image_file
from nbnumba.geometry.exposure import Exposure


def read(path: Path, content: bytes) -> ImageFile:
    path.write_bytes(content)
    return read_image_file(path)


def exposure(path: Path, content: bytes) -> Exposure:
    picture = read(path, content)
    assert picture.exposure is not None, picture.problem
    return picture.exposure


@pytest.mark.spec("FMT-46")
def test_fields_that_are_used(tmp_path: Path) -> None:
    found = exposure(tmp_path / "a.cbf", mini())
    assert found.shape == COUNTS.shape
    assert found.pixel_size == 172e-6
    assert found.origin == pytest.approx((-243.5 * 172e-6, 97.25 * 172e-6, -0.211), rel=1e-12)
    assert (found.fast_axis, found.slow_axis, found.incident) == ((1, 0, 0), (0, -1, 0), (0, 0, -1))
    assert found.wavelength == pytest.approx(0.9795e-10)
    assert (found.polarization_axis, found.polarization_fraction) == ((1, 0, 0), pytest.approx(0.98))
    assert found.spindle_axis == (1, 0, 0)
    assert (found.phi_start, found.oscillation) == (pytest.approx(math.radians(30)), pytest.approx(math.radians(0.2)))
    assert (found.exposure_time, found.exposure_period) == (0.095, 0.1)
    assert (found.sensor_thickness, found.sensor_material) == (0.00032, "Si")
    assert found.trusted_range == (0.0, 91795.0)


@pytest.mark.spec("FMT-46")
@pytest.mark.parametrize(
    ("field", "written", "attribute", "value"),
    [
        ("Detector_distance", "211.00 mm", "distance", 0.211),
        ("Detector_distance", "211.00mm", "distance", 0.211),
        ("Detector_distance", "= 21.1 cm", "distance", 0.211),
        ("Detector_distance", "0.211", "distance", 0.211),
        ("Pixel_size", "75 um x 75 um", "pixel_size", 75e-6),
        ("Pixel_size", "75 \u00b5m x 75 \u00b5m", "pixel_size", 75e-6),
        ("Pixel_size", "0.075 x 0.075 mm", "pixel_size", 75e-6),
        ("Pixel_size", "75e-6 m", "pixel_size", 75e-6),
        ("Beam_xy", "(41.882, 16.727) mm", "beam_centre", (243.5, 97.25)),
        ("Beam_xy", "243.50 97.25", "beam_centre", (243.5, 97.25)),
        ("Wavelength", "0.09795 nm", "wavelength", 0.9795e-10),
        ("Wavelength", "0.9795 \u00c5", "wavelength", 0.9795e-10),
        ("Wavelength", "0.0000 A", "wavelength", None),
        ("Exposure_time", "95 ms", "exposure_time", 0.095),
        ("Exposure_time", None, "exposure_time", 0.1),
        ("Exposure_time", "0", "exposure_time", 0.1),
        ("Exposure_period", None, "exposure_period", None),
        ("Exposure_period", "100000 us", "exposure_period", 0.1),
        ("Start_angle", "0.5 rad", "phi_start", 0.5),
        ("Start_angle", None, "phi_start", 0.0),
        ("Angle_increment", "-0.5 degrees", "oscillation", math.radians(-0.5)),
        ("Polarization", None, "polarization_fraction", None),
        ("Polarization", "0.5", "polarization_fraction", 0.0),
        ("Count_cutoff", "1048575", "trusted_range", (0.0, 1048575.0)),
        ("Count_cutoff", None, "trusted_range", None),
        ("Silicon sensor, thickness", "320 um", "sensor_thickness", 320e-6),
        ("Silicon sensor, thickness", None, "sensor_thickness", 0.0),
        ("Silicon sensor, thickness", "0.000000001 m", "sensor_material", None),
    ],
)
def test_units_and_what_is_not_stated(field: str, written: str | None, attribute: str, value: object, tmp_path: Path) -> None:
    found = getattr(exposure(tmp_path / "a.cbf", mini(with_fields(**{field: written}))), attribute)
    assert found == (value if value is None else pytest.approx(value, rel=1e-9))


@pytest.mark.spec("FMT-46")
@pytest.mark.parametrize(("name", "formula"), [("CdTe", "CdTe"), ("Cadmium telluride", "CdTe"), ("GaAs", "GaAs"), ("unknown", None)])
def test_the_sensor_s_material(name: str, formula: str | None, tmp_path: Path) -> None:
    found = exposure(tmp_path / "a.cbf", mini(PILATUS.replace("Silicon", name)))
    assert (found.sensor_material, found.sensor_thickness) == (formula, 0.00032)


@pytest.mark.spec("FMT-46")
@pytest.mark.parametrize(
    ("field", "written", "problem"),
    [
        ("Detector_distance", "211 furlong", "its Detector_distance is '211 furlong', not a number in m"),
        ("Detector_distance", "1e999 m", "its Detector_distance is '1e999 m', not a number in m"),
        ("Detector_distance", "nan m", "its Detector_distance is 'nan m', not a number in m"),
        ("Detector_distance", "1e13 m", "its Detector_distance is '1e13 m', not a number in m"),
        ("Detector_distance", "-0.01 m", "its Detector_distance is -0.01 m, which must be greater than 0"),
        ("Detector_distance", "0 m", "its header states no Detector_distance"),
        ("Detector_distance", "", "its Detector_distance is '', not a number in m"),
        ("Pixel_size", None, "its header states no Pixel_size"),
        ("Pixel_size", "172e-6 m x 100e-6 m", "its Pixel_size = 0.000172 0.0001: pixels must be square"),
        ("Beam_xy", "(243.50) pixels", "its Beam_xy is '243.50 pixels', not 2 numbers in pixels"),
        ("Beam_xy", "(1 2 3) pixels", "its Beam_xy is '1 2 3 pixels', not 2 numbers in pixels"),
        ("Beam_xy", "(inf, 1) pixels", "its Beam_xy is 'inf 1 pixels', not 2 numbers in pixels"),
        ("Wavelength", "1.2.3 A", "its Wavelength is '1.2.3 A', not a number in A"),
        ("Wavelength", ". A", "its Wavelength is '. A', not a number in A"),
        ("Wavelength", "12.7 keV", "its Wavelength is '12.7 keV', not a number in A"),
        ("Wavelength", "-1 A", "its Wavelength is -1 A, which must be greater than 0"),
        ("Exposure_time", "0.1 h", "its Exposure_time is '0.1 h', not a number in s"),
        ("Angle_increment", "not set.", "its Angle_increment is 'not set.', not a number in deg."),
        ("Start_angle", "1_0 deg.", "its Start_angle is '1_0 deg.', not a number in deg."),
        ("Polarization", "1.5", "its Polarization = 1.5 is not between 0 and 1"),
        ("Polarization", "none", "its Polarization is 'none', not a number"),
        ("Count_cutoff", "many", "its Count_cutoff is 'many', not a number in counts"),
        ("Silicon sensor, thickness", "thick", "its Silicon sensor, thickness is 'thick', not a number in m"),
        ("Detector_2theta", "23.24 deg.", "its detector is swung by Detector_2theta 23.24 deg. about an axis that is not stated"),
        ("Detector_fast_axis_vector", "1 0 0", "its header states directions (Detector_fast_axis_vector), which are not read of miniCBF"),
    ],
)
def test_a_bad_field_hides_no_pixels(field: str, written: str | None, problem: str, tmp_path: Path) -> None:
    found = read(tmp_path / "a.cbf", mini(with_fields(**{field: written})))
    assert (found.exposure, found.problem) == (None, problem)
    np.testing.assert_array_equal(found.pixels, COUNTS)


@pytest.mark.spec("FMT-46")
def test_a_bad_field_is_a_warning_where_pixels_are_wanted(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.cbf").write_bytes(mini(with_fields(Angle_increment="not set.")))
    assert main(["convert", "a.cbf", "a.npy"]) == 0
    problem = "its Angle_increment is 'not set.', not a number in deg."
    assert f"nbnumba: warning: a.cbf: its geometry is left out: {problem}" in capsys.readouterr().err
    np.testing.assert_array_equal(read_image("a.npy"), COUNTS)
    assert main(["convert", "a.cbf", "a.nxs"]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: a.cbf: {problem}\n"


@pytest.mark.spec("FMT-46")
def test_xds_special(tmp_path: Path) -> None:
    """As XDS and hdf5tominicbf write it: no semicolon before the contents, two after them, no sum."""
    text = f'_array_data.header_convention "XDS special"\n_array_data.header_contents\n{PILATUS}\n;\n;\n'
    content = whole(text, byte_offsets(COUNTS), COUNTS, "x-CBF_BYTE_OFFSET")
    assert exposure(tmp_path / "a.cbf", content) == exposure(tmp_path / "b.cbf", mini())


@pytest.mark.spec("FMT-46")
@pytest.mark.parametrize("convention", ["SLS_1.0", "SLS/DECTRIS_1.1", "SSRL_2.0", "GENERIC_MINI", "ADSC_1.0", "?"])
def test_any_convention(convention: str, tmp_path: Path) -> None:
    assert exposure(tmp_path / "a.cbf", mini(convention=convention)) == exposure(tmp_path / "b.cbf", mini())


@pytest.mark.spec("FMT-46")
def test_the_last_of_a_keyword_counts_and_templates_do_not(tmp_path: Path) -> None:
    """A comment of a template after the header is none of its fields; a keyword is a whole word."""
    header = f"{PILATUS}\n# Wavelength 1.1 A\n# Wavelength_spread 7 A"
    content = mini(header).replace(b"_array_data.data", b"_diffrn.id DS1\r\n# Wavelength to be checked\r\n_array_data.data")
    assert exposure(tmp_path / "a.cbf", content).wavelength == pytest.approx(1.1e-10)


@pytest.mark.spec("FMT-46")
@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"Detector_Voffset": "0.02 m"}, "its Detector_Voffset 0.02 m is left out: the beam is taken to meet the detector at Beam_xy"),
        ({"Oscillation_axis": "Y.CW"}, "its spindle (Y.CW) is taken to be along x"),
        ({"Oscillation_axis": "X.CCW"}, "its spindle (X.CCW) is taken to be along x"),
        ({"Oscillation_axis": "PHI", "Kappa": "40 deg."}, "its spindle (PHI, kappa or chi set) is taken to be along x"),
    ],
)
def test_what_is_left_out_is_said(fields: dict[str, str | None], note: str, tmp_path: Path) -> None:
    with pytest.warns(InputFileWarning) as caught:
        found = exposure(tmp_path / "a.cbf", mini(with_fields(**fields)))
    assert found.spindle_axis == (1, 0, 0)
    assert [note in str(warning.message) for warning in caught] == [True]


@pytest.mark.spec("FMT-46")
@pytest.mark.parametrize("axis", ["X.CW", "X, CW", "omega", "PHI", None])
def test_a_spindle_along_x_is_not_remarked(axis: str | None, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert exposure(tmp_path / "a.cbf", mini(with_fields(Oscillation_axis=axis))).spindle_axis == (1, 0, 0)


@pytest.mark.spec("FMT-47")
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("PILATUS 12M, S/N 120-0100", "24 rows of modules on a barrel"),
        ("PILATUS 12M", "24 rows of modules on a barrel"),
        ("Timepix quad", "chips that have each a place of their own"),
        ("HyPix-Arc 150", "modules at angles to each other"),
        ("PILATUS3 1M, S/N 10-0163", "rows and columns interchanged"),
    ],
)
def test_what_is_not_one_flat_panel(name: str, parts: str, tmp_path: Path) -> None:
    found = read(tmp_path / "a.cbf", mini(PILATUS.replace("PILATUS3 6M, S/N 60-0000", name)))
    assert found.exposure is None
    assert found.problem.endswith(f"is not one flat panel but has {parts}; geometry of one panel is read")
    np.testing.assert_array_equal(found.pixels, COUNTS)


@pytest.mark.spec("FMT-47")
@pytest.mark.parametrize(
    ("name", "date", "axis", "spindle"),
    [
        ("PILATUS3 6M, S/N 60-0132", "2017-11-23", "X.CW", (-1, 0, 0)),
        ("PILATUS 6M, S/N XX-XXX", "2017-11-23", "X.CW", (-1, 0, 0)),
        ("PILATUS 6M-F, S/N 60-0115-F", "2017/Nov/23", "X.CW", (0, 1, 0)),
        ("Dectris Eiger 16M, S/N E-32-0105", "2017-11-23", "OMEGA", (0, 1, 0)),
        ("PILATUS3 6M, S/N 60-0119", "2019-09-11", "X.CW +SLOW", (0, 1, 0)),
        ("PILATUS3 6M, S/N 60-0119", "2019-09-11", "-FAST", (-1, 0, 0)),
        ("PILATUS3 6M, S/N 60-0119", "2014-09-11", "X.CW", (1, 0, 0)),
        ("PILATUS3 6M, S/N 60-0114", "2017-01-01", "X.CW", (0, 1, 0)),
        ("PILATUS3 6M, S/N 60-0114", "2016-12-31", "X.CW", (1, 0, 0)),
        ("Dectris Eiger 16M, S/N E-32-0107", "2021-05-21", "X.CW", (0, 1, 0)),
        ("Dectris Eiger 16M, S/N E-32-0107", "2021-05-22", "X.CW", (1, 0, 0)),
        ("PILATUS3 6M, S/N 60-01324", "2017-11-23", "X.CW", (1, 0, 0)),
    ],
)
def test_beamlines_with_another_spindle(name: str, date: str, axis: str, spindle: tuple[int, int, int], tmp_path: Path) -> None:
    header = with_fields(Oscillation_axis=axis).replace("PILATUS3 6M, S/N 60-0000", name).replace("2017-11-23", date)
    assert exposure(tmp_path / "a.cbf", mini(header)).spindle_axis == spindle


@pytest.mark.spec("FMT-24", "FMT-46")
def test_no_header_is_no_geometry(tmp_path: Path) -> None:
    found = read(tmp_path / "a.cbf", mini("# Count_cutoff 5 counts"))
    assert (found.exposure, found.problem) == (None, "")


@pytest.mark.spec("FMT-46")
def test_a_wavelength_of_0_draws_no_rings(in_tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("a.cbf").write_bytes(mini(with_fields(Wavelength="0.0000 A")))
    assert main(["view", "a.cbf", "-o", "a.png"]) == 0
    assert "Warning" not in capfd.readouterr().err
