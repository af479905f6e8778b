"""What free atoms scatter, electrons^2: coherently f^2, incoherently S, and the recoil that goes with that (BKG-4, BKG-5).

f: gemmi's coefficients (International Tables C, 6.1.1.4). S of H, C, N and O: sums of a (1 - exp(-b s^2)), H. H. M. Balyuzi, Acta
Cryst. A31, 600 (1975), which give the incoherent cross sections of N and O in xraydb (W. T. Elam et al., Radiat. Phys. Chem. 63, 121
(2002)) to 0.5 % from 6 to 40 keV, those of C to 5 %. S of He: 2 - f^2 / 2, for two electrons of one orbital (I. Waller and D. R. Hartree,
Proc. R. Soc. A124, 119 (1929)). S of all others: Z (1 - (1 + (s/b)^2)^-p), with the b and p that fit these cross sections from 6 to 80 keV,
to 3 %.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from nbnumba.plugin import ParameterError

BALYUZI = {
    "H": ((0.2623, 32.3717), (0.5094, 14.7084), (0.2034, 6.6884), (0.0249, 2.4843)),
    "C": ((0.7568, 82.2385), (2.5511, 31.7282), (0.7051, 11.9471), (1.4605, 1.4637), (0.5263, 0.5150)),
    "N": ((0.9070, 64.1555), (2.8972, 20.8507), (1.1659, 7.7576), (1.5526, 1.0335), (0.4769, 0.3516)),
    "O": ((0.8847, 52.0063), (3.2189, 16.4487), (1.7990, 6.5958), (1.5538, 0.8143), (0.5434, 0.2815)),
}
# b in 1/A, and p.
FITTED = {
    "B": (0.1770, 0.7037), "Na": (0.2878, 0.7194), "Si": (0.2456, 0.5674), "S": (0.2275, 0.5100), "Cl": (0.2225, 0.4920),
    "Ar": (0.2253, 0.4859),
}  # fmt: skip
ENERGIES = (6e3, 8e3, 12.4e3, 20e3, 40e3, 80e3)  # eV
COMPTON = 2.4263102e-12  # m, wavelength of the electron
HC = 1.2398420e-6  # eV m


def f0(name: str, stol: np.ndarray) -> np.ndarray:
    """Form factor in electrons, at sin(theta)/wavelength in 1/A."""
    known = coefficients(name)
    return np.asarray(sum(a * np.exp(-b * stol**2) for a, b in zip(known.a, known.b, strict=True)) + known.c)


def coefficients(name: str) -> Any:
    """Those of gemmi."""
    return element(name).it92


def element(name: str) -> Any:
    """Of gemmi. Raises ParameterError for what is no element."""
    import gemmi

    found = gemmi.Element(name)
    if found.atomic_number == 0 or found.it92 is None:
        raise ParameterError("material.formula", f"{name} is no element whose form factor is known")
    return found


def incoherent(name: str, stol: np.ndarray) -> np.ndarray:
    """Incoherent scattering function S, at sin(theta)/wavelength in 1/A."""
    if name in BALYUZI:
        return np.asarray(sum(a * -np.expm1(-b * stol**2) for a, b in BALYUZI[name]))
    if name == "He":
        return np.asarray(2.0 - np.minimum(f0("He", stol), 2.0) ** 2 / 2.0)
    return two_numbers(name, stol, *(FITTED.get(name) or fitted(name)))


def two_numbers(name: str, stol: np.ndarray, width: float, power: float) -> np.ndarray:
    return np.asarray(element(name).atomic_number * (1.0 - (1.0 + (stol / width) ** 2) ** -power))


@cache
def fitted(name: str) -> tuple[float, float]:
    """b and p that have xraydb's incoherent cross sections. Raises ParameterError without xraydb."""
    try:
        import xraydb
    except ImportError:
        raise ParameterError("material.formula", f"what {name} scatters incoherently needs xraydb; pip install 'nbnumba[sensor]'") from None
    from scipy.optimize import least_squares

    mass = xraydb.atomic_mass(name) / 6.02214076e23
    known = [float(xraydb.incoherent_cross_section_elam(name, energy)) * mass * 1e-4 for energy in ENERGIES]

    def off(numbers: np.ndarray) -> list[float]:
        width, power = np.exp(numbers)
        return [cross_section(name, e, width, power) / there - 1.0 for e, there in zip(ENERGIES, known, strict=True)]

    width, power = np.exp(least_squares(off, np.log([0.3, 0.6])).x)
    return float(width), float(power)


def cross_section(name: str, energy: float, width: float | None = None, power: float = 0.0) -> float:
    """Incoherent, of an atom, in m^2: Klein's and Nishina's times S, over all directions; without a width with S as it is known."""
    two_theta, wavelength = np.linspace(0.0, np.pi, 2001), HC / energy
    sine = np.sin(0.5 * two_theta)
    stol = sine / wavelength * 1e-10
    S = incoherent(name, stol) if width is None else two_numbers(name, stol, width, power)
    unpolarized = 0.5 * (1.0 + np.cos(two_theta) ** 2) * recoil(sine / wavelength, wavelength)
    return float(7.94079e-30 * np.trapezoid(unpolarized * S * 2.0 * np.pi * np.sin(two_theta), two_theta))


def recoil(stol: np.ndarray, wavelength: float) -> np.ndarray:
    """Photons of an electron that is free to recoil over those of one that is not (Klein and Nishina over Thomson, unpolarised).

    P^2 (P + 1/P - sin^2(2 theta)) / (1 + cos^2(2 theta)), P = 1 / (1 + 2 sin^2(theta) lambda_C / lambda) what a photon keeps of its energy.
    """
    sine_squared = np.minimum((stol * wavelength) ** 2, 1.0)
    cosine_squared = (1.0 - 2.0 * sine_squared) ** 2
    P = 1.0 / (1.0 + 2.0 * sine_squared * COMPTON / wavelength)
    return np.asarray(P**2 * (P + 1.0 / P - 1.0 + cosine_squared) / (1.0 + cosine_squared))
