"""Beams of several wavelengths in NXmx files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, read_with_dxtbx
from many_panels import BEAM

from nbnumba import experiment_from_options
from nbnumba.cli.main import main
from nbnumba.experiment.spectrum import Spectrum
from nbnumba.formats.chunks import chunk_bytes
from nbnumba.formats.nxmx import differing, nxmx_bytes
from nbnumba.formats.nxmx_files import write_nxmx
from nbnumba.formats.read import read_image_file
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of

OPTIONS = "-default_F 50 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 10 -detpixels 16 -pixel 0.5 -phisteps 1 -oversample 1"
COUNTS = np.arange(20, dtype=np.int32).reshape(4, 5)
ONE, OTHER = Spectrum((0.9e-10, 1e-10, 1.2e-10), (0.5, 0.25, 0.25)), Spectrum((0.95e-10, 1e-10, 1.1e-10), (0.125, 0.5, 0.375))
PLAIN = replace(BEAM, shape=(4, 5), spindle_axis=None, trusted_range=(0.0, 1e5))
SHOTS = [replace(PLAIN, wavelength=one.mean, spectrum=one, flux=1e12 * n) for n, one in enumerate((ONE, OTHER, ONE), 1)]


def spectrum_as_dxtbx_reads_it(path: Path, image: int) -> tuple[Any, Any]:
    """Of the dataset with weights that the first one, or else its variant, leads to; in A, of releases later than 3.12."""
    with h5py.File(path) as file:
        beam, name = file["entry/instrument/beam"], "incident_wavelength"
        while f"{name}_weights" not in beam:
            name = beam[name].attrs["variant"]
        lengths, weights = beam[name], beam[f"{name}_weights"]
        assert lengths.attrs["units"] == "angstrom"
        return tuple(of[image] if of.ndim > 1 else of[()] for of in (lengths, weights))


def assert_same(found: Spectrum | None, expected: Spectrum) -> None:
    assert found is not None
    np.testing.assert_allclose(found.wavelengths, expected.wavelengths, rtol=1e-12)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-12)


@pytest.mark.spec("FMT-102")
def test_every_shot_has_its_own(tmp_path: Path) -> None:
    write_nxmx(tmp_path / "a.nxs", SHOTS, np.int32, [chunk_bytes(COUNTS)] * 3)
    with h5py.File(tmp_path / "a.nxs") as file:
        beam = file["entry/instrument/beam"]
        assert beam["incident_wavelength"].attrs["variant"] == "incident_wavelength_1Dspectrum"
        assert beam["incident_wavelength_1Dspectrum_weights"].shape == (3, 3)
        np.testing.assert_allclose(beam["total_flux"], [1e12, 2e12, 3e12])
    for number, shot in enumerate(SHOTS, 1):
        found = read_image_file(f"{tmp_path / 'a.nxs'}:{number}").exposure
        assert found is not None
        assert shot.spectrum is not None
        assert_same(found.spectrum, shot.spectrum)
        assert (found.wavelength, found.flux) == (pytest.approx(shot.wavelength, rel=1e-12), shot.flux)
        lengths, weights = spectrum_as_dxtbx_reads_it(tmp_path / "a.nxs", number - 1)
        assert_same(Spectrum(lengths * 1e-10, weights), shot.spectrum)


@pytest.mark.spec("FMT-102")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
def test_dials_reads_the_wavelength_of_each_shot(tmp_path: Path) -> None:
    """3.12 takes the channels of other forms for the wavelengths of images."""
    write_nxmx(tmp_path / "a.nxs", SHOTS, np.int32, [chunk_bytes(COUNTS)] * 3)
    assert read_with_dxtbx(tmp_path / "a.nxs")["wavelengths"] == pytest.approx(
        [(shot.wavelength or 0.0) * 1e10 for shot in SHOTS], rel=1e-9
    )


@pytest.mark.spec("FMT-102")
def test_what_is_rendered_is_stated(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            ["run", *OPTIONS.split(), *"-dispersion 2 -dispsteps 5 -hdivrange 1 -hdivsteps 3 -o a.nxs -o a.cbf -o a.img -o a.geom".split()]
        )
        == 0
    )
    said = capsys.readouterr().err
    assert (
        "a.nxs: a NeXus NXmx file is taken by DIALS to have polarization 0.999 along x rather than 0.5, one wavelength rather than 5\n"
        in said
    )
    assert "a.cbf: a miniCBF file cannot say that the beam has 5 wavelengths (a .nxs file can)" in said
    assert "and the beam has 5 wavelengths (a .nxs file can)" in said
    assert "a.geom: a CrystFEL geometry does not say: the spectrum of 5 wavelengths" in said
    found = read_image_file("a.nxs").exposure
    assert found is not None
    assert found.wavelength == pytest.approx(1e-10, rel=1e-15)
    assert_same(found.spectrum, Spectrum((0.99e-10, 0.995e-10, 1e-10, 1.005e-10, 1.01e-10), (0.2,) * 5))
    assert main(["convert", "a.nxs", "b.nxs"]) == 0
    again = read_image_file("b.nxs").exposure
    assert again is not None
    assert_same(again.spectrum, found.spectrum or ONE)


@pytest.mark.spec("FMT-102")
@pytest.mark.parametrize(("quirk", "weights"), [("on", (2 / 3, 1 / 3)), ("off", (3 / 4, 1 / 4))])
def test_listed_sources(quirk: str, weights: tuple[float, float], in_tmp_path: Path) -> None:
    Path("sources").write_text("0 0 10 1 0.98e-10\n0 0 10 2 0.98e-10\n0 0 10 1 1.03e-10\n")
    exposure = exposure_of(experiment_from_options(f"{OPTIONS} -sourcefile sources --quirk source-weights={quirk}"))
    assert_same(exposure.spectrum, Spectrum((0.98e-10, 1.03e-10), weights))
    assert exposure.wavelength == pytest.approx(1e-10 / (weights[0] / 0.98 + weights[1] / 1.03), rel=1e-12)
    Path("sources").write_text("0 0 10 1 0.98e-10\n0 1 10 1 0.98e-10\n")
    exposure = exposure_of(experiment_from_options(f"{OPTIONS} -sourcefile sources"))
    assert (exposure.spectrum, exposure.wavelength) == (None, pytest.approx(0.98e-10, rel=1e-15))


@pytest.mark.spec("FMT-102")
def test_images_of_one_file_have_as_many_wavelengths() -> None:
    assert differing(SHOTS[0], SHOTS[1]) == ""
    assert differing(SHOTS[0], PLAIN) == "number of wavelengths"
    assert differing(SHOTS[0], replace(PLAIN, spectrum=Spectrum((1e-10, 2e-10), (1.0, 1.0)))) == "number of wavelengths"


@pytest.mark.spec("FMT-102")
@pytest.mark.parametrize(
    "weights", [[1.0, 2.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], np.ones((2, 3)), np.ones((1, 1, 3)), np.ones((3, 3))], ids=str
)
def test_weights_of_nothing_are_left_out(weights: Any, tmp_path: Path) -> None:
    """The wavelength stays."""
    (tmp_path / "a.nxs").write_bytes(nxmx_bytes([(COUNTS, SHOTS[0])]))
    with h5py.File(tmp_path / "a.nxs", "r+") as file:
        del file["entry/instrument/beam/incident_wavelength_1Dspectrum_weights"]
        file["entry/instrument/beam/incident_wavelength_1Dspectrum_weights"] = weights
    with pytest.warns(UserWarning, match="incident_wavelength_1Dspectrum_weights are left out; they are not those of wavelengths"):
        found: Exposure | None = read_image_file(tmp_path / "a.nxs").exposure
    assert found is not None
    assert (found.spectrum, found.wavelength) == (None, pytest.approx(ONE.mean, rel=1e-12))
