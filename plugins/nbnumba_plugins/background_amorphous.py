"""Water, gases, films and other materials without order, that scatter alike all around the beam (BKG-4 to BKG-6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import BackgroundStage, ParameterError, WorkedValue, hookimpl
from nbnumba_plugins.scattering_atoms import element, f0, incoherent, recoil
from nbnumba_plugins.scattering_table import THOMSON, materials_of, molecules

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

# 1/m: between these what is smooth on the scale of atoms is a polynomial.
KNOTS = np.concatenate([np.arange(1, 61) * 1e8, 6e9 + np.arange(1, 41) * 6e8])
ATOM = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")


class Substance(NamedTuple):
    """formula: of a molecule; density: kg/m^3; pairs: (element, element, A, how many) distances in a molecule.

    order: S(q), rows of q in 1/A and what is scattered over what free molecules scatter, 1 beyond; none: a gas.
    """

    formula: str
    density: float
    pairs: tuple[tuple[str, str, float, float], ...] = ()
    order: tuple[tuple[float, float], ...] = ()


WATER_PAIRS = (("O", "H", 0.9572, 2.0), ("H", "H", 1.5139, 1.0))
# From the compressibility at q = 0 through the features of measured curves (G. Hura et al., J. Chem. Phys. 113, 9140 (2000);
# L. B. Skinner et al., J. Chem. Phys. 138, 074506 (2013)): drawn by hand, to about 10 %.
WATER_ORDER = (
    (0.0, 0.062), (0.5, 0.068), (1.0, 0.11), (1.25, 0.18), (1.5, 0.36), (1.75, 0.78), (1.9, 1.06), (2.0, 1.20), (2.1, 1.22), (2.2, 1.18),
    (2.4, 1.12), (2.6, 1.14), (2.8, 1.20), (2.9, 1.20), (3.0, 1.17), (3.2, 1.00), (3.4, 0.82), (3.6, 0.70), (3.8, 0.68), (4.0, 0.75),
    (4.3, 0.90), (4.6, 1.04), (4.9, 1.09), (5.2, 1.07), (5.6, 0.98), (6.0, 0.93), (6.4, 0.95), (6.8, 1.02), (7.2, 1.04), (7.8, 1.01),
    (8.5, 0.99), (9.5, 1.0),
)  # fmt: skip
# Silica's first diffraction peak at 1.52 1/A and those at 2.8 and 5.2 1/A (A. C. Wright, J. Non-Cryst. Solids 179, 84 (1994)), and what
# fluctuations of density are left at q = 0: drawn by hand, to about 10 %.
GLASS_ORDER = (
    (0.0, 0.03), (0.5, 0.04), (0.9, 0.10), (1.1, 0.28), (1.3, 0.82), (1.42, 1.28), (1.52, 1.45), (1.62, 1.30), (1.8, 0.92), (2.0, 0.72),
    (2.3, 0.62), (2.6, 0.66), (2.8, 0.70), (3.1, 0.66), (3.4, 0.68), (3.8, 0.78), (4.3, 0.98), (4.8, 1.18), (5.2, 1.26), (5.6, 1.18),
    (6.1, 0.98), (6.6, 0.88), (7.2, 0.96), (7.8, 1.06), (8.5, 1.0), (9.5, 1.0),
)  # fmt: skip
# The repeat along the chain at 0.41 1/A (15.4 A) and the halo of chains side by side at 1.2 to 1.3 1/A (M. Kochi et al., J. Mater. Sci. 21,
# 3153 (1986), of such polyimides), then distances in the rings: drawn by hand, to about 20 %.
KAPTON_ORDER = (
    (0.0, 0.06), (0.2, 0.07), (0.32, 0.11), (0.38, 0.22), (0.41, 0.27), (0.44, 0.22), (0.52, 0.12), (0.7, 0.13), (0.9, 0.28), (1.1, 0.72),
    (1.25, 0.92), (1.4, 0.88), (1.6, 0.72), (1.9, 0.66), (2.2, 0.62), (2.6, 0.74), (2.9, 0.98), (3.1, 1.04), (3.4, 0.92), (3.9, 0.80),
    (4.5, 0.92), (5.1, 1.18), (5.5, 1.16), (6.1, 0.92), (6.8, 0.94), (7.6, 1.02), (8.5, 1.0), (9.5, 1.0),
)  # fmt: skip
# Molten chains side by side, 4.5 A apart (1.39 1/A; D. C. Turner and S. M. Gruner, Biochemistry 31, 1340 (1992), of lipid phases), over
# water: drawn by hand, to about 20 %. Rings of the cubic lattice itself, at 40 A and more, are behind most beamstops and are left out.
LCP_ORDER = (
    (0.0, 0.10), (0.4, 0.10), (0.8, 0.20), (1.0, 0.36), (1.15, 0.74), (1.28, 1.30), (1.39, 1.58), (1.5, 1.34), (1.65, 0.98), (1.85, 0.84),
    (2.1, 0.80), (2.5, 0.84), (2.9, 0.96), (3.1, 0.98), (3.5, 0.84), (4.0, 0.82), (4.6, 0.98), (5.1, 1.08), (5.6, 1.02), (6.2, 0.94),
    (7.0, 1.01), (8.0, 1.0), (9.5, 1.0),
)  # fmt: skip

WATER = Substance("H2O", 997.0, WATER_PAIRS, WATER_ORDER)
SUBSTANCES = {
    "water": WATER,
    # Of 1.1 times the density of water: salts and polymers scatter like as much more water.
    "mother-liquor": WATER._replace(density=1100.0),
    "lcp": Substance("C21H40O4H26.4O13.2", 1000.0, (), LCP_ORDER),
    # In 1000 molecules: 781 N2, 209.5 O2, 9 Ar.
    "air": Substance("N1.562O0.419Ar0.009", 1.204, (("N", "N", 1.098, 0.781), ("O", "O", 1.208, 0.2095))),
    "helium": Substance("He", 0.1663),
    "kapton": Substance("C22H10N2O5", 1420.0, (), KAPTON_ORDER),
    "glass": Substance("SiO2", 2230.0, (), GLASS_ORDER),
}


class Parts(NamedTuple):
    """per_electron: m^2/sr of all molecules that the beam meets, for 1 electron^2; of every material, with its substance."""

    per_electron: tuple[float, ...]
    substances: tuple[Substance, ...]


def parts_of(name: str, experiment: Experiment) -> Parts:
    materials, substance = materials_of(name, experiment), SUBSTANCES[name]
    per_electron = [THOMSON * molecules(m, experiment.beam, substance.density, molar_mass(substance.formula)) for m in materials]
    return Parts(tuple(per_electron), (substance,) * len(materials))


def prepare_atoms(experiment: Experiment) -> Parts:
    """Free atoms of the materials' formulas."""
    materials = materials_of("atoms", experiment)
    for material in materials:
        if material.formula is None or material.density is None:
            missing = "formula" if material.formula is None else "density"
            raise ParameterError(f"material.{missing}", f"of 'atoms' is missing; give its {missing}, --background-{missing}")
    substances = tuple(Substance(str(m.formula), float(m.density or 0.0)) for m in materials)
    masses = [molecules(m, experiment.beam, s.density, molar_mass(s.formula)) for m, s in zip(materials, substances, strict=True)]
    return Parts(tuple(THOMSON * n for n in masses), substances)


def function(p: Parts, stol: np.ndarray, wavelength: float) -> np.ndarray:
    """All materials of the stage."""
    total = np.zeros(stol.shape)
    for per_electron, substance in zip(p.per_electron, p.substances, strict=True):
        total += per_electron * (coherent(substance, stol) + compton(substance, stol, wavelength))
    return total


def coherent(substance: Substance, stol: np.ndarray) -> np.ndarray:
    """S(q) times what a free molecule scatters (P. Debye, Ann. Phys. 351, 809 (1915)), electrons^2; stol in 1/m."""
    s = stol * 1e-10
    q = 4.0 * np.pi * s
    atoms = formula(substance.formula)
    free = sum(count * f0(name, s) ** 2 for name, count in atoms.items())
    pairs = sum(2.0 * n * f0(a, s) * f0(b, s) * np.sinc(q * r / np.pi) for a, b, r, n in substance.pairs)
    return np.asarray(free + pairs) * (ordered(substance.order, q) if substance.order else 1.0)


def ordered(order: tuple[tuple[float, float], ...], q: np.ndarray) -> np.ndarray:
    """S(q), smooth through what is tabulated and never over it (F. N. Fritsch and R. E. Carlson's cubics)."""
    from scipy.interpolate import PchipInterpolator

    at, S = np.array(order).T
    return np.asarray(PchipInterpolator(at, S)(np.minimum(q, at[-1])))


def compton(substance: Substance, stol: np.ndarray, wavelength: float) -> np.ndarray:
    """What the atoms of a molecule scatter incoherently."""
    free = sum(count * incoherent(name, stol * 1e-10) for name, count in formula(substance.formula).items())
    return np.asarray(free * recoil(stol, wavelength))


def formula(text: str) -> Mapping[str, float]:
    """How many of which atoms a chemical formula without brackets has. Raises ParameterError."""
    found: dict[str, float] = {}
    if "".join(match.group() for match in ATOM.finditer(text)) != text or not text:
        raise ParameterError("material.formula", f"{text!r} is not a chemical formula such as SiO2")
    for name, count in ATOM.findall(text):
        found[name] = found.get(name, 0.0) + float(count or 1.0)
    return found


def molar_mass(text: str) -> float:
    """kg/mol of a chemical formula."""
    return float(sum(count * element(name).weight for name, count in formula(text).items()) / 1000.0)


def knots(p: Parts) -> np.ndarray:
    """Those of all."""
    ordered_at = [np.array(s.order)[:, 0] / (4.0 * np.pi) * 1e10 for s in p.substances if s.order]
    return np.unique(np.concatenate([KNOTS, *ordered_at]))


FORWARD = (np.array([0.0]), 1e-10)


def stage(name: str, summary: str, prepare: Callable[[Experiment], Parts], forward: float) -> BackgroundStage:
    """forward: S(0) times the square of a molecule's electrons, or where distances are in S(q), the sum of the squares of its atoms'."""
    return BackgroundStage(
        name=name,
        summary=summary,
        prepare=prepare,
        function=function,
        knots=knots,
        spec=("BKG-1", "BKG-4", "BKG-5", "BKG-6"),
        worked_values=(WorkedValue(Parts((2.0,), (SUBSTANCES[name],)), FORWARD, np.array([2.0 * forward]), 2e-3),),
    )


def prepare_water(experiment: Experiment) -> Parts:
    return parts_of("water", experiment)


def prepare_mother_liquor(experiment: Experiment) -> Parts:
    return parts_of("mother-liquor", experiment)


def prepare_lcp(experiment: Experiment) -> Parts:
    return parts_of("lcp", experiment)


def prepare_air(experiment: Experiment) -> Parts:
    return parts_of("air", experiment)


def prepare_helium(experiment: Experiment) -> Parts:
    return parts_of("helium", experiment)


def prepare_kapton(experiment: Experiment) -> Parts:
    return parts_of("kapton", experiment)


def prepare_glass(experiment: Experiment) -> Parts:
    return parts_of("glass", experiment)


ATOMS = BackgroundStage(
    name="atoms",
    summary="anything else, by its formula and density, as free atoms",
    prepare=prepare_atoms,
    function=function,
    knots=knots,
    spec=("BKG-1", "BKG-4", "BKG-5"),
    worked_values=(WorkedValue(Parts((3.0,), (Substance("SiO2", 2200.0),)), FORWARD, np.array([3.0 * (14.0**2 + 2.0 * 8.0**2)]), 1e-3),),
)


STAGES = (
    stage("water", "liquid water", prepare_water, 0.062 * 10.0**2),
    stage("mother-liquor", "what crystals grow in, around them and in their solvent channels", prepare_mother_liquor, 0.062 * 10.0**2),
    stage("lcp", "lipidic cubic phase: monoolein with 40 % of water", prepare_lcp, 0.1 * (21 * 36 + 66.4 + 17.2 * 64)),
    stage("air", "air of 20 C and 1 atm", prepare_air, 0.781 * 14.0**2 + 0.2095 * 16.0**2 + 0.009 * 18.0**2),
    stage("helium", "helium of 20 C and 1 atm", prepare_helium, 2.0**2),
    stage("kapton", "Kapton, polyimide films and tubes", prepare_kapton, 0.06 * (22 * 36 + 10 + 2 * 49 + 5 * 64)),
    stage("glass", "glass of capillaries, as silica of the density of borosilicate", prepare_glass, 0.03 * (196 + 2 * 64)),
)


@hookimpl
def background() -> list[BackgroundStage]:
    return [ATOMS, *STAGES]
