"""The sources one by one, as the kernel sums over them (EXP-13, EXP-14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.experiment.vectors import Array, cross, rotate_each, unit

if TYPE_CHECKING:
    from nbnumba.experiment.sources import Grid, Sources

MOST_SOURCES = 1_000_000


@dataclass(frozen=True, eq=False)
class SourceList:
    """incident: (n, 3) unit vectors; wavelength: (n,) m; weight: (n,) as given, 1 for a grid."""

    incident: Array
    wavelength: Array
    weight: Array


def resolve_sources(sources: Sources, wavelength: float, axes: dict[str, Array]) -> SourceList:
    """Listed sources, or the grid over divergence and dispersion; wavelength: of the beam, m; axes: of the experiment."""
    if sources.positions is not None and sources.weights is not None and sources.wavelengths is not None:
        return listed(sources.positions, sources.weights, sources.wavelengths, wavelength, axes)
    return gridded(sources, wavelength, axes)


def listed(positions: Array, weights: Array, wavelengths: Array, wavelength: float, axes: dict[str, Array]) -> SourceList:
    positions = np.where(np.isnan(positions), -SOURCE_DISTANCE * axes["incident"], positions)
    if not (np.linalg.norm(positions, axis=1) > 0.0).all():
        raise ParameterError("sources.positions", "a source sits at the crystal, so that its beam has no direction")
    return SourceList(
        incident=(-positions / np.linalg.norm(positions, axis=1, keepdims=True)).astype(np.float64),
        wavelength=np.where(np.isnan(wavelengths), wavelength, wavelengths),
        weight=np.where(np.isnan(weights), 1.0, weights),
    )


SOURCE_DISTANCE = 10.0  # m, of sources whose position is not given


def gridded(sources: Sources, wavelength: float, axes: dict[str, Array]) -> SourceList:
    incident, field = axes["incident"], axes["polarization"]
    horizontal, vertical, spectrum = sources.horizontal, sources.vertical, sources.spectrum
    if horizontal.steps * vertical.steps * spectrum.steps > MOST_SOURCES:
        raise ParameterError("sources", f"{horizontal.steps} x {vertical.steps} x {spectrum.steps} sources; {MOST_SOURCES} are the most")
    across = unit(cross(incident, field))
    wavelengths = wavelength * (1.0 + values(spectrum))
    turned = rotate_each(rotate_each(incident, field, values(vertical)), across, values(horizontal))
    directions = turned[~outside_ellipse(horizontal, vertical)] if sources.round else turned.reshape(-1, 3)
    if not len(directions):
        raise ParameterError("sources.round", "leaves no source of the divergence grid; use the whole grid")
    return SourceList(
        incident=np.repeat(directions, len(wavelengths), axis=0),
        wavelength=np.tile(wavelengths, len(directions)),
        weight=np.ones(len(wavelengths) * len(directions)),
    )


def values(grid: Grid) -> Array:
    return np.asarray(grid.step * np.arange(grid.steps) - grid.span / 2.0, np.float64)


def outside_ellipse(horizontal: Grid, vertical: Grid) -> NDArray[np.bool_]:
    """Which points are in the corners of the grid, [horizontal, vertical]; a grid of one row or column has none."""
    if not horizontal.span or not vertical.span:
        return np.zeros((horizontal.steps, vertical.steps), bool)
    across, along = (
        (values(grid) ** 2 - grid.step * grid.step / 4.0 * (1 - grid.steps % 2)) / grid.span / grid.span for grid in (horizontal, vertical)
    )
    return np.asarray((across[:, np.newaxis] + along) * 4.0 > 1.1)
