"""Spectra in files: text, simtbx's .lam, HDF5, NXmx (EXP-90)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError, ParameterError
from nbnumba.experiment.divergence import Divergence
from nbnumba.experiment.spectrum import Spectra, Spectrum
from nbnumba.files.text import first_bytes, lines, number, read_text
from nbnumba.formats.hdf5 import Hdf5Error, Hdf5File, label
from nbnumba.formats.read import open_images

HDF5 = b"\x89HDF\r\n\x1a\n"
ENERGIES, WAVELENGTHS, WEIGHTS = "energies", "wavelengths", "weights"  # datasets of an HDF5 file that is no NXmx
IN_EV, IN_METRES = {"": 1.0, "ev": 1.0, "kev": 1e3}, {"": 1e-10, "angstrom": 1e-10, "a": 1e-10, "nm": 1e-9, "m": 1.0}
Array = NDArray[np.float64]


def read_spectrum(path: str | Path) -> Spectrum | Spectra:
    """Text of energy (eV) and weight, simtbx's .lam of wavelength (A) and weight, HDF5 or NXmx; several where shots differ.

    Raises InputFileError.
    """
    path = Path(path)
    try:
        if first_bytes(path, len(HDF5)) == HDF5:
            return of_hdf5(path)
        if path.suffix.lower() == ".lam":
            wavelengths, weights = columns(path, ("wavelength", "weight"), titled=True).T
            return Spectrum(wavelengths * 1e-10, weights)
        energies, weights = columns(path, ("energy", "weight")).T
        if slip := units.slip_in_energy(float(energies.min())):
            raise InputFileError(path, f"{slip}; a list of wavelengths in A has a name that ends in .lam")
        return Spectrum.from_energies(energies, weights)
    except ParameterError as error:
        raise InputFileError(path, str(error)) from None


def read_divergence(path: str | Path) -> Divergence:
    """Text of two angles in mrad, along the polarization and across it, and a weight. Raises InputFileError."""
    found = columns(Path(path), ("horizontal", "vertical", "weight"))
    try:
        return Divergence(found[:, :2] * 1e-3, found[:, 2])
    except ParameterError as error:
        raise InputFileError(path, str(error)) from None


def columns(path: Path, names: tuple[str, ...], titled: bool = False) -> Array:
    """Numbers (n, columns), separated by blanks, commas or semicolons; titled: whether the first line is one of names."""
    rows = []
    for row, line in enumerate(lines(read_text(path, comment="#")), 1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if words and not (titled and row == 1):
            rows.append(numbers(path, row, words, names))
    if not rows:
        raise InputFileError(path, f"holds no numbers; expected lines of {' '.join(names)}")
    return np.array(rows)


def numbers(path: Path, row: int, words: list[str], names: tuple[str, ...]) -> list[float]:
    """Those of a line. Raises InputFileError."""
    if len(words) != len(names):
        raise InputFileError(path, f"expected {' '.join(names)}, found {len(words)} columns", row)
    found = []
    for name, word in zip(names, words, strict=True):
        try:
            found.append(number(word))
        except ValueError:
            raise InputFileError(path, f"{name} = {word[:60]!r} is not a number", row) from None
        if not math.isfinite(found[-1]):
            raise InputFileError(path, f"{name} = {word[:60]} is not a finite number", row)
    return found


def of_hdf5(path: Path) -> Spectrum | Spectra:
    """Energies or wavelengths and weights at the top of a file, else those of the images of an NXmx file."""
    with Hdf5File(path) as file:
        try:
            found = of_datasets(path, file)
        except Hdf5Error as error:
            raise InputFileError(path, f"its spectrum cannot be read: {error}") from None
    return found or of_images(path)


def of_datasets(path: Path, file: Hdf5File) -> Spectrum | Spectra | None:
    """None of a file without weights at the top."""
    top = file.find("/")
    weights, energies, wavelengths = (file.numbers(top, name) for name in (WEIGHTS, ENERGIES, WAVELENGTHS))
    if weights is None:
        return None
    if (energies is None) == (wavelengths is None):
        raise InputFileError(path, f"has {WEIGHTS}, but not one of {ENERGIES} (eV) and {WAVELENGTHS} (A) beside it")
    if wavelengths is not None:
        return of_weights(wavelengths * unit_of(path, file, WAVELENGTHS, IN_METRES), weights)
    assert energies is not None
    if not (energies > 0.0).all():
        raise InputFileError(path, f"{ENERGIES} must be greater than 0")
    return of_weights(units.HC_EV_ANGSTROM * 1e-10 / (energies * unit_of(path, file, ENERGIES, IN_EV)), weights)


def of_weights(wavelengths: Array, weights: Array) -> Spectrum | Spectra:
    """One where there is one row."""
    return Spectrum(wavelengths, weights) if weights.ndim == 1 else Spectra(wavelengths, weights)


def unit_of(path: Path, file: Hdf5File, name: str, known: dict[str, float]) -> float:
    """What a dataset's numbers are to be multiplied by. Raises InputFileError."""
    stated = label(file.find(f"/{name}"), "units")
    if stated.lower() not in known:
        raise InputFileError(path, f"{name} are in {stated!r}; give them in {' or '.join(filter(None, known))}")
    return known[stated.lower()]


def of_images(path: Path) -> Spectrum | Spectra:
    """The spectra of an NXmx file's images."""
    with open_images(path) as stack:
        exposures = [stack.exposure(n) for n in range(1, len(stack) + 1)]
    found = [exposure.spectrum for exposure in exposures if exposure is not None and exposure.spectrum is not None]
    if len(found) < len(exposures) or not found:
        raise InputFileError(path, "has no spectrum of every image (incident_wavelength_weights); give -img for its wavelength")
    if all(one == found[0] for one in found):
        return found[0]
    return Spectra(*(as_rows([getattr(one, name) for one in found]) for name in (WAVELENGTHS, WEIGHTS)))


def as_rows(given: list[Any]) -> Array:
    return np.array(given, np.float64)
