"""Every quirk changes the image where it bites, changes nothing where it does not, is said, and stands in the output."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba import Model, ParameterError
from nbnumba.cli.main import main
from nbnumba.experiment import advice
from nbnumba.experiment.quirks import BY_NAME, QUIRKS
from nbnumba.formats.smv import header_text, smv_blocks
from nbnumba.response.noise import noisy_counts

BASE = (
    "-default_F 100 -cell 60 70 80 90 90 90 -lambda 1 -N 4 -misset 10 20 30 -distance 40 -pixel 0.5 -detpixels 12 -polar 0.5 "
    "-oversample 1 -fluence 1e24 "
)
TABLE = nbnumba.StructureFactors(
    hkl=np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3),
    F=np.random.default_rng(0).random(13**3) * 100,
    default_F=3.0,
)

# An experiment in which each quirk bites; those with a table take TABLE.
BITES = {
    "phi-carryover": "-osc 1 -phisteps 3",
    "repeated-domains": "-osc 1 -phisteps 3 -mosaic 1 -mosaic_dom 3",
    "running-product": "-oversample_polar -oversample 2",
    "bare-capture": "-oversample_thick",
    "nopolar-undone": "-nopolar -oversample_polar",
    "first-sample-factors": "-oversample 3",
    "last-layer-capture": "-detector_thick 450 -detector_abs 234 -thicksteps 4",
    "layer-spacing": "-detector_thick 450 -detector_abs 234 -thicksteps 3",
    "layer-fronts": "-detector_thick 450 -detector_abs 234",
    "water-squared": "-water 5",
    "dmin-cuts-water": "-water 5 -dmin 15",
    "interpolation-latch": "-interpolate",
    "interpolation-cells": "-xtal_x 1e-5 -N 5 -lambda 3",
    "misset-cap": "-misset_seed 7 -misset random",
    "source-weights": "",
    "spot-width": "-gauss_xtal",
    "forced-pivot": "-detector_roty 20 -pivot sample -Xclose 2",
    "swung-distance": "-twotheta 30 -curved_det",
    "negative-back": "-twotheta 115",
    "pix0-unused": "-pix0_vector 0.041 0.002 -0.004",
    "normal-replaced": "-fdet_vector 0 0 1 -sdet_vector 0 -1 0 -odet_vector 1 0.1 0 -twotheta 0",
    "curved-axes": "-curved_det",
    "single-angles": "-mosaic 90 -mosaic_dom 3 -N 50",
    "triclinic-setting": "-cell 60 70 80 80 95 105",
    "reference-header": "-xds -Xbeam 2 -Ybeam 4",
    "custom-centre": "-fdet_vector 0 0 1",
    "header-reading": "",
    "implicit-dump": "",
    "sequential-noise": "",
}
WITH_TABLE = ("interpolation-latch", "interpolation-cells")
NOT_IN_THE_IMAGE = ("reference-header", "custom-centre", "header-reading", "implicit-dump", "sequential-noise", "negative-back")


def experiment(name: str, on: bool, preset: str = "reference") -> nbnumba.Experiment:
    found = nbnumba.experiment_from_options(BASE + BITES[name])
    if name in WITH_TABLE:
        found = replace(found, structure_factors=replace(TABLE, interpolate=found.structure_factors.interpolate))
    if name == "source-weights":
        positions = np.array([[-10.0, 0.1, 0.0], [-10.0, -0.2, 0.1]])
        found = replace(
            found, sources=nbnumba.Sources(positions=positions, weights=np.array([1.0, 3.0]), wavelengths=np.array([np.nan, 1.1e-10]))
        )
    return replace(found, model=replace(found.model, preset=preset, quirks={name: on}))


def test_every_quirk_has_an_experiment_and_a_row_in_the_register() -> None:
    register = re.findall(r"^\| ([a-z0-9-]+)[ (a-z-)]* \|", (ROOT / "specs" / "presets.md").read_text(), re.MULTILINE)
    names = [quirk.name for quirk in QUIRKS]
    assert set(names) == set(BITES)
    assert [name for name in register if name in names] == names


@pytest.mark.spec("PRE-4", "EXP-3", "EXP-4", "SF-4", "SF-5", "SF-6", "LAT-7", "GEO-7", "SCA-9", "SCA-10", "ROT-5")
@pytest.mark.parametrize("name", [name for name in BITES if name not in NOT_IN_THE_IMAGE])
def test_a_quirk_changes_the_image_where_it_bites(name: str) -> None:
    with_quirk, without = experiment(name, on=True), experiment(name, on=False)
    assert name in with_quirk.quirks_met
    assert name in with_quirk.quirks
    assert name not in without.quirks
    pixels, others = nbnumba.simulate(with_quirk).pixels, nbnumba.simulate(without).pixels
    assert np.abs(pixels - others).max() > 1e-6 * pixels.max()


@pytest.mark.spec("PRE-4", "EXP-7")
@pytest.mark.parametrize(
    ("cell", "bites"),
    [("60 70 80 80 95 105", True), ("60 70 80 80 95 90", True), ("60 70 80 90 95 90", False), ("60", False)],
)
def test_a_cell_does_not_keep_its_angles_where_two_of_them_are_not_right(cell: str, bites: bool) -> None:
    found = nbnumba.experiment_from_options(f"{BASE} -cell {cell}")
    assert ("triclinic-setting" in found.quirks_met) == bites
    without = replace(found, model=replace(found.model, quirks={"triclinic-setting": False}))
    kept = np.allclose(found.unit_cell.direct, without.unit_cell.direct, rtol=1e-9, atol=1e-18)
    assert kept != bites


@pytest.mark.spec("PRE-4")
@pytest.mark.parametrize("name", [name for name in BITES if name not in NOT_IN_THE_IMAGE])
def test_a_quirk_changes_nothing_where_it_does_not_bite(name: str) -> None:
    plain = nbnumba.experiment_from_options(BASE)
    assert name not in plain.quirks_met
    images = [nbnumba.simulate(replace(plain, model=Model(quirks={name: on}))).pixels for on in (True, False)]
    np.testing.assert_allclose(images[0], images[1], rtol=1e-12, atol=1e-12 * images[0].max())


@pytest.mark.spec("PRE-4", "FMT-5")
def test_quirks_outside_the_image() -> None:
    with_quirk, without = (next(smv_blocks(experiment("reference-header", on), [])) for on in (True, False))
    assert with_quirk == header_text(experiment("reference-header", True), 512).ljust(512).encode()
    assert b"BEAM_CENTER_X=2;" in with_quirk
    assert b"BEAM_CENTER_X=3;" in without
    image = nbnumba.simulate(experiment("sequential-noise", on=True))
    image = replace(image, pixels=image.pixels * 1e6)
    other = replace(image, experiment=experiment("sequential-noise", on=False))
    assert (np.vstack([*noisy_counts(image, 1, 40.0)]) != np.vstack([*noisy_counts(other, 1, 40.0)])).any()
    assert "custom-centre" in experiment("custom-centre", on=True).quirks_met


@pytest.mark.spec("PRE-4", "GEO-21")
def test_the_back_of_a_detector_is_refused_where_its_photons_are_negative() -> None:
    with pytest.raises(ParameterError) as raised:
        nbnumba.simulate(experiment("negative-back", on=True))
    assert str(raised.value) == (
        "detector.twotheta: turns the detector's back to the crystal, where nanoBragg counts negative photons; "
        "--quirk forced-pivot=off -pivot sample swings it about the crystal, --quirk negative-back=off counts them as they are"
    )
    for preset in ("reference", "c-parity", "physics"):
        seen = experiment("negative-back", on=False, preset=preset)
        assert "the crystal sees the detector's back: as a surface it counts what comes from there" in advice.warnings(seen)
        assert nbnumba.simulate(seen).pixels.min() > 0.0
    behind = replace(seen, detector=replace(seen.detector, sensor_thickness=1e-4))
    assert "the crystal sees the detector's back: its sensor captures nothing" in advice.warnings(behind)
    assert not nbnumba.simulate(behind).pixels.any()


@pytest.mark.spec("GEO-21")
@pytest.mark.parametrize("options", ["-twotheta 115 -point_pixel", "-detector_roty 115", "-xds -twotheta 115"])
def test_detectors_that_face_the_crystal_at_any_angle(options: str) -> None:
    """Rotations that carry the detector along, as of one that pivots about the crystal, leave its front to the crystal."""
    assert nbnumba.simulate(nbnumba.experiment_from_options(BASE + options)).pixels.min() >= 0.0


@pytest.mark.spec("PRE-3")
@pytest.mark.parametrize("name", [name for name in BITES if name != "phi-carryover"])
def test_reference_without_its_quirks_is_physics(name: str) -> None:
    bare = experiment(name, on=False)
    off = replace(bare, model=replace(bare.model, quirks={quirk.name: False for quirk in QUIRKS}))
    physics = replace(bare, model=replace(bare.model, preset="physics", quirks={}))
    np.testing.assert_array_equal(nbnumba.simulate(off).pixels, nbnumba.simulate(physics).pixels)


@pytest.mark.spec("PRE-3")
def test_physics_differs_from_reference_only_where_the_register_says() -> None:
    for options in ("", "-round_xtal", "-osc 1 -phisteps 3 -mosaic 1 -mosaic_dom 3", "-detector_rotx 3 -twotheta 10", "-dmin 3"):
        found = nbnumba.experiment_from_options(BASE + options)
        assert set(found.quirks_met) <= {"phi-carryover", "swung-distance", "single-angles", "repeated-domains"}
        alike = {"single-angles": True, "repeated-domains": True}
        physics = replace(found, model=replace(found.model, preset="physics", quirks=alike))
        pixels = nbnumba.simulate(found).pixels
        np.testing.assert_allclose(nbnumba.simulate(physics).pixels, pixels, rtol=1e-12, atol=1e-12 * pixels.max())


@pytest.mark.spec("CLI-9")
def test_a_quirk_that_bites_is_said_once_with_its_switch(in_tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", *BASE.split(), "-oversample", "2", "--json", "1.json"]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "quirk" in line]
    assert len(lines) == 1
    assert "quirk first-sample-factors: solid angle and polarization are those of the pixel's first sample" in lines[0]
    assert "--quirk first-sample-factors=off" in lines[0]
    assert main([*words, "--quirk", "first-sample-factors=off"]) == 0
    assert "quirk" not in capsys.readouterr().err


@pytest.mark.spec("SF-4")
def test_terms_outside_the_table_are_counted() -> None:
    found = experiment("interpolation-latch", on=False)
    image = nbnumba.simulate(found)
    frame, pixel = found.frame, found.detector.pixel_size
    fast, slow = np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5)
    position = frame.pix0 + (fast * pixel)[..., None] * frame.fast_axis + (slow * pixel)[..., None] * frame.slow_axis
    q = (position / np.linalg.norm(position, axis=-1, keepdims=True) - frame.incident) / found.beam.wavelength
    hkl = q @ found.unit_cell.direct.T
    assert image.terms_outside == np.count_nonzero(((hkl < -4) | (hkl > 4)).any(axis=-1))
    assert 0 < image.terms_outside < 144
    assert nbnumba.simulate(experiment("interpolation-latch", on=True)).terms_outside == 0


@pytest.mark.spec("PRE-4")
def test_quirks_stand_in_the_output() -> None:
    image = nbnumba.simulate(experiment("water-squared", on=False))
    assert image.provenance["quirks"]["water-squared"] is False
    assert image.provenance["quirks"]["layer-spacing"] is True
    assert image.provenance["quirks_met"] == ["water-squared"]


def test_an_unknown_quirk_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match="no quirk 'water-square'; the nearest are water-squared"):
        Model(quirks={"water-square": True})


@pytest.mark.spec("SCA-10", "SCA-8")
def test_physics_background_is_linear_in_the_fluence_and_independent_of_sampling() -> None:
    def background(options: str) -> np.ndarray:
        found = nbnumba.experiment_from_options(BASE.replace("-default_F 100", "-default_F 1e-30") + "-water 5 " + options)
        return nbnumba.simulate(replace(found, model=Model(preset="physics"))).pixels

    one = background("-fluence 1e24")
    np.testing.assert_allclose(background("-fluence 3e24"), 3.0 * one, rtol=1e-12)
    np.testing.assert_allclose(background("-fluence 1e24 -phisteps 3 -oversample 2"), one, rtol=1e-3)


@pytest.mark.parametrize(
    ("angles", "bites"),
    [
        ("90 90 90", False),
        ("90 101 90", False),
        ("90 90 120", False),
        ("90 95 105", True),
        ("80 90 105", True),
        ("80 95 90", True),
        ("80 95 105", True),
    ],
)
def test_which_cells_are_triclinic(angles: str, bites: bool) -> None:
    """Those whose axes the quirk moves: with more than one angle that is not 90 degrees."""
    found = nbnumba.experiment_from_options(f"{BASE} -cell 60 70 80 {angles}")
    axes = found.unit_cell.reciprocal
    moved = replace(found, model=Model(quirks={"triclinic-setting": False})).unit_cell.reciprocal - axes
    assert BY_NAME["triclinic-setting"].bites(found) == bites
    assert (np.abs(moved).max() > 1e-9 * np.abs(axes).max()) == bites
