"""Finding the switches that explain a difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from nbnumba.compare.switches import Trials, explain, in_words

SIZES = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 0.0}  # what a switch adds to an image
BASE = np.linspace(0.0, 100.0, 12).reshape(3, 4)


def rendered(switches: Mapping[str, bool]) -> np.ndarray:
    return BASE + sum(SIZES[name] for name, value in switches.items() if value)


def found_for(target: np.ndarray, candidates: str = "abcd") -> tuple[dict[str, Any], Trials]:
    trials = Trials(rendered, target)
    before = float(np.sqrt(((BASE - target) ** 2).mean()))
    return explain(trials, dict.fromkeys(candidates, True), before), trials


@pytest.mark.spec("CMP-4")
def test_one_switch_that_is_enough() -> None:
    found, _ = found_for(rendered({"b": True}))
    assert found["switches"] == {"b": True}
    assert found["alone_enough"] == ["b"]
    assert found["tried"]["a"] == {"set_to": True, "rmse_left": 1.0}
    assert in_words(found, {}, "A") == "the one switch that explains the difference: --quirk b=on for A"


@pytest.mark.spec("CMP-4")
def test_several_that_are_needed_together() -> None:
    found, _ = found_for(rendered({"a": True, "b": True, "c": True}))
    assert found["switches"] == {"a": True, "b": True, "c": True}
    assert in_words(found, {}, "A").startswith("the difference is explained by these switches of A together: ")


@pytest.mark.spec("CMP-4")
def test_of_equal_steps_the_first_is_taken() -> None:
    """1 + 2 is as near to 3 as 4 is."""
    found, _ = found_for(BASE + 3.0)
    assert found["switches"] == {"a": True, "b": True}


@pytest.mark.spec("CMP-4")
def test_what_is_not_needed_is_left_out() -> None:
    """The greatest steps come first, and both of them turn out not to be needed."""
    left = {"": 9.0, "a": 8.0, "b": 7.0, "c": 5.0, "d": 6.0, "cd": 4.0, "acd": 3.0, "abcd": 0.0, "abc": 0.0, "abd": 0.0, "ab": 0.0}

    def render(switches: Mapping[str, bool]) -> np.ndarray:
        return BASE + left.get("".join(sorted(switches)), 10.0)

    found = explain(Trials(render, BASE), dict.fromkeys("abcd", True), left[""])
    assert found["switches"] == {"a": True, "b": True}
    assert found["alone_enough"] == []


@pytest.mark.spec("CMP-4")
def test_several_that_are_enough_alone() -> None:
    trials = Trials(lambda switches: BASE + 1.0 if switches else BASE, BASE + 1.0)
    found = explain(trials, {"a": True, "b": False}, 1.0)
    assert found["alone_enough"] == ["a", "b"]
    assert in_words(found, {}, "A") == "each of these switches of A alone explains the difference: a, b"


@pytest.mark.spec("CMP-4")
def test_none_that_explains() -> None:
    found, trials = found_for(BASE - 1.0)
    assert found["switches"] == {}
    assert in_words(found, {}, "A") == "no quirk switch explains the difference; tried: a, b, c, d"
    assert in_words(found, {"beam.flux": (1, 2)}, "A").endswith("; settings differ: beam.flux (1, 2)")
    assert len(trials.left) == len(SIZES)
    assert in_words(explain(Trials(rendered, BASE), {}, 1.0), {}, "A") == "no quirk is at work here that could explain the difference"


def test_nothing_is_rendered_twice() -> None:
    seen: list[frozenset[tuple[str, bool]]] = []

    def render(switches: Mapping[str, bool]) -> np.ndarray:
        seen.append(frozenset(switches.items()))
        return rendered(switches)

    explain(Trials(render, rendered({"a": True, "c": True})), dict.fromkeys("abcd", True), 5.0)
    assert len(seen) == len(set(seen))
