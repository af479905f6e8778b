"""Damaged files of every kind: each is read or refused in a line, at once, within bounds, and nothing is left behind.

NBNUMBA_FUZZ_EXAMPLES: files for each reader (4000 make 10^5). NBNUMBA_FUZZ_KEEP: a folder that is given one file of each kind of failure,
so that all of them are found in one go; without it a reader's first failure ends its test, made as small as it can be.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from fuzz.child_process import Child, Outcome
from fuzz.mutations import mutated
from fuzz.readers import READERS, Reader
from fuzz.tally import TALLY
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("NBNUMBA_FUZZ_EXAMPLES", "60"))
KEEP = os.environ.get("NBNUMBA_FUZZ_KEEP")


def outcome(child: Child, reader: Reader, number: int, content: bytes) -> Outcome:
    return child.run(reader.words(number), {**reader.beside(), reader.file: content}, reader.codes, reader.outputs)


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(child: Child, name: str) -> None:
    """Damage to what is refused anyway would find nothing."""
    reader = READERS[name]
    for number in range(len(reader.commands)):
        for seed in reader.seeds():
            found = outcome(child, reader, number, seed)
            assert (found.code, found.problem) == (reader.codes[0], ""), (reader.words(number), found.said)


@pytest.mark.spec("CLI-3", "CLI-35")
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(child: Child, name: str) -> None:
    reader, tally, problems = READERS[name], TALLY.setdefault(name, []), {}
    phases = [Phase.generate] if KEEP else [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES < 1000,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(content=mutated(reader.seeds()), number=st.integers(0, len(reader.commands) - 1))
    def damaged(content: bytes, number: int) -> None:
        found = outcome(child, reader, number, content)
        tally.append((found.code, found.seconds))
        if found.problem and KEEP:
            keep(name, problems, found.problem, content)
        else:
            assert not found.problem, " ".join(reader.words(number))

    damaged()
    assert not problems


def keep(name: str, problems: dict[str, str], problem: str, content: bytes) -> None:
    """Put the first file of each kind of failure, by the line that it comes from, into the folder."""
    kind = problem.rpartition(" at ")[2] if " at " in problem else problem
    if kind not in problems:
        file = Path(KEEP or ".") / f"{name.replace(' ', '_')}-{hashlib.sha256(content).hexdigest()[:8]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        problems[kind] = f"{problem} ({file})"
