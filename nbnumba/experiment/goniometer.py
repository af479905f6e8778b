"""The spindle and its scan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbnumba import units
from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Vector
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, described, quantity

MOST_STEPS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan with nothing left open: ``steps`` angles phi_start, phi_start + step, ..."""

    steps: int
    step: float
    oscillation: float


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Goniometer(Part):
    """Rotation of the crystal about the spindle during the exposure."""

    spindle_axis: Vector | None = quantity(None, "", "axis of the phi rotation; given: the custom convention", size=3)
    phi_start: float = quantity(0.0, "rad", "spindle angle at the start")
    oscillation: float | None = quantity(None, "rad", "range of the sweep", NOT_NEGATIVE)
    phi_step: float | None = quantity(None, "rad", "angle between phi steps", NOT_NEGATIVE)
    phi_steps: int | None = quantity(None, "", "number of phi steps", Limits(0, MOST_STEPS), whole=True)

    @property
    def scan(self) -> Scan:
        """What is not given follows from what is (EXP-6)."""
        oscillation, step = self.oscillation, self.phi_step or None
        if oscillation is None and step is not None:
            return Scan(steps=2, step=step, oscillation=step)
        if self.phi_steps is None:
            if oscillation is None:
                return Scan(steps=1, step=0.0, oscillation=0.0)
            if step is None:
                return Scan(steps=2, step=oscillation / 2.0, oscillation=oscillation)
            return Scan(steps=self._steps(oscillation, step), step=step, oscillation=oscillation)
        steps = self.phi_steps or 1
        if oscillation is None:
            oscillation, given_step = units.radians(1.0), None
        else:
            given_step = self.phi_step
        return Scan(steps=steps, step=oscillation / steps if given_step is None else given_step, oscillation=oscillation)

    def _steps(self, oscillation: float, step: float) -> int:
        steps = math.ceil(min(oscillation / step, 2.0 * MOST_STEPS))
        if not 0 < steps <= MOST_STEPS:
            raise ParameterError(
                self.where("phi_step"),
                f"{step:g} rad divides the oscillation of {oscillation:g} rad into {steps or 'no'} steps; "
                f"between 1 and {MOST_STEPS} are possible",
            )
        return steps
