"""Backgrounds that simtbx works out (its nanoBragg.add_background), from the numbers of the stored cases alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from background_alone import background_of
from conftest import folder

import nbnumba
from nbnumba.experiment.background import Background, Material

SIMTBX = folder("NBNUMBA_GOLDEN_SIMTBX", "../shared/golden_simtbx")
CASES = json.loads((SIMTBX / "cases.json").read_text())["cases"] if SIMTBX.is_dir() else {}


def experiment_of(inputs: dict, stored: np.lib.npyio.NpzFile) -> nbnumba.Experiment:
    """Nothing but background: a crystal that as good as does not scatter."""
    panel, (oversample, *_) = inputs["panels"][0], inputs["add_background_args"] or [inputs["oversample"]]
    fast, slow = panel["image_size_fs"]
    s0 = np.array(inputs["s0"])
    electric = np.cross(s0, inputs["polarization_normal"])
    size = [edge * 1e-3 for edge in inputs["amorphous_size_mm"]]
    sensor = inputs["sensor"] or [0.0, 0.0, 1]
    options = {
        "preset": "physics", "default_F": 1e-12, "cell": inputs["cell"], "lambda": inputs["wavelength_A"],
        "polar": inputs["polarization"], "fluence": inputs["fluence"], "oversample": oversample, "detector_thick": sensor[0] * 1e3,
        "detector_abs": sensor[1] * 1e3 or "inf", "thicksteps": sensor[2], "quirk": ["layer-fronts=on"], "beamsize": 0.1,
    }  # fmt: skip
    experiment = nbnumba.experiment_from_options(options)
    if inputs.get("nopolar"):
        experiment = replace(experiment, model=replace(experiment.model, stages={**experiment.model.stages, "polarization": "none"}))
    beam = replace(experiment.beam, direction=tuple(s0), polarization_axis=tuple(electric))
    place = nbnumba.Panel(
        origin=tuple(x * 1e-3 for x in panel["origin_mm"]), fast_axis=panel["fast"], slow_axis=panel["slow"],
        pixel_size=panel["pixel_mm"] * 1e-3, fast_pixels=fast, slow_pixels=slow,
        sensor_thickness=experiment.detector.sensor_thickness, sensor_attenuation=experiment.detector.sensor_attenuation,
    )  # fmt: skip
    sources = nbnumba.Sources(
        positions=stored["source_direction"], weights=stored["source_I"], wavelengths=stored["source_wavelength_A"] * 1e-10
    )
    table = np.array(inputs["stol_Fbg"]) * [1e10, 1.0]
    material = Material(
        name="table", table=table, thickness=size[0], width=size[1], height=size[2],
        density=inputs["density_gcm3"] * 1e3, molar_mass=inputs["molecular_weight_Da"] * 1e-3,
    )  # fmt: skip
    return replace(
        experiment, beam=beam, sources=sources, background=Background(materials=(material,)),
        detector=replace(experiment.detector, convention="custom", panels=(place,)),
        goniometer=replace(experiment.goniometer, spindle_axis=(1, 0, 0)),
    )  # fmt: skip


@pytest.mark.spec("BKG-1", "BKG-3")
@pytest.mark.skipif(not CASES, reason="the stored images of simtbx are not there")
@pytest.mark.parametrize("name", sorted(name for name, case in CASES.items() if case["kind"] == "background"))
def test_images_of_simtbx(name: str) -> None:
    inputs, stored = CASES[name]["inputs"], np.load(SIMTBX / f"{name}.npz")
    found = background_of(experiment_of(inputs, stored)) * stored["source_I"].sum()
    expected = stored["image"]
    assert np.abs(found - expected).max() <= 1e-12 * expected.max()
