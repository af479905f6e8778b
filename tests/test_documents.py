"""What README and docstrings show is run as it stands."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import BEGIN_WITH, ROOT, TESTS

import nbnumba
from nbnumba.cli.main import main

README = (ROOT / "README.md").read_text()
SMALL = ("_pixels=512", "_pixels=64")  # the one change, for time's sake
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
WITH_EXAMPLES = sorted(path for path in (ROOT / "nbnumba").rglob("*.py") if ">>> " in path.read_text())


TO_OTHERS = ("README.md", "CONTRIBUTING.md", "docs/decisions/*.md", "specs/*.md")
FOLDERS = ("nbnumba", "plugins", "tests", "examples", "specs")
NAMED = re.compile(r"`([\w./]+\.(?:py|md|toml))`|\]\(([\w./-]+)\)")


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_readmes_python_runs_block_after_block(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    *blocks, plugin = PYTHON.findall(README.replace(*SMALL))
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, Python block {number}", "exec"), names)
    assert np.asarray(names["photons"]).max() > 0.0
    Path("lorentz.py").write_text(plugin)
    assert main(["plugins", "check", "lorentz.py"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=module_of)
def test_examples_in_docstrings(file: Path) -> None:
    """With an experiment at hand, and what may have been observed of it."""
    experiment = nbnumba.experiment_from_options("-default_F 100 -cell 50 60 70 90 90 90 -N 4 -lambda 1 -detpixels 32 -oversample 1")
    given = {"nbnumba": nbnumba, "np": np, "experiment": experiment, "observed": nbnumba.simulate(experiment).pixels}
    assert doctest.testmod(import_module(module_of(file)), extraglobs=given).failed == 0


@pytest.mark.parametrize("document", [file for name in TO_OTHERS for file in sorted(ROOT.glob(name))], ids=lambda file: file.name)
def test_files_that_documents_name_are_there(document: Path) -> None:
    """Code by the end of its path, links by the whole of it."""
    there = [f"/{file.relative_to(ROOT)}" for folder in FOLDERS for file in (ROOT / folder).rglob("*.*")]
    named = [name for name, _ in NAMED.findall(document.read_text()) if name and not (ROOT / name).exists()]
    linked = [link for _, link in NAMED.findall(document.read_text()) if link]
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in there)] == []
    assert [link for link in linked if not (document.parent / link).exists()] == []


def test_files_that_the_tests_begin_with_are_there() -> None:
    assert [file for file in BEGIN_WITH if not (TESTS / file).is_file()] == []
