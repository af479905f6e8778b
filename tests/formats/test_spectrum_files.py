"""Spectra and divergences in files, and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, answer, has_dxtbx

import nbnumba
from nbnumba import Divergence, InputFileError, OptionError, Sase, Spectra, Spectrum
from nbnumba.cli.main import main
from nbnumba.options.own import experiment_from_options

OPTIONS = "-default_F 50 -cell 50 60 70 90 90 90 -distance 100 -N 10 -detpixels 16 -pixel 0.5 -phisteps 1 -oversample 1 --preset physics"
ENERGIES, WEIGHTS = [9500.0, 9510.0, 9530.0], [1.0, 4.0, 2.5]
LENGTHS = np.array([12398.42 / E for E in ENERGIES]) * 1e-10


def hdf5(path: Path, units: str = "", **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
            if units and name != "weights":
                file[name].attrs["units"] = units
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.spec("EXP-90")
def test_every_form_of_file_reads_back(tmp_path: Path) -> None:
    rows = list(zip(ENERGIES, WEIGHTS, strict=True))
    lengths = (LENGTHS * 1e10).tolist()
    files = [
        written(tmp_path / "a.txt", "# eV weight\n" + "".join(f"{E} {w}\n" for E, w in rows)),
        written(tmp_path / "a.csv", "\n".join(f"{E}, {w}" for E, w in rows)),
        written(tmp_path / "a.lam", "wavelengths, weights\n" + "".join(f"{12398.42 / E:.17g},{w}\n" for E, w in rows)),
        hdf5(tmp_path / "energies.h5", energies=ENERGIES, weights=WEIGHTS),
        hdf5(tmp_path / "kev.h5", units="keV", energies=np.array(ENERGIES) / 1e3, weights=WEIGHTS),
        hdf5(tmp_path / "a.h5", wavelengths=lengths, weights=WEIGHTS),
        hdf5(tmp_path / "nm.h5", units="nm", wavelengths=LENGTHS * 1e9, weights=WEIGHTS),
    ]
    for file in files:
        found = nbnumba.read_spectrum(file)
        assert isinstance(found, Spectrum)
        np.testing.assert_allclose(found.energies[::-1], ENERGIES, rtol=1e-12)
        np.testing.assert_allclose(found.weights[::-1], WEIGHTS, rtol=1e-12)
    shots = nbnumba.read_spectrum(hdf5(tmp_path / "shots.h5", energies=ENERGIES, weights=[WEIGHTS, WEIGHTS[::-1]]))
    assert isinstance(shots, Spectra)
    np.testing.assert_allclose(shots.of_shot(2).weights, WEIGHTS)
    np.testing.assert_allclose(shots.of_shot(1).weights, WEIGHTS[::-1])
    divergence = nbnumba.read_divergence(written(tmp_path / "d.txt", "-0.5 0.25 1\n0.5 -0.25 3\n"))
    np.testing.assert_allclose(divergence.angles, [[-0.5e-3, 0.25e-3], [0.5e-3, -0.25e-3]])
    np.testing.assert_allclose(divergence.weights, [1.0, 3.0])


@pytest.mark.spec("EXP-90")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"a.txt: holds no numbers; expected lines of energy weight"),
        ("a.txt", "9500 1\n9510\n", "line 2: expected energy weight, found 1 columns"),
        ("a.txt", "9500 x\n", "line 1: weight = 'x' is not a number"),
        ("a.txt", "9500 nan\n", "line 1: weight = nan is not a finite number"),
        ("a.txt", "1.3 1\n", "1.3 eV is a wavelength of 9537 A.*; a list of wavelengths in A has a name that ends in .lam"),
        ("a.txt", "9500 -1\n", "a.txt: spectrum.weights: must be finite and at least 0"),
        ("a.h5", {"weights": WEIGHTS}, "a.h5: has weights, but not one of energies"),
        ("a.h5", {"weights": WEIGHTS, "energies": ENERGIES, "units": "J"}, "energies are in 'J'; give them in ev or kev"),
        ("a.h5", {"weights": WEIGHTS, "energies": [0.0, 1.0, 2.0]}, "energies must be greater than 0"),
        ("a.h5", {"weights": WEIGHTS, "energies": [1e4]}, "needs as many weights as wavelengths"),
        ("a.h5", {"nothing": 1.0}, "a.h5: "),
    ],
)
def test_a_bad_file_is_said_in_a_line(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        hdf5(path, **content)
    with pytest.raises(InputFileError, match=message) as said:
        nbnumba.read_spectrum(path)
    assert "\n" not in str(said.value)


@pytest.mark.spec("EXP-90")
def test_a_bad_divergence_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"divergence\.weights: must be finite and at least 0"):
        nbnumba.read_divergence(written(tmp_path / "d.txt", "0 0 -1\n"))


AS_DXTBX_READS_IT = """
import h5py, json, sys
from dxtbx.format.nexus import BeamFactory
class Beam: handle = h5py.File(sys.argv[1])["entry/instrument/beam"]
model, spectrum = BeamFactory(Beam).read_models(0)
print(json.dumps([list(spectrum.get_energies_eV()), list(spectrum.get_weights()), model.get_wavelength()]))
"""


@pytest.mark.spec("EXP-90", "CLI-140", "FMT-102")
def test_what_is_rendered_reads_back_as_a_spectrum(in_tmp_path: Path) -> None:
    """From text to an image in NXmx, from that again, and by dxtbx."""
    written(Path("a.txt"), "".join(f"{E} {w}\n" for E, w in zip(ENERGIES, WEIGHTS, strict=True)))
    assert main(["run", *OPTIONS.split(), "--spectrum", "a.txt", "-o", "a.nxs"]) == 0
    found = nbnumba.read_spectrum("a.nxs")
    assert isinstance(found, Spectrum)
    np.testing.assert_allclose(found.energies[::-1], ENERGIES, rtol=1e-9)
    np.testing.assert_allclose(found.weights[::-1], np.array(WEIGHTS) / sum(WEIGHTS), rtol=1e-12)
    again = experiment_from_options(f"{OPTIONS} --spectrum a.nxs")
    np.testing.assert_allclose(again.source_list.wavelength, LENGTHS[::-1], rtol=1e-9)
    if not has_dxtbx():
        pytest.skip(MISSING)
    energies, weights, wavelength = json.loads(answer(["-c", AS_DXTBX_READS_IT, "a.nxs"]))
    np.testing.assert_allclose(energies[::-1], ENERGIES, rtol=1e-6)  # dxtbx's hc
    np.testing.assert_allclose(weights[::-1], np.array(WEIGHTS) / sum(WEIGHTS), rtol=1e-12)
    assert wavelength == pytest.approx(found.mean * 1e10, rel=1e-9)


@pytest.mark.spec("EXP-90", "EXP-87")
def test_shots_of_a_sweep_read_back_one_by_one(in_tmp_path: Path) -> None:
    """Which have as many wavelengths each, though they are chosen, and energies jitter."""
    words = f"{OPTIONS} -energy 9510 -N 150 --spectrum sase:0.3,3fs,0.2 -phisteps 1 --images 3 --width 0 -o a.nxs"
    assert main(["sweep", *words.split()]) == 0
    found = nbnumba.read_spectrum("a.nxs")
    sase = Sase(wavelength=12398.42 / 9510.0 * 1e-10, bandwidth=3e-3, duration=3e-15, energy_jitter=2e-3)
    assert isinstance(found, Spectra)
    steps = found.weights.shape[1]
    assert steps > 10
    for shot in (1, 2, 3):
        expected = sase.of_shot(shot).sampled(steps)
        np.testing.assert_allclose(found.of_shot(shot).wavelengths, expected.wavelengths, rtol=1e-9)
        np.testing.assert_allclose(found.of_shot(shot).weights, expected.weights / expected.weights.sum(), rtol=1e-9)


@pytest.mark.spec("CLI-140")
def test_formulas_on_the_command_line(in_tmp_path: Path) -> None:
    def beam(text: str) -> nbnumba.Beam:
        return experiment_from_options(f"{OPTIONS} {text}").beam

    assert beam("--spectrum gaussian:0.5% -energy 9510").spectrum == Spectrum.gaussian(beam("-energy 9510").wavelength, 0.005)
    assert beam("-lambda 1.2 --spectrum pink:2,0.5").spectrum == Spectrum.pink(1.2e-10, 0.02, 0.005)
    assert beam("--spectrum mono").spectrum == Spectrum.monochromator(1e-10)
    assert beam("--spectrum mono:0.1").spectrum == Spectrum.monochromator(1e-10, 0.001)
    sase = beam("--spectrum sase:0.2%,30fs,0.1% --shot 4 --shot-seed 5")
    assert (sase.shot, sase.shot_seed, sase.spectrum_steps) == (4, 5, 0)
    assert sase.spectrum == Sase(wavelength=1e-10, bandwidth=0.2 * 1e-2, duration=30 * 1e-15, energy_jitter=0.1 * 1e-2)
    assert beam("--spectrum mono --spectrum-steps 7").spectrum_steps == 7
    written(Path("a.txt"), "9500 1\n9510 1\n")
    assert beam("--spectrum a.txt").wavelength == pytest.approx(12398.42 / 9505.0 * 1e-10)
    assert beam("--spectrum a.txt").spectrum_steps is None
    with pytest.raises(
        nbnumba.ParameterError, match=r"beam\.wavelength: 1 A is not in the spectrum, 1\.30372 to 1\.3051 A; its mean is 1\.30441 A"
    ):
        beam("--spectrum a.txt -lambda 1")


@pytest.mark.spec("CLI-140", "CLI-141")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--spectrum gaussian:", "--spectrum gaussian:: must have the form gaussian:FWHM%"),
        ("--spectrum sase:0.2", "--spectrum sase:0.2: must have the form sase:FWHM%,DURATIONfs[,JITTER%]"),
        ("--spectrum gaussian:x", "--spectrum gaussian:x: must have the form gaussian:FWHM%"),
        ("--spectrum slits:1", "--spectrum slits:1: is not one of gaussian:FWHM%, pink:WIDTH%[,EDGE%], mono[:FWHM%], sase:"),
        ("--beam-divergence sase:1,2", "--beam-divergence sase:1,2: is not one of gaussian:FWHM[,FWHM], slits:WIDTH[,WIDTH], or a file"),
        ("--beam-divergence slits:1,2,3", "--beam-divergence slits:1,2,3: must have the form slits:WIDTH[,WIDTH]"),
    ],
)
def test_what_is_no_formula(words: str, message: str) -> None:
    with pytest.raises(OptionError) as said:
        experiment_from_options(f"{OPTIONS} {words}")
    assert message in str(said.value)


@pytest.mark.spec("CLI-140")
def test_what_a_run_says_of_its_spectrum(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"{OPTIONS} -energy 9510 --spectrum sase:0.3,3fs --shot 4 --shot-seed 7 --spectrum-steps 3 -N 400 -o a.npy --json a.json"
    assert main(["run", *words.split()]) == 0
    assert "3 wavelengths are so far apart that spots show them one by one; " in capsys.readouterr().err
    found = json.loads(Path("a.json").read_text())
    beam = next(part["beam"] for part in (found, *(v for v in found.values() if isinstance(v, dict))) if "beam" in part)
    assert (beam["spectrum"], beam["shot"], beam["shot_seed"]) == ("Sase", 4, 7)
    sase = Sase(wavelength=12398.42 / 9510.0 * 1e-10, bandwidth=3e-3, duration=3e-15)
    assert beam["spectrum_mean_A"] == pytest.approx(sase.of_shot(4, 7).mean * 1e10)


@pytest.mark.spec("CLI-141")
def test_directions_on_the_command_line(in_tmp_path: Path) -> None:
    found = experiment_from_options(
        f"{OPTIONS} --beam-divergence gaussian:1,0.5 --direction-jitter 0.1 0.2 --beam-profile gaussian --divergence-steps 3"
    )
    assert found.sources.divergence == Divergence.gaussian(1e-3, 0.5e-3)
    assert found.sources.divergence_steps == 3
    assert (found.beam.direction_jitter, found.beam.profile) == ((1e-4, 2e-4), "gaussian")
    written(Path("d.txt"), "0 0 1\n1 0 1\n")
    assert len(experiment_from_options(f"{OPTIONS} --beam-divergence d.txt").source_list.weight) == 2
    slits = experiment_from_options(f"{OPTIONS} --beam-divergence slits:1")
    assert (slits.sources.divergence, slits.sources.divergence_steps) == (Divergence.top_hat(1e-3, 1e-3), 0)


@pytest.mark.spec("CLI-140", "EXP-11")
def test_configurations(in_tmp_path: Path) -> None:
    base = experiment_from_options(OPTIONS)
    for spectrum in (Spectrum((0.99e-10, 1e-10), (1.0, 2.0)), Spectra((0.99e-10, 1e-10), [[1.0, 2.0]]), Sase(bandwidth=1e-3)):
        experiment = replace(
            base,
            beam=replace(base.beam, spectrum=spectrum, direction_jitter=(1e-3, 0.0)),
            sources=nbnumba.Sources(divergence=Divergence.cone(1e-3, 2)),
        )
        nbnumba.save_experiment(experiment, "a.toml")
        assert nbnumba.load_experiment("a.toml") == experiment
    written(Path("s.txt"), "12300 1\n12500 1\n")
    Path("sub").mkdir()
    text = '[beam]\nspectrum = "{}"\n[sources]\ndivergence = "slits:1"\n[crystal]\ncell = [5e-9, 6e-9, 7e-9, 1.57, 1.57, 1.57]\n'
    text += "[structure_factors]\ndefault_F = 1.0\n"
    written(Path("sub/a.toml"), text.format("../s.txt"))
    assert nbnumba.load_experiment("sub/a.toml").beam.spectrum == nbnumba.read_spectrum("s.txt")
    written(Path("b.toml"), text.format("gaussian:1%"))
    found = nbnumba.load_experiment("b.toml")
    assert (found.beam.spectrum, found.beam.spectrum_steps) == (Spectrum.gaussian(1e-10, 0.01), 0)
    assert (found.sources.divergence, found.sources.divergence_steps) == (Divergence.top_hat(1e-3, 1e-3), 0)


@pytest.mark.spec("CLI-140")
@pytest.mark.parametrize(
    ("spectrum", "message"),
    [
        ("1", "beam.spectrum: 1 is not a table, a formula or the name of a file"),
        ("{weights=[1.0], x=1}", "beam.spectrum: has no 'x'; it has wavelengths, weights"),
        ("{weights=[1.0]}", "beam.spectrum: has no wavelengths"),
        ('"gaussian:x"', "beam.spectrum gaussian:x: must have the form gaussian:FWHM%"),
    ],
)
def test_bad_configurations(in_tmp_path: Path, spectrum: str, message: str) -> None:
    written(Path("a.toml"), f"[beam]\nspectrum = {spectrum}\n[structure_factors]\ndefault_F = 1.0\n")
    with pytest.raises(nbnumba.NbnumbaError) as said:
        nbnumba.load_experiment("a.toml")
    assert message in str(said.value)
