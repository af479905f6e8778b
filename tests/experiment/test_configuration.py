"""Saving and loading experiments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import InputFileError, load_experiment, save_experiment

OPTIONS = (
    "-cell 60 70 80 75 85 95 -lambda 0.9768 -N 4 -misset 10 20 30 -distance 80 -pixel 0.172 -detpixels_x 20 -detpixels_y 10 -xds -ORGX 9 "
    "-phi 0.1 -osc 0.7 -phisteps 3 -mosaic 0.3 -oversample 1 -polar 0.5 -gauss_xtal -fudge 1.3 -default_F 2"
)


@pytest.mark.spec("EXP-11")
def test_an_experiment_loads_to_the_same_image(tmp_path: Path) -> None:
    table = tmp_path / "data" / "p1.hkl"
    table.parent.mkdir()
    table.write_text("1 2 3 4.5\n-1 0 2 7\n")
    experiment = nbnumba.experiment_from_options(f"{OPTIONS} -hkl {table}")
    mask = np.random.default_rng(0).random((10, 20)) < 0.5
    experiment = replace(
        experiment,
        model=replace(experiment.model, preset="c-parity"),
        sampling=replace(experiment.sampling, mask=mask),
    )
    save_experiment(experiment, tmp_path / "experiment.toml")
    text = (tmp_path / "experiment.toml").read_text()
    assert 'preset = "c-parity"' in text
    loaded = load_experiment(tmp_path / "experiment.toml")
    assert loaded.model == experiment.model
    assert loaded.beam == experiment.beam
    assert loaded.crystal == experiment.crystal
    np.testing.assert_array_equal(nbnumba.simulate(loaded).pixels, nbnumba.simulate(experiment).pixels)


@pytest.mark.spec("EXP-11")
@pytest.mark.parametrize("mode", ["spec", "c-parity"])
def test_the_phi_mode_survives(tmp_path: Path, mode: str) -> None:
    experiment = nbnumba.experiment_from_options(f"{OPTIONS}")
    experiment = replace(experiment, model=replace(experiment.model, stages={"rotation": mode}))
    save_experiment(experiment, tmp_path / "e.toml")
    assert nbnumba.simulate(load_experiment(tmp_path / "e.toml")).provenance["stages"]["rotation"] == mode


@pytest.mark.spec("EXP-11")
def test_arrays_without_a_file_are_saved_too(tmp_path: Path) -> None:
    table = nbnumba.StructureFactors(hkl=np.array([[1, 2, 3], [-4, 5, 6]]), F=np.array([1.5, 1 / 3]))
    experiment = replace(nbnumba.experiment_from_options(OPTIONS), structure_factors=table)
    save_experiment(experiment, tmp_path / "e.toml")
    loaded = load_experiment(tmp_path / "e.toml").structure_factors
    np.testing.assert_array_equal(loaded.hkl, table.hkl)
    np.testing.assert_array_equal(loaded.F, table.F)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[beam", "is not TOML"),
        ("[lamp]\nwatts = 5\n", r"unknown table \[lamp\]; there are beam"),
        ("[beam]\nwatts = 5\n", r"\[beam\] has no 'watts'; it has wavelength"),
        ("beam = 5\n", r"beam = 5 must be a table"),
        ("[beam]\nwavelength = -1\n", r"beam.wavelength: -1 m: must be at least 1e-14"),
        ("[structure_factors]\npath = 'none.hkl'\n", r"none.hkl: cannot be read"),
        ("[structure_factors]\ndefault_F = 1\n[sampling]\nmask = 3\n", "sampling.mask: is damaged"),
    ],
)
def test_a_bad_configuration_names_file_table_and_value(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(InputFileError, match=message):
        load_experiment(file)
