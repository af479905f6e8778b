"""Where the tests find data, and how many threads they may use."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Numba reads it once, when it is imported; some tests run on more threads than there may be cores.
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(8, os.cpu_count() or 1)))

# Kernels that the tests compile are kept from session to session, beside what pytest keeps.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "kernels"))

# Options of a session are not those of the sessions that some tests start.
os.environ.pop("PYTEST_ADDOPTS", None)

import pytest

from nbnumba.stages import registry

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
# The program in a process of its own, from any folder.
PROGRAM = [sys.executable, "-m", "nbnumba.cli.main"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}


def folder(variable: str, fallback: str) -> Path:
    """The folder that an environment variable names, else a folder beside the repository."""
    return Path(os.environ.get(variable) or ROOT / fallback)


GOLDEN = folder("NBNUMBA_GOLDEN", "../shared/golden")
SUPERVISOR = folder("NBNUMBA_SUPERVISOR", "../shared/data/supervisor")


# They take longest: where several processes share the tests by file, whoever has one of them last would keep the others waiting.
BEGIN_WITH = (
    "round_trip/test_dials.py",
    "gradients/test_value_and_grad.py",
    "gpu/test_without_a_gpu.py",
    "gpu/test_adjoint.py",
    "test_examples.py",
    "parity/test_naive.py",
    "evidence/test_bundle.py",
    "traces/test_traces.py",
    "testing/test_stage_suite.py",
    "kernel/test_numba_parts.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Files are dealt out in the order of the tests, not, as pytest-xdist would have it, by how many tests they have.

    Nearly every experiment of the tests follows quirks of nanoBragg on purpose.
    """
    config.addinivalue_line("filterwarnings", "ignore::nbnumba.errors.QuirkWarning")
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, in the order above."""
    order = {TESTS / file: place for place, file in enumerate(BEGIN_WITH)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept of parsed files stays out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "NBNUMBA_CACHE_DIR" not in os.environ:
            patch.setenv("NBNUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_plugin_file_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may be told to use files for all that follows."""
    monkeypatch.setattr(registry, "_files", {})
    monkeypatch.setattr(registry, "_of_this_process", [])


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
