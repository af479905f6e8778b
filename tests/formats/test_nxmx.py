"""NXmx files as beamlines write them: geometry, beam, scan, masks."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import nxmx
import pytest

from nbnumba.formats.cbf import CBF
from nbnumba.formats.nxmx import NXMX, NxmxFile, chunk_bytes, differing, nxmx_bytes
from nbnumba.formats.nxmx_files import write_nxmx
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.exposure import Exposure

SHAPE = (3, 4)
COUNTS = np.arange(12, dtype=np.int32).reshape(SHAPE)
PLAIN = Exposure(
    shape=SHAPE, pixel_size=1e-4, origin=(-2e-4, 1e-4, -0.1), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0), phi_start=0.1,
    oscillation=0.01, exposure_time=0.5,
)  # fmt: skip
IMAGES = 3
BEAM, DETECTOR, SAMPLE = "entry/instrument/beam", "entry/instrument/detector", "entry/sample"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three images of a scan."""
    exposures = [replace(PLAIN, number=i + 1, phi_start=0.1 + 0.01 * i) for i in range(IMAGES)]
    write_nxmx(tmp_path / "a.nxs", exposures, np.int32, [chunk_bytes(COUNTS + i) for i in range(IMAGES)])
    return tmp_path / "a.nxs"


def changed(file: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(file, "r+") as root:
        change(root)
    return file


def put(root: h5py.File, name: str, value: Any, **attributes: Any) -> None:
    """A value in the place of another, whose attributes stay but for those given."""
    kept = dict(root[name].attrs) if name in root else {}
    if name in root:
        del root[name]
    root[name] = value
    for key, given in (kept | attributes).items():
        root[name].attrs[key] = given


def exposure(file: Path, number: int = 1) -> Exposure:
    with NxmxFile(file) as found:
        return found.exposure(number)


def problem(file: Path) -> str:
    """Why the geometry is not taken, of an image whose pixels are."""
    picture = read_image_file(file, 1)
    np.testing.assert_array_equal(picture.pixels, COUNTS)
    assert picture.exposure is None
    return picture.problem.removeprefix("its geometry cannot be read: ")


@pytest.mark.spec("FMT-52")
def test_everything_that_is_stated_comes_back(tmp_path: Path) -> None:
    given = replace(
        PLAIN, exposure_time=0.0995, exposure_period=0.1, sensor_thickness=7.5e-4, sensor_material="CdTe", trusted_range=(0.0, 91795.0),
        pedestal=40.0, gain=2.5, polarization_fraction=0.8, polarization_axis=(np.cos(0.3), np.sin(0.3), 0.0),
    )  # fmt: skip
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, given)]))
    found = exposure(tmp_path / "a.nxs")
    for name in ("exposure_time", "exposure_period", "sensor_thickness", "trusted_range", "pedestal", "gain", "polarization_fraction"):
        assert getattr(found, name) == pytest.approx(getattr(given, name), rel=1e-12), name
    assert found.sensor_material == "CdTe"
    np.testing.assert_allclose(np.cross(found.polarization_axis or (), given.polarization_axis or ()), 0.0, atol=1e-12)
    with h5py.File(tmp_path / "a.nxs") as root:
        entry = nxmx.NXmx(root).entries[0]
        detector, beam = entry.instruments[0].detectors[0], root[BEAM]
        assert (detector.saturation_value, detector.underload_value, detector.bit_depth_readout) == (91795, 0, 32)
        assert detector.count_time.to("s").magnitude == pytest.approx(0.0995)
        assert detector.frame_time.to("s").magnitude == pytest.approx(0.1)
        assert (detector.sensor_material, detector.sensor_thickness.to("um").magnitude) == ("CdTe", pytest.approx(750.0))
        assert entry.data[0].data_offset == -40.0
        assert root["entry/data/data_scaling_factor"][()] == 0.4
        # McStas's x is opposite to imgCIF's, so that the angle from x to y is too.
        np.testing.assert_allclose(beam["incident_polarization_stokes"], [1.0, 0.8 * np.cos(0.6), -0.8 * np.sin(0.6), 0.0], atol=1e-12)
        assert detector.pixel_mask is None


@pytest.mark.spec("FMT-53")
def test_what_is_not_known_is_not_stated(tmp_path: Path) -> None:
    unknown = replace(PLAIN, exposure_time=None, wavelength=None, spindle_axis=None)
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, unknown)]))
    with h5py.File(tmp_path / "a.nxs") as root:
        for name in ("count_time", "frame_time", "saturation_value", "pixel_mask"):
            assert name not in root[DETECTOR], name
        assert "incident_wavelength" not in root[BEAM]
        assert root[DETECTOR]["underload_value"][()] == 0
    found = exposure(tmp_path / "a.nxs")
    assert (found.exposure_time, found.exposure_period, found.trusted_range) == (None, None, None)
    assert (found.wavelength, found.spindle_axis, found.sensor_material, found.polarization_fraction) == (None, None, None, None)


@pytest.mark.spec("FMT-53")
def test_a_detector_along_the_beam_and_endless_exposures_are_written(tmp_path: Path) -> None:
    """A distance along the beam, or a date, is not to be had there."""
    along = replace(
        PLAIN, fast_axis=(0.0, 0.0, -1.0), slow_axis=(0.0, 1.0, 0.0), origin=(0.05, 0.0, -0.1), exposure_time=1e300, number=10**6
    )
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, along)]))
    assert exposure(tmp_path / "a.nxs").origin == pytest.approx(along.origin)
    with h5py.File(tmp_path / "a.nxs") as root:
        assert "distance" not in root[DETECTOR]


@pytest.mark.spec("FMT-53")
def test_images_differ_in_wavelength_and_exposure_time(tmp_path: Path) -> None:
    exposures = [replace(PLAIN, spindle_axis=None, wavelength=(1.0 + i / 10) * 1e-10, exposure_time=0.1 * (i + 1)) for i in range(IMAGES)]
    write_nxmx(tmp_path / "a.nxs", exposures, np.int32, [chunk_bytes(COUNTS)] * IMAGES)
    with h5py.File(tmp_path / "a.nxs") as root:
        np.testing.assert_allclose(root[BEAM]["incident_wavelength"], [1.0, 1.1, 1.2])
        np.testing.assert_allclose(root[DETECTOR]["count_time"], [0.1, 0.2, 0.3])
        assert "frame_time" not in root[DETECTOR]
    found = [exposure(tmp_path / "a.nxs", number) for number in (1, 2, 3)]
    assert [e.wavelength for e in found] == pytest.approx([1e-10, 1.1e-10, 1.2e-10])
    assert [e.exposure_time for e in found] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.spec("FMT-53")
def test_what_is_stated_of_some_images_only() -> None:
    assert differing(PLAIN, replace(PLAIN, exposure_time=None)) == "exposure time"
    assert differing(replace(PLAIN, wavelength=None), PLAIN) == "wavelength"
    assert differing(PLAIN, replace(PLAIN, exposure_time=2.0, wavelength=2e-10, phi_start=3.0, oscillation=0.0)) == ""


WEIGHTS = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
MEAN = 1.0 / ((1.0 + 1.0 / 1.5) / 2.0)  # A, of the energies that 1 A and 1.5 A have


def spectrum(root: h5py.File, weights: Any, wavelengths: Any = (1.0, 1.5), variant: str = "") -> None:
    name = f"{BEAM}/{variant or 'incident_wavelength'}"
    put(root, name, np.array(wavelengths), units="angstrom")
    root[f"{name}_weights"] = np.array(weights)


def as_variant(root: h5py.File) -> None:
    """As several beamlines have it: calibrated wavelengths, and the spectrum beside them."""
    put(root, f"{BEAM}/incident_wavelength", [1.1, 1.2, 1.3], variant="incident_wavelength_1Dspectrum")
    spectrum(root, WEIGHTS, variant="incident_wavelength_1Dspectrum")


def as_channels(root: h5py.File) -> None:
    """The other way round: five channels, and a calibrated wavelength as the variant."""
    put(root, f"{BEAM}/incident_wavelength", np.linspace(1.0, 1.4, 5), variant="incident_wavelength_mean")
    put(root, f"{BEAM}/incident_wavelength_mean", [1.1, 1.2, 1.3], units="angstrom")


@pytest.mark.spec("FMT-52")
@pytest.mark.filterwarnings("ignore:.*spectrum, of which the mean is taken")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda root: put(root, f"{BEAM}/incident_wavelength", [1.1, 1.2, 1.3]), [1.1, 1.2, 1.3]),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", [1.1e-10], units="m"), [1.1] * 3),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 0.11, units="nm"), [1.1] * 3),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 1.1, units="Angstrom"), [1.1] * 3),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 110.0, units=np.bytes_("pm")), [1.1] * 3),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 1.1, units=np.array(["angstroms"], object)), [1.1] * 3),
        (lambda root: spectrum(root, [1.0, 1.0]), [MEAN] * 3),
        (lambda root: spectrum(root, WEIGHTS), [1.0, 1.5, MEAN]),
        (lambda root: spectrum(root, WEIGHTS, [[1.0, 1.5], [1.0, 1.5], [2.0, 3.0]]), [1.0, 1.5, 2.0 * MEAN]),
        (lambda root: spectrum(root, [1.0, 0.0, 0.0], [2.0, 1.5, 1.0]), [2.0] * 3),
        (as_variant, [1.1, 1.2, 1.3]),
        (as_channels, [1.1, 1.2, 1.3]),
    ],
)
def test_wavelengths(change: Callable[[h5py.File], object], expected: list[float], file: Path) -> None:
    changed(file, change)
    assert [(exposure(file, n).wavelength or 0.0) * 1e10 for n in (1, 2, 3)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.spec("FMT-52")
def test_a_spectrum_is_said_to_be_one(file: Path) -> None:
    with pytest.warns(UserWarning, match=r"a\.nxs: incident_wavelength is a spectrum, of which the mean is taken"):
        exposure(changed(file, lambda root: spectrum(root, WEIGHTS)))


@pytest.mark.spec("FMT-52")
def test_the_beam_of_the_sample(file: Path) -> None:
    def move(root: h5py.File) -> None:
        del root["entry/sample/beam"]
        root.move(BEAM, "entry/sample/beam")

    assert exposure(changed(file, move)).wavelength == pytest.approx(1e-10)


@pytest.mark.spec("FMT-52")
def test_the_detector_moves_from_image_to_image(file: Path) -> None:
    away = np.array([0.1, 0.2, 0.3])
    changed(file, lambda root: put(root, f"{DETECTOR}/module/module_offset", away, vector=(0.0, 0.0, 1.0)))
    assert [exposure(file, n).origin for n in (1, 2, 3)] == [pytest.approx((0.0, 0.0, -d)) for d in away]


def axis(root: h5py.File, name: str, angles: Any, vector: tuple[float, ...], before: str) -> None:
    put(
        root, f"{SAMPLE}/transformations/{name}", np.atleast_1d(angles).astype(float), units="deg", vector=vector,
        transformation_type="rotation", depends_on=before,
    )  # fmt: skip


@pytest.mark.spec("FMT-52")
@pytest.mark.parametrize("chi", [90.0, [90.0, 90.0, 90.0]])
def test_a_goniometer_of_three_axes(chi: Any, file: Path) -> None:
    """phi on chi on omega: phi turns, chi stands at 90 deg about z, which takes x to y, and omega at 30 deg about x."""

    def mount(root: h5py.File) -> None:
        del root[f"{SAMPLE}/transformations"], root[f"{SAMPLE}/depends_on"]
        root[SAMPLE].create_group("transformations")
        axis(root, "omega", 30.0, (1.0, 0.0, 0.0), ".")
        axis(root, "chi", chi, (0.0, 0.0, 1.0), "omega")
        axis(root, "phi", [5.0, 6.0, 8.0], (1.0, 0.0, 0.0), "chi")
        root[f"{SAMPLE}/depends_on"] = "transformations/phi"

    changed(file, mount)
    found = [exposure(file, n) for n in (1, 2, 3)]
    # x -> y by chi, y -> (0, cos 30, sin 30) by omega; in imgCIF's laboratory z is reversed.
    for e in found:
        np.testing.assert_allclose(e.spindle_axis or (), (0.0, np.cos(np.pi / 6), -0.5), atol=1e-12)
    np.testing.assert_allclose(np.degrees([e.phi_start for e in found]), [5.0, 6.0, 8.0])
    np.testing.assert_allclose(np.degrees([e.oscillation for e in found]), [1.0, 1.5, 2.0])


@pytest.mark.spec("FMT-52")
def test_the_axis_that_moves_is_not_the_first(file: Path) -> None:
    def mount(root: h5py.File) -> None:
        axis(root, "phi", 20.0, (0.0, 1.0, 0.0), "/entry/sample/transformations/omega")
        put(root, f"{SAMPLE}/depends_on", "/entry/sample/transformations/phi")

    found = exposure(changed(file, mount), 2)
    assert found.spindle_axis == pytest.approx((1.0, 0.0, 0.0))
    assert found.phi_start == pytest.approx(0.11)
    assert found.oscillation == pytest.approx(0.01)


@pytest.mark.spec("FMT-52")
def test_one_image_turns_about_the_axis_that_ends_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, PLAIN)]))

    def mount(root: h5py.File) -> None:
        axis(root, "phi", 20.0, (0.0, 1.0, 0.0), "/entry/sample/transformations/omega")
        put(root, f"{SAMPLE}/depends_on", "/entry/sample/transformations/phi")
        del root[f"{SAMPLE}/transformations/omega_end"]

    found = exposure(changed(tmp_path / "a.nxs", mount))
    assert (found.phi_start, found.oscillation) == (pytest.approx(0.1), pytest.approx(0.01))


@pytest.mark.spec("FMT-52")
def test_axes_of_the_detector_need_not_be_of_unit_length(file: Path) -> None:
    changed(file, lambda root: put(root, f"{DETECTOR}/module/fast_pixel_direction", [1e-4], vector=(-2.0, 0.0, 0.0)))
    assert exposure(file).fast_axis == pytest.approx((1.0, 0.0, 0.0))


@pytest.mark.spec("FMT-52")
def test_stokes(file: Path) -> None:
    """For each image: along x, along y, along the diagonal, half of the intensity, and what is circular or not polarised at all."""
    rows = [[2.0, 2.0, 0.0, 0.0], [1.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.5, 0.8]]
    changed(file, lambda root: put(root, f"{BEAM}/incident_polarization_stokes", rows))
    found = [exposure(file, n) for n in (1, 2, 3)]
    assert [e.polarization_fraction for e in found] == pytest.approx([1.0, 1.0, 0.5])
    for e, field in zip(found, [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-np.sqrt(0.5), np.sqrt(0.5), 0.0)], strict=True):
        np.testing.assert_allclose(np.cross(e.polarization_axis or (), field), 0.0, atol=1e-12)


@pytest.mark.spec("FMT-54")
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ((1.0, 0.0, 0.0), (0.9, 0.0)),
        ((0.0, 1.0, 0.0), (-0.9, 0.0)),
        ((1.0, 1.0, 0.0), (0.0, 0.9)),
        ((1.0, -1.0, 0.0), (0.0, -0.9)),
        ((0.6, 0.0, 0.8), (0.9, 0.0)),  # leaning along the beam, which is no part of it
        ((0.3, 0.4, 0.5), (0.9 * (0.09 - 0.16) / 0.25, 0.9 * 0.24 / 0.25)),
        ((0.0, 0.0, 1.0), (0.9, 0.0)),
    ],
)
def test_linear_polarization(field: tuple[float, float, float], expected: tuple[float, float], tmp_path: Path) -> None:
    given = replace(PLAIN, polarization_axis=field, polarization_fraction=0.9)
    assert given.linear_polarization == pytest.approx(expected)
    assert given.horizontal_polarization == pytest.approx(expected[0])
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, given)]))
    assert exposure(tmp_path / "a.nxs").linear_polarization == pytest.approx(expected)
    (tmp_path / "a.cbf").write_bytes(CBF.write(COUNTS, given))
    assert f"# Polarization {(1.0 + expected[0]) / 2.0:.9g}".encode() in (tmp_path / "a.cbf").read_bytes()
    assert replace(given, polarization_fraction=None).horizontal_polarization is None


@pytest.mark.spec("FMT-53")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"polarization_fraction": 0.998}, ""),
        ({"polarization_fraction": 0.0}, "is taken by DIALS to have polarization 0.999 along x rather than 0.5"),
        (
            {"polarization_fraction": 0.9, "polarization_axis": (1.0, 1.0, 0.0)},
            "is taken by DIALS to have polarization 0.999 along x rather than 0.95 at 45 deg to it",
        ),
        ({"exposure_period": 0.6}, "is taken by DIALS to have exposure time 0.6 s rather than 0.5 s"),
        ({"exposure_period": 0.5}, ""),
        ({"pedestal": 40.0}, "is taken by DIALS to have no pedestal, and a gain of 1"),
        ({"gain": 2.0}, "is taken by DIALS to have no pedestal, and a gain of 1"),
        ({"sensor_thickness": 1e-3}, "states a sensor of Si, for it is not known what it is made of"),
        ({"sensor_thickness": 1e-3, "sensor_material": "CdTe"}, ""),
        ({"sensor_thickness": 1e-3, "sensor_material": "Ge"}, "is not opened by DIALS, which knows no sensor of Ge"),
    ],
)
def test_what_dials_does_not_read_is_said(change: dict[str, Any], said: str) -> None:
    assert NXMX.unsaid(replace(PLAIN, **change)) == said


@pytest.mark.spec("FMT-53")
def test_pixels_that_were_not_measured_are_in_the_mask(tmp_path: Path) -> None:
    images = [COUNTS.copy() for _ in range(IMAGES)]
    for image in images:
        image[0, 1], image[2, 3], image[1, 1] = -1, -2, -3
    images[1][1, 2] = -1
    with pytest.warns(UserWarning, match="1 pixels are masked in some images only"):
        write_nxmx(tmp_path / "a.nxs", [PLAIN] * IMAGES, np.int32, map(chunk_bytes, images))
    expected = np.zeros(SHAPE, np.uint32)
    expected[0, 1], expected[2, 3] = 1, 2
    with h5py.File(tmp_path / "a.nxs") as root:
        np.testing.assert_array_equal(nxmx.NXmx(root).entries[0].instruments[0].detectors[0].pixel_mask, expected)
    with NxmxFile(tmp_path / "a.nxs") as found:
        for number, image in enumerate(images, 1):
            np.testing.assert_array_equal(found.pixels(number), image)


@pytest.mark.spec("FMT-53")
@pytest.mark.parametrize(("counts", "trusted"), [(COUNTS - 3, (-20.0, 1e5)), (COUNTS.astype(np.float32) - 1.0, None), (COUNTS, None)])
def test_counts_below_0_that_are_trusted_are_no_mask(counts: np.ndarray, trusted: tuple[float, float] | None, tmp_path: Path) -> None:
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(counts, replace(PLAIN, trusted_range=trusted))]))
    with h5py.File(tmp_path / "a.nxs") as root:
        assert "pixel_mask" not in root[DETECTOR]
        assert root[DETECTOR]["underload_value"][()] == (-20 if trusted else 0)


@pytest.mark.spec("FMT-26")
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_the_two_largest_unsigned_numbers_are_masks(kind: type[Any], file: Path) -> None:
    most = int(np.iinfo(kind).max)

    def store(root: h5py.File) -> None:
        put(root, "entry/data/data", np.array([[[most, most - 1, most - 2, 0]] * 3] * IMAGES, kind))
        put(root, f"{DETECTOR}/module/data_size", [3, 4])

    with NxmxFile(changed(file, store)) as found:
        assert found.pixels(1)[0].tolist() == [-1, -2, most - 2, 0]


@pytest.mark.spec("FMT-26")
def test_masks_are_applied(file: Path) -> None:
    bits = np.zeros(SHAPE, np.uint32)
    bits[0, :4] = 1, 1 << 8, 1 << 16, 1 << 31  # a gap, a user's, and two that say something of good pixels
    of_each = np.zeros((IMAGES, *SHAPE), np.uint8)
    of_each[1, 2, 2] = 4

    def mask(root: h5py.File) -> None:
        root[f"{DETECTOR}/pixel_mask"], root[f"{DETECTOR}/pixel_mask_2"] = bits, of_each

    expected = COUNTS.copy()
    expected[0, :2] = -1, -2
    with NxmxFile(changed(file, mask)) as found:
        np.testing.assert_array_equal(found.pixels(1), expected)
        second = found.pixels(2)
    assert second[2, 2] == -2
    assert second[2, 3] == COUNTS[2, 3] + 1


@pytest.mark.spec("FMT-26")
def test_a_mask_of_another_shape_is_left_out(file: Path) -> None:
    changed(file, lambda root: root[DETECTOR].create_dataset("pixel_mask", data=np.ones((2, 2), np.uint8)))
    with pytest.warns(
        UserWarning, match=r"a\.nxs: pixel_mask is left out: it has shape \(2, 2\) and type uint8, for images of 3 x 4 pixels"
    ):
        np.testing.assert_array_equal(read_image_file(file, 1).pixels, COUNTS)


@pytest.mark.spec("FMT-52")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: put(root, f"{DETECTOR}/count_time", -1.0), "count_time is left out; it is not a time of more than 0 s"),
        (lambda root: put(root, f"{DETECTOR}/count_time", [1.0, 2.0]), "count_time is left out; it is not a time"),
        (lambda root: put(root, f"{DETECTOR}/frame_time", 1.0, units="fortnights?"), "frame_time is in 'fortnights?', which is no unit"),
        (
            lambda root: put(root, f"{DETECTOR}/sensor_thickness", 1.0, units="s"),
            "sensor_thickness is in 's', which is no unit of it",
        ),
        (lambda root: put(root, f"{DETECTOR}/saturation_value", np.inf), "saturation_value is not finite; it is left out"),
        (lambda root: put(root, f"{DETECTOR}/saturation_value", "much"), "saturation_value is not a number; it is left out"),
        (lambda root: put(root, f"{BEAM}/incident_polarization_stokes", [0.0, 0.0]), "it is not the four parameters of Stokes"),
        (lambda root: put(root, "entry/data/data_offset", np.arange(12).reshape(SHAPE)), "data_offset is left out; it is not one number"),
        (lambda root: put(root, "entry/data/data_scaling_factor", 0.0), "data_scaling_factor is left out; it is not one number"),
        (lambda root: root.__delitem__(SAMPLE), "there is no NXsample, so that spindle and angles are not known"),
    ],
)
def test_what_geometry_can_do_without(change: Callable[[h5py.File], object], message: str, file: Path) -> None:
    changed(file, change)
    with NxmxFile(file) as found, warnings.catch_warnings(record=True, action="always") as told:
        assert [found.exposure(n).pixel_size for n in (1, 2)] == pytest.approx([1e-4, 1e-4])
    assert len(told) == 1  # for all images
    assert message in str(told[0].message)


def no_vector(root: h5py.File) -> None:
    del root[f"{SAMPLE}/transformations/omega"].attrs["vector"]


def group_for_omega(root: h5py.File) -> None:
    del root[f"{SAMPLE}/transformations/omega"]
    root[SAMPLE].create_group("transformations/omega")


def depends_on(name: str, other: str) -> Callable[[h5py.File], object]:
    return lambda root: root[name].attrs.__setitem__("depends_on", other)


OMEGA, OFFSET = f"{SAMPLE}/transformations/omega", f"{DETECTOR}/module/module_offset"
FAST = f"{DETECTOR}/module/fast_pixel_direction"


@pytest.mark.spec("FMT-50", "FMT-52")
@pytest.mark.filterwarnings("ignore:.*spectrum, of which the mean is taken")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 1.0, units=""), "incident_wavelength has no units"),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 1.0, units="9**9**9**9"), "is in '9**9**9**9', which is no"),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", 0.0), "incident_wavelength is not greater than 0"),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", np.nan), "incident_wavelength is not finite"),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", "one"), "incident_wavelength is not a number"),
        (lambda root: put(root, f"{BEAM}/incident_wavelength", [1.0] * 7), "incident_wavelength is neither one number nor one an image"),
        (lambda root: spectrum(root, [0.0, 0.0]), "incident_wavelength_weights have no sum"),
        (lambda root: spectrum(root, [[1.0, 1.0]] * 2), "incident_wavelength has 2 values for 3 images"),
        (group_for_omega, "omega is a group, not a value"),
        (no_vector, "omega has no vector"),
        (depends_on(OMEGA, "omega"), "omega depends on itself"),
        (depends_on(OFFSET, FAST.rpartition("/")[2]), "fast_pixel_direction depends on itself"),
        (depends_on(OMEGA, "/entry/nowhere"), "nowhere is missing"),
        (lambda root: put(root, OMEGA, [1.0, 2.0]), "omega has 2 values for 3 images"),
        (lambda root: put(root, OMEGA, [1.0, np.inf, 2.0]), "omega is not finite"),
        (lambda root: axis(root, "omega", [1.0, 2.0, 3.0], (np.nan, 0.0, 0.0), "."), "vector is not finite"),
        (lambda root: axis(root, "omega", [1.0, 2.0, 3.0], (0.0, 1.0), "."), "vector is not three numbers"),
        (lambda root: put(root, OFFSET, [np.nan]), "module_offset is not finite"),
        (lambda root: put(root, OFFSET, [1e308], vector=(1e10, 0.0, 0.0)), "it is not finite"),
        (lambda root: put(root, OFFSET, [0.0]), "the detector's plane goes through the crystal"),
        (lambda root: put(root, FAST, [1e-4], offset=(0.0, 1.0, 0.0)), "has an offset, which is not read"),
        (lambda root: put(root, FAST, [2e-4]), "pixels of 0.0002 m x 0.0001 m are not square"),
        (lambda root: put(root, FAST, [-1e-4]), "pixels of -0.0001 m x 0.0001 m are not square"),
        (lambda root: put(root, FAST, [1e-4], vector=(0.6, 0.8, 0.0)), "fast_pixel_direction and slow_pixel_direction are not across"),
        (lambda root: put(root, FAST, np.ones((2, 3))), "its values do not fit together"),
        (lambda root: root.__delitem__(FAST), "fast_pixel_direction is missing"),
        (lambda root: root.copy(f"{DETECTOR}/module", f"{DETECTOR}/another"), "another and module have pixels in common"),
        (lambda root: root.__delitem__(f"{DETECTOR}/module"), "the detector has 0 modules"),
        (lambda root: root.copy(DETECTOR, "entry/instrument/another"), "there are 2 detectors; that of one is read"),
        (lambda root: root.__delitem__(DETECTOR), "there is no NXdetector"),
        (lambda root: root.__delitem__("entry/instrument"), "there is no NXinstrument"),
        (lambda root: put(root, f"{DETECTOR}/module/data_origin", [1, 0]), "the detector's module is not all of the image of 3 x 4 pixels"),
        (lambda root: put(root, f"{DETECTOR}/module/data_size", [1, 2, 3]), "the detector's module is not all of the image"),
    ],
)  # fmt: skip
def test_pixels_are_read_where_the_geometry_cannot_be(change: Callable[[h5py.File], object], message: str, file: Path) -> None:
    found = problem(changed(file, change))
    assert message in found
    assert not any(word in found for word in ("Error", "Unable", "\n"))


@pytest.mark.spec("FMT-52")
def test_two_axes_that_move_at_once(file: Path) -> None:
    def mount(root: h5py.File) -> None:
        axis(root, "phi", [1.0, 2.0, 3.0], (0.0, 1.0, 0.0), "/entry/sample/transformations/omega")
        put(root, f"{SAMPLE}/depends_on", "/entry/sample/transformations/phi")

    assert problem(changed(file, mount)) == "phi and omega move at once; a scan is about one axis"


@pytest.mark.spec("FMT-53")
def test_the_nxmx_package_reads_every_field(file: Path) -> None:
    """All that it knows of a detector, a beam and a sample, without an exception."""
    with h5py.File(file) as root:
        entry = nxmx.NXmx(root).entries[0]
        parts = [entry, entry.source, entry.samples[0], entry.instruments[0], *entry.data, *entry.instruments[0].beams]
        parts += [entry.instruments[0].detectors[0], entry.instruments[0].detectors[0].modules[0]]
        for part in parts:
            for name in vars(type(part)):
                if not name.startswith("_"):
                    getattr(part, name)
        assert entry.end_time_estimated > entry.start_time
