"""The work that is timed: one row of the table for every model and every way to add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nbnumba.experiment.experiment import Experiment
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.options.own import experiment_from_options

# A 100 A cell at 1 A on a detector to 1.6 A; 5 x 5 x 5 cells, so that every pixel has fringes in it.
BASE = "-default_F 100 -cell 100 -lambda 1 -distance 100 -pixel {pixel} -detpixels {pixels} -mosaic 0.5"
WIDTH_MM = 102.4


@dataclass(frozen=True)
class Work:
    """options: over BASE, understood by nanoBragg too; table: with a list of reflections; own: our options only."""

    name: str
    options: str
    table: bool = False
    dtype: str = "float64"
    negligible: float = 0.0
    quirks: tuple[str, ...] = ()  # turned off


WORK = (
    Work("square", "-N 5 -mosaic_dom 50 -oversample 1"),
    Work("square, table", "-N 5 -mosaic_dom 50 -oversample 1", table=True),
    Work("square, tricubic", "-N 5 -mosaic_dom 50 -oversample 1 -interpolate -distance 250", table=True),
    Work("round", "-N 5 -mosaic_dom 50 -oversample 1 -round_xtal"),
    Work("gauss", "-N 5 -mosaic_dom 50 -oversample 1 -gauss_xtal"),
    Work("tophat", "-N 5 -mosaic_dom 50 -oversample 1 -tophat_spots"),
    Work("4 sub-pixels", "-N 5 -mosaic_dom 12 -oversample 2", table=True),
    Work("5 sensor layers", "-N 5 -mosaic_dom 10 -oversample 1 -detector_thick 450 -detector_abs 300 -thicksteps 5", table=True),
    Work("5 sources", "-N 5 -mosaic_dom 10 -oversample 1 -dispersion 1 -dispsteps 5", table=True),
    Work("10 phi steps", "-N 5 -mosaic_dom 5 -oversample 1 -phi 0 -osc 1 -phisteps 10", table=True),
    Work("factors per sub-pixel", "-N 5 -mosaic_dom 50 -oversample 1 -oversample_omega -oversample_polar", table=True),
    Work("curved detector", "-N 5 -mosaic_dom 50 -oversample 1 -curved_det", table=True),
    Work("square, float32", "-N 5 -mosaic_dom 50 -oversample 1", dtype="float32"),
    Work("square, table, float32", "-N 5 -mosaic_dom 50 -oversample 1", table=True, dtype="float32"),
    Work("round, float32", "-N 5 -mosaic_dom 50 -oversample 1 -round_xtal", dtype="float32"),
    Work("gauss, float32", "-N 5 -mosaic_dom 50 -oversample 1 -gauss_xtal", dtype="float32"),
    Work("gauss, 100 cells", "-N 100 -mosaic_dom 200 -oversample 1 -gauss_xtal", negligible=1e-60, quirks=("spot-width",)),
    Work("tophat, 100 cells", "-N 100 -mosaic_dom 200 -oversample 1 -tophat_spots", negligible=1e-60, quirks=("spot-width",)),
)
NAMES = tuple(work.name for work in WORK)


def options_of(work: Work, pixels: int) -> str:
    """The whole line of options, for a detector of the same size whatever its pixels."""
    return f"{BASE.format(pixel=WIDTH_MM / pixels, pixels=pixels)} {work.options}"


def experiment_of(work: Work, pixels: int) -> Experiment:
    """The experiment of a row of the table."""
    experiment = experiment_from_options(options_of(work, pixels))
    if work.table:
        factors = replace(table(), interpolate=experiment.structure_factors.interpolate)
        experiment = replace(experiment, structure_factors=factors)
    sampling = replace(experiment.sampling, dtype=work.dtype, negligible=work.negligible)
    model = replace(experiment.model, quirks=dict.fromkeys(work.quirks, False))
    return replace(experiment, sampling=sampling, model=model)


def table() -> StructureFactors:
    """All reflections to (50, 50, 30), with amplitudes at random."""
    axes = [np.arange(-n, n + 1) for n in (50, 50, 30)]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return StructureFactors(hkl=hkl, F=np.round(np.random.default_rng(0).random(len(hkl)) * 200.0, 2), default_F=100.0)


def write_table(path: Path) -> None:
    """The same for a program that reads text."""
    factors = table()
    assert factors.hkl is not None
    assert factors.F is not None
    np.savetxt(path, np.column_stack([factors.hkl, factors.F]), fmt="%d %d %d %.2f")
