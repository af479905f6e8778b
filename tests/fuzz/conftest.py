"""Says at the end how many files each reader was given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fuzz.child_process import Child
from fuzz.tally import TALLY


@pytest.fixture(scope="session")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """One process for all readers, since it takes seconds to start."""
    made = Child(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("damaged files")
        for name, outcomes in TALLY.items():
            read = sum(code == 0 for code, _ in outcomes)
            slowest = max(seconds for _, seconds in outcomes)
            terminalreporter.write_line(f"{name:<22}{len(outcomes):>7} files, {read:>6} read, {slowest:.2f} s at most")
        terminalreporter.write_line(f"{'all':<22}{sum(map(len, TALLY.values())):>7} files")
