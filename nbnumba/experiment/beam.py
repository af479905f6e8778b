"""The incident X-ray beam."""

from __future__ import annotations

from dataclasses import dataclass

from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Limits, Part, described, quantity

Vector = tuple[float, float, float]


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Beam(Part):
    """Wavelength, direction, polarization and brightness of the beam."""

    wavelength: float = quantity(1e-10, "m", "wavelength of the incident beam", Limits(1e-14, 1e-6))
    direction: Vector | None = quantity(None, "", "direction of the beam; given: the custom convention", size=3)
    polarization_axis: Vector | None = quantity(None, "", "direction of the beam's electric field; given: the custom convention", size=3)
    polarization_fraction: float = quantity(
        0.0, "", "Kahn's polarization factor: 0 unpolarised, 1 fully polarised along the polarization axis", Limits(-1.0, 1.0)
    )
    fluence: float = quantity(
        125932015286227086360700780544.0, "photons/m^2", "incident photons per area, where no flux is given", NOT_NEGATIVE
    )
    flux: float = quantity(0.0, "photons/s", "incident photons per second; with exposure and size it gives the fluence", NOT_NEGATIVE)
    exposure: float = quantity(1.0, "s", "exposure time", POSITIVE)
    size: float = quantity(1e-4, "m", "edge of the square beam; it also clips the sample's height and width", POSITIVE)

    @property
    def photons_per_area(self) -> float:
        """Fluence in photons/m^2 from the flux where one is given (EXP-2)."""
        return self.flux * self.exposure / self.size / self.size if self.flux else self.fluence
