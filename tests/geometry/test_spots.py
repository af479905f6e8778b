"""How strong spots are expected to be, against what the image shows."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import nbnumba
from nbnumba import StructureFactors, predict
from nbnumba.geometry.prediction import Spots, excitation, predicted_spots, smear
from nbnumba.geometry.spots import outside

BASE = "-default_F 100 -cell 40 50 60 80 95 100 -misset 10 20 30 -lambda 1.2 -N 20 -distance 80 -pixel 0.2 -detpixels 400 -oversample 2 "
SWEEP = BASE + "-osc 3 -phisteps 120 "
EDGE = 5  # pixels about a spot


def of_image(experiment: nbnumba.Experiment, spots: Spots) -> tuple[np.ndarray, np.ndarray]:
    """Which spots stand alone, and the photons about each of them."""
    pixels, (slow, fast) = nbnumba.simulate(experiment).pixels, (np.rint(place).astype(int) for place in (spots.slow, spots.fast))
    away = np.hypot(spots.slow - spots.slow[:, np.newaxis], spots.fast - spots.fast[:, np.newaxis]) + 1e9 * np.eye(len(slow))
    inside = (np.minimum(slow, fast) > EDGE) & (np.maximum(slow, fast) < len(pixels) - EDGE)
    alone = np.flatnonzero(inside & (away.min(axis=1) > 2 * EDGE))
    near = range(-EDGE, EDGE + 1)
    return alone, np.array([pixels[np.ix_(slow[n] + near, fast[n] + near)].sum() for n in alone])


@pytest.mark.spec("API-8")
@pytest.mark.parametrize(
    "options", [SWEEP + "-nopolar", SWEEP + "-polar 0.9", BASE + "-nopolar", BASE + "-nopolar -mosaic 0.5 -mosaic_dom 100"]
)
def test_the_photons_of_all_spots_are_those_of_the_image(options: str) -> None:
    experiment = nbnumba.experiment_from_options(options)
    total = nbnumba.simulate(experiment).pixels.sum()
    assert predict(experiment).intensity.sum() == pytest.approx(total, rel=0.1)


@pytest.mark.spec("API-8")
def test_the_photons_of_single_spots() -> None:
    """Of a wide sweep, which has whole reflections in it."""
    experiment = nbnumba.experiment_from_options(BASE + "-cell 20 25 30 80 95 100 -N 40 -polar 0.9 -osc 8 -phisteps 800")
    spots = predict(experiment)
    alone, photons = of_image(experiment, spots)
    whole = spots.partiality[alone] > 0.999
    ratio = photons[whole] / spots.intensity[alone][whole]
    assert whole.sum() > 20
    assert np.median(ratio) == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(photons, spots.intensity[alone])[0, 1] > 0.95


@pytest.mark.spec("API-8")
def test_places_are_those_of_the_prediction() -> None:
    experiment = nbnumba.experiment_from_options(SWEEP)
    found, expected = predict(experiment, 3e-10), predicted_spots(experiment, 3e-10)
    for f in fields(Spots):
        np.testing.assert_array_equal(getattr(found, f.name), getattr(expected, f.name))
    r = found.hkl @ experiment.unit_cell.reciprocal
    np.testing.assert_array_equal(found.excitation_error, excitation(experiment, r, found.phi[:, np.newaxis])[:, 0])
    assert (np.abs(found.excitation_error) <= smear(experiment, r, found.phi[:, np.newaxis])[:, 0] * (1 + 1e-9)).all()
    assert ((found.partiality >= 0.0) & (found.partiality <= 1.0)).all()
    assert np.abs(found.excitation_error[found.partiality > 0.999]).max() < 1.0  # 1/m: on the sphere


@pytest.mark.spec("API-8")
def test_half_a_sweep_has_half_the_reflection() -> None:
    """Two sweeps, one after the other, have between them what a sweep over both has."""
    whole = predict(nbnumba.experiment_from_options(BASE + "-phi 0 -osc 2 -phisteps 2"), 4e-10)
    parts = [predict(nbnumba.experiment_from_options(BASE + f"-phi {phi} -osc 1 -phisteps 2"), 4e-10) for phi in (0, 1)]
    found: dict[tuple[int, ...], float] = {}
    for part in parts:
        for index, partiality in zip(map(tuple, part.hkl.tolist()), part.partiality, strict=True):
            found[index] = found.get(index, 0.0) + partiality
    expected = dict(zip(map(tuple, whole.hkl.tolist()), whole.partiality, strict=True))
    shared = [(found[index], expected[index]) for index in expected if expected[index] > 0.2]
    assert len(shared) > 20
    assert np.median(np.abs(np.subtract(*np.transpose(shared)))) < 0.01


@pytest.mark.spec("API-8")
def test_amplitudes_are_those_listed() -> None:
    experiment = nbnumba.experiment_from_options(BASE)
    plain = predict(experiment, 5e-10)
    brightest = plain.hkl[plain.intensity.argmax()]
    listed = replace(experiment, structure_factors=StructureFactors(hkl=[brightest], F=[200.0], default_F=100.0))
    factor = predict(listed, 5e-10).intensity / plain.intensity
    np.testing.assert_allclose(factor, np.where((plain.hkl == brightest).all(axis=1), 4.0, 1.0))


@pytest.mark.spec("API-8")
def test_the_part_of_a_ball() -> None:
    np.testing.assert_allclose(outside(np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])), [0, 0, 5 / 32, 0.5, 27 / 32, 1, 1])
