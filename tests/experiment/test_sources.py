"""Divergence, dispersion and source lists; sensor layers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import ParameterError

BASE = "-default_F 1 -cell 50 "


def sources(options: str):
    return nbnumba.experiment_from_options(BASE + options).source_list


@pytest.mark.spec("EXP-13")
@pytest.mark.parametrize(
    ("options", "angles_mrad"),
    [
        ("", [0]),
        ("-hdivrange 10", [-5, 5]),
        ("-hdivrange 10 -hdivsteps 3", [-5, 0, 5]),
        ("-hdivrange 10 -hdivsteps 1", [-5, 5]),
        ("-hdivrange 10 -hdivstep 4", [-5, -1, 3]),
        ("-hdivrange 10 -hdivstep 4 -hdivsteps 2", [-5, -1]),
        ("-hdivstep 4", [-2, 2]),
        ("-hdivstep 4 -hdivsteps 9", [-2, 2]),
        ("-hdivrange 0 -hdivsteps 5", [0]),
        ("-hdivsteps 2", [-500, 0]),
    ],
)
def test_divergence_in_one_direction(options: str, angles_mrad: list[float]) -> None:
    found = sources(options)
    np.testing.assert_allclose(np.sort(np.arccos(found.incident[:, 0]) * 1e3), np.sort(np.abs(angles_mrad)), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found.incident, axis=1), 1.0)


@pytest.mark.spec("EXP-13")
def test_a_round_grid_leaves_out_its_corners() -> None:
    grid = "-divergence 20 -divsteps 5"
    assert len(sources(f"{grid} -square_div").wavelength) == 25
    assert len(sources(grid).wavelength) == 13
    assert len(sources(f"{grid} -dispersion 2 -dispsteps 3").wavelength) == 39


@pytest.mark.spec("EXP-13")
def test_dispersion() -> None:
    np.testing.assert_allclose(sources("-lambda 2 -dispersion 3 -dispsteps 3").wavelength * 1e10, [1.97, 2.0, 2.03])
    np.testing.assert_allclose(sources("-lambda 2 -dispersion 3").wavelength * 1e10, [1.97, 2.03])
    with pytest.raises(ParameterError, match="sources; 1000000 are the most"):
        sources("-divergence 1 -divsteps 1000 -square_div -dispersion 1 -dispsteps 2")


@pytest.mark.spec("EXP-14", "FMT-10")
def test_a_source_list(tmp_path: Path) -> None:
    file = tmp_path / "sources.txt"
    file.write_text("# X Y Z weight wavelength\n-10 0.02 0.01 1.0 9.768e-11\n\n-5, 0, 0; 2\n-10\n")
    found = sources(f"-lambda 2 -sourcefile {file}")
    np.testing.assert_allclose(found.incident[0], np.array([10, -0.02, -0.01]) / math.hypot(10, 0.02, 0.01))
    np.testing.assert_allclose(found.incident[1:], [[1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(found.wavelength * 1e10, [0.9768, 2, 2])
    np.testing.assert_allclose(found.weight, [1, 2, 1])


@pytest.mark.spec("FMT-10")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no sources"),
        ("1 2 3 4 5 6\n", "line 1: expected X Y Z weight wavelength, found 6 columns"),
        ("-10 0 0\n-10 x 0\n", "line 2: Y = 'x' is not a number"),
        ("-10 0 0 1 1.0\n", "line 1: wavelength = 1.0 is out of range"),
        ("-10 0 0 -1\n", "line 1: weight = -1 is out of range"),
        ("nan 0 0\n", "line 1: X = nan is out of range"),
    ],
)
def test_a_bad_source_list_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "sources.txt"
    file.write_text(text)
    with pytest.raises(nbnumba.InputFileError, match=message):
        sources(f"-sourcefile {file}")


@pytest.mark.spec("EXP-15", "GEO-5")
@pytest.mark.parametrize(
    ("options", "layers", "thickness_um", "absorption_per_um"),
    [
        ("", 1, 0, 0),
        ("-thicksteps 5", 1, 0, 0),
        ("-detector_thick 450", 2, 225, 1 / 450),
        ("-detector_thick 450 -detector_abs 300 -thicksteps 1", 2, 450, 1 / 300),
        ("-detector_thick 450 -detector_abs 300 -thicksteps 4", 4, 150, 1 / 300),
        ("-detector_thick 450 -detector_abs inf", 1, 0, 0),
        ("-detector_abs inf -detector_thick 450", 2, 225, 0),
    ],
)
def test_sensor_layers(options: str, layers: int, thickness_um: float, absorption_per_um: float) -> None:
    found = nbnumba.experiment_from_options(BASE + options)
    assert found.layers == (layers, pytest.approx(thickness_um * 1e-6))
    assert found.detector.absorption == pytest.approx(absorption_per_um * 1e6)


@pytest.mark.spec("GEO-6")
def test_without_quirks_any_number_of_layers_captures_the_same() -> None:
    options = "-default_F 100 -cell 50 -N 3 -detpixels 8 -pixel 2 -distance 1e4 -detector_thick 450 -detector_abs 234 -oversample 1 "
    sums = []
    for layers in (1, 2, 16):
        found = nbnumba.experiment_from_options(f"{options} -thicksteps {layers}")
        sums.append(nbnumba.simulate(replace(found, model=nbnumba.Model(preset="physics"))).pixels.sum())
    np.testing.assert_allclose(sums, sums[0], rtol=1e-3)
    surface = nbnumba.simulate(nbnumba.experiment_from_options(options.replace("-detector_thick 450 -detector_abs 234", ""))).pixels.sum()
    assert sums[0] / surface == pytest.approx(1 - math.exp(-450 / 234), rel=1e-3)
