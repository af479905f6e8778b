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
        ("quick_start.py", {"quick_start.hkl", "quick_start.bin", "quick_start.img", "quick_start_noise.img", "quick_start.png"}),
        ("api.py", set()),
        ("refine.py", {"refine.png"}),
    ],
)
def test_example(tmp_path: Path, script: str, files: set[str]) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == files
    assert done.stdout
