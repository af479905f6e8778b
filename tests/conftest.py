"""Where the tests find data, and how many threads they may use."""

import os
from collections.abc import Iterator
from pathlib import Path

# Numba reads it once, when it is imported; some tests run on more threads than there may be cores.
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(8, os.cpu_count() or 1)))

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"


def folder(variable: str, fallback: str) -> Path:
    """The folder that an environment variable names, else a folder beside the repository."""
    return Path(os.environ.get(variable) or ROOT / fallback)


GOLDEN = folder("NBNUMBA_GOLDEN", "../shared/golden")
SUPERVISOR = folder("NBNUMBA_SUPERVISOR", "../shared/data/supervisor")


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept of parsed files stays out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "NBNUMBA_CACHE_DIR" not in os.environ:
            patch.setenv("NBNUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
