"""NXmx files of random detectors, as dxtbx reads them: what DIALS processes is what was written."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, read_pixels_with_dxtbx

from nbnumba import units
from nbnumba.formats.nxmx import NXMX, chunk_bytes, nxmx_bytes
from nbnumba.formats.nxmx_files import ONE_WAVELENGTH, write_nxmx
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.exposure import Exposure, Vector

DETECTORS, IMAGES = 30, 3
CLOSE = 1e-6

pytestmark = pytest.mark.skipif(not has_dxtbx(), reason=MISSING)


def vector(v: np.ndarray) -> Vector:
    x, y, z = v.tolist()
    return x, y, z


def one_of(rng: np.random.Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def random_exposure(rng: np.random.Generator) -> Exposure:
    """A detector before or behind the crystal at any angle, in any frame."""
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    fast, slow = rotation[:, 0], rotation[:, 1]
    shape, pixel = (int(rng.integers(5, 40)), int(rng.integers(5, 40))), 10.0 ** rng.uniform(-5, -3)
    origin = rng.normal(size=3) * 0.01 + one_of(rng, -1.0, 1.0) * rng.uniform(0.02, 0.9) * np.cross(fast, slow)
    incident, spindle, field = (v / np.linalg.norm(v) for v in rng.normal(size=(3, 3)))
    seconds = 10.0 ** rng.uniform(-4, 1)
    return Exposure(
        shape=shape,
        pixel_size=pixel,
        origin=vector(origin),
        fast_axis=vector(fast),
        slow_axis=vector(slow),
        incident=vector(incident),
        wavelength=rng.uniform(0.4e-10, 2.5e-10),
        polarization_axis=vector(field),
        polarization_fraction=one_of(rng, 0.998, 0.0, rng.uniform(-1.0, 1.0)),
        spindle_axis=vector(spindle),
        phi_start=rng.uniform(-4.0, 4.0),
        oscillation=rng.uniform(1e-4, 0.02),
        exposure_time=seconds,
        exposure_period=one_of(rng, None, seconds, seconds * 1.01),
        sensor_thickness=one_of(rng, 0.0, 1e-4, 4.5e-4, 1e-3),
        sensor_material=one_of(rng, "Si", "CdTe", "GaAs"),
        trusted_range=one_of(rng, None, (0.0, 91795.0), (-1.0, 65535.0), (-20.0, 1e6)),
        pedestal=one_of(rng, 0.0, 40.0),
    )


def scan_of(first: Exposure, rng: np.random.Generator) -> list[Exposure]:
    """Images of a scan, of different wavelengths in half of the cases."""
    spread = one_of(rng, 0.0, 1e-2)
    wavelengths = [(first.wavelength or 0.0) * (1.0 + i * spread) for i in range(IMAGES)]
    return [
        replace(first, number=i + 1, phi_start=first.phi_start + i * first.oscillation, wavelength=wavelength)
        for i, wavelength in enumerate(wavelengths)
    ]


def counts_of(exposure: Exposure, rng: np.random.Generator) -> list[np.ndarray]:
    """Counts of images, with a gap and a dead pixel."""
    images = rng.integers(0, 60_000, (IMAGES, *exposure.shape)).astype(np.int32)
    if exposure.trusted_range is None or exposure.trusted_range[0] >= 0.0:
        images[:, 2], images[:, 3, 1] = -1, -2
    return list(images)


@pytest.mark.spec("FMT-53")
def test_thirty_random_detectors(tmp_path: Path) -> None:
    rng = np.random.default_rng(16)
    written = []
    for i in range(DETECTORS):
        exposures = scan_of(random_exposure(rng), rng)
        counts = counts_of(exposures[0], rng)
        written.append((tmp_path / f"{i}.nxs", exposures, counts))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            write_nxmx(written[-1][0], exposures, np.int32, map(chunk_bytes, counts))
        assert [str(one.message) for one in told] == ([ONE_WAVELENGTH] if exposures[0].wavelength != exposures[1].wavelength else [])
    for found, (_, exposures, counts) in zip(read_pixels_with_dxtbx(*[path for path, _, _ in written]), written, strict=True):
        compare(found, exposures, counts)


def compare(found: dict[str, Any], exposures: list[Exposure], counts: list[np.ndarray]) -> None:
    here, said = exposures[0].imgcif, NXMX.unsaid(exposures[0])
    if "its detector behind the crystal" not in said:
        np.testing.assert_allclose(found["origin"], np.array(here.origin) * 1e3, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose([found["fast"], found["slow"]], [here.fast_axis, here.slow_axis], atol=CLOSE)
    np.testing.assert_allclose(found["pixel_size"], [here.pixel_size * 1e3] * 2, rtol=CLOSE)
    assert found["image_size"] == list(here.shape[::-1])
    np.testing.assert_allclose(found["incident"], (0.0, 0.0, -1.0), atol=CLOSE)
    np.testing.assert_allclose(found["wavelengths"], [(e.wavelength or 0.0) * 1e10 for e in exposures], rtol=CLOSE)
    assert found["wavelength"] == found["wavelengths"][0]
    np.testing.assert_allclose(found["spindle"], here.spindle_axis, atol=CLOSE)
    np.testing.assert_allclose(found["oscillation"], [units.degrees(here.phi_start), units.degrees(here.oscillation)], rtol=CLOSE)
    assert found["thickness"] == pytest.approx((here.sensor_thickness or 1e-9) * 1e3, rel=CLOSE)
    assert found["material"] == here.sensor_material
    if here.trusted_range is not None:  # dxtbx has the lower end one below underload_value
        np.testing.assert_allclose(found["trusted_range"], [here.trusted_range[0] - 1.0, here.trusted_range[1]], rtol=CLOSE)
    else:
        assert found["trusted_range"][1] >= 2**31 - 1
    for image, taken, pixels in zip(counts, found["mask"], found["pixels"], strict=True):
        np.testing.assert_array_equal(pixels, image)
        np.testing.assert_array_equal(taken, image >= (0 if found["trusted_range"][0] >= -1.0 else -20))
    assert "exposure time" in said or found["exposure_times"] == pytest.approx([here.exposure_time] * IMAGES, rel=CLOSE)
    assert "pedestal" in said or (found["pedestal"], found["gain"]) == (here.pedestal, here.gain)
    if "polarization" not in said:
        assert 2.0 * found["polarization_fraction"] - 1.0 == pytest.approx(here.horizontal_polarization, abs=CLOSE)
        np.testing.assert_allclose(found["polarization_normal"], (0.0, 1.0, 0.0), atol=CLOSE)


@pytest.mark.spec("FMT-53")
def test_a_still_has_no_scan(tmp_path: Path) -> None:
    still = replace(random_exposure(np.random.default_rng(1)), spindle_axis=None, trusted_range=(0.0, 1e5))
    counts = np.arange(still.shape[0] * still.shape[1], dtype=np.int32).reshape(still.shape)
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(counts, still), (counts, replace(still, wavelength=2e-10))]))
    (found,) = read_pixels_with_dxtbx(tmp_path / "a.nxs")
    assert found["spindle"] is None
    assert found["oscillation"] is None
    assert found["wavelengths"] == pytest.approx([(still.wavelength or 0.0) * 1e10, 2.0], rel=CLOSE)


@pytest.mark.spec("FMT-53")
def test_a_detector_before_the_crystal_is_mirrored_as_said(tmp_path: Path) -> None:
    """The one thing of geometry that dxtbx takes otherwise."""
    before = Exposure(shape=(4, 5), pixel_size=1e-4, origin=(-1e-3, 1e-3, 0.1), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0))
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(np.zeros((4, 5), np.int32), before)]))
    assert NXMX.unsaid(before) == "is taken by DIALS to have its detector behind the crystal"
    assert read_pixels_with_dxtbx(tmp_path / "a.nxs")[0]["origin"] == pytest.approx([-1.0, 1.0, -100.0])


def mount(path: Path) -> None:
    """As at a beamline: a detector on an arm, and a goniometer of three axes."""
    with h5py.File(path, "r+") as root:
        arm = root["entry/instrument/detector"].create_group("transformations")
        arm.attrs["NX_class"] = "NXtransformations"
        put(arm, "two_theta", [12.0], "deg", "rotation", (0.6, 0.8, 0.0), ".", offset=(1.0, -2.0, 3.0), offset_units="mm")
        put(arm, "det_z", [150.0], "mm", "translation", (0.0, 0.0, 1.0), "two_theta")
        root["entry/instrument/detector/module/module_offset"].attrs["depends_on"] = f"{arm.name}/det_z"
        del root["entry/sample/transformations"], root["entry/sample/depends_on"]
        axes = root["entry/sample"].create_group("transformations")
        axes.attrs["NX_class"] = "NXtransformations"
        put(axes, "omega", [30.0], "deg", "rotation", (-1.0, 0.0, 0.0), ".")
        put(axes, "kappa", [40.0], "deg", "rotation", (0.0, 0.6, 0.8), "omega")
        put(axes, "phi", [10.0, 10.5, 11.0], "deg", "rotation", (0.0, 1.0, 0.0), "kappa")
        put(axes, "phi_end", [10.5, 11.0, 11.5], "deg")
        root["entry/sample/depends_on"] = f"{axes.name}/phi"


def put(
    group: h5py.Group, name: str, values: list[float], unit: str, kind: str = "", vector: Any = None, before: str = "", **more: Any
) -> None:
    group[name] = np.array(values)
    attributes = {"units": unit, **more}
    if kind:
        attributes |= {"transformation_type": kind, "vector": vector, "depends_on": before}
    for key, value in attributes.items():
        group[name].attrs[key] = value


@pytest.mark.spec("FMT-52")
def test_a_beamlines_transformations_are_read_as_dxtbx_reads_them(tmp_path: Path) -> None:
    plain = Exposure(shape=(4, 5), pixel_size=1e-4, origin=(-1e-3, 2e-3, -0.01), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0))
    write_nxmx(tmp_path / "a.nxs", [plain] * IMAGES, np.int32, [chunk_bytes(np.zeros((4, 5), np.int32))] * IMAGES)
    mount(tmp_path / "a.nxs")
    (found,) = read_pixels_with_dxtbx(tmp_path / "a.nxs")
    ours = read_image_file(tmp_path / "a.nxs", 1).exposure
    assert ours is not None
    np.testing.assert_allclose(np.array(ours.origin) * 1e3, found["origin"], rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose([ours.fast_axis, ours.slow_axis], [found["fast"], found["slow"]], atol=CLOSE)
    np.testing.assert_allclose(ours.spindle_axis or (), found["spindle"], atol=CLOSE)
    assert [units.degrees(ours.phi_start), units.degrees(ours.oscillation)] == pytest.approx(found["oscillation"])
