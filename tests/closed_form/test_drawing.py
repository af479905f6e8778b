"""Gaussian spots: what is decided, refused and said, and derivatives."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import nbnumba
from nbnumba.campaign.sweep import Counting, Sweep
from nbnumba.cli.main import main
from nbnumba.errors import NotAvailableError, OptionError, ParameterError, StageError
from nbnumba.experiment import advice

GAUSSIAN = "--preset physics -gauss_xtal --model-of-spots gaussian"
CRYSTAL = "-default_F 100 -cell 40 50 38 90 90 90 -misset 10 20 30 -N 60 -mosaic 0.2"
SMALL = f"{GAUSSIAN} {CRYSTAL} -lambda 1 -distance 200 -pixel 0.3 -detpixels 200"


def experiment_of(more: str = "", options: str = SMALL) -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(f"{options} {more}")


def pixels_of(more: str = "", **how: int) -> np.ndarray:
    return nbnumba.simulate(experiment_of(more), **how).pixels


@pytest.mark.spec("CLO-8")
def test_any_number_of_threads_gives_the_same_image() -> None:
    one, two = (pixels_of("-osc 0.2", threads=threads) for threads in (1, 2))
    assert one.max() > 0.0
    np.testing.assert_array_equal(one, two)


@pytest.mark.spec("CLO-1")
def test_region_and_mask_are_those_of_samples(tmp_path: Path) -> None:
    whole, part = pixels_of(), pixels_of("-roi 40 120 60 150")
    np.testing.assert_allclose(part[60:151, 40:121], whole[60:151, 40:121], rtol=1e-9, atol=1e-9 * whole.max())
    part[60:151, 40:121] = 0.0
    assert not part.any()
    mask = np.ones(whole.shape, bool)
    mask[:, 100:] = False
    masked = nbnumba.simulate(replace(experiment_of(), sampling=nbnumba.Sampling(mask=mask))).pixels
    np.testing.assert_array_equal(masked, np.where(mask, whole, 0.0))


@pytest.mark.spec("CLO-1")
def test_panels_have_the_pixels_of_one_panel_in_their_places() -> None:
    experiment, whole = experiment_of(), pixels_of()
    panel = experiment.panels[0]
    far = tuple(np.array(panel.origin) + 100 * panel.pixel_size * np.array(panel.fast_axis))
    halves = [replace(panel, fast_pixels=100), replace(panel, fast_pixels=100, origin=far)]
    image = nbnumba.simulate(replace(experiment, detector=nbnumba.Detector(panels=tuple(halves))))
    found = np.concatenate([part.pixels for part in image.panels], axis=1)
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=1e-7 * whole.max())


@pytest.mark.slow
@pytest.mark.spec("CLO-1")
def test_water_is_that_of_samples() -> None:
    dark = f"{GAUSSIAN} -default_F 1e-9 -cell 40 50 38 90 90 90 -lambda 1 -distance 200 -pixel 0.3 -detpixels 200 -water 10"
    found = nbnumba.simulate(nbnumba.experiment_from_options(dark)).pixels
    wanted = nbnumba.simulate(nbnumba.experiment_from_options(dark.replace("--model-of-spots gaussian", "-oversample 1"))).pixels
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.spec("CLO-4")
def test_the_images_of_a_sweep_add_up_to_the_turn_of_all() -> None:
    from nbnumba.campaign.sweep import Counting, Sweep

    sweep = Sweep(experiment=experiment_of("-phi 10 -phisteps 7"), images=4, width=np.radians(0.1), counting=Counting())
    parts = [nbnumba.simulate(sweep.image(number)).pixels for number in sweep.numbers]
    whole = pixels_of("-phi 10 -osc 0.4")
    np.testing.assert_allclose(np.mean(parts, axis=0).sum(), whole.sum(), rtol=1e-4)
    assert np.abs(np.mean(parts, axis=0) - whole).max() < 5e-3 * whole.max()


@pytest.mark.spec("CLO-6")
def test_reflections_beyond_the_resolution_limit_are_not_drawn() -> None:
    limited, whole = pixels_of("-dmin 8"), pixels_of()
    assert 0.0 < limited.sum() < whole.sum()
    slow, fast = np.indices(whole.shape)
    far = np.hypot(slow - 100, fast - 100) * 0.3 > 200 * np.tan(2 * np.arcsin(1.0 / 16.0)) + 3.0
    assert limited[far].max() == 0.0


@pytest.mark.spec("CLO-6")
def test_amplitudes_are_those_of_the_table() -> None:
    hkl = np.array([[0, 1, 1], [1, 0, -1], [2, 1, 0]])
    table = nbnumba.StructureFactors(hkl=hkl, F=np.array([10.0, 20.0, 0.0]))
    found = nbnumba.simulate(replace(experiment_of(), structure_factors=table)).pixels
    alone = [
        nbnumba.simulate(replace(experiment_of(), structure_factors=nbnumba.StructureFactors(hkl=hkl[n : n + 1], F=np.array([1.0])))).pixels
        for n in (0, 1)
    ]
    np.testing.assert_allclose(found, 100.0 * alone[0] + 400.0 * alone[1], rtol=1e-12)


@pytest.mark.spec("CLO-6")
def test_nothing_is_drawn_of_reflections_without_amplitude() -> None:
    none = nbnumba.StructureFactors(hkl=np.array([[0, 1, 1]]), F=np.array([0.0]))
    experiment = replace(experiment_of("-osc 0.1"), structure_factors=none)
    assert nbnumba.simulate(experiment).pixels.max() == 0.0
    assert not nbnumba.jacobian(experiment, ["misset_x"]).any()


@pytest.mark.spec("CLO-4")
def test_a_long_turn_is_the_mean_of_short_ones() -> None:
    whole = pixels_of("-osc 2.5 -detpixels 100")
    parts = [pixels_of(f"-phi {0.5 * n} -osc 0.5 -detpixels 100") for n in range(5)]
    assert np.abs(np.mean(parts, axis=0) - whole).max() < 5e-3 * whole.max()
    assert np.mean(parts, axis=0).sum() == pytest.approx(whole.sum(), rel=1e-4)


@pytest.mark.spec("CLO-9")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-square_xtal", "lattice_shape 'square': is no Gaussian, of which alone there are Gaussian spots; take gauss (-gauss_xtal)"),
        ("-curved_det", "geometry 'curved': Gaussian spots take flat panels"),
        ("--plugin rotation=gaussian", "rotation 'gaussian': Gaussian spots take an even turn; take --preset physics"),
        ("--plugin scaling=reference", "scaling 'reference': Gaussian spots take terms with factors of their own; take --preset physics"),
        ("--quirk spot-width=on", "model.quirks: spot-width is followed, which Gaussian spots do not; take --preset physics"),
        ("--dtype float32", "sampling.dtype: float32: Gaussian spots are drawn in float64"),
        (
            "-dispersion 1 -dispsteps 3",
            "sources: 3 sources are samples, of which Gaussian spots take none; give --bandwidth and --divergence-widths",
        ),
    ],
)
def test_what_is_not_drawn_is_refused(options: str, said: str) -> None:
    with pytest.raises((ParameterError, StageError)) as error:
        pixels_of(options)
    assert str(error.value) == said


@pytest.mark.spec("CLO-9")
def test_interpolated_amplitudes_are_refused() -> None:
    listed = nbnumba.StructureFactors(hkl=np.array([[1, 1, 1]]), F=np.array([10.0]), interpolate=True)
    with pytest.raises(StageError, match="Gaussian spots take one amplitude of each reflection; take -nointerpolate"):
        nbnumba.simulate(replace(experiment_of(), structure_factors=listed))


@pytest.mark.spec("CLO-9")
def test_factors_are_refused() -> None:
    from nbnumba.plugin import Factor

    class Nothing(NamedTuple):
        unused: float = 0.0

    half = Factor(
        name="half", summary="of the test", prepare=lambda e: Nothing(), function=lambda p, ix, iy, iz, dx, dy, dz, wavelength: 0.5
    )
    with pytest.raises(StageError, match="factor 'half': is a factor, which Gaussian spots do not take; leave it out"):
        nbnumba.simulate(experiment_of(), stages=[half])


@pytest.mark.spec("CLO-9")
def test_a_gpu_is_refused() -> None:
    with pytest.raises(NotAvailableError, match=r"Gaussian spots .* are drawn on the CPU; take --device cpu"):
        nbnumba.simulate(experiment_of(), device="cuda")


@pytest.mark.spec("CLO-9")
def test_traces_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"spots\.model: gaussian has no terms to trace"):
        nbnumba.trace(experiment_of(), 10, 10)


@pytest.mark.spec("CLO-9")
def test_widths_are_refused_where_spots_are_sampled() -> None:
    with pytest.raises(ParameterError, match=r"spots\.bandwidth: is of Gaussian spots, and spots are sampled; take the model gaussian"):
        nbnumba.Spots(bandwidth=0.01)
    with pytest.raises((OptionError, ParameterError), match="sampled, gaussian"):
        experiment_of("--model-of-spots round")


@pytest.mark.spec("CLO-10")
def test_images_of_a_sweep_are_not_said_to_have_phi_steps_that_nobody_gave() -> None:
    image = Sweep(experiment=experiment_of(""), images=2, width=0.01, counting=Counting()).image(2)
    assert advice.warnings(image) == []


@pytest.mark.spec("CLO-10")
def test_samples_that_are_given_are_said_to_change_nothing() -> None:
    experiment = experiment_of("-mosaic_dom 100 -osc 1 -phisteps 10 -oversample 3")
    line = "spots are Gaussian, for which nothing is sampled: -mosaic_dom, -phisteps, -oversample changes nothing"
    assert advice.warnings(experiment) == [line]
    np.testing.assert_array_equal(nbnumba.simulate(experiment).pixels, pixels_of("-osc 1"))
    assert advice.warnings(experiment_of("--mosaic-widths 0.1 0.2 0.3")) == [
        "spots are Gaussian, for which nothing is sampled: -mosaic changes nothing"
    ]


@pytest.mark.spec("CLO-11")
def test_the_error_may_be_larger_for_wide_spreads() -> None:
    said = "Gaussian spots may be off by more than the error that is stated"
    assert advice.warnings(experiment_of("-mosaic 2")) == [f"a mosaic spread of more than 0.018: {said}"]
    assert advice.warnings(experiment_of("--bandwidth 3")) == [f"a bandwidth of more than 0.01: {said}"]


@pytest.mark.spec("CLO-1", "CLO-11")
def test_run_and_explain_say_which_model_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary, picture = tmp_path / "summary.json", tmp_path / "image.npy"
    assert main(["run", *SMALL.split(), "-o", str(picture), "--json", str(summary)]) == 0
    assert f"nbnumba: {advice.GAUSSIAN_SPOTS}" in capsys.readouterr().err
    found = json.loads(summary.read_text())["spots"]
    assert found["model"] == "gaussian"
    assert found["mosaic_widths_deg"] == pytest.approx([0.2, 0.2, 0.2])
    np.testing.assert_allclose(np.load(picture), pixels_of(), rtol=1e-6)
    assert main(["explain", *SMALL.split()]) == 0
    assert advice.GAUSSIAN_SPOTS in capsys.readouterr().out


@pytest.mark.spec("CLO-1")
def test_a_sweep_writes_images(tmp_path: Path) -> None:
    words = [*SMALL.split(), "--images", "2", "--width", "0.1", "-nonoise", "-o", str(tmp_path / "a_##.npy")]
    assert main(["sweep", *words]) == 0
    second = np.load(tmp_path / "a_02.npy")
    np.testing.assert_allclose(second, np.floor(pixels_of("-phi 0.1 -osc 0.1") + 0.5), rtol=1e-6)


NAMES = (
    *("cell_a", "cell_b", "cell_c", "cell_alpha", "cell_beta", "cell_gamma", "misset_x", "misset_y", "misset_z"),
    *("wavelength", "distance", "beam_x", "beam_y", "cells_a", "cells_b", "cells_c", "mosaic_a", "mosaic_b", "mosaic_c"),
    *("bandwidth", "divergence_along", "divergence_across", "point_spread", "phi_start", "oscillation", "scale"),
)


@pytest.mark.spec("CLO-12")
@pytest.mark.parametrize("cells", [200, 10], ids=["narrow", "wide"])
def test_derivatives_are_those_of_differences(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images drawn to where nothing is left, so that no line comes or goes on the way."""
    from nbnumba.closed_form import drawing, near, spots
    from nbnumba.gradients.differences import CENTRED
    from nbnumba.gradients.of_panels import derivatives_of
    from nbnumba.gradients.parameters import variables_of

    for module in (drawing, near, spots):
        monkeypatch.setattr(module, "REACH", 9.0)
    widths = "--mosaic-widths 0.1 0.2 0.15 --bandwidth 0.1 --divergence-widths 0.3 0.2 --point-spread 60 -phi 3 -osc 0.2 -polar 0.9"
    experiment = experiment_of(f"-N {cells} {widths} -detpixels 60")
    hkl = np.array(list(product(range(-4, 5), repeat=3)))
    experiment = replace(experiment, structure_factors=nbnumba.StructureFactors(hkl=hkl, F=np.full(len(hkl), 100.0)))
    here = derivatives_of(experiment)
    layout, drawn = here._drawings[0][0].layout, here._drawings[0][0].spots
    nearest = np.argmin((drawn.polynomials[:, :3, 0] ** 2).sum(axis=1) + 1e3 * (np.hypot(layout.fast - 30, layout.slow - 30) > 20))
    amplitude = "F({:.0f},{:.0f},{:.0f})".format(*layout.hkl[nearest])
    variables = variables_of(experiment, [*NAMES, amplitude])
    image, columns = here.columns(here.slopes(variables))
    np.testing.assert_allclose(image, nbnumba.simulate(experiment).pixels, rtol=1e-12)
    for v, column in zip(variables, columns, strict=True):
        value = v.value(experiment)
        errors = []
        for step in (1e-4 * abs(value), 1e-5 * abs(value)):
            found = sum(weight * here.near(v.changed(experiment, value + n * step)).image() for n, weight in CENTRED) / step
            errors.append(np.abs(found - column).max() / np.abs(column).max())
        assert min(errors) < 1e-6, v.name


@pytest.mark.spec("CLO-12")
def test_the_background_has_derivatives() -> None:
    experiment = experiment_of("-default_F 1e-9 -detpixels 20 -water 5")
    column = nbnumba.jacobian(experiment, ["background"])[:, 0]
    np.testing.assert_allclose(column, 3.0 * nbnumba.simulate(experiment).pixels.ravel() / 5e-6, rtol=1e-8)


@pytest.mark.spec("CLO-12")
def test_gradients_have_the_usual_faces() -> None:
    experiment, names = experiment_of("-detpixels 60"), ["misset_x", "cell_a", "mosaic_spread"]
    columns = nbnumba.jacobian(experiment, names)
    assert columns.shape == (3600, 3)
    weights = np.random.default_rng(1).uniform(size=(60, 60))
    value, gradient = nbnumba.value_and_grad(experiment, names, lambda photons: (float((weights * photons).sum()), weights))
    assert value == pytest.approx((weights * nbnumba.simulate(experiment).pixels).sum())
    np.testing.assert_allclose(gradient, columns.T @ weights.ravel(), rtol=1e-9)
    operator = nbnumba.linear_operator(experiment, names)
    np.testing.assert_allclose(
        operator.matvec([1.0, 2e-10, 3.0]), columns @ [1.0, 2e-10, 3.0], rtol=1e-9, atol=1e-9 * np.abs(columns).max()
    )
    np.testing.assert_allclose(operator.rmatvec(weights.ravel()), gradient, rtol=1e-9)


@pytest.mark.spec("CLO-12")
def test_derivatives_by_all_amplitudes_at_once_are_those_by_each() -> None:
    hkl = np.array(list(product(range(-4, 5), repeat=3)))
    table = nbnumba.StructureFactors(hkl=hkl, F=np.linspace(50.0, 100.0, len(hkl)))
    experiment = replace(experiment_of("-detpixels 60 -osc 0.3"), structure_factors=table)
    weights = np.random.default_rng(1).uniform(size=(60, 60))

    def loss(photons: np.ndarray) -> tuple[float, np.ndarray]:
        return float((weights * photons).sum()), weights

    value, found = nbnumba.gradient_by_amplitudes(experiment, loss)
    # Photons go with the squares of amplitudes.
    assert found @ table.F == pytest.approx(2.0 * value, rel=1e-9)
    for n in np.argsort(-np.abs(found))[:3]:
        name = "F({},{},{})".format(*hkl[n])
        column = nbnumba.jacobian(experiment, [name])[:, 0]
        assert found[n] == pytest.approx(column @ weights.ravel(), rel=1e-8)
        assert nbnumba.value_and_grad(experiment, [name], loss)[1][0] == pytest.approx(found[n])
