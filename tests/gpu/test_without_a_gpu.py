"""What can be known about the GPU's kernels on a machine without one: their results, their machine code, and what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import ROOT
from gpu.assembly import CAPABILITIES, arithmetic_in_float, compile_and_assemble, facts_of, ptx_of, searching_kernel
from own_golden import STORED

import nbnumba
from nbnumba import gpu_check
from nbnumba.cli.main import main
from nbnumba.files import caches
from nbnumba.gpu_check import cases, outside_gate
from nbnumba.simulation.devices import gpu_problem, open_device
from nbnumba.stages.registry import installed

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'nbnumba[cuda]'")


def cuda_numpy() -> ModuleType:
    from nbnumba.kernel.gpu import numpy_functions as cuda_numpy

    return cuda_numpy


SMALL = "-default_F 100 -cell 100 -lambda 1 -N 5 -detpixels 8"
NAMES = {kind: [s.name for s, _ in installed() if s.kind == kind] for kind in ("geometry", "lattice_shape", "structure_factor")}
NAMES |= {kind: [s.name for s, _ in installed() if s.kind == kind] for kind in ("polarization", "scaling")}
DTYPES = ("float64", "float32")
EVERYWHERE = [(dict(zip(NAMES, names, strict=True)), *rest) for *names, rest in product(*NAMES.values(), product(DTYPES, CAPABILITIES))]


def in_simulator(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    environment.pop("NBNUMBA_GOLDEN", None)  # the check has cases of its own without it
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.spec("DEV-2", "DEV-3", "DEV-4")
def test_stages_and_images_in_the_simulator_equal_those_of_the_cpu() -> None:
    done = in_simulator("-m", "pytest", "-q", "tests/gpu/test_simulated.py")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


Assembled = tuple[dict[str, str], str, tuple[int, int]]  # stages, precision, and the GPU that it is for


def assert_nothing_is_spilled(kernels: Iterable[Assembled]) -> None:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = pool.map(compile_and_assemble, *zip(*kernels, strict=True), chunksize=8)
        for kernel, facts in zip(kernels, found, strict=True):
            about = f"{kernel}: {facts}"
            assert facts.code > 0, about
            assert facts.spilled == 0, about
            # sin and cos of a large angle keep its digits on the stack; only the ray to a sub-pixel takes them.
            assert facts.stack <= (64 if kernel[0]["geometry"] == "curved" else 0), about


def meetings(kernel: Assembled) -> set[tuple[Any, ...]]:
    """What meets in a kernel: its stages, a precision and a GPU, a structure factor and a precision."""
    names, dtype, capability = kernel
    return {(dtype, capability), (names["structure_factor"], dtype), *names.items()}


def covering(kernels: list[Assembled]) -> list[Assembled]:
    """A few of them, in which everything meets that meets in all: the next one is always that in which most meets for the first time."""
    met = [(meetings(kernel), kernel) for kernel in kernels]
    missing, chosen = set().union(*(new for new, _ in met)), []
    while missing:
        new, kernel = max(met, key=lambda one: len(one[0] & missing))
        missing -= new
        chosen.append(kernel)
    return chosen


@pytest.mark.spec("DEV-1")
def test_kernels_become_ptx_and_machine_code_that_spills_nothing() -> None:
    """Every stage, every structure factor in both precisions, and these for every GPU; all of them in the slow sweep."""
    chosen = covering(EVERYWHERE)
    assert set().union(*map(meetings, chosen)) == set().union(*map(meetings, EVERYWHERE))
    assert len(chosen) < len(EVERYWHERE) / 20
    assert_nothing_is_spilled(chosen)


@pytest.mark.spec("DEV-1")
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", ["find_first_sample", "find_latch", "count_outside"])
def test_kernels_that_search_are_assembled(name: str, capability: tuple[int, int]) -> None:
    facts = facts_of(ptx_of(searching_kernel(name), capability), capability)
    assert facts.code > 0
    assert facts.stack == facts.spilled == 0


@pytest.mark.slow
@pytest.mark.spec("DEV-1")
def test_every_kernel_becomes_machine_code_for_every_gpu() -> None:
    assert_nothing_is_spilled(EVERYWHERE)


# Float64 operations of a term with --dtype float32: 9 multiply-adds for h, k, l, two additions to round each and one for its offset, and
# the addition to the sum; then what a model reduces or decides before it goes on in float32.
OF_ALL = 9 + 3 * (2 + 1) + 1
REDUCTIONS = {
    ("lattice_shape", "square"): 3 * (1 + 3),  # N x, and its distance from the nearest integer
    ("lattice_shape", "round"): 3 + 3 + 1 + 1 + 3,  # the radius (its root, too), and its distance from the nearest integer and from a half
    ("lattice_shape", "gauss"): 0,
    ("lattice_shape", "gauss-sizes"): 0,
    ("lattice_shape", "tophat"): 12 + 1,  # the squared radius, inside or outside
    ("structure_factor", "constant"): 0,
    ("structure_factor", "nearest"): 0,
    ("structure_factor", "nearest-by-energy"): 2 + 2 + 1,  # the channel of a wavelength, within limits, and to the nearest
    ("structure_factor", "tricubic"): 12 + 3 + 7,  # inside or outside; the three fractions; the row
    ("scaling", "per-term"): 1,
    ("scaling", "running-product"): 2,
}


# Each of them is in one kernel, beside others that reduce nothing that it does, too.
REDUCING = [
    {"lattice_shape": "square", "structure_factor": "nearest", "scaling": "reference"},
    {"lattice_shape": "round", "structure_factor": "constant", "scaling": "per-term"},
    {"lattice_shape": "gauss", "structure_factor": "tricubic", "scaling": "reference"},
    {"lattice_shape": "gauss-sizes", "structure_factor": "nearest", "scaling": "reference"},
    {"lattice_shape": "gauss", "structure_factor": "nearest-by-energy", "scaling": "reference"},
    {"lattice_shape": "tophat", "structure_factor": "constant", "scaling": "running-product"},
]


@pytest.mark.spec("SCA-12", "DEV-1")
@pytest.mark.parametrize("names", REDUCING, ids=lambda names: "-".join(names.values()))
def test_float32_kernels_compute_in_float64_nothing_but_the_reduction_of_indices(names: dict[str, str]) -> None:
    counts = arithmetic_in_float({"geometry": "planar", "polarization": "kahn", **names}, "float32")
    in_float64 = sum(n for operation, n in counts.items() if operation.endswith("f64") and not operation.startswith(("cvt", "neg", "abs")))
    assert in_float64 <= OF_ALL + sum(REDUCTIONS.get(stage, 0) for stage in names.items()), counts
    assert not any("div" in operation and operation.endswith("f64") for operation in counts)
    assert sum(n for operation, n in counts.items() if operation.endswith("f32")) > 0


def test_every_reduction_is_in_a_kernel() -> None:
    assert {stage for names in REDUCING for stage in names.items()} == REDUCTIONS.keys() | {("scaling", "reference")}


@pytest.mark.spec("DEV-1")
def test_float64_kernels_compute_in_float64_alone() -> None:
    plain = {"geometry": "planar", "polarization": "kahn", "scaling": "reference", "lattice_shape": "square", "structure_factor": "nearest"}
    assert not [operation for operation in arithmetic_in_float(plain, "float64") if operation.endswith("f32")]


class One(NamedTuple):
    one: float


BINARY = ("arctan2", "copysign", "hypot", "power", "fmod")


@pytest.mark.spec("DEV-1")
@pytest.mark.parametrize("name", [name for name, value in vars(cuda_numpy()).items() if callable(value) and name[0].islower()])
def test_functions_of_numpy_compile_for_the_gpu(name: str) -> None:
    from nbnumba.kernel.gpu.device import why_not_compiled

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
    monkeypatch.setattr("nbnumba.simulation.devices.find_spec", lambda name: None)
    line = refused(["run", *SMALL.split(), "--device", "cuda"], capsys)
    assert line == "nbnumba: error: device cuda: needs the package numba-cuda; install it with: pip install 'nbnumba[cuda]'"
    assert not list(in_tmp_path.iterdir())


@pytest.mark.spec("DEV-1", "CLI-3")
@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU")
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

    monkeypatch.setattr("nbnumba.simulation.devices.gpu_problem", looked)
    image = nbnumba.simulate(nbnumba.experiment_from_options(SMALL), device="auto")
    assert image.provenance["device"] == "cpu"


@pytest.mark.spec("DEV-5")
@pytest.mark.parametrize(("rate", "problem", "device"), [(1e11, "", "cuda"), (1e8, "", "cpu"), (1e11, "no GPU", "cpu")])
def test_auto_takes_the_gpu_where_it_is_sooner_done(rate: float, problem: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.simulation.devices.gpu_problem", lambda: problem)
    monkeypatch.setattr("nbnumba.kernel.gpu.device.expected_rate", lambda dtype: rate)
    assert open_device("auto", 1e10, threads=1).name == device
    assert open_device("auto", 1e8, threads=1).name == "cpu"


@pytest.mark.spec("DEV-1", "CLI-3")
def test_what_the_driver_refuses_is_one_line() -> None:
    from nbnumba.kernel.gpu.device import one_line_of_the_driver

    class Refused(Exception):
        __module__ = "numba.cuda.cudadrv.driver"

    told = "the GPU has not enough memory for image and tables; render a smaller detector"
    with pytest.raises(nbnumba.NotAvailableError, match=told), one_line_of_the_driver():
        raise Refused("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
    told = "device cuda: Call to cuCtxSynchronize results in CUDA_ERROR_LAUNCH_TIMEOUT; take --device cpu"
    with pytest.raises(nbnumba.NotAvailableError, match=told), one_line_of_the_driver():
        raise Refused("Call to cuCtxSynchronize\nresults in CUDA_ERROR_LAUNCH_TIMEOUT")
    with pytest.raises(RuntimeError, match="other"), one_line_of_the_driver():
        raise RuntimeError("other")


@pytest.mark.spec("DEV-1", "CLI-3")
def test_what_else_a_gpu_may_lack_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import cuda

    monkeypatch.setattr("nbnumba.simulation.devices.driver_problem", str)
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert gpu_problem() == "numba-cuda does not find NVIDIA's compiler (libNVVM); install it with: pip install 'nbnumba[cuda]'"
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_current_device", lambda: SimpleNamespace(compute_capability=(7, 0)))
    assert gpu_problem() == "the GPU has compute capability 7.0, needed is 7.5 or more; take --device cpu"
    monkeypatch.setattr(cuda, "get_current_device", lambda: SimpleNamespace(compute_capability=(7, 5)))
    assert gpu_problem() == ""


@pytest.mark.spec("DEV-3")
def test_a_launch_takes_about_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    from nbnumba.kernel.gpu import device as kernel_cuda

    card = SimpleNamespace(compute_capability=(9, 0), MULTIPROCESSOR_COUNT=100, CLOCK_RATE=1_800_000)
    monkeypatch.setattr(kernel_cuda.cuda, "get_current_device", lambda: card)
    assert kernel_cuda.expected_rate("float64") == pytest.approx(100 * 64 * 1.8e9 / 90)
    assert kernel_cuda.pixels_at_once("float64", 1000) == 128_000_000
    assert kernel_cuda.pixels_at_once("float64", 10**9) == 204_800  # a thread everywhere, however long that takes
    found = list(kernel_cuda.parts(500_000, "float64", 10**9))
    assert [(part.begin, part.end) for part in found] == [(0, 204_800), (204_800, 409_600), (409_600, 500_000)]
    assert not list(kernel_cuda.parts(0, "float64", 1))


@pytest.mark.spec("DEV-2")
def test_what_stands_in_on_the_gpu_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """By NumPy in the place of the GPU's library."""
    from nbnumba.kernel import lookup, math
    from nbnumba.kernel import math_float32 as single
    from nbnumba.kernel.gpu import math as cuda_math

    library = SimpleNamespace(
        longlong_as_double=lambda i: np.int64(i).view(np.float64),
        int_as_float=lambda i: np.int32(i).view(np.float32),
        double2int_rn=lambda x: np.int32(np.clip(np.rint(x), -(2**31), 2**31 - 1)),
        fast_fdividef=lambda a, b: np.float32(a) / np.float32(b),
    )
    monkeypatch.setattr(cuda_math, "libdevice", library)
    for k in (-1022, -1, 0, 1, 1023):
        assert cuda_math.power_of_two(k) == math.power_of_two(float(k)) == 2.0**k
    for k in (-126, 0, 5, 127):
        assert cuda_math.power_of_two_single(k) == single.power_of_two(float(k)) == 2.0**k
    for x in [0.0, -0.5, 0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 1e6 + 0.25, *np.random.default_rng(0).normal(size=200) * 1e4]:
        assert cuda_math.nearest_by_shift(x) == single.nearest(x)
        assert cuda_math.distance_by_shift(x) == math.distance_to_nearest(x)
        assert cuda_math.rint_single(np.float32(x)) == np.rint(np.float32(x))
    assert cuda_math.ratio_single(3.0, 4.0) == 0.75
    p = SimpleNamespace(h_low=-3.0, h_high=4.0, k_low=-2.0, k_high=2.0, l_low=0.0, l_high=9.0, h_stride=50.0, k_stride=10.0, origin=170.0)
    for h, k, l in [(0.0, 0.0, 0.0), (-3.0, -2.0, 0.0), (4.0, 2.0, 9.0), (1e300, -1e300, 5.0), (-np.inf, np.inf, 3.0), (1.0, -1.0, 7.0)]:
        assert cuda_math.row_of(p, h, k, l) == lookup.row_of(p, h, k, l)


@pytest.mark.spec("DEV-6")
def test_the_check_runs_in_the_simulator(tmp_path: Path) -> None:
    file = tmp_path / "check.json"
    options = ["--case", "region", "--pixels", "8", "--no-benchmark", "--json", str(file)]
    done = in_simulator("-m", "nbnumba.gpu_check", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["card"]["name"] == "numba's simulator"
    assert len(found["parity"]) == 4
    assert len(found["memory"]) == 4
    assert found["failed"] == 0


@pytest.mark.spec("DEV-6")
def test_a_check_that_fails_ends_with_exit_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"case": "a", "passed": False, "line": "parity  a  1.0e-03"}

    def compare(*_: object) -> Iterator[dict[str, object]]:
        yield dict(row)
        raise RuntimeError("and then\nthis")

    monkeypatch.setattr(gpu_check, "gpu_problem", str)
    monkeypatch.setattr(gpu_check, "card", lambda: {"name": "a card", "capability": "9.0", "multiprocessors": 1, "date": "today"})
    monkeypatch.setattr(gpu_check, "cases", lambda *_: iter([("a", [], None)]))
    monkeypatch.setattr(gpu_check, "compare", compare)
    monkeypatch.setattr(gpu_check, "memory_checks", lambda: iter([]))
    assert main(["--no-benchmark"], command=gpu_check.command) == 1
    out = capsys.readouterr().out
    assert "1.0e-03  FAILED" in out
    assert "a: RuntimeError: and then this  FAILED" in out
    assert "2 comparisons, 0 memory checks, 2 failed" in out
    assert main(["--no-benchmark", "--case", "b"], command=gpu_check.command) == 2
    assert "--case b: there is no such case" in capsys.readouterr().err


@pytest.mark.spec("DEV-6")
def test_the_check_knows_reference_images(tmp_path: Path) -> None:
    found = {name: (words, stored) for name, words, stored in cases(STORED, tmp_path)}
    words, stored = found["roi"]
    assert "-roi" in words
    with np.load(stored) as arrays:
        image = arrays["spec_image"]
    assert outside_gate(stored, "spec", image, "float64") == 0
    image[3, 4] += 2e-6 * image.max()
    assert outside_gate(stored, "spec", image, "float64") == 1
    assert outside_gate(stored, "spec", image, "float32") == 0
    with pytest.raises(nbnumba.InputFileError, match=r"cases\.json: is not there; --golden names a folder"):
        next(cases(tmp_path, tmp_path))


@pytest.mark.spec("DEV-6")
@pytest.mark.skipif(not gpu_problem(), reason="there is a GPU")
def test_the_check_says_in_one_line_that_there_is_gpu_problem() -> None:
    done = subprocess.run([sys.executable, "-m", "nbnumba.gpu_check"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("nbnumba: error: device cuda: no NVIDIA GPU")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.spec("DEV-21")
def test_a_process_forked_from_one_that_has_used_the_gpu_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from nbnumba.kernel.gpu import device as gpu

    monkeypatch.setattr(gpu, "_users", {1})
    told = "was forked from one that has used the GPU; start it with multiprocessing's method 'spawn' or 'forkserver'"
    assert told in gpu_problem()
    with pytest.raises(nbnumba.NotAvailableError, match="start it with multiprocessing's method 'spawn'"):
        gpu.Cuda().zeros((2, 2))


@pytest.mark.spec("DEV-20")
def test_kernels_of_the_gpu_are_kept_where_those_of_the_cpu_are() -> None:
    from numba import cuda

    from nbnumba.kernel.numba_parts import OnDisk, kept_on_disk_for_the_gpu

    dispatcher = kept_on_disk_for_the_gpu(cuda.jit(cuda_numpy, lto=False))
    assert isinstance(dispatcher._cache, OnDisk)
    assert dispatcher.stats.cache_path == str(caches.KERNELS.folder)
