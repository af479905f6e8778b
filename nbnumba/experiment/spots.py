"""How spots come about: from samples, or as the Gaussians that what smears them makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Vector
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, choice, described, quantity

SAMPLED, GAUSSIAN = "sampled", "gaussian"


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Spots(Part):
    """The model of spots, and the standard deviations of what smears the Gaussian ones."""

    model: str = choice(SAMPLED, "sums over samples, or Gaussians in closed form", (SAMPLED, GAUSSIAN))
    mosaic_widths: Vector | None = quantity(
        None,
        "rad",
        "standard deviations of the rotations of mosaic domains about a, about what is at right angles to a in the plane of a and b, and "
        "about c*; default: the mosaic spread about each",
        Limits(0.0, math.pi),
        size=3,
    )
    bandwidth: float = quantity(0.0, "", "standard deviation of the wavelength, as a fraction of it", Limits(0.0, 0.1))
    divergence_widths: tuple[float, float] = quantity(
        (0.0, 0.0), "rad", "standard deviations of the beam's direction along the polarization and across it", Limits(0.0, 0.1), size=2
    )
    point_spread: float = quantity(0.0, "m", "standard deviation of the point spread in the detector's plane", NOT_NEGATIVE)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [f.name for f in fields(self) if f.name != "model" and getattr(self, f.name) != f.default]
        if given and self.model != GAUSSIAN:
            raise ParameterError(self.where(given[0]), f"is of Gaussian spots, and spots are {self.model}; take the model {GAUSSIAN}")

    @property
    def are_gaussian(self) -> bool:
        """Whether they are drawn in closed form."""
        return self.model == GAUSSIAN
