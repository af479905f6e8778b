"""The sources one by one, as the kernel sums over them (EXP-13, EXP-14, EXP-85 to EXP-88)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.experiment.random_numbers import complex_normal
from nbnumba.experiment.spot_size import MOST_DIRECTIONS, MOST_WAVELENGTHS, SourceSteps, steps_for
from nbnumba.experiment.vectors import Array, cross, rotate_about, rotate_each, unit

if TYPE_CHECKING:
    from nbnumba.experiment.beam import Beam
    from nbnumba.experiment.divergence import Divergence
    from nbnumba.experiment.sources import Grid, Sources
    from nbnumba.experiment.spectrum import Sase, Spectra, Spectrum

MOST_SOURCES = 1_000_000
NONE = SourceSteps(math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class SourceList:
    """incident: (n, 3) unit vectors; wavelength: (n,) m; weight: (n,) as given, 1 for a grid of both."""

    incident: Array
    wavelength: Array
    weight: Array


def resolve_sources(sources: Sources, beam: Beam, axes: dict[str, Array], needed: SourceSteps = NONE) -> SourceList:
    """Listed sources, or the grid or distribution of directions, each with every wavelength; axes: of the experiment.

    needed: what spots need, for what is sampled as finely as that.
    """
    spectrum = None
    if beam.spectrum is not None:
        spectrum = sampled_spectrum(beam, beam.spectrum, needed.relative)
    if sources.positions is not None and sources.weights is not None and sources.wavelengths is not None:
        found = listed(sources.positions, sources.weights, sources.wavelengths, beam.wavelength, axes, spectrum)
    else:
        found = of_directions(sources, beam.wavelength, axes, spectrum, needed.angle)
    return turned_by(found, jitter(beam), axes) if any(beam.direction_jitter) else found


def sampled_spectrum(beam: Beam, spectrum: Spectrum | Spectra | Sase, step: float) -> Spectrum:
    """That of the shot as it is, or in strata: so many, or as many as spots need, the same number for all shots (EXP-85, EXP-88)."""
    of_shot, steps = spectrum.of_shot(beam.shot, beam.shot_seed), beam.spectrum_steps
    return of_shot if steps is None else of_shot.sampled(steps or steps_for(spectrum.range, step, MOST_WAVELENGTHS))


def sampled_divergence(divergence: Divergence, steps: int | None, step: float) -> Divergence:
    """The same of directions (EXP-87, EXP-88)."""
    if steps is None:
        return divergence
    horizontal, vertical = (steps or steps_for(width, step, MOST_DIRECTIONS) for width in divergence.range)
    return divergence.sampled(horizontal, vertical)


def listed(
    positions: Array, weights: Array, wavelengths: Array, wavelength: float, axes: dict[str, Array], spectrum: Spectrum | None
) -> SourceList:
    """Of a list; where there is a spectrum, each with its wavelengths, for which the list must leave room."""
    positions = np.where(np.isnan(positions), -SOURCE_DISTANCE * axes["incident"], positions)
    if not (np.linalg.norm(positions, axis=1) > 0.0).all():
        raise ParameterError("sources.positions", "a source sits at the crystal, so that its beam has no direction")
    incident = (-positions / np.linalg.norm(positions, axis=1, keepdims=True)).astype(np.float64)
    weights = np.where(np.isnan(weights), 1.0, weights)
    if spectrum is None:
        return SourceList(incident, np.where(np.isnan(wavelengths), wavelength, wavelengths), weights)
    if not np.isnan(wavelengths).all():
        raise ParameterError("beam.spectrum", "listed sources have wavelengths of their own; leave these out (NaN), or the spectrum")
    return each_with(incident, weights, spectrum.wavelengths, spectrum.weights)


SOURCE_DISTANCE = 10.0  # m, of sources whose position is not given


def of_directions(sources: Sources, wavelength: float, axes: dict[str, Array], spectrum: Spectrum | None, step: float) -> SourceList:
    """Of the divergence, or the grid of directions, with the spectrum, or the grid of wavelengths."""
    if spectrum is not None and sources.dispersion:
        raise ParameterError("sources.dispersion", "and beam.spectrum are given; leave one of them out")
    grid = sources.dispersion_grid
    lengths, parts = wavelength * (1.0 + values(grid)), np.ones(grid.steps)
    if spectrum is not None:
        lengths, parts = spectrum.wavelengths, spectrum.weights
    if sources.divergence is None:
        return each_with(*gridded(sources, len(lengths), axes), lengths, parts)
    divergence = sampled_divergence(sources.divergence, sources.divergence_steps, step)
    if len(divergence.weights) * len(lengths) > MOST_SOURCES:
        told = f"{len(divergence.weights)} directions x {len(lengths)} wavelengths; {MOST_SOURCES} sources are the most"
        raise ParameterError("sources.divergence", f"{told}: sample it (divergence_steps)")
    return each_with(directions(divergence.angles, axes), divergence.weights, lengths, parts)


def each_with(incident: Array, weights: Array, wavelengths: Array, parts: Array) -> SourceList:
    """Every direction with every wavelength, one after the other."""
    return SourceList(
        incident=np.repeat(incident, len(wavelengths), axis=0),
        wavelength=np.tile(wavelengths, len(incident)),
        weight=np.outer(weights, parts).ravel(),
    )


def gridded(sources: Sources, wavelengths: int, axes: dict[str, Array]) -> tuple[Array, Array]:
    """Directions of the divergence grid (EXP-13), and their weights, 1 each."""
    incident, field = axes["incident"], axes["polarization"]
    horizontal, vertical = sources.horizontal, sources.vertical
    if horizontal.steps * vertical.steps * wavelengths > MOST_SOURCES:
        raise ParameterError("sources", f"{horizontal.steps} x {vertical.steps} x {wavelengths} sources; {MOST_SOURCES} are the most")
    across = unit(cross(incident, field))
    turned = rotate_each(rotate_each(incident, field, values(vertical)), across, values(horizontal))
    found = turned[~outside_ellipse(horizontal, vertical)] if sources.round else turned.reshape(-1, 3)
    if not len(found):
        raise ParameterError("sources.round", "leaves no source of the divergence grid; use the whole grid")
    return found, np.ones(len(found))


def directions(angles: Array, axes: dict[str, Array]) -> Array:
    """Unit vectors (n, 3) at angles (n, 2) to the beam: about the polarization axis by the vertical one, then by the horizontal one."""
    incident, field = axes["incident"], axes["polarization"]
    across = unit(cross(incident, field))
    return np.array([rotate_about(rotate_about(incident, field, v), across, h) for h, v in angles.tolist()])


def jitter(beam: Beam) -> tuple[float, float]:
    """Angles of the shot's direction, along the polarization and across it (EXP-87)."""
    deviate = complex_normal(beam.shot_seed, beam.shot, 1, stream=1)[0] * math.sqrt(2.0)
    return beam.direction_jitter[0] * float(deviate.real), beam.direction_jitter[1] * float(deviate.imag)


def turned_by(found: SourceList, angles: tuple[float, float], axes: dict[str, Array]) -> SourceList:
    """All directions turned together."""
    field, across = axes["polarization"], unit(cross(axes["incident"], axes["polarization"]))
    return replace(found, incident=rotate_about(rotate_about(found.incident, field, angles[1]), across, angles[0]))


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
