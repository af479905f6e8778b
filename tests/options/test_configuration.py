"""Saving and loading experiments."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import InputFileError, ParameterError, load_experiment, save_experiment
from nbnumba.errors import NbnumbaError
from nbnumba.experiment.experiment import PARTS
from nbnumba.simulation.scene import choose_stages
from nbnumba.stages.registry import installed

OPTIONS = (
    "-cell 60 70 80 75 85 95 -lambda 0.9768 -N 4 -misset 10 20 30 -distance 80 -pixel 0.172 -detpixels_x 20 -detpixels_y 10 -xds -ORGX 9 "
    "-phi 0.1 -osc 0.7 -phisteps 3 -mosaic 0.3 -oversample 1 -polar 0.5 -gauss_xtal -fudge 1.3 -default_F 2"
)


HUGE = "1" + "0" * 400
MASK = "[structure_factors]\ndefault_F = 1\n[detector]\nfast_pixels = 8\nslow_pixels = 8\n[sampling]\nmask = {packed = 'eJxjYAADAAAIAAE=', "


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
        (f"{MASK}shape = [inf, 8]}}", "sampling.mask: is damaged; save the experiment again"),
        (f"{MASK}shape = [-8, -8]}}", "sampling.mask: is damaged; save the experiment again"),
        (f"{MASK}shape = [8, 8, 1]}}", "sampling.mask: is damaged; save the experiment again"),
        (f"{MASK}shape = [8, {HUGE}]}}", r"sampling.mask: has shape \(8, 10+\), the image"),
        (f"{MASK}shape = [8, 16]}}", r"sampling.mask: has shape \(8, 16\), the image \(slow, fast\) \(8, 8\)"),
        (f"{MASK}shape = '88'}}", "sampling.mask: is damaged; save the experiment again"),
        (f"[structure_factors]\nhkl = [[1, 0, 0]]\nF = [{HUGE}]\n", "structure_factors.F: holds something that is no number, or too large"),
        ("[structure_factors]\nhkl = [[1, 0, 0]]\nF = ['x']\n", "structure_factors.F: holds something that is no number, or too large"),
        ("[structure_factors]\nhkl = [[1, 0, 0], [1]]\nF = [1]\n", "structure_factors.hkl: its rows must all have the same length"),
        (f"[structure_factors]\nhkl = [[{HUGE}, 0, 0]]\nF = [1]\n", "structure_factors.hkl: indices must be integers"),
        (
            "[structure_factors]\nhkl = [[9223372036854775807, 0, 0]]\nF = [1]\n",
            "structure_factors.hkl: index 9223372036854775807 is larger",
        ),
        (f"[sources]\npositions = [[{HUGE}, 0, 0]]\n", "sources.positions: holds something that is no number, or too large"),
        ("[sources]\nweights = [{a = 1}]\n", "sources.weights: holds something that is no number"),
        (f"[sampling]\noversample = {HUGE}\n", "sampling"),
        (f"[beam]\nwavelength = {HUGE}\n", "beam"),
        (f"[model.parameters]\nfudge = {HUGE}\n", "model"),
        (f"[crystal]\ncell = [{HUGE}, 1, 1, 1, 1, 1]\n", "crystal"),
        ("[structure_factors]\npath = 'a\\u0000b'\n".replace("'", '"'), "is not a file name"),
        (f"a = {'[' * 10_000}", "is not TOML"),
        (f"a = {'9' * 5000}", "is not TOML"),
    ],
)
def test_a_bad_configuration_names_file_table_and_value(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(InputFileError, match=message):
        load_experiment(file)


@pytest.mark.spec("CLI-35")
def test_a_mask_is_unpacked_as_far_as_the_image_goes(tmp_path: Path) -> None:
    """256 MB of zeros in a quarter of a MB."""
    packed = base64.b64encode(zlib.compress(bytes(1 << 28), 9)).decode()
    text = MASK.replace("eJxjYAADAAAIAAE=", packed)
    assert packed in text
    (tmp_path / "bad.toml").write_text(f"{text}shape = [8, 8]}}")
    tracemalloc.start()
    try:
        with pytest.raises(InputFileError, match=r"sampling\.mask: is damaged; save the experiment again"):
            load_experiment(tmp_path / "bad.toml")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.spec("CLI-34")
def test_a_name_that_is_no_text_is_not_saved(tmp_path: Path) -> None:
    table = tmp_path / "a\udcff.hkl"
    table.write_text("1 2 3 4.5\n")
    experiment = nbnumba.experiment_from_options([*OPTIONS.split(), "-hkl", str(table)])
    with pytest.raises(ParameterError, match=r"structure_factors.path: 'a\\udcff.hkl' cannot be saved, since it is not UTF-8 text"):
        save_experiment(experiment, tmp_path / "e.toml")
    assert not (tmp_path / "e.toml").exists()


ODD = (
    "1", "-1e300", "nan", HUGE, "true", '"x"', '"\\u0000"', "[]", "[[1, 2, 3]]", '["a", "b", "c"]', f"[{HUGE}, 1, 1]", "[nan, nan, nan]",
    "{a = 1}", f"{{fudge = {HUGE}}}", "{lattice_shape = []}", "1979-05-27", "0x" + "f" * 5000,
)  # fmt: skip
WHOLE = {
    "crystal": {"cell": "[5e-9, 6e-9, 7e-9, 1.5, 1.5, 1.6]"},
    "detector": {"fast_pixels": "8", "slow_pixels": "8"},
    "structure_factors": {"hkl": "[[1, 0, 0]]", "F": "[1.0]"},
    "sources": {"positions": "[[0, 0, -1]]", "weights": "[1]", "wavelengths": "[1e-10]"},
}


@pytest.mark.spec("CLI-35")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("section", PARTS)
def test_odd_values_are_refused_or_taken(tmp_path: Path, section: str) -> None:
    """Every field with values of every kind that TOML has."""
    for field in fields(PARTS[section]):
        for odd in ODD:
            tables = WHOLE | {section: WHOLE.get(section, {}) | {field.name: odd}}
            lines = [
                line for name, table in tables.items() for line in (f"[{name}]", *(f"{key} = {value}" for key, value in table.items()))
            ]
            (tmp_path / "e.toml").write_text("\n".join(lines))
            with suppress(NbnumbaError):
                experiment = load_experiment(tmp_path / "e.toml")
                experiment.check()
                choose_stages(experiment, installed())
