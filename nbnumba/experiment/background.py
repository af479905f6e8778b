"""What scatters besides the crystal."""

from __future__ import annotations

from dataclasses import dataclass

from nbnumba.experiment.part import NOT_NEGATIVE, Part, described, quantity


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Background(Part):
    """A cube of water around the crystal, scattering the same in all directions."""

    water_size: float = quantity(0.0, "m", "edge of a cube of water around the crystal", NOT_NEGATIVE)
