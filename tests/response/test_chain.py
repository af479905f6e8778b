"""Chains that plugins add to: responses from photons to counts, and factors of every term; kinds of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba import StageError
from nbnumba.cli.main import main
from nbnumba.gradients.check import check_gradient
from nbnumba.plugin import Factor, Kind, Place, Response
from nbnumba.response.chain import counts_of
from nbnumba.response.counts import INT32
from nbnumba.response.readout import Readout
from nbnumba.stages.registry import with_files
from nbnumba.stages.stage import CLASSES, KINDS
from nbnumba.traces.tracing import trace

BASE = "-default_F 100 -cell 50 60 70 -lambda 1 -distance 50 -N 4 -detpixels 12 -pixel 1 -oversample 1 -misset 10 20 30 -fluence 1e29"
DEAD_TIME, DEBYE_WALLER = ROOT / "examples" / "dead_time.py", ROOT / "examples" / "debye_waller.py"


def image(options: str = "", *files: Path) -> nbnumba.Image:
    experiment = nbnumba.experiment_from_options(f"{BASE} {options}")
    return nbnumba.simulate(experiment, stages=with_files(files))


def counts(of: nbnumba.Image, **readout: object) -> np.ndarray:
    return np.vstack([rows.counts for rows in counts_of(of, Readout(**{"held": INT32, **readout}))])


def nothing(experiment):
    return None


@pytest.mark.spec("RSP-1", "RSP-2", "RSP-3", "RSP-4")
def test_the_usual_chain() -> None:
    plain = image()
    photons = plain.float32.astype(float)
    assert [stage.name for stage in plain.responses] == ["counting", "offset", "rounding"]
    np.testing.assert_array_equal(counts(plain, scale=0.5, offset=3.0), np.floor(photons * 0.5 + 3.0 + 0.5))
    drawn = counts(plain, seed=4, offset=3.25)
    assert (drawn != counts(plain, seed=5, offset=3.25)).any()
    assert abs(drawn.sum() - photons.sum() - 3 * photons.size) < 5.0 * np.sqrt(photons.sum())


@pytest.mark.spec("RSP-4")
def test_one_more_comes_before_the_offset_and_others_as_they_are_named() -> None:
    more = image("--plugin response=dead-time --set dead_time=1e-1", DEAD_TIME)
    assert more.provenance["stages"]["response"] == "counting,dead-time,offset,rounding"
    photons = more.float32.astype(float)
    np.testing.assert_array_equal(counts(more, offset=40.0), np.floor(photons * np.exp(-photons * 1e-1) + 40.5))
    named = image("--response offset,dead-time,rounding --set dead_time=1e-1", DEAD_TIME)
    added = photons + 40.0
    np.testing.assert_array_equal(counts(named, offset=40.0), np.floor(added * np.exp(-added * 1e-1) + 0.5))


@pytest.mark.spec("RSP-4")
def test_run_and_save_go_through_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--plugin response=dead-time --set dead_time=1e-1"
    assert main(["run", *BASE.split(), *options.split(), "--plugin-file", str(DEAD_TIME), "-o", "a_1.cbf", "-seed", "7"]) == 0
    image(options, DEAD_TIME).save("b_1.cbf", seed=7)
    found = nbnumba.read_image("a_1.cbf")
    np.testing.assert_array_equal(found, nbnumba.read_image("b_1.cbf"))
    assert found.sum() < 0.9 * image().sum()


@pytest.mark.spec("RSP-4")
@pytest.mark.parametrize("chain", ["", "counting,", ",offset"])
def test_a_chain_with_a_name_missing_is_refused(chain: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *BASE.split(), f"--response={chain}"]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: --response {chain!r}: must have the form A,B,C, names of response stages\n"


def whole_image(p, values, frame):
    return values / values.sum() * 1e6


@pytest.mark.spec("RSP-4")
def test_what_needs_the_whole_image_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.image.image.PIXELS_PER_BLOCK", 12)  # a row
    share = Response("share", "of a million", nothing, whole_image, whole=True)
    found = counts(nbnumba.simulate(nbnumba.experiment_from_options(BASE), stages=[share]))
    assert abs(found.sum() - 1e6) < found.size


@pytest.mark.spec("RSP-4")
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda p, values, frame: values[1:], r"response 'wrong': must return numbers, \(12, 12\) of them; returned float64 \(11, 12\)"),
        (lambda p, values, frame: values * np.nan, "response 'wrong': must return numbers"),
        (lambda p, values, frame: 1 / 0, "response 'wrong': ZeroDivisionError: division by zero"),
    ],
)
def test_a_response_that_is_wrong_is_named(function: object, told: str) -> None:
    wrong = Response("wrong", "", nothing, function)  # type: ignore[arg-type]
    with pytest.raises(StageError, match=told):
        counts(nbnumba.simulate(nbnumba.experiment_from_options(BASE), stages=[wrong]))


@pytest.mark.spec("FAC-1")
def test_factors_multiply_terms() -> None:
    """Twice the same factor is its square; the wavelength is the source's own."""
    once = image("--plugin factor=debye-waller --set debye_waller_B=1e-19", DEBYE_WALLER)
    twice = image("--plugin factor=debye-waller --plugin factor=debye-waller --set debye_waller_B=1e-19", DEBYE_WALLER)
    plain = image("--plugin scaling=per-term")
    assert once.provenance["stages"]["factor"] == "debye-waller"
    assert (once.provenance["stages"]["scaling"], image().provenance["stages"]["scaling"]) == ("per-term", "reference")
    factor = once.pixels / plain.pixels
    np.testing.assert_allclose(twice.pixels / plain.pixels, factor**2, rtol=1e-12)
    traced = trace(once.experiment, 3, 4, stages=with_files((DEBYE_WALLER,)))
    assert traced.samples[0]["factor_debye-waller"] == pytest.approx(factor[3, 4], rel=1e-12)
    q = np.array(traced.values["scattering_vec_A_inv"])  # in 1/m, under the name that it has in nanoBragg's logs
    assert factor[3, 4] == pytest.approx(np.exp(-0.5 * 1e-19 * (q @ q)), rel=1e-9)


@pytest.mark.spec("FAC-1", "GRA-2", "GRA-20")
def test_gradients_go_through_factors() -> None:
    """By the wavelength, which the factor is told, by the rays, and by its own parameter; with two of them."""
    options = "--plugin factor=debye-waller --plugin factor=debye-waller --set debye_waller_B=1e-20"
    experiment = nbnumba.experiment_from_options(f"{BASE} {options} --plugin-file {DEBYE_WALLER} -oversample 2 -oversample_polar")
    found = check_gradient(experiment, ["wavelength", "detector_rotx", "distance", "debye_waller_B"], stages=with_files((DEBYE_WALLER,)))
    assert found.off() == []
    assert all(row.gradient != 0.0 for row in found.rows)


@pytest.mark.spec("FAC-1")
def test_a_scaling_that_does_not_look_at_weights_is_refused() -> None:
    with pytest.raises(StageError, match="factor 'debye-waller': scaling 'reference' does not look at the weight of a term"):
        image("--plugin factor=debye-waller --plugin scaling=reference", DEBYE_WALLER)


@pytest.mark.spec("FAC-1", "RSP-4")
@pytest.mark.parametrize(("path", "kind", "name"), [(DEAD_TIME, "response", "dead-time"), (DEBYE_WALLER, "factor", "debye-waller")])
def test_the_examples_are_short_pass_the_suite_and_are_listed(path: Path, kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in path.read_text().split('"""', 2)[2].splitlines() if line.strip()]
    assert len(lines) <= 25
    assert main(["plugins", "check", str(path)]) == 0
    assert "FAIL" not in capsys.readouterr().out
    assert main(["plugins", "--plugin-file", str(path)]) == 0
    assert f"{kind} {name}: " in capsys.readouterr().out
    assert main(["explain", *BASE.split(), "--plugin-file", str(path), "--plugin", f"{kind}={name}"]) == 0
    assert name in capsys.readouterr().out


OF_ITS_OWN = """
from typing import NamedTuple
from nbnumba.plugin import Factor, Kind, Place, WorkedValue, hookimpl

class Absorption(Factor, kind=Kind(
    name="absorption", place=Place.FACTORS, meaning="What the sample swallows.", arguments=Factor.of.arguments,
    returns="share that leaves the sample", prefix="ABS", differentiated_by=Factor.of.differentiated_by,
)):
    pass

class Half(NamedTuple):
    share: float

def half(p, ix, iy, iz, dx, dy, dz, wavelength):
    return p.share

def slopes(p, ix, iy, iz, dx, dy, dz, wavelength):
    return p.share, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0

STAGE = Absorption("half", "half of all", lambda experiment: Half(0.5), half, derivative=slopes, varied=("share",),
    worked_values=(WorkedValue(Half(0.5), (1.0, 0.0, 0.0, 0.8, 0.6, 0.0, 1e-10), 0.5),))

@hookimpl
def absorption():
    return [STAGE]
"""


@pytest.fixture
def no_more_kinds() -> Iterator[None]:
    """Kinds that a test declares are gone after it."""
    kinds, classes = dict(KINDS), dict(CLASSES)
    yield
    for here, before in ((KINDS, kinds), (CLASSES, classes)):
        here.clear()
        here.update(before)


@pytest.mark.spec("FAC-1")
@pytest.mark.usefixtures("no_more_kinds")
def test_a_kind_of_ones_own_is_one_declaration_and_one_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It renders, beside other factors, is differentiated, and passes the suite."""
    path = tmp_path / "absorption.py"
    path.write_text(OF_ITS_OWN)
    assert main(["plugins", "check", str(path)]) == 0
    capsys.readouterr()
    both = "--plugin absorption=half --plugin factor=debye-waller"
    found = image(both, path, DEBYE_WALLER)
    assert found.provenance["stages"]["absorption"] == "half"
    np.testing.assert_allclose(found.pixels, 0.5 * image("--plugin factor=debye-waller", DEBYE_WALLER).pixels, rtol=1e-12)
    value, gradient = nbnumba.value_and_grad(found.experiment, ["wavelength"], total, stages=with_files((path, DEBYE_WALLER)))
    assert value == pytest.approx(found.sum(), rel=1e-12)
    assert np.isfinite(gradient).all()


def total(photons: np.ndarray) -> tuple[float, np.ndarray]:
    return float(photons.sum()), np.ones_like(photons)


def test_kinds_are_declared_where_they_are() -> None:
    assert KINDS["response"] is Response.of
    assert Factor.of.place is Place.FACTORS
    assert isinstance(Factor.of, Kind)
