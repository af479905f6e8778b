"""``-img`` of images that place their detector in a laboratory: its panels, beam and scan are those of the experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from many_panels import assert_in_place, sixteen

import nbnumba
from nbnumba import InputFileError, OptionError
from nbnumba.cli.main import main
from nbnumba.formats.cbf import CBF
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.sensor import attenuation_length

pytestmark = pytest.mark.spec("CLI-88")

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -misset 10 20 30 -N 5 -oversample 1"
ROTATED = {"spindle_axis": (1.0, 0.0, 0.0), "oscillation": np.radians(0.5)}


@pytest.fixture
def recorded(in_tmp_path: Path) -> Exposure:
    """Of images 1 and 2 in a.nxs, 0.5 deg apart."""
    first = sixteen(**ROTATED, phi_start=np.radians(10.0))
    second = replace(first, phi_start=np.radians(10.5), number=2)
    Path("a.nxs").write_bytes(nxmx_bytes([(np.ones(first.frame_shape, np.int32), one) for one in (first, second)]))
    return first


@pytest.mark.parametrize(("name", "start_deg"), [("a.nxs", 10.0), ("a.nxs:2", 10.5)])
def test_panels_beam_and_scan_are_those_of_the_image(name: str, start_deg: float, recorded: Exposure) -> None:
    experiment = nbnumba.experiment_from_options(f"{CRYSTAL} -img {name} -phisteps 1")
    assert len(experiment.panels) == 16
    for found, expected in zip(exposure_of(experiment).panels, recorded.panels, strict=True):
        assert_in_place(found, expected, close=1e-9)
    assert experiment.beam.wavelength == pytest.approx(1e-10)
    assert np.degrees(experiment.goniometer.phi_start) == pytest.approx(start_deg)
    assert np.degrees(experiment.goniometer.scan.oscillation) == pytest.approx(0.5)


def test_the_same_image_as_of_an_expt_file(recorded: Exposure) -> None:
    """NXmx names the sensor's material, a .expt file how far photons get in it."""
    depth = attenuation_length("Si", 1e-10)
    Path("a.expt").write_text(
        expt_text(replace(recorded, panels=tuple(replace(p, sensor_attenuation=depth) for p in recorded.panels)), None)
    )
    images = [nbnumba.simulate(nbnumba.experiment_from_options(f"{CRYSTAL} {of} -phisteps 1")) for of in ("-img a.nxs", "--expt a.expt")]
    np.testing.assert_allclose(images[0].pixels, images[1].pixels, rtol=1e-6)
    assert images[0].max() > 0.0


def test_options_come_over_it(recorded: Exposure, capsys: pytest.CaptureFixture[str]) -> None:
    assert nbnumba.experiment_from_options(f"-lambda 1.5 {CRYSTAL} -img a.nxs -phisteps 1").beam.wavelength == pytest.approx(1.5e-10)
    for words, message in (
        ("-mosflm", "-mosflm: -img a.nxs has a frame of its own; leave -mosflm out"),
        ("-distance 90", "-distance 90: -img a.nxs has 16 panels in their places; leave -distance out"),
        ("--detector eiger-1m", "--detector eiger-1m: -img a.nxs has 16 panels in their places; leave --detector out"),
    ):
        with pytest.raises(OptionError) as caught:
            nbnumba.experiment_from_options(f"{CRYSTAL} {words} -img a.nxs")
        assert str(caught.value) == message
    assert main(["run", *CRYSTAL.split(), "-img", "a.nxs", "-phisteps", "1", "-o", "b.nxs", "--bundle", "kept"]) == 0
    assert main(["bundle", "verify", "kept"]) == 0


def test_one_panel(in_tmp_path: Path) -> None:
    one = replace(sixteen(tilt=0.0), panels=())
    Path("a.cbf").write_bytes(CBF.write(np.ones(one.shape, np.int32), one))
    experiment = nbnumba.experiment_from_options(f"{CRYSTAL} -img a.cbf")
    assert experiment.detector.shape == one.shape
    assert exposure_of(experiment).origin == pytest.approx(one.origin, abs=1e-6)
    assert experiment.detector.sensor_material == "Si"
    assert experiment.detector.sensor_attenuation == pytest.approx(attenuation_length("Si", 1e-10))


def test_an_image_without_a_geometry(in_tmp_path: Path) -> None:
    Path("a.cbf").write_bytes(
        CBF.write(np.ones((10, 12), np.int32), replace(sixteen(), panels=())).replace(b"Detector_distance", b"Detector_nothing")
    )
    with pytest.raises(InputFileError, match=r"^a\.cbf: "):
        nbnumba.experiment_from_options(f"{CRYSTAL} -img a.cbf")
