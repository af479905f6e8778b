"""Polarization factor of a partly polarised beam (POL-1, POL-2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.beam import Beam
from nbnumba.stages.stage import experiment_parameter

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Kahn(NamedTuple):
    """Polarization fraction, and the direction of the electric field."""

    fraction: float
    ex: float
    ey: float
    ez: float


def prepare(experiment: Experiment) -> Kahn:
    return Kahn(experiment.beam.polarization_fraction, *map(float, experiment.frame.polarization_axis))


def kahn(p, ix, iy, iz, dx, dy, dz):
    """(1 + cos^2(2 theta) - fraction cos(2 psi) sin^2(2 theta)) / 2, after Kahn et al. (1982).

    psi is the azimuth of the diffracted ray d about the incident beam i, from the electric field projected at right angles to i.
    cos(2 psi) sin^2(2 theta) is the difference of the squared components of d along that field and across it.
    """
    cos_2theta = ix * dx + iy * dy + iz * dz
    cos_squared = cos_2theta * cos_2theta
    if p.fraction == 0.0:
        return 0.5 * (1.0 + cos_squared)
    bx, by, bz = p.ey * iz - p.ez * iy, p.ez * ix - p.ex * iz, p.ex * iy - p.ey * ix  # magnetic field, across the beam
    length = math.sqrt(bx * bx + by * by + bz * bz)
    if length == 0.0:
        return 0.5 * (1.0 + cos_squared - p.fraction * (1.0 - cos_squared))
    across = (bx * dx + by * dy + bz * dz) / length
    along = ((iy * bz - iz * by) * dx + (iz * bx - ix * bz) * dy + (ix * by - iy * bx) * dz) / length
    return 0.5 * (1.0 + cos_squared - p.fraction * (along * along - across * across))


BEAM = (1.0, 0.0, 0.0)

STAGE = Stage(
    kind="polarization",
    name="kahn",
    summary="polarization factor of a partly polarised beam",
    prepare=prepare,
    function=kahn,
    parameters=(experiment_parameter(Beam, "polarization_fraction"), experiment_parameter(Beam, "polarization_axis")),
    spec=("POL-1", "POL-2"),
    worked_values=(
        WorkedValue(Kahn(0.0, 0.0, 0.0, 1.0), (*BEAM, 0.6, 0.8, 0.0), 0.68),
        WorkedValue(Kahn(1.0, 0.0, 0.0, 1.0), (*BEAM, 0.0, 0.0, 1.0), 0.0),
        WorkedValue(Kahn(1.0, 0.0, 0.0, 1.0), (*BEAM, 0.0, 1.0, 0.0), 1.0),
        WorkedValue(Kahn(0.5, 0.0, 0.0, 1.0), (*BEAM, 0.6, 0.0, 0.8), 0.52),
        WorkedValue(Kahn(0.5, 1.0, 0.0, 0.0), (*BEAM, 0.6, 0.0, 0.8), 0.52),
    ),
)


@hookimpl
def polarization() -> list[Stage]:
    return [STAGE]
