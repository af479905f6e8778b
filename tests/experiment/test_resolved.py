"""What follows from the user's numbers: sweep, cells, geometry, oversampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nbnumba
from nbnumba import Beam, Crystal, Detector, Goniometer, ParameterError, units
from nbnumba.experiment import advice

BASE = "-default_F 1 -cell 50 "


def experiment(options: str = "") -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(BASE + options)


@pytest.mark.spec("EXP-6", "ROT-2")
@pytest.mark.parametrize(
    ("options", "phi_deg", "oscillation_deg"),
    [
        ("", [0], 0),
        ("-phi 33", [33], 0),
        ("-phistep 0.3", [0, 0.3], 0.3),
        ("-phisteps 7 -phistep 0.3", [0, 0.3], 0.3),
        ("-osc 2", [0, 1], 2),
        ("-osc 1 -phistep 0.3", [0, 0.3, 0.6, 0.9], 1),
        ("-phisteps 4", [0, 0.25, 0.5, 0.75], 1),
        ("-phisteps 4 -phistep 0", [0, 0.25, 0.5, 0.75], 1),
        ("-phisteps 0 -osc 1", [0], 1),
        ("-phi 5 -osc 2 -phisteps 4", [5, 5.5, 6, 6.5], 2),
        ("-osc 2 -phisteps 2 -phistep 0.1", [0, 0.1], 2),
        ("-osc 2 -phisteps 2 -phistep 0", [0, 0], 2),
    ],
)
def test_sweep(options: str, phi_deg: list[float], oscillation_deg: float) -> None:
    found = experiment(options)
    np.testing.assert_allclose(np.degrees(found.phi), phi_deg, atol=1e-12)
    assert math.degrees(found.goniometer.scan.oscillation) == pytest.approx(oscillation_deg)


@pytest.mark.spec("EXP-6")
def test_a_sweep_of_too_many_or_no_steps_is_refused() -> None:
    for step in (1e-9, 0.5):
        with pytest.raises(ParameterError, match=r"goniometer.phi_step: .* divides the oscillation"):
            _ = Goniometer(oscillation=1.0 if step < 0.1 else 0.0, phi_step=step).scan


@pytest.mark.spec("EXP-2")
def test_fluence() -> None:
    assert Beam(fluence=3.0).photons_per_area == 3.0
    assert Beam(fluence=3.0, flux=1e12, exposure=0.5, size=2e-5).photons_per_area == pytest.approx(1e12 * 0.5 / 4e-10)


@pytest.mark.spec("EXP-5")
def test_pixels() -> None:
    assert Detector().shape == (1024, 1024)
    assert Detector(fast_pixels=30, slow_pixels=20).shape == (20, 30)
    assert Detector(fast_size=0.04, slow_size=0.0602, pixel_size=5e-4).shape == (120, 80)
    with pytest.raises(ParameterError, match="makes an image 102400 pixels wide"):
        _ = Detector(pixel_size=1e-6).shape


@pytest.mark.spec("EXP-9", "SCA-5")
def test_cells_from_sizes_and_oversampling() -> None:
    found = experiment("-sample_x 0.000499 -sample_y 0.5 -Nc 7 -beamsize 0.000999")
    assert found.cells == (100, 200, 7)
    assert experiment("-N 0").cells == (1, 1, 1)
    assert "sample y of 0.5 mm clipped to the beam size of 0.000999 mm" in advice.warnings(found)
    # 3 x 200 cells x 50 A / (1 A x 100 mm / 0.1 mm) = 30
    assert found.oversample == found.recommended_oversample == 30
    assert experiment("-N 5 -oversample 3").oversample == 3
    assert any("-oversample 2" in note for note in advice.warnings(experiment("-N 10 -oversample 1")))
    with pytest.raises(ParameterError, match="asks for 3000 sub-pixels"):
        experiment("-N 20000").check()


@pytest.mark.spec("EXP-10")
def test_mosaic_domains() -> None:
    assert experiment().mosaic == (0.0, 1)
    assert experiment("-mosaic_dom 7").mosaic == (0.0, 1)
    assert experiment("-mosaic 0 -mosaic_dom 7").mosaic == (0.0, 1)
    assert experiment("-mosaic 1").mosaic == (units.radians(1.0), 10)
    assert experiment("-mosaic 1 -mosaic_dom 3").mosaic[1] == 3
    assert any("10 domains are rendered" in note for note in advice.warnings(experiment("-mosaic 1")))
    assert any("one domain is rendered" in note for note in advice.warnings(experiment("-mosaic_dom 7")))


@pytest.mark.spec("EXP-3", "EXP-4", "EXP-8")
def test_a_tilted_detector_keeps_the_beam_spot_or_the_sample_distance() -> None:
    tilt = "-detector_rotx 7 -detector_roty -4 -detector_rotz 11 -twotheta 0 -distance 100 -detpixels 256 "
    beam = experiment(tilt + "-mosflm -Xbeam 5 -Ybeam 6").frame
    assert beam.pivot == "beam"
    assert (beam.beam_fast, beam.beam_slow) == pytest.approx((0.00605, 0.00505))
    assert beam.distance == pytest.approx(0.1)
    sample = experiment(tilt + "-xds -ORGX 100 -ORGY 120").frame
    assert sample.pivot == "sample"
    assert (sample.close_fast / 1e-4 + 0.5, sample.close_slow / 1e-4 + 0.5) == pytest.approx((100, 120))
    assert np.linalg.norm(np.cross(sample.fast_axis, sample.slow_axis) - sample.normal) < 1e-12


@pytest.mark.spec("EXP-3")
def test_the_frame_of_a_real_experiment() -> None:
    """Values printed by nanoBragg (see the c-parity trace of a Pilatus experiment)."""
    frame = experiment(
        "-Xbeam 217.742295 -Ybeam 213.907080 -distance 231.274660 -lambda 0.976800 -pixel 0.172 -detpixels_x 2463 -detpixels_y 2527 "
        "-odet_vector -0.000088 0.004914 -0.999988 -sdet_vector -0.005998 -0.999970 -0.004913 -fdet_vector 0.999982 -0.005998 -0.000118 "
        "-pix0_vector_mm -216.336293 215.205512 -230.200866 -beam_vector 0.00051387949 0.0 -0.99999986 -twotheta 0"
    ).frame
    assert frame.pivot == "sample"
    np.testing.assert_allclose(frame.pix0, [-0.216475836204836, 0.216343050492215, -0.230192414300537], rtol=1e-13)
    np.testing.assert_allclose(frame.fast_axis, [0.999982004873912, -0.00599800002923425, -0.000118000000575132], rtol=1e-13)
    assert frame.close_distance == pytest.approx(0.231271826111781, rel=1e-13)


@pytest.mark.spec("EXP-7")
def test_cell_vectors() -> None:
    crystal = experiment("-misset 12 34 56").unit_cell
    np.testing.assert_allclose(crystal.direct @ crystal.reciprocal.T, np.eye(3), atol=1e-12)
    monoclinic = nbnumba.experiment_from_options("-default_F 1 -cell 70 80 90 90 105 90").unit_cell
    np.testing.assert_allclose(np.degrees(monoclinic.lengths_and_angles[3:]), [90, 105, 90])
    # nanoBragg's standard setting of a triclinic cell does not keep its angles; it prints these.
    triclinic = nbnumba.experiment_from_options("-default_F 1 -cell 70 80 90 75 85 95").unit_cell
    np.testing.assert_allclose(np.array(triclinic.lengths_and_angles[:3]) * 1e10, [70, 80, 90])
    np.testing.assert_allclose(np.degrees(triclinic.lengths_and_angles[3:]), [75.0391, 85.0136, 95.0081], rtol=1e-6)
    assert triclinic.reciprocal[0, 1:] == pytest.approx([0, 0], abs=1)
    matrix = tuple((np.array(monoclinic.reciprocal).T * 2e-10).ravel())
    same = Crystal(a_matrix=matrix)
    found = nbnumba.Experiment(crystal=same, structure_factors=nbnumba.StructureFactors(default_F=1), beam=Beam(wavelength=2e-10)).unit_cell
    np.testing.assert_allclose(found.direct, monoclinic.direct, atol=1e-20)


@pytest.mark.spec("EXP-12")
def test_region_of_interest() -> None:
    assert experiment("-detpixels 50").roi == (0, 49, 0, 49)
    assert experiment("-detpixels 50 -roi 3 1000 -5 -1").roi == (3, 49, 0, 49)
    with pytest.raises(ParameterError, match="60 70 0 10 holds no pixel of the 50 x 50 image"):
        experiment("-detpixels 50 -roi 60 70 0 10").check()


@pytest.mark.spec("SF-6")
def test_interpolation_is_chosen_by_the_given_cells() -> None:
    table = nbnumba.StructureFactors(hkl=np.array([[0, 0, 0]]), F=np.array([1.0]))

    def chosen(options: str, **wish: bool) -> bool:
        from dataclasses import replace

        return replace(experiment(options), structure_factors=replace(table, **wish)).interpolated

    assert chosen("-N 2")
    assert not chosen("-N 3")
    assert chosen("-xtalsize 0.001"), "cells that follow from a size do not count"
    assert not chosen("-N 2", interpolate=False)
    assert chosen("-N 9", interpolate=True)
    assert not experiment("-N 1").interpolated, "nothing to interpolate without a table"


@pytest.mark.spec("EXP-1")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Beam(wavelength=-1.0), "beam.wavelength: -1.0 m: must be at least 1e-14"),
        (lambda: Beam(wavelength=math.nan), "beam.wavelength: nan m: must be a finite number"),
        (lambda: Beam(direction=(1.0, 0.0)), "beam.direction: needs 3 numbers"),
        (lambda: Crystal(cells=(1.5, 1, 1)), "crystal.cells: 1.5: must be a whole number"),
        (lambda: Crystal(cells="abc"), "crystal.cells: needs 3 numbers, got 'abc'"),
        (lambda: Detector(convention="hkl"), "detector.convention: 'hkl' is not one of mosflm"),
        (lambda: nbnumba.StructureFactors(), "no structure factors"),
        (lambda: nbnumba.StructureFactors(hkl=np.zeros((2, 3), int)), "hkl and F have to be given together"),
        (lambda: nbnumba.StructureFactors(hkl=np.zeros((2, 2), int), F=np.zeros(2)), "needs n indices"),
        (lambda: nbnumba.StructureFactors(hkl=np.zeros((1, 3)), F=np.zeros(1)), "indices must be integers"),
        (lambda: nbnumba.StructureFactors(hkl=np.zeros((1, 3), int), F=np.array([np.nan])), "structure_factors.F: amplitude nan"),
    ],
)
def test_bad_values_are_refused_by_name(make, message: str) -> None:
    with pytest.raises(ParameterError, match=message.replace("(", r"\(")):
        make()
