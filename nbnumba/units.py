"""Conversions between what people type and the metres and radians inside. Used at the edges only."""

from __future__ import annotations

import math

# 180 times the double nearest to 1/pi, as nanoBragg has it: phi angles have to come out equal to the last bit.
DEGREES_PER_RADIAN = 180.0 * 0.31830988618379067154

LEAST_EV = 100.0  # a wavelength of 124 A
HC_EV_ANGSTROM = 12398.42  # energy (eV) times wavelength (A), nanoBragg's value


def radians(degrees: float) -> float:
    return degrees / DEGREES_PER_RADIAN


def degrees(radians: float) -> float:
    return radians * DEGREES_PER_RADIAN


def metres_from_mm(mm: float) -> float:
    return mm / 1000.0


def metres_from_angstrom(angstrom: float) -> float:
    return angstrom / 1e10


def metres_from_um(um: float) -> float:
    return um * 1e-6


def radians_from_mrad(mrad: float) -> float:
    return mrad / 1000.0


def fraction_from_percent(percent: float) -> float:
    return percent / 100.0


def kg_per_m3_from_g_per_cm3(density: float) -> float:
    return density * 1000.0


def kg_from_g(g: float) -> float:
    return g / 1000.0


def wavelength_from_energy(energy_eV: float) -> float:
    """Wavelength in m of photons of the given energy; infinite for zero."""
    return metres_from_angstrom(HC_EV_ANGSTROM / energy_eV) if energy_eV else math.inf


def energy_from_wavelength(wavelength: float) -> float:
    """Energy in eV of photons with the given wavelength in m."""
    return HC_EV_ANGSTROM / (wavelength * 1e10)


def slip_in_energy(energy_eV: float) -> str:
    """What is likely wrong with a photon energy, in words, where it is too small for any crystal; empty elsewhere."""
    if energy_eV >= LEAST_EV:
        return ""
    wavelength = wavelength_from_energy(energy_eV) * 1e10
    return f"{energy_eV:g} eV is a wavelength of {wavelength:.4g} A; for {energy_eV:g} keV give {energy_eV * 1000.0:.6g} eV"
