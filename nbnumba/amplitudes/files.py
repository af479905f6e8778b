"""Structure factors from a file of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbnumba import units
from nbnumba.amplitudes.hkl import read_hkl
from nbnumba.errors import InputFileError

if TYPE_CHECKING:
    from nbnumba.experiment.reflections import Reflections


def read_amplitudes(
    path: str | Path,
    kind: str,
    column: str | None,
    model_resolution: float | None,
    solvent_density: float,
    solvent_B: float,
    anomalous: str | None = None,
) -> dict[str, Any]:
    """hkl (n, 3), F (n,) and reflections (what else the file says; None of text) as StructureFactors has them.

    kind: hkl, mtz, sf-cif or model; column: of the file, None: the best; model_resolution in m, solvent_density in
    electrons/m^3, solvent_B in m^2 and anomalous, a word or the name of a table: of a model. Raises InputFileError.
    """
    match kind:
        case "mtz":
            from nbnumba.amplitudes.mtz import read_mtz

            return table(read_mtz(path, column))
        case "sf-cif":
            from nbnumba.amplitudes.sf_cif import read_sf_cif

            return table(read_sf_cif(path, column))
        case "model":
            from nbnumba.amplitudes.atomic_model import read_model
            from nbnumba.amplitudes.dispersion import dispersion_of

            if model_resolution is None:
                raise InputFileError(path, "is a model, for which a resolution has to be given (structure_factors.model_resolution)")
            return table(read_model(path, model_resolution, solvent_density, solvent_B, dispersion_of(anomalous)))
        case _:
            hkl, F = read_hkl(path)
            return {"hkl": hkl, "F": F, "reflections": None}


def read_cell(path: str | Path, kind: str, column: str | None) -> tuple[float, ...] | None:
    """Unit cell of a file, a, b, c in m and alpha, beta, gamma in rad, without the amplitudes of a model; None of text."""
    if kind != "model":
        found = None if kind == "hkl" else read_amplitudes(path, kind, column, None, 0.0, 0.0)["reflections"]
        return None if found is None else found.cell
    from nbnumba.amplitudes.atomic_model import cell_of_model

    cell = cell_of_model(path)
    if not cell.is_crystal():
        raise InputFileError(path, "has no unit cell; give one with -cell")
    return (*(units.metres_from_angstrom(v) for v in (cell.a, cell.b, cell.c)), *map(units.radians, (cell.alpha, cell.beta, cell.gamma)))


def table(found: Reflections) -> dict[str, Any]:
    return {"hkl": found.hkl, "F": found.F, "reflections": found}
