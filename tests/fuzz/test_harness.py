"""What the process with limits has to notice, planted: a plugin file stands for a reader that goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.child_process import Child
from fuzz.readers import READERS

from nbnumba.formats.registry import FORMATS

EXPLAIN = "explain -default_F 1 -cell 50 -N 3 -detpixels 8 --plugin-file p.py".split()


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("class Odd(BaseException): pass\nraise Odd('so')", "Odd: so at registry.py:"),
        ("while True: pass", "took more than 2 s at registry.py:"),
        ("sum(range(10**11))", "took too long, and could not be stopped"),
        ("import ctypes; ctypes.string_at(0)", "the process died of SIGSEGV: "),
        ("import os; os.abort()", "the process died of SIGABRT: "),
        ("import os; os.write(2, b'odd\\n')", "wrote on stderr: odd"),
        ("import warnings; warnings.warn('a\\nb'); open('left', 'w').close()", "left behind: ['left']"),
        ("import sys; sys.kept = open('p.py')", "left a file open"),
        ("import click; click.echo('nbnumba: error: a', err=True)", "2 error lines with exit code 2"),
    ],
)
def test_a_reader_that_goes_wrong(child: Child, code: str, problem: str) -> None:
    child.run(EXPLAIN, {"p.py": b"nothing"}, (2,), ())  # what the first case opens for good
    found = child.run(EXPLAIN, {"p.py": code.encode()}, (2,), ())
    assert found.problem.startswith(problem)
    assert child.run(EXPLAIN, {"p.py": b"nothing"}, (2,), ()).problem == ""


def test_memory_is_bounded(child: Child) -> None:
    assert child.run(EXPLAIN, {"p.py": b"x = bytes(600_000_000)"}, (2,), ()).said.endswith("p.py, line 1: MemoryError:")
    assert "provides no stage" in child.run(EXPLAIN, {"p.py": b"x = bytes(300_000_000)"}, (2,), ()).said


def test_an_exit_code_that_should_not_be(child: Child) -> None:
    assert child.run(EXPLAIN, {"p.py": b"nothing"}, (0,), ()).problem == "exit code 2"


def test_every_format_of_images_is_damaged() -> None:
    endings = {Path(reader.file).suffix for reader in READERS.values()}
    assert [kind.name for kind in FORMATS if (kind.read or kind.scan) and not endings & set(kind.endings)] == []
