"""Predicted spots in a file, beside DIALS's own prediction of the same experiment."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.dials_predictor import predicted
from formats.dxtbx_reader import MISSING, has_dxtbx, with_filters
from many_panels import sixteen

from nbnumba.cli.main import main
from nbnumba.geometry.dials_out import expt_text

pytestmark = pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
CRYSTAL = "-default_F 50 -cell 50 60 70 90 95 90 -misset 10 20 30 -N 20 -oversample 1"
ONE = "-lambda 1 -distance 100 -detpixels 200 -pixel 0.5"


def matched(found: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    """Ours and theirs of the spots that both have, in one order, and how many of theirs we do not have."""
    keys = [
        {
            (*index, panel, entering): n
            for n, (index, panel, entering) in enumerate(zip(*(map(tuple, of["miller_index"]), of["panel"], of["entering"]), strict=True))
        }
        for of in (found["ours"], found["theirs"])
    ]
    common = sorted(keys[0].keys() & keys[1].keys())
    ours, theirs = (
        {name: np.array([values[key[one]] for one in common]) for name, values in of.items()}
        for key, of in zip(keys, (found["ours"], found["theirs"]), strict=True)
    )
    return ours, theirs, len(keys[1]) - len(common)


@pytest.mark.spec("FMT-105")
@pytest.mark.parametrize("detector", ["", "-detector_thick 450 -detector_abs 300 -twotheta 12"])
def test_a_scan_is_predicted_as_dials_does(detector: str, in_tmp_path: Path) -> None:
    words = [*CRYSTAL.split(), *ONE.split(), *detector.split(), "-phi", "20", "-dmin", "2.5", "-phisteps", "1"]
    assert main(["sweep", *words, "--images", "4", "--width", "0.5", "-o", "a.nxs", "--save-expt", "a.expt", "--save-refl", "a.refl"]) == 0
    compare(predicted(Path("a.expt"), Path("a.refl"), 2.5), 100)


@pytest.mark.spec("FMT-105")
def test_a_scan_on_many_panels(in_tmp_path: Path) -> None:
    exposure = sixteen((100, 120), distance=0.05, spindle_axis=(1.0, 0.0, 0.0), oscillation=0.02, phi_start=0.3)
    reciprocal = np.linalg.inv(np.array([[50e-10, 3e-10, 0.0], [0.0, 60e-10, -5e-10], [10e-10, 0.0, 70e-10]])).T
    Path("in.expt").write_text(expt_text(exposure, reciprocal))
    words = ["--expt", "in.expt", "-default_F", "50", "-N", "20", "-oversample", "1", "-dmin", "2.5", "-phisteps", "1"]
    assert main(["sweep", *words, "--images", "2", "-o", "a.nxs", "--save-expt", "a.expt", "--save-refl", "a.refl"]) == 0
    found = predicted(Path("a.expt"), Path("a.refl"), 2.5)
    assert len(set(found["ours"]["panel"])) == 16
    compare(found, 100)


def compare(found: dict[str, Any], least: int) -> None:
    assert found["identifiers"][0] == found["identifiers"][1] != [""]
    ours, theirs, missing = matched(found)
    count = len(found["ours"]["id"])
    assert len(ours["id"]) >= least
    assert found["predicted"] == count
    assert (missing, count - len(ours["id"])) == (0, 0)
    assert (ours["id"] == 0).all()
    for name in ("s1", "xyzcal.mm", "xyzcal.px"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0.0, atol=1e-9, err_msg=name)


@pytest.mark.spec("FMT-105")
def test_a_still_is_predicted_as_dials_does(in_tmp_path: Path) -> None:
    """Of a mosaic crystal, whose reflections both turn onto the sphere; DIALS takes as many as are near it."""
    words = [*CRYSTAL.split(), *ONE.split(), "-mosaic", "0.3", "-dmin", "1.5", "-phi", "17", "-roi", "0", "0", "0", "0"]
    assert main(["run", *words, "-o", "a.expt", "-o", "a.refl"]) == 0
    found = predicted(Path("a.expt"), Path("a.refl"), 1.5)
    assert found["identifiers"][0] == found["identifiers"][1]
    ours, theirs, _ = matched(found)
    assert len(ours["id"]) > 50
    for name in ("s1", "xyzcal.mm", "xyzcal.px", "delpsical.rad"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0.0, atol=1e-9, err_msg=name)
    assert ((ours["partiality"] > 0.0) & (ours["partiality"] <= 1.0)).all()


@pytest.mark.spec("FMT-95", "FMT-105")
@pytest.mark.parametrize("name", ["a_####.cbf", "a.nxs", "sub/a_master.h5"])
def test_dials_goes_on_from_the_experiment(name: str, in_tmp_path: Path) -> None:
    """It finds the images that the file names, wherever it is called, and takes them for a scan."""
    words = [*CRYSTAL.split(), *ONE.split(), "-phi", "20", "-dmin", "2.5", "-phisteps", "1", "-N", "10"]
    assert main(["sweep", *words, "--images", "3", "--width", "0.5", "-o", name, "--save-expt", "a.expt", "--save-refl", "a.refl"]) == 0
    done = subprocess.run(["dials.predict", in_tmp_path / "a.expt", "d_min=2.5"], capture_output=True, text=True, env=with_filters())
    assert "Saved" in done.stdout, done.stdout + done.stderr
    found = predicted(Path("a.expt"), Path("predicted.refl"), 2.5)
    ours = predicted(Path("a.expt"), Path("a.refl"), 2.5)["ours"]
    theirs = {tuple(index): place for index, place in zip(found["ours"]["miller_index"], found["ours"]["xyzcal.px"], strict=True)}
    assert len(ours["id"]) > 100
    np.testing.assert_allclose([theirs[tuple(index)] for index in ours["miller_index"]], ours["xyzcal.px"], rtol=0.0, atol=1e-6)
