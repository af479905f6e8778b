"""Decay of a crystal with dose, by resolution (FAC-72)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Factor, Parameter, ParameterError, WorkedValue, exp, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class Decay(NamedTuple):
    """What B has grown to, m^2."""

    B: float


def prepare(experiment: Experiment) -> Decay:
    """Of the mean spindle angle of the image."""
    of = experiment.model.parameters
    per_gray, per_degree, begin = (DECAY.value_of(name, of) for name in ("decay_B", "dose_rate", "dose_start"))
    turned = math.degrees(float(np.mean(experiment.phi)) - math.radians(begin))
    if turned < 0.0 and per_degree > 0.0:
        raise ParameterError("model.parameters.dose_start", f"{begin:g} deg is {-turned:g} deg after the image, which has no dose then")
    return Decay(per_gray * per_degree * turned)


def decay(p, ix, iy, iz, dx, dy, dz, wavelength):
    """exp(-2 B (sin(theta)/wavelength)^2), (sin(theta)/wavelength)^2 = |d - i|^2 / (4 wavelength^2)."""
    x, y, z = dx - ix, dy - iy, dz - iz
    return exp(-0.5 * p.B * (x * x + y * y + z * z) / (wavelength * wavelength))


def derivative(p, ix, iy, iz, dx, dy, dz, wavelength):
    """The factor, then its derivatives by rays and wavelength, then by B."""
    x, y, z, found = dx - ix, dy - iy, dz - iz, decay(p, ix, iy, iz, dx, dy, dz, wavelength)
    square = (x * x + y * y + z * z) / (wavelength * wavelength)
    slope = p.B * found / (wavelength * wavelength)
    return (
        found,
        slope * x,
        slope * y,
        slope * z,
        -slope * x,
        -slope * y,
        -slope * z,
        p.B * found * square / wavelength,
        -0.5 * square * found,
    )


DECAY = Factor(
    name="decay",
    summary="a crystal that loses its resolution with dose: B grows with the spindle angle",
    prepare=prepare,
    function=decay,
    derivative=derivative,
    varied=("B",),
    of_crystal_alone=True,
    parameters=(
        Parameter("decay_B", "m^2/Gy", 1e-26, "what B grows by for a dose: 1 A^2/MGy", NOT_NEGATIVE),
        Parameter("dose_rate", "Gy/deg", 0.0, "dose while the spindle turns by a degree", NOT_NEGATIVE),
        Parameter("dose_start", "deg", 0.0, "spindle angle at which there is no dose yet"),
    ),
    spec=("FAC-72",),
    # |d - i|^2 = 0.4 for d = (0.8, 0.6, 0): s^2 = 0.1 / A^2, B = 20 A^2.
    worked_values=(WorkedValue(Decay(20e-20), (1.0, 0.0, 0.0, 0.8, 0.6, 0.0, 1e-10), math.exp(-4.0)),),
)


@hookimpl
def factor() -> list[Factor]:
    return [DECAY]
