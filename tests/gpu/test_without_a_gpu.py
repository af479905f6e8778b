"""What can be known about the GPU's kernels on a machine without one: their results, their machine code, and what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import ROOT, TESTS
from gpu.assembly import CAPABILITIES, Facts, arithmetic_of_a_term, compile_and_assemble, facts_of, ptx_of, searching_kernel
from gpu.available import no_gpu

import nbnumba
from nbnumba import gpu_check
from nbnumba.cli.main import main
from nbnumba.devices import open_device
from nbnumba.gpu_check import against, cases
from nbnumba.stages.registry import installed

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'nbnumba[cuda]'")


def cuda_numpy() -> ModuleType:
    from nbnumba.kernel import cuda_numpy

    return cuda_numpy


SMALL = "-default_F 100 -cell 100 -lambda 1 -N 5 -detpixels 8"
NAMES = {kind: [s.name for s, _ in installed() if s.kind == kind] for kind in ("geometry", "lattice_shape", "structure_factor")}
NAMES |= {kind: [s.name for s, _ in installed() if s.kind == kind] for kind in ("polarization", "scaling")}
DTYPES = ("float64", "float32")
KERNELS = [(dict(zip(NAMES, names, strict=True)), dtype) for *names, dtype in product(*NAMES.values(), DTYPES)]


def in_simulator(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.spec("DEV-2", "DEV-3", "DEV-4")
def test_stages_and_images_in_the_simulator_equal_those_of_the_cpu() -> None:
    done = in_simulator("-m", "pytest", "-q", "tests/gpu/test_simulated.py")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def assembled(capabilities: list[tuple[tuple[int, int], ...]]) -> list[dict[tuple[int, int], Facts]]:
    """What every kernel became on some of the GPUs, in the order of KERNELS; PTX is made for all of them."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(compile_and_assemble, *zip(*KERNELS, strict=True), capabilities, chunksize=48))


def assert_nothing_is_spilled(found: list[dict[tuple[int, int], Facts]]) -> None:
    for (names, dtype), by_capability in zip(KERNELS, found, strict=True):
        for capability, facts in by_capability.items():
            about = f"{names}, {dtype}, {capability}: {facts}"
            assert facts.code > 0, about
            assert facts.spilled == 0, about
            # sin and cos of a large angle keep its digits on the stack; only the ray to a sub-pixel takes them.
            assert facts.stack <= (64 if names["geometry"] == "curved" else 0), about


@pytest.mark.spec("DEV-1")
def test_every_kernel_becomes_ptx_and_machine_code_that_spills_nothing() -> None:
    one_each = [(CAPABILITIES[(i + i // 6) % len(CAPABILITIES)],) for i in range(len(KERNELS))]
    met = {(stage, dtype, at) for (names, dtype), (at,) in zip(KERNELS, one_each, strict=True) for stage in names.items()}
    assert len(met) == sum(map(len, NAMES.values())) * len(DTYPES) * len(CAPABILITIES), "every stage is assembled for every GPU"
    assert_nothing_is_spilled(assembled(one_each))


@pytest.mark.spec("DEV-1")
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("find_first_sample", ["geometry"]),
        ("find_latch", ["geometry", "lattice_shape", "structure_factor"]),
        ("count_outside", ["geometry", "structure_factor"]),
    ],
)
def test_kernels_that_search_are_assembled(name: str, kinds: list[str], capability: tuple[int, int]) -> None:
    facts = facts_of(ptx_of(searching_kernel(name, kinds), capability), capability)
    assert facts.code > 0
    assert facts.stack == facts.spilled == 0


@pytest.mark.slow
@pytest.mark.spec("DEV-1")
def test_every_kernel_becomes_machine_code_for_every_gpu() -> None:
    found = assembled([CAPABILITIES] * len(KERNELS))
    assert {len(by_capability) for by_capability in found} == {3}
    assert_nothing_is_spilled(found)


# Float64 operations of a term with --dtype float32: 9 multiply-adds for h, k, l, two additions to round each and one for its offset, and
# the addition to the sum; then what a model reduces or decides before it goes on in float32.
OF_ALL = 9 + 3 * (2 + 1) + 1
REDUCTIONS = {
    ("lattice_shape", "square"): 3 * (1 + 3),  # N x, and its distance from the nearest integer
    ("lattice_shape", "round"): 3 + 3 + 1 + 1 + 3,  # the radius (its root, too), and its distance from the nearest integer and from a half
    ("lattice_shape", "gauss"): 0,
    ("lattice_shape", "tophat"): 12 + 1,  # the squared radius, inside or outside
    ("structure_factor", "constant"): 0,
    ("structure_factor", "nearest"): 0,
    ("structure_factor", "tricubic"): 12 + 3 + 7,  # inside or outside; the three fractions; the row
    ("scaling", "per-term"): 1,
    ("scaling", "running-product"): 2,
}


@pytest.mark.spec("SCA-12", "DEV-1")
@pytest.mark.parametrize(("kind", "name"), REDUCTIONS, ids=lambda v: str(v))
def test_float32_kernels_compute_in_float64_nothing_but_the_reduction_of_indices(kind: str, name: str) -> None:
    plain = {"geometry": "planar", "polarization": "kahn", "scaling": "reference", "lattice_shape": "gauss", "structure_factor": "constant"}
    counts = arithmetic_of_a_term({**plain, kind: name}, "float32")
    in_float64 = sum(n for operation, n in counts.items() if operation.endswith("f64") and not operation.startswith(("cvt", "neg", "abs")))
    assert in_float64 <= OF_ALL + REDUCTIONS[kind, name], counts
    assert not any("div" in operation and operation.endswith("f64") for operation in counts)
    assert sum(n for operation, n in counts.items() if operation.endswith("f32")) > 0


@pytest.mark.spec("DEV-1")
def test_float64_kernels_compute_in_float64_alone() -> None:
    plain = {"geometry": "planar", "polarization": "kahn", "scaling": "reference", "lattice_shape": "square", "structure_factor": "nearest"}
    assert not [operation for operation in arithmetic_of_a_term(plain, "float64") if operation.endswith("f32")]


class One(NamedTuple):
    one: float


BINARY = ("arctan2", "copysign", "hypot", "power", "fmod")


@pytest.mark.spec("DEV-1")
@pytest.mark.parametrize("name", [name for name, value in vars(cuda_numpy()).items() if callable(value) and name[0].islower()])
def test_functions_of_numpy_compile_for_the_gpu(name: str) -> None:
    from nbnumba.kernel.cuda import why_not_compiled

    namespace: dict[str, Any] = {"np": np}
    exec(f"def shape(p, x, y, z):\n    return p.one * np.{name}({'x, y' if name in BINARY else 'x'})", namespace)
    assert hasattr(np, name)
    assert why_not_compiled(namespace["shape"], One(1.0)) == ""


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that ends with exit code 2."""
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.spec("DEV-1", "CLI-3")
def test_without_the_package_one_line_says_how_to_get_it(
    in_tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbnumba.devices.find_spec", lambda name: None)
    line = refused(["run", *SMALL.split(), "--device", "cuda"], capsys)
    assert line == "nbnumba: error: device cuda: needs the package numba-cuda; install it with: pip install 'nbnumba[cuda]'"
    assert not list(in_tmp_path.iterdir())


@pytest.mark.spec("DEV-1", "CLI-3")
@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(["run", *SMALL.split(), "--device", "cuda"], capsys)
    assert line.startswith("nbnumba: error: device cuda: no NVIDIA GPU that can be used (")
    assert line.endswith("); take --device cpu")
    assert not list(in_tmp_path.iterdir())
    line = refused(["warm", "--device", "cuda", "--plugin", "lattice_shape=gauss"], capsys)
    assert "no NVIDIA GPU" in line
    with pytest.raises(nbnumba.NotAvailableError, match="device cuda: no NVIDIA GPU"):
        nbnumba.Simulator(device="cuda").render(nbnumba.experiment_from_options(SMALL))


@pytest.mark.spec("DEV-1")
def test_a_device_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(nbnumba.ParameterError, match="device: 'gpu' is not one of cpu, cuda, auto"):
        nbnumba.simulate(nbnumba.experiment_from_options(SMALL), device="gpu")
    assert "'gpu' is not one of 'cpu', 'cuda', 'auto'" in refused(["run", *SMALL.split(), "--device", "gpu"], capsys)


@pytest.mark.spec("DEV-5")
def test_auto_takes_the_cpu_for_small_images_without_a_look_at_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked() -> str:
        pytest.fail("looked for a GPU")

    monkeypatch.setattr("nbnumba.devices.gpu_problem", looked)
    image = nbnumba.simulate(nbnumba.experiment_from_options(SMALL), device="auto")
    assert image.provenance["device"] == "cpu"


@pytest.mark.spec("DEV-5")
@pytest.mark.parametrize(("rate", "problem", "device"), [(1e11, "", "cuda"), (1e8, "", "cpu"), (1e11, "no GPU", "cpu")])
def test_auto_takes_the_gpu_where_it_is_sooner_done(rate: float, problem: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.devices.gpu_problem", lambda: problem)
    monkeypatch.setattr("nbnumba.kernel.cuda.expected_rate", lambda dtype: rate)
    assert open_device("auto", 1e10, threads=1).name == device
    assert open_device("auto", 1e8, threads=1).name == "cpu"


@pytest.mark.spec("DEV-1", "CLI-3")
def test_too_little_memory_is_one_line() -> None:
    from nbnumba.kernel.cuda import enough_memory

    told = "the GPU has not enough memory for image and tables; render a smaller -roi"
    with pytest.raises(nbnumba.NotAvailableError, match=told), enough_memory():
        raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
    with pytest.raises(RuntimeError, match="other"), enough_memory():
        raise RuntimeError("other")


@pytest.mark.spec("DEV-6")
def test_the_check_runs_in_the_simulator(tmp_path: Path) -> None:
    file = tmp_path / "check.json"
    options = ["--case", "region", "--case", "interpolated", "--pixels", "8", "--no-benchmark", "--json", str(file)]
    done = in_simulator("-m", "nbnumba.gpu_check", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["card"]["name"] == "numba's simulator"
    assert len(found["parity"]) == 8
    assert {row["check"] for row in found["memory"]} == {"pixels that were not written", "pixels written outside the region"}
    assert found["failed"] == 0


@pytest.mark.spec("DEV-6")
def test_a_check_that_fails_ends_with_exit_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"case": "a", "mode": "spec", "dtype": "float64", "difference": 1e-3, "passed": False}
    monkeypatch.setattr(gpu_check, "gpu_problem", str)
    monkeypatch.setattr(gpu_check, "card", lambda: {"name": "a card", "capability": "9.0", "multiprocessors": 1, "date": "today"})
    monkeypatch.setattr(gpu_check, "cases", lambda *_: iter([("a", [], None)]))
    monkeypatch.setattr(gpu_check, "compare", lambda *_: iter([row]))
    monkeypatch.setattr(gpu_check, "memory_checks", lambda: iter([]))
    assert main(["--no-benchmark"], command=gpu_check.command) == 1
    out = capsys.readouterr().out
    assert "1.0e-03  FAILED" in out
    assert "1 comparisons, 0 memory checks, 1 failed" in out


@pytest.mark.spec("DEV-6")
def test_the_check_knows_reference_images(tmp_path: Path) -> None:
    found = {name: (words, stored) for name, words, stored in cases(TESTS / "golden", tmp_path)}
    words, stored = found["roi"]
    assert "-roi" in words
    with np.load(stored) as arrays:
        image = arrays["spec_image"]
    assert against(stored, "spec", image, tophat=False) == {"pixels_outside_gate": 0, "passed": True}
    image[3, 4] += 1e-5 * image.max()
    assert against(stored, "spec", image, tophat=False) == {"pixels_outside_gate": 1, "passed": False}
    with pytest.raises(nbnumba.InputFileError, match=r"cases\.json: is not there; --golden names a folder"):
        next(cases(tmp_path, tmp_path))


@pytest.mark.spec("DEV-6")
@pytest.mark.skipif(not no_gpu(), reason="there is a GPU")
def test_the_check_says_in_one_line_that_there_is_no_gpu() -> None:
    done = subprocess.run([sys.executable, "-m", "nbnumba.gpu_check"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("nbnumba: error: device cuda: no NVIDIA GPU")
    assert len(done.stderr.splitlines()) == 1
