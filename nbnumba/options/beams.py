"""What options say of the beam's spectrum and directions: a formula by its name and numbers, or a file (CLI-140, CLI-141)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nbnumba.errors import OptionError
from nbnumba.options.arguments import is_number
from nbnumba.options.named import is_formula
from nbnumba.options.table import BEAM_DIVERGENCE, SPECTRUM

if TYPE_CHECKING:
    from nbnumba.experiment.divergence import Divergence
    from nbnumba.experiment.spectrum import Sase, Spectra, Spectrum

PERCENT, FS, MRAD = 1e-2, 1e-15, 1e-3
SUFFIXES = ("%", "fs", "mrad")


class Formula(NamedTuple):
    """scales: from the units that are typed to SI, one for each number; least: how many have to be given."""

    form: str
    scales: tuple[float, ...]
    least: int
    made: Callable[..., Any]


def gaussian(wavelength: float, bandwidth: float) -> Spectrum:
    from nbnumba.experiment.spectrum import Spectrum

    return Spectrum.gaussian(wavelength, bandwidth)


def pink(wavelength: float, *widths: float) -> Spectrum:
    from nbnumba.experiment.spectrum import Spectrum

    return Spectrum.pink(wavelength, *widths)


def mono(wavelength: float, *bandwidth: float) -> Spectrum:
    from nbnumba.experiment.spectrum import Spectrum

    return Spectrum.monochromator(wavelength, *bandwidth)


def sase(wavelength: float, bandwidth: float, duration: float, jitter: float = 0.0) -> Sase:
    from nbnumba.experiment.spectrum import Sase

    return Sase(wavelength=wavelength, bandwidth=bandwidth, duration=duration, energy_jitter=jitter)


def gaussian_directions(horizontal: float, vertical: float | None = None) -> Divergence:
    from nbnumba.experiment.divergence import Divergence

    return Divergence.gaussian(horizontal, horizontal if vertical is None else vertical)


def slits(horizontal: float, vertical: float | None = None) -> Divergence:
    from nbnumba.experiment.divergence import Divergence

    return Divergence.top_hat(horizontal, horizontal if vertical is None else vertical)


SPECTRA = {
    "gaussian": Formula("gaussian:FWHM%", (PERCENT,), 1, gaussian),
    "pink": Formula("pink:WIDTH%[,EDGE%]", (PERCENT, PERCENT), 1, pink),
    "mono": Formula("mono[:FWHM%]", (PERCENT,), 0, mono),
    "sase": Formula("sase:FWHM%,DURATIONfs[,JITTER%]", (PERCENT, FS, PERCENT), 2, sase),
}
DIRECTIONS = {
    "gaussian": Formula("gaussian:FWHM[,FWHM]", (MRAD, MRAD), 1, gaussian_directions),
    "slits": Formula("slits:WIDTH[,WIDTH]", (MRAD, MRAD), 1, slits),
}


def spectrum_of(text: str, wavelength: float, option: str = SPECTRUM) -> Spectrum | Spectra | Sase:
    """Of a file, or of a formula about a wavelength in m. Raises OptionError, InputFileError, ParameterError."""
    if is_formula(text):
        formula, numbers = parsed(option, text, SPECTRA)
        found: Spectrum | Sase = formula.made(wavelength, *numbers)
        return found
    from nbnumba.formats.spectra import read_spectrum

    return read_spectrum(Path(text))


def divergence_of(text: str, option: str = BEAM_DIVERGENCE) -> Divergence:
    """The same of directions."""
    if is_formula(text):
        formula, numbers = parsed(option, text, DIRECTIONS)
        found: Divergence = formula.made(*numbers)
        return found
    from nbnumba.formats.spectra import read_divergence

    return read_divergence(Path(text))


def parsed(option: str, text: str, formulas: dict[str, Formula]) -> tuple[Formula, list[float]]:
    """A formula and its numbers in SI units."""
    name, _, rest = text.partition(":")
    forms = ", ".join(formula.form for formula in formulas.values())
    if name not in formulas:
        raise OptionError(f"{option} {text}: is not one of {forms}, or a file")
    formula, words = formulas[name], [bare(word) for word in rest.split(",")] if rest else []
    if not formula.least <= len(words) <= len(formula.scales) or not all(map(is_number, words)):
        raise OptionError(f"{option} {text}: must have the form {formula.form}")
    return formula, [float(word) * scale for word, scale in zip(words, formula.scales, strict=False)]


def bare(word: str) -> str:
    """A number without its unit."""
    for suffix in SUFFIXES:
        word = word.removesuffix(suffix)
    return word.strip()
