"""Kernels on disk: found again by any process, whole or compiled anew, trusted only where nobody else can write; no cache is needed."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba.errors import NbnumbaWarning
from nbnumba.files.caches import KERNELS
from nbnumba.kernel import numba_parts
from nbnumba.kernel.cpu.device import compiled_alone

pytestmark = pytest.mark.spec("DEV-20")

KERNEL = """
import numpy as np
from nbnumba.kernel.cpu.device import compiled_alone

@compiled_alone(error_model="numpy")
def total(a):
    work = np.empty(a.size)
    for i in range(a.size):
        work[i] = 2.0 * a[i]
    return work
"""

USE = """
import sys
import numpy as np
from kernel import total
from numba import njit

assert total(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
found = sum(total.stats.cache_hits.values())
print(found, "numba.np.linalg" in sys.modules)
if found:  # what comes next is compiled, with all that this takes
    solve = njit(lambda a, b: np.linalg.solve(a, b))
    assert solve(2.0 * np.eye(2), np.ones(2)).tolist() == [0.5, 0.5]
    assert total(np.arange(3)).tolist() == [0.0, 2.0, 4.0]
"""


def twice(a):
    out = np.empty(a.size)
    for i in range(a.size):
        out[i] = a[i] + a[i]
    return out


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty cache, for a process that has not complained yet."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    monkeypatch.setattr(numba_parts, "_warned", set())
    return tmp_path / "numba" / "nbnumba"


def hits() -> int:
    """Compile or load the function as a process does that has not seen it; how many of its forms were on disk."""
    function = compiled_alone(error_model="numpy")(twice)
    assert function(np.arange(4.0)).tolist() == [0.0, 2.0, 4.0, 6.0]
    return sum(function.stats.cache_hits.values())


@pytest.mark.oldest
def test_what_is_in_the_cache_is_loaded_without_what_compiles(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    printed = [subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True) for _ in range(2)]
    assert [(run.stdout.split(), run.stderr) for run in printed] == [(["0", "True"], ""), (["1", "False"], "")]


@pytest.mark.oldest
def test_a_kernel_is_kept_for_its_owner_alone(kernels: Path) -> None:
    assert [hits(), hits()] == [0, 1]
    assert kernels.stat().st_mode & 0o777 == 0o700
    (file,) = kernels.iterdir()
    assert file.name.startswith("test_numba_parts.twice-")


@pytest.mark.oldest
def test_an_edited_function_is_another_kernel(kernels: Path) -> None:
    assert hits() == 0
    edited = compiled_alone(error_model="numpy")(lambda a: a * 3.0)
    assert edited(np.arange(2.0)).tolist() == [0.0, 3.0]
    assert len(list(kernels.iterdir())) == 2


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(3000))


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def a_folder(file: Path) -> None:
    file.unlink()
    (file / "within").mkdir(parents=True)


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def not_ours(file: Path) -> None:
    file.write_bytes(numba_parts.sealed(b"no pickle"))


@pytest.mark.oldest
@pytest.mark.parametrize("damage", [cut, emptied, garbage, zeros, a_folder, flipped, not_ours])
def test_a_damaged_file_is_compiled_anew(kernels: Path, damage: Callable[[Path], None]) -> None:
    hits()
    (file,) = kernels.iterdir()
    before = file.read_bytes()
    damage(file)
    assert [hits(), hits()] == [0, 1]
    assert len(file.read_bytes()) == pytest.approx(len(before), rel=0.01)


@pytest.mark.slow
def test_any_flipped_bit_is_noticed(kernels: Path) -> None:
    hits()
    (file,) = kernels.iterdir()
    data = file.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(data)), 60):
        file.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        assert [hits(), hits()] == [0, 1]


def others_can_write(kernels: Path) -> str:
    kernels.mkdir(parents=True)
    kernels.chmod(0o770)
    return f"{kernels}: others can write there"


def of_another_user(kernels: Path) -> str:
    kernels.mkdir(parents=True)
    os.chown(kernels, 12345, -1)
    return f"{kernels}: belongs to another user"


def a_file_in_its_place(kernels: Path) -> str:
    kernels.parent.parent.mkdir(exist_ok=True)
    kernels.parent.write_text("taken")
    return f"{kernels}: Not a directory"


def not_to_be_made(kernels: Path) -> str:
    kernels.parent.symlink_to("/proc/nothing")
    return str(kernels)


@pytest.mark.parametrize("spoil", [others_can_write, of_another_user, a_file_in_its_place, not_to_be_made])
def test_where_nothing_can_be_kept_it_is_said_once(kernels: Path, spoil: Callable[[Path], str]) -> None:
    if spoil is of_another_user and (not hasattr(os, "geteuid") or os.geteuid() != 0):
        pytest.skip("only root can give a folder away")
    reason = spoil(kernels)
    with pytest.warns(NbnumbaWarning) as told:
        assert [hits(), hits()] == [0, 0]
    (message,) = {str(warning.message) for warning in told}
    assert len(told) == 1
    assert message.startswith(f"compiled kernels are not kept for the next run ({reason}")
    assert message.endswith("; NUMBA_CACHE_DIR may name another folder")


def test_code_in_a_folder_that_others_can_write_is_not_run(kernels: Path) -> None:
    hits()
    kernels.chmod(0o777)
    with pytest.warns(NbnumbaWarning, match="others can write there"):
        assert hits() == 0


@pytest.mark.oldest
def test_a_full_disk_is_said_and_leaves_nothing(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.warns(NbnumbaWarning, match=r"nbnumba: No space left on device\); NUMBA_CACHE_DIR"):
        assert hits() == 0
    assert list(kernels.iterdir()) == []


def test_with_an_empty_name_of_its_folder_nothing_is_kept_nor_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("NBNUMBA_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", NbnumbaWarning)
        assert [hits(), hits()] == [0, 0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.oldest
def test_where_numba_is_another_it_does_what_it_does_by_itself(kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(numba_parts.CompileResult, "_rebuild")
    assert [hits(), hits()] == [0, 0]
    assert not kernels.exists()


COLD = """
import sys
from nbnumba import experiment_from_options, simulate
print(repr(float(simulate(experiment_from_options(sys.argv[1]), threads=1).pixels.sum())))
"""


@pytest.mark.parametrize("processes", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_cold_starts_at_once(processes: int, kernels: Path) -> None:
    """Of processes that all compile the same, and put it in the same place."""
    options = "-default_F 10 -cell 50 60 70 -lambda 1 -N 3 -detpixels 16 -mosaic 0.5 -mosaic_dom 3 -phisteps 2 -osc 1"
    wanted = float(nbnumba.simulate(nbnumba.experiment_from_options(options)).pixels.sum())
    shutil.rmtree(kernels, ignore_errors=True)
    command = [sys.executable, "-c", COLD, options]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(processes)]
    found = [(*process.communicate(timeout=600), process.returncode) for process in started]
    assert found == [(f"{wanted!r}\n", "", 0)] * processes
    assert {len(path.name.split(".")) for path in kernels.iterdir()} == {4}  # and nothing unfinished


def test_kernels_of_a_clone_serve_a_wheel(kernels: Path, tmp_path: Path) -> None:
    """The same sources, wherever they lie: a run from a copy compiles nothing."""
    for package in ("nbnumba", "plugins/nbnumba_plugins"):
        shutil.copytree(ROOT / package, tmp_path / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    run = "-default_F 1 -cell 50 -lambda 1 -N 3 -detpixels 8 -nopgm -seed 1".split()
    found = []
    for place in (ROOT, tmp_path):
        paths = [str(place), str(place / "plugins")]
        environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join([*paths, *sys.path])}
        command = [sys.executable, "-m", "nbnumba.cli.main", "run", *run]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
        found.append(sorted(path.name for path in kernels.iterdir()))
    assert found[0] == found[1]
    assert len(found[0]) == 3  # the image's kernel, the loop in which threads share it, and its noise's
    assert KERNELS.suffix not in {path.suffix for path in tmp_path.rglob("nbnumba/**/__pycache__/*")}


def imported(tree: ast.AST) -> set[str]:
    """What a file imports of numba's, with the modules that it comes from; attributes that are reached through them included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
    return {name for name in names if name.split(".")[0] in ("numba", "numba_cuda")}


def is_private(name: str) -> bool:
    """Whether numba's documentation does not have it: a module that it does not describe, or a name with an underscore."""
    inner = ("numba.core", "numba.np", "numba.cpython", "numba.parfors", "numba_cuda")
    within_cuda = name.startswith("numba.cuda.") and name.split(".")[2] in ("compiler", "cudadrv", "dispatcher", "serialize", "utils")
    return name.startswith(inner) or within_cuda or any(part.startswith("_") for part in name.split("."))


@pytest.mark.spec("DEV-30")
def test_nothing_else_uses_inner_parts_of_numba() -> None:
    used = {
        f"{file.relative_to(ROOT)}: {name}"
        for folder in ("nbnumba", "plugins")
        for file in (ROOT / folder).rglob("*.py")
        for name in imported(ast.parse(file.read_text()))
        if is_private(name) and not name.endswith("__version__")
    }
    assert {line.partition(":")[0] for line in used} == {"nbnumba/kernel/numba_parts.py"}, sorted(used)
