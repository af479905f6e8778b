"""Backgrounds that simtbx works out (its nanoBragg.add_background), from the numbers of the stored cases alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from background_alone import background_of
from parity.simtbx import ANGSTROM, MM, arrays_of, cases, experiment_of

import nbnumba
from nbnumba.experiment.background import Background, Material

TOLERANCE = 1e-12  # of the maximum


def with_background(name: str) -> nbnumba.Experiment:
    """simtbx has the layers of a sensor at their fronts, and without sub-pixels of its own for a background those of the image."""
    inputs, arrays = cases()[name]["inputs"], arrays_of(name)
    thickness, width, height = (MM * edge for edge in inputs["amorphous_size_mm"])
    material = Material(
        name="table",
        table=np.array(inputs["stol_Fbg"]) * [1.0 / ANGSTROM, 1.0],
        thickness=thickness,
        width=width,
        height=height,
        density=inputs["density_gcm3"] * 1e3,
        molar_mass=inputs["molecular_weight_Da"] * 1e-3,
    )
    sources = nbnumba.Sources(
        positions=arrays["source_direction"], weights=arrays["source_I"], wavelengths=arrays["source_wavelength_A"] * ANGSTROM
    )
    oversample, *_ = inputs["add_background_args"] or [inputs["oversample"]]
    one = experiment_of(name)
    model = replace(one.model, quirks={"layer-fronts": True})
    background = Background(materials=(material,), oversample=oversample)
    beam = replace(one.beam, size=max(width, height))
    one = replace(one, beam=beam, sources=sources, background=background, model=model)
    return with_sensor(one, *inputs["sensor"]) if inputs["sensor"] else one


def with_sensor(one: nbnumba.Experiment, thickness_mm: float, attenuation_mm: float, layers: int) -> nbnumba.Experiment:
    sensor = {"sensor_thickness": MM * thickness_mm, "sensor_attenuation": MM * attenuation_mm}
    panels = tuple(replace(panel, **sensor) for panel in one.detector.panels)
    return replace(one, detector=replace(one.detector, panels=panels, sensor_layers=layers))


@pytest.mark.spec("BKG-1", "BKG-3")
def test_images_of_simtbx() -> None:
    names = [name for name, case in cases().items() if case["kind"] == "background"]
    assert names
    for name in names:
        arrays = arrays_of(name)
        found, expected = background_of(with_background(name)) * arrays["source_I"].sum(), arrays["image"]
        assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max(), name
