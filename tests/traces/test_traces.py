"""What a trace says is what was rendered, and nanoBragg's own trace says the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SUPERVISOR

import nbnumba
from nbnumba.cli.main import main
from nbnumba.errors import ParameterError, StageError
from nbnumba.experiment.physics import Model
from nbnumba.stages.presets import stage_names
from nbnumba.stages.registry import Registry, installed, load_file
from nbnumba.stages.stage import KINDS, Stage
from nbnumba.traces.text import Trace
from nbnumba.traces.tracing import trace

needs_supervisor = pytest.mark.skipif(
    not (SUPERVISOR / "expected.json").is_file(), reason=f"no data in {SUPERVISOR}; NBNUMBA_SUPERVISOR names their folder"
)
CUBIC = "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 24 -oversample 1 "
CASES = {
    "one term": "",
    "sweep": "-phi 0 -osc 1 -phisteps 3 -mosaic 0.3 -mosaic_dom 4",
    "sub-pixels": "-oversample 3 -phi -1 -osc 1 -phisteps 2",
    "sources": "-dispersion 2 -dispsteps 3 -hdivrange 5 -hdivsteps 3",
    "per term": "-oversample 2 -oversample_polar -oversample_omega -oversample_thick -detector_thick 400 -detector_abs 300 -thicksteps 3",
    "layers": "-detector_thick 400 -detector_abs 300 -thicksteps 3 -oversample 2",
    "round": "-round_xtal",
    "gauss": "-gauss_xtal -mosaic 0.2 -mosaic_dom 3",
    "tophat": "-tophat_spots -N 2",
    "curved": "-curved_det -oversample 2",
    "water": "-water 5",
    "water beyond the resolution": "-water 5 -dmin 2.2 -oversample 2",
    "resolution": "-dmin 2.2 -oversample 2 -dispersion 20 -dispsteps 2 -phi 0 -osc 2 -phisteps 2",
    "point pixel": "-point_pixel -nopolar",
}


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((SUPERVISOR / "expected.json").read_text())


def supervisor(expected: dict[str, Any], preset: str, dtype: str = "float64") -> Trace:
    words = [str(SUPERVISOR / w) if w in ("A.mat", "scaled.hkl") else w for w in expected["args"].split()]
    experiment = nbnumba.experiment_from_options(words)
    sampling = replace(experiment.sampling, dtype=dtype)
    return trace(replace(experiment, model=replace(experiment.model, preset=preset), sampling=sampling), 685, 1039)


def off(found: Any, wanted: Any) -> float:
    """Relative difference; of vectors, over the largest component."""
    a, b = np.atleast_1d(np.asarray(found, float)), np.atleast_1d(np.asarray(wanted, float))
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0))


@needs_supervisor
@pytest.mark.spec("TRA-1", "TRA-5", "TRA-6")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_nanobraggs_own_trace(expected: dict[str, Any], dtype: str, tolerance: float) -> None:
    found = supervisor(expected, "c-parity", dtype)
    for name, wanted in expected["trace_c_parity_slow685_fast1039"].items():
        assert off(found.values[name], wanted) <= tolerance, name
    rows = expected["per_phi_c_parity_slow685_fast1039"]
    assert len(found.terms) == len(rows) == 10
    for row, wanted in zip(found.terms, rows, strict=True):
        for name, value in wanted.items():
            assert off(row[name], value) <= tolerance, (row["phi_tic"], name)


@needs_supervisor
@pytest.mark.spec("TRA-3", "TRA-9")
def test_the_phi_modes_part_at_the_first_orientation(expected: dict[str, Any]) -> None:
    carried, fresh = supervisor(expected, "c-parity").terms, supervisor(expected, "reference").terms
    assert (carried[0]["orientation"], carried[0]["carried_from_phi_tic"]) == ("carried", 9)
    assert carried[0]["carried_from_sample"] == (685, 1038, 0, 0, 0, 0)
    assert fresh[0]["orientation"] == "fresh"
    assert off(carried[0]["a_angstroms"], fresh[0]["a_angstroms"]) > 1e-3
    for a, b in zip(carried[1:], fresh[1:], strict=True):
        assert a["orientation"] == "fresh"
        assert {name: a[name] for name in a if not name.startswith("I_")} == {name: b[name] for name in b if not name.startswith("I_")}


@pytest.mark.spec("TRA-1", "TRA-2")
@pytest.mark.parametrize("preset", ["reference", "c-parity", "physics"])
@pytest.mark.parametrize("case", CASES)
def test_a_trace_ends_with_the_pixel_of_the_image(case: str, preset: str) -> None:
    experiment = nbnumba.experiment_from_options(CUBIC + CASES[case])
    experiment = replace(experiment, model=replace(experiment.model, preset=preset))
    image = nbnumba.simulate(experiment)
    for slow, fast in [(0, 0), (7, 15), np.unravel_index(int(image.pixels.argmax()), image.shape)]:
        found = trace(experiment, int(slow), int(fast))
        assert found.values["I_pixel_final"] == pytest.approx(image.pixels[slow, fast], rel=1e-9, abs=1e-12 * image.pixels.max())
        assert found.values["floatimage_accumulated"] == image.float32[slow, fast]
        assert found.values["I_after_capture"] == pytest.approx(found.values["I_pixel_final"], rel=1e-12)
        assert len(found.samples) == experiment.layers[0] * experiment.oversample**2 * len(experiment.source_list.wavelength)
        within = sum(sample["within_resolution_limit"] for sample in found.samples)
        assert len(found.terms) == within * experiment.mosaic[1] * len(experiment.phi)
        if found.terms:
            assert found.terms[-1]["I_sum"] == found.values["I_before_scaling"]


@pytest.mark.spec("TRA-2")
@pytest.mark.parametrize("case", ["sweep", "round", "gauss"])
def test_float32_is_traced_in_float32(case: str) -> None:
    experiment = nbnumba.experiment_from_options(CUBIC + CASES[case])
    single = replace(experiment, sampling=replace(experiment.sampling, dtype="float32"))
    a, b = trace(experiment, 7, 15), trace(single, 7, 15)
    assert all(float(np.float32(term["F_cell"])) == term["F_cell"] for term in b.terms)
    assert any(term["F_latt"] != other["F_latt"] for term, other in zip(a.terms, b.terms, strict=True))
    assert b.values["I_pixel_final"] == pytest.approx(a.values["I_pixel_final"], rel=1e-5)


@pytest.mark.spec("TRA-6")
@pytest.mark.parametrize("hkl", [(0.31, 1.23, -2.7), (3.4, -0.61, 0.3), (-5.45, 7.21, -1.05)])
def test_signs_of_the_square_crystal(hkl: tuple[float, float, float]) -> None:
    """The sign that the stage tells is that of sin(pi N h) / sin(pi h) over the three axes."""
    from nbnumba_plugins.lattice_square import Square, sign

    cells = (36.0, 5.0, 4.0)
    interference = np.prod([np.sin(np.pi * n * h) / np.sin(np.pi * h) for n, h in zip(cells, hkl, strict=True)])
    assert sign(Square(*cells), *hkl) == np.sign(interference)


@pytest.mark.spec("TRA-6")
def test_factors_along_the_axes() -> None:
    found = trace(nbnumba.experiment_from_options(CUBIC + CASES["sweep"]), 7, 15)
    for term in found.terms:
        assert term["F_latt_a"] * term["F_latt_b"] * term["F_latt_c"] == pytest.approx(term["F_latt"], rel=1e-9)
        axes = np.array([term[f"{axis}_angstroms"] for axis in "abc"]) @ np.array([term[f"{axis}_star_A_inv"] for axis in "abc"]).T
        assert axes == pytest.approx(np.eye(3), abs=1e-12)


# A change in a plugin: the kind -> what its function does instead, the first value of the trace that it changes, and by which factor.
PLANTED = {
    "geometry": ("    dx, dy, dz, o, c = planted(p, fast, slow, layer)\n    return dx, dy, dz, 2.0 * o, c", "omega_pixel_sr", 2.0),
    "lattice_shape": ("    return 3.0 * planted(p, x, y, z)", "F_latt", 3.0),
    "structure_factor": ("    return 5.0 * planted(p, h, k, l, h0, k0, l0, wavelength, latched)", "F_cell", 5.0),
    "polarization": ("    return 0.5 * planted(p, ix, iy, iz, dx, dy, dz)", "sample_polarization", 0.5),
    "scaling": ("    return planted(p, total, f_latt, 7.0 * f_cell, weight)", "I_before_scaling", 49.0),
}


def changed(stage: Stage, body: str, folder: Path, decorator: str = "", **fields: str) -> Registry:
    """The installed stages with another function in one of them; ``planted`` is its own. fields: more functions by field of Stage."""
    home = sys.modules[getattr(stage.function, "__module__", "")]
    source = ["import math", "import numba", f"from {home.__name__} import {stage.function.__name__} as planted"]
    source += [decorator, f"def changed({', '.join(stage.of.signature)}):", body, *fields.values()]
    (folder / "planted.py").write_text("\n".join(source))
    module = load_file(folder / "planted.py")
    other = replace(stage, function=module.changed, **{name: getattr(module, name) for name in fields})
    registry = Registry()
    for installed_stage, origin in installed():
        registry._add(installed_stage.kind, other if installed_stage is stage else installed_stage, origin)
    return registry


def usual(kind: str, experiment: nbnumba.Experiment) -> Stage:
    return installed().get(kind, stage_names(experiment)[kind])


@pytest.mark.spec("TRA-2")
@pytest.mark.parametrize("kind", PLANTED)
def test_a_change_planted_in_a_plugin_is_seen(kind: str, tmp_path: Path) -> None:
    """There is no second copy of the physics: whatever a stage does, the trace shows, and nothing that comes before."""
    experiment = nbnumba.experiment_from_options(CUBIC + CASES["sweep"])
    body, name, factor = PLANTED[kind]
    stages = changed(usual(kind, experiment), body, tmp_path)
    before, after = trace(experiment, 7, 15), trace(experiment, 7, 15, stages=stages)
    names = list(before.values)
    earlier = [n for n in names[: names.index(name)] if not n.startswith("F_latt_") and n != "obliquity_factor"]
    assert {n: after.values[n] for n in earlier} == {n: before.values[n] for n in earlier}
    assert after.values[name] == pytest.approx(factor * before.values[name], rel=1e-12)
    image = nbnumba.simulate(experiment, stages=stages)
    assert after.values["floatimage_accumulated"] == image.float32[7, 15]
    assert after.values["I_pixel_final"] == pytest.approx(image.pixels[7, 15], rel=1e-9)


@pytest.mark.spec("TRA-2", "TRA-3")
def test_a_change_planted_in_rotation_is_seen(tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(CUBIC + CASES["sweep"])
    stages = changed(usual("rotation", experiment), "    return 2 - step", tmp_path)
    before, after = trace(experiment, 7, 15), trace(experiment, 7, 15, stages=stages)
    assert [t["orientation"] for t in after.terms[:: experiment.mosaic[1]]] == ["carried", "fresh", "carried"]
    assert after.terms[0]["a_angstroms"] == before.terms[2 * experiment.mosaic[1]]["a_angstroms"]
    assert after.values["floatimage_accumulated"] == nbnumba.simulate(experiment, stages=stages).float32[7, 15]


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if n > 1 else ()) for n, kind in enumerate(PLANTED)])
def test_stages_that_are_compiled_already(kind: str, tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(CUBIC + CASES["sweep"])
    body = f"    return planted({', '.join(KINDS[kind].signature)})"
    if kind == "scaling":  # which the host calls, too, and numba compiles no jitted function that calls a plain one
        body = "    return total + (f_latt * f_cell) * (f_latt * f_cell)"
    stage = usual(kind, experiment)
    jitted = changed(stage, body.replace("planted", "own"), tmp_path, "own = numba.njit(planted)\n@numba.njit")
    assert trace(experiment, 7, 15, stages=jitted).values == trace(experiment, 7, 15).values


@pytest.mark.parametrize(
    ("kind", "body", "fields", "told"),
    [
        ("lattice_shape", "    return 1.0 / (p.n_a - p.n_a)", {}, "ZeroDivisionError: "),
        ("lattice_shape", "    return math.log(x - x)", {}, "ValueError: "),
        ("lattice_shape", "    return planted(p, x, y, z)", {"sign": "def sign(p, h, k, l):\n    return 1.0 / 0.0"}, "ZeroDivisionError: "),
    ],
)
def test_stages_that_plain_python_stops(kind: str, body: str, fields: dict[str, str], told: str, tmp_path: Path) -> None:
    """Compiled, they give what is not finite; in Python, one line."""
    experiment = nbnumba.experiment_from_options(CUBIC)
    stages = changed(usual(kind, experiment), body, tmp_path, **fields)
    with pytest.raises(StageError) as raised:
        trace(experiment, 3, 4, stages=stages)
    assert str(raised.value).startswith(f"pixel slow 3, fast 4: a stage function stops in plain Python: {told}")
    assert "\n" not in str(raised.value)


def test_a_pixel_at_the_crystal_and_a_cell_without_volume(tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(CUBIC)
    fields = {"place": "def place(p, fast, slow, layer):\n    return 0.0, 0.0, 0.0"}
    stages = changed(usual("geometry", experiment), "    return planted(p, fast, slow, layer)", tmp_path, **fields)
    found = trace(experiment, 3, 4, stages=stages)
    assert np.isnan(found.values["obliquity_factor"])
    flat = replace(usual("rotation", experiment), prepare=without_volume)
    registry = Registry()
    for stage, origin in installed():
        registry._add(stage.kind, flat if (stage.kind, stage.name) == ("rotation", "spec") else stage, origin)
    assert np.isnan(trace(experiment, 3, 4, stages=registry).terms[0]["a_star_A_inv"]).all()


def without_volume(experiment: nbnumba.Experiment) -> Any:
    prepared = installed().get("rotation", "spec").prepare(experiment)
    return prepared._replace(axes=np.zeros_like(prepared.axes))


def test_rendering_does_not_load_the_tracer() -> None:
    code = "import sys, nbnumba; nbnumba.simulate(nbnumba.experiment_from_options('-default_F 1 -cell 50 -N 2 -detpixels 8'))"
    check = "; assert not [m for m in sys.modules if m in ('nbnumba.tracing', 'nbnumba.kernel.interpreted')]"
    subprocess.run([sys.executable, "-c", code + check], check=True, timeout=300)


SWEPT = CUBIC + "-phi 0 -osc 1 -phisteps 2 "


def origins(options: str, slow: int, fast: int, mask: np.ndarray | None = None) -> list[Any]:
    experiment = nbnumba.experiment_from_options(options)
    sampling = replace(experiment.sampling, mask=mask)
    found = trace(replace(experiment, model=Model(preset="c-parity"), sampling=sampling), slow, fast)
    return [term.get("carried_from_sample", term["orientation"]) for term in found.terms]


@pytest.mark.spec("TRA-3", "ROT-5")
def test_where_an_orientation_is_carried_from() -> None:
    """The sample before in scan order, of those that are rendered."""
    assert origins(SWEPT, 0, 0) == ["fresh", "fresh"]
    assert origins(SWEPT, 3, 4) == [(3, 3, 0, 0, 0, 0), "fresh"]
    assert origins(SWEPT, 3, 0) == [(2, 23, 0, 0, 0, 0), "fresh"]
    assert origins(SWEPT + "-roi 5 10 2 9", 3, 5) == [(2, 10, 0, 0, 0, 0), "fresh"]
    assert origins(SWEPT + "-roi 5 10 2 9", 2, 5) == ["fresh", "fresh"]
    mask = np.ones((24, 24), bool)
    mask[3, 2:4] = False
    assert origins(SWEPT, 3, 4, mask) == [(3, 1, 0, 0, 0, 0), "fresh"]
    sub = origins(SWEPT + "-oversample 2", 3, 4)
    assert sub[::2] == [(3, 3, 0, 1, 1, 0), (3, 4, 0, 0, 0, 0), (3, 4, 0, 0, 1, 0), (3, 4, 0, 1, 0, 0)]
    middle = CUBIC + "-phi -0.5 -osc 1 -phisteps 2 "
    assert origins(middle, 3, 4) == ["fresh", (3, 4, 0, 0, 0, 0)]


@pytest.mark.spec("TRA-3")
def test_samples_cut_by_the_resolution_limit_carry_nothing() -> None:
    options = SWEPT + "-dmin 5 -oversample 2 -dispersion 20 -dispsteps 2 -roi 0 23 0 9"
    experiment = replace(nbnumba.experiment_from_options(options), model=Model(preset="c-parity"))
    walked: list[tuple[int, ...]] = []
    compared = 0
    for slow, fast in np.ndindex(10, 24):
        found = trace(experiment, slow, fast)
        terms = iter(found.terms)
        for sample in found.samples:
            if sample["within_resolution_limit"]:
                first, _ = next(terms), next(terms)
                if walked:
                    assert first["carried_from_sample"] == walked[-1]
                    compared += 1
                walked.append((slow, fast, *(sample[n] for n in ("layer", "sub_slow", "sub_fast", "source"))))
    assert 0 < compared < 10 * 24 * 8 - 1


@pytest.mark.spec("TRA-2", "SF-5")
def test_where_interpolation_has_ended_is_traced(tmp_path: Path) -> None:
    rows = [f"{h} {k} {l} {10 + h + k * l}" for h in range(-20, 21) for k in range(-9, 21) for l in range(-20, 21)]
    (tmp_path / "small.hkl").write_text("\n".join(rows))
    options = CUBIC.replace("-default_F 100", f"-hkl {tmp_path / 'small.hkl'}") + "-interpolate "
    experiment = replace(nbnumba.experiment_from_options(options), model=Model(preset="c-parity"))
    image = nbnumba.simulate(experiment)
    ended = []
    for slow, fast in list(np.ndindex(image.shape))[::7]:
        found = trace(experiment, slow, fast)
        ended.append(found.terms[0]["interpolation_ended"])
        assert found.values["floatimage_accumulated"] == image.float32[slow, fast]
    assert ended == sorted(ended)
    assert sum(ended) not in (0, len(ended))


@pytest.mark.spec("TRA-7")
@pytest.mark.parametrize(
    ("options", "pixel", "message"),
    [
        ("", (24, 3), "pixel: slow 24, fast 3 is not on the detector of 24 x 24 pixels"),
        ("-roi 5 10 2 9", (3, 4), "pixel: slow 3, fast 4 is outside the region of interest and is not rendered"),
        ("-oversample 1000", (3, 4), "pixel: has 1000000 terms; 100000 is the most that can be traced"),
    ],
)
def test_pixels_that_cannot_be_traced(options: str, pixel: tuple[int, int], message: str) -> None:
    with pytest.raises(ParameterError) as raised:
        trace(nbnumba.experiment_from_options(CUBIC + options), *pixel)
    assert str(raised.value) == message


@pytest.mark.spec("TRA-7")
def test_a_masked_pixel_is_refused() -> None:
    experiment = nbnumba.experiment_from_options(CUBIC)
    mask = np.ones((24, 24), bool)
    mask[3, 4] = False
    with pytest.raises(ParameterError, match="slow 3, fast 4 is masked and is not rendered"):
        trace(replace(experiment, sampling=replace(experiment.sampling, mask=mask)), 3, 4)


def lines(text: str) -> Iterator[tuple[str, list[str]]]:
    for line in text.splitlines():
        if not line.startswith("#"):
            name, *values = line.split()
            yield name, values


@pytest.mark.spec("TRA-4")
def test_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    options = (CUBIC + CASES["sources"]).split()
    assert main(["trace", "--pixel", "7", "15", *options]) == 0
    text = capsys.readouterr().out
    assert main(["trace", "--pixel", "7", "15", "--json", *options]) == 0
    content = json.loads(capsys.readouterr().out)
    found = trace(nbnumba.experiment_from_options(CUBIC + CASES["sources"]), 7, 15)
    assert content["stages"]["lattice_shape"] == "square"
    assert content["values"] == json.loads(json.dumps(found.values))
    assert (content["samples"], content["phi"]) == (json.loads(json.dumps(found.samples)), json.loads(json.dumps(found.terms)))
    flat = {name: values for name, values in lines(text) if name not in ("SAMPLE", "PHI")}
    for name, value in found.values.items():
        words = [value] if not isinstance(value, tuple) else value
        assert [type(v)(word) for v, word in zip(words, flat[name], strict=True)] == list(words)
    tags = [name for name, _ in lines(text)]
    assert (tags.count("SAMPLE"), tags.count("PHI")) == (len(found.samples), len(found.terms))
    assert len(found.samples) > 1


@pytest.mark.spec("TRA-4")
def test_what_is_not_finite_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "--pixel", "7", "15", "--json", *CUBIC.split(), "-fluence", "0"]) == 0
    values = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["values"]
    assert (values["r_e_sqr"], values["I_pixel_final"]) == (None, 0.0)


@pytest.mark.spec("TRA-4")
def test_rows_of_phi_alone(capsys: pytest.CaptureFixture[str]) -> None:
    options = (CUBIC + CASES["sweep"]).split()
    assert main(["trace", "--pixel", "7", "15", "--per-phi", *options]) == 0
    rows = [dict(word.split("=", 1) for word in words) for name, words in lines(capsys.readouterr().out) if name == "PHI"]
    assert [(row["phi_tic"], row["mos_tic"]) for row in rows] == [(str(t), str(m)) for t in range(3) for m in range(4)]
    assert main(["trace", "--pixel", "7", "15", "--per-phi", "--json", *options]) == 0
    assert [float(row["k_frac"]) for row in rows] == [row["k_frac"] for row in json.loads(capsys.readouterr().out)["phi"]]
