"""float32 against float64: the same image within the bound, for every shape, lookup and number of cells."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import nbnumba
from nbnumba.cli.main import main
from nbnumba.simulation.scene import largest_square
from nbnumba.stages.registry import installed

BASE = (
    "-default_F 100 -cell 62 71 83 80 95 105 -misset 10 20 30 -lambda 1 -distance 90 -pixel 0.15 -detpixels 160 -oversample 1 "
    "-mosaic 0.4 -mosaic_dom 6 -osc 0.5 -phisteps 2"
)
SHAPES = ("-square_xtal", "-round_xtal", "-gauss_xtal", "-tophat_spots")


def rendered(experiment: nbnumba.Experiment, **sampling: object) -> np.ndarray:
    return np.asarray(nbnumba.simulate(replace(experiment, sampling=replace(experiment.sampling, **sampling))))


def with_table(experiment: nbnumba.Experiment, interpolate: bool) -> nbnumba.Experiment:
    hkl = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    F = np.random.default_rng(0).random(len(hkl)) * 1000.0
    return replace(experiment, structure_factors=nbnumba.StructureFactors(hkl=hkl, F=F, default_F=3.0, interpolate=interpolate))


@pytest.mark.spec("SCA-12")
@pytest.mark.parametrize("cells", [1, 5, 36, 200, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_is_within_its_bound(shape: str, cells: int) -> None:
    # Spots as wide as crystals have them, not as narrow as the quirk makes them, and pixels that find them.
    far = f"-distance {9 * max(cells, 10)} -detpixels 161 -Xbeam 12 -Ybeam 12" if shape in ("-gauss_xtal", "-tophat_spots") else ""
    experiment = nbnumba.experiment_from_options(f"{BASE} -N {cells} {shape} {far}")
    experiment = replace(experiment, model=replace(experiment.model, quirks={"spot-width": False}))
    exact = rendered(experiment)
    assert exact.max() > 0.0
    assert np.abs(rendered(experiment, dtype="float32") - exact).max() <= 3e-6 * exact.max()


@pytest.mark.spec("SCA-12")
@pytest.mark.parametrize("interpolate", [False, True])
def test_float32_looks_up_the_same_reflections(interpolate: bool) -> None:
    experiment = with_table(nbnumba.experiment_from_options(f"{BASE} -N 7"), interpolate)
    exact = rendered(experiment)
    assert np.abs(rendered(experiment, dtype="float32") - exact).max() <= 3e-6 * exact.max()


@pytest.mark.spec("SCA-12")
@pytest.mark.parametrize("cells", [1, 9, 1000])
def test_float32_at_exact_lattice_points(cells: int) -> None:
    experiment = nbnumba.experiment_from_options(
        f"-default_F 10 -cell 100 -lambda 1 -N {cells} -distance 100 -pixel 0.1 -detpixels 65 -Xbeam 3.2 -Ybeam 3.2 -oversample 1"
    )
    exact = rendered(experiment)
    assert exact[32, 32] == exact.max()  # the direct beam: h = k = l = 0
    assert np.abs(rendered(experiment, dtype="float32") - exact).max() <= 3e-6 * exact.max()


def test_float64_is_the_default_and_the_precision_is_stated() -> None:
    experiment = nbnumba.experiment_from_options(BASE + " -N 5")
    assert experiment.sampling.dtype == "float64"
    with pytest.raises(nbnumba.ParameterError, match=r"sampling\.dtype: 'float16' is not one of float64, float32"):
        replace(experiment.sampling, dtype="float16")


@pytest.mark.spec("SCA-11")
@pytest.mark.parametrize("cells", [30, 200])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("quirk", [True, False])
def test_leaving_out_what_is_negligible_changes_nothing(shape: str, cells: int, quirk: bool) -> None:
    experiment = nbnumba.experiment_from_options(f"{BASE} -N {cells} {shape}")
    experiment = replace(experiment, model=replace(experiment.model, quirks={"spot-width": quirk}))
    exact = rendered(experiment, negligible=0.0)
    np.testing.assert_allclose(rendered(experiment), exact, rtol=0.0, atol=1e-12 * exact.max())


@pytest.mark.spec("SCA-11")
@pytest.mark.parametrize("fraction", [1e-9, 1e-5, 1e-3])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_left_out_is_within_the_bound(shape: str, fraction: float) -> None:
    """Every one of the 12 terms of a pixel is off by at most this fraction of the largest term."""
    experiment = nbnumba.experiment_from_options(f"{BASE} -N 60 {shape}")
    experiment = replace(experiment, model=replace(experiment.model, quirks={"spot-width": False}))
    exact, approximate = rendered(experiment, negligible=0.0), rendered(experiment, negligible=fraction)
    brightest = nbnumba.experiment_from_options(f"{BASE} -N 1").beam.photons_per_area * 7.94079248018965e-30 * (100.0 * 60**3) ** 2
    solid_angle = (0.15 / 90.0) ** 2
    assert 0.0 <= (exact - approximate).max() <= fraction * brightest * solid_angle
    assert (approximate <= exact).all()


@pytest.mark.spec("SCA-11")
@pytest.mark.parametrize("fraction", [1e-9, 1e-5])
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_scattering_vectors_bend_within_a_chunk_of_a_near_detector(shape: str, fraction: float) -> None:
    """Large pixels at a short distance: along 16 of them, scattering vectors are far off a straight line."""
    experiment = nbnumba.experiment_from_options(f"{BASE} -N 20 {shape} -distance 5 -pixel 1 -detpixels 64")
    experiment = replace(experiment, model=replace(experiment.model, quirks={"spot-width": False}))
    exact, approximate = rendered(experiment, negligible=0.0), rendered(experiment, negligible=fraction)
    brightest = experiment.beam.photons_per_area * 7.94079248018965e-30 * (100.0 * 20**3) ** 2
    assert np.abs(exact - approximate).max() <= fraction * brightest * (1.0 / 5.0) ** 2


@pytest.mark.spec("SCA-11", "SCA-7")
def test_what_is_left_out_does_not_depend_on_the_region() -> None:
    experiment = nbnumba.experiment_from_options(f"{BASE} -N 60")
    whole = rendered(experiment, negligible=1e-4)
    assert not np.array_equal(whole, rendered(experiment, negligible=0.0))
    part = rendered(experiment, negligible=1e-4, roi=(37, 101, 20, 90))
    np.testing.assert_array_equal(part[20:91, 37:102], whole[20:91, 37:102])


@pytest.mark.spec("SCA-11", "SCA-9")
@pytest.mark.parametrize("options", ["-oversample_omega", "-water 10", "-oversample_polar -water 10"])
@pytest.mark.parametrize("preset", ["reference", "physics"])
def test_nothing_is_left_out_where_every_term_counts(preset: str, options: str) -> None:
    """Factors of the running product, and background by the term."""
    experiment = nbnumba.experiment_from_options(f"{BASE} -N 60 -gauss_xtal {options}")
    experiment = replace(experiment, model=nbnumba.Model(preset=preset, stages={"lattice_shape": "gauss"}))
    exact = rendered(experiment, negligible=0.0)
    np.testing.assert_allclose(rendered(experiment), exact, rtol=0.0, atol=1e-12 * exact.max())


@pytest.mark.spec("SCA-6")
def test_spans_beyond_the_resolution_limit_are_dark_and_others_as_without_it() -> None:
    experiment = nbnumba.experiment_from_options(f"{BASE} -N 7")
    cut = rendered(experiment, dmin=1.2e-9)
    assert 0 < np.count_nonzero(cut) < cut.size
    np.testing.assert_array_equal(cut[cut > 0.0], rendered(experiment)[cut > 0.0])


@pytest.mark.parametrize("value", ["nan", "-1", "1", "2"])
def test_a_fraction_that_is_none_is_refused_in_one_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-default_F", "1", "-cell", "100", "--negligible", value]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nbnumba: error: sampling.negligible (--negligible): ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("ceiling", ["1.0 / x", "nonsense"])
def test_a_ceiling_that_fails_is_one_line(ceiling: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = (ROOT / "examples" / "lorentz_plugin" / "lorentz.py").read_text()
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        source.replace(
            "STAGE = LatticeShape(\n", f"def most(p, x, y, z):\n    return {ceiling}\n\n\nSTAGE = LatticeShape(\n    ceiling=most,\n", 1
        )
    )
    arguments = ["run", "-default_F", "1", "-cell", "100", "-detpixels", "8", "--plugin", "lattice_shape=lorentz"]
    assert main([*arguments, "--plugin-file", str(plugin)]) == 2
    error = capsys.readouterr().err
    assert "lattice_shape 'lorentz': its ceiling fails: " in error


def test_a_ceiling_with_other_arguments_is_refused() -> None:
    stage = replace(installed().get("lattice_shape", "square"), ceiling=lambda p: 0.0)
    assert stage.problem() == "ceiling must be a function of four arguments"


@pytest.mark.spec("SCA-12", "SF-5")
def test_scan_order_does_not_depend_on_the_precision() -> None:
    """F_latt of the first terms off the table underflows in float32, not in float64."""
    from nbnumba.kernel.cpu.device import Cpu
    from nbnumba.simulation.scene import scene_of

    experiment = nbnumba.experiment_from_options(f"{BASE} -N 40 -gauss_xtal -interpolate")
    hkl = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    table = nbnumba.StructureFactors(hkl=hkl, F=np.ones(len(hkl)), interpolate=True)
    experiment = replace(experiment, structure_factors=table, model=replace(experiment.model, quirks={"spot-width": False}))
    found = []
    for dtype in ("float64", "float32"):
        now = replace(experiment, sampling=replace(experiment.sampling, dtype=dtype))
        scene = scene_of(now)
        found.append(Cpu().first_latch(scene.physics, scene.inputs, scene.area))
    assert found[0] is not None
    assert found[0] == found[1]


@pytest.mark.spec("SCA-6")
def test_a_length_within_the_limit_is_known_by_its_square() -> None:
    random = np.random.default_rng(0)
    for longest in (0.0, 0.1, 5e9 / 3.0, 1e160, np.inf, *random.uniform(0.0, 1e10, 1000).tolist()):
        square = largest_square(longest)
        assert np.sqrt(square) <= longest
        assert square == np.inf or math.sqrt(math.nextafter(square, math.inf)) > longest
