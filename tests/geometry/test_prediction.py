"""Predicted spots against what the image shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

import nbnumba
from nbnumba import ParameterError
from nbnumba.experiment.experiment import Experiment
from nbnumba.experiment.vectors import rotate_about
from nbnumba.geometry import prediction
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.prediction import Spots, predicted_spots

pytestmark = pytest.mark.spec("FMT-30")

STILL = "-default_F 100 -cell 40 50 60 80 95 100 -misset 10 20 30 -lambda 1.2 -N 20 -distance 80 -pixel 0.2 -detpixels 400 -oversample 3 "
SWEEP = STILL + "-phi 5 -osc 2 -phisteps 40 "
BRIGHT = 0.1  # of the brightest spot: beyond the side maxima of a crystal of 20 cells, which are at most 0.05


def bright_spots(experiment: Experiment) -> np.ndarray:
    """Centroids (n, 2), slow and fast, of 5 x 5 pixels about every peak that stands out, but for the rim and reflection 0 0 0."""
    pixels = np.asarray(nbnumba.simulate(experiment))
    peaks = np.argwhere((pixels == maximum_filter(pixels, 7)) & (pixels > BRIGHT * pixels.max()))
    beam = np.array(exposure_of(experiment).beam_centre[::-1]) - 0.5
    inside = ((peaks > 2) & (peaks < np.array(pixels.shape) - 3)).all(axis=1) & (np.hypot(*(peaks - beam).T) > 3)
    around = np.mgrid[-2:3, -2:3].reshape(2, -1)
    places = peaks[inside][:, :, np.newaxis] + around
    weights = pixels[places[:, 0], places[:, 1]]
    return (places * weights[:, np.newaxis]).sum(axis=2) / weights.sum(axis=1)[:, np.newaxis]


def nearest(spots: Spots, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which prediction is nearest to each place, and how far away it is."""
    distance = np.hypot(place[:, :1] - spots.slow, place[:, 1:] - spots.fast)
    return distance.argmin(axis=1), distance.min(axis=1)


def index_at(experiment: Experiment, place: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Fractional Miller indices of places (n, 2), from the orientation at angles phi (n,) of the spindle."""
    frame, pixel, wavelength = experiment.frame, experiment.detector.pixel_size, experiment.beam.wavelength
    ray = frame.pix0 + (place[:, 1:] + 0.5) * pixel * frame.fast_axis + (place[:, :1] + 0.5) * pixel * frame.slow_axis
    scattering = (ray / np.linalg.norm(ray, axis=1, keepdims=True) - frame.incident) / wavelength
    direct = [rotate_about(experiment.unit_cell.direct, frame.spindle_axis, angle) for angle in phi]
    return np.array([axes @ q for axes, q in zip(direct, scattering, strict=True)])


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (SWEEP, 60),
        (SWEEP + "-twotheta 15 -detector_rotx 5 -detector_roty 10", 60),
        (SWEEP + "-xds -ORGX 150 -ORGY 260", 60),
        (SWEEP + "-phi -180 -spindle_axis 0 0.4 1 -distance 80", 60),
        (STILL, 30),
        (STILL + "-mosaic 0.3 -mosaic_dom 60", 30),
    ],
)
def test_every_bright_spot_is_predicted_where_it_is_with_its_indices(options: str, count: int) -> None:
    experiment = nbnumba.experiment_from_options(options)
    spots, place = predicted_spots(experiment), bright_spots(experiment)
    which, off = nearest(spots, place)
    assert len(place) > count
    assert np.median(off) < 0.2
    start, width = experiment.goniometer.phi_start, experiment.goniometer.scan.oscillation
    since = spots.phi[which] - start
    cut = (width > 0.0) & ((since < 0.1 * width) | (since > 0.9 * width))  # by the ends of the sweep, which moves a spot's centroid
    assert off[~cut].max() < 0.5
    assert off.max() < 0.6
    indices = index_at(experiment, place, spots.phi[which])
    np.testing.assert_allclose(indices, spots.hkl[which], atol=0.25)
    np.testing.assert_array_equal(np.rint(indices), spots.hkl[which])


def test_spots_of_a_mosaic_still_are_at_their_own_bragg_angle() -> None:
    """And in the plane of beam and reciprocal vector, of which the domains turn one onto the sphere."""
    experiment = nbnumba.experiment_from_options(STILL + "-mosaic 0.5 -mosaic_dom 20 -detector_rotx 5 -twotheta 10")
    spots, frame, pixel = predicted_spots(experiment), experiment.frame, experiment.detector.pixel_size
    place = frame.pix0 + np.outer(spots.fast + 0.5, frame.fast_axis) * pixel + np.outer(spots.slow + 0.5, frame.slow_axis) * pixel
    ray = place / np.linalg.norm(place, axis=1, keepdims=True)
    r = spots.hkl @ experiment.unit_cell.reciprocal
    theta = np.arcsin(experiment.beam.wavelength * np.linalg.norm(r, axis=1) / 2.0)
    assert len(theta) > 50
    assert np.arccos(ray @ frame.incident) == pytest.approx(2.0 * theta, rel=1e-9)
    across = np.cross(frame.incident, r)
    assert np.einsum("ni,ni->n", across / np.linalg.norm(across, axis=1, keepdims=True), ray) == pytest.approx(np.zeros(len(r)), abs=1e-9)


def test_a_reflection_is_on_the_sphere_at_the_angle_predicted() -> None:
    """And no other is, within the sweep, that the detector sees: by sign changes over fine steps."""
    experiment = nbnumba.experiment_from_options(SWEEP + "-N 1000")
    spots, d_min = predicted_spots(experiment), 4e-10
    r = spots.hkl @ experiment.unit_cell.reciprocal
    s0, radius = experiment.frame.incident / experiment.beam.wavelength, 1.0 / experiment.beam.wavelength
    on = [np.linalg.norm(s0 + rotate_about(v, experiment.frame.spindle_axis, phi)) for v, phi in zip(r, spots.phi, strict=True)]
    assert np.mean(np.abs(np.array(on) / radius - 1.0) < 1e-12) > 0.97  # the others are within the crystal's own width
    start, width = experiment.goniometer.phi_start, experiment.goniometer.scan.oscillation
    assert ((spots.phi >= start - 1e-12) & (spots.phi <= start + width + 1e-12)).all()
    axes = np.arange(-16, 17)
    hkl = np.stack(np.meshgrid(axes, axes, axes, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = hkl @ experiment.unit_cell.reciprocal
    low = (np.linalg.norm(vectors, axis=1) > 0.0) & (np.linalg.norm(vectors, axis=1) < 1.0 / d_min)
    hkl, vectors = hkl[low], vectors[low]
    steps = [np.linalg.norm(s0 + rotate_about(vectors, experiment.frame.spindle_axis, phi), axis=1) > radius
             for phi in np.linspace(start, start + width, 400)]  # fmt: skip
    crossing = {tuple(index) for index in hkl[(np.array(steps).any(axis=0)) & ~np.array(steps).all(axis=0)]}
    found = {tuple(index) for index in predicted_spots(experiment, d_min).hkl}
    assert len(crossing) > 20
    assert crossing <= found  # at 4 A, all of them are on the detector
    assert len(found - crossing) <= 0.1 * len(found)


def test_a_whole_turn_has_reflections_twice_at_different_angles() -> None:
    spots = predicted_spots(nbnumba.experiment_from_options(STILL + "-N 1000 -osc 360 -phisteps 10"), 8e-10)
    index, count = np.unique(spots.hkl, axis=0, return_counts=True)
    assert count.max() == 2
    h, k, l = index[count.argmax()]
    one, two = spots.phi[(spots.hkl == (h, k, l)).all(axis=1)]
    assert abs(one - two) > 1e-3


def test_resolution_limits() -> None:
    experiment = nbnumba.experiment_from_options(STILL)
    limited = nbnumba.experiment_from_options(STILL + "-dmin 5")
    for spots in (predicted_spots(limited), predicted_spots(experiment, 5e-10)):
        assert 0 < len(spots.hkl) < len(predicted_spots(experiment).hkl)
        assert np.linalg.norm(spots.hkl @ experiment.unit_cell.reciprocal, axis=1).max() <= 1.0 / 5e-10
    # A beam that runs away from the detector meets it straight back: half a wavelength is the limit.
    backward = nbnumba.experiment_from_options(STILL + "-beam_vector -1 0 0 -pix0_vector_mm 80 40 -40")
    backward = replace(backward, model=replace(backward.model, quirks={"pix0-unused": False}))
    assert prediction.best_resolution(backward) == 0.6e-10
    assert prediction.best_resolution(experiment) > 1e-10
    spots = predicted_spots(replace(backward, sampling=replace(backward.sampling, dmin=0.62e-10)))
    assert len(spots.hkl) > 0
    assert np.linalg.norm(spots.hkl @ backward.unit_cell.reciprocal, axis=1).min() > 1.0 / 1e-10
    large = replace(experiment, crystal=replace(experiment.crystal, cell=(1e-6, 1e-6, 1e-6, 0.0, 0.0, 0.0)))
    with pytest.raises(
        ParameterError, match=r"sampling.dmin: the cell has too many reflections to .* A to predict them; give a larger one"
    ):
        predicted_spots(large)


@pytest.mark.parametrize("options", [SWEEP, STILL + "-mosaic 0.5", SWEEP + "-osc 300 -spindle_axis 1 0 2", STILL + "-N 2"])
def test_the_bound_that_saves_work_leaves_out_nothing(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = nbnumba.experiment_from_options(options)
    found = predicted_spots(experiment, 3e-10)
    monkeypatch.setattr(prediction, "may_light_up", lambda experiment, hkl: np.ones(len(hkl), bool))
    every = predicted_spots(experiment, 3e-10)
    assert len(found.hkl) > 20
    np.testing.assert_array_equal(found.hkl, every.hkl)
    np.testing.assert_array_equal(found.phi, every.phi)
