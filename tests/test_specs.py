"""Every numbered statement has a test, every test and plugin cites statements that exist, every stage statement has a plugin."""

from __future__ import annotations

import ast
import re

from conftest import ROOT, TESTS

from nbnumba.stages.registry import installed
from nbnumba.stages.stage import KINDS

STATEMENT = re.compile(r"^\*\*([A-Z]+-\d+)\*\*", re.MULTILINE)
STAGE_PREFIXES = tuple(kind.prefix for kind in KINDS.values())
# What the whole program does rather than one plugin.
PROGRAM_STATEMENTS = {
    "BKG-2",
    "BKG-9",
    "BKG-10",
    "BKG-11",
    "BKG-20",
    "FAC-1",
    "FAC-73",
    "GEO-1",
    "RSP-4",
    "RSP-30",
    "RSP-39",
    "RSP-52",
    "RSP-53",
    "SF-6",
    "SF-7",
    "SF-8",
    "SF-9",
    "SF-10",
    "SF-11",
    "SF-12",
    "SF-50",
    "SF-51",
    "SF-53",
    "SCA-4",
    "SCA-5",
    "SCA-6",
    "SCA-7",
    "SCA-11",
    "SCA-12",
    "SCA-21",
    "SCA-22",
}


def stated() -> set[str]:
    found = [s for file in sorted((ROOT / "specs").glob("*.md")) for s in STATEMENT.findall(file.read_text())]
    assert len(found) == len(set(found)), "a statement id is used twice"
    return set(found)


def carried() -> set[str]:
    """Arguments of every pytest.mark.spec in tests/."""
    found = set()
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.spec"):
                found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def cited() -> set[str]:
    return {statement for stage, _ in installed() for statement in stage.spec}


def test_every_statement_has_a_test() -> None:
    assert stated() - carried() == set()


def test_every_statement_that_a_test_carries_exists() -> None:
    assert carried() - stated() == set()


def test_every_statement_that_a_plugin_cites_exists() -> None:
    assert cited() - stated() == set()


def test_every_stage_statement_is_cited_by_a_plugin() -> None:
    of_stages = {s for s in stated() if s.startswith(STAGE_PREFIXES)}
    assert of_stages - cited() == PROGRAM_STATEMENTS
