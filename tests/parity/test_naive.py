"""The simulation against ``naive``, an independent implementation of the specification, on small images.

Images are some 10 x 8 pixels wide apart, so that neighbours have nothing in common, and cells and orientations are such that no
index falls on a tie, a limit or the edge of a spot by symmetry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbnumba import Experiment, StructureFactors, experiment_from_options, simulate
from nbnumba.experiment.sources import Sources

Table: TypeAlias = tuple[np.ndarray, np.ndarray]

TOLERANCE = 1e-10  # of the brightest pixel

LARGE_CELL = "-cell 50 60 70 90 105 90 -N 5 -misset 10 20 30 -default_F 100 -lambda 1.1"
SMALL_CELL = "-cell 12 15 18 90 105 90 -N 3 -misset 11 23 37 -default_F 17 -lambda 1.1"
DETECTOR = "-detpixels_x 10 -detpixels_y 8 -pixel 2 -distance 40 -oversample 1"
TILTED = "-detector_rotx 5 -detector_roty 7 -detector_rotz -9"

# Sweeps in which no, the first, a middle, the last and every phi step is at 0.
SWEEPS = {
    "away from 0": "-phi 3 -osc 6 -phisteps 3",
    "from 0": "-phi 0 -osc 6 -phisteps 3",
    "through 0": "-phi -2 -osc 6 -phisteps 3",
    "to 0": "-phi -4 -osc 6 -phisteps 3",
    "step 0 at 0": "-phi 0 -osc 6 -phistep 0 -phisteps 2",
    "step 0": "-phi 5 -osc 6 -phistep 0 -phisteps 2",
}


def table(seed: int = 1, reach: int = 6, listed: float = 0.7) -> Table:
    """Miller indices (n, 3), of which a part is left out, and amplitudes (n,) in electrons within a box that is not symmetric."""
    random = np.random.default_rng(seed)
    h, k, l = np.mgrid[-reach : reach + 1, -reach + 1 : reach + 1, -reach:reach]
    hkl = np.stack([h.ravel(), k.ravel(), l.ravel()], axis=1)
    hkl = hkl[random.random(len(hkl)) < listed]
    return hkl, random.uniform(5.0, 100.0, len(hkl))


def made(
    options: str,
    *,
    hkl: tuple[np.ndarray, np.ndarray] | None = None,
    mask: np.ndarray | None = None,
    preset: str = "reference",
    **stages: str,
) -> Experiment:
    """An experiment from options; stages win over those that options name."""
    experiment = experiment_from_options(f"{DETECTOR} {options}")
    if hkl is not None:
        given = experiment.structure_factors
        factors = StructureFactors(hkl=hkl[0], F=hkl[1], default_F=given.default_F, interpolate=given.interpolate)
        experiment = replace(experiment, structure_factors=factors)
    if mask is not None:
        experiment = replace(experiment, sampling=replace(experiment.sampling, mask=mask))
    return with_stages(experiment, preset, **stages)


def with_stages(experiment: Experiment, preset: str | None = None, **stages: str) -> Experiment:
    model = experiment.model
    return replace(experiment, model=replace(model, preset=preset or model.preset, stages={**model.stages, **stages}))


def switched(experiment: Experiment, on: bool, *quirks: str) -> Experiment:
    model = experiment.model
    return replace(experiment, model=replace(model, quirks={**model.quirks, **dict.fromkeys(quirks, on)}))


def without(experiment: Experiment, *quirks: str) -> Experiment:
    return switched(experiment, False, *quirks)


def agreed(experiment: Experiment) -> np.ndarray:
    """The image, photons [slow, fast], after comparison."""
    image, expected = simulate(experiment).pixels, naive.photons(experiment)
    assert image.shape == expected.shape
    assert expected.max() > 0.0
    assert np.abs(image - expected).max() <= TOLERANCE * expected.max()
    return image


def random_mask(seed: int = 3, shape: tuple[int, int] = (8, 10)) -> np.ndarray:
    """Two thirds of the pixels; not the first one."""
    mask = np.random.default_rng(seed).random(shape) < 2.0 / 3.0
    mask[0, 0] = False
    return mask


# ------------------------------------------------------------------------------------------------------------------ geometry

CENTRES = {
    "by default": "",
    "beam": "-Xbeam 7 -Ybeam 11.5",
    "nearest point": "-Xclose 7.5 -Yclose 10.5",
    "XDS": "-ORGX 4.2 -ORGY 3.3",
    "beam and XDS": "-ORGX 4.2 -ORGY 3.3 -Xclose 7.5 -Ybeam 11.5",
}


@pytest.mark.spec("GEO-2", "GEO-3", "EXP-3", "EXP-4", "EXP-8")
@pytest.mark.parametrize("centre", CENTRES.values(), ids=CENTRES)
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_conventions(convention: str, centre: str) -> None:
    agreed(made(f"{LARGE_CELL} -{convention} {centre} {TILTED}"))


@pytest.mark.spec("EXP-3", "EXP-4")
@pytest.mark.parametrize("pivot", ["beam", "sample"])
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_named_conventions_have_their_own_pivot_and_axes(convention: str, pivot: str) -> None:
    options = f"{LARGE_CELL} -beam_vector 1 1 2 -fdet_vector 1 2 0 -spindle_axis 3 1 1 -{convention} {TILTED} -twotheta 12 -phi 20"
    image = agreed(made(f"{options} -pivot {pivot}"))
    assert np.array_equal(image, agreed(made(f"{LARGE_CELL} -{convention} {TILTED} -twotheta 12 -phi 20")))


@pytest.mark.spec("EXP-4")
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_close_distance(convention: str) -> None:
    agreed(made(f"{LARGE_CELL} -{convention} {TILTED} -twotheta 12 -close_distance 33 -Xbeam 7"))


CUSTOM = "-beam_vector 1 .1 .05 -fdet_vector .1 .02 2 -sdet_vector 0 -1.2 0.1 -polar_vector 0.1 .9 1 -spindle_axis 1 2 3 -polar 0.7 -phi 20"
CUSTOM_AXES = {
    "all": f"{CUSTOM} -odet_vector 2 0.2 0.1",
    "normal of unit length": f"{CUSTOM} -odet_vector 0 0 1 -odet_vector 1 0 0",
    "oblique normal of unit length": f"{CUSTOM} -odet_vector 0.75 0.6614378277661477 0",
    "no normal": CUSTOM,
    "beam only": "-beam_vector 1 .1 .05",
    "fast only": "-fdet_vector 0.1 0.2 1",
    "slow only": "-sdet_vector 0.1 -2 0.2",
    "spindle only": "-spindle_axis 1 2 3 -phi 40",
    "polarization only": "-polar_vector 1 2 3 -polar -0.8",
    "twotheta only": "-twotheta_axis 0 0.6 0.8",
}


@pytest.mark.spec("EXP-3", "EXP-4", "ROT-1", "POL-2")
@pytest.mark.parametrize("pivot", ["beam", "sample"])
@pytest.mark.parametrize("axes", CUSTOM_AXES.values(), ids=CUSTOM_AXES)
def test_custom_convention(axes: str, pivot: str) -> None:
    agreed(made(f"{LARGE_CELL} {axes} {TILTED} -twotheta 12 -pivot {pivot}"))


@pytest.mark.spec("EXP-4")
@pytest.mark.parametrize("pivot", ["beam", "sample"])
@pytest.mark.parametrize("centre", CENTRES.values(), ids=CENTRES)
def test_centres_in_the_custom_convention(centre: str, pivot: str) -> None:
    agreed(made(f"{LARGE_CELL} {CUSTOM} {centre} {TILTED} -pivot {pivot}"))


@pytest.mark.spec("EXP-3")
@pytest.mark.parametrize("pivot", ["beam", "sample"])
def test_twotheta_axis_of_any_length(pivot: str) -> None:
    image = agreed(made(f"{LARGE_CELL} -twotheta_axis 0 0.3 0.9 -twotheta 12 -pivot {pivot}"))
    unit_axis = agreed(made(f"{LARGE_CELL} -twotheta_axis 0 {0.1**0.5} {0.9**0.5} -twotheta 12 -pivot {pivot}"))
    assert not np.allclose(image, unit_axis, rtol=1e-3)


@pytest.mark.spec("EXP-4", "EXP-5")
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_detector_size_that_is_no_whole_number_of_pixels(convention: str) -> None:
    experiment = experiment_from_options(f"{LARGE_CELL} -{convention} -detsize_f 19.3 -detsize_s 16.9 -pixel 2 -distance 40 -oversample 1")
    assert agreed(experiment).shape == (8, 10)


@pytest.mark.spec("GEO-4")
@pytest.mark.parametrize(
    "options",
    [
        "-mosflm",
        "-denzo -Xbeam 7",
        "-mosflm -point_pixel",
        f"-mosflm {TILTED} -twotheta 12",
        f"-xds {TILTED} -twotheta 12",
        f"{CUSTOM} {TILTED}",
    ],
)
def test_curved_detector(options: str) -> None:
    agreed(made(f"{LARGE_CELL} -curved_det -oversample 2 {options}"))


@pytest.mark.spec("GEO-3")
def test_point_pixel() -> None:
    image = agreed(made(f"{LARGE_CELL} -point_pixel {TILTED}"))
    assert not np.allclose(image, agreed(made(f"{LARGE_CELL} {TILTED}")) / 0.002**2, rtol=1e-3)


# ------------------------------------------------------------------------------------------------------------------ sampling


@pytest.mark.spec("GEO-1", "SCA-1", "SCA-2", "SCA-3", "SCA-4")
@pytest.mark.parametrize("oversample", [1, 2, 3])
def test_sub_pixels(oversample: int) -> None:
    agreed(made(f"{LARGE_CELL} {TILTED} -polar 0.9 -oversample {oversample}"))


@pytest.mark.spec("SCA-5")
@pytest.mark.parametrize(
    ("options", "oversample"),
    [
        ("-N 2", 1),
        ("-Nc 5", 2),
        ("-Na 12", 3),
        ("-Nb 10 -detector_roty 30 -twotheta 40", 4),
        ("-N 5 -xtalsize 4.7e-5", 3),
    ],
)
def test_automatic_oversampling(options: str, oversample: int) -> None:
    scene = f"{LARGE_CELL} -pixel 0.05 -distance 30 {options}"
    automatic = agreed(made(f"{scene} -oversample 0"))
    assert np.array_equal(automatic, simulate(made(f"{scene} -oversample {oversample}")).pixels)


# The beam is past the last pixel, so that the first pixels are at the highest resolution.
FIRST_PIXELS_CUT = "-mosflm -Xbeam 16 -Ybeam 20"


@pytest.mark.spec("SCA-2", "SCA-6")
@pytest.mark.parametrize("oversample", [1, 2, 3])
@pytest.mark.parametrize("options", ["-dmin 5", f"{FIRST_PIXELS_CUT} -dmin 3", f"{FIRST_PIXELS_CUT} -dmin 3 -curved_det"])
def test_resolution_limit(options: str, oversample: int) -> None:
    image = agreed(made(f"{LARGE_CELL} -polar 0.9 -oversample {oversample} {options}"))
    assert image[0, 0] == 0.0 < image[4, 5]


@pytest.mark.spec("EXP-12")
@pytest.mark.parametrize("roi", [(2, 6, 1, 5), (0, 0, 7, 7), (9, 9, 0, 7)])
@pytest.mark.parametrize("masked", [False, True])
def test_region_of_interest_and_mask(roi: tuple[int, int, int, int], masked: bool) -> None:
    mask = random_mask() if masked else np.ones((8, 10), dtype=bool)
    image = agreed(made(f"{LARGE_CELL} -roi {roi[0]} {roi[1]} {roi[2]} {roi[3]}", mask=mask))
    inside = np.zeros((8, 10), dtype=bool)
    inside[roi[2] : roi[3] + 1, roi[0] : roi[1] + 1] = True
    assert np.array_equal(image > 0.0, inside & mask)


@pytest.mark.spec("EXP-12")
def test_region_of_interest_beyond_the_detector() -> None:
    image = agreed(made(f"{LARGE_CELL} -roi 7 30 -4 2"))
    assert np.count_nonzero(image) == 3 * 3


@pytest.mark.spec("EXP-12")
def test_mask() -> None:
    mask = random_mask()
    assert np.array_equal(agreed(made(LARGE_CELL, mask=mask)) > 0.0, mask)


@pytest.mark.spec("SCA-7")
def test_pixels_stand_alone() -> None:
    options = f"{LARGE_CELL} -oversample 2 -mosaic 2 -mosaic_domains 3 {SWEEPS['from 0']}"
    image = agreed(made(options))
    assert np.array_equal(simulate(made(options), threads=1).pixels, image)
    assert np.array_equal(simulate(made(f"{options} -roi 3 8 2 6")).pixels[2:7, 3:9], image[2:7, 3:9])
    mask = random_mask()
    assert np.array_equal(simulate(made(options, mask=mask)).pixels[mask], image[mask])


# ------------------------------------------------------------------------------------------------------- brightness and beam


@pytest.mark.spec("EXP-2", "SCA-2", "SCA-3")
@pytest.mark.parametrize(
    "options",
    ["-fluence 1e20", "-flux 1e12", "-flux 1e12 -exposure 0.1", "-flux 1e12 -exposure 0.1 -beamsize 0.03", "-exposure 7 -beamsize 0.03"],
)
def test_fluence(options: str) -> None:
    agreed(made(f"{LARGE_CELL} {options}"))


@pytest.mark.spec("POL-1", "POL-2", "PRE-1")
@pytest.mark.parametrize("fraction", [0.0, 0.9, -0.4])
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_polarization(convention: str, fraction: float) -> None:
    agreed(made(f"{LARGE_CELL} -{convention} {TILTED} -polar {fraction} -oversample 2"))


@pytest.mark.spec("POL-3")
def test_no_polarization() -> None:
    image = agreed(made(f"{LARGE_CELL} {TILTED} -polar 0.9 -nopolar"))
    assert np.all(image > agreed(made(f"{LARGE_CELL} {TILTED}")))


# ------------------------------------------------------------------------------------------------------------------- sources

NAN = float("nan")
# X Y Z in m, weight, wavelength in m. NaN is left out.
SOURCES = {
    "positions": [[-9.0, 0.1, -0.2, NAN, NAN], [-3.0, -0.05, 0.1, NAN, NAN], [-0.1, 0.002, 0.001, NAN, NAN]],
    "wavelengths": [[NAN, NAN, NAN, NAN, 0.9e-10], [NAN, NAN, NAN, NAN, NAN], [NAN, NAN, NAN, NAN, 1.7e-10]],
    "parts of positions": [[NAN, 0.2, NAN, 1.0, NAN], [-4.0, NAN, NAN, 1.0, 1e-10], [NAN, NAN, -0.3, 1.0, NAN]],
    "weights": [[NAN, 0.2, 0.1, 2.0, 1e-10], [NAN, NAN, NAN, NAN, NAN], [-5.0, NAN, 0.1, 0.3, 1.2e-10], [NAN, -0.3, NAN, 0.0, NAN]],
    "one": [[-5.0, 0.3, 0.2, 7.0, 1.2e-10]],
}


def listed(experiment: Experiment, rows: list[list[float]]) -> Experiment:
    columns = np.array(rows)
    return replace(experiment, sources=Sources(positions=columns[:, :3], weights=columns[:, 3], wavelengths=columns[:, 4]))


@pytest.mark.spec("EXP-13")
@pytest.mark.parametrize(
    "options",
    [
        "-hdivrange 30 -vdivrange 40",
        "-hdivsteps 3 -hdivrange 40",
        "-hdivsteps 1 -hdivrange 40",
        "-hdivstep 30",
        "-hdivstep 30 -hdivsteps 5",
        "-vdivstep 10 -vdivrange 35",
        "-vdivsteps 2",
        "-vdivsteps 1",
        "-hdivsteps 3 -hdivrange 0",
        "-divergence 0 -divsteps 3",
        "-hdivsteps 4 -hdivrange 30 -hdivstep 7 -vdivsteps 0",
        "-hdivstep 0 -hdivsteps 2 -hdivrange 30 -vdivstep 20 -vdivsteps 5",
        "-dispersion 9",
        "-dispersion 9 -dispsteps 1",
        "-dispersion 9 -dispsteps 4",
        "-dispsteps 4",
        "-hdivrange 30 -hdivsteps 3 -dispersion 9 -dispsteps 3",
        "-divergence 40 -divsteps 2 -dispersion 9",
    ],
)
def test_grids_of_sources(options: str) -> None:
    agreed(made(f"{LARGE_CELL} {options} -polar 0.7"))


@pytest.mark.spec("EXP-13", "SCA-4")
@pytest.mark.parametrize(("steps", "left"), [("3", 5), ("4", 12), ("5", 13), ("6", 24)])
def test_corners_of_the_grid(steps: str, left: int) -> None:
    options = f"{LARGE_CELL} -divergence 40 -divsteps {steps}"
    exposure = naive.Exposure.of(made(options))
    assert len(exposure.sources) == left
    round_, square = agreed(made(f"{options} -round_div")), agreed(made(f"{options} -square_div"))
    assert not np.allclose(round_, square, rtol=1e-3)


@pytest.mark.spec("EXP-13")
def test_corners_of_an_oblong_grid() -> None:
    agreed(made(f"{LARGE_CELL} -hdivrange 40 -hdivsteps 5 -vdivrange 20 -vdivsteps 4"))
    agreed(made(f"{LARGE_CELL} -hdivrange 40 -hdivstep 9 -vdivrange 20 -vdivsteps 2 -dispersion 3"))


@pytest.mark.spec("EXP-13", "POL-2")
@pytest.mark.parametrize("convention", ["denzo", "adxv", "xds", "dials", "custom"])
def test_divergence_in_all_conventions(convention: str) -> None:
    axes = CUSTOM if convention == "custom" else f"-{convention} -polar 0.7"
    agreed(made(f"{LARGE_CELL} {axes} {TILTED} -hdivrange 50 -vdivrange 20 -vdivsteps 3 -dispersion 2"))


@pytest.mark.spec("EXP-14")
@pytest.mark.parametrize("rows", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("convention", ["mosflm", "xds", "custom"])
def test_lists_of_sources(convention: str, rows: list[list[float]]) -> None:
    rows = [[z, y, x, *more] for x, y, z, *more in rows] if convention == "xds" else rows
    axes = CUSTOM if convention == "custom" else f"-{convention} -polar 0.7"
    experiment = listed(made(f"{LARGE_CELL} {axes} -oversample 2"), rows)
    image = agreed(experiment)
    weights = [row[3] for row in rows]
    assert np.array_equal(image, agreed(listed(experiment, [[*row[:3], 1.0, row[4]] for row in rows])))
    weighted = agreed(without(experiment, "source-weights"))
    assert np.allclose(image, weighted, rtol=1e-3) == (len(set(map(str, weights))) == 1)


@pytest.mark.spec("EXP-14", "EXP-13")
def test_list_takes_the_place_of_the_grid() -> None:
    experiment = made(f"{LARGE_CELL} -divergence 40 -divsteps 3 -dispersion 2")
    columns = np.array(SOURCES["weights"])
    lists = replace(experiment.sources, positions=columns[:, :3], weights=columns[:, 3], wavelengths=columns[:, 4])
    agreed(replace(experiment, sources=lists))


# Of a pixel's sources the first, with its short wavelength, is beyond the limit where others are not.
PARTLY_CUT = [[NAN, NAN, NAN, 2.0, 0.9e-10], [NAN, 1.0, NAN, 0.5, 1.1e-10], [NAN, NAN, NAN, 1.0, 1.6e-10]]


def cut_sources(experiment: Experiment, fast: int, slow: int) -> list[bool]:
    """Which samples of a pixel, in scan order, are beyond the resolution limit."""
    exposure = naive.Exposure.of(experiment)
    places = [exposure.diffracted(f, s, layer)[0] for layer in range(exposure.sensor.layers) for f, s in exposure.subpixels(fast, slow)]
    return [exposure.is_cut((d - source.beam) / source.wavelength) for d in places for source in exposure.sources]


@pytest.mark.spec("SCA-6", "SCA-2", "EXP-14")
@pytest.mark.parametrize(
    "options", ["", "-oversample 2", "-oversample 2 -detector_thick 900 -thicksteps 2", "-oversample 2 -oversample_polar"]
)
@pytest.mark.parametrize("preset", ["reference", "c-parity", "physics"])
def test_resolution_limit_between_sources(preset: str, options: str) -> None:
    experiment = listed(made(f"{LARGE_CELL} {FIRST_PIXELS_CUT} -dmin 2.4 -polar 0.9 {options}", preset=preset), PARTLY_CUT)
    first = cut_sources(experiment, 0, 0)
    assert first[0]
    assert not all(first)
    agreed(experiment)


# -------------------------------------------------------------------------------------------- sensor, water and the factors

FACTOR_OPTIONS = {
    "none": "",
    "thick": "-oversample_thick",
    "polar": "-oversample_polar",
    "omega": "-oversample_omega",
    "thick and polar": "-oversample_thick -oversample_polar",
    "all": "-oversample_thick -oversample_polar -oversample_omega",
}
# Directions as in DETECTOR, but a solid angle near 1: products of many factors stay between the first and the last digit.
FAR = "-distance 1000 -pixel 50 -point_pixel"
SENSOR = "-detector_thick 600 -thicksteps 2 -detector_abs 450 -detector_roty 25 -twotheta 10"
SPOTS = {"square": "-square_xtal", "tophat": "-tophat_spots -fudge 0.0001 -mosaic 6 -mosaic_domains 3"}


@pytest.mark.spec("GEO-2", "GEO-5", "GEO-6", "EXP-15")
@pytest.mark.parametrize("depth", ["", "-detector_abs 150", "-detector_abs 2000"])
@pytest.mark.parametrize("layers", ["", "-thicksteps 1", "-thicksteps 2", "-thicksteps 3", "-thicksteps 4"])
@pytest.mark.parametrize("off", [(), ("layer-spacing",), ("layer-spacing", "last-layer-capture")], ids=["", "spacing", "spacing, capture"])
def test_sensor_layers(off: tuple[str, ...], layers: str, depth: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -detector_thick 900 {layers} {depth} {TILTED} -twotheta 20"), *off))


@pytest.mark.spec("GEO-20")
@pytest.mark.parametrize(
    "depth",
    [
        "-detector_abs 20",
        "-detector_abs 150",
        "-detector_abs 1e9",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("", "-detector_abs 20000")),
    ],
)
@pytest.mark.parametrize("layers", ["", "-thicksteps 1", "-thicksteps 4", "-oversample 2 -point_pixel"])
@pytest.mark.parametrize(
    "off", [("layer-fronts",), ("layer-fronts", "layer-spacing", "last-layer-capture", "first-sample-factors")], ids=len
)
def test_layers_at_the_mean_depth_of_what_they_absorb(off: tuple[str, ...], layers: str, depth: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -detector_thick 5000 {layers} {depth} {TILTED} -twotheta 20"), *off))


@pytest.mark.spec("GEO-21")
@pytest.mark.parametrize("options", ["", "-curved_det", "-point_pixel", "-oversample 2"])
def test_detector_seen_from_behind(options: str) -> None:
    image = agreed(without(made(f"{LARGE_CELL} {options} -twotheta 140"), "negative-back"))
    assert image.min() > 0.0


@pytest.mark.spec("GEO-6", "GEO-21")
def test_sensor_seen_from_behind() -> None:
    experiment = without(made(f"{LARGE_CELL} -detector_thick 600 -twotheta 140"), "negative-back", "layer-fronts", "last-layer-capture")
    assert not simulate(experiment).pixels.any()
    assert not naive.photons(experiment).any()


@pytest.mark.spec("GEO-5")
def test_layers_without_a_sensor() -> None:
    assert np.array_equal(agreed(made(f"{LARGE_CELL} -thicksteps 3 -detector_abs 100")), agreed(made(LARGE_CELL)))


@pytest.mark.spec("GEO-4", "GEO-6", "GEO-7")
def test_sensor_layers_of_a_curved_detector() -> None:
    experiment = made(f"{LARGE_CELL} -curved_det -detector_thick 5000 -thicksteps 3 -detector_rotx 4")
    agreed(experiment)
    agreed(without(experiment, "curved-axes"))


@pytest.mark.spec("SCA-2", "SCA-8", "SCA-9", "SCA-10", "PRE-1")
@pytest.mark.parametrize("water", ["", "-water 0.02"], ids=["dry", "wet"])
@pytest.mark.parametrize("factors", FACTOR_OPTIONS.values(), ids=FACTOR_OPTIONS)
@pytest.mark.parametrize(
    ("preset", "spots"),
    [
        # Physics's kernels have been tried with the first of them.
        pytest.param(
            preset, spots, id=f"{preset}-{name}", marks=pytest.mark.slow if preset == "physics" and name != next(iter(SPOTS)) else ()
        )
        for preset in ("reference", "physics")
        for name, spots in SPOTS.items()
    ],
)
def test_factors(preset: str, factors: str, water: str, spots: str) -> None:
    options = f"{SMALL_CELL} {FAR} {SENSOR} {spots} {factors} {water} -oversample 2 -polar 0.8 -divergence 20 -divsteps 2 -fluence 1e22"
    agreed(made(options, hkl=table(), preset=preset))


@pytest.mark.spec("SCA-9", "SCA-10")
@pytest.mark.parametrize("water", ["", "-water 0.02"], ids=["dry", "wet"])
@pytest.mark.parametrize("factors", FACTOR_OPTIONS.values(), ids=FACTOR_OPTIONS)
def test_factors_of_terms_in_the_reference(factors: str, water: str) -> None:
    options = f"{SMALL_CELL} {FAR} {SENSOR} {factors} {water} -oversample 2 -polar 0.8 -dispersion 3 -fluence 1e22"
    agreed(without(made(options, hkl=table()), "running-product"))


@pytest.mark.spec("SCA-9")
@pytest.mark.parametrize("options", [SENSOR, f"{SENSOR} -thicksteps 3 -oversample 1", "-dispersion 3 -dispsteps 3", "-phi 10 -osc 20"])
@pytest.mark.parametrize("factors", ["-oversample_thick", "-oversample_omega", "-oversample_polar"])
def test_running_product_over_every_kind_of_sample(factors: str, options: str) -> None:
    sensor = SENSOR if factors == "-oversample_thick" else ""  # a surface captures nothing (SCA-9)
    agreed(made(f"{SMALL_CELL} {FAR} {sensor} -oversample 2 {options} {factors}", hkl=table()))


@pytest.mark.spec("SCA-9", "POL-3")
def test_what_oversampling_does_without_a_sensor_and_without_polarization() -> None:
    black = made(f"{SMALL_CELL} {FAR} -oversample_thick", hkl=table())
    assert not simulate(black).pixels.any()
    assert not naive.photons(black).any()
    agreed(without(black, "bare-capture"))
    undone = made(f"{SMALL_CELL} {FAR} -oversample_polar -nopolar", hkl=table())
    assert not np.allclose(agreed(undone), agreed(without(undone, "nopolar-undone")), rtol=1e-3)


@pytest.mark.spec("SCA-2", "SCA-6", "SCA-8")
@pytest.mark.parametrize(
    ("preset", "factors", "polarization"),
    [
        ("reference", "", "-polar 0.9"),
        ("reference", "", "-nopolar"),
        ("reference", "-oversample_polar", "-polar 0.9"),
        ("reference", "-oversample_omega", "-polar 0.9"),
        ("physics", "", "-polar 0.9"),
        ("physics", "-oversample_polar", "-polar 0.9"),
    ],
)
def test_water_beyond_the_resolution_limit(preset: str, factors: str, polarization: str) -> None:
    options = f"{LARGE_CELL} {FIRST_PIXELS_CUT} -dmin 3 -water 0.02 -fluence 1e22 -oversample 2 {factors} {polarization}"
    image = agreed(made(options, preset=preset))
    # In the reference the polarization factor of a pixel without a sample is 0, but it is not asked for where every term has its own.
    assert (image[0, 0] > 0.0) == (preset == "physics" or polarization == "-nopolar" or factors == "-oversample_polar")


@pytest.mark.spec("SCA-8")
@pytest.mark.parametrize("options", ["", "-mosaic 2 -mosaic_domains 3", "-mosaic 0 -mosaic_domains 3", SENSOR, "-oversample 2 -osc 3"])
def test_water(options: str) -> None:
    experiment = made(f"{LARGE_CELL} -water 30 -fluence 1e24 -default_F 1 {options}")
    once, twice = agreed(experiment), agreed(replace(experiment, beam=replace(experiment.beam, fluence=2e24)))
    assert np.allclose(twice, 4.0 * once, rtol=1e-3)
    experiment = without(experiment, "water-squared")
    once, twice = agreed(experiment), agreed(replace(experiment, beam=replace(experiment.beam, fluence=2e24)))
    assert np.allclose(twice, 2.0 * once, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------------- crystal


@pytest.mark.spec("EXP-7")
@pytest.mark.parametrize("cell", ["50", "50 60", "50 60 70", "50 60 70 80", "50 60 70 90 100", "50 60 70 90 90 117"])
@pytest.mark.parametrize("misset", ["0 0 0", "13 27 41"])
def test_cells(cell: str, misset: str) -> None:
    # Off the axis, since a crystal in its standard setting is at ties where it is symmetric about the beam.
    agreed(made(f"{LARGE_CELL} -cell {cell} -misset {misset} -Xbeam 7.3 -Ybeam 10.9"))


@pytest.mark.spec("EXP-7")
@pytest.mark.parametrize("shape", ["square", "gauss"])
@pytest.mark.parametrize("cell", ["50 60 70 80 95 105", "50 60 70 90 115 75"])
def test_triclinic_cells(cell: str, shape: str) -> None:
    agreed(made(f"{LARGE_CELL} -cell {cell}", hkl=table(), lattice_shape=shape))


def with_matrix(experiment: Experiment) -> Experiment:
    """In the place of the orientation matrix a rotated triclinic cell's, with a volume near that of LARGE_CELL."""
    direct = np.array([[48.0, -12.0, -4.0], [3.0, 59.0, 10.0], [-7.0, 2.0, 71.0]]) * 1e-10
    matrix = experiment.beam.wavelength * np.linalg.inv(direct)
    return replace(experiment, crystal=replace(experiment.crystal, a_matrix=tuple(matrix.ravel())))


@pytest.mark.spec("EXP-7")
@pytest.mark.parametrize("misset", ["0 0 0", "13 27 41"])
def test_orientation_matrix(misset: str) -> None:
    experiment = with_matrix(made(f"{LARGE_CELL} -misset {misset}"))
    agreed(replace(experiment, crystal=replace(experiment.crystal, cell=None)))


@pytest.mark.spec("EXP-7")
def test_cell_beside_an_orientation_matrix_gives_lengths() -> None:
    agreed(with_matrix(made(LARGE_CELL)))


@pytest.mark.spec("EXP-7", "LAT-5")
def test_spot_radius_with_a_cell_beside_an_orientation_matrix() -> None:
    agreed(with_matrix(made(LARGE_CELL, hkl=table(), lattice_shape="gauss")))


@pytest.mark.spec("EXP-7", "ROT-7", "ROT-8")
@pytest.mark.parametrize("seed", [0, 1, 7, 12345, 2147483646])
def test_random_orientation(seed: int) -> None:
    agreed(made(f"{LARGE_CELL} -misset random -misset_seed {seed}"))


@pytest.mark.spec("EXP-9")
@pytest.mark.parametrize(
    "options",
    [
        "-Na 3 -Nb 4 -Nc 6",
        "-Na 0 -Nb 4",
        "-xtalsize 2.3e-5",
        "-samplesize 2.3e-5 -beamsize 1.3e-5",
        "-xtal_x 2.3e-5 -xtal_y 1e-7",
        "-xtal_z 3.1e-5",
    ],
)
def test_cell_numbers(options: str) -> None:
    agreed(made(f"{LARGE_CELL} {options} -interpolate"))


@pytest.mark.spec("ROT-3", "ROT-7", "ROT-8", "EXP-10")
@pytest.mark.parametrize(
    "options",
    [
        "-mosaic 2",
        "-mosaic 2 -mosaic_domains 1",
        "-mosaic 2 -mosaic_domains 2 -mosaic_seed 0",
        "-mosaic 2 -mosaic_domains 2 -mosaic_seed 1",
        "-mosaic 100 -mosaic_domains 5 -mosaic_seed 2147483646",
        "-mosaic 0 -mosaic_domains 3",
        "-mosaic_domains 3",
        "-mosaic 0.7 -mosaic_domains 40 -mosaic_seed 99",
    ],
)
def test_mosaic_domains(options: str) -> None:
    agreed(made(f"{LARGE_CELL} {options} -phi 12"))


# ------------------------------------------------------------------------------------------------------------- lattice shape


@pytest.mark.spec("LAT-1", "LAT-2", "LAT-3", "LAT-4", "LAT-5", "LAT-6")
@pytest.mark.parametrize("cells", ["-N 3", "-Na 2 -Nb 4 -Nc 3"])
@pytest.mark.parametrize("fudge", [1.0, 0.3, 2.5])
@pytest.mark.parametrize("shape", ["square_xtal", "round_xtal", "gauss_xtal", "tophat_spots"])
def test_lattice_shapes(shape: str, fudge: float, cells: str) -> None:
    agreed(made(f"{SMALL_CELL} {cells} -{shape} -fudge {fudge} -phi 10 -osc 8 -nointerpolate", hkl=table()))


@pytest.mark.spec("LAT-2", "LAT-3")
@pytest.mark.parametrize("shape", ["square_xtal", "round_xtal", "gauss_xtal", "tophat_spots"])
def test_lattice_point(shape: str) -> None:
    # The centre of pixel (fast 4, slow 3) is in the direct beam: h = k = l = 0 up to rounding.
    reflection = np.array([[0, 0, 0]]), np.array([500.0])
    image = agreed(made(f"{SMALL_CELL} -{shape} -nointerpolate -denzo -Xbeam 7 -Ybeam 9", hkl=reflection))
    assert np.unravel_index(image.argmax(), image.shape) == (3, 4)


# ---------------------------------------------------------------------------------------------------------- structure factor


@pytest.mark.spec("SF-1", "SF-2", "PRE-1")
@pytest.mark.parametrize("listed", [1.0, 0.5, 0.02])
def test_nearest_reflection(listed: float) -> None:
    agreed(made(f"{SMALL_CELL} -mosaic 3 -mosaic_domains 3", hkl=table(listed=listed)))


@pytest.mark.spec("SF-2")
def test_no_default_amplitude() -> None:
    experiment = made(SMALL_CELL, hkl=table(listed=0.5))
    image = agreed(replace(experiment, structure_factors=replace(experiment.structure_factors, default_F=0.0)))
    assert 0 < np.count_nonzero(image) < image.size


@pytest.mark.spec("SF-3")
def test_default_amplitude_without_a_table() -> None:
    image = agreed(made(f"{SMALL_CELL} -Na 2 -default_F 17"))
    assert np.allclose(agreed(made(f"{SMALL_CELL} -Na 2 -default_F 34")), 4.0 * image)


@pytest.mark.spec("SF-4")
@pytest.mark.parametrize("listed", [1.0, 0.5])
@pytest.mark.parametrize("reach", [4, 5, 9])
def test_tricubic(reach: int, listed: float) -> None:
    agreed(made(f"{SMALL_CELL} -oversample 2", hkl=table(reach=reach, listed=listed), structure_factor="tricubic"))


@pytest.mark.spec("SF-4")
def test_tricubic_in_a_box_that_is_too_small() -> None:
    experiment = made(SMALL_CELL, hkl=table(reach=1), structure_factor="tricubic")
    assert np.array_equal(agreed(experiment), agreed(with_stages(experiment, structure_factor="nearest")))


@pytest.mark.spec("SF-6", "EXP-9")
@pytest.mark.parametrize(
    ("options", "stage"),
    [
        ("-N 3", "nearest"),
        ("-N 3 -interpolate", "tricubic-latch"),
        ("-Nb 2", "tricubic-latch"),
        ("-Nc 1", "tricubic-latch"),
        ("-Nb 2 -nointerpolate", "nearest"),
        ("-N 3 -xtalsize 2e-6", "nearest"),
        ("-N 2 -xtalsize 5e-6", "tricubic-latch"),
    ],
)
def test_choice_of_interpolation(options: str, stage: str) -> None:
    experiment = made(f"{SMALL_CELL} {options}", hkl=table(reach=9))
    assert np.array_equal(agreed(experiment), simulate(with_stages(experiment, structure_factor=stage)).pixels)


@pytest.mark.spec("SF-3", "SF-6")
def test_no_interpolation_without_a_table() -> None:
    agreed(made(f"{SMALL_CELL} -N 2 -interpolate"))


def latched_at(experiment: Experiment) -> tuple[int, bool]:
    """The number, in scan order, of the pixel in which interpolation ends, and whether terms of the same pixel came before that."""
    exposure = naive.Exposure.of(experiment)
    nearest = naive.Exposure.of(with_stages(experiment, structure_factor="nearest"))
    shape = naive.image_shape(experiment.detector)
    for number, (slow, fast) in enumerate(naive.pixels_in_scan_order(experiment.sampling, shape)):
        photons = exposure.pixel(fast, slow)
        if not exposure.amplitude.interpolating:
            return number, bool(photons != nearest.pixel(fast, slow))
    raise AssertionError("interpolation does not end")


LATCHED = f"{SMALL_CELL} -interpolate -mosflm -Xbeam 0.7 -Ybeam 12.6 -misset -114 -44 119"


@pytest.mark.spec("SF-5")
@pytest.mark.parametrize(
    "options",
    [
        "",
        "-phi -60 -osc 60 -phisteps 3",
        "-mosaic 6 -mosaic_domains 4",
        "-oversample 3",
        "-oversample 2 -mosaic 6 -mosaic_domains 3 -phi 9 -osc 9",
    ],
)
def test_latch(options: str) -> None:
    experiment = made(f"{LATCHED} {options}", hkl=table(reach=6))
    image = agreed(experiment)
    number, within = latched_at(experiment)
    assert 25 <= number < 60
    assert within == bool(options)
    # Terms after it are not interpolated even where they could be.
    interpolated = naive.photons(with_stages(experiment, structure_factor="tricubic"))
    assert np.count_nonzero(~np.isclose(image, interpolated).ravel()[number:]) > 3


@pytest.mark.spec("SF-5")
@pytest.mark.parametrize("options", ["-roi 2 7 1 6", "-roi 0 4 0 7 -dmin 3"])
@pytest.mark.parametrize("preset", ["reference", "c-parity"])
def test_latch_with_region_mask_and_resolution_limit(preset: str, options: str) -> None:
    options = f"{LATCHED} -mosaic 6 -mosaic_domains 3 {SWEEPS['from 0']} {options}"
    agreed(made(options, hkl=table(reach=6), preset=preset))
    agreed(made(options, hkl=table(reach=6), mask=random_mask(), preset=preset))


@pytest.mark.spec("SF-5", "LAT-6")
@pytest.mark.parametrize("options", ["-phi 5", "-oversample 2 -mosaic 6 -mosaic_domains 3"])
def test_latch_passes_terms_without_a_spot(options: str) -> None:
    experiment = made(f"{LATCHED} {options}", hkl=table(reach=6), lattice_shape="tophat")
    agreed(experiment)
    assert latched_at(experiment)[0] > latched_at(with_stages(experiment, lattice_shape="square"))[0]


@pytest.mark.spec("SF-5", "SCA-6")
@pytest.mark.parametrize(
    "options",
    [
        "-divergence 30 -divsteps 2",
        "-detector_thick 900 -thicksteps 2",
        "-oversample 2 -dispersion 9 -detector_thick 900 -thicksteps 2",
        "-oversample 2 -dispersion 9 -dmin 2.9",
        "-dispersion 9 -dispsteps 3",
    ],
)
@pytest.mark.parametrize("preset", ["reference", "c-parity"])
def test_latch_with_sources_and_layers(preset: str, options: str) -> None:
    experiment = made(f"{LATCHED} {options}", hkl=table(reach=6), preset=preset)
    agreed(experiment)
    assert latched_at(experiment)[0] > 5
    agreed(made(f"{LATCHED} {options} -phi 0 -osc 6 -phisteps 2", hkl=table(reach=6), preset=preset))


# ------------------------------------------------------------------------------------------------------------------ rotation


@pytest.mark.spec("ROT-1", "ROT-2", "ROT-4", "EXP-6")
@pytest.mark.parametrize(
    "sweep",
    [
        "",
        "-phi 30",
        "-phi 30 -phistep 2",
        "-phi 30 -phistep 2 -phisteps 5",
        "-phi 30 -osc 5",
        "-phi 30 -osc 5 -phistep 2",
        "-phi 30 -phisteps 4",
        "-phi 30 -osc 5 -phisteps 3",
        "-phi 30 -osc 5 -phisteps 3 -phistep 7",
        "-phi -200 -osc 0",
    ],
)
def test_sweeps(sweep: str) -> None:
    agreed(made(f"{LARGE_CELL} {sweep}"))


@pytest.mark.spec("ROT-4", "PRE-1")
@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_every_step_at_its_own_angle(sweep: str) -> None:
    agreed(made(f"{LARGE_CELL} {sweep} -mosaic 2 -mosaic_domains 2"))


FIRSTS = {
    "image": "",
    "sub-pixels": "-oversample 2",
    "region": "-roi 3 8 2 6",
    "resolution limit": f"{FIRST_PIXELS_CUT} -dmin 3",
    "region, resolution limit and sub-pixels": f"-roi 1 9 1 7 {FIRST_PIXELS_CUT} -dmin 2.5 -oversample 2",
}


@pytest.mark.spec("ROT-3", "ROT-5", "ROT-6", "PRE-1")
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("first", FIRSTS.values(), ids=FIRSTS)
@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_steps_at_zero_stay(sweep: str, first: str, masked: bool) -> None:
    mask = random_mask() if masked else None
    agreed(made(f"{LARGE_CELL} {sweep} -mosaic 2 -mosaic_domains 2 {first}", mask=mask, preset="c-parity"))


@pytest.mark.spec("ROT-5", "ROT-6")
def test_first_sample_only_is_unrotated() -> None:
    options = f"{LARGE_CELL} {SWEEPS['from 0']}"
    spec, parity = agreed(made(options)).ravel(), agreed(made(options, preset="c-parity")).ravel()
    assert parity[0] == pytest.approx(spec[0])
    assert not np.any(np.isclose(parity[1:], spec[1:], rtol=1e-6))


@pytest.mark.spec("ROT-5")
def test_several_leading_steps_at_zero() -> None:
    # Both steps of the first sample are unrotated, and so are those of every later one.
    options = f"{LARGE_CELL} {SWEEPS['step 0 at 0']} -oversample 2"
    assert np.allclose(agreed(made(options, preset="c-parity")), agreed(made(f"{LARGE_CELL} -oversample 2")), rtol=1e-12)


@pytest.mark.spec("ROT-20", "ROT-21", "ROT-3", "PRE-1")
@pytest.mark.parametrize(
    "options",
    [
        "-mosaic 2 -phi 30",
        "-mosaic 2 -mosaic_domains 1 -phi 30 -phistep 2",
        "-mosaic 2 -mosaic_domains 2 -mosaic_seed 0 -phi 0 -osc 5 -phistep 2",
        "-mosaic 100 -mosaic_domains 5 -mosaic_seed 2147483646",
        "-mosaic 3 -mosaic_domains 4 -phi 0 -osc 8 -phisteps 3 -oversample 2",
        "-phi -3 -osc 5 -phisteps 3 -phistep 7",
    ],
)
def test_samples_spread_evenly(options: str) -> None:
    agreed(switched(made(f"{LARGE_CELL} {options}"), False, "repeated-domains"))


@pytest.mark.spec("ROT-9", "ROT-3", "ROT-4")
@pytest.mark.parametrize(
    "options",
    [
        "",
        "-mosaic 2",
        "-mosaic 2 -mosaic_domains 1",
        "-mosaic 2 -mosaic_domains 2 -mosaic_seed 0",
        "-mosaic 100 -mosaic_domains 5 -mosaic_seed 2147483646",
        "-mosaic 0 -mosaic_domains 3",
        "-mosaic 3 -mosaic_domains 4 -phi 0 -osc 8 -phisteps 3 -oversample 2",
    ],
)
def test_gaussian_mosaic_domains(options: str) -> None:
    agreed(made(f"{LARGE_CELL} {options}", rotation="gaussian"))


# Several samples in every pixel, and a first pixel whose first samples are cut.
SAMPLES = {
    "sources": "-divergence 60 -divsteps 2",
    "layers": "-detector_thick 900 -thicksteps 2",
    "sub-pixels and sources": "-oversample 2 -dispersion 9",
    "all": "-oversample 2 -dispersion 9 -hdivrange 30 -detector_thick 900 -thicksteps 2",
    "all, with factors": "-oversample 2 -dispersion 9 -detector_thick 900 -thicksteps 2 -oversample_polar -oversample_thick",
}


@pytest.mark.spec("ROT-5", "ROT-6", "EXP-13")
@pytest.mark.parametrize("cut", [False, True], ids=["", "cut"])
@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_steps_at_zero_stay_from_source_to_source(sweep: str, samples: str, cut: bool) -> None:
    limit = f"{FIRST_PIXELS_CUT} -dmin 2.7" if cut else ""
    agreed(made(f"{LARGE_CELL} {sweep} {samples} {limit} -roi 1 6 1 4", preset="c-parity"))


@pytest.mark.spec("ROT-5", "ROT-6", "EXP-14")
@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_first_sample_is_of_the_first_source_that_is_not_cut(sweep: str) -> None:
    options = f"{LARGE_CELL} {sweep} {FIRST_PIXELS_CUT} -dmin 2.4 -mosaic 2 -mosaic_domains 2"
    experiment = listed(made(options, preset="c-parity"), PARTLY_CUT)
    assert cut_sources(experiment, 0, 0) == [True, False, False] or sum(cut_sources(experiment, 0, 0)) == 2
    agreed(experiment)


# -------------------------------------------------------------------------------------------------------- presets and quirks

CURVED = "-xds -curved_det -detector_rotz 40 -Xclose 6 -Yclose 12"
# Options in which the quirk bites; those that need more are below.
QUIRKS = {
    "running-product": f"{LARGE_CELL} -oversample 2 -oversample_polar {TILTED}",
    "first-sample-factors": f"{LARGE_CELL} -oversample 2 {TILTED} -divergence 20 -divsteps 2",
    "last-layer-capture": f"{LARGE_CELL} {SENSOR}",
    "layer-spacing": f"{LARGE_CELL} -detector_thick 600 -thicksteps 3 -detector_abs 450",
    "layer-fronts": f"{LARGE_CELL} {SENSOR}",
    "water-squared": f"{LARGE_CELL} -water 5 -fluence 1e26",
    "dmin-cuts-water": f"{LARGE_CELL} -water 5 {FIRST_PIXELS_CUT} -dmin 3 -oversample 2 -default_F 1e-9",
    "misset-cap": f"{LARGE_CELL} -misset random -misset_seed 5",
    "forced-pivot": f"{LARGE_CELL} -xds {TILTED} -twotheta 12 -pivot beam",
    "pix0-unused": f"{LARGE_CELL} -pix0_vector_mm 45 -9 8 {TILTED}",
    "normal-replaced": f"{LARGE_CELL} -odet_vector 2 0.3 0.1 {TILTED}",
    "curved-axes": f"{LARGE_CELL} {CURVED}",
    "triclinic-setting": f"{LARGE_CELL} -cell 50 60 70 80 95 105",
}


@pytest.mark.spec("PRE-4", "PRE-1")
@pytest.mark.parametrize("quirk", QUIRKS)
def test_quirk(quirk: str) -> None:
    experiment = made(QUIRKS[quirk])
    assert bites(experiment, quirk)
    if quirk not in ("running-product", "curved-axes"):
        agreed(switched(made(QUIRKS[quirk], preset="physics"), True, quirk))


def bites(experiment: Experiment, quirk: str) -> bool:
    """Whether the image is another one without the quirk."""
    return not np.allclose(agreed(experiment), agreed(without(experiment, quirk)), rtol=1e-4)


@pytest.mark.spec("PRE-4", "ROT-4", "ROT-5")
def test_quirk_phi_carryover() -> None:
    experiment = made(f"{LARGE_CELL} {SWEEPS['through 0']} -oversample 2")
    carried = agreed(switched(experiment, True, "phi-carryover"))
    assert not np.allclose(carried, agreed(experiment), rtol=1e-4)
    assert np.array_equal(carried, agreed(with_stages(experiment, preset="c-parity")))
    assert np.array_equal(agreed(without(with_stages(experiment, preset="c-parity"), "phi-carryover")), agreed(experiment))


@pytest.mark.spec("PRE-4", "SF-4", "SF-5")
@pytest.mark.parametrize("options", ["", "-oversample 2 -dispersion 5"])
def test_quirk_interpolation_latch(options: str) -> None:
    assert bites(made(f"{LATCHED} {options}", hkl=table(reach=6)), "interpolation-latch")


@pytest.mark.spec("PRE-4", "SF-6", "EXP-9")
@pytest.mark.parametrize(("options", "differs"), [("-N 3 -xtalsize 2.1e-6", True), ("-N 2 -xtalsize 6.1e-6", True), ("-N 2", False)])
def test_quirk_interpolation_cells(options: str, differs: bool) -> None:
    assert bites(made(f"{SMALL_CELL} {options}", hkl=table(reach=9)), "interpolation-cells") == differs


@pytest.mark.spec("PRE-4", "LAT-5", "LAT-7")
@pytest.mark.parametrize("fudge", [0.3, 1.0])
@pytest.mark.parametrize("shape", ["gauss", "tophat"])
def test_quirk_spot_width(shape: str, fudge: float) -> None:
    options = f"{SMALL_CELL} -Na 2 -Nb 4 -Nc 3 -fudge {fudge} -mosaic 6 -mosaic_domains 4 -nointerpolate"
    assert bites(made(options, hkl=table(), lattice_shape=shape), "spot-width")


@pytest.mark.spec("PRE-4", "EXP-14")
@pytest.mark.parametrize("options", ["", "-oversample 2 -water 1"])
def test_quirk_source_weights(options: str) -> None:
    experiment = listed(made(f"{LARGE_CELL} {options}"), SOURCES["weights"])
    assert bites(experiment, "source-weights")


@pytest.mark.spec("EXP-7")
@pytest.mark.parametrize("seed", [0, 1, 7, 12345, 2147483646])
def test_uniform_orientation(seed: int) -> None:
    agreed(without(made(f"{LARGE_CELL} -misset random -misset_seed {seed}"), "misset-cap"))


@pytest.mark.spec("EXP-7")
@pytest.mark.parametrize("misset", ["0 0 0", "13 27 41"])
@pytest.mark.parametrize("cell", ["50 60 70 80 95 105", "50 60 70 90 115 75", "50 60 70 90 100"])
def test_cell_that_keeps_its_angles(cell: str, misset: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -cell {cell} -misset {misset} -Xbeam 7.3 -Ybeam 10.9"), "triclinic-setting"))


@pytest.mark.spec("EXP-3", "EXP-4")
@pytest.mark.parametrize("pivot", ["", "-pivot beam", "-pivot sample"])
@pytest.mark.parametrize("centre", CENTRES.values(), ids=CENTRES)
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_pivot_and_nearest_point_of_the_user(convention: str, centre: str, pivot: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -{convention} {centre} {TILTED} -twotheta 12 {pivot}"), "forced-pivot"))


@pytest.mark.spec("EXP-3", "EXP-4", "GEO-2", "GEO-3")
@pytest.mark.parametrize("off", [("normal-replaced",), ("pix0-unused",), ("normal-replaced", "pix0-unused", "forced-pivot")], ids=str)
@pytest.mark.parametrize("pivot", ["beam", "sample"])
@pytest.mark.parametrize("axes", CUSTOM_AXES.values(), ids=CUSTOM_AXES)
def test_custom_convention_without_quirks(axes: str, pivot: str, off: tuple[str, ...]) -> None:
    options = f"{LARGE_CELL} {axes} {TILTED} -twotheta 12 -pivot {pivot} -pix0_vector 0.05 -0.01 0.012 -detector_thick 500"
    agreed(without(made(options), *off))


@pytest.mark.spec("EXP-4")
def test_origin_in_a_named_convention() -> None:
    assert bites(made(f"{LARGE_CELL} -pix0_vector 0.01 0.01 0.05 -xds {TILTED}"), "pix0-unused")


@pytest.mark.spec("GEO-7", "EXP-3", "EXP-4")
@pytest.mark.parametrize("options", ["", "-oversample 2 -point_pixel", f"{TILTED} -detector_thick 900", "-Xbeam 7 -Ybeam 11"])
@pytest.mark.parametrize("convention", ["mosflm", "denzo", "adxv", "xds", "dials"])
def test_sphere_in_the_detectors_own_frame(convention: str, options: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -curved_det -{convention} {options}"), "curved-axes"))


@pytest.mark.spec("GEO-7")
@pytest.mark.parametrize("options", ["-mosflm -twotheta 12", "-xds -twotheta 12", f"-xds {TILTED} -twotheta 8 -ORGX 3", CUSTOM])
def test_sphere_meets_the_direct_beam_where_the_plane_does(options: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -curved_det {options}"), "curved-axes"))


# A direct beam off the nearest point, detector and crystal turned, several of everything.
RICH = (
    "-cell 12 15 18 80 95 105 -N 3 -fudge 0.8 -misset random -misset_seed 3 -default_F 17 -lambda 1.1 -interpolate -xds -pivot beam "
    f"{TILTED} -twotheta 12 -Xbeam 9 -Yclose 7 -phi -2 -osc 4 -phisteps 3 -mosaic 2 -mosaic_domains 2 -oversample 2 -polar 0.8 "
    "-detector_thick 600 -thicksteps 2 -detector_abs 450 -water 0.5 -dmin 1.2 -roi 1 8 1 5"
)


@pytest.mark.spec("PRE-1", "PRE-3", "SCA-10", "SF-4", "EXP-14", "EXP-15")
@pytest.mark.parametrize("factors", ["", "-oversample_thick -oversample_omega"])
def test_physics(factors: str) -> None:
    experiment = listed(made(f"{RICH} {factors}", hkl=table(reach=7), preset="physics"), SOURCES["weights"][:2])
    image = agreed(experiment)
    reference = with_stages(experiment, preset="reference")
    assert not np.allclose(image, agreed(reference), rtol=1e-2)
    assert np.array_equal(image, simulate(without(reference, *naive.QUIRKS)).pixels)
    agreed(switched(experiment, True, *naive.QUIRKS - {"phi-carryover", "running-product"}))


@pytest.mark.spec("PRE-1", "PRE-4", "SCA-10")
@pytest.mark.parametrize("factors", ["-oversample_thick", "-oversample_polar -oversample_omega"])
@pytest.mark.parametrize("quirk", ["first-sample-factors", "last-layer-capture", "water-squared", "dmin-cuts-water", "source-weights"])
def test_per_term_where_the_product_would_run(quirk: str, factors: str) -> None:
    experiment = made(f"{LARGE_CELL} {SENSOR} -water 0.02 -dmin 3 -fluence 1e24 -oversample 2 {factors}")
    agreed(without(listed(experiment, SOURCES["weights"]), quirk))


@pytest.mark.spec("SCA-8")
@pytest.mark.parametrize("stage", ["reference", "running-product", "per-term"])
def test_water_in_every_scaling(stage: str) -> None:
    agreed(without(made(f"{LARGE_CELL} -water 5", scaling=stage), "water-squared"))


@pytest.mark.spec("SCA-20")
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("stage", ["reference", "per-term"])
@pytest.mark.parametrize(
    "options", ["", "-osc 3 -phisteps 2 -mosaic 2 -mosaic_domains 3 -dispersion 9 -dispsteps 3 -oversample_omega", SENSOR]
)
def test_water_beyond_the_limit_of_reflections(options: str, stage: str, squared: bool) -> None:
    experiment = made(f"{LARGE_CELL} -water 5 {FIRST_PIXELS_CUT} -dmin 3 {options}", scaling=stage)
    agreed(switched(without(experiment, "dmin-cuts-water"), squared, "water-squared"))


@pytest.mark.spec("SCA-2", "SCA-9", "SCA-10")
@pytest.mark.parametrize("factors", FACTOR_OPTIONS.values(), ids=FACTOR_OPTIONS)
@pytest.mark.parametrize("stage", ["reference", "running-product", "per-term"])
def test_scaling_of_the_user(stage: str, factors: str) -> None:
    agreed(made(f"{LARGE_CELL} {SENSOR} -water 5 -oversample 2 {factors}", scaling=stage))


# ------------------------------------------------------------------------------------------------------ all of it, at random

# Only combinations that are tested above, since each has to be compiled, and one of everything.
STAGES = [
    {"structure_factor": "constant"},
    {"structure_factor": "nearest"},
    {"structure_factor": "tricubic"},
    {"structure_factor": "tricubic-latch"},
    {"structure_factor": "nearest", "lattice_shape": "round"},
    {"structure_factor": "nearest", "lattice_shape": "gauss"},
    {"structure_factor": "nearest", "lattice_shape": "tophat"},
    {"structure_factor": "tricubic-latch", "lattice_shape": "tophat"},
    {"structure_factor": "tricubic-latch", "rotation": "c-parity"},
    {"structure_factor": "constant", "rotation": "c-parity"},
    {"structure_factor": "constant", "geometry": "curved"},
    {"structure_factor": "constant", "polarization": "none"},
    {
        "structure_factor": "tricubic-latch",
        "geometry": "curved",
        "rotation": "c-parity",
        "lattice_shape": "gauss",
        "polarization": "none",
    },
]


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    def one_of(*options: str) -> str:
        return draw(st.sampled_from(options))

    def number(low: float, high: float) -> str:
        """Never a round one: those make ties."""
        return f"{draw(st.integers(0, 1000)) / 1000.0 * (high - low) + low + 0.000123:.6f}"

    options = [
        SMALL_CELL,
        f"-Na {draw(st.integers(1, 5))} -Nb {draw(st.integers(1, 5))} -Nc {draw(st.integers(1, 5))}",
        one_of(
            f"-misset {number(-180, 180)} {number(-90, 90)} {number(-180, 180)}", f"-misset random -misset_seed {draw(st.integers(0, 99))}"
        ),
        one_of("-mosflm", "-denzo", "-adxv", "-xds", "-dials", CUSTOM),
        one_of("", f"-Xbeam {number(0, 20)}", f"-Xbeam {number(0, 20)} -Ybeam {number(0, 20)}", f"-ORGX {number(0, 10)}"),
        one_of("", f"-detector_rotx {number(-20, 20)}", f"-detector_roty {number(-20, 20)} -detector_rotz {number(-180, 180)}"),
        one_of("", f"-twotheta {number(-20, 20)}"),
        one_of("", "-pivot sample", f"-close_distance {number(30, 50)}"),
        one_of("", "-point_pixel"),
        one_of("", f"-phi {number(0, 360)}", *SWEEPS.values()),
        one_of("", f"-mosaic {number(0, 5)} -mosaic_domains {draw(st.integers(1, 4))} -mosaic_seed {draw(st.integers(0, 99))}"),
        f"-oversample {draw(st.integers(1, 2))} -polar {number(-1, 0.99)} -fudge {number(0.2, 2)}",
        one_of("", f"-dmin {number(1, 4)}"),
        one_of("", "-roi 2 8 1 6", "-roi 0 9 3 7"),
        one_of("", "-flux 1e12 -exposure 0.1 -beamsize 0.03"),
    ]
    mask = random_mask(draw(st.integers(0, 99))) if draw(st.booleans()) else None
    stages = draw(st.sampled_from(STAGES))
    return made(" ".join(options), hkl=table(seed=draw(st.integers(0, 9)), reach=draw(st.integers(3, 8))), mask=mask, **stages)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(experiments())
def test_any_experiment(experiment: Experiment) -> None:
    image, expected = simulate(experiment).pixels, naive.photons(experiment)
    assert np.abs(image - expected).max() <= TOLERANCE * expected.max()


# Preset, options and stages that belong together, few of them for the same reason.
VARIANTS = [
    ("reference", "", {"structure_factor": "tricubic-latch"}),
    ("reference", "-oversample_thick -oversample_polar", {"structure_factor": "tricubic-latch"}),
    ("reference", "-oversample_omega", {"structure_factor": "nearest", "lattice_shape": "tophat"}),
    ("c-parity", "", {"structure_factor": "tricubic-latch"}),
    ("c-parity", "", {"structure_factor": "constant"}),
    ("c-parity", "-oversample_polar", {"structure_factor": "constant"}),
    ("c-parity", "-oversample_thick -oversample_polar -oversample_omega", {"structure_factor": "constant"}),
    ("physics", "", {"structure_factor": "tricubic"}),
    ("physics", "-oversample_thick", {"structure_factor": "tricubic"}),
    ("physics", "-oversample_polar", {"structure_factor": "constant"}),
    ("reference", "", {"structure_factor": "constant", "rotation": "gaussian"}),
]
FEW_PIXELS = "-detpixels_x 6 -detpixels_y 5 -pixel 3.3"


@st.composite
def rich_experiments(draw: st.DrawFn) -> Experiment:
    def one_of(*options: str) -> str:
        return draw(st.sampled_from(options))

    def number(low: float, high: float) -> str:
        """Never a round one: those make ties."""
        return f"{draw(st.integers(0, 1000)) / 1000.0 * (high - low) + low + 0.000123:.6f}"

    preset, factors, stages = draw(st.sampled_from(VARIANTS))
    lengths = f"{number(11, 14)} {number(14, 17)} {number(17, 19)}"
    options = [
        f"-cell {lengths} {number(80, 100)} {number(80, 100)} {number(80, 100)} -default_F 17 -lambda {number(0.9, 1.3)} {FEW_PIXELS}",
        one_of("-N 3", "-Na 2 -Nb 4 -Nc 3", "-xtalsize 3.1e-6"),
        one_of(
            f"-misset {number(-180, 180)} {number(-90, 90)} {number(-180, 180)}", f"-misset random -misset_seed {draw(st.integers(0, 99))}"
        ),
        one_of("-mosflm", "-adxv", "-xds", "-dials", f"{CUSTOM} -odet_vector 1 0.2 0.1", f"{CUSTOM} -pix0_vector_mm 45 -9 8"),
        one_of("", f"-Xbeam {number(0, 20)}", f"-Xclose {number(0, 20)} -Ybeam {number(0, 20)}", f"-ORGX {number(0, 5)}"),
        one_of("", f"{TILTED} -twotheta {number(-20, 20)}", f"-detector_rotz {number(-180, 180)}"),
        one_of("", "-pivot sample", "-pivot beam"),
        "" if "-oversample_omega" in factors else one_of("", "-point_pixel"),  # a running product of factors above 1 overflows
        one_of("", f"-phi {number(0, 360)}", *SWEEPS.values()),
        one_of("", f"-mosaic {number(0, 5)} -mosaic_domains {draw(st.integers(1, 2))} -mosaic_seed {draw(st.integers(0, 99))}"),
        one_of(
            "",
            f"-dispersion {number(1, 9)} -dispsteps {draw(st.integers(1, 3))}",
            f"-hdivrange {number(5, 50)} -vdivrange {number(5, 50)} {one_of('-round_div', '-square_div')}",
            f"-vdivstep {number(5, 20)} -vdivsteps {draw(st.integers(1, 3))}",
            "list",
        ),
        one_of("", f"-detector_thick {number(50, 900)} -detector_abs {number(50, 900)}", "-detector_thick 90"),
        one_of("", "-thicksteps 1", "-thicksteps 3"),
        one_of("", f"-water {number(0.01, 9)}"),
        f"-oversample {draw(st.integers(1, 2))} -polar {number(-1, 0.99)} -fudge {number(0.0001, 1)} {factors}",
        one_of("", f"-dmin {number(1, 4)}"),
        one_of("", "-roi 1 5 1 3"),
        one_of("", f"-flux {number(1, 9)}e20 -exposure 0.1 -beamsize 0.03"),
    ]
    mask = random_mask(draw(st.integers(0, 99)), (5, 6)) if draw(st.booleans()) else None
    given = " ".join(option for option in options if option != "list")
    hkl = table(seed=draw(st.integers(0, 9)), reach=draw(st.integers(3, 8)))
    experiment = made(given, hkl=hkl, mask=mask, preset=preset, **stages)
    if "list" not in options:
        return experiment
    # Around the beam's direction, whatever it is in the convention.
    upstream = -10.0 * naive.Exposure.of(experiment).frame.beam
    random = np.random.default_rng(draw(st.integers(0, 99)))
    left_out = random.random((3, 5)) < 0.3
    rows = np.column_stack([upstream + random.uniform(-0.3, 0.3, (3, 3)), random.uniform(0.1, 3.0, 3), random.uniform(0.9e-10, 1.4e-10, 3)])
    return listed(experiment, np.where(left_out, NAN, rows).tolist())


@settings(derandomize=True, max_examples=40, deadline=None)
@given(rich_experiments())
def test_any_experiment_in_any_preset(experiment: Experiment) -> None:
    image, expected = simulate(experiment).pixels, naive.photons(experiment)
    assert np.abs(image - expected).max() <= TOLERANCE * expected.max()
