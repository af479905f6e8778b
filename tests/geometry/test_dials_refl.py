"""Predicted spots as tables of reflections: what does not take DIALS to tell."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import msgpack
import numpy as np
import pytest
from many_panels import sixteen

import nbnumba
from nbnumba import InputFileError, predict
from nbnumba.cli.main import main
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.dials_refl import read_columns
from nbnumba.geometry.spots import PredictedSpots

OPTIONS = (
    "-default_F 50 -cell 50 60 70 90 95 90 -misset 10 20 30 -N 5 -oversample 1 -lambda 1 -distance 100 -detpixels 200 -pixel 0.5 -dmin 3"
)
RUN = ["run", *OPTIONS.split(), "-roi", "0", "0", "0", "0"]


@pytest.mark.spec("FMT-105", "API-8", "EXP-33")
def test_several_panels_are_predicted_one_by_one(tmp_path: Path) -> None:
    exposure = sixteen((60, 70), distance=0.05, spindle_axis=(1.0, 0.0, 0.0), oscillation=0.02)
    (tmp_path / "a.expt").write_text(expt_text(exposure, np.diag([1 / 50e-10, 1 / 60e-10, 1 / 70e-10])))
    experiment = nbnumba.experiment_from_options(f"-default_F 50 -N 5 -dmin 3 -oversample 1 --expt {tmp_path / 'a.expt'}")
    found, alone = predict(experiment), [predict(one) for one in experiment.by_panel]
    assert len({*found.panel.tolist()}) == 16
    for field in fields(PredictedSpots):
        if field.name != "panel":
            np.testing.assert_array_equal(getattr(found, field.name), np.concatenate([getattr(one, field.name) for one in alone]))


@pytest.mark.spec("FMT-105")
def test_a_still_has_all_that_is_expected(in_tmp_path: Path) -> None:
    assert main([*RUN, "-o", "a.refl"]) == 0
    found, spots = read_columns(Path("a.refl")), predict(nbnumba.experiment_from_options(OPTIONS))
    np.testing.assert_array_equal(found["miller_index"], spots.hkl)
    np.testing.assert_array_equal(found["partiality"][:, 0], spots.partiality)
    np.testing.assert_array_equal(found["intensity.sum.value"][:, 0], spots.intensity)
    np.testing.assert_allclose(found["xyzcal.px"][:, :2], np.column_stack([spots.fast, spots.slow]) + 0.5, rtol=1e-14)
    assert (found["flags"] == 1).all()


@pytest.mark.spec("FMT-105")
def test_a_scan_has_what_meets_the_sphere(in_tmp_path: Path) -> None:
    sweep = ["sweep", *OPTIONS.split(), "-roi", "0", "0", "0", "0", "--images", "3", "--width", "0.2", "-phisteps", "1", "-o", "a.nxs"]
    assert main([*sweep, "--save-refl", "a.refl"]) == 0
    found, spots = read_columns(Path("a.refl")), predict(nbnumba.experiment_from_options(f"{OPTIONS} -osc 0.6"))
    met = np.abs(spots.excitation_error) < 1.0
    assert 0 < np.count_nonzero(met) < len(met)
    np.testing.assert_array_equal(found["miller_index"], spots.hkl[met])
    np.testing.assert_allclose(found["xyzcal.px"][:, 2], np.degrees(spots.phi[met]) / 0.2, atol=1e-12)


@pytest.mark.spec("FMT-105", "EVI-3")
def test_a_bundle_compares_reflections(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "-o", "a.refl", "--bundle", "kept"]) == 0
    assert main(["bundle", "verify", "kept"]) == 0
    from nbnumba.evidence.agreement import same_outcome

    content = msgpack.unpackb(Path("a.refl").read_bytes(), strict_map_key=False)
    for change, words in ((1e-9, "equal within 1e-6"), (1e-3, "s1 differs")):
        rows, numbers = content[2]["data"]["s1"][1]
        content[2]["data"]["s1"][1] = [rows, (np.frombuffer(numbers) * (1.0 + change)).tobytes()]
        Path("b.refl").write_bytes(msgpack.packb(content))
        assert same_outcome(Path("a.refl"), Path("b.refl"), "reflections").words == words
    assert main([*RUN, "-dmin", "4", "-o", "c.refl"]) == 0
    assert "reflections, not" in same_outcome(Path("a.refl"), Path("c.refl"), "reflections").words


@pytest.mark.spec("FMT-105")
@pytest.mark.parametrize(
    "content", [b"", b"no table", msgpack.packb([1, 2]), msgpack.packb(["a", 1, {"nrows": 1, "data": {"s1": ["other", [1, b""]]}}])]
)
def test_what_is_no_table(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.refl").write_bytes(content)
    with pytest.raises(InputFileError, match=r"a\.refl: is no table of reflections as nbnumba writes them"):
        read_columns(tmp_path / "a.refl")


@pytest.mark.spec("FMT-105")
def test_without_msgpack(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    words = "nbnumba: error: .refl files need msgpack; install it with: pip install 'nbnumba[dials]'\n"
    assert main([*RUN, "-o", "a.refl"]) == 2
    assert capsys.readouterr().err.endswith(words)
    assert main(["sweep", *OPTIONS.split(), "--images", "1", "--width", "0.2", "-o", "a.nxs", "--save-refl", "a.refl"]) == 2
    assert capsys.readouterr().err.endswith(words)
    assert list(in_tmp_path.iterdir()) == []
