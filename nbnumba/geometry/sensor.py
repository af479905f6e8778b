"""How far photons get in a sensor, from its material (DET-6): attenuation lengths of xraydb."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from nbnumba import units
from nbnumba.errors import NotAvailableError, ParameterError

if TYPE_CHECKING:
    from nbnumba.experiment.panel import Panel
    from nbnumba.geometry.exposure import Exposure

Plane = TypeVar("Plane", "Panel", "Exposure")
FIELD = "detector.sensor_material"
# g/cm^3, of materials that xraydb has no density of: CRC Handbook of Chemistry and Physics.
DENSITIES = {"CsI": 4.51, "Gd2O2S": 7.32, "CdZnTe": 5.8}
EQUAL = 0.01  # relative difference between tables of attenuation
LEAST_EV, MOST_EV = 100.0, 800_000.0  # of xraydb's tables


def attenuation_length(material: str, wavelength: float) -> float:
    """Depth in m at which 1/e of the photons are left, whatever takes them out of the beam; material: its chemical formula.

    Raises ParameterError for a material or a wavelength that nothing is known of, NotAvailableError without xraydb.
    """
    try:
        import xraydb
    except ImportError:
        raise NotAvailableError(
            f"sensor of {material}: its attenuation needs xraydb; pip install 'nbnumba[sensor]', or give -detector_abs"
        ) from None
    known = xraydb.get_material(material)
    density = known[1] if known else DENSITIES.get(material)
    if density is None:
        raise ParameterError(FIELD, f"{material}: its density is not known, as those of Si, CdTe, GaAs and Ge are; give -detector_abs")
    energy = units.energy_from_wavelength(wavelength)
    if not LEAST_EV <= energy <= MOST_EV:
        raise ParameterError(FIELD, f"{material}: attenuation is known from 100 eV to 800 keV, not at {energy:g} eV; give -detector_abs")
    per_cm = float(xraydb.material_mu(material, energy, density=density, kind="total"))
    return units.metres_from_mm(10.0 / per_cm)


def absorbing(panel: Plane, wavelength: float | None) -> Plane:
    """A panel with the attenuation of its sensor's material, where it is not stated. Raises ParameterError, NotAvailableError."""
    if not (panel.sensor_thickness and panel.sensor_material and wavelength) or panel.sensor_attenuation:
        return panel
    return replace(panel, sensor_attenuation=attenuation_length(panel.sensor_material, wavelength))


def is_of_material(depth: float, material: str | None, wavelength: float | None) -> bool:
    """Whether an attenuation depth in m is what others take of the material, as far as that can be told."""
    if material is None or wavelength is None:
        return False
    try:
        return math.isclose(depth, attenuation_length(material, wavelength), rel_tol=EQUAL)
    except (NotAvailableError, ParameterError):
        return False
