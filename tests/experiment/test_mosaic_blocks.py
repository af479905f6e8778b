"""Crystals of real size: Darwin's formula on an absolute scale, how many blocks there are, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import ParameterError, predict
from nbnumba.cli.main import main
from nbnumba.gradients.gradient import value_and_grad

ELECTRON_RADIUS = 2.8179403e-15  # m
HKL, F, EDGE, WAVELENGTH, FLUENCE = (10, 20, 0), 70.0, 50.0, 1.0, 3e24  # cell and wavelength in A, photons / m^2
OSCILLATION = 6.4  # deg
# The reflection in the plane across the spindle, on the Ewald sphere in the middle of the sweep.
SINE = WAVELENGTH * np.hypot(*HKL[:2]) / (2.0 * EDGE)
TURN = 90.0 + np.degrees(np.arcsin(SINE) - np.arctan2(HKL[1], HKL[0]))
TWO_THETA = 2.0 * np.arcsin(SINE)
SWEEP = (
    f"-default_F 1 -cell {EDGE} {EDGE} {EDGE} 90 90 90 -lambda {WAVELENGTH} -fluence {FLUENCE} -N 8 --crystal-size 0.05 -beamsize 0.04 "
    f"-misset 0 0 {TURN} -phi {-OSCILLATION / 2} -osc {OSCILLATION} -phisteps 160 -distance 100 -detpixels 1100 -oversample 2 "
)


def one_reflection(options: str) -> nbnumba.Experiment:
    """The sweep over one reflection, with pixels as far as it is the nearest."""
    found = nbnumba.experiment_from_options(SWEEP + options)
    spots = predict(found, 2e-10)
    (here,) = np.flatnonzero((spots.hkl == HKL).all(axis=1))
    fast, slow = round(spots.fast[here]), round(spots.slow[here])
    factors = nbnumba.StructureFactors(hkl=[HKL], F=[F], default_F=0.0, interpolate=False)
    roi = (fast - 35, fast + 35, slow - 35, slow + 35)
    return replace(found, structure_factors=factors, sampling=replace(found.sampling, roi=roi))


def darwin(volume: float) -> float:
    """Photons of a reflection: r_e^2 (fluence / angle) wavelength^3 F^2 volume / cell^2 times Lorentz and polarization factor."""
    lorentz, polarization = 1.0 / np.sin(TWO_THETA), 0.5 * (1.0 + np.cos(TWO_THETA) ** 2)
    cell, wavelength = EDGE**3 * 1e-30, WAVELENGTH * 1e-10
    per_angle = FLUENCE / np.radians(OSCILLATION)
    return float(ELECTRON_RADIUS**2 * per_angle * wavelength**3 * F**2 * volume / cell**2 * lorentz * polarization)


@cache
def photons(options: str) -> float:
    return float(nbnumba.simulate(one_reflection(options)).sum())


@pytest.mark.spec("EXP-60", "SCA-30", "LAT-20")
@pytest.mark.parametrize(
    "shape",
    [
        "-square_xtal",
        "-round_xtal",
        "-round_xtal -fudge 1.5",
        "-gauss_xtal",
        "-gauss_xtal -fudge 0.8",
        pytest.param("-tophat_spots -oversample 8 -phisteps 600", marks=pytest.mark.slow),
        "--block-spread 0.5",
    ],
)
def test_photons_of_a_reflection_are_darwins(shape: str) -> None:
    """With all of the tails of a shape, up to where another reflection is nearer; 40 of 50 um are in the beam, twice."""
    assert photons(f"--preset physics {shape}") == pytest.approx(darwin(50e-6 * 40e-6 * 40e-6), rel=1e-3)


@pytest.mark.spec("LAT-20")
def test_photons_are_darwins_whatever_the_width_of_spots() -> None:
    """With nanoBragg's width of Gaussian spots, too, which is another one."""
    wide = "--preset physics --quirk spot-width=on -gauss_xtal -fudge"
    fudge = (8 * EDGE) ** 2 / 8**6  # which makes (N^3 |x a*|)^2 (N x)^2 in Angstrom
    assert photons(f"{wide} {fudge}") == pytest.approx(darwin(50e-6 * 40e-6 * 40e-6), rel=1e-3)


@pytest.mark.spec("LAT-21", "CLI-110")
def test_blocks_of_many_sizes_are_the_sum_of_blocks_of_each() -> None:
    """Against many Gaussian blocks, whose cells need not be whole, of a finer quadrature."""
    bare = "-default_F 100 -cell 50 60 70 80 95 100 -lambda 1 -N 20 -distance 100 -detpixels 60 -pixel 1 -oversample 1 --preset physics "
    found = nbnumba.simulate(nbnumba.experiment_from_options(f"{bare} --block-spread 0.5 -fudge 0.7")).pixels
    gauss = nbnumba.experiment_from_options(f"{bare} -gauss_xtal -fudge 0.7")
    node, weight = np.polynomial.hermite_e.hermegauss(15)
    variance = np.log(1.25)
    volume = np.exp(np.sqrt(variance) * node - variance / 2.0)
    images = [nbnumba.simulate(gauss.taking(cells=(20.0 * v ** (1 / 3),) * 3)).pixels for v in volume]
    np.testing.assert_allclose(found, np.tensordot(weight / weight.sum(), images, axes=1), atol=3e-5 * found.max())
    alike = nbnumba.experiment_from_options(f"{bare} --block-spread 0 -fudge 0.7")
    np.testing.assert_allclose(nbnumba.simulate(alike).pixels, nbnumba.simulate(gauss).pixels, rtol=1e-9, atol=1e-12 * found.max())


@pytest.mark.slow
@pytest.mark.spec("SCA-30", "API-8")
def test_photons_are_those_of_one_block_times_the_number_of_blocks() -> None:
    """Of the crystal; water is as it is. What is predicted, and slopes, go with that."""
    bare = "-default_F 100 -cell 50 60 70 80 95 100 -lambda 1 -N 20 -distance 100 -detpixels 60 -pixel 1 -oversample 1 -beamsize 0.03 "
    block, crystal = (nbnumba.experiment_from_options(bare + more) for more in ("", "--crystal-size 0.01 0.02 0.04"))
    assert block.blocks == 1.0
    blocks = 10e-6 * 20e-6 * 30e-6 / (20**3 * crystal.unit_cell.volume)
    assert crystal.blocks == pytest.approx(blocks, rel=1e-12)
    one, many = (nbnumba.simulate(e).pixels for e in (block, crystal))
    np.testing.assert_allclose(many, blocks * one, rtol=1e-12)
    assert predict(crystal).intensity.sum() == pytest.approx(blocks * predict(block).intensity.sum(), rel=1e-12)
    for quirk in ("on", "off"):
        wet, dry = (
            nbnumba.experiment_from_options(f"{bare} -water 5 --quirk water-squared={quirk} {more}") for more in ("--crystal-size 0.01", "")
        )
        without = [replace(e, background=nbnumba.Background()) for e in (wet, dry)]
        water = [nbnumba.simulate(a).pixels - nbnumba.simulate(b).pixels for a, b in zip((wet, dry), without, strict=True)]
        np.testing.assert_allclose(*water, rtol=1e-6)
    _, (slope,) = value_and_grad(crystal, ["crystal.extent[0]"], lambda image: (image.sum(), np.ones_like(image)))
    assert slope == pytest.approx(many.sum() / 10e-6, rel=1e-6)


@pytest.mark.spec("EXP-60", "CLI-110")
def test_what_is_stated_of_a_crystal(capsys: pytest.CaptureFixture[str]) -> None:
    words = "explain -default_F 1 -cell 50 60 70 -lambda 1 -detpixels 50 --crystal-size 0.05 0.2 0.03 --block-size 0.5 --json".split()
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    crystal, cells = found["crystal"], (100, 84, 72)
    assert tuple(crystal["cells"]) == cells
    assert crystal["crystal_size_um"] == pytest.approx([50, 200, 30])
    assert crystal["illuminated_um"] == pytest.approx([50, 100, 30])
    assert crystal["illuminated_um3"] == pytest.approx(150000)
    assert crystal["blocks"] == pytest.approx(150000e12 / (100 * 84 * 72 * 50 * 60 * 70), rel=1e-9)
    assert "crystal width of 0.2 mm clipped to the beam size of 0.1 mm" in found["warnings"]
    assert main(["explain", *"-default_F 1 -cell 50 60 70 -N 5 --json".split()]) == 0
    assert "blocks" not in json.loads(capsys.readouterr().out)["crystal"]


@pytest.mark.spec("EXP-60", "CLI-110")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--crystal-size 0.05 0.06 -N 5", "--crystal-size 0.05 0.06: needs one edge, or three, greater than 0"),
        ("--block-size 1 2", "--block-size 1 2: needs one edge, or three, greater than 0"),
        ("--crystal-size 0", "--crystal-size 0: must be greater than 0 mm"),
        ("--block-spread 1.5", "--block-spread 1.5: must be at most 1"),
        ("--block-size 0", "--block-size 0: needs one edge, or three, greater than 0"),
        (
            "--crystal-size 0.05",
            "crystal.extent (--crystal-size): is that of a mosaic of blocks; give their size, crystal.cells (-N, --block-size)",
        ),
        (
            "--crystal-size 0.001 --block-size 2",
            "crystal.extent (--crystal-size): of what the beam meets is 0.12 of a block's volume; give smaller blocks",
        ),
        (
            "-xtalsize 0.05 -oversample 1000 -mosaic 1 -mosaic_dom 1000000",
            "sampling.oversample (-oversample): 1.0e+17 samples to render; 1e+15 is the most; -xtalsize is one block, --crystal-size with "
            "--block-size a mosaic of them",
        ),
    ],
)
def test_what_is_refused(options: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = "explain -default_F 1 -cell 50 60 70 -lambda 1 -detpixels 320".split()
    assert main([*words, *options.split()]) == 2
    assert capsys.readouterr().err == f"nbnumba: error: {told}\n"


@pytest.mark.spec("EXP-11", "EXP-60")
def test_a_crystal_of_real_size_is_saved(tmp_path: Path) -> None:
    found = nbnumba.experiment_from_options("-default_F 1 -cell 50 60 70 -N 20 --crystal-size 0.05 0.2 0.03")
    nbnumba.save_experiment(found, tmp_path / "a.toml")
    assert nbnumba.load_experiment(tmp_path / "a.toml") == found
    with pytest.raises(ParameterError, match=r"crystal\.extent: 0\.0 m: must be greater than 0"):
        nbnumba.Crystal(extent=(0.0, 1e-5, 1e-5))
