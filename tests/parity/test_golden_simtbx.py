"""Images of simtbx, and its derivatives by panels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from parity.simtbx import arrays_of, cases, experiment_of

import nbnumba

TOLERANCE = 1e-11  # of the maximum


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def pixels_in_space(panel: nbnumba.Panel, sub: float = 0.5) -> np.ndarray:
    """Points of pixels, (slow, fast, 3), each so far from its first corner."""
    slow, fast = (np.arange(n) + sub for n in panel.shape)
    steps = fast[None, :, None] * np.array(panel.fast_axis) + slow[:, None, None] * np.array(panel.slow_axis)
    return np.array(panel.origin) + panel.pixel_size * steps


@pytest.mark.spec("EXP-31")
def test_panels_of_nanobragg_in_simtbx() -> None:
    image = nbnumba.simulate(experiment_of("panels_nanoBragg_4"))
    assert off(np.array([panel.pixels for panel in image.panels]), arrays_of("panels_nanoBragg_4")["images"]) <= TOLERANCE


@pytest.mark.spec("EXP-31")
def test_panels_in_polarized_light() -> None:
    """simtbx gives every sub-pixel the polarization of the last one."""
    name = "panels_nanoBragg_polar_square"
    image = nbnumba.simulate(experiment_of(name, polarization="none"))
    beam = image.experiment.beam
    electric = np.array(beam.polarization_axis)
    found = []
    for panel, place in zip(image.panels, image.experiment.panels, strict=True):
        rays = pixels_in_space(place, 0.75)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        cosine, along, across = (rays @ v for v in (np.array(beam.direction), electric, np.cross(beam.direction, electric)))
        found.append(panel.pixels * 0.5 * (1.0 + cosine**2 - beam.polarization_fraction * (along**2 - across**2)))
    assert off(np.array(found), arrays_of(name)["images"]) <= TOLERANCE


@pytest.mark.spec("EXP-31")
def test_pixels_of_panels_in_diffbragg() -> None:
    image, expected = nbnumba.simulate(experiment_of("panels_diffBragg_pixel_list")), arrays_of("panels_diffBragg_pixel_list")
    found = np.array([image.panels[panel].pixels[slow, fast] for panel, fast, slow in expected["panel_fast_slow"]])
    assert off(found, expected["values"]) <= TOLERANCE


@pytest.mark.spec("GRA-22")
def test_derivatives_by_a_panel() -> None:
    """diffBragg turns about the panel's first corner, and holds the normal in the solid angle: what it lacks, I do.k / o.k, is added."""
    expected, experiment = arrays_of("derivatives_panel"), experiment_of("derivatives_panel")
    image, (panel,) = nbnumba.simulate(experiment), experiment.panels
    assert off(image.pixels, expected["image"]) <= TOLERANCE
    names = [f"panels[0].{motion}_{axis}" for motion in ("shift", "rotation") for axis in "xyz"]
    columns = nbnumba.jacobian(experiment, names).T.reshape(6, *panel.shape)
    for column, axis in zip(columns, "xyz", strict=False):
        assert off(column, expected[f"panel_{axis}"]) <= TOLERANCE
    fast, slow = np.array(panel.fast_axis), np.array(panel.slow_axis)
    normal, points = np.cross(fast, slow), pixels_in_space(panel)
    middle = points[[0, -1]][:, [0, -1]].mean(axis=(0, 1)) - panel.origin  # of few points, since that of all is off by rounding
    for name, axis in (("O", normal), ("F", fast), ("S", slow)):
        found = np.tensordot(axis, columns[3:], 1) + np.tensordot(np.cross(axis, middle), columns[:3], 1)
        lacking = image.pixels * (points @ np.cross(axis, normal)) / (points @ normal)
        assert off(found - lacking, expected[f"panel_rot{name}"]) <= TOLERANCE


def with_last_polarization(name: str, sources: nbnumba.Sources, spectrum: nbnumba.Spectrum | None = None) -> np.ndarray:
    """As simtbx has it: the sum over sources, with the polarization of the last one for all of them."""
    experiment, expected = experiment_of(name, polarization="none"), arrays_of(name)
    beam = replace(experiment.beam, spectrum=spectrum)
    image = nbnumba.simulate(replace(experiment, beam=beam, sources=sources))
    incident = -expected["source_direction"][-1]
    electric = np.cross(incident, np.cross(beam.polarization_axis, incident))
    electric /= np.linalg.norm(electric)
    rays = pixels_in_space(image.experiment.panels[0])
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    cosine, along, across = (rays @ v for v in (incident, electric, np.cross(incident, electric)))
    factor = 0.5 * (1.0 + cosine**2 - beam.polarization_fraction * (along**2 - across**2))
    return image.pixels * factor * expected["source_I"].sum()


@pytest.mark.spec("EXP-80")
@pytest.mark.parametrize("name", ["sources_weighted_5", "sources_weighted_100"])
def test_weighted_wavelengths(name: str) -> None:
    experiment, inputs, expected = experiment_of(name), cases()[name]["inputs"], arrays_of(name)
    spectrum = nbnumba.Spectrum(np.array(inputs["beam_wavelengths_A"]) * 1e-10, inputs["beam_fluxes"])
    image = nbnumba.simulate(replace(experiment, beam=replace(experiment.beam, spectrum=spectrum)))
    assert off(image.pixels * expected["source_I"].sum(), expected["image"]) <= TOLERANCE


@pytest.mark.spec("EXP-13")
def test_a_grid_of_divergence_and_dispersion() -> None:
    name = "sources_grid_divergence_dispersion"
    inputs = cases()[name]["inputs"]
    (horizontal, vertical), (columns, rows) = inputs["divergence_hv_mrad"], inputs["divsteps_hv"]
    grid = nbnumba.Sources(
        horizontal_range=horizontal * 1e-3,
        horizontal_steps=columns,
        vertical_range=vertical * 1e-3,
        vertical_steps=rows,
        dispersion=inputs["dispersion_pct"] * 1e-2,
        dispersion_steps=inputs["dispsteps"],
    )
    assert off(with_last_polarization(name, grid), arrays_of(name)["image"]) <= TOLERANCE
    per_term = nbnumba.simulate(replace(experiment_of(name), sources=grid)).pixels
    assert off(per_term * arrays_of(name)["source_I"].sum(), arrays_of(name)["image"]) <= 1e-4


@pytest.mark.spec("EXP-80", "EXP-86")
def test_a_cone_of_directions_with_a_spectrum() -> None:
    name = "sources_NBbeam_cone"
    inputs = cases()[name]["inputs"]
    wavelengths, fluxes = np.array(inputs["spectrum"]).T
    sources = nbnumba.Sources(divergence=nbnumba.Divergence.cone(inputs["divergence_mrad"] * 1e-3, inputs["divsteps"]))
    found = with_last_polarization(name, sources, nbnumba.Spectrum(wavelengths * 1e-10, fluxes))
    assert off(found, arrays_of(name)["image"]) <= TOLERANCE
