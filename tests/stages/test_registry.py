"""Registration: what is refused, by name and reason."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import nbnumba
from nbnumba import ParameterError, StageError
from nbnumba.plugin import LatticeShape, hookimpl
from nbnumba.stages.hookspecs import specification
from nbnumba.stages.registry import Registry, installed, registry_of, with_files
from nbnumba.stages.stage import KINDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "lorentz_plugin" / "lorentz.py"


class P(NamedTuple):
    peak: float


def prepare(experiment):
    return P(1.0)


def f_latt(p, x, y, z):
    return p.peak


def too_few(p, x, y):
    return p.peak


GOOD = LatticeShape("flat", "flat", prepare, f_latt)


def plugin(*stages: Any, hook: str = "lattice_shape") -> object:
    def answer() -> list[Any]:
        return list(stages)

    answer.__name__ = hook
    return SimpleNamespace(**{hook: hookimpl(answer)})


@pytest.mark.spec("CLI-7")
@pytest.mark.parametrize(
    ("answer", "hook", "reason"),
    [
        (LatticeShape("short", "", prepare, too_few), "lattice_shape", r"too_few\(p, x, y\) must take \(p, x, y, z\)"),
        (LatticeShape("Not A Name", "", prepare, f_latt), "lattice_shape", "must be lower-case"),
        (LatticeShape("max", "", prepare, max), "lattice_shape", "plain Python function"),
        (LatticeShape("n", "", f_latt, f_latt), "lattice_shape", "prepare must take one argument"),
        (GOOD, "scaling", "is answered by the hook scaling"),
        ("flat", "lattice_shape", "must answer with Stage objects, not a str"),
    ],
)
def test_a_wrong_stage_is_refused_with_its_origin_and_the_reason(answer: Any, hook: str, reason: str) -> None:
    with pytest.raises(StageError, match=reason) as error:
        Registry().register(plugin(answer, hook=hook), "stranger 1.0")
    assert "stranger 1.0" in str(error.value)


def test_two_stages_of_one_name_are_refused_with_both_origins() -> None:
    registry = Registry()
    registry.register(plugin(GOOD), "first 1.0")
    with pytest.raises(StageError, match=r"second 1.0.*'flat'.*first 1.0"):
        registry.register(plugin(GOOD), "second 1.0")


@pytest.mark.spec("PRE-2")
def test_an_unknown_stage_names_the_nearest_and_all_there_are() -> None:
    with pytest.raises(StageError, match=r"'gaus'.*did you mean 'gauss'.*round"):
        installed().get("lattice_shape", "gaus")
    with pytest.raises(StageError, match="'shape' is not a kind"):
        installed().get("shape", "gauss")


def test_a_parameter_that_no_stage_has_is_refused() -> None:
    experiment = nbnumba.experiment_from_options("-default_F 1 -cell 50")
    names = dict.fromkeys((), "square")
    with pytest.raises(ParameterError, match=r"model.parameters.fugde: no stage.*fudge"):
        installed().choose(names, {"fugde": 1.0})
    with pytest.raises(ParameterError, match="greater than 0"):
        installed().choose(names, {"fudge": -1.0})
    assert experiment.model.parameters == {}


def test_every_hook_is_documented_and_has_a_contract() -> None:
    for name, kind in KINDS.items():
        assert getattr(specification(kind), name).__doc__ == kind.meaning
        assert kind.arguments
        assert kind.returns


def test_a_plugin_file_is_a_plugin() -> None:
    registry = with_files((EXAMPLE,))
    assert registry.get("lattice_shape", "lorentz").kind == "lattice_shape"
    with pytest.raises(StageError):
        installed().get("lattice_shape", "lorentz")


def test_a_file_that_is_read_again_gives_the_same_stages_until_it_says_something_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(EXAMPLE.read_text())
    before = with_files((file,)).get("lattice_shape", "lorentz")
    assert with_files((file,)).get("lattice_shape", "lorentz") == before == pickle.loads(pickle.dumps(before))
    file.write_text(EXAMPLE.read_text() + "\n# changed\n")
    after = with_files((file,)).get("lattice_shape", "lorentz")
    assert after != before
    assert pickle.loads(pickle.dumps(after)) == after


@pytest.mark.spec("API-2")
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_stages_and_registries_equal_their_copies(copied: Callable[[object], object]) -> None:
    for stage, _ in installed():
        assert copied(stage) == stage
        assert hash(copied(stage)) == hash(stage)
        assert replace(stage, name="another") != stage
    mine = replace(installed().get("lattice_shape", "gauss"), name="mine")
    for registry in (installed(), registry_of([mine])):
        assert copied(registry) == registry
    assert registry_of([mine]) != registry_of(None) == installed()
    assert copied(registry_of([mine])).taken == {"lattice_shape": "mine"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(installed())
