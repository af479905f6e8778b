"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("quick_start.py", {f"quick_start.{ending}" for ending in ("pdb", "bin", "cbf", "img", "png")}),
        ("api.py", set()),
        ("refine.py", {"refine.png"}),
    ],
)
def test_example(tmp_path: Path, script: str, files: set[str]) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == files
    assert done.stdout
    for name, (_, now) in refined(done.stdout).items():
        assert abs(now) <= {"misset": 0.001, "cell": 0.005}[name.split("_")[0]], done.stdout


def refined(text: str) -> dict[str, list[float]]:
    """How far off angles (degrees) and edges (%) were, and are: those of refine.py."""
    rows = [line.split() for line in text.splitlines() if line.startswith(("misset_", "cell_"))]
    return {name: [float(start), float(now)] for name, start, _, now, _ in rows}
