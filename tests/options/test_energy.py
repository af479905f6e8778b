"""Photon energies in the wrong unit."""

from __future__ import annotations

from pathlib import Path

import pytest
from geometry_files import GEOM

import nbnumba
from nbnumba.errors import InputFileError, OptionError


@pytest.mark.spec("CLI-46")
@pytest.mark.parametrize(
    ("energy", "told"),
    [
        ("12.4", "12.4 eV is a wavelength of 999.9 A; for 12.4 keV give 12400 eV"),
        ("0.9", "0.9 eV is a wavelength of 1.378e+04 A; for 0.9 keV give 900 eV"),
        ("99.9", "99.9 eV is a wavelength of 124.1 A; for 99.9 keV give 99900 eV"),
    ],
)
def test_a_slip_of_a_thousand_is_told_at_once(energy: str, told: str) -> None:
    with pytest.raises(OptionError) as raised:
        nbnumba.experiment_from_options(f"-energy {energy} --model nowhere.pdb")
    assert str(raised.value) == f"-energy {energy}: {told} (-lambda takes wavelengths of any length)"


@pytest.mark.spec("CLI-46")
def test_energies_of_x_rays_and_long_wavelengths_are_taken(tmp_path: Path) -> None:
    assert nbnumba.experiment_from_options("-default_F 1 -cell 50 -energy 100").beam.wavelength == pytest.approx(123.9842e-10)
    assert nbnumba.experiment_from_options("-default_F 1 -cell 50 -lambda 1000").beam.wavelength == pytest.approx(1e-7)
    (tmp_path / "a.geom").write_text(GEOM.replace("12.7 keV", "12.7"))
    with pytest.raises(InputFileError, match=r"photon_energy: 12\.7 eV is a wavelength of 976\.3 A; for 12\.7 keV give 12700 eV"):
        nbnumba.experiment_from_options(f"--geom {tmp_path / 'a.geom'} -default_F 1 -cell 50")
