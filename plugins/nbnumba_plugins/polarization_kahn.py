"""Polarization factor of a partly polarised beam (POL-1, POL-2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba.experiment.beam import Beam
from nbnumba.plugin import Polarization, WorkedValue, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Kahn(NamedTuple):
    """Polarization fraction, and the direction of the electric field."""

    fraction: float
    ex: float
    ey: float
    ez: float


def prepare(experiment: Experiment) -> Kahn:
    return Kahn(experiment.beam.polarization_fraction, *map(float, experiment.axes["polarization"]))


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


def derivative(p, ix, iy, iz, dx, dy, dz):
    """The factor, and its derivatives by the incident and the diffracted ray, the polarization fraction and the electric field."""
    cos_2theta = ix * dx + iy * dy + iz * dz
    bx, by, bz = p.ey * iz - p.ez * iy, p.ez * ix - p.ex * iz, p.ex * iy - p.ey * ix
    length = math.sqrt(bx * bx + by * by + bz * bz)
    if length == 0.0:
        c, sin_squared = cos_2theta * (1.0 + p.fraction), 1.0 - cos_2theta * cos_2theta
        factor = 1.0 - 0.5 * (1.0 + p.fraction) * sin_squared
        return factor, c * dx, c * dy, c * dz, c * ix, c * iy, c * iz, -0.5 * sin_squared, 0.0, 0.0, 0.0
    mx, my, mz = bx / length, by / length, bz / length
    across = mx * dx + my * dy + mz * dz
    cx, cy, cz = dy * iz - dz * iy, dz * ix - dx * iz, dx * iy - dy * ix  # d x i
    along = mx * cx + my * cy + mz * cz
    c, a, b = cos_2theta, -p.fraction * along, p.fraction * across
    # By m, and through its length by the magnetic field.
    tx, ty, tz = a * cx + b * dx, a * cy + b * dy, a * cz + b * dz
    part = mx * tx + my * ty + mz * tz
    tx, ty, tz = (tx - mx * part) / length, (ty - my * part) / length, (tz - mz * part) / length
    return (
        0.5 * (1.0 + cos_2theta * cos_2theta - p.fraction * (along * along - across * across)),
        c * dx + a * (my * dz - mz * dy) + (ty * p.ez - tz * p.ey),
        c * dy + a * (mz * dx - mx * dz) + (tz * p.ex - tx * p.ez),
        c * dz + a * (mx * dy - my * dx) + (tx * p.ey - ty * p.ex),
        c * ix + a * (iy * mz - iz * my) + b * mx,
        c * iy + a * (iz * mx - ix * mz) + b * my,
        c * iz + a * (ix * my - iy * mx) + b * mz,
        -0.5 * (along * along - across * across),
        iy * tz - iz * ty,
        iz * tx - ix * tz,
        ix * ty - iy * tx,
    )


BEAM = (1.0, 0.0, 0.0)

STAGE = Polarization(
    name="kahn",
    summary="polarization factor of a partly polarised beam",
    prepare=prepare,
    function=kahn,
    derivative=derivative,
    varied=("fraction", "ex", "ey", "ez"),
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
def polarization() -> list[Polarization]:
    return [STAGE]
