"""Powder rings of hexagonal ice (BKG-8)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import BackgroundStage, Limits, Parameter, WorkedValue, hookimpl
from nbnumba_plugins.scattering_atoms import f0, incoherent, recoil
from nbnumba_plugins.scattering_table import THOMSON, materials_of, molecules

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

# Of ice Ih at 100 K: cell in A, K. Rottger et al., Acta Cryst. B50, 644 (1994); z of oxygen, A. Goto et al., J. Chem. Phys. 93, 1412
# (1990); its hydrogens half the time at 1 A from either oxygen.
A, C, Z, OH = 4.497, 7.321, 0.0622, 1.0
B = 1.5  # A^2, at about 100 K
DENSITY, MOLAR_MASS, IN_A_CELL = 933.0, 0.018015, 4.0  # kg/m^3, kg/mol, molecules
SMALLEST_D = 0.9  # A: rings of smaller spacings run into each other
KNOTS = np.arange(1, 241) * 1.25e8  # 1/m, of what is left without order
AROUND = np.arange(-8, 9) * 0.75  # standard deviations, between which a ring is a polynomial


class Ice(NamedTuple):
    """per_electron: m^2/sr of all molecules that the beam meets, for 1 electron^2; width: standard deviation of rings over their 1/d."""

    per_electron: float
    width: float


class Rings(NamedTuple):
    """1/d in 1/A of the rings, and electrons^2/A of a molecule that are in each, over a stretch of 1/d."""

    at: np.ndarray
    strength: np.ndarray


def prepare(experiment: Experiment) -> Ice:
    total = sum(molecules(one, experiment.beam, DENSITY, MOLAR_MASS) for one in materials_of("ice", experiment))
    return Ice(THOMSON * total, ICE.value_of("ice_ring_width", experiment.model.parameters))


def positions() -> tuple[np.ndarray, np.ndarray]:
    """Fractional coordinates of the oxygens of P6_3/mmc (4f), and of their half hydrogens, towards the four oxygens around each."""
    x, y = 1.0 / 3.0, 2.0 / 3.0
    oxygens = np.array([[x, y, Z], [-x, -y, Z + 0.5], [-x, -y, -Z], [x, y, 0.5 - Z]])
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    neighbours = (oxygens[:, np.newaxis] + shifts).reshape(-1, 3)
    hydrogens = []
    for oxygen in oxygens:
        away = (neighbours - oxygen) @ CELL
        distance = np.linalg.norm(away, axis=1)
        nearest = np.argsort(distance)[1:5]
        hydrogens += [oxygen + OH / distance[n] * (neighbours[n] - oxygen) for n in nearest]
    return oxygens, np.array(hydrogens)


CELL = np.array([[A, 0.0, 0.0], [-A / 2.0, A * np.sqrt(3.0) / 2.0, 0.0], [0.0, 0.0, C]])  # rows a, b, c in A


@cache
def rings() -> Rings:
    """Of a powder: sum over hkl of |F|^2 / V at |G| = 1/d, over the sphere 4 pi / d^2, for one of the molecules of a cell."""
    most = np.ceil(np.array([A, A, C]) / SMALLEST_D).astype(int)
    hkl = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in most], indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(hkl @ np.linalg.inv(CELL).T, axis=1)
    hkl, length = hkl[(length > 0.0) & (length < 1.0 / SMALLEST_D)], length[(length > 0.0) & (length < 1.0 / SMALLEST_D)]
    oxygens, hydrogens = positions()
    s = 0.5 * length
    F = f0("O", s) * waves(hkl, oxygens) + 0.5 * f0("H", s) * waves(hkl, hydrogens)
    strength = np.abs(F * np.exp(-B * s**2)) ** 2 / np.linalg.det(CELL) / (4.0 * np.pi * length**2) / IN_A_CELL
    at, which = np.unique(np.round(length, 9), return_inverse=True)
    together = np.bincount(which.reshape(-1), strength)
    return Rings(at[together > 1e-6], together[together > 1e-6])


def waves(hkl: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(2j * np.pi * hkl @ atoms.T).sum(axis=1))


def function(p: Ice, stol: np.ndarray, wavelength: float) -> np.ndarray:
    """Rings, what the motion of the atoms takes out of these, and what is scattered incoherently."""
    s = stol * 1e-10
    powder = sum(one * gaussian(2.0 * s, at, p.width * at) for at, one in zip(*rings(), strict=True))
    diffuse = -np.expm1(-2.0 * B * s**2) * (f0("O", s) ** 2 + 2.0 * f0("H", s) ** 2)
    compton = (incoherent("O", s) + 2.0 * incoherent("H", s)) * recoil(stol, wavelength)
    return np.asarray(p.per_electron * (powder + diffuse + compton))


def gaussian(x: np.ndarray, middle: float, width: float) -> np.ndarray:
    """Of area 1, as far as its knots reach."""
    t = (x - middle) / width
    return np.where(np.abs(t) < AROUND[-1], np.exp(-0.5 * t * t) / (width * np.sqrt(2.0 * np.pi)), 0.0)


def knots(p: Ice) -> np.ndarray:
    at = rings().at[:, np.newaxis]
    return np.unique(np.concatenate([KNOTS, (at * (1.0 + p.width * AROUND)).ravel() * 0.5e10]))


ICE = BackgroundStage(
    name="ice",
    summary="powder rings of hexagonal ice",
    prepare=prepare,
    function=function,
    knots=knots,
    parameters=(
        Parameter(
            "ice_ring_width", "", 0.002, "standard deviation of the rings of ice, relative", Limits(low=1e-5, high=0.1, open_low=True)
        ),
    ),
    spec=("BKG-1", "BKG-8"),
    worked_values=(WorkedValue(Ice(2.0, 0.002), (np.array([0.0]), 1e-10), np.array([0.0])),),
)


@hookimpl
def background() -> list[BackgroundStage]:
    return [ICE]
