"""The options of ``run`` that say what to simulate are those of experiment_from_options()."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import InputFileError, OptionError, ParameterError, StageError, experiment_from_options
from nbnumba.cli.main import main
from nbnumba.cli.options import experiment_options
from nbnumba.options.own import OWN
from nbnumba.plugin import LatticeShape
from nbnumba.stages import registry

BASE = "-default_F 100 -cell 50 -N 4 -detpixels 16 -pixel 4 -distance 100"
PLUGIN = """
from typing import NamedTuple
from nbnumba.plugin import LatticeShape, Parameter, hookimpl

class Dot(NamedTuple):
    size: float

def prepare(experiment):
    return Dot(STAGE.value_of("dot-size", experiment.model.parameters))

def dot(p, x, y, z):
    return p.size

STAGE = LatticeShape("dot", "the same everywhere", prepare, dot, (Parameter("dot-size", "", 2.0, "everywhere"),))

@hookimpl
def lattice_shape():
    return [STAGE]
"""


def experiment_of_the_command_line(words: list[str], tmp_path: Path) -> nbnumba.Experiment:
    assert main(["run", *words, "-o", str(tmp_path / "i.bin"), "--save-config", str(tmp_path / "e.toml")]) == 0
    return nbnumba.load_experiment(tmp_path / "e.toml")


@pytest.mark.spec("API-9")
def test_every_option_that_says_what_to_simulate_is_known() -> None:
    def command() -> None:
        pass

    shared = {name for option in experiment_options(command).__click_params__ for name in option.opts}
    assert shared - {"--experiment"} == set(OWN)  # which others take the place of before


@pytest.mark.spec("API-9")
@pytest.mark.parametrize(
    "words",
    [
        "--preset physics",
        "--preset=physics -oversample 2",
        "--phi-carryover-mode c-parity -osc 1 -phisteps 3",
        "--plugin lattice_shape=gauss --plugin polarization=none --set fudge=1.5",
        "--quirk water-squared=off --quirk source-weights=off",
        "--dtype float32 --negligible 1e-30",
    ],
)
def test_as_on_the_command_line(words: str, tmp_path: Path) -> None:
    options = [*BASE.split(), *words.split()]
    assert experiment_from_options(options) == experiment_of_the_command_line(options, tmp_path)


@pytest.mark.spec("API-9")
def test_a_named_experiment(tmp_path: Path) -> None:
    (tmp_path / "named.toml").write_text(f'options = "{BASE} --preset physics"\n')
    options = ["--experiment", str(tmp_path / "named.toml"), "-N", "2"]
    assert experiment_from_options(options) == experiment_of_the_command_line(options, tmp_path)
    assert experiment_from_options(options) == experiment_from_options(f"{BASE} --preset physics -N 2")


@pytest.mark.spec("API-9")
def test_a_mapping_needs_no_dashes() -> None:
    here = experiment_from_options(
        {
            "default_F": 100,
            "cell": 50,
            "preset": "physics",
            "quirk": ["water-squared=on", "source-weights=on"],
            "plugin": "lattice_shape=gauss",
            "phi_carryover_mode": "spec",
            "dtype": "float32",
            "negligible": 1e-20,
        }
    )
    words = "-default_F 100 -cell 50 --preset physics --quirk water-squared=on --quirk source-weights=on --plugin lattice_shape=gauss"
    assert here == experiment_from_options(f"{words} --phi-carryover-mode spec --dtype float32 --negligible 1e-20")
    assert here.quirks == {"water-squared", "source-weights"}


@pytest.mark.spec("API-9")
def test_a_saved_experiment_to_start_from(tmp_path: Path) -> None:
    base = experiment_from_options(f"{BASE} --preset physics")
    nbnumba.save_experiment(base, tmp_path / "e.toml")
    assert experiment_from_options(["--config", str(tmp_path / "e.toml")]) == base
    assert experiment_from_options("--quirk water-squared=on", base).quirks == {"water-squared"}
    followed = experiment_from_options(BASE).quirks
    assert experiment_from_options(f"{BASE} --quirk water-squared=off").quirks == followed - {"water-squared"}
    with pytest.raises(OptionError, match="there is an experiment to start from already"):
        experiment_from_options(["--config", str(tmp_path / "e.toml")], base)


@pytest.mark.spec("API-9")
def test_a_plugin_file(tmp_path: Path) -> None:
    (tmp_path / "dot.py").write_text(PLUGIN)
    words = [*BASE.split(), "--plugin-file", str(tmp_path / "dot.py"), "--plugin", "lattice_shape=dot", "--set", "dot-size=3"]
    here = experiment_from_options(words)
    image = nbnumba.simulate(here)
    assert image.provenance["stages"]["lattice_shape"] == "dot"
    assert main(["run", *words, "-o", str(tmp_path / "i.npy")]) == 0
    np.testing.assert_array_equal(nbnumba.read_image(tmp_path / "i.npy"), image.float32)
    # A file that is named again is read again.
    (tmp_path / "dot.py").write_text(PLUGIN.replace("return p.size", "return 2.0 * p.size"))
    assert nbnumba.simulate(here) == image
    again = experiment_from_options(words)
    assert again == here
    np.testing.assert_allclose(nbnumba.simulate(again).pixels, 4.0 * image.pixels)


@pytest.mark.spec("API-9")
def test_the_file_of_an_experiment_cannot_have_code_run_unasked(tmp_path: Path) -> None:
    (tmp_path / "dot.py").write_text(PLUGIN)
    (tmp_path / "e.toml").write_text(f'options = "{BASE} --plugin-file dot.py --plugin lattice_shape=dot"\n')
    with pytest.raises(InputFileError, match="names code to be run"):
        experiment_from_options(["--experiment", str(tmp_path / "e.toml")])
    found = experiment_from_options(["--experiment", str(tmp_path / "e.toml"), "--allow-plugins"])
    assert nbnumba.simulate(found).provenance["stages"]["lattice_shape"] == "dot"


@pytest.mark.spec("API-9")
@pytest.mark.parametrize(
    ("words", "error", "problem"),
    [
        ("--preset best", ParameterError, "model.preset: 'best' is not one of reference"),
        ("--phi-carryover-mode never", OptionError, "--phi-carryover-mode never: is not one of spec, c-parity"),
        ("--plugin gauss", OptionError, "--plugin gauss: must have the form KIND=NAME"),
        ("--quirk water-squared", OptionError, "--quirk water-squared: must have the form NAME=on or NAME=off"),
        ("--set fudge=wide", OptionError, "--set fudge=wide: 'wide' is not a number"),
        ("--negligible little", OptionError, "--negligible little: is not a number"),
        ("--dtype float16", ParameterError, "sampling.dtype: 'float16' is not one of"),
        ("--dtype", OptionError, "--dtype: needs a value"),
        ("--plugin-file none.py", InputFileError, "none.py"),
        ("--png a.png", OptionError, "--png: no such option"),
    ],
)
def test_what_is_refused(words: str, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        experiment_from_options(f"{BASE} {words}")


@pytest.mark.spec("API-10")
def test_stages_are_refused_by_what_is_wrong() -> None:
    stage = registry.installed().get("lattice_shape", "gauss")
    experiment = experiment_from_options(BASE)
    with pytest.raises(ParameterError, match=r"stages: 'gauss' is not a Stage"):
        nbnumba.simulate(experiment, stages=["gauss"])
    with pytest.raises(StageError, match=r"plugin given as stages=: lattice_shape 'gauss' is already provided by"):
        nbnumba.simulate(experiment, stages=[stage])
    mine = LatticeShape("mine", "mine", stage.prepare, stage.function)
    other = LatticeShape("other", "other", stage.prepare, stage.function)
    with pytest.raises(ParameterError, match=r"stages: 'mine' and 'other' are both of kind lattice_shape; give one of them"):
        nbnumba.Simulator(stages=[mine, other])


@pytest.mark.spec("API-10")
def test_a_stage_of_ones_own_is_taken_for_its_kind() -> None:
    """Whatever the experiment names; by everything that takes stages."""
    gauss = registry.installed().get("lattice_shape", "gauss")
    mine = LatticeShape("mine", "mine", gauss.prepare, gauss.function)
    experiment = experiment_from_options(f"{BASE} -round_xtal")
    found = nbnumba.simulate(experiment, stages=[mine])
    assert found.provenance["stages"]["lattice_shape"] == "mine"
    np.testing.assert_array_equal(found.pixels, nbnumba.simulate(experiment_from_options(f"{BASE} -gauss_xtal")).pixels)
    assert nbnumba.simulate(experiment, stages=[]).provenance["stages"]["lattice_shape"] == "round"
    traced = nbnumba.trace(experiment, 8, 8, stages=[mine])
    assert traced.values["floatimage_accumulated"] == found.float32[8, 8]
