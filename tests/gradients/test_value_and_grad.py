"""Gradients against differences of whole images, over every kind of option."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nbnumba_plugins import structure_factor_nearest

import nbnumba
from nbnumba.errors import ParameterError, StageError
from nbnumba.experiment.physics import Model
from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.gradients.derivatives import Derivatives
from nbnumba.gradients.gradient import gradient_by_amplitudes, value_and_grad
from nbnumba.gradients.losses import least_squares, poisson
from nbnumba.gradients.parameters import variable, variables_of, with_values
from nbnumba.gradients.variables import NAMES
from nbnumba.kernel.cpu import device as cpu
from nbnumba.stages.registry import Registry, installed

BASE = (
    "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 20 -oversample 1 "
    "-Xbeam 10.3 -Ybeam 9.6 -fluence 1e24 -polar 0.5 "
)
CRYSTAL = ["cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma", "misset_x", "misset_y", "misset_z"]
CELLS = ["cells_a", "cells_b", "cells_c"]
DETECTOR = ["distance", "beam_x", "beam_y", "detector_rotx", "detector_roty", "detector_rotz", "twotheta"]
BEAM = ["wavelength", "polarization_fraction", "fluence", "default_F"]
SWEEP = "-phi 3 -osc 2 -phisteps 3 "
# Relative; large ones cross kinks, where the nearest reflection of some pixel becomes another, small ones leave few digits.
STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
CASES = {
    "still": "",
    "sweep": SWEEP,
    "tilted": SWEEP + "-detector_rotx 5 -detector_roty 3 -twotheta 7 -detector_rotz 2",
    "sub-pixels": "-oversample 3",
    "sources": "-dispersion 2 -dispsteps 3 -divergence 5 -divsteps 2",
    "sensor": "-detector_thick 400 -detector_abs 300 -thicksteps 3 -oversample 2",
    "water": "-water 1",
    "resolution": "-dmin 3",
    "water beyond the resolution": "-water 1 -dmin 3",
    "round": "-round_xtal",
    "gauss": "-gauss_xtal -N 3",
    "point pixels": "-point_pixel -nopolar",
    "curved": "-curved_det -detector_rotx 5 -twotheta 7",
    "curved sensor": "-curved_det -detector_thick 400 -detector_abs 300 -thicksteps 2 -oversample 2 -point_pixel",
    "factors of every sub-pixel": "-oversample_omega -oversample_polar -oversample_thick -detector_thick 400 -detector_abs 300 "
    "-thicksteps 2 -oversample 2 -water 1",
    "factors of every sub-pixel, dry": SWEEP + "-oversample_polar -oversample 2",
}


def experiment_of(case: str, preset: str = "reference") -> nbnumba.Experiment:
    experiment = nbnumba.experiment_from_options(BASE + CASES[case])
    return replace(experiment, model=replace(experiment.model, preset=preset))


def squares_of(experiment: nbnumba.Experiment) -> Any:
    """That becomes part of the kernel."""
    brightest = nbnumba.simulate(experiment).pixels.max()
    return least_squares(np.random.default_rng(0).random(experiment.detector.shape) * brightest, 1.0 / brightest**2)


def loss_of(experiment: nbnumba.Experiment) -> Any:
    """Of a stranger: a function of the image."""
    squares = squares_of(experiment)
    return lambda photons: squares(photons)


def by_differences(experiment: nbnumba.Experiment, name: str, loss: Any, relative: float) -> float:
    """Of fourth order."""
    v = variable(name)
    at = v.value(experiment)
    step = relative * (abs(at) or 1.0)
    values = [loss(nbnumba.simulate(v.changed(experiment, at + n * step)).pixels)[0] for n in (-2, -1, 1, 2)]
    return (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * step)


def assert_is_gradient(experiment: nbnumba.Experiment, names: list[str], tolerance: float = 1e-6, made: Any = loss_of) -> None:
    loss = made(experiment)
    value, gradient = value_and_grad(experiment, names, loss)
    assert value == pytest.approx(loss(nbnumba.simulate(experiment).pixels)[0], rel=1e-9)
    for name, found in zip(names, gradient, strict=True):
        # What differences cannot tell from 0: the loss has fifteen digits, over the step.
        least = 1e-10 * abs(value) / (abs(variable(name).value(experiment)) or 1.0)
        tried = []
        for step in STEPS:
            tried.append(by_differences(experiment, name, loss, step))
            if found == pytest.approx(tried[-1], rel=tolerance, abs=least):
                break
        else:
            pytest.fail(f"{name}: {found}, by differences {tried}")


OF_THEIR_OWN = (
    "gauss",
    "round",
    "curved",
    "curved sensor",
    "factors of every sub-pixel",
    "factors of every sub-pixel, dry",
)  # that take kernels of their own


@pytest.mark.spec("GRA-2", "GRA-3")
@pytest.mark.parametrize(
    ("case", "preset"),
    [
        *((case, "reference") for case in CASES if case not in ("point pixels", "water beyond the resolution", *OF_THEIR_OWN)),
        *((case, "physics") for case in ("sub-pixels", "sources", "sensor", "water", "tilted", "water beyond the resolution")),
        # Each of the others takes a kernel of its own.
        *(pytest.param(case, "physics", marks=pytest.mark.slow) for case in ("still", "sweep", "resolution", "round", "gauss", "curved")),
        *(pytest.param(case, "reference", marks=pytest.mark.slow) for case in ("point pixels", *OF_THEIR_OWN)),
        pytest.param("point pixels", "physics", marks=pytest.mark.slow),
    ],
)
def test_by_everything(case: str, preset: str) -> None:
    names = [*CRYSTAL, *CELLS, *DETECTOR, *BEAM, "scale"]
    names += ["phi_start", "oscillation"] if "-phi " in CASES[case] else []
    names += ["background"] if case.startswith("water") else []
    names += ["detector.sensor_thickness", "detector.sensor_attenuation"] if "sensor" in case else []
    names = [name for name in names if not (case == "point pixels" and name == "polarization_fraction")]
    # The round shape's kernel is that of other tests, too.
    assert_is_gradient(experiment_of(case, preset), names, made=squares_of if case == "round" else loss_of)


@pytest.mark.spec("GRA-2")
def test_through_the_carried_orientation() -> None:
    experiment = nbnumba.experiment_from_options(BASE + "-phi 0 -osc 2 -phisteps 3")
    assert_is_gradient(replace(experiment, model=Model(preset="c-parity")), CRYSTAL + DETECTOR + BEAM + ["oscillation"])
    probe = nbnumba.experiment_from_options(BASE + "-phi 0 -osc 2 -phisteps 3 -roi 8 9 11 12")
    assert_is_gradient(replace(probe, model=Model(preset="c-parity")), ["cell_a"])


@pytest.mark.spec("GRA-2")
def test_what_is_chosen_in_steps_is_held() -> None:
    """Phi steps that follow from their angle; which orientation one carries; stages; for differences of images, too."""
    stepped = nbnumba.experiment_from_options(BASE + "-phi 3 -osc 2 -phistep 0.5")
    assert value_and_grad(stepped, ["oscillation"], loss_of(stepped))[1].tolist() == [0.0]
    uneven = nbnumba.experiment_from_options(BASE + "-phi 3 -osc 2.001 -phistep 0.5")
    assert_is_gradient(uneven, ["goniometer.phi_step", "phi_start"])
    carried = replace(nbnumba.experiment_from_options(BASE + "-phi 0 -osc 2 -phisteps 3"), model=Model(preset="c-parity"))
    single = replace(carried, sampling=replace(carried.sampling, dtype="float32"))
    for experiment, names in ((carried, ["phi_start", "misset_x"]), (single, ["misset_x"])):
        assert_differences_agree(experiment, names)


@pytest.mark.slow
@pytest.mark.spec("GRA-2")
def test_whether_there_is_interpolation_is_held() -> None:
    """At two cells it begins."""
    assert_differences_agree(with_table(nbnumba.experiment_from_options(BASE + "-Na 2"), interpolate=None), ["cells_a"])


def assert_differences_agree(experiment: nbnumba.Experiment, names: list[str]) -> None:
    loss = loss_of(experiment)
    value, gradient = value_and_grad(experiment, names, loss)
    found = value_and_grad(experiment, names, loss, differences=True)
    assert found[0] == pytest.approx(value, rel=1e-9)
    assert found[1] == pytest.approx(gradient, rel=1e-5)


@pytest.mark.spec("GRA-3")
def test_an_orientation_by_chance() -> None:
    """Its angles are known, and can be refined."""
    experiment = nbnumba.experiment_from_options(BASE + "-misset random -misset_seed 7")
    assert_is_gradient(experiment, ["misset_x", "misset_y", "misset_z"])
    same = with_values(experiment, {"misset_x": variable("misset_x").value(experiment)})
    assert nbnumba.simulate(same).pixels == pytest.approx(nbnumba.simulate(experiment).pixels, rel=1e-9, abs=1e-9)


@pytest.mark.spec("GRA-2")
def test_without_photons() -> None:
    """A fluence of 0 is one like any other."""
    experiment = nbnumba.experiment_from_options(BASE + "-fluence 0")
    weights = np.ones(experiment.detector.shape)
    _, gradient = value_and_grad(experiment, ["fluence", "cell_a"], lambda photons: (float(photons.sum()), weights))
    assert gradient[0] == pytest.approx(nbnumba.simulate(with_values(experiment, {"fluence": 1e24})).pixels.sum() / 1e24, rel=1e-9)
    assert gradient[1] == 0.0
    columns = nbnumba.jacobian(experiment, ["fluence", "cell_a"])
    assert columns.sum(axis=0) == pytest.approx(gradient, rel=1e-9)


@pytest.mark.spec("GRA-2")
def test_elements_that_are_0_beside_others_that_are_not(tmp_path: Any) -> None:
    """Steps are taken from the others."""
    (tmp_path / "A.mat").write_text("0.01 0 0\n0 0.012 0\n0 0.0003 0.015\n")
    experiment = nbnumba.experiment_from_options(f"{BASE} -mat {tmp_path / 'A.mat'}")
    assert_is_gradient(experiment, [f"crystal.a_matrix[{n}]" for n in range(9)])


@pytest.mark.spec("GRA-3")
def test_what_is_saved(tmp_path: Any) -> None:
    """Other amplitudes than a file has are not lost; numbers of cells that are not whole cannot be saved, and are said so."""
    (tmp_path / "a.hkl").write_text("1 1 0 52\n0 1 0 30\n")
    experiment = nbnumba.experiment_from_options(f"{BASE} -hkl {tmp_path / 'a.hkl'}")
    changed = with_values(experiment, {"F(1,1,0)": 500.0})
    nbnumba.save_experiment(changed, tmp_path / "a.toml")
    assert variable("F(1,1,0)").value(nbnumba.load_experiment(tmp_path / "a.toml")) == 500.0
    with pytest.raises(ParameterError, match=r"crystal\.cells: 5\.4 x 5 x 5 cannot be saved; give whole numbers of cells"):
        nbnumba.save_experiment(with_values(experiment, {"cells_a": 5.4}), tmp_path / "b.toml")
    assert not (tmp_path / "b.toml").exists()


@pytest.mark.slow  # it takes a kernel of its own
@pytest.mark.spec("GRA-2")
def test_where_spots_are_flat_only_their_height_varies() -> None:
    experiment = nbnumba.experiment_from_options(BASE + "-tophat_spots -N 2")
    loss = loss_of(experiment)
    _, gradient = value_and_grad(experiment, ["misset_x", "cells_a", "default_F"], loss)
    assert gradient[2] == pytest.approx(by_differences(experiment, "default_F", loss, 1e-4), rel=1e-6)
    # The misset still turns rays to other factors: there are none of the crystal's own.
    assert gradient[0] == 0.0
    assert gradient[1] != 0.0


@pytest.mark.spec("GRA-2", "ROT-8")
def test_mosaic_domains() -> None:
    """A gradient sees past angles that are formed in float32; differences of images do not."""
    experiment = nbnumba.experiment_from_options(BASE + "-mosaic 0.5 -mosaic_dom 6")
    smooth = replace(experiment, model=replace(experiment.model, quirks={"single-angles": False}))
    loss = loss_of(experiment)
    assert_is_gradient(smooth, ["mosaic_spread", *CRYSTAL])
    single, double = (value_and_grad(e, ["mosaic_spread"], loss)[1] for e in (experiment, smooth))
    assert single == pytest.approx(double, rel=1e-6)


@pytest.mark.oldest
@pytest.mark.spec("GRA-2")
def test_masked_pixels_say_nothing() -> None:
    experiment = experiment_of("sweep")
    mask = np.random.default_rng(2).random(experiment.detector.shape) > 0.4
    masked = replace(experiment, sampling=replace(experiment.sampling, mask=mask, roi=(2, 17, 3, 18)))
    assert_is_gradient(masked, ["cell_a", "misset_x", "distance"])


@pytest.mark.spec("GRA-2")
@pytest.mark.parametrize("roi", [None, (2, 17, 3, 18)])
@pytest.mark.parametrize("masked", [False, True])
def test_losses_that_become_part_of_the_kernel(roi: Any, masked: bool) -> None:
    """They give what they give of the pixels of the image that are rendered; what others are observed as does not matter."""
    random = np.random.default_rng(2)
    experiment, names = experiment_of("sweep"), ["cell_a", "misset_x", "distance"]
    counts, weights = random.poisson(3.0, experiment.detector.shape), random.random(experiment.detector.shape)
    mask = random.random(experiment.detector.shape) > 0.4 if masked else None
    experiment = replace(experiment, sampling=replace(experiment.sampling, mask=mask, roi=roi))
    rendered = np.zeros(experiment.detector.shape, bool)
    rendered[(slice(None),) * 2 if roi is None else (slice(3, 19), slice(2, 18))] = True
    rendered &= True if mask is None else mask
    unknown = np.where(rendered, counts, np.nan)
    for loss, same in (
        (least_squares(unknown, weights), least_squares(counts, weights * rendered)),
        (poisson(unknown, weights), poisson(counts, weights * rendered)),
        (least_squares(0.0), least_squares(0.0)),
    ):
        value, gradient = value_and_grad(experiment, names, loss)
        expected, slopes = value_and_grad(experiment, names, lambda photons, loss=same: loss(photons))
        assert value == pytest.approx(expected, rel=1e-9)
        assert gradient == pytest.approx(slopes, rel=1e-8)


def test_gradients_and_jacobians_take_a_kernel_each() -> None:
    """Whether pixels are observed as a number, an array, one that cannot be written to, or in a region; by nothing as by something."""
    experiment, counts = experiment_of("sweep"), np.ones((20, 20))
    region = replace(experiment, sampling=replace(experiment.sampling, roi=(2, 17, 3, 18)))
    for loss in (least_squares(0.0), least_squares(counts), least_squares(counts, counts), least_squares(np.broadcast_to(1.0, (20, 20)))):
        value_and_grad(experiment, ["cell_a"], loss)
        value_and_grad(region, ["cell_a"], loss)
    for names in ([], ["cell_a"]):
        nbnumba.jacobian(experiment, names)
    found = [kernel for kernel in cpu._compiled.values() if kernel.py_func.__name__ in ("adjoint", "tangents")]
    assert found
    assert [kernel.py_func.__qualname__ for kernel in found if len(kernel.signatures) > 1] == []


@pytest.mark.spec("GRA-2")
def test_at_the_lattice_points_themselves() -> None:
    """Every pixel sees q = 0 in one direction: the beam goes through the middle of a pixel, the cell stands straight."""
    experiment = nbnumba.experiment_from_options("-default_F 100 -cell 50 -lambda 1 -N 5 -distance 100 -pixel 1 -detpixels 5 -oversample 1")
    _, gradient = value_and_grad(experiment, CRYSTAL + CELLS + BEAM, least_squares(0.0))
    assert np.isfinite(gradient).all()
    # Away from the middle in L, so that it has slopes.
    assert_is_gradient(experiment, ["cell_b", "cell_c", "cells_a", "wavelength", "fluence", "default_F"])


@pytest.mark.spec("GRA-2")
def test_threads_change_nothing() -> None:
    experiment, names = experiment_of("sweep"), ["cell_a", "misset_y", "wavelength"]
    loss = loss_of(experiment)
    one, again, two = (value_and_grad(experiment, names, loss, threads=threads)[1] for threads in (1, 1, 2))
    assert one.tolist() == again.tolist()
    assert two.tolist() == one.tolist()


@pytest.mark.spec("GRA-2")
def test_from_several_threads_at_once() -> None:
    """Experiments of different sizes do not get in each other's way."""
    experiments = [nbnumba.experiment_from_options(BASE + f"-detpixels {n}") for n in (20, 50) * 4]

    def gradient(experiment: nbnumba.Experiment) -> list[float]:
        return value_and_grad(experiment, ["cell_a", "misset_x"], lambda photons: (0.0, photons))[1].tolist()

    expected = [gradient(experiment) for experiment in experiments]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(gradient, experiments)) == expected


@pytest.mark.parametrize("loss", [least_squares([[1.0, 2.0], [3.0, 4.0]], 0.5), poisson([[1, 2], [0, 4]])])
def test_losses(loss: Any) -> None:
    photons = np.array([[1.5, 2.5], [0.5, 3.0]])
    _, slopes = loss(photons)
    for at in np.ndindex(2, 2):
        values = []
        for sign in (1.0, -1.0):
            moved = photons.copy()
            moved[at] += sign * 1e-6
            values.append(loss(moved)[0])
        assert slopes[at] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_counts_where_no_photon_is_expected() -> None:
    value, slopes = poisson([[3.0]])(np.array([[0.0]]))
    assert np.isfinite(value)
    assert slopes.tolist() == [[0.0]]


@pytest.mark.spec("GRA-2")
def test_counts_in_pixels_where_the_model_has_no_photons() -> None:
    """They say nothing of the slopes, in the kernel as in Python; a count is not impossible there."""
    experiment = nbnumba.experiment_from_options(BASE + "-tophat_spots -fudge 0.05")
    experiment = replace(experiment, model=replace(experiment.model, quirks={"spot-width": False}))
    photons = nbnumba.simulate(experiment).pixels
    dark = photons == 0.0
    assert 0 < dark.sum() < dark.size
    counts = np.where(dark, 3.0, photons * 1.1)
    value, slopes = value_and_grad(experiment, ["scale", "default_F"], poisson(counts))
    _, expected = value_and_grad(experiment, ["scale", "default_F"], poisson(counts, np.where(dark, 0.0, 1.0)))
    assert np.isfinite(value)
    assert slopes == pytest.approx(expected, rel=1e-9)
    assert slopes[0] == pytest.approx(float(-0.1 * photons.sum()), rel=1e-9)


@pytest.mark.spec("GRA-2")
def test_at_a_limit() -> None:
    """Differences go to one side."""
    experiment = nbnumba.experiment_from_options(BASE + "-polar 1")
    loss = loss_of(experiment)
    _, found = value_and_grad(experiment, ["polarization_fraction", "background"], loss)
    less = replace(experiment, beam=replace(experiment.beam, polarization_fraction=1.0 - 1e-4))
    much_less = replace(experiment, beam=replace(experiment.beam, polarization_fraction=1.0 - 2e-4))
    a, b, c = (loss(nbnumba.simulate(e).pixels)[0] for e in (experiment, less, much_less))
    assert found[0] == pytest.approx((3.0 * a - 4.0 * b + c) / 2e-4, rel=1e-6)
    assert found[1] == pytest.approx(0.0, abs=1e-4)  # it begins with the cube of the water's size


@pytest.mark.spec("GRA-2")
def test_a_loss_cannot_change_the_image() -> None:
    def careless(photons: np.ndarray) -> tuple[float, np.ndarray]:
        photons -= 1.0
        return 0.0, photons

    with pytest.raises(ValueError, match="read-only"):
        value_and_grad(experiment_of("still"), ["cell_a"], careless)


@pytest.mark.spec("GRA-3")
def test_names() -> None:
    experiment = with_values(experiment_of("still"), {"cell_a": 71e-10, "crystal.misset[1]": 0.5, "detector.distance": 0.061})
    assert experiment.crystal.cell[0] == 71e-10
    assert experiment.crystal.misset[1] == 0.5
    assert experiment.detector.distance == 0.061
    assert all(variable(name) for name in NAMES)


@pytest.mark.spec("GRA-3")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cell_d", "parameters: no parameter 'cell_d'; the nearest are cell_c, cell_b, cell_a"),
        ("zzz", "parameters: no parameter 'zzz'; there are cell_a, "),
        ("crystal.cell", "parameters: no parameter 'crystal.cell'; "),
        ("crystal.cell[6]", "parameters: no parameter 'crystal.cell[6]'; "),
        ("crystal.mosaic_domains", "parameters: no parameter 'crystal.mosaic_domains'; "),
        ("detector.convention", "parameters: no parameter 'detector.convention'; "),
        ("flux", "beam.flux: is 0, which means that there is none: nothing can be differentiated by flux"),
        ("mosaic_spread", "crystal.mosaic_spread: is not given, so that nothing can be differentiated by mosaic_spread"),
    ],
)
def test_names_that_there_are_not(name: str, message: str) -> None:
    with pytest.raises(ParameterError) as raised:
        value_and_grad(experiment_of("still"), [name], least_squares(0.0))
    assert str(raised.value).startswith(message)


def without(kind: str, name: str, **changes: Any) -> Registry:
    """The installed stages with one of them changed."""
    registry = Registry()
    for stage, origin in installed():
        registry._add(stage.kind, replace(stage, **changes) if (stage.kind, stage.name) == (kind, name) else stage, origin)
    return registry


@pytest.mark.spec("GRA-2", "GRA-3")
def test_what_has_no_gradient() -> None:
    stages = without("lattice_shape", "square", derivative=None, varied=())
    with pytest.raises(StageError) as raised:
        value_and_grad(experiment_of("still"), ["cell_a"], least_squares(0.0), stages=stages)
    told = "lattice_shape 'square': does not state its derivative, which a gradient needs; value_and_grad(..., differences=True) goes"
    assert str(raised.value) == f"{told} without"
    listed = with_table(experiment_of("still"))
    stages = without("structure_factor", "nearest", table="", spread=None)
    with pytest.raises(StageError, match="structure_factor 'nearest': its array F varies with default_F, which a gradient does not follow"):
        Derivatives(listed, stages).slopes(variables_of(listed, ["default_F"]))
    with pytest.raises(ParameterError, match="device: 'auto' is not one of cpu, cuda"):
        value_and_grad(experiment_of("still"), ["cell_a"], least_squares(0.0), device="auto")
    stages = without("lattice_shape", "square", derivative=of_text)
    with pytest.raises(StageError, match="lattice_shape 'square': cannot be compiled: "):
        value_and_grad(experiment_of("still"), ["cell_a"], least_squares(0.0), stages=stages)
    dispersed = nbnumba.experiment_from_options(BASE + "-hdivrange 6 -hdivstep 2")
    with pytest.raises(ParameterError, match=r"sources\.horizontal_range: changes how many sources or orientations there are; give"):
        value_and_grad(dispersed, ["sources.horizontal_range"], least_squares(0.0))
    for stages, told in (
        (without("lattice_shape", "square", varied=("n_a", "n_b", "n_d")), "prepare() returned no n_d, which its derivative is taken by"),
        (without("lattice_shape", "square", varied=("n_a",)), "its derivative returns 7 numbers, not 5"),
        (without("scaling", "reference", derivative=dividing), "its derivative fails: ZeroDivisionError: float division by zero"),
    ):
        with pytest.raises(StageError, match=re.escape(told)):
            value_and_grad(experiment_of("still"), ["cell_a"], least_squares(0.0), stages=stages)
    for loss in (
        3.0,
        lambda photons: 1.0,
        lambda photons: (1.0, "x"),
        lambda photons: (1.0, photons * 1j),
        lambda photons: (None, photons),
    ):
        with pytest.raises(
            ParameterError, match=r"loss: must take photons \[slow, fast\] and return L and dL/dI, arrays of real numbers: "
        ):
            value_and_grad(experiment_of("still"), ["cell_a"], loss)
    with pytest.raises(ParameterError, match="loss: gave a derivative that is not a finite number"):
        value_and_grad(experiment_of("still"), ["cell_a"], lambda photons: (1.0, photons * np.nan))
    hot = np.zeros((20, 20))
    hot[3, 4] = np.nan
    with pytest.raises(ParameterError, match=r"loss: pixel slow 3, fast 4 is observed as nan, with the weight 1\.0; give pixels that say"):
        value_and_grad(experiment_of("still"), ["cell_a"], least_squares(hot))
    for given, message in (([3], "3 is not the name of a parameter"), (["cell_x"], "no parameter 'cell_x'")):
        with pytest.raises(ParameterError, match=message):
            value_and_grad(experiment_of("still"), given, least_squares(0.0))
    with pytest.raises(ParameterError, match="observed: must be real numbers, not str"):
        least_squares("a")
    with pytest.raises(ParameterError, match="parameters: fluence and scale are one number; give one of them"):
        with_values(experiment_of("still"), {"fluence": 1e24, "scale": 2.0})
    with pytest.raises(ParameterError, match="parameters: cell_a = x is not a finite number"):
        with_values(experiment_of("still"), {"cell_a": "x"})
    with pytest.raises(ParameterError, match=r"structure_factors\.hkl: does not list the reflection of F\(1,2,3\)"):
        value_and_grad(experiment_of("still"), ["F(1,2,3)"], least_squares(0.0))
    still = nbnumba.experiment_from_options(BASE + "-mosaic 0")
    with pytest.raises(
        ParameterError,
        match=r"crystal\.mosaic_spread: is 0, which means that there is none: nothing can be differentiated by mosaic_spread",
    ):
        value_and_grad(still, ["mosaic_spread"], least_squares(0.0))
    with pytest.raises(ParameterError, match="loss: gave derivatives of shape"):
        value_and_grad(experiment_of("still"), ["cell_a"], lambda photons: (0.0, np.zeros(3)))
    with pytest.raises(
        ParameterError, match=r"loss: has observations of shape \(3,\) and weights of shape \(\) for an image of \(20, 20\)"
    ):
        value_and_grad(experiment_of("still"), ["cell_a"], least_squares(np.zeros(3)))
    with pytest.raises(ParameterError, match=r"beam\.fluence: is 0, which no scale changes"):
        value_and_grad(nbnumba.experiment_from_options(BASE + "-fluence 0"), ["scale"], least_squares(0.0))
    with pytest.raises(ParameterError, match="parameters: cell_a = nan is not a finite number"):
        with_values(experiment_of("still"), {"cell_a": float("nan")})
    with pytest.raises(ParameterError, match=r"structure_factors\.hkl: does not list the reflection of F\(30,0,0\)"):
        value_and_grad(listed, ["F(30,0,0)"], least_squares(0.0))
    with pytest.raises(ParameterError, match=r"structure_factors\.F: lists no amplitudes to differentiate by; give a table of them"):
        gradient_by_amplitudes(experiment_of("still"), least_squares(0.0))
    stages = without("structure_factor", "nearest", prepare=doubled)
    with pytest.raises(StageError, match="structure_factor 'nearest': its table F holds other numbers than the amplitudes that are listed"):
        gradient_by_amplitudes(listed, loss_of(listed), stages=stages)


def dividing(p, total, f_latt, f_cell, weight):
    return total / 0.0, 1.0, 0.0, 0.0, 0.0


def of_text(p, x, y, z):
    return ("1", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) if isinstance(x, float) else "".undefined(x)


def doubled(experiment: nbnumba.Experiment) -> Any:
    table = structure_factor_nearest.prepare(experiment)
    return table._replace(F=2.0 * table.F)


def with_table(experiment: nbnumba.Experiment, interpolate: bool | None = False, preset: str = "physics") -> nbnumba.Experiment:
    """Random amplitudes of reflections that do not reach to the corners."""
    hkl = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    F = 50.0 + 40.0 * np.random.default_rng(1).random(len(hkl))
    factors = StructureFactors(hkl=hkl, F=F, default_F=30.0, interpolate=interpolate)
    return replace(experiment, structure_factors=factors, model=Model(preset=preset))


@pytest.mark.spec("GRA-2", "GRA-3", "GRA-4")
@pytest.mark.parametrize(
    ("interpolate", "preset"),
    [(True, "physics"), *(pytest.param(*others, marks=pytest.mark.slow) for others in ((False, "physics"), (True, "reference")))],
)
def test_by_amplitudes(interpolate: bool, preset: str) -> None:
    experiment = with_table(experiment_of("still"), interpolate, preset)
    loss = loss_of(experiment)
    value, by_F = gradient_by_amplitudes(experiment, loss)
    assert value == pytest.approx(loss(nbnumba.simulate(experiment).pixels)[0], rel=1e-9)
    factors = experiment.structure_factors
    strongest = np.argsort(-np.abs(by_F))[:3]
    names = [f"F({','.join(map(str, factors.hkl[n]))})" for n in strongest]
    assert_is_gradient(experiment, [*names, "default_F", *CRYSTAL])
    assert value_and_grad(experiment, names, loss)[1] == pytest.approx(by_F[strongest], rel=1e-9)
    # Along a random direction: every amplitude has its part in it.
    direction = np.random.default_rng(3).normal(size=len(by_F))

    def along(step: float) -> float:
        changed = replace(experiment, structure_factors=replace(factors, F=factors.F + step * direction))
        return loss(nbnumba.simulate(changed).pixels)[0]

    expected = (along(-2e-3) - 8.0 * along(-1e-3) + 8.0 * along(1e-3) - along(2e-3)) / 12e-3
    assert direction @ by_F == pytest.approx(expected, rel=1e-6)


@pytest.mark.spec("GRA-4")
def test_of_a_reflection_that_is_listed_twice_the_last_counts() -> None:
    """As in the table."""
    factors = StructureFactors(
        hkl=np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0]]), F=np.array([10.0, 20.0, 20.0]), default_F=5.0, interpolate=False
    )
    experiment = replace(experiment_of("still", "physics"), structure_factors=factors)
    loss = loss_of(experiment)
    _, by_F = gradient_by_amplitudes(experiment, loss)
    assert by_F[1] == 0.0
    assert by_F[2] == pytest.approx(value_and_grad(experiment, ["F(1,0,0)"], loss)[1][0], rel=1e-9)


@pytest.mark.spec("GRA-2")
def test_more_terms_than_slopes_are_kept_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are worked out again on the way back."""
    experiment = nbnumba.experiment_from_options(BASE + CASES["sensor"] + " -mosaic 0.5 -mosaic_dom 3")
    names, loss = [*CRYSTAL, *CELLS, *DETECTOR, *BEAM], loss_of(experiment)
    expected = value_and_grad(experiment, names, loss)
    monkeypatch.setattr(cpu, "MOST_SLOPES", 0)
    found = value_and_grad(experiment, names, loss)
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    assert found[1] == pytest.approx(expected[1], rel=1e-10)


@pytest.mark.spec("GRA-2")
def test_by_differences() -> None:
    """What needs no derivatives of stages, when it is asked for."""
    experiment = nbnumba.experiment_from_options(BASE + SWEEP + "-mosaic 0.5 -mosaic_dom 3")
    names, loss = ["cell_a", "misset_x", "mosaic_spread", "fluence"], loss_of(experiment)
    value, expected = value_and_grad(experiment, names, loss)
    stages = without("lattice_shape", "square", derivative=None, varied=())
    found = value_and_grad(experiment, names, loss, stages=stages, differences=True)
    assert found[0] == pytest.approx(value, rel=1e-9)
    assert found[1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.spec("GRA-3")
def test_a_scale_whether_fluence_or_flux_is_given() -> None:
    loss = least_squares(0.0)
    for options in ("", "-flux 1e15 -exposure 2 -beamsize 0.1"):
        experiment = nbnumba.experiment_from_options(BASE + options)
        value, gradient = value_and_grad(experiment, ["scale"], loss)
        assert gradient[0] == pytest.approx(2.0 * value, rel=1e-12)  # L goes with its square
        doubled = with_values(experiment, {"scale": 2.0})
        assert variables_of(experiment, ["scale"])[0].value(doubled) == 2.0
        assert nbnumba.simulate(doubled).pixels == pytest.approx(2.0 * nbnumba.simulate(experiment).pixels, rel=1e-12)
