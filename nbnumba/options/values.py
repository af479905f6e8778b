"""What options say that does not simply become the value of one field: fields by path, in SI units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbnumba import units
from nbnumba.errors import OptionError
from nbnumba.geometry.beamstop import Beamstop
from nbnumba.geometry.matrix import read_matrix
from nbnumba.geometry.source_table import read_sources
from nbnumba.options.arguments import ParsedOption, in_si, is_number, numbers
from nbnumba.options.beams import divergence_of
from nbnumba.options.named import is_file_name
from nbnumba.options.table import BEAM_DIVERGENCE, SPECTRUM

RANDOM = "random"  # misset angles


def matrix(given: ParsedOption) -> dict[str, Any]:
    return {given.option.field: read_matrix(given.values[0]), "crystal.reciprocal_matrix": None}


def cell(given: ParsedOption) -> dict[str, Any]:
    """Unit cell in m and rad; zeros for what is left out."""
    values = numbers(given)
    if min(values) < 0.0 or values[0] == 0.0 or max(values[3:], default=0.0) >= 180.0:
        raise OptionError(f"{given}: lengths (A) must be greater than 0, angles (deg) between 0 and 180")
    lengths = [units.metres_from_angstrom(value) for value in values[:3]]
    angles = [units.radians(value) for value in values[3:]]
    return {given.option.field: (*lengths, *[0.0] * (3 - len(lengths)), *angles, *[0.0] * (3 - len(angles)))}


def energy(given: ParsedOption) -> dict[str, Any]:
    """As a wavelength; energies that only a slip of a thousand explains are refused, a wavelength that long is -lambda's."""
    wavelength = in_si(given)[0]
    if slip := units.slip_in_energy(numbers(given)[0]):
        raise OptionError(f"{given}: {slip} (-lambda takes wavelengths of any length)")
    return {given.option.field: wavelength}


def solvent(given: ParsedOption) -> dict[str, Any]:
    """Density in electrons/m^3 and B in m^2."""
    values = numbers(given)
    if min(values) < 0.0:
        raise OptionError(f"{given}: density (e/A^3) and B (A^2) must be at least 0")
    names = ("structure_factors.solvent_density", "structure_factors.solvent_B")
    return dict(zip(names, (values[0] * 1e30, *(B * 1e-20 for B in values[1:])), strict=False))


def misset(given: ParsedOption) -> dict[str, Any]:
    if len(given.values) == 1 and given.values[0].startswith("rand"):
        return {given.option.field: RANDOM}
    if len(given.values) != 3 or not all(is_number(word) for word in given.values):
        raise OptionError(f"{given}: needs three angles in deg, or the word 'random'")
    return {given.option.field: tuple(in_si(given))}


def each_axis(given: ParsedOption) -> dict[str, Any]:
    return {given.option.field: tuple(in_si(given) * 3)}


def edges(given: ParsedOption) -> dict[str, Any]:
    """One for all three axes, or one for each."""
    values = in_si(given)
    if len(values) == 2 or min(values) == 0.0:
        raise OptionError(f"{given}: needs one edge, or three, greater than 0")
    return {given.option.field: tuple(values * (3 // len(values)))}


def beamstop(given: ParsedOption) -> Beamstop:
    """In m and rad."""
    values = numbers(given)
    if len(values) == 2 or not all(value > 0.0 for value in values[:2]):
        raise OptionError(
            f"{given}: needs a radius in mm, or radius and width of the arm in mm and its angle in deg; lengths greater than 0"
        )
    return Beamstop(*map(units.metres_from_mm, values[:2]), *map(units.radians, values[2:]))


def both_axes(given: ParsedOption) -> dict[str, Any]:
    section, _, name = given.option.field.partition(".")
    axes = ("fast", "slow") if section == "detector" else ("horizontal", "vertical")
    return {f"{section}.{axis}_{name}": in_si(given)[0] for axis in axes}


def attenuation(given: ParsedOption) -> dict[str, Any]:
    """An infinite depth (or 0) makes the sensor a surface again."""
    if "inf" in given.values[0].lower() or numbers(given) == [0.0]:
        return {given.option.field: 0.0, "detector.sensor_thickness": 0.0}
    if not numbers(given)[0] > 0.0:
        raise OptionError(f"{given}: must be greater than 0 um, or 'inf'")
    return {given.option.field: units.metres_from_um(numbers(given)[0])}


def psf_table(given: ParsedOption) -> dict[str, Any]:
    from nbnumba.formats.read import read_image

    return {given.option.field: read_image(given.values[0])}


def sources(given: ParsedOption) -> dict[str, Any]:
    table = read_sources(given.values[0])
    section = given.option.field.partition(".")[0]
    return {
        given.option.field: Path(given.values[0]),
        f"{section}.positions": table[:, :3],
        f"{section}.weights": table[:, 3],
        f"{section}.wavelengths": table[:, 4],
    }


def spectrum(given: ParsedOption) -> dict[str, Any]:
    """As it is typed, until the wavelength is settled that it may be about."""
    return {SPECTRUM: given.values[0]}


def divergence(given: ParsedOption) -> dict[str, Any]:
    """A formula is sampled as finely as spots need, unless more is said."""
    section = given.option.field.partition(".")[0]
    steps = {} if is_file_name(given.option.name, given.values[0]) else {f"{section}.divergence_steps": 0}
    return {given.option.field: divergence_of(given.values[0]), **steps}


SPECIAL = {
    "-mat": matrix,
    "-cell": cell,
    "-energy": energy,
    "--solvent": solvent,
    "-misset": misset,
    "-N": each_axis,
    "-xtalsize": each_axis,
    "--crystal-size": edges,
    "--block-size": edges,
    "-detpixels": both_axes,
    "-detsize": both_axes,
    "-divergence": both_axes,
    "-divsteps": both_axes,
    "-detector_abs": attenuation,
    "--psf-table": psf_table,
    "-sourcefile": sources,
    SPECTRUM: spectrum,
    BEAM_DIVERGENCE: divergence,
}
