"""The photon budget against images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from many_panels import sixteen

import nbnumba
from nbnumba.cli.main import main
from nbnumba.simulation.photon_budget import SHELLS, photon_budget, spot_pixels
from nbnumba.simulation.scene import scenes_of
from nbnumba.stages.registry import usual

OPTIONS = (
    "-default_F 100 -cell 50 60 70 -lambda 1 -distance 100 -N 20 -detpixels 150 -pixel 1 -fluence 1e22 -gauss_xtal -mosaic 0.2 -osc 1 "
    "-misset 10 20 30 --preset physics --model-of-spots gaussian"
)
MATERIALS = "--background water 0.01 --background helium 300"


def budget(options: str) -> dict:
    one = nbnumba.experiment_from_options(options)
    return photon_budget(one, scenes_of(one, usual()))


@pytest.mark.spec("BKG-20")
def test_it_is_what_images_have() -> None:
    one = nbnumba.experiment_from_options(f"{OPTIONS} {MATERIALS}")
    found, image = budget(f"{OPTIONS} {MATERIALS}"), nbnumba.simulate(one, layers=True)
    panel = one.panels[0]
    f = s = (np.arange(150) + 0.5) * panel.pixel_size
    at = np.array(panel.origin) + f[None, :, None] * np.array(panel.fast_axis) + s[:, None, None] * np.array(panel.slow_axis)
    stol = np.linalg.norm(at / np.linalg.norm(at, axis=-1, keepdims=True) - one.axes["incident"], axis=-1) / 2e-10
    shell = np.clip(np.searchsorted(1.0 / np.array(found["d_min_A"]), 2.0 * stol * 1e-10), 0, SHELLS - 1)
    for layer in image.layers:
        for n in range(SHELLS):
            of_shell = layer.photons[shell == n].mean()
            # spots are few, and some are on the border between shells
            assert found[f"{layer.name}_per_pixel"][n] == pytest.approx(of_shell, rel=0.5 if layer.name == "bragg" else 0.03)
    assert np.dot(found["bragg_per_pixel"], found["pixels"]) == pytest.approx(image.layers[0].photons.sum(), rel=0.15)
    assert sum(found["pixels"]) == pytest.approx(150 * 150, rel=1e-3)
    total = found["bragg_per_pixel"][4] + found["water_per_pixel"][4] + found["helium_per_pixel"][4]
    assert found["noise_per_pixel"][4] == pytest.approx(np.sqrt(total), rel=1e-3)


@pytest.mark.spec("BKG-20")
def test_spots_of_a_background_are_weak() -> None:
    alone, wet, wetter = (budget(f"{OPTIONS} {more}") for more in ("", "--background water 0.01", "--background water 10"))
    for without, with_water, drowned in zip(alone["I_over_sigma"], wet["I_over_sigma"], wetter["I_over_sigma"], strict=True):
        assert without > with_water > drowned
    assert alone["photons_of_a_reflection"] == wet["photons_of_a_reflection"]
    # Where the background is all there is, I/sigma falls with the square root of it.
    drowned = budget(f"{OPTIONS} --background water 1000")["I_over_sigma"]
    np.testing.assert_allclose(np.array(wetter["I_over_sigma"]) / drowned, 10.0, rtol=0.05)
    one = nbnumba.experiment_from_options(OPTIONS)
    angle = np.hypot(2.0 * np.radians(0.2), 1e-10 / (20 * 50e-10))
    assert spot_pixels(one) == pytest.approx((1.0 + (angle * 0.1 + 20 * 70e-10) / 1e-3) ** 2)


@pytest.mark.spec("BKG-20")
def test_panels_and_crystals_of_too_many_spots() -> None:
    panels = sixteen((10, 12), pixel=1e-3).panels
    one = replace(nbnumba.experiment_from_options(f"{OPTIONS} {MATERIALS}"), detector=nbnumba.Detector(panels=panels))
    several = photon_budget(one, scenes_of(one, usual()))
    assert sum(several["pixels"]) == pytest.approx(1920)
    huge = budget(OPTIONS.replace("50 60 70", "1000 1000 1000"))
    (why,) = huge["without_spots"]
    assert "reflections to" in why
    assert "I_over_sigma" not in huge


@pytest.mark.spec("CLI-135")
def test_explain_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *OPTIONS.split(), *MATERIALS.split()]) == 0
    assert "water_per_pixel " in capsys.readouterr().out
    assert main(["explain", *OPTIONS.split(), *MATERIALS.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["photon_budget"]
    assert len(found["I_over_sigma"]) == SHELLS
