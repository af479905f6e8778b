"""Amplitudes that depend on the wavelength: what atoms scatter besides, near the energies that they absorb (SF-50 to SF-53)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import ParameterError

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

LARGEST_Z = 92  # of gemmi's tables


@dataclass(frozen=True, eq=False)
class Dispersion:
    """f' and f'' of elements, by own tables, else Cromer and Liberman's.

    own: elements, each with (n, 3) energy in eV, ascending, f' and f'' in electrons.
    """

    own: tuple[tuple[str, Array], ...] = ()

    @property
    def elements(self) -> tuple[str, ...]:
        """Those that have a table of their own."""
        return tuple(element for element, _ in self.own)

    def of(self, element: str, wavelengths: Array) -> Complex:
        """f' + i f'' (n,) at wavelengths in m. Raises ParameterError."""
        energies = units.HC_EV_ANGSTROM / (wavelengths * 1e10)
        if element in self.elements:
            return interpolated(element, dict(self.own)[element], energies)
        import gemmi

        number = gemmi.Element(element).atomic_number
        if not 1 <= number <= LARGEST_Z:
            raise ParameterError("structure_factors.anomalous", f"Cromer and Liberman's tables are without {element}; give a table with it")
        found = [complex(*gemmi.cromer_liberman(number, energy)) for energy in energies.tolist()]
        return np.array(found, np.complex128)


def interpolated(element: str, table: Array, energies: Array) -> Complex:
    """Between the lines of a table. Raises ParameterError."""
    at, real, imaginary = table.T
    if not at[0] <= energies.min() or not energies.max() <= at[-1]:
        strange = energies.min() if energies.min() < at[0] else energies.max()
        raise ParameterError(
            "structure_factors.anomalous", f"{strange:.6g} eV is beyond the table of {element}, which is of {at[0]:g} to {at[-1]:g} eV"
        )
    return np.asarray(np.interp(energies, at, real) + 1j * np.interp(energies, at, imaginary))


@dataclass(frozen=True, eq=False)
class ScatteringParts:
    """What F is made of: F(h, E) = plain(h) + sum over elements of (f'(E) + i f''(E)) by_element(h).

    rows: (n,), of every reflection that is listed, 1 + its row in what follows, minus that for a mate -h, 0: F = 0. plain: (u,) without
    dispersion, by_element: (elements, u) of atoms that scatter as one electron at a point.
    """

    rows: NDArray[np.int32]
    plain: Complex
    by_element: Complex
    elements: tuple[str, ...]
    dispersion: Dispersion

    def coefficients(self, wavelengths: Array) -> Complex:
        """f' + i f'' of each element, (wavelengths, elements)."""
        return np.stack([self.dispersion.of(element, wavelengths) for element in self.elements], axis=1)

    def amplitudes(self, wavelength: float) -> Array:
        """|F| (n,) of the listed reflections."""
        if (known := KNOWN.get(self)) is not None and known[0] == wavelength:
            return known[1]
        (f,) = self.coefficients(np.array([wavelength]))
        real, imaginary = self.plain + f.real @ self.by_element, f.imag @ self.by_element
        own, mates = np.abs(real + 1j * imaginary), np.abs(np.conj(real) + 1j * np.conj(imaginary))
        found = np.concatenate([[0.0], own, mates[::-1]])[self.rows]
        found.setflags(write=False)
        KNOWN[self] = wavelength, found
        return found

    def listed(self) -> Iterator[Complex]:
        """plain, then each of by_element, (n,) of the listed reflections."""
        for part in (self.plain, *self.by_element):
            yield np.concatenate([[0.0], part, np.conj(part[::-1])])[self.rows]


KNOWN: WeakKeyDictionary[ScatteringParts, tuple[float, Array]] = WeakKeyDictionary()  # amplitudes, so that the same come again
