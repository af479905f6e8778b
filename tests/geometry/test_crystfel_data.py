"""What CrystFEL geometry files leave to the data: distance, wavelength, shifts and masks."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from geometry_files import GEOM_PAIR

import nbnumba
from nbnumba import InputFileError, OptionError, units
from nbnumba.cli.main import main
from nbnumba.formats.hdf5_mask import stored_mask, stored_numbers
from nbnumba.geometry.crystfel import read_geom
from nbnumba.geometry.crystfel_data import Data

GEOM = """photon_energy = /LCLS/photon_energy_eV
clen = /LCLS/detector_1/EncoderValue
detector_shift_x = /shift mm
coffset = 0.58
res = 10000
dim0 = %
dim1 = ss
dim2 = fs
data = /data
mask = /mask
mask_bad = 0x2
"""
GEOM += GEOM_PAIR.removeprefix("clen = 0.1\nres = 10000\n")
OPTIONS = "-default_F 1 -cell 50"


@pytest.fixture
def files(in_tmp_path: Path) -> Path:
    """A geometry and data of three images, in which the energy and the masks differ."""
    Path("a.geom").write_text(GEOM)
    with h5py.File("run.cxi", "w") as file:
        file["LCLS/photon_energy_eV"] = [9500.0, 9600.0, 9700.0]
        file["LCLS/detector_1/EncoderValue"] = -480.0
        file["shift"] = np.array([0.25])
        file["mask"] = np.random.default_rng(2).integers(0, 4, (3, 6, 4))
    return in_tmp_path


@pytest.mark.spec("FMT-103")
@pytest.mark.parametrize(("image", "energy"), [("", 9500.0), ("2", 9600.0), ("3", 9700.0)])
def test_values_of_an_image(image: str, energy: float, files: Path) -> None:
    experiment = nbnumba.experiment_from_options(f"{OPTIONS} --geom-data run.cxi {image} --geom a.geom")
    assert experiment.beam.wavelength == pytest.approx(units.wavelength_from_energy(energy), rel=1e-15)
    first, second = experiment.panels
    assert first.origin == pytest.approx((1e-4 + 0.25e-3, 2e-4, 0.1))  # without a unit a place holds mm
    assert second.origin == pytest.approx((-9e-4 + 0.25e-3, 2e-4, 0.1))
    mask = stored_mask(Path("run.cxi"), "/mask")[int(image or 1) - 1]
    np.testing.assert_array_equal(np.concatenate([first.mask, second.mask]), mask & 2 == 0)


@pytest.mark.spec("FMT-103")
def test_units_are_those_of_the_geometry(files: Path) -> None:
    text = GEOM.replace("photon_energy_eV", "photon_energy_eV keV").replace("EncoderValue", "EncoderValue m").replace("/shift mm", "/shift")
    with h5py.File("run.cxi", "r+") as file:
        file["LCLS/detector_1/EncoderValue"][...] = -0.4
        file["LCLS/photon_energy_eV"][...] = 9.0
    Path("a.geom").write_text(text)
    found = read_geom("a.geom", stored=stored_mask, data=Data(Path("run.cxi"), 1, stored_numbers))
    assert found.exposure.origin == pytest.approx((1e-4 + 0.25, 2e-4, 0.18))
    assert found.exposure.wavelength == pytest.approx(units.wavelength_from_energy(9000.0))
    assert found.notes == ()


@pytest.mark.spec("FMT-103")
def test_a_file_that_nothing_is_left_to(files: Path) -> None:
    lines = [line for line in GEOM.splitlines() if "= /" not in line and not line.startswith("mask")]
    Path("a.geom").write_text("\n".join(["clen = 0.1", "wavelength = 1 A", *lines]))
    found = read_geom("a.geom", data=Data(Path("run.cxi"), 1, stored_numbers))
    assert found.notes == ("run.cxi: not used: a.geom leaves nothing to it",)


@pytest.mark.spec("FMT-103")
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("run.cxi 4", "run.cxi: /LCLS/photon_energy_eV has 3 values; there is none of image 4"),
        ("gone.h5", "gone.h5: cannot be read: No such file or directory"),
        ("a.geom", "a.geom: is not an HDF5 file that can be read"),
        ("run.cxi 0", "--geom-data run.cxi 0: needs the name of an HDF5 file, and the number of an image from 1 on"),
        ("run.cxi 1.5", "--geom-data run.cxi 1.5: '1.5' is not a whole number"),
    ],
)
def test_what_is_refused(words: str, problem: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *OPTIONS.split(), "--geom", "a.geom", "--geom-data", *words.split()]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"nbnumba: error: {problem}")


@pytest.mark.spec("FMT-103")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone.h5", "gone.h5: cannot be read: No such file or directory"),
        ("a.geom", "a.geom: is not an HDF5 file that can be read"),
    ],
)
def test_a_file_that_is_not_there_when_masks_alone_are_left_to_it(
    name: str, problem: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line for line in GEOM.splitlines() if not line.startswith(("photon_energy", "clen", "detector_shift"))]
    Path("a.geom").write_text("\n".join(["clen = 0.1", "wavelength = 1 A", *lines]))
    assert main(["explain", *OPTIONS.split(), "--geom", "a.geom", "--geom-data", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"nbnumba: error: {problem}")


@pytest.mark.spec("FMT-103")
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("/shift", "/nowhere", "/nowhere is missing"),
        ("/shift", "/LCLS/nowhere/x", "/LCLS/nowhere/x cannot be read: nowhere is missing"),
        ("/shift", "/LCLS", "/LCLS cannot be read: LCLS is a group, not a value"),
        ("/shift", "/LCLS/%/x", "detector_shift_x = /LCLS/%/x is a place for each image, of which none is known; give a plain one"),
        ("mask = /mask", "mask = /LCLS/photon_energy_eV", "the mask /LCLS/photon_energy_eV holds no whole numbers"),
    ],
)
def test_what_is_not_in_the_data(before: str, after: str, problem: str, files: Path) -> None:
    Path("a.geom").write_text(GEOM.replace(before, after))
    with pytest.raises(InputFileError) as raised:
        nbnumba.experiment_from_options(f"{OPTIONS} --geom a.geom --geom-data run.cxi")
    assert str(raised.value) == f"run.cxi: {problem}"


@pytest.mark.spec("FMT-103")
def test_data_without_a_geometry(files: Path) -> None:
    with pytest.raises(OptionError, match=r"--geom-data run\.cxi 2: there is no --geom that would leave anything to it"):
        nbnumba.experiment_from_options(f"{OPTIONS} -lambda 1 --geom-data run.cxi 2")


@pytest.mark.spec("FMT-103")
def test_a_bundle_has_a_copy_of_the_data(files: Path) -> None:
    words = ["run", *OPTIONS.split(), "-oversample", "1", "-N", "1", "--geom", "a.geom", "--geom-data", "run.cxi", "2", "-o", "a.nxs"]
    assert main([*words, "--bundle", "kept"]) == 0
    for file in ("run.cxi", "a.geom", "a.nxs"):
        Path(file).unlink()
    assert main(["bundle", "verify", "kept"]) == 0
