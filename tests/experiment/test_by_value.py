"""Descriptions are what they hold: equal to their copies, pickled, shown in short, with help from the metadata of their fields."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

import nbnumba
from nbnumba import Beam, Crystal, Detector, Experiment, Limits, Model, ParameterError, Sampling, Sources, StructureFactors
from nbnumba.experiment.experiment import PARTS
from nbnumba.experiment.part import described

HKL, F = [[1, 2, 3], [-1, 0, 4]], [10.0, 20.0]
MASK = np.arange(64).reshape(8, 8) % 3 == 0
A = [[0.011, 0.002, -0.003], [-0.001, 0.012, 0.004], [0.002, -0.003, 0.020]]  # a*, b*, c* in 1/A


def experiment(**more: object) -> Experiment:
    parts = {
        "crystal": Crystal(cell=(78e-10, 78e-10, 38e-10, 0, 0, 0), cells=(5, 5, 5)),
        "structure_factors": StructureFactors(hkl=HKL, F=F),
        "detector": Detector(fast_pixels=8, slow_pixels=8),
        "sampling": Sampling(mask=MASK),
        "sources": Sources(positions=[[np.nan, np.nan, -10.0]], weights=[1.0], wavelengths=[np.nan]),
        "model": Model(quirks={"water-squared": False}),
    }
    return Experiment(**(parts | more))


COPIES = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "deepcopy": copy.deepcopy, "copy": copy.copy, "replace": replace}


@pytest.mark.spec("API-2")
@pytest.mark.parametrize("made", COPIES)
def test_copies_are_equal(made: str) -> None:
    here = experiment()
    there = COPIES[made](here)
    assert there is not here
    assert there == here
    assert hash(there) == hash(here)
    assert len({here, there}) == 1
    for name in PARTS:
        part = getattr(here, name)
        assert COPIES[made](part) == part
        assert hash(COPIES[made](part)) == hash(part)


@pytest.mark.spec("API-2")
@pytest.mark.parametrize(
    "changed",
    [
        {"beam": Beam(wavelength=1.1e-10)},
        {"structure_factors": StructureFactors(hkl=HKL, F=[10.0, 21.0])},
        {"sampling": Sampling(mask=~MASK)},
        {"sampling": Sampling()},
        {"sources": Sources(positions=[[np.nan, np.nan, -10.0]], weights=[2.0], wavelengths=[np.nan])},
        {"model": Model(quirks={"water-squared": True})},
    ],
)
def test_others_are_not(changed: dict[str, object]) -> None:
    assert experiment(**changed) != experiment()
    assert experiment() != "an experiment"


@pytest.mark.spec("API-2")
def test_what_is_held_cannot_be_changed() -> None:
    mine = np.array([[0.0, 0.0, -10.0]])
    here = pickle.loads(pickle.dumps(experiment(sources=Sources(positions=mine, weights=[1.0], wavelengths=[1e-10]))))
    mine[0, 0] = 5.0
    assert here.sources.positions[0, 0] == 0.0
    for array in (here.sources.positions, here.sampling.mask, here.structure_factors.F, here.structure_factors.hkl):
        assert not array.flags.writeable
    with pytest.raises(TypeError, match="mappingproxy"):
        here.model.quirks["water-squared"] = True


@pytest.mark.spec("API-2")
def test_what_was_given_instead_of_worked_out_is_part_of_it() -> None:
    here = experiment()
    there = here.taking(cells=(2.5, 1.0, 1.0))
    assert there != here
    assert there == here.taking(cells=(2.5, 1.0, 1.0))
    assert pickle.loads(pickle.dumps(there)).cells == (2.5, 1.0, 1.0)
    assert pickle.loads(pickle.dumps(there)) == there
    assert replace(there).cells == (5, 5, 5)
    assert here.cells == (5, 5, 5)


@pytest.mark.spec("API-3")
@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Beam(), "Beam()"),
        (Beam(wavelength=1.2e-10, flux=1e12), "Beam(wavelength=1.2 Å, flux=1e+12 photons/s)"),
        (Detector(distance=0.25, rotations=(0.0, np.pi / 6, 0.0)), "Detector(distance=250 mm, rotations=(0, 30, 0) deg)"),
        (Detector(distance=2.0, sensor_thickness=3.2e-4), "Detector(distance=2 m, sensor_thickness=320 µm)"),
        (Detector(sensor_attenuation=0.0, point_pixel=True), "Detector(sensor_attenuation=0 m, point_pixel=True)"),
        (Crystal(cell=(78e-10, 0, 0, 0, 0, 2), cells=(5, 1, 2)), "Crystal(cell=((78, 0, 0) Å, (0, 0, 114.591559) deg), cells=(5, 1, 2))"),
        (StructureFactors(hkl=HKL, F=F), "StructureFactors(hkl=<2 x 3 int32>, F=<2 float64, electrons>)"),
        (Model(preset="physics", stages={"rotation": "spec"}), "Model(preset='physics', stages={'rotation': 'spec'})"),
    ],
)
def test_what_is_shown(thing: object, text: str) -> None:
    assert repr(thing) == text


@pytest.mark.spec("API-3")
def test_an_experiment_shows_parts_that_differ() -> None:
    here = Experiment(crystal=Crystal(cells=(5, 5, 5)), structure_factors=StructureFactors(default_F=1.0), beam=Beam(wavelength=1e-10))
    assert repr(here) == "Experiment(crystal=Crystal(cells=(5, 5, 5)), structure_factors=StructureFactors(default_F=1 electrons))"


@pytest.mark.spec("API-4")
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_help_has_every_field(part: type) -> None:
    text = part.__doc__
    for f in fields(part):
        assert f"\n{f.name} : " in text
        assert f.metadata["meaning"] in text
        assert f", {f.metadata['unit']}, " in text or not f.metadata["unit"]


@pytest.mark.spec("API-4")
def test_help_in_full() -> None:
    lines = Detector.__doc__.splitlines()
    at = lines.index("pixel_size : float, m, default 0.0001")
    assert lines[at + 1] == "    edge of a square pixel; greater than 0"
    assert "rotations : 3 numbers, rad, default (0.0, 0.0, 0.0)" in lines
    assert "convention : {'mosflm', 'xds', 'adxv', 'denzo', 'dials', 'custom'}, default 'mosflm'" in lines
    assert "slow_pixels : int, optional" in lines
    assert "    number of pixels along the slow axis; at least 1 and at most 100000" in lines
    assert "point_pixel : bool, default False" in lines
    assert Limits(0.0, 1.0, open_high=True).words == "at least 0 and less than 1"


@pytest.mark.spec("API-4")
def test_help_without_docstrings() -> None:
    """As with python -OO."""

    class Bare(Beam):
        pass

    Bare.__doc__ = None
    assert described(Bare).__doc__.splitlines()[1] == "Parameters"


@pytest.mark.spec("EXP-7")
def test_an_orientation_in_three_forms() -> None:
    wavelength = 1.2e-10
    A_per_m = np.array(A) * 1e10
    by_mosflm = experiment(crystal=Crystal(a_matrix=A_per_m * wavelength), beam=Beam(wavelength=wavelength))
    by_matrix = experiment(crystal=Crystal(reciprocal_matrix=A_per_m), beam=Beam(wavelength=wavelength))
    U, B = np.linalg.qr(A_per_m)
    if np.linalg.det(U) < 0:
        U, B = -U, -B
    by_U_and_B = experiment(crystal=Crystal.from_U_and_B(U, B, mosaic_seed=5), beam=Beam(wavelength=wavelength))
    for found in (by_matrix, by_U_and_B):
        np.testing.assert_allclose(found.unit_cell.direct, by_mosflm.unit_cell.direct, rtol=1e-12, atol=1e-22)
        np.testing.assert_allclose(found.unit_cell.reciprocal, A_per_m.T, rtol=1e-12, atol=1e-2)
    assert by_U_and_B.crystal.mosaic_seed == 5
    # Another wavelength leaves the crystal as it is, unless the matrix has the wavelength in it.
    longer = replace(by_matrix, beam=Beam(wavelength=2.4e-10))
    np.testing.assert_array_equal(longer.unit_cell.direct, by_matrix.unit_cell.direct)
    assert replace(by_mosflm, beam=Beam(wavelength=2.4e-10)).unit_cell.volume == pytest.approx(8.0 * by_mosflm.unit_cell.volume)


@pytest.mark.spec("EXP-7")
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            lambda: Crystal(a_matrix=range(9), reciprocal_matrix=range(9)),
            "crystal.reciprocal_matrix: is an orientation, and so is a_matrix",
        ),
        (lambda: Crystal.from_U_and_B(np.diag([1.0, 1.0, -1.0]), np.eye(3)), "crystal.U: .* is not a rotation"),
        (lambda: Crystal.from_U_and_B(np.diag([1.0, 1.1, 1.0]), np.eye(3)), "crystal.U: .* is not a rotation"),
        (lambda: Crystal.from_U_and_B(np.eye(2), np.eye(3)), "crystal.reciprocal_matrix: needs 9 numbers"),
        (lambda: experiment(crystal=Crystal(reciprocal_matrix=[1.0] * 9)).unit_cell, "crystal.reciprocal_matrix: its three columns"),
    ],
)
def test_no_orientation(given: object, problem: str) -> None:
    with pytest.raises(ParameterError, match=problem):
        given()


def test_a_matrix_file_takes_the_place_of_a_matrix(tmp_path) -> None:
    (tmp_path / "a.mat").write_text("0.011 0 0\n0 0.012 0\n0 0 0.02\n")
    base = experiment(crystal=Crystal(reciprocal_matrix=np.array(A) * 1e10))
    found = nbnumba.experiment_from_options(["-mat", str(tmp_path / "a.mat")], base)
    assert found.crystal.reciprocal_matrix is None
    assert found.crystal.a_matrix == (0.011, 0, 0, 0, 0.012, 0, 0, 0, 0.02)
    nbnumba.save_experiment(base, tmp_path / "e.toml")
    assert nbnumba.load_experiment(tmp_path / "e.toml") == base
