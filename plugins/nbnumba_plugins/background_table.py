"""Materials whose F is in a table of the user's (BKG-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import BackgroundStage, WorkedValue, hookimpl
from nbnumba_plugins import scattering_table
from nbnumba_plugins.scattering_table import THOMSON, Table, extended, materials_of, molecules, scattered

if TYPE_CHECKING:
    from nbnumba.experiment.background import Material
    from nbnumba.experiment.beam import Beam
    from nbnumba.experiment.experiment import Experiment

DENSITY, MOLAR_MASS = 1000.0, 0.018  # nonBragg's: of water


class Tables(NamedTuple):
    """One for every material."""

    tables: tuple[Table, ...]


def prepare(experiment: Experiment) -> Tables:
    return Tables(tuple(table_of(material, experiment.beam) for material in materials_of("table", experiment)))


def table_of(material: Material, beam: Beam) -> Table:
    assert material.table is not None
    return Table(THOMSON * molecules(material, beam, DENSITY, MOLAR_MASS), *extended(*material.table.T))


def function(p: Tables, stol: np.ndarray, wavelength: float) -> np.ndarray:
    """What all of them scatter."""
    return sum((scattered(table, stol) for table in p.tables), np.zeros(stol.shape))


def knots(p: Tables) -> np.ndarray:
    """Those of every table."""
    return np.concatenate([scattering_table.knots(table) for table in p.tables])


# F = 2 at 0, 2 at 1, -4 at 2, which the cubic through (0, 2), (1, 2) and (2, -4) and one far away is a parabola between: 2 + 3 x - 3 x^2.
EXAMPLE = Tables((Table(3.0, *extended(np.array([0.0, 1.0, 2.0]), np.array([2.0, 2.0, -4.0]))),))

TABLE = BackgroundStage(
    name="table",
    summary="materials whose F is in tables of your own",
    prepare=prepare,
    function=function,
    knots=knots,
    spec=("BKG-1", "BKG-3"),
    worked_values=(
        WorkedValue(EXAMPLE, (np.array([0.5, 1.5, 3.0]), 1e-10), np.array([3.0 * 2.75**2, 3.0 * -(0.25**2), 3.0 * -(10.0**2)])),
    ),
)


@hookimpl
def background() -> list[BackgroundStage]:
    return [TABLE]
