"""What background stages add to images: by the formula, pixel by pixel, in NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from background_alone import background_of
from many_panels import sixteen

import nbnumba
from nbnumba.experiment.background import Background, Material
from nbnumba.image.image import split_by_panel
from nbnumba.kernel import profile
from nbnumba.kernel.profile import Beams, pieces_of, profile_of
from nbnumba.plugin import BackgroundStage
from nbnumba.simulation import background
from nbnumba.simulation.background import BackgroundPhotons
from nbnumba.simulation.scene import scenes_of
from nbnumba.simulation.simulator import Simulator
from nbnumba.stages.registry import usual

BASE = (
    "-default_F 1e-9 -cell 50 60 70 -lambda 1 -distance 60 -N 4 -detpixels 70 -pixel 0.1 -oversample 1 -fluence 1e24 -polar 0.5 "
    "--preset physics -Xbeam 1 -Ybeam 30"
)
TABLE = np.array([[0.05e10, 3.0], [0.1e10, 5.0], [0.16e10, 8.0], [0.2e10, -2.0], [0.3e10, 4.0]])
THOMSON = 7.94079248018965e-30


def experiment(options: str = "", **changes: Any) -> nbnumba.Experiment:
    return replace(nbnumba.experiment_from_options(f"{BASE} {options}"), **changes)


def with_table(options: str = "", **more: Any) -> nbnumba.Experiment:
    return experiment(options, background=Background(materials=(Material(name="table", table=TABLE, thickness=1e-4),), **more))


def F_of(stol: np.ndarray) -> np.ndarray:
    """The polynomials of BKG-3 by solving for them, in and beyond the table above."""
    s, F = TABLE.T
    i = np.clip(np.searchsorted(s, stol, "right") - 1, -1, len(s) - 1)
    found = np.empty(stol.shape)
    for k in np.unique(i):
        near = [n for n in (k - 1, k, k + 1, k + 2) if 0 <= n < len(s)]
        found[i == k] = np.polyval(np.polyfit(s[near] / 1e9, F[near], len(near) - 1), stol[i == k] / 1e9)
    return found


def signed_square(stol: np.ndarray) -> np.ndarray:
    F = F_of(stol)
    return np.sign(F) * F**2


def expected(one: nbnumba.Experiment, n: int = 1, curve: Callable[[np.ndarray], np.ndarray] = signed_square) -> np.ndarray:
    """In NumPy, of a surface as a detector and the table above, or a curve instead of its sign(F) F^2."""
    panel, sources, beam = one.panels[0], one.source_list, one.beam
    molecules = 1e-4 * 1e-4**2 * 1000.0 * 6.02214179e23 / 0.018
    total, (slow, fast) = 0.0, panel.shape
    for ds in (np.arange(n) + 0.5) / n:
        for df in (np.arange(n) + 0.5) / n:
            f, s = (np.arange(fast) + df) * panel.pixel_size, (np.arange(slow) + ds) * panel.pixel_size
            at = np.array(panel.origin) + f[None, :, None] * np.array(panel.fast_axis) + s[:, None, None] * np.array(panel.slow_axis)
            distance = np.linalg.norm(at, axis=-1)
            d = at / distance[..., None]
            omega = panel.pixel_size**2 / distance**3 * abs(at @ one.frame.normal)
            for i, wavelength, weight in zip(sources.incident, sources.wavelength, sources.weight, strict=True):
                scattered = curve(np.linalg.norm(d - i, axis=-1) / 2.0 / wavelength)
                b = np.cross(one.axes["polarization"], i)
                b /= np.linalg.norm(b)
                cosine = d @ i
                polar = 0.5 * (1.0 + cosine**2 - beam.polarization_fraction * ((d @ np.cross(i, b)) ** 2 - (d @ b) ** 2))
                total = total + weight / sources.weight.sum() * scattered * polar * omega / n**2
    return THOMSON * beam.photons_per_area * molecules * total


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-12) -> None:
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.spec("BKG-1", "BKG-2", "BKG-3", "BKG-10", "EXP-70")
def test_a_table_by_its_formula() -> None:
    one = with_table()
    found = nbnumba.simulate(one).pixels
    assert found.min() < 0.0  # where F is
    close(found, expected(one))
    close(nbnumba.simulate(with_table(oversample=3)).pixels, expected(one, 3))
    # pixels as wide as 1/600 of the distance have the image's own sub-pixels
    close(nbnumba.simulate(replace(one, sampling=replace(one.sampling, oversample=2))).pixels, expected(one, 2))
    far = with_table("-distance 200 -oversample 2")
    close(nbnumba.simulate(far).pixels, expected(far))


@pytest.mark.spec("BKG-1", "BKG-2")
def test_sources_count_by_their_weights_each_with_its_own_rays() -> None:
    sources = nbnumba.Sources(
        positions=np.array([[-10.0, 0.0, 0.0], [-10.0, 0.0, 0.0], [-10.0, 0.1, 0.2]]),
        weights=np.array([1.0, 3.0, 2.0]),
        wavelengths=np.array([1e-10, 1.1e-10, 0.9e-10]),
    )
    one = replace(with_table(), sources=sources)
    close(background_of(one), expected(one))


@pytest.mark.spec("BKG-2")
def test_very_many_directions_are_condensed(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    across = random.normal(size=(40, 2)) * [5e-4, 2e-4]
    positions = np.column_stack([np.full(40, -10.0), 10.0 * across])
    smooth = Background(materials=(Material(name="air", thickness=0.1),))
    sources = nbnumba.Sources(positions=positions, weights=random.random(40), wavelengths=np.tile([1e-10, 1.02e-10], 20))
    one = replace(with_table(), background=smooth, sources=sources)
    every = background_of(one)
    monkeypatch.setattr(background, "MOST_RAYS", 1e3)
    close(background_of(one), every, 1e-4)  # directions and wavelengths go together in this list, by chance
    assert len(background.beams_of(scenes_of(one, usual()))) == 4
    wide = replace(one, sources=replace(sources, positions=positions * [1.0, 100.0, 1.0]))
    assert len(background.beams_of(scenes_of(wide, usual()))) == 40


def test_a_wide_pixel_or_a_near_detector_is_worked_out_ray_by_ray() -> None:
    one = with_table("-distance 2 -Xbeam 3 -Ybeam 3")
    close(background_of(one), expected(one))


@pytest.mark.spec("BKG-9")
def test_nothing_outside_region_and_mask_and_no_limit_of_resolution() -> None:
    one = with_table()
    whole = nbnumba.simulate(one).pixels
    np.testing.assert_array_equal(nbnumba.simulate(with_table("-dmin 50")).pixels, whole)
    region = nbnumba.simulate(with_table("-roi 3 66 10 30")).pixels
    np.testing.assert_array_equal(region[10:31, 3:67], whole[10:31, 3:67])
    assert region[10:31, 3:67].sum() == region.sum()
    assert np.count_nonzero(region) == 21 * 64
    mask = np.ones((70, 70), bool)
    mask[20, 30:40] = False
    masked = nbnumba.simulate(replace(one, sampling=replace(one.sampling, mask=mask))).pixels
    np.testing.assert_array_equal(masked, np.where(mask, whole, 0.0))


@pytest.mark.spec("BKG-9")
def test_panels_have_what_each_has_alone() -> None:
    panels = sixteen((10, 12), pixel=1e-3).panels
    several = replace(with_table(), detector=nbnumba.Detector(panels=panels))
    for panel, photons in zip(panels, split_by_panel(background_of(several), several), strict=True):
        alone = background_of(replace(several, detector=nbnumba.Detector(panels=(panel,))))
        np.testing.assert_array_equal(photons, alone)


@pytest.mark.spec("BKG-9")
def test_images_of_a_sweep_have_the_same_one_and_others_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    scattered = BackgroundPhotons.scattered
    monkeypatch.setattr(BackgroundPhotons, "scattered", lambda self, *given: made.append(1) or scattered(self, *given))
    simulator, one = Simulator(), with_table()
    first = simulator.image(one).pixels
    turned = replace(one, goniometer=replace(one.goniometer, phi_start=1.0), crystal=replace(one.crystal, misset=(0.1, 0.2, 0.3)))
    close(simulator.image(turned).pixels, first)
    assert len(made) == 1
    close(simulator.image(replace(one, beam=replace(one.beam, fluence=2e24))).pixels, 2.0 * first)
    thicker = replace(one, background=Background(materials=(replace(one.background.materials[0], thickness=3e-4),)))
    close(simulator.image(thicker).pixels, 3.0 * first)
    assert len(made) == 3
    close(simulator.render(thicker), 3.0 * first)
    assert len(made) == 3


def test_threads_change_nothing() -> None:
    one = with_table("-detpixels 200")
    np.testing.assert_array_equal(nbnumba.simulate(one, threads=1).pixels, nbnumba.simulate(one, threads=3).pixels)


@pytest.mark.spec("EXP-70")
def test_the_beam_clips_a_material() -> None:
    beam = nbnumba.Beam(size=1e-4)
    wide, narrow = Material(name="water", thickness=1e-3, width=1.0), Material(name="water", thickness=1e-3, width=2e-5, height=1e-5)
    assert (wide.volume(beam), narrow.volume(beam)) == (pytest.approx(1e-11), pytest.approx(2e-13))


@pytest.mark.spec("BKG-7")
def test_an_image_is_added_as_it_is() -> None:
    photons = np.random.default_rng(0).random((70, 70))
    one = replace(experiment("-roi 3 66 10 30"), background=Background(materials=(Material(name="image", photons=photons),) * 2))
    found = nbnumba.simulate(one).pixels
    close(found[10:31, 3:67], 2.0 * photons[10:31, 3:67])
    assert not found[:10].any()
    wrong = replace(one, background=Background(materials=(Material(name="image", photons=photons[1:]),)))
    with pytest.raises(
        nbnumba.ParameterError, match=re.escape("material.photons: have the shape (69, 70), the image (70, 70) [slow, fast]")
    ):
        nbnumba.simulate(wrong)
    panels = sixteen((10, 12), pixel=1e-3).panels
    rows = np.random.default_rng(1).random((160, 12))
    several = replace(
        experiment(), detector=nbnumba.Detector(panels=panels), background=Background(materials=(Material(name="image", photons=rows),))
    )
    close(background_of(several), rows.ravel())


@pytest.mark.spec("BKG-11")
def test_layers_add_up_to_the_image() -> None:
    one = experiment(
        "-default_F 1000 -N 20",
        background=Background(materials=(Material(name="air", thickness=0.01), Material(name="water", thickness=1e-4))),
    )
    image = nbnumba.simulate(one, layers=True)
    assert [layer.name for layer in image.layers] == ["bragg", "air", "water"]
    close(sum(layer.photons for layer in image.layers), image.pixels, 1e-10)
    np.testing.assert_array_equal(image.layers[0].photons, nbnumba.simulate(replace(one, background=Background())).pixels)
    assert not nbnumba.simulate(one).layers
    panels = sixteen((10, 12), pixel=1e-3).panels
    parts = nbnumba.simulate(replace(one, detector=nbnumba.Detector(panels=panels)), layers=True).panels
    close(parts[3].layers[1].photons + parts[3].layers[2].photons + parts[3].layers[0].photons, parts[3].pixels, 1e-10)


@pytest.mark.spec("BKG-11")
def test_traces_and_gradients_refuse_them() -> None:
    for refused in (
        lambda one: nbnumba.trace(one, 3, 3),
        lambda one: nbnumba.value_and_grad(one, ["cell_a"], nbnumba.losses.least_squares),
    ):
        with pytest.raises(nbnumba.NotAvailableError, match="background 'table' has no part in"):
            refused(with_table())


def test_a_gpu_renders_what_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbnumba.simulation.simulator.open_device", lambda *given: SimpleNamespace(name="cuda"))
    with pytest.raises(nbnumba.NotAvailableError, match=r"add their photons on the CPU: Simulator.image\(\) has them, render\(\) has not"):
        Simulator(device="cuda").render(with_table(), np.zeros((70, 70)))


def thirds(p: None, stol: np.ndarray, wavelength: float) -> np.ndarray:
    return 1e-20 * (1.0 + (stol * 1e-10) ** 2)


def nothing(one: nbnumba.Experiment) -> None:
    return None


def wrong(p: None, stol: np.ndarray, wavelength: float) -> np.ndarray:
    return np.zeros(3)


def test_a_stage_of_ones_own_needs_no_knots_and_no_material() -> None:
    stage = BackgroundStage(name="thirds", summary="rises with the square of s", prepare=nothing, function=thirds)
    one = experiment()
    image = nbnumba.simulate(one, stages=[stage])
    assert image.provenance["stages"]["background"] == "thirds"
    molecules = 1e-4 * 1e-4**2 * 1000.0 * 6.02214179e23 / 0.018
    close(image.pixels, expected(one, curve=lambda stol: thirds(None, stol, 1e-10) / THOMSON / molecules))
    bad = replace(stage, name="bad", function=wrong)
    with pytest.raises(nbnumba.StageError, match=r"background 'bad': function: returned numbers \(3,\)"):
        nbnumba.simulate(one, stages=[bad])


@pytest.mark.spec("BKG-10")
def test_a_spectrum_of_many_lines_is_their_sum_to_the_nearest_knots(monkeypatch: pytest.MonkeyPatch) -> None:
    wavelengths, x = np.linspace(0.99e-10, 1.01e-10, 20), np.linspace(0.0, 0.4, 999)
    curve = lambda w: pieces_of(lambda sine: F_of(sine / w) ** 2, TABLE[:, 0] * w)  # noqa: E731
    wanted = sum(curve(w)(x) for w in wavelengths) / 20.0
    beams = Beams(np.array([1.0, 0.0, 0.0]), wavelengths, np.full(20, 0.05))
    close(profile.of_direction(curve, beams)(x), wanted)
    assert len(profile_of(curve, [beams]).pieces) == 101
    monkeypatch.setattr(profile, "MOST_PIECES", 60)
    close(profile.of_direction(curve, beams)(x), wanted, 3e-3)
    assert len(profile.of_direction(curve, beams).right) <= 60
