"""The GPU's adjoint kernel: run in Python by numba's simulator, against the CPU's; compiled and assembled for a GPU that is not there.

The former in a process of its own, as test_simulated.py, or by

    NUMBA_ENABLE_CUDASIM=1 pytest tests/gpu/test_adjoint.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from gpu.assembly import CAPABILITIES, facts_of, library, physics_and_arguments, ptx_of

import nbnumba
from nbnumba.errors import StageError
from nbnumba.gradients.derivatives import with_derivatives
from nbnumba.gradients.losses import half_square, least_squares, negative_log_probability
from nbnumba.kernel.cpu.adjoint import Sums
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.kernel.cpu.render import KernelInputs
from nbnumba.kernel.device import Area, Physics
from nbnumba.kernel.gpu import adjoint as adjoint_cuda
from nbnumba.kernel.gpu import device as kernel_cuda
from nbnumba.kernel.gpu.device import Cuda
from nbnumba.kernel.loss import PixelLoss, linear
from nbnumba.simulation.scene import choose_stages, prepared_scene
from nbnumba.stages.registry import installed
from nbnumba.stages.stage import Stage

numba = pytest.importorskip("numba")
pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'nbnumba[cuda]'")

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
simulated = pytest.mark.skipif(not SIMULATED, reason="runs in numba's CUDA simulator: NUMBA_ENABLE_CUDASIM=1")
compiled = pytest.mark.skipif(SIMULATED, reason="the simulator compiles nothing")

# Of the largest of each kind of derivative.
BOUND = 1e-9
BASE = (
    "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 4 -detpixels_f 5 -detpixels_s 4 "
    "-oversample 1 -Xbeam 9 -Ybeam 7 -fluence 1e24 -polar 0.5 "
)
DIFFERENTIABLE = {f"{stage.kind}-{stage.name}": stage for stage, _ in installed() if stage.derivative is not None}
KINDS = ("geometry", "lattice_shape", "structure_factor", "polarization", "scaling")
# Every stage that the GPU differentiates is in one of them, every loss with one.
SQUARE = ("planar", "square", "nearest", "kahn", "reference")
ROUND = ("curved", "round", "tricubic", "kahn", "per-term")
GAUSS = ("planar-depth", "gauss", "tricubic-latch", "none", "reference")
TOPHAT = ("curved", "tophat", "constant", "kahn", "per-term")
SIZES = ("planar", "gauss-sizes", "nearest-by-energy", "none", "per-term")
COMBINATIONS = {SQUARE: half_square, ROUND: negative_log_probability, GAUSS: linear, TOPHAT: half_square, SIZES: linear}
SENSOR = "-detector_thick 450 -detector_abs 300 -thicksteps 2 -oversample 2"
CUT = "-dmin 9.5 -oversample 2 -dispersion 3 -dispsteps 2"
CASES = {
    "domains and phi steps": "-mosaic 1 -mosaic_dom 2 -phi 3 -osc 2 -phisteps 2",
    "more orientations than a tile": "-mosaic 1 -mosaic_dom 65 -phi 3 -osc 2 -phisteps 2 -detpixels_f 2 -detpixels_s 1",
    "sources": "-dispersion 3 -dispsteps 2 -mosaic 1 -mosaic_dom 2",
    "sensor": SENSOR,
    "resolution limit": CUT,
    "region": "-roi 1 3 1 2",
    "nothing": "-dmin 100",
}
CARRIED = "-phi 0 -osc 2 -phisteps 2 -mosaic 1 -mosaic_dom 2"


def experiment_of(options: str, preset: str = "reference") -> nbnumba.Experiment:
    experiment = nbnumba.experiment_from_options(BASE + options)
    return replace(experiment, model=replace(experiment.model, preset=preset))


def with_table(experiment: nbnumba.Experiment, reach: int = 9, interpolate: bool = False) -> nbnumba.Experiment:
    hkl = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    F = np.random.default_rng(0).random(len(hkl)) * 100.0
    return replace(experiment, structure_factors=nbnumba.StructureFactors(hkl=hkl, F=F, default_F=3.0, interpolate=interpolate))


def with_mask(experiment: nbnumba.Experiment, mask: Any) -> nbnumba.Experiment:
    return replace(experiment, sampling=replace(experiment.sampling, mask=mask))


def arguments_of(experiment: nbnumba.Experiment, names: tuple[str, ...] = ()) -> tuple[Physics, KernelInputs, Area]:
    """What devices are given, with the stages of these names in the place of the experiment's."""
    chosen = choose_stages(experiment, installed())
    for kind, name in zip(KINDS, names, strict=False):
        chosen = chosen.with_stage(installed().get(kind, name))
    scene = prepared_scene(experiment, chosen)
    return with_derivatives(scene.physics, chosen), scene.on(Cpu()), scene.area


def random_loss(area: Area, function: Any = half_square) -> PixelLoss:
    """Masked pixels have no weight."""
    random = np.random.default_rng(3)
    observed, weights = 1e5 * random.random(area.shape), random.random(area.shape)
    return PixelLoss(function, observed, weights if area.mask is None else np.where(area.mask, weights, 0.0))


def assert_same(found: Sums, expected: Sums) -> None:
    for name, a, b in zip(Sums._fields, found, expected, strict=True):
        assert a.shape == b.shape, name
        assert np.abs(a - b).max(initial=0.0) <= BOUND * np.abs(b).max(initial=0.0), name


def sums_of(arguments: tuple[Physics, KernelInputs, Area], function: Any = half_square) -> Sums:
    """The GPU's, which equal the CPU's."""
    loss = random_loss(arguments[2], function)
    found = Cuda().adjoint(*arguments, loss)
    assert_same(found, Cpu().adjoint(*arguments, loss))
    return found


@compiled
@pytest.mark.spec("GRA-2", "DEV-2")
def test_sums_in_the_simulator_equal_those_of_the_cpu() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "tests/gpu/test_adjoint.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@simulated
@pytest.mark.spec("GRA-2", "DEV-2")
@pytest.mark.parametrize(
    "options",
    # The next test has sources and a sensor.
    [pytest.param(options, id=name, marks=pytest.mark.slow if name in ("sources", "sensor") else ()) for name, options in CASES.items()],
)
def test_every_way_to_sum(options: str) -> None:
    found = sums_of(arguments_of(experiment_of(options)))
    assert found.loss[0] > 0.0
    assert np.any(found.orientations) == (options != CASES["nothing"])


@simulated
@pytest.mark.spec("GRA-2", "DEV-2", "GEO-20", "SCA-20")
def test_layers_and_water_of_physics() -> None:
    found = sums_of(arguments_of(experiment_of(f"{SENSOR} -water 0.1 -dmin 9.5 -dispersion 3 -dispsteps 2", preset="physics")))
    assert np.all(found.geometry)
    assert np.all(found.scaling)


@simulated
@pytest.mark.spec("GRA-2", "DEV-2")
@pytest.mark.parametrize(
    ("names", "function"),
    # Each of the others takes kernels of its own.
    [pytest.param(*item, id="-".join(item[0]), marks=() if item[0] == SQUARE else pytest.mark.slow) for item in COMBINATIONS.items()],
)
def test_every_stage_and_loss(names: tuple[str, ...], function: Any) -> None:
    per_term = "-oversample_thick -oversample_omega -oversample_polar" if "per-term" in names else ""
    options = f"{SENSOR} {per_term} -mosaic 1 -mosaic_dom 2 -water 0.01 -fudge 0.05 -detpixels_f 4 -detpixels_s 3"
    found = sums_of(arguments_of(with_table(experiment_of(options)), names), function)
    assert np.any(found.orientations) == ("tophat" not in names)  # it has the same height everywhere
    for part in (found.loss, found.geometry, found.lattice_shape, found.scaling):
        assert np.any(part)


@simulated
@pytest.mark.spec("GRA-2", "DEV-2")
@pytest.mark.parametrize(("cut", "masked", "first"), [("", 0, (0, 0)), ("", 7, (7, 0)), (CUT, 0, (1, 4)), (CUT, 4, (5, 2))])
def test_the_carried_orientation(cut: str, masked: int, first: tuple[int, int]) -> None:
    """The first sample has orientations of its own, whatever is cut or masked before it."""
    experiment = experiment_of(f"{CARRIED} {cut}", "c-parity")
    if masked:
        experiment = with_mask(experiment, np.arange(20).reshape(4, 5) >= masked)
    _, inputs, _ = arguments = arguments_of(experiment)
    assert (inputs.scan_order.first_pixel, inputs.scan_order.first_sample) == first
    assert np.any(sums_of(arguments).orientations[1])


@simulated
@pytest.mark.slow  # it takes kernels of its own
@pytest.mark.spec("GRA-2", "DEV-2")
def test_the_latch_of_interpolation() -> None:
    _, inputs, _ = arguments = arguments_of(with_table(experiment_of(CARRIED, "c-parity"), reach=4, interpolate=True), GAUSS)
    assert 0 <= inputs.scan_order.latch_pixel < 20
    assert np.any(sums_of(arguments, linear).orientations)


@simulated
@pytest.mark.spec("GRA-2", "DEV-2")
def test_a_mask_and_a_region() -> None:
    mask = np.random.default_rng(2).random((4, 5)) < 0.4
    assert np.any(sums_of(arguments_of(with_mask(experiment_of("-roi 1 4 1 3"), mask))).orientations)


@simulated
@pytest.mark.slow
@pytest.mark.spec("GRA-2", "DEV-3")
def test_several_launches_have_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pixel that has a block for itself is added once."""
    arguments = arguments_of(experiment_of(f"{CARRIED} -detpixels_f 23 -detpixels_s 13", "c-parity"))
    launches, launch = [], kernel_cuda.launch
    monkeypatch.setattr(kernel_cuda, "launch", lambda kernel, grid, *rest: launches.append(grid) or launch(kernel, grid, *rest))
    sums_of(arguments)
    monkeypatch.setattr(kernel_cuda, "pixels_at_once", lambda dtype, terms: 128)
    sums_of(arguments)
    assert launches == [4, 2, 1, 1]


@simulated
@pytest.mark.spec("GRA-2", "DEV-4")
def test_what_is_kept_does_not_show() -> None:
    """Observations that were written to are sent once more, and sums begin with 0."""
    arguments, device = arguments_of(experiment_of(CARRIED)), Cuda()
    loss = random_loss(arguments[2])
    first = device.adjoint(*arguments, loss)
    loss.observed[:] += 1.0
    second = device.adjoint(*arguments, loss)
    assert second.loss != first.loss
    assert_same(second, Cpu().adjoint(*arguments, loss))


@simulated
@pytest.mark.spec("GRA-10")
def test_a_gradient_on_the_gpu() -> None:
    """With a loss of the image, and with one that is part of the kernel."""
    experiment, names = experiment_of(CASES["sources"]), ["cell_a", "misset_x", "distance", "wavelength", "scale"]
    squares = least_squares(1e5)
    for loss in (squares, lambda photons: squares(photons)):
        expected, slopes = nbnumba.value_and_grad(experiment, names, loss)
        value, gradient = nbnumba.value_and_grad(experiment, names, loss, device="cuda")
        assert value == pytest.approx(expected, rel=1e-9)
        assert gradient == pytest.approx(slopes, rel=1e-8)


@pytest.mark.spec("GRA-10")
def test_what_is_left_to_the_cpu_is_refused() -> None:
    physics, inputs, area = arguments_of(with_table(experiment_of("")))
    told = "device cuda: there is no gradient on the GPU by single structure factors; take --device cpu"
    with pytest.raises(StageError, match=told):
        Cuda().adjoint(physics, inputs, area, random_loss(area), with_table=True)
    arguments = arguments_of(experiment_of(""), (*SQUARE[:-1], "running-product"))
    told = "device cuda: there is no gradient on the GPU of a scaling that multiplies its running sum; take --device cpu"
    with pytest.raises(StageError, match=told):
        Cuda().adjoint(*arguments, random_loss(area))


@compiled
@pytest.mark.spec("DEV-1")
@pytest.mark.parametrize("stage", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_every_derivative_compiles_for_the_gpu(stage: Stage) -> None:
    assert kernel_cuda.why_not_compiled(stage.derivative, stage.worked_values[0].parameters) == ""


@compiled
@pytest.mark.spec("DEV-1")
@pytest.mark.parametrize(
    ("names", "capability"),
    [
        pytest.param(names, at, marks=() if names == SQUARE else pytest.mark.slow)
        for names, at in zip(COMBINATIONS, cycle(CAPABILITIES), strict=False)
    ],
)
def test_the_kernel_becomes_machine_code(names: tuple[str, ...], capability: tuple[int, int]) -> None:
    """It adds to sums in shared memory, and in the GPU's own, by instructions for that."""
    named = dict(zip(KINDS, names, strict=True))
    physics, arguments = physics_and_arguments(named, "float64")
    physics = with_derivatives(physics, installed().choose({"rotation": "spec", **named}, {}))
    physics = replace(physics, bind={"loss": negative_log_probability})
    kernel = library(kernel_cuda.linked(adjoint_cuda.adjoint, physics), (*arguments, *[np.zeros((1, 1))] * 5))
    ptx = ptx_of(kernel, capability)
    assert "atom.shared.add.f64" in ptx
    assert "atom.global.add.f64" in ptx
    assert facts_of(ptx, capability).code > 0


@compiled
def test_every_stage_is_in_a_combination() -> None:
    combined = {f"{kind}-{name}" for names in COMBINATIONS for kind, name in zip(KINDS, names, strict=True)}
    assert combined == {name for name, stage in DIFFERENTIABLE.items() if stage.kind in KINDS} - {"scaling-running-product"}
