"""CBF files as dxtbx, the reader of DIALS, has them: what nbnumba writes, and what it reads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.cbf_files import COUNTS, PILATUS, byte_offsets, mini, whole
from formats.dxtbx_reader import MISSING, has_dxtbx, read_pixels_with_dxtbx
from formats.test_imgcif import HEADER

from nbnumba.formats.cbf import CBF
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.exposure import Exposure

pytestmark = pytest.mark.skipif(not has_dxtbx(), reason=MISSING)


def random_exposure(rng: np.random.Generator) -> Exposure:
    """Any detector that is straight in the beam, and now and then what no header can say."""
    shape = int(rng.integers(20, 60)), int(rng.integers(20, 60))
    seconds = float(rng.uniform(0.001, 3.0))
    thick = rng.random() < 0.7
    return Exposure(
        shape=shape,
        pixel_size=float(rng.uniform(5e-5, 4e-4)),
        origin=(float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.3, 0.3)), -float(rng.uniform(0.03, 1.5))),
        wavelength=float(rng.uniform(0.3e-10, 3e-10)),
        polarization_axis=(1.0, 0.0, 0.0) if rng.random() < 0.8 else (0.6, 0.8, 0.0),
        polarization_fraction=float(rng.choice([0.998, rng.uniform(-1.0, 1.0)])),
        spindle_axis=(1.0, 0.0, 0.0) if rng.random() < 0.8 else (0.0, 1.0, 0.0),
        phi_start=float(rng.uniform(-3.0, 3.0)),
        oscillation=float(rng.uniform(0.0, 0.02)),
        number=int(rng.integers(1, 2000)),
        exposure_time=seconds,
        exposure_period=seconds if rng.random() < 0.7 else seconds * 1.1,
        sensor_thickness=float(rng.uniform(1e-5, 2e-3)) if thick else 0.0,
        sensor_material=[None, "Si", "CdTe", "GaAs"][rng.choice(4, p=[0.1, 0.4, 0.4, 0.1])] if thick else None,
        sensor_attenuation=2e-4 if thick and rng.random() < 0.2 else None,
        trusted_range=None if rng.random() < 0.2 else (0.0, float(rng.integers(1000, 2**30))),
        pedestal=40.0 if rng.random() < 0.1 else 0.0,
    )


def random_counts(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    counts = rng.poisson(20.0, shape).astype(np.int32)
    counts[rng.random(shape) < 0.05] = -1
    counts[rng.random(shape) < 0.05] = -2
    counts[0, 0] = 2**30 - 1
    return counts


@pytest.mark.spec("FMT-25", "FMT-49")
def test_dxtbx_reads_what_is_written_or_it_is_said(tmp_path: Path) -> None:
    """Thirty random detectors: every number of dxtbx's models to 1e-6, or a word of it at writing."""
    rng = np.random.default_rng(7)
    exposures = [random_exposure(rng) for _ in range(30)]
    counts = [random_counts(rng, exposure.shape) for exposure in exposures]
    paths = [tmp_path / f"m{i:02d}_{exposure.number:04d}.cbf" for i, exposure in enumerate(exposures)]
    for path, pixels, exposure in zip(paths, counts, exposures, strict=True):
        path.write_bytes(CBF.write(pixels, exposure))
    said_something = 0
    for found, given, pixels in zip(read_pixels_with_dxtbx(*paths), exposures, counts, strict=True):
        said = CBF.unsaid(given)
        said_something += bool(said)
        assert found["format"] == "FormatCBFMini"
        np.testing.assert_allclose(found["origin"], np.array(given.origin) * 1e3, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose([found["fast"], found["slow"], found["incident"]], [[1, 0, 0], [0, -1, 0], [0, 0, -1]], atol=1e-12)
        np.testing.assert_allclose(found["pixel_size"], [given.pixel_size * 1e3] * 2, rtol=1e-6)
        assert found["wavelength"] == pytest.approx((given.wavelength or 0.0) * 1e10, rel=1e-6)
        np.testing.assert_allclose(np.radians(found["oscillation"]), [given.phi_start, given.oscillation], rtol=1e-6)
        assert found["thickness"] == pytest.approx(given.sensor_thickness * 1e3, rel=1e-6) or "no sensor rather than one of GaAs" in said
        assert found["material"] == (given.sensor_material or "") or "GaAs" in said or "an unknown material rather than silicon" in said
        assert (given.sensor_attenuation is None) or "its sensor absorbs 5000 /m, which readers work out of the material" in said
        assert found["trusted_range"][1] == (given.trusted_range or (0.0, 2**20 - 1))[1]
        assert (
            found["exposure_times"][0] == pytest.approx(given.exposure_time, rel=1e-6) or f"rather than {given.exposure_time:g} s" in said
        )
        fraction = (1.0 + (given.horizontal_polarization or 0.0)) / 2.0
        assert (
            found["polarization_fraction"] == pytest.approx(fraction, rel=1e-6) or f"polarization 0.999 rather than {fraction:.6g}" in said
        )
        assert given.polarization_axis == (1.0, 0.0, 0.0) or "polarized" in said or "its polarization is along neither x nor y" in said
        np.testing.assert_allclose(found["polarization_normal"], [0, 1, 0])
        np.testing.assert_allclose(found["spindle"], [1, 0, 0])
        assert given.spindle_axis == (1.0, 0.0, 0.0) or "the spindle is not x" in said
        assert found["pedestal"] == given.pedestal or "pixels without photons count 40" in said
        np.testing.assert_array_equal(found["pixels"][0], pixels)
        np.testing.assert_array_equal(found["mask"][0], (pixels >= 0) & (pixels < found["trusted_range"][1]))
    assert said_something < 30


@pytest.mark.spec("FMT-49")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"wavelength": None}, "is not opened by DIALS without a wavelength"),
        ({"oscillation": -0.01}, "is not opened by DIALS with a spindle that turns back"),
    ],
)
def test_what_dials_does_not_open(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    given = replace(random_exposure(np.random.default_rng(1)), polarization_fraction=0.998, sensor_thickness=0.0, pedestal=0.0, **changed)
    assert CBF.unsaid(replace(given, spindle_axis=None, polarization_axis=None)) == said
    (tmp_path / "a_0001.cbf").write_bytes(CBF.write(np.zeros(given.shape, np.int32), given))
    with pytest.raises(RuntimeError, match="Error"):
        read_pixels_with_dxtbx(tmp_path / "a_0001.cbf")


@pytest.mark.spec("FMT-25", "FMT-49")
def test_our_own_reader_agrees(tmp_path: Path) -> None:
    """The same files, read by nbnumba: with what dxtbx does not read."""
    rng = np.random.default_rng(8)
    for _ in range(30):
        given = replace(random_exposure(rng), polarization_axis=(1.0, 0.0, 0.0), spindle_axis=(1.0, 0.0, 0.0))
        (tmp_path / "a.cbf").write_bytes(CBF.write(random_counts(rng, given.shape), given))
        found = read_image_file(tmp_path / "a.cbf").exposure
        assert found is not None
        numbers = ("pixel_size", "wavelength", "polarization_fraction", "phi_start", "oscillation", "exposure_time", "exposure_period")
        for field in (*numbers, "sensor_thickness"):
            assert getattr(found, field) == pytest.approx(getattr(given, field), rel=1e-9), field
        np.testing.assert_allclose(found.origin, given.origin, rtol=1e-9)
        assert found.sensor_material == (given.sensor_material or ("Si" if given.sensor_thickness else None))
        assert found.trusted_range == (given.trusted_range or (0.0, 2**20 - 1))


@pytest.mark.spec("FMT-25")
@pytest.mark.parametrize(("between", "kind"), [(-1, "FormatCBFMiniPilatus"), (3, "FormatCBFMini")])
def test_nothing_is_masked_that_was_read_pixels_with_dxtbx(between: int, kind: str, tmp_path: Path) -> None:
    """dxtbx masks the gaps of a Pilatus by its size."""
    counts = np.full((195, 981), 3, np.int32)
    counts[:, 487:494] = between
    shape = (195, 981)
    given = Exposure(shape=shape, pixel_size=172e-6, origin=(-0.08, 0.01, -0.1), wavelength=1e-10, oscillation=0.01, exposure_time=1.0)
    (tmp_path / "a_0001.cbf").write_bytes(CBF.write(counts, given))
    (found,) = read_pixels_with_dxtbx(tmp_path / "a_0001.cbf")
    assert found["format"] == kind
    np.testing.assert_array_equal(found["mask"][0], counts >= 0)


EIGER = PILATUS.replace("PILATUS3 6M, S/N 60-0000", "EIGER 500K, S/N E-08-0102")


@pytest.mark.spec("FMT-46", "FMT-47", "FMT-48")
@pytest.mark.parametrize(
    "content",
    [
        mini(PILATUS, np.zeros((195, 487), np.int32)),
        mini(PILATUS.replace("Silicon", "CdTe"), np.zeros((195, 487), np.int32)),
        mini(PILATUS.replace("60-0000", "60-0132"), np.zeros((195, 487), np.int32)),
        mini(PILATUS.replace("60-0000", "60-0119").replace("X.CW", "-FAST"), np.zeros((195, 487), np.int32)),
        mini(PILATUS.replace("60-0000", "60-0119").replace("2017-11-23", "2014-11-23"), np.zeros((195, 487), np.int32)),
        mini(EIGER, np.zeros((514, 1030), np.int32)),
        mini(PILATUS.replace("PILATUS3 6M", "GENERIC"), COUNTS, "GENERIC_MINI"),
        whole(HEADER, byte_offsets(COUNTS), COUNTS, "x-CBF_BYTE_OFFSET"),
        whole(HEADER.replace("FRAME1 TILT 20.0", "FRAME1 TILT -31.0"), byte_offsets(COUNTS), COUNTS, "x-CBF_BYTE_OFFSET"),
        whole(HEADER.replace("0 1  0 5 0 0", "1 2  3 5 6 7"), byte_offsets(COUNTS), COUNTS, "x-CBF_BYTE_OFFSET"),
    ],
)
def test_what_is_read_is_what_dxtbx_reads(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a_0001.cbf").write_bytes(content)
    (theirs,) = read_pixels_with_dxtbx(tmp_path / "a_0001.cbf")
    picture = read_image_file(tmp_path / "a_0001.cbf")
    ours = picture.exposure
    assert ours is not None, picture.problem
    np.testing.assert_array_equal(picture.pixels, theirs["pixels"][0])
    np.testing.assert_allclose(np.array(ours.origin) * 1e3, theirs["origin"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([ours.fast_axis, ours.slow_axis], [theirs["fast"], theirs["slow"]], atol=1e-12)
    np.testing.assert_allclose(ours.incident, theirs["incident"], atol=1e-12)
    np.testing.assert_allclose(ours.spindle_axis, theirs["spindle"], atol=1e-12)
    np.testing.assert_allclose([math.degrees(ours.phi_start), math.degrees(ours.oscillation)], theirs["oscillation"], rtol=1e-9)
    assert [ours.pixel_size * 1e3] * 2 == pytest.approx(theirs["pixel_size"])
    assert (ours.wavelength or 0.0) * 1e10 == pytest.approx(theirs["wavelength"])
    assert (ours.trusted_range or (0.0, 0.0))[1] == theirs["trusted_range"][1]
    assert (ours.sensor_thickness * 1e3, ours.sensor_material or "") == (pytest.approx(theirs["thickness"]), theirs["material"])
    assert theirs["exposure_times"][0] in (ours.exposure_time, ours.exposure_period)
