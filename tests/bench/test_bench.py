"""The benchmark: what it times is what it says, its arithmetic, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nbnumba.amplitudes.hkl import read_hkl
from nbnumba.bench.measure import Timing, exponent, reference_seconds
from nbnumba.bench.report import OPERATIONS, as_text
from nbnumba.bench.work import WORK, experiment_of, table, write_table
from nbnumba.bench.yardstick import fused, sine
from nbnumba.cli.main import main
from nbnumba.errors import NotAvailableError
from nbnumba.kernel.math import nearest
from nbnumba.simulation.scene import scene_of


class Counting:
    """A number that counts the operations on it; a rounding or a comparison is one."""

    count = 0

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __float__(self) -> float:
        return self.value

    def __int__(self) -> int:
        return int(self.value)

    def rint(self) -> Counting:
        return note(np.rint(self.value))

    def sqrt(self) -> Counting:
        return note(np.sqrt(self.value))

    def __floor__(self) -> Counting:
        return note(np.floor(self.value))

    def __ceil__(self) -> Counting:
        return note(np.ceil(self.value))


def note(value: float) -> Counting:
    Counting.count += 1
    return Counting(value)


def operator(name: str):
    operation = getattr(float, name)

    def operate(self, *others):
        result = operation(self.value, *map(float, others))
        return note(result) if isinstance(result, float) else bool(note(result).value)

    return operate


for _name in ("add", "sub", "mul", "truediv"):
    setattr(Counting, f"__{_name}__", operator(f"__{_name}__"))
    setattr(Counting, f"__r{_name}__", operator(f"__r{_name}__"))
for _name in ("neg", "abs", "pow", "lt", "le", "gt", "ge"):
    setattr(Counting, f"__{_name}__", operator(f"__{_name}__"))


def operations(work_name: str) -> int:
    """Floating-point operations of one sample, as the kernel combines the stage functions; one each for a square root, an exponent."""
    experiment = experiment_of(next(work for work in WORK if work.name == work_name), 64)
    scene = scene_of(experiment)
    chosen, parameters = scene.stages, scene.parameters
    Counting.count = 0
    q, axes = [Counting(v) for v in (0.011, 0.012, 0.013)], [[1.1, 2.3, 0.7], [5.3, 1.7, 9.1], [3.1, 0.9, 4.7]]
    h, k, l = (a * q[0] + b * q[1] + c * q[2] for a, b, c in axes)
    h0, k0, l0 = nearest(h), nearest(k), nearest(l)
    f_latt = chosen["lattice_shape"].function(parameters["lattice_shape"], h - h0, k - k0, l - l0)
    f_cell = chosen["structure_factor"].function(parameters["structure_factor"], h, k, l, h0, k0, l0, 1e-10, 0)
    amplitude = Counting(float(f_latt)) * f_cell
    0.0 + amplitude * amplitude
    return Counting.count


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_a_sample_are_counted_right(name: str) -> None:
    assert operations(name) == OPERATIONS[name]


def test_the_yardstick_computes_what_the_square_crystal_does() -> None:
    """One pixel of it, by the plain formula."""
    image = np.empty((8, 8))
    pix0, axes = np.array([0.1, 0.004, -0.004]), np.array([[[101.0, 3.0, 0.0], [0.0, 99.0, 5.0], [2.0, 0.0, 98.0]]])
    fused(pix0, 1e-3, axes, 5.0, 9.0, image)
    ray = np.array([0.1, 0.004 - 2.5e-3, -0.004 + 3.5e-3])
    q = ray / np.linalg.norm(ray) - np.array([1.0, 0.0, 0.0])
    ratios = [np.sin(5.0 * np.pi * n) / np.sin(np.pi * n) for n in axes[0] @ q]
    assert image[2, 3] == pytest.approx(9.0 * np.prod(ratios) ** 2 / np.linalg.norm(ray) ** 3, rel=1e-9)
    assert sine(0.5) == pytest.approx(1.0, rel=1e-15)


def test_every_row_has_the_work_that_it_names() -> None:
    samples = {work.name: experiment_of(work, 64).terms for work in WORK}
    assert samples["square"] == 64 * 64 * 50
    assert samples["4 sub-pixels"] == 64 * 64 * 12 * 4
    assert samples["5 sensor layers"] == samples["5 sources"] == samples["10 phi steps"] == 64 * 64 * 50
    assert experiment_of(next(w for w in WORK if w.name == "square, float32"), 64).sampling.dtype == "float32"


def test_the_table_is_the_same_in_text(tmp_path: Path) -> None:
    write_table(tmp_path / "table.hkl")
    hkl, F = read_hkl(tmp_path / "table.hkl")
    np.testing.assert_array_equal(hkl, table().hkl)
    np.testing.assert_allclose(F, table().F, rtol=0.0, atol=1e-9)


def test_ratios_are_medians_of_the_rounds() -> None:
    timing = Timing(WORK[0], 1, 100, [10.0, 20.0, 30.0], [10.0, 10.0, 60.0], [8.0, 16.0, 24.0], [1.0, 1.0, 1.0])
    assert (timing.rate, timing.of_yardstick, timing.of_reference) == (20.0, 1.0, 16.0)
    assert Timing(WORK[0], 1, 100, [1.0], [1.0]).of_reference is None


def test_the_exponent_of_a_power_law() -> None:
    assert exponent([(n, 3.0 * n**1.5) for n in (1, 2, 4, 8)]) == pytest.approx(1.5)


@pytest.mark.spec("CLI-10")
def test_the_command_prints_a_table_and_keeps_it(tmp_path: Path) -> None:
    executable = tmp_path / "reference"
    executable.write_text(f"#!{sys.executable}\nimport sys, time\ntime.sleep(0.01 if '-roi' in sys.argv else 0.2)\n")
    executable.chmod(0o755)
    files = [f"--json={tmp_path / 'b.json'}", f"--plot={tmp_path / 'b.png'}"]
    arguments = [
        "bench",
        "--pixels",
        "64",
        "--rounds",
        "1",
        "--threads",
        "1",
        "--work",
        "square",
        "--growth",
        "--reference",
        str(executable),
    ]
    with CliRunner().isolation() as (out, _, _):
        assert main([*arguments, *files]) == 0
        text = out.getvalue().decode()
    found = json.loads((tmp_path / "b.json").read_text())
    assert text.strip() == as_text(found)
    (row,) = found["rows"]
    assert row["samples_per_second"] > 0.0
    assert row["of_reference"] == pytest.approx(row["rounds"]["singles"][0] / (row["samples"] / 0.19), rel=0.3)
    assert set(found["growth"]) == {"pixels", "mosaic domains", "phi steps", "sources"}
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--work", "squares"], "--work 'squares': there is 'square', "),
        (["--reference", "/nowhere"], "--reference /nowhere: is not a file; name an executable of nanoBragg"),
        (["--threads", "999", "--work", "square", "--pixels", "64"], "threads (--threads): 999 is not between 1 and "),
        (["--json", "/nowhere/b.json"], "/nowhere/b.json: cannot be written: the folder /nowhere does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("#!/bin/false\n", "ended with exit code 1"), ("nonsense", "cannot be run"), ("#!/bin/true\n", "takes hardly longer for an image")],
)
def test_a_reference_that_does_not_run_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    executable = tmp_path / "reference"
    executable.write_text(text)
    executable.chmod(0o755)
    with pytest.raises(NotAvailableError, match=message):
        reference_seconds(executable, WORK[0], 64, 1)


def test_a_plot_without_matplotlib_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("nbnumba.cli.bench.find_spec", lambda name: None)
    assert main(["bench", "--plot", "b.png"]) == 2
    assert "--plot: needs matplotlib; install it with: pip install 'nbnumba[plot]'" in capsys.readouterr().err
