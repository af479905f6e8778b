"""The incident X-ray beam."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import NOT_NEGATIVE, POSITIVE, Limits, Part, choice, described, quantity, shown

if TYPE_CHECKING:
    from nbnumba.experiment.spectrum import Sase, Spectra, Spectrum

Vector = tuple[float, float, float]

FLAT, GAUSSIAN = "flat", "gaussian"
HALF = math.sqrt(math.log(2.0))  # of a Gaussian's full width at half maximum: where it is exp(-x^2) in its middle's units
AREA = math.sqrt(math.pi) / (2.0 * HALF)  # under a Gaussian along one axis, over its full width at half maximum
ABOUT = 1e-6  # relative, to which a wavelength is in a spectrum
MOST_STEPS = 100_000
MOST_SHOTS = 2**32 - 1


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
    profile: str = choice(
        FLAT,
        "flat, or Gaussian across the beam: size is its full width at half maximum then, and fluence that of its middle",
        (FLAT, GAUSSIAN),
    )
    spectrum: Spectrum | Spectra | Sase | None = field(default=None, metadata={"unit": "", "meaning": "which wavelengths it has"})
    spectrum_steps: int | None = quantity(
        None,
        "",
        "strata, equally wide in energy, that the spectrum is sampled in; 0: as many as spots need; not given: its wavelengths as they are",
        Limits(0, MOST_STEPS),
        whole=True,
    )
    direction_jitter: tuple[float, float] = quantity(
        (0.0, 0.0), "rad", "standard deviations of a shot's direction along the polarization and across it", Limits(0.0, 0.1), size=2
    )
    shot: int = quantity(0, "", "number of the shot; a sweep numbers its images", Limits(0, MOST_SHOTS), whole=True)
    shot_seed: int = quantity(1, "", "what spikes and jitter depend on besides the number of the shot", Limits(0, MOST_SHOTS), whole=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spectrum is not None:
            self._check_spectrum(self.spectrum)

    def _check_spectrum(self, spectrum: Spectrum | Spectra | Sase) -> None:
        """It is one, and the wavelength is in it where it lists any."""
        if not hasattr(spectrum, "of_shot"):
            raise ParameterError(self.where("spectrum"), f"{shown(spectrum)} is not a Spectrum, Spectra or Sase")
        lengths = getattr(spectrum, "wavelengths", None)
        if lengths is not None and not lengths.min() * (1.0 - ABOUT) <= self.wavelength <= lengths.max() * (1.0 + ABOUT):
            least, most, mean, given = (length * 1e10 for length in (lengths.min(), lengths.max(), spectrum.mean, self.wavelength))
            held = f"{least:.6g} to {most:.6g} A; its mean is {mean:.6g} A"
            raise ParameterError(self.where("wavelength"), f"{given:.6g} A is not in the spectrum, {held}")

    @property
    def photons_per_area(self) -> float:
        """Fluence in photons/m^2 from the flux where one is given (EXP-2), of a Gaussian beam in its middle (EXP-89)."""
        edge = self.size if self.profile == FLAT else self.size * AREA
        return self.flux * self.exposure / edge / edge if self.flux else self.fluence

    @property
    def differs_by_shot(self) -> bool:
        """Whether the number of the shot matters."""
        return any(self.direction_jitter) or (self.spectrum is not None and self.spectrum.differs_by_shot)

    def met(self, edge: float) -> float:
        """Edge across the beam that is lit as its middle and scatters as much as an edge of the crystal does (EXP-60, EXP-89)."""
        return min(edge, self.size) if self.profile == FLAT else self.size * AREA * math.erf(HALF * edge / self.size)
