"""The public API: what ``dir(nbnumba)`` lists, where it is from, what type checkers are told of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import pytest
from conftest import ENVIRONMENT, ROOT

import nbnumba

STUB = ast.parse((ROOT / "nbnumba/__init__.pyi").read_text())
HOMES = {alias.name: f"nbnumba.{node.module}" for node in ast.walk(STUB) if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.spec("API-1")
def test_the_stub_and_the_module_have_the_same_names() -> None:
    assert sorted(HOMES) == dir(nbnumba) == sorted(nbnumba.__all__)
    assert all(alias.asname == alias.name for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names)


@pytest.mark.spec("API-1")
@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_name_is_what_the_stub_says(name: str) -> None:
    assert getattr(nbnumba, name) is getattr(import_module(HOMES[name]), name)


@pytest.mark.spec("API-1")
def test_a_name_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="renderer"):
        _ = nbnumba.renderer


@pytest.mark.spec("API-1")
def test_importing_the_package_imports_nothing_else_of_it() -> None:
    code = "import sys; before = set(sys.modules); import nbnumba; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import site; site.main(); {code}"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert [name for name in done.stdout.split() if name.partition(".")[0] in ("nbnumba", "numpy", "numba")] == [
        "nbnumba",
        "nbnumba.earlier_names",
    ], done.stderr


@pytest.mark.spec("API-1")
def test_types_are_shipped() -> None:
    assert (ROOT / "nbnumba/py.typed").is_file()
    declared = (ROOT / "setup.cfg").read_text().partition("[options.package_data]")[2].partition("[options.extras")[0]
    assert {"*.pyi", "py.typed"} <= set(declared.split())
