"""F by sin(theta)/wavelength as tables have it, and how strongly what the beam meets of a material scatters (BKG-1, BKG-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import ParameterError

if TYPE_CHECKING:
    from nbnumba.experiment.background import Material
    from nbnumba.experiment.beam import Beam
    from nbnumba.experiment.experiment import Experiment

THOMSON = 7.94079248018965e-30  # m^2, squared classical electron radius
AVOGADRO = 6.02214179e23  # nanoBragg's
FAR = np.array([1e98, 1e99])  # where a table goes on to


class Table(NamedTuple):
    """per_electron: m^2/sr of all molecules that the beam meets, for F = 1; stol (1/m), F (electrons): with two far entries at each end."""

    per_electron: float
    stol: np.ndarray
    F: np.ndarray


def materials_of(name: str, experiment: Experiment) -> tuple[Material, ...]:
    """What a background stage scatters. Raises ParameterError if there is nothing of it."""
    if not (found := experiment.background.of(name)):
        raise ParameterError(
            "background.materials", f"have no {name!r}, which the background stage of that name asks for: --background {name}"
        )
    return found


def molecules(material: Material, beam: Beam, density: float, molar_mass: float) -> float:
    """How many the beam meets, of this density (kg/m^3) and molar mass (kg/mol) unless the material has its own."""
    return material.volume(beam) * (material.density or density) * AVOGADRO / (material.molar_mass or molar_mass)


def extended(stol: np.ndarray, F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table that goes on for ever, to either side with two entries far away that have the F of the last."""
    return np.concatenate([-FAR[::-1], stol, FAR]), np.concatenate([F[[0, 0]], F, F[[-1, -1]]])


def interpolated(p: Table, stol: np.ndarray) -> np.ndarray:
    """The cubic through four entries, the second of which is the last that is no greater than stol."""
    second = np.searchsorted(p.stol, stol, "right") - 1
    x, F = ([array[second + n] for n in (-1, 0, 1, 2)] for array in (p.stol, p.F))
    return cubic(x, F, stol)


def cubic(x: list[np.ndarray], y: list[np.ndarray], at: np.ndarray) -> np.ndarray:
    """Lagrange's polynomial through four points."""
    return np.asarray(sum(y[i] * np.prod([(at - x[j]) / (x[i] - x[j]) for j in range(4) if j != i], axis=0) for i in range(4)))


def scattered(p: Table, stol: np.ndarray) -> np.ndarray:
    """sign(F) F^2 of all molecules."""
    F = interpolated(p, stol)
    return np.asarray(p.per_electron * F * np.abs(F))


def knots(p: Table) -> np.ndarray:
    """The entries, and where F changes its sign between them."""
    return np.unique(np.concatenate([p.stol[2:-2], *(zeros(p, second) for second in range(1, len(p.stol) - 2))]))


def zeros(p: Table, second: int) -> np.ndarray:
    """Where the cubic is 0 between its second entry and the next."""
    four = slice(second - 1, second + 3)
    low, high = p.stol[second : second + 2]
    begin, width = (low, high - low) if abs(low) < FAR[0] > high else (p.stol[2], np.ptp(p.stol[2:-2]) or 1.0)
    at = begin + width * np.arange(4.0)
    roots = np.roots(np.polyfit(np.arange(4.0), cubic(list(p.stol[four]), list(p.F[four]), at), 3))
    found = begin + width * roots[np.isreal(roots)].real
    return np.asarray(found[(found > low) & (found < high)])
