"""``nbnumba warm``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba.cli.main import main
from nbnumba.cli.warm import every_combination
from nbnumba.files.caches import KERNELS
from nbnumba.gradients.derivatives import device_of
from nbnumba.gradients.losses import least_squares, poisson
from nbnumba.kernel.cpu import device as cpu
from nbnumba.simulation.scene import prepared_scene
from nbnumba.simulation.support import why_not_listed
from nbnumba.stages.registry import installed
from nbnumba.testing.stage_suite import small_experiment

COMBINATION = {
    "geometry": "planar",
    "lattice_shape": "square",
    "structure_factor": "nearest",
    "polarization": "kahn",
    "scaling": "reference",
}


@pytest.mark.spec("CLI-11")
def test_every_combination_of_the_shipped_stages_is_named_once() -> None:
    found = [(tuple(sorted(names.items())), dtype) for names, dtype in every_combination(installed(), {}, ("float64", "float32"))]
    assert len(found) == len(set(found))
    shapes = {dict(names)["lattice_shape"] for names, _ in found}
    assert shapes == {"square", "round", "gauss", "gauss-sizes", "tophat"}
    only = list(every_combination(installed(), {"lattice_shape": "gauss"}, ("float64",)))
    assert {names["lattice_shape"] for names, _ in only} == {"gauss"}
    assert len(only) * 10 == len(found)


@pytest.mark.spec("CLI-11")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_warm_compiles_what_is_named(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ["geometry=planar", "lattice_shape=square", "polarization=kahn", "scaling=reference"]
    wanted = [word for kind in kinds for word in ("--plugin", kind)]
    assert main(["warm", *wanted, "--dtype", "float64", "--jobs", jobs]) == 0
    assert capsys.readouterr().out == "5 kernels are compiled\n"


@pytest.mark.slow
@pytest.mark.spec("CLI-11", "SCA-21")
def test_nothing_is_left_to_compile_for_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cpu, "_compiled", {})
    stages = {**COMBINATION, "lattice_shape": "gauss", "structure_factor": "constant"}
    wanted = [word for kind, name in stages.items() for word in ("--plugin", f"{kind}={name}")]
    assert main(["warm", *wanted, "--dtype", "float64"]) == 0
    kept = {file.path.name for file in KERNELS.files()}
    assert any("list_spots" in name for name in kept)
    options = "-default_F 1 -cell 80 -lambda 1 -N 200 -gauss_xtal -distance 200 -detpixels 1000 -roi 0 9 0 9 -mosaic 0.1 -mosaic_dom 100"
    experiment = nbnumba.experiment_from_options(f"{options} -oversample 2")
    assert why_not_listed(prepared_scene(experiment, installed().choose({**stages, "rotation": "spec"}, {}))) == ""
    nbnumba.simulate(experiment)
    assert {file.path.name for file in KERNELS.files()} == kept


@pytest.mark.slow
@pytest.mark.spec("CLI-11")
def test_nothing_is_left_to_compile_for_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many and with few terms, by each loss, of every pixel and by amplitudes."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cpu, "_compiled", {})
    wanted = [word for kind, name in COMBINATION.items() for word in ("--plugin", f"{kind}={name}")]
    assert main(["warm", *wanted, "--dtype", "float64", "--gradients"]) == 0
    kept = {file.path.name for file in KERNELS.files()}
    monkeypatch.setattr(cpu, "_compiled", {})
    device_of.cache_clear()
    experiment = replace(small_experiment(), model=nbnumba.Model(stages=COMBINATION))
    for domains in (3, 3000):
        each = replace(experiment, crystal=replace(experiment.crystal, mosaic_domains=domains))
        for loss in (least_squares(1.0), poisson(1.0), lambda photons: (0.0, np.zeros_like(photons))):
            nbnumba.value_and_grad(each, ["cell_a", "misset_x"], loss)
    nbnumba.jacobian(experiment, ["cell_a", "misset_x"])
    nbnumba.gradient_by_amplitudes(experiment, least_squares(1.0))
    assert {file.path.name for file in KERNELS.files()} == kept


def test_stages_without_derivatives_have_no_kernels_of_gradients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [word for kind, name in {**COMBINATION, "lattice_shape": "lorentz"}.items() for word in ("--plugin", f"{kind}={name}")]
    source = (ROOT / "examples" / "lorentz_plugin" / "lorentz.py").read_text()
    (tmp_path / "flat.py").write_text(source.replace("    derivative=derivative,\n", ""))
    assert main(["warm", *wanted, "--dtype", "float64", "--gradients", "--plugin-file", str(tmp_path / "flat.py")]) == 0
    assert capsys.readouterr().out == "1 kernels are compiled\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plugin", "lattice_shape=sphere"], "no lattice_shape 'sphere'"),
        (["--plugin", "rotation=spec"], "rotation stages run on the host; there is nothing to compile"),
        (["--plugin", "gauss"], "--plugin gauss: must have the form KIND=NAME"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warm", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_stage_that_cannot_be_compiled_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = (ROOT / "examples" / "lorentz_plugin" / "lorentz.py").read_text()
    broken = tmp_path / "broken.py"
    broken.write_text(source.replace("return p.peak / (1.0", "return p.nothing / (1.0"))
    kinds = ["geometry=planar", "lattice_shape=lorentz", "structure_factor=constant", "polarization=kahn", "scaling=reference"]
    wanted = [word for kind in kinds for word in ("--plugin", kind)]
    assert main(["warm", *wanted, "--dtype", "float64", "--plugin-file", str(broken)]) == 2
    found = capsys.readouterr()
    assert found.out == "0 kernels are compiled\n"
    assert (
        "1 cannot be compiled, the first of them: planar, c-parity, lorentz, constant, kahn, reference: lattice_shape 'lorentz'"
        in found.err
    )
    assert found.err.count("\n") == 1


def test_a_process_that_is_stopped_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.cli.warm.use_one_thread", sys.exit)
    wanted = ["--plugin", "lattice_shape=square", "--plugin", "polarization=kahn", "--dtype", "float64"]
    assert main(["warm", *wanted, "--jobs", "2"]) == 2
    assert "a process that compiled was stopped, for lack of memory perhaps; try --jobs 1" in capsys.readouterr().err
