"""Experiments that an image's file completes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nbnumba
from nbnumba.experiment.experiment import Experiment
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.prediction import predicted_spots
from nbnumba.options.arguments import split_arguments
from nbnumba.options.experiment import apply_all
from nbnumba.options.image import complete, given_shape

pytestmark = pytest.mark.spec("CLI-15")

CRYSTAL = "-default_F 100 -cell 40 50 60 80 95 100 -misset 10 20 30 -N 20 "
GEOMETRY = "-lambda 1.2 -distance 80 -pixel 0.4 -detpixels_f 120 -detpixels_s 100 -phi 5 -osc 2 -detector_rotx 3 -detector_roty 8 "


def completed(options: str, exposure: Exposure | None, shape: tuple[int, int] = (100, 120), **base: Any) -> Experiment:
    draft = apply_all(split_arguments(options.split()).given, **base)
    complete(draft, exposure, shape)
    return draft.experiment()


@pytest.mark.parametrize("frame", ["as it is", "imgCIF's", "another"])
@pytest.mark.parametrize("more", ["", "-twotheta 100 "])
def test_a_crystal_in_the_geometry_of_a_file_diffracts_as_with_options_for_it(frame: str, more: str) -> None:
    """Whatever the file's laboratory is: the crystal is in MOSFLM's."""
    expected = nbnumba.experiment_from_options(CRYSTAL + GEOMETRY + more)
    exposure = exposure_of(expected)
    if frame == "imgCIF's":
        exposure = exposure.imgcif
    elif frame == "another":
        exposure = exposure.turned(np.array([[0.0, 0.6, 0.8], [0.0, -0.8, 0.6], [1.0, 0.0, 0.0]]))
    found = completed(CRYSTAL, exposure)
    ours, theirs = predicted_spots(found, 3e-10), predicted_spots(expected, 3e-10)
    assert len(ours.hkl) > 10
    np.testing.assert_array_equal(ours.hkl, theirs.hkl)
    np.testing.assert_allclose([ours.fast, ours.slow, ours.phi], [theirs.fast, theirs.slow, theirs.phi], atol=1e-6)


def test_what_options_say_wins() -> None:
    exposure = exposure_of(nbnumba.experiment_from_options(CRYSTAL + GEOMETRY))
    found = completed(CRYSTAL + "-lambda 1.5 -phi 7", exposure)
    assert found.beam.wavelength == pytest.approx(1.5e-10)
    assert found.goniometer.phi_start == pytest.approx(np.radians(7))
    assert found.goniometer.scan.oscillation == pytest.approx(np.radians(2))
    assert found.frame.pix0 == pytest.approx(exposure.origin)
    assert completed(CRYSTAL + "-phistep 0.5", exposure).goniometer.scan.oscillation == pytest.approx(np.radians(0.5))
    placed = completed(CRYSTAL + "-distance 200", exposure)
    assert placed.frame.distance == pytest.approx(0.2)
    assert placed.detector.rotations == (0.0, 0.0, 0.0)
    assert placed.detector.pixel_size == pytest.approx(4e-4)
    assert completed(CRYSTAL, None).frame.distance == pytest.approx(0.1)


def test_a_saved_experiment_leaves_nothing_open() -> None:
    expected = nbnumba.experiment_from_options(CRYSTAL + GEOMETRY)
    other = exposure_of(nbnumba.experiment_from_options(CRYSTAL + "-distance 300 -lambda 2"))
    found = completed("", other, base=expected)
    assert exposure_of(found).origin == exposure_of(expected).origin
    assert found.beam.wavelength == expected.beam.wavelength


@pytest.mark.parametrize(
    ("options", "shape"),
    [("", None), ("-detpixels 30", (30, 30)), ("-detsize 10 -pixel 0.5", (20, 20)), ("-detpixels_f 7 -detsize_s 1", (10, 7))],
)
def test_pixels_that_options_ask_for(options: str, shape: tuple[int, int] | None) -> None:
    assert given_shape(apply_all(split_arguments(options.split()).given)) == shape


def test_pixels_that_a_saved_experiment_asks_for() -> None:
    base = nbnumba.experiment_from_options(CRYSTAL + GEOMETRY)
    assert given_shape(apply_all([], base)) == (100, 120)
    assert given_shape(apply_all(split_arguments(["-detpixels_f", "7"]).given, base)) == (100, 7)
