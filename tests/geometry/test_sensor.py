"""How far photons get in a sensor: xraydb's attenuation lengths."""

from __future__ import annotations

import math
import sys

import pytest
import xraydb

from nbnumba.errors import NotAvailableError, ParameterError
from nbnumba.geometry import catalogue
from nbnumba.geometry.catalogue import detector_by_name
from nbnumba.geometry.sensor import attenuation_length, is_of_material
from nbnumba.units import wavelength_from_energy

ENERGY = 12_400.0
WAVELENGTH = wavelength_from_energy(ENERGY)


@pytest.mark.spec("DET-6")
@pytest.mark.parametrize("name", catalogue.names())
def test_what_sensors_absorb(name: str) -> None:
    """At 12.4 keV 320 um of silicon take 74 % of the photons, 450 um 85 %, 300 um 71 %, 500 um 88 %."""
    sensor = detector_by_name(name).sensor
    if sensor.thickness:
        length = attenuation_length(sensor.material, WAVELENGTH)
        density = xraydb.get_material(sensor.material)[1]
        assert length == pytest.approx(0.01 / xraydb.material_mu(sensor.material, ENERGY, density=density), rel=1e-12)
        absorbed = {300: 0.717, 320: 0.740, 450: 0.849, 500: 0.878}[round(sensor.thickness * 1e6)]
        assert 1.0 - math.exp(-sensor.thickness / length) == pytest.approx(absorbed, abs=2e-3)


@pytest.mark.spec("DET-6")
@pytest.mark.parametrize(
    ("material", "per_cm"),
    # NIST, X-ray mass attenuation coefficients at 10 keV (cm^2/g) times density (g/cm^3)
    [
        ("Si", 33.89 * 2.329),
        ("Ge", 37.42 * 5.323),
        ("CdTe", 139.3 * 5.85),
        ("GaAs", (0.482 * 34.21 + 0.518 * 41.14) * 5.318),
        ("CsI", 171.6 * 4.51),
    ],
)
def test_materials(material: str, per_cm: float) -> None:
    assert attenuation_length(material, wavelength_from_energy(10_000.0)) == pytest.approx(0.01 / per_cm, rel=0.03)


@pytest.mark.spec("DET-6")
def test_what_is_not_known() -> None:
    with pytest.raises(ParameterError, match=r"detector\.sensor_material: Unobtainium: its density is not known, .*; give -detector_abs"):
        attenuation_length("Unobtainium", WAVELENGTH)
    with pytest.raises(ParameterError, match=r"Si: attenuation is known from 100 eV to 800 keV, not at 99\.9 eV; give -detector_abs"):
        attenuation_length("Si", wavelength_from_energy(99.9))
    with pytest.raises(ParameterError, match="not at 900000 eV"):
        attenuation_length("Si", wavelength_from_energy(900e3))


@pytest.mark.spec("DET-8")
def test_a_depth_that_is_the_materials_own() -> None:
    depth = attenuation_length("Si", WAVELENGTH)
    assert is_of_material(depth * 1.005, "Si", WAVELENGTH)
    assert not is_of_material(depth * 1.02, "Si", WAVELENGTH)
    assert not is_of_material(depth, "CdTe", WAVELENGTH)
    assert not any((is_of_material(depth, None, WAVELENGTH), is_of_material(depth, "Si", None), is_of_material(depth, "Uo", WAVELENGTH)))


@pytest.mark.spec("DET-6")
def test_without_xraydb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xraydb", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'nbnumba\[sensor\]', or give -detector_abs$"):
        attenuation_length("Si", WAVELENGTH)
    assert not is_of_material(1e-4, "Si", WAVELENGTH)
