"""A factor of every term: thermal motion, intensities times exp(-2 B (sin(theta) / lambda)^2), after Debye and Waller.

Try it:    nbnumba run ... --plugin-file debye_waller.py --plugin factor=debye-waller --set debye_waller_B=20e-20
"""

from typing import NamedTuple

from nbnumba.plugin import NOT_NEGATIVE, Factor, Parameter, WorkedValue, exp, hookimpl


class DebyeWaller(NamedTuple):
    B: float  # m^2


def prepare(experiment):
    return DebyeWaller(STAGE.value_of("debye_waller_B", experiment.model.parameters))


def thermal(p, ix, iy, iz, dx, dy, dz, wavelength):
    """2 B (sin(theta) / lambda)^2 = B / 2 of the squared difference of the unit vectors over lambda."""
    return exp(-0.5 * p.B * ((dx - ix) ** 2 + (dy - iy) ** 2 + (dz - iz) ** 2) / wavelength**2)


def derivative(p, ix, iy, iz, dx, dy, dz, wavelength):
    """For gradients: the factor, then its derivatives by the seven arguments, then by B."""
    x, y, z, f = dx - ix, dy - iy, dz - iz, thermal(p, ix, iy, iz, dx, dy, dz, wavelength)
    g, squared = p.B * f / wavelength**2, x * x + y * y + z * z
    return f, g * x, g * y, g * z, -g * x, -g * y, -g * z, g * squared / wavelength, -0.5 * squared / wavelength**2 * f


B = Parameter("debye_waller_B", "m^2", 20e-20, "of all atoms, isotropic", NOT_NEGATIVE)
WORKED = (WorkedValue(DebyeWaller(20e-20), (1.0, 0.0, 0.0, 0.8, 0.6, 0.0, 1e-10), 0.01831563888873418),)
STAGE = Factor("debye-waller", "thermal motion", prepare, thermal, (B,), (), WORKED, derivative, ("B",))


@hookimpl
def factor():
    return [STAGE]
