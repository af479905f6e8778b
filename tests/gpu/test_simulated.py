"""The GPU's kernels, run in Python by numba's simulator, against the CPU's: every stage, every way to sum, both precisions.

Numba reads NUMBA_ENABLE_CUDASIM when it is imported: the tests run in a process of their own (test_without_a_gpu.py), or by

    NUMBA_ENABLE_CUDASIM=1 pytest tests/gpu/test_simulated.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from itertools import cycle, product
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from own_golden import STORED, own_golden

import nbnumba
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.simulation.scene import choose_stages, prepared_scene
from nbnumba.simulation.simulator import Simulator
from nbnumba.stages.chosen import Stages
from nbnumba.stages.registry import installed, with_files
from nbnumba.stages.stage import Place, Stage
from nbnumba.testing.stage_suite import small_experiment

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(not numba.config.ENABLE_CUDASIM, reason="runs in numba's CUDA simulator: NUMBA_ENABLE_CUDASIM=1")

BOUNDS = {"float64": 1e-12, "float32": 3e-6}  # of the maximum
BASE = (
    "-default_F 100 -cell 60 55 50 80 100 95 -misset 10 20 30 -lambda 1 -distance 60 -detpixels_f 9 -detpixels_s 7 -pixel 3 -N 4 "
    "-oversample 1"
)
STAGES = {f"{stage.kind}-{stage.name}": stage for stage, _ in installed() if stage.of.place not in (Place.RESPONSES, Place.BACKGROUNDS)}
# What float32 changes, two in a kernel.
SHAPES, FACTORS = ([s for s in STAGES.values() if s.kind == kind] for kind in ("lattice_shape", "structure_factor"))
PAIRS = {f"{shape.name}-{factor.name}": (shape, factor) for shape, factor in zip(SHAPES, cycle(FACTORS), strict=False)}
SLOW_PAIRS = list(PAIRS)[:-2]  # each takes kernels of its own

SUMS = {
    "domains": "-mosaic 1 -mosaic_dom 5",
    "more domains than a tile": "-mosaic 1 -mosaic_dom 300 -detpixels_f 3 -detpixels_s 2",
    "phi steps": "-phi 0 -osc 2 -phisteps 3",
    "sub-pixels": "-oversample 3",
    "sources": "-divergence 5 -divsteps 2 -dispersion 3 -dispsteps 2",
    "layers": "-detector_thick 450 -detector_abs 300 -thicksteps 3",
    "factors per sub-pixel": "-oversample 2 -detector_thick 450 -detector_abs 300 -oversample_thick -oversample_omega -oversample_polar",
    "resolution limit": "-dmin 1.5 -oversample 2 -dispersion 3 -dispsteps 2",
    "region": "-roi 2 6 1 3",
    "point pixels": "-point_pixel",
    "water": "-water 0.1",
    "many cells": "-N 50",
}
IN_FLOAT32 = ("domains", "sub-pixels", "many cells")  # the others sum as in float64


def experiment_of(options: str, dtype: str = "float64", preset: str = "reference") -> nbnumba.Experiment:
    experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
    sampling, model = replace(experiment.sampling, dtype=dtype), replace(experiment.model, preset=preset)
    return replace(experiment, sampling=sampling, model=model)


def with_table(experiment: nbnumba.Experiment, reach: int, interpolate: bool) -> nbnumba.Experiment:
    hkl = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    F = np.random.default_rng(0).random(len(hkl)) * 100.0
    return replace(experiment, structure_factors=nbnumba.StructureFactors(hkl=hkl, F=F, default_F=3.0, interpolate=interpolate))


def assert_equal(experiment: nbnumba.Experiment) -> nbnumba.Image:
    """Both images; the GPU's."""
    expected, found = nbnumba.simulate(experiment), nbnumba.simulate(experiment, device="cuda")
    assert found.provenance["device"] == "cuda"
    assert found.terms_outside == expected.terms_outside
    difference = np.abs(found.pixels - expected.pixels).max()
    assert expected.pixels.max() > 0.0
    assert difference <= BOUNDS[experiment.sampling.dtype] * expected.pixels.max()
    return found


def assert_equal_with(stages: Iterable[Stage], dtype: str) -> None:
    from nbnumba.kernel.gpu.device import Cuda

    experiment = small_experiment()
    experiment = replace(experiment, sampling=replace(experiment.sampling, dtype=dtype))
    chosen = reduce(Stages.with_stage, stages, choose_stages(experiment, installed()))
    if chosen.factors:
        chosen = chosen.with_stage(installed().get("scaling", "per-term"))
    scene = prepared_scene(experiment, chosen)
    expected, found = (np.asarray(scene.render(device)) for device in (Cpu(), Cuda()))
    assert np.abs(found - expected).max() <= BOUNDS[dtype] * expected.max()
    assert scene.terms_outside(Cuda()) == scene.terms_outside(Cpu())


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_every_stage(stage: Stage) -> None:
    assert_equal_with([stage], "float64")


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize(
    "stages", [pytest.param(pair, id=name, marks=[pytest.mark.slow] * (name in SLOW_PAIRS)) for name, pair in PAIRS.items()]
)
def test_every_stage_in_float32(stages: tuple[Stage, Stage]) -> None:
    assert_equal_with(stages, "float32")


def test_what_float32_changes_is_in_a_pair() -> None:
    assert {stage for stage in STAGES.values() if stage.of.in_dtype} == {stage for pair in PAIRS.values() for stage in pair}


@pytest.mark.spec("DEV-2", "FAC-1")
def test_a_chain_of_factors() -> None:
    from nbnumba.kernel.gpu.device import Cuda

    factor = with_files((ROOT / "examples" / "debye_waller.py",)).get("factor", "debye-waller")
    chosen = choose_stages(small_experiment(), installed()).with_stage(installed().get("scaling", "per-term"))
    scene = prepared_scene(small_experiment(), chosen.with_stage(factor).with_stage(factor))
    expected, found = (np.asarray(scene.render(device)) for device in (Cpu(), Cuda()))
    assert np.abs(found - expected).max() <= BOUNDS["float64"] * expected.max()
    assert expected[0, 0] < 0.5 * np.asarray(prepared_scene(small_experiment(), chosen).render(Cpu()))[0, 0]


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        pytest.param(options, dtype, id=f"{name}-{dtype}", marks=pytest.mark.slow if dtype == "float32" and name not in IN_FLOAT32 else ())
        for name, options in SUMS.items()
        for dtype in BOUNDS
    ],
)
def test_every_way_to_sum(options: str, dtype: str) -> None:
    assert_equal(experiment_of(options, dtype))


@pytest.mark.spec("DEV-2", "GEO-20", "SCA-20")
@pytest.mark.parametrize("options", [SUMS["layers"], "-water 0.1 -dmin 2.2 -oversample 2 -dispersion 3 -dispsteps 2"])
def test_physics(options: str) -> None:
    assert_equal(experiment_of(options, preset="physics"))


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize("options", ["-phi 0 -osc 2 -phisteps 3", "-phi -1 -osc 2 -phisteps 3 -mosaic 1 -mosaic_dom 3", "-phi 0 -osc 0"])
@pytest.mark.parametrize("cut", ["", "-dmin 1.5", "-roi 3 7 2 5", "-oversample 2 -dmin 1.4 -dispersion 3 -dispsteps 2"])
def test_the_carried_orientation(options: str, cut: str) -> None:
    image = assert_equal(experiment_of(f"{options} {cut}", preset="c-parity"))
    if "-osc 2" in options and not cut:  # the mode matters
        assert not np.array_equal(image.pixels, nbnumba.simulate(experiment_of(options)).pixels)


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize(
    ("reach", "options", "preset"),
    [
        *product((8, 5), [""], ("reference", "c-parity", "physics")),
        *product([8], ["-oversample 2 -phi 0 -osc 2 -phisteps 2"], ("reference", "c-parity", "physics")),
        (5, "-tophat_spots -fudge 0.01", "reference"),  # kernels of its own
    ],
)
def test_the_table_and_where_it_ends(reach: int, options: str, preset: str) -> None:
    for interpolate in (False, True):
        assert_equal(with_table(experiment_of(options, preset=preset), reach, interpolate))


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize(("interpolate", "shape"), [(False, "-round_xtal"), (True, "-tophat_spots -fudge 0.01")])
def test_the_table_in_float32(interpolate: bool, shape: str) -> None:
    assert_equal(with_table(experiment_of(shape, "float32"), 5, interpolate))


@pytest.mark.spec("DEV-2")
def test_a_mask_and_a_region() -> None:
    experiment = experiment_of("-roi 1 7 1 5")
    mask = np.random.default_rng(1).random(experiment.detector.shape) < 0.4
    image = assert_equal(replace(experiment, sampling=replace(experiment.sampling, mask=mask)))
    assert not image.pixels[~mask].any()


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize("wanted", [0.02, 0.4])
def test_a_mask_and_a_carried_orientation(wanted: float) -> None:
    experiment = experiment_of("-phi 0 -osc 2 -phisteps 3", preset="c-parity")
    mask = np.random.default_rng(2).random(experiment.detector.shape) < wanted
    mask[3, 4] = True
    assert_equal(replace(experiment, sampling=replace(experiment.sampling, mask=mask)))


@pytest.mark.spec("DEV-2")
def test_nothing_to_render() -> None:
    experiment = experiment_of("")
    experiment = replace(experiment, sampling=replace(experiment.sampling, mask=np.zeros(experiment.detector.shape, bool)))
    assert not nbnumba.simulate(experiment, device="cuda").pixels.any()


@pytest.mark.spec("DEV-7")
def test_nothing_is_left_out() -> None:
    experiment = experiment_of("-gauss_xtal -N 50 -mosaic 1 -mosaic_dom 3 -pixel 0.2 -detpixels_f 64 -detpixels_s 3")
    experiment = replace(experiment, model=replace(experiment.model, quirks={"spot-width": False}))
    careless = replace(experiment, sampling=replace(experiment.sampling, negligible=0.5))
    expected = nbnumba.simulate(replace(experiment, sampling=replace(experiment.sampling, negligible=0.0))).pixels
    assert not np.array_equal(nbnumba.simulate(careless).pixels, expected)
    found = nbnumba.simulate(careless, device="cuda").pixels
    assert found == pytest.approx(expected, rel=1e-9, abs=0.0)  # of every pixel itself: a tail of a spot has the rounding of its exponent


@pytest.mark.spec("DEV-3")
def test_several_launches_make_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of("-detpixels_f 23 -detpixels_s 19 -phi 0 -osc 2 -phisteps 3", preset="c-parity")
    whole, calls = Simulator(device="cuda").image(experiment), []
    monkeypatch.setattr("nbnumba.kernel.gpu.device.pixels_at_once", lambda dtype, terms: 128)
    parts = Simulator(device="cuda").image(experiment, progress=lambda done, total: calls.append((done, total)))
    assert np.array_equal(whole.pixels, parts.pixels)
    assert calls == [(0, 437), (128, 437), (256, 437), (384, 437), (437, 437)]


@pytest.mark.spec("EXP-31", "DEV-2", "DEV-8")
def test_panels_are_rendered_into_one_array_by_one_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, launches = experiment_of(""), []
    first, second = experiment.panels[0], experiment_of("-detpixels_f 4 -detpixels_s 5 -twotheta 20").panels[0]
    mask = np.arange(20).reshape(5, 4) % 3 > 0
    panels = [first, replace(second, mask=np.zeros((5, 4), bool)), replace(second, mask=mask)]
    experiment = replace(experiment, detector=replace(experiment.detector, panels=panels))
    from nbnumba.kernel.gpu import device

    launch = device.launch
    monkeypatch.setattr(device, "launch", lambda *given: launches.append(given[1]) or launch(*given))
    found = nbnumba.simulate(experiment, device="cuda")
    assert len(launches) == 1
    expected = nbnumba.simulate(experiment)
    assert found.pixels.shape == (7 * 9 + 2 * 5 * 4,)
    assert not found.panels[1].pixels.any()
    assert not found.panels[2].pixels[~mask].any()
    np.testing.assert_allclose(found.pixels, expected.pixels, rtol=0.0, atol=BOUNDS["float64"] * expected.pixels.max())
    assert [panel.pixels.max() > 0.0 for panel in found.panels] == [True, False, True]
    np.testing.assert_array_equal(np.asarray(Simulator(device="cuda").render(experiment)), found.pixels)


@pytest.mark.spec("DEV-4")
def test_a_simulator_keeps_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import cuda

    experiment = with_table(experiment_of("-mosaic 1 -mosaic_dom 2"), 5, interpolate=False)
    simulator, expected = Simulator(device="cuda"), nbnumba.simulate(experiment, device="cuda").pixels
    first = simulator.render(experiment)
    sent, to_device = [], cuda.to_device
    monkeypatch.setattr("nbnumba.kernel.gpu.device.cuda.to_device", lambda array: sent.append(array.size) or to_device(array))
    again = simulator.render(replace(experiment, crystal=replace(experiment.crystal, misset=(0.1, 0.0, 0.0))))
    assert again is first
    assert max(sent) <= 32  # orientations and the geometry, not the table
    assert not np.array_equal(again.copy_to_host(), expected)
    assert np.array_equal(simulator.render(experiment).copy_to_host(), expected)
    # A region of its own must not show what was rendered before.
    part = replace(experiment, sampling=replace(experiment.sampling, roi=(1, 2, 1, 2)))
    assert np.count_nonzero(simulator.render(part).copy_to_host()) <= 4
    other = cuda.to_device(np.zeros(experiment.detector.shape))
    assert simulator.render(experiment, out=other) is other
    with pytest.raises(nbnumba.ParameterError, match="out: must be an array in the GPU's memory, not a list"):
        simulator.render(experiment, out=[])
    assert np.array_equal(other.copy_to_host(), expected)


@pytest.mark.spec("DEV-4")
def test_a_simulator_recovers_from_an_image_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import cuda

    class OutOfMemory(Exception):
        __module__ = "numba.cuda.cudadrv.driver"

    def full(array: np.ndarray) -> None:
        raise OutOfMemory("Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

    experiment, simulator = with_table(experiment_of(""), 5, interpolate=False), Simulator(device="cuda")
    simulator.render(experiment)
    before = cuda.to_device
    monkeypatch.setattr("nbnumba.kernel.gpu.device.cuda.to_device", full)
    with pytest.raises(nbnumba.NotAvailableError, match="the GPU has not enough memory for image and tables; render a smaller detector"):
        simulator.render(with_table(experiment, 6, interpolate=False))
    monkeypatch.setattr("nbnumba.kernel.gpu.device.cuda.to_device", before)
    assert np.array_equal(simulator.render(experiment).copy_to_host(), nbnumba.simulate(experiment, device="cuda").pixels)


@pytest.mark.spec("DEV-6")
def test_the_benchmark_measures_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from nbnumba.bench import gpu
    from nbnumba.kernel.gpu.device import Cuda, MachineCode

    ptx = "\n".join(["$L__1:", *["ld.shared.f64 %fd1, [%rd1];"] * 9, *["fma.rn.f64 %fd1, %fd2;"] * 4, "mul.f32 %f1, %f2;", "bra $L__1;"])
    monkeypatch.setattr(Cuda, "code", lambda self, physics: MachineCode(64, 0, ptx))
    for name, value in {"ROUNDS": 1, "SERIES": 2, "STEPS": 3, "BLOCKS": 1, "THREADS": 2, "COPIED": 64, "DOMAINS": 2}.items():
        monkeypatch.setattr(gpu, name, value)
    limits = dict(gpu.ceilings())
    assert len(limits) == 3
    assert min(limits.values()) > 0.0
    row = gpu.rate(gpu.timed_works()[0], 3)
    assert row["samples"] == 3 * 3 * 100
    assert row["arithmetic_per_sample"] == {"fma.rn.f64": 4, "mul.f32": 1}
    known = {"float64 multiply-adds per second": 8e3, "float32 multiply-adds per second": 2e3}
    assert gpu.of_ceiling({**row, "samples_per_second": 100.0}, known) == pytest.approx(100.0 * (4 / 8e3 + 1 / 2e3))
    assert gpu.fixed_cost(3) > 0.0


GOLDEN = json.loads((STORED / "cases.json").read_text())


@pytest.mark.spec("DEV-2")
@pytest.mark.parametrize(
    ("case", "preset"),
    [
        # In c-parity the first sample has an orientation of its own, if there is a rotation.
        pytest.param(
            case, preset, id=f"{case['id']}-{preset}", marks=[pytest.mark.slow] * (preset == "c-parity" and "-osc" not in case["args"])
        )
        for case, preset in product(GOLDEN, ("reference", "c-parity"))
        for twice in [(preset == "c-parity") != ("-osc" in case["args"])]
    ],
)
def test_the_options_of_reference_images(case: dict[str, object], preset: str, tmp_path: Path) -> None:
    """The brightest pixel of each, and one beside it."""
    for name, text in case.get("files", {}).items():
        (tmp_path / name).write_text(text)
    folder = own_golden()
    words = [str(next((d / w for d in (folder, tmp_path) if (d / w).is_file()), w)) for w in str(case["args"]).split()]
    experiment = nbnumba.experiment_from_options(words)
    brightest = nbnumba.simulate(experiment).statistics
    fast, slow = brightest.maximum_fast, brightest.maximum_slow
    roi = max(fast - 1, 0), max(fast, 1), slow, slow
    sampling, model = replace(experiment.sampling, roi=roi), replace(experiment.model, preset=preset)
    assert_equal(replace(experiment, sampling=sampling, model=model))
