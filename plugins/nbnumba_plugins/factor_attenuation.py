"""What the materials in the beam's path leave of it (FAC-70)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from nbnumba.plugin import Factor, ParameterError, WorkedValue, exp, hookimpl
from nbnumba_plugins.background_amorphous import SUBSTANCES
from nbnumba_plugins.background_ice import DENSITY as ICE_DENSITY
from nbnumba_plugins.scattering_atoms import HC

if TYPE_CHECKING:
    from nbnumba.experiment.background import Material
    from nbnumba.experiment.experiment import Experiment

LEAST_EV, MOST_EV = 100.0, 800_000.0  # of xraydb's tables
GRAZING = 1e-3  # cosine of a ray that stays in a slab
STEP = 0.01  # relative, of wavelengths between which attenuation is a power


class Attenuation(NamedTuple):
    """Attenuation lengths that the beam passes before the crystal and behind it, at a wavelength (m), and the powers they go with."""

    before: float
    behind: float
    before_power: float
    behind_power: float
    wavelength: float
    ix: float
    iy: float
    iz: float


def prepare(experiment: Experiment) -> Attenuation:
    wavelength = experiment.beam.wavelength
    before, behind = (depth(experiment, side, wavelength) for side in ("before", "behind"))
    first, second = (power(experiment, side, wavelength) for side in ("before", "behind"))
    return Attenuation(before, behind, first, second, wavelength, *experiment.axes["incident"].tolist())


def power(experiment: Experiment, side: str, wavelength: float) -> float:
    """With what power of the wavelength attenuation grows."""
    longer = depth(experiment, side, wavelength * (1.0 + STEP))
    return math.log(longer / depth(experiment, side, wavelength)) / math.log(1.0 + STEP) if longer else 0.0


def depth(experiment: Experiment, side: str, wavelength: float) -> float:
    """Attenuation lengths of all materials that are on a side of the crystal, half of those around it."""
    share = {side: 1.0, "around": 0.5}
    return sum(
        share.get(one.place, 0.0) * one.thickness * coefficient(one, wavelength) for one in experiment.background.materials if one.thickness
    )


def coefficient(material: Material, wavelength: float) -> float:
    """1/m, whatever takes photons out of the beam, of xraydb. Raises ParameterError."""
    formula, density = composition(material)
    try:
        import xraydb
    except ImportError:
        raise ParameterError("background.materials", f"what {formula} attenuates needs xraydb; pip install 'nbnumba[sensor]'") from None
    energy = HC / wavelength
    if not LEAST_EV <= energy <= MOST_EV:
        raise ParameterError("beam.wavelength", f"is of {energy:g} eV; attenuation is known from {LEAST_EV:g} to {MOST_EV:g} eV")
    return 100.0 * float(xraydb.material_mu(formula, energy, density=density / 1000.0, kind="total"))


def composition(material: Material) -> tuple[str, float]:
    """Chemical formula and density in kg/m^3. Raises ParameterError where nobody says."""
    substance = SUBSTANCES.get(material.name)
    known = (substance.formula, substance.density) if substance else ("H2O", ICE_DENSITY) if material.name == "ice" else ("", 0.0)
    formula, density = material.formula or known[0], material.density or known[1]
    if not formula or not density:
        missing = "density" if formula else "formula"
        raise ParameterError(
            f"material.{missing}",
            f"of {material.name!r} is missing, and so what it attenuates; give its {missing} (--background-{missing})",
        )
    return formula, density


def attenuation(p, ix, iy, iz, dx, dy, dz, wavelength):
    """exp(-(before + behind / cos)) for slabs across the beam; what is scattered back passes the slabs before the crystal again."""
    before = p.before * (wavelength / p.wavelength) ** p.before_power
    behind = p.behind * (wavelength / p.wavelength) ** p.behind_power
    cosine = p.ix * dx + p.iy * dy + p.iz * dz
    if cosine < 0.0:
        return exp(-(before + before / max(-cosine, GRAZING)))
    return exp(-(before + behind / max(cosine, GRAZING)))


EXAMPLE = Attenuation(0.1, 0.3, 3.0, 2.0, 1e-10, 1.0, 0.0, 0.0)
FORWARD = (1.0, 0.0, 0.0)

ATTENUATION = Factor(
    name="attenuation",
    summary="what air, windows and whatever else is in the beam's path (--background) leave of the beam and of what is scattered",
    prepare=prepare,
    function=attenuation,
    spec=("FAC-70",),
    worked_values=(
        WorkedValue(EXAMPLE, (*FORWARD, *FORWARD, 1e-10), math.exp(-0.4)),
        WorkedValue(EXAMPLE, (*FORWARD, 0.6, 0.8, 0.0, 1e-10), math.exp(-0.1 - 0.5)),
        WorkedValue(EXAMPLE, (*FORWARD, -0.6, 0.8, 0.0, 1e-10), math.exp(-0.1 - 0.1 / 0.6)),
        WorkedValue(EXAMPLE, (*FORWARD, *FORWARD, 2e-10), math.exp(-0.8 - 1.2)),
    ),
)


@hookimpl
def factor() -> list[Factor]:
    return [ATTENUATION]
