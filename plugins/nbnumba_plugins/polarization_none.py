"""No polarization correction (POL-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbnumba.plugin import Polarization, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Nothing(NamedTuple):
    """A NamedTuple cannot be empty in a compiled kernel."""

    unused: float


def prepare(experiment: Experiment) -> Nothing:
    return Nothing(0.0)


def none(p, ix, iy, iz, dx, dy, dz):
    """One, for every ray."""
    return 1.0


def derivative(p, ix, iy, iz, dx, dy, dz):
    """One, which does not vary."""
    return 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0


STAGE = Polarization(
    name="none",
    summary="no polarization correction",
    prepare=prepare,
    function=none,
    derivative=derivative,
    spec=("POL-3",),
    worked_values=(WorkedValue(Nothing(0.0), (1.0, 0.0, 0.0, 0.0, 0.0, 1.0), 1.0),),
)


@hookimpl
def polarization() -> list[Polarization]:
    return [STAGE]
