"""The linker: what it binds, what it refuses, and that an edit is never served stale."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

from nbnumba import StageError
from nbnumba.kernel.linker import Linker, Target, layout

FACTOR = 3.0
TABLE = [1, 2]
PLAIN = Target(lambda function: function)


def placeholder(x): ...


def kernel(x):
    return placeholder(x) + 1.0


def triple(x):
    return FACTOR * helper(x)


def helper(x):
    return math.sqrt(x)


def uses_a_list(x):
    return TABLE[0] * x


def with_default(x, y=1.0):
    return x * y


def with_lambda(x):
    return (lambda v: v)(x)


def closure():
    captured = 2.0

    def inner(x):
        return captured * x

    return inner


def link(**bind):
    return Linker(PLAIN, bind).kernel(kernel)


@pytest.mark.oldest
def test_a_placeholder_is_bound_to_the_chosen_function() -> None:
    assert link(placeholder=triple)(4.0) == 7.0
    assert kernel.__globals__["placeholder"] is placeholder


@pytest.mark.oldest
def test_jitted_functions_are_linked_by_their_source() -> None:
    from numba import njit

    assert link(placeholder=njit(helper))(9.0) == 4.0


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (uses_a_list, "uses the global 'TABLE', a list"),
        (with_default, "has default arguments"),
        (with_lambda, "holds an inner function"),
        (closure(), "is a closure"),
    ],
)
def test_what_cannot_be_linked_is_refused_by_name(function, reason: str) -> None:
    with pytest.raises(StageError, match=reason) as error:
        link(placeholder=function)
    assert function.__qualname__ in str(error.value)


@pytest.mark.oldest
def test_the_name_changes_with_constants_functions_flags_and_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    class A(NamedTuple):
        x: float
        y: float

    class B(NamedTuple):
        y: float
        x: float

    B.__qualname__ = A.__qualname__
    names = {
        link(placeholder=triple).__qualname__,
        link(placeholder=helper).__qualname__,
        Linker(PLAIN, {"placeholder": helper}, [layout(A(1, 2))]).kernel(kernel).__qualname__,
        Linker(PLAIN, {"placeholder": helper}, [layout(B(1, 2))]).kernel(kernel).__qualname__,
    }
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 4.0)
    monkeypatch.setitem(triple.__globals__, "FACTOR", 4.0)
    names.add(link(placeholder=triple).__qualname__)
    assert len(names) == 5
    assert link(placeholder=helper).__qualname__ == link(placeholder=helper).__qualname__


def one(x):
    return x + 1.0


def two(x):
    return x + 2.0


def calls_both(x):
    return first(x) + 10.0 * second(x)


first, second = one, two


def test_the_name_changes_when_a_name_is_bound_to_another_function_that_is_used_already(monkeypatch: pytest.MonkeyPatch) -> None:
    before = link(placeholder=calls_both)
    monkeypatch.setitem(calls_both.__globals__, "second", one)
    after = link(placeholder=calls_both)
    assert before(0.0) != after(0.0)
    assert before.__qualname__ != after.__qualname__


PLUGIN = """
from typing import NamedTuple
from nbnumba.plugin import LatticeShape, hookimpl

SHARPNESS = {sharpness}

class P(NamedTuple):
    peak: float

def prepare(experiment):
    return P(100.0)

def f_latt(p, x, y, z):
    return p.peak / (1.0 + SHARPNESS * (x * x + y * y + z * z))

@hookimpl
def lattice_shape():
    return [LatticeShape("lorentz", "a test shape", prepare, f_latt)]
"""


def test_editing_one_constant_of_a_plugin_changes_the_very_next_run(tmp_path: Path) -> None:
    plugin = tmp_path / "lorentz.py"
    command = "run -default_F 10 -cell 50 -lambda 1 -detpixels 8 -nopgm --plugin-file lorentz.py --plugin lattice_shape=lorentz"
    sums = []
    for sharpness in (10.0, 20.0, 10.0):
        plugin.write_text(PLUGIN.format(sharpness=sharpness))
        os.utime(plugin, (1e9, 1e9))  # an edit within the clock's resolution: the file's age must not matter
        subprocess.run([sys.executable, "-B", "-m", "nbnumba.cli.main", *command.split()], cwd=tmp_path, check=True, timeout=120)
        sums.append(np.fromfile(tmp_path / "floatimage.bin", np.float32).sum())
    assert sums[0] == sums[2]
    assert sums[1] < 0.99 * sums[0]


def test_a_function_of_another_module_keeps_its_own_names() -> None:
    """A plugin's helper may be named as a placeholder of the kernel's is."""
    module = ModuleType("plugin")
    exec("TIE = 0.5\ndef placeholder(x):\n    return 1000.0 * x\ndef shape(x):\n    return placeholder(x) + TIE\n", module.__dict__)
    assert link(placeholder=module.shape, TIE=0.0)(0.3) == 301.5
