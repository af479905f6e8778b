"""Finding where two traces part."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import SUPERVISOR

from nbnumba.cli.main import main
from nbnumba.compare.traces import compare_traces, relative_difference
from nbnumba.errors import InputFileError, OptionError
from nbnumba.traces.read import Key, read_trace

OPTIONS = (
    "-default_F 100 -cell 70 80 90 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 24 -oversample 1 -phi 0 -osc 1 -phisteps 3".split()
)
needs_supervisor = pytest.mark.skipif(
    not (SUPERVISOR / "expected.json").is_file(), reason=f"no data in {SUPERVISOR}; NBNUMBA_SUPERVISOR names their folder"
)


def written(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Path:
    assert main(["trace", *words]) == 0
    path.write_text(capsys.readouterr().out)
    return path


def log_of_the_reference(path: Path, expected: dict[str, Any]) -> Path:
    """nanoBragg's trace as its log has it, with other lines before, between and after."""
    lines = ["nanoBragg nanocrystal diffraction simulator", "TRACE_C:initial_fdet=1 2 3", "0% done", "TRACE_CONFIG: tracing (x=1, y=2)"]
    for name, value in expected["trace_c_parity_slow685_fast1039"].items():
        lines.append(f"TRACE_C: {name} " + " ".join(f"{v:.15g}" for v in (value if isinstance(value, list) else [value])))
        if name == "F_latt":
            rows = expected["per_phi_c_parity_slow685_fast1039"]
            lines += ["TRACE_C_PHI " + " ".join(f"{key}={v:.15g}" for key, v in row.items()) for row in rows]
    path.write_text("\n".join([*lines, "mean= 0.00104287 rms= 0.334386"]))
    return path


@needs_supervisor
@pytest.mark.spec("TRA-8", "TRA-9")
def test_nanobraggs_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((SUPERVISOR / "expected.json").read_text())
    words = [str(SUPERVISOR / w) if w in ("A.mat", "scaled.hkl") else w for w in expected["args"].split()]
    log = log_of_the_reference(tmp_path / "c.log", expected)
    carried = written(tmp_path / "carried.txt", capsys, "--pixel", "685", "1039", "--preset", "c-parity", *words)
    fresh = written(tmp_path / "fresh.txt", capsys, "--pixel", "685", "1039", *words)
    assert main(["compare-traces", str(log), str(carried), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["first_divergence"] is None
    assert (found["mode"], found["tolerance"], found["compared"]) == ("c-parity", 5e-5, 80)
    assert found["only_in_first"] == ["initial_fdet"]
    assert main(["compare-traces", str(log), str(carried), "--tolerance", "1e-12"]) == 0
    assert "first_divergence: null" in capsys.readouterr().out
    for pair in ((log, fresh), (fresh, log)):
        assert main(["compare-traces", *map(str, pair), "--json"]) == 1
        first = json.loads(capsys.readouterr().out)["first_divergence"]
        assert (first["name"], first["meaning"]) == ("rot_a_angstroms", "orientation of the first phi step, axis a")
        assert first["relative_difference"] == pytest.approx(0.00157, rel=1e-2)
        assert len(first["first"]) == len(first["second"]) == 3
    assert main(["compare-traces", str(log), str(fresh)]) == 1
    assert "first_divergence: rot_a_angstroms (orientation of the first phi step, axis a)" in capsys.readouterr().out


@pytest.mark.spec("TRA-8")
def test_text_and_json_of_a_trace_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = ["-dispersion", "2", "-dispsteps", "2"]
    text = written(tmp_path / "a.txt", capsys, "--pixel", "7", "15", *OPTIONS, *sources)
    as_json = written(tmp_path / "a.json", capsys, "--pixel", "7", "15", "--json", *OPTIONS, *sources)
    a, b = read_trace(text), read_trace(as_json)
    assert list(a.values) == list(b.values)
    assert a.values == b.values
    assert a.mode == b.mode == "spec"
    assert a.values[Key("I_term", "PHI", (0, 0, 0, 1, 2, 0))] != a.values[Key("I_term", "PHI", (0, 0, 0, 0, 2, 0))]


@pytest.mark.spec("TRA-4", "TRA-8")
def test_rows_of_phi_alone_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pixel", "7", "15", "--per-phi", *OPTIONS]
    a, b = written(tmp_path / "a.txt", capsys, *words), written(tmp_path / "a.json", capsys, *words, "--json")
    assert read_trace(a).values == read_trace(b).values
    assert len(read_trace(a).values) > 60


@pytest.mark.spec("TRA-9")
def test_what_is_not_finite_is_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text("F_cell nan\n")
    (tmp_path / "b").write_text("F_cell 1\nF_latt 2\n")
    assert main(["compare-traces", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["first_divergence"]["first"], found["first_divergence"]["relative_difference"]) == (None, None)
    assert main(["compare-traces", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    out = capsys.readouterr().out
    assert "relative_difference: infinite" in out
    assert "only in the second: F_latt" in out
    assert main(["compare-traces", str(tmp_path / "a"), str(tmp_path / "b"), "--tolerance", "nan"]) == 2
    assert capsys.readouterr().err == "nbnumba: error: --tolerance nan: is not a number\n"


@pytest.mark.spec("TRA-9")
def test_the_first_of_what_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(tmp_path / "a.txt", capsys, "--pixel", "7", "15", *OPTIONS)
    for name, changed in {
        "wavelength": "-lambda 1.5001",
        "distance": "-distance 60.01",
        "F": "-default_F 101",
        "cells": "-N 6",
        "fluence": "-fluence 1e20",
    }.items():
        b = written(tmp_path / f"{name}.txt", capsys, "--pixel", "7", "15", *OPTIONS, *changed.split())
        first = compare_traces(read_trace(a), read_trace(b))["first_divergence"]
        expected = {
            "wavelength": "lambda_meters",
            "distance": "pix0_vector_meters",
            "F": "F_cell",
            "cells": "F_latt_a",
            "fluence": "fluence_photons_per_m2",
        }
        assert first["name"] == expected[name]


@pytest.mark.spec("TRA-9")
def test_a_row_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("PHI phi_tic=0 k_frac=1\nPHI phi_tic=1 k_frac=2 h0=5\n")
    (tmp_path / "b").write_text("TRACE_C_PHI phi_tic=0 k_frac=1\nTRACE_C_PHI phi_tic=1 k_frac=2.1\n")
    found = compare_traces(read_trace(tmp_path / "a"), read_trace(tmp_path / "b"))
    assert found["first_divergence"]["meaning"] == "Miller index k, phi_tic 1"
    assert found["first_divergence"]["where"]["phi_tic"] == 1
    assert (found["compared"], found["only_in_first"], found["only_in_second"]) == (2, ["h0"], [])


@pytest.mark.spec("TRA-9")
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1.0,), (1.0,), 0.0),
        ((0.0,), (-0.0,), 0.0),
        ((1.0, 1e-9), (1.0, 0.0), 1e-9),
        ((2.0,), (1.0,), 0.5),
        ((1.0, 2.0), (1.0,), math.inf),
        ((math.nan,), (math.nan,), 0.0),
        ((math.nan,), (1.0,), math.inf),
        ((math.inf, 1.0), (math.inf, 1.0), 0.0),
        ((math.inf, 1.0), (math.inf, 2.0), 0.5),
    ],
)
def test_relative_difference(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    assert relative_difference(a, b) == pytest.approx(expected)
    assert relative_difference(b, a) == pytest.approx(expected)


@pytest.mark.spec("TRA-9")
@pytest.mark.parametrize(("modes", "tolerance"), [(("spec", "spec"), 1e-6), (("spec", "c-parity"), 5e-5), (("", ""), 1e-6)])
def test_tolerance_follows_from_the_phi_mode(tmp_path: Path, modes: tuple[str, str], tolerance: float) -> None:
    for name, mode in zip("ab", modes, strict=True):
        (tmp_path / name).write_text((f"phi_carryover_mode {mode}\n" if mode else "") + "F_cell 1\n")
    a, b = read_trace(tmp_path / "a"), read_trace(tmp_path / "b")
    assert compare_traces(a, b)["tolerance"] == tolerance
    assert compare_traces(a, b, mode="c-parity")["tolerance"] == 5e-5
    assert compare_traces(a, b, tolerance=0.25)["tolerance"] == 0.25


@pytest.mark.spec("TRA-8")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no trace: no lines NAME VALUE... or TRACE_...: NAME VALUE..."),
        ("hello world\n", "holds no trace: no lines NAME VALUE... or TRACE_...: NAME VALUE..."),
        ('{"values": 3}', "is JSON, but not a trace as 'nbnumba trace --json' writes it"),
        ('{"phi": [{"layer": []}]}', "holds no trace: no lines NAME VALUE... or TRACE_...: NAME VALUE..."),
        ('{"values": {"a": 1%s}, "phi": []}' % ("0" * 400), "is JSON, but not a trace as 'nbnumba trace --json' writes it"),
        ('{"a": ', "is JSON, but not a trace as 'nbnumba trace --json' writes it"),
    ],
)
def test_files_that_are_no_traces(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t").write_text(content)
    with pytest.raises(InputFileError) as raised:
        read_trace(tmp_path / "t")
    assert str(raised.value) == f"{tmp_path / 't'}: {message}"


def test_traces_without_a_value_in_common(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("F_cell 1\n")
    (tmp_path / "b").write_text("F_latt 1\n")
    with pytest.raises(OptionError, match="have no value in common"):
        compare_traces(read_trace(tmp_path / "a"), read_trace(tmp_path / "b"))
