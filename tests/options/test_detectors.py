"""--detector: a detector by its name, put in place by options as one flat panel is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geometry_files import write_expt

import nbnumba
from nbnumba import Beam, Detector, Experiment, ParameterError
from nbnumba.cli.main import main
from nbnumba.errors import OptionError
from nbnumba.experiment.physics import Model
from nbnumba.geometry.catalogue import detector_by_name
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.sensor import attenuation_length

BASE = "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -N 5 -fluence 1e20 -oversample 1"
SILICON = attenuation_length("Si", 1e-10)
CONVENTIONS = ("mosflm", "xds", "adxv", "denzo", "dials")
PRESETS = ("reference", "physics")


def made(options: str, preset: str = "physics") -> Experiment:
    return nbnumba.experiment_from_options(f"--preset {preset} {BASE} {options}")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two modules above each other, in one panel and in two, with nothing else different."""
    for name, one in (("one", "true"), ("two", "false")):
        modules = f"[modules]\none_panel = {one}\npixel_size = 1e-3\nslow_pixels = 5\nfast_pixels = 12\nrows = 2\nslow_gap = 3\n"
        (tmp_path / f"{name}.toml").write_text(f'{modules}[sensor]\nmaterial = "Si"\nthickness = 450e-6\n[counting]\nsaturation = 1000')
    return tmp_path


@pytest.mark.spec("DET-4", "DET-6", "DET-8", "CLI-60")
@pytest.mark.parametrize("preset", PRESETS)
def test_one_panel_is_a_detector_as_options_describe_it(preset: str) -> None:
    place = "-distance 200 -Xbeam 155 -Ybeam 160 -twotheta 5"
    found = made(f"--detector eiger2-16m {place}", preset)
    typed = f"-pixel 0.075 -detpixels_x 4148 -detpixels_y 4362 -detector_thick 450 -detector_abs {SILICON * 1e6!r} {place}"
    like = made(typed, preset)
    assert found.sampling.mask is not None
    assert found.sampling.mask.sum() == 32 * 512 * 1028
    assert found.detector.sensor_attenuation == pytest.approx(SILICON, rel=1e-15)
    assert replace(found.detector, sensor_material=None, sensor_attenuation=like.detector.sensor_attenuation) == like.detector
    assert made(f"--detector pilatus-6m {place}", preset).detector.saturation == 1048500


@pytest.mark.spec("DET-15")
@pytest.mark.parametrize(
    ("name", "energy", "expected"),
    [
        ("jungfrau-1m", 12.0, 10000.0), ("agipd-1m", 9.0, 13333.0), ("cspad", 8.0, 2700.0), ("epix10k-2m", 24.0, 3650.0),
        ("timepix", 8.0, 11810.0), ("eiger2-1m", 12.0, None),
    ],
)  # fmt: skip
def test_a_full_well_is_the_saturation(name: str, energy: float, expected: float | None) -> None:
    wavelength = nbnumba.units.wavelength_from_energy(energy * 1e3)
    typed = made(f"-lambda {wavelength * 1e10!r} --detector {name} -distance 200", PRESETS[0])
    assert typed.detector.saturation == expected
    beam = nbnumba.Beam(wavelength=wavelength)
    assert nbnumba.detector(name, beam, distance=0.2).saturation == expected
    assert nbnumba.detector(name, beam, distance=0.2, saturation=5.0).saturation == 5.0


@pytest.mark.spec("DET-15")
@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("bit_depth = 16", 65535.0), ("bit_depth = 30", 2.0**30 - 1), ("bit_depth = 31", None), ("", None), ("full_well = 1e-3", 1.0),
        ("bit_depth = 14\nfull_well = 3000", 3000.0), ("bit_depth = 14\nfull_well = 3000\nsaturation = 7", 7.0),
    ],
)  # fmt: skip
def test_where_the_saturation_is_from(stated: str, expected: float | None, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"[modules]\nslow_pixels = 3\nfast_pixels = 4\n[counting]\n{stated}\n")
    wavelength = nbnumba.units.wavelength_from_energy(12000.0)
    typed = made(f"-lambda {wavelength * 1e10!r} --detector {tmp_path / 'mine.toml'} -distance 200", PRESETS[0])
    assert typed.detector.saturation == expected
    replaced = made(f"--detector timepix --detector {tmp_path / 'mine.toml'}", PRESETS[0])
    assert (replaced.detector.saturation is None) == (expected is None)


@pytest.mark.spec("DET-4")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    "place",
    [
        "-distance 200",
        "-distance 200 -Xbeam 3 -Ybeam 4",
        "-close_distance 90 -ORGX 3 -ORGY 5",
        "-distance 80 -twotheta 20 -detector_rotx 3",
    ],
)
def test_panels_are_in_the_plane_that_encloses_them(place: str, convention: str, preset: str, small: Path) -> None:
    one = made(f"-{convention} --detector {small}/one.toml {place}", preset)
    two = made(f"-{convention} --detector {small}/two.toml {place}", preset)
    whole, (first, second) = one.panels[0], two.detector.panels
    assert (first.shape, second.shape, first.name) == ((5, 12), (5, 12), "module0")
    np.testing.assert_allclose(first.origin, whole.origin, rtol=0, atol=1e-15)
    np.testing.assert_allclose(second.origin, np.array(whole.origin) + 8e-3 * np.array(whole.slow_axis), rtol=0, atol=1e-15)
    for panel in two.detector.panels:
        np.testing.assert_allclose([panel.fast_axis, panel.slow_axis], [whole.fast_axis, whole.slow_axis], rtol=0, atol=1e-15)
        assert (panel.sensor_material, panel.sensor_thickness, panel.sensor_attenuation) == ("Si", 450e-6, pytest.approx(SILICON))
    assert exposure_of(two.by_panel[1]).trusted_range == (0.0, 1000.0)


@pytest.mark.spec("DET-3", "DET-4")
def test_the_image_of_panels_is_that_of_one_with_gaps(small: Path) -> None:
    place = "-distance 50 -twotheta 10"
    one, two = (nbnumba.simulate(made(f"--detector {small}/{name}.toml {place}")) for name in ("one", "two"))
    assert one.pixels[:5].any()
    assert not one.pixels[5:8].any()
    np.testing.assert_allclose(two.panels[0].pixels, one.pixels[:5], rtol=1e-9)
    np.testing.assert_allclose(two.panels[1].pixels, one.pixels[8:], rtol=1e-9)


@pytest.mark.spec("DET-4")
def test_the_beam_meets_the_middle(small: Path) -> None:
    found = made("--detector jungfrau-4m -distance 100 -xds")
    assert len(found.panels) == 8
    corners = np.array([panel.origin for panel in found.panels])
    np.testing.assert_allclose(corners[:, 2], 0.1, atol=1e-12)
    np.testing.assert_allclose(corners[0], [-0.0725467, -0.0862167, 0.1], atol=1e-12)
    np.testing.assert_allclose(corners[4], [0.0725467, 0.0862167, 0.1], atol=1e-12)


@pytest.mark.spec("DET-4", "CLI-60")
def test_options_that_are_not_of_the_place(small: Path) -> None:
    found = made(f"--detector {small}/two.toml -thicksteps 3 -point_pixel -detector_thick 300 -detector_abs 100 -roi 0 3 0 3")
    assert (found.detector.sensor_layers, found.detector.point_pixel, found.sampling.roi) == (3, True, (0, 3, 0, 3))
    assert [p.sensor_thickness for p in found.panels] == pytest.approx([300e-6] * 2)
    assert [p.sensor_attenuation for p in found.panels] == pytest.approx([1e-4] * 2)
    surface = made(f"--detector {small}/two.toml -detector_thick 0")
    assert {p.sensor_thickness for p in surface.panels} == {0.0}
    # One that is named later takes the place of what was given before.
    again = made("-pixel 1 -detpixels 20 --detector eiger2-16m --detector jungfrau-1m --detector pilatus-300k")
    assert (again.detector.shape, again.detector.pixel_size, again.detector.panels) == ((619, 487), 172e-6, ())
    assert again.sampling.mask is not None
    assert again.sampling.mask.shape == (619, 487)
    assert made("--detector eiger2-16m --detector rayonix-mx225").sampling.mask is None


@pytest.mark.spec("CLI-60")
@pytest.mark.parametrize(
    "option", ["-pixel 1", "-detpixels 5", "-detpixels_x 5", "-detpixels_s 5", "-detsize 5", "-detsize_f 5", "-detsize_s 5"]
)
def test_pixels_are_the_detectors_own(option: str) -> None:
    with pytest.raises(OptionError, match=f"^{option}: --detector eiger-1m has pixels of its own; leave {option.split()[0]} out$"):
        made(f"--detector eiger-1m {option}")


@pytest.mark.spec("CLI-60")
def test_one_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_expt(tmp_path / "a.expt")
    with pytest.raises(OptionError, match=r"^--detector eiger-1m: --expt a\.expt has a detector of its own; leave one of them out$"):
        made("--expt a.expt --detector eiger-1m")
    with pytest.raises(OptionError, match=r"^--expt a\.expt: has a detector of its own, as --detector eiger-1m; leave one of them out$"):
        made("--detector eiger-1m --expt a.expt")
    with pytest.raises(OptionError, match=r"^detector eiger-1k: there is none of this name; the nearest are eiger-1m"):
        made("--detector eiger-1k")


@pytest.mark.spec("DET-5")
def test_masks_and_gaps(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small)
    given = np.random.default_rng(1).integers(0, 2, (13, 12)).astype(np.uint8)
    np.save("mask.npy", given)
    one = made("-mask mask.npy --detector one.toml")
    gaps = detector_by_name("./one.toml").panels[0].mask
    assert gaps is not None
    np.testing.assert_array_equal(one.sampling.mask, gaps & (given > 0))

    np.save("mask.npy", given[:10])
    two = made("--detector two.toml -mask mask.npy")
    assert two.sampling.mask is None
    np.testing.assert_array_equal(two.detector.panels[0].mask, given[:5] > 0)
    np.testing.assert_array_equal(two.detector.panels[1].mask, given[5:10] > 0)
    with pytest.raises(OptionError, match=r"^-mask mask.npy: has 10 x 12 pixels \(slow x fast\); the image has 13 x 12$"):
        made("-mask mask.npy --detector one.toml")
    np.save("mask.npy", given)
    with pytest.raises(OptionError, match=r"has 13 x 12 pixels \(slow x fast\); the 2 panels, one below the other, have 10 x 12$"):
        made("-mask mask.npy --detector two.toml")


@pytest.mark.spec("DET-6", "CLI-62")
def test_a_material_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = made("-detector_thick 750 --sensor-material CdTe").detector
    assert (typed.sensor_material, typed.sensor_attenuation) == ("CdTe", attenuation_length("CdTe", 1e-10))
    # The last wavelength counts, wherever it is given; what is said of the depth outright counts rather.
    shorter = made("--sensor-material CdTe -detector_thick 750 -lambda 0.5").detector
    assert shorter.sensor_attenuation == attenuation_length("CdTe", 0.5e-10)
    for words in ("-detector_abs 100 --sensor-material Si", "--sensor-material Si -detector_abs 100"):
        assert made(f"-detector_thick 750 {words}").detector.sensor_attenuation == pytest.approx(1e-4)
    assert made("-detector_thick 750 --sensor-material Si -detector_abs inf").detector.sensor_attenuation == 0.0
    surface = made("--sensor-material Si").detector
    assert (surface.sensor_thickness, surface.sensor_attenuation) == (0.0, None)
    base = made("-detector_thick 300 -detector_abs 100")
    changed = nbnumba.experiment_from_options("--sensor-material Ge", base=base).detector
    assert (changed.sensor_thickness, changed.sensor_attenuation) == (pytest.approx(300e-6), attenuation_length("Ge", 1e-10))
    with pytest.raises(ParameterError, match=r"detector\.sensor_material: '14' is not|14: its density is not known"):
        made("-detector_thick 3 --sensor-material 14")

    monkeypatch.chdir(tmp_path)
    write_expt(tmp_path / "a.expt")
    told = made("--expt a.expt -detector_thick 300 --sensor-material Si").detector
    assert told.sensor_attenuation == attenuation_length("Si", made("--expt a.expt").beam.wavelength)


@pytest.mark.spec("DET-4")
def test_over_a_configuration(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of an experiment that is saved, and its mask, give way to those of a detector that is named."""
    monkeypatch.chdir(small)
    nbnumba.save_experiment(made("--detector two.toml -distance 90"), "two-saved.toml")
    nbnumba.save_experiment(made("--detector one.toml -distance 90"), "one-saved.toml")
    again = nbnumba.load_experiment("two-saved.toml")
    assert again == made("--detector two.toml -distance 90")
    one = nbnumba.experiment_from_options("--detector one.toml -distance 90", base=again)
    assert one == made("--detector one.toml -distance 90")
    assert nbnumba.experiment_from_options("--detector two.toml", base=one) == again


@pytest.mark.spec("DET-4")
@pytest.mark.parametrize(
    "option", ["-distance 200", "-Xbeam 3", "-twotheta 3", "-detector_thick 3", "-detpixels 3", "--sensor-material Si"]
)
def test_panels_of_a_configuration_stay_in_place(option: str, small: Path) -> None:
    base = made(f"--detector {small}/two.toml -distance 90")
    with pytest.raises(OptionError, match=f"^{option}: the experiment to start from has 2 panels in place; leave {option.split()[0]} out$"):
        nbnumba.experiment_from_options(option, base=base)
    alone = replace(base, detector=replace(base.detector, panels=base.detector.panels[:1]))
    with pytest.raises(OptionError, match="the experiment to start from has 1 panel in place"):
        nbnumba.experiment_from_options(option, base=alone)
    assert nbnumba.experiment_from_options("-thicksteps 4 -lambda 1", base=base).detector.sensor_layers == 4


@pytest.mark.spec("DET-6")
def test_another_wavelength_over_a_configuration(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(small)
    for name in ("one", "two"):
        nbnumba.save_experiment(made(f"--detector {name}.toml -distance 90"), "saved.toml")
        said = "  the sensor's attenuation depth is the one at 1 A, as in the experiment to start from\n"
        assert main(["explain", "--config", "saved.toml", "-lambda", "0.9"]) == 0
        assert said in capsys.readouterr().out
        for words in (["-lambda", "1"], ["-lambda", "0.9", "--detector", "one.toml"]):
            assert main(["explain", "--config", "saved.toml", *words]) == 0
            assert said not in capsys.readouterr().out


@pytest.mark.spec("DET-7")
@pytest.mark.parametrize("name", ["eiger2-1m", "jungfrau-1m", "rayonix-mx225", "timepix"])
@pytest.mark.parametrize("preset", PRESETS)
def test_in_python(name: str, preset: str) -> None:
    typed = made(f"--detector {name} -distance 150 -Xbeam 30 -Ybeam 40 -twotheta 7", preset)
    beam = Beam(wavelength=1e-10)
    place = {"distance": 0.15, "beam_x": 0.03, "beam_y": 0.04, "twotheta": typed.detector.twotheta or np.radians(7.0)}
    found = nbnumba.detector(name, beam, model=Model(preset=preset), **place)
    if found.panels:
        assert len(found.panels) == len(typed.panels)
        for panel, like in zip(found.panels, typed.panels, strict=True):
            np.testing.assert_allclose(panel.origin, like.origin, rtol=0, atol=1e-15)
            assert (panel.mask is None) == (like.mask is None)
            assert panel.sensor_attenuation == like.sensor_attenuation
            assert panel.sensor_material == "Si"
    else:
        assert found == replace(typed.detector, pivot=found.pivot)
    assert bool(found.panels) == (name in ("eiger2-1m", "jungfrau-1m"))


@pytest.mark.spec("DET-7")
def test_in_python_what_is_the_detectors_own(small: Path) -> None:
    beam = Beam(wavelength=1e-10)
    for field in ("pixel_size", "fast_pixels", "slow_size", "panels"):
        with pytest.raises(ParameterError, match=rf"^detector\.{field}: is that of eiger-1m; leave it out$"):
            nbnumba.detector("eiger-1m", beam, **{field: 3})
    with pytest.raises(
        nbnumba.ParameterError, match="name: None is no name of a detector, nor a TOML file; 'nbnumba detectors' lists names"
    ):
        nbnumba.detector(None, beam)
    with pytest.raises(nbnumba.ParameterError, match=r"beam: 3\.0 is not a Beam"):
        nbnumba.detector("eiger-1m", 3.0)
    mine = nbnumba.detector(str(small / "one.toml"), beam, sensor_thickness=0.0, saturation=5.0)
    assert (mine.panels[0].sensor_thickness, mine.panels[0].sensor_attenuation, mine.saturation) == (0.0, None, 5.0)
    image = nbnumba.simulate(replace(made("-distance 50"), detector=nbnumba.detector(str(small / "one.toml"), beam, distance=0.05)))
    assert image.shape == (13, 12)
    assert not image.pixels[5:8].any()
    assert isinstance(nbnumba.detector("timepix", beam), Detector)


@pytest.mark.spec("CLI-60", "CLI-63")
def test_on_the_command_line(small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(small)
    place = f"--preset physics {BASE} -distance 50".split()
    assert main(["run", *place, "--detector", "one.toml", "-o", "one.npy", "--bundle", "bundle"]) == 0, capsys.readouterr().err
    assert np.load("one.npy").shape == (13, 12)
    assert main(["bundle", "verify", "bundle"]) == 0, capsys.readouterr()
    assert main(["explain", *place, "--detector", "jungfrau-4m"]) == 0
    assert "panel_7" in capsys.readouterr().out
    assert main(["run", *place, "--detector", "timepix", "-roi", "0", "3", "0", "3", "-o", "t.npy", "--bundle", "second"]) == 0
    assert main(["bundle", "verify", "second"]) == 0, capsys.readouterr()
    assert main(["run", *place, "--detector", "eiger3-1m", "-o", "t.npy"]) == 2
    assert "nbnumba: error: detector eiger3-1m: there is none of this name; the nearest are eiger" in capsys.readouterr().err
    # The file of an experiment names a detector's file beside itself.
    (small / "sub").mkdir()
    (small / "sub" / "one.toml").write_bytes((small / "one.toml").read_bytes())
    (small / "sub" / "mine.toml").write_text(f'options = "{" ".join(place)} --detector one.toml"')
    (small / "sub" / "shipped.toml").write_text(f'options = "{" ".join(place)} --detector timepix"')
    for name, shape in (("mine", "(12, 13)"), ("shipped", "516")):
        assert main(["explain", "--experiment", f"sub/{name}.toml"]) == 0, (shape, capsys.readouterr().err)
