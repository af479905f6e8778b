"""Spectra: which wavelengths the beam has, and how much of its intensity each (EXP-80 to EXP-85)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import ParameterError
from nbnumba.experiment.by_value import ByValue
from nbnumba.experiment.part import POSITIVE, Limits, Part, described, quantity
from nbnumba.experiment.random_numbers import complex_normal

Array = NDArray[np.float64]

LENGTHS = Limits(1e-14, 1e-6)  # m
MOST_WAVELENGTHS = 1_000_000
FINE = 401  # energies of a spectrum that a formula gives
REACH = 4.0  # standard deviations from the middle of a Gaussian to where it ends
TAIL = 8.0  # half-widths of total reflection from the middle of a Darwin curve to where it ends
SIGMA = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))  # standard deviation of a Gaussian over its full width at half maximum
DARWIN = 3.0 / (2.0 * math.sqrt(2.0))  # full width at half maximum of a Darwin curve over that of its total reflection
HBAR = 6.582119569e-16  # eV s
PER_SPIKE = 20.0  # frequencies are 2 pi / (PER_SPIKE standard deviations of the pulse) apart: five to the width of a spike
MOST_FREQUENCIES = 2**22
RELATIVE = Limits(0.0, 1.0, open_low=True, open_high=True)


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(ByValue):
    """Wavelengths (n,) in m, and weights (n,), how much of the intensity each has on any scale; kept in ascending order of wavelength.

    >>> Spectrum((1e-10, 1.01e-10), (3.0, 1.0))
    Spectrum(wavelengths=<2 float64>, weights=<2 float64>)
    """

    wavelengths: Array
    weights: Array

    differs_by_shot: ClassVar[bool] = False

    def __post_init__(self) -> None:
        lengths, weights = (numbers(f"spectrum.{name}", getattr(self, name)) for name in ("wavelengths", "weights"))
        if lengths.shape != weights.shape or not 1 <= len(lengths) <= MOST_WAVELENGTHS:
            told = f"needs as many weights as wavelengths, 1 to {MOST_WAVELENGTHS}"
            raise ParameterError("spectrum.weights", f"{told}; got {weights.shape} and {lengths.shape}")
        if not ((lengths >= LENGTHS.low) & (lengths <= LENGTHS.high)).all():
            raise ParameterError("spectrum.wavelengths", f"must be between {LENGTHS.low:g} and {LENGTHS.high:g} m")
        if not (np.isfinite(weights) & (weights >= 0.0)).all() or not 0.0 < weights.sum() < math.inf:
            raise ParameterError("spectrum.weights", "must be finite and at least 0, and not all of them 0")
        order = np.argsort(lengths, kind="stable")
        for name, array in (("wavelengths", lengths[order]), ("weights", weights[order])):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def from_energies(cls, energies: Any, weights: Any) -> Spectrum:
        """Of photon energies in eV. Raises ParameterError."""
        given = numbers("spectrum.energies", energies)
        if not (given > 0.0).all():
            raise ParameterError("spectrum.energies", "must be greater than 0 eV")
        return cls(units.HC_EV_ANGSTROM / given / 1e10, weights)

    @classmethod
    def gaussian(cls, wavelength: float, bandwidth: float) -> Spectrum:
        """A Gaussian of energies about that of a wavelength in m; bandwidth: full width at half maximum over the energy (EXP-81)."""
        x = np.linspace(-REACH, REACH, FINE)
        return cls.about(wavelength, bandwidth, SIGMA * x, np.exp(-0.5 * x * x))

    @classmethod
    def pink(cls, wavelength: float, bandwidth: float, edge: float | None = None) -> Spectrum:
        """An undulator's harmonic: even in wavelength over a relative bandwidth from the given one on; edge: full width at half maximum of
        the Gaussian that blurs both ends, relative; default: a tenth of the bandwidth (EXP-82).
        """
        from scipy.special import ndtr

        checked("bandwidth", bandwidth, RELATIVE)
        sigma = SIGMA * checked("edge", bandwidth / 10.0 if edge is None else edge, RELATIVE)
        x = np.linspace(-REACH * sigma, bandwidth + REACH * sigma, FINE)
        return cls(checked("wavelength", wavelength, LENGTHS) * (1.0 + x), ndtr(x / sigma) - ndtr((x - bandwidth) / sigma))

    @classmethod
    def monochromator(cls, wavelength: float, bandwidth: float = 139.8e-6) -> Spectrum:
        """What a pair of parallel crystals lets through of a white beam; bandwidth: full width at half maximum of the Darwin curve of one,
        relative; default: that of Si(111) (EXP-83).
        """
        x = np.linspace(-TAIL, TAIL, FINE)
        outside = np.abs(x) > 1.0
        reflected = np.where(outside, (np.abs(x) - np.sqrt(np.where(outside, x * x - 1.0, 0.0))) ** 2, 1.0)
        return cls.about(wavelength, bandwidth, 0.5 * x / DARWIN, reflected * reflected)

    @classmethod
    def about(cls, wavelength: float, bandwidth: float, offsets: Array, weights: Array) -> Spectrum:
        """Of energies E (1 + bandwidth offset), E that of a wavelength."""
        steps = 1.0 + checked("bandwidth", bandwidth, RELATIVE) * offsets
        if not steps.min() > 0.0:
            raise ParameterError("spectrum.bandwidth", f"{bandwidth:g}: reaches to energies below 0; give a narrower one")
        return cls(checked("wavelength", wavelength, LENGTHS) / steps, weights)

    @property
    def energies(self) -> Array:
        """Photon energies in eV, in the order of the wavelengths."""
        return np.asarray(units.HC_EV_ANGSTROM / (self.wavelengths * 1e10))

    @property
    def mean(self) -> float:
        """The wavelength of the mean energy."""
        return float(self.weights.sum() / (self.weights / self.wavelengths).sum())

    @property
    def range(self) -> float:
        """From the least energy to the greatest, over the mean."""
        return float((1.0 / self.wavelengths[0] - 1.0 / self.wavelengths[-1]) * self.mean)

    def of_shot(self, shot: int, seed: int = 1) -> Spectrum:
        """All shots have the same."""
        return self

    def sampled(self, steps: int) -> Spectrum:
        """Strata of equal widths in energy, each as a wavelength with its weight; sum, mean and variance stay what they are (EXP-85).

        Between the middles of the gaps to its neighbours, the weight of each wavelength counts as spread evenly over energies.
        """
        wavenumbers, at = np.unique(1.0 / self.wavelengths, return_inverse=True)
        if len(wavenumbers) == 1:
            return self
        weights = np.bincount(at, self.weights)
        gaps = np.diff(wavenumbers)
        edges = np.concatenate([wavenumbers[:1] - gaps[:1] / 2, wavenumbers[:-1] + gaps / 2, wavenumbers[-1:] + gaps[-1:] / 2])
        bounds = np.linspace(edges[0], edges[-1], steps + 1)
        pieces = np.union1d(edges, bounds)
        share = np.diff(np.interp(pieces, edges, np.concatenate([[0.0], np.cumsum(weights)])))
        middles, widths = (pieces[1:] + pieces[:-1]) / 2, np.diff(pieces)
        strata, weight = as_strata(middles, share, np.searchsorted(bounds[1:-1], middles), steps, widths * widths / 12)
        return Spectrum(1.0 / np.where(np.isnan(strata), (bounds[1:] + bounds[:-1]) / 2, strata), weight)


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sase(Part):
    """Spikes of a free-electron laser that starts from noise, other ones in every shot (EXP-84).

    One of bandwidth and coherence time is given, and the other follows.
    """

    differs_by_shot: ClassVar[bool] = True

    wavelength: float = quantity(1e-10, "m", "wavelength of the mean energy over all shots", LENGTHS)
    bandwidth: float | None = quantity(None, "", "full width at half maximum of the gain, over the energy", RELATIVE)
    coherence_time: float | None = quantity(None, "s", "coherence time of the light that the gain lets through", POSITIVE)
    duration: float = quantity(30e-15, "s", "full width at half maximum of the pulse", POSITIVE)
    energy_jitter: float = quantity(0.0, "", "standard deviation of a shot's energy over the mean", Limits(0.0, 0.1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.bandwidth is None) == (self.coherence_time is None):
            raise ParameterError(self.where("bandwidth"), "bandwidth or coherence_time has to be given, and only one of them")
        if self._frequencies > MOST_FREQUENCIES:
            raise ParameterError(self.where("duration"), f"{self.duration:g} s: makes too many spikes; give a shorter pulse")

    @property
    def mean(self) -> float:
        """As of a Spectrum."""
        return self.wavelength

    @property
    def range(self) -> float:
        """The same."""
        return self._frequencies * self._step / self.frequency

    @property
    def frequency(self) -> float:
        """Angular frequency of the mean energy, rad/s."""
        return units.energy_from_wavelength(self.wavelength) / HBAR

    @property
    def gain_width(self) -> float:
        """Standard deviation of the gain's intensity, rad/s: sqrt(pi) / coherence time."""
        if self.bandwidth is not None:
            return self.bandwidth * self.frequency * SIGMA
        return math.sqrt(math.pi) / (self.coherence_time or math.inf)

    @property
    def pulse_width(self) -> float:
        """Standard deviation of the pulse's intensity, s."""
        return self.duration * SIGMA

    @property
    def modes(self) -> float:
        """M of the gamma distribution that pulse energies follow: mean^2 / variance."""
        return math.hypot(1.0, 2.0 * self.gain_width * self.pulse_width)

    @property
    def spike_width(self) -> float:
        """Full width at half maximum of the correlation of a shot's intensities, over the energy."""
        return 2.0 * math.sqrt(math.log(2.0)) / self.pulse_width / self.frequency

    @property
    def mean_width(self) -> float:
        """Full width at half maximum of the mean over shots, over the energy: the gain's, blurred by the pulse's."""
        return math.hypot(self.gain_width, 0.5 / self.pulse_width) / SIGMA / self.frequency

    @property
    def _step(self) -> float:
        """Between frequencies, rad/s."""
        return 2.0 * math.pi / (PER_SPIKE * self.pulse_width)

    @property
    def _frequencies(self) -> int:
        return 2 * math.ceil((5.0 * self.gain_width + 4.0 / self.pulse_width) / self._step)

    def of_shot(self, shot: int, seed: int = 1) -> Spectrum:
        """That of a shot, whose weights have a sum of 1 on average: complex noise, filtered by the gain and cut by the pulse in time."""
        n, step = self._frequencies, self._step
        noise = complex_normal(seed, shot, n + 1)
        offsets = step * (np.arange(n) - n // 2)
        times = 2.0 * math.pi / (n * step) * (np.arange(n) - n // 2)
        gain, pulse = (np.exp(-0.25 * (x / width) ** 2) for x, width in ((offsets, self.gain_width), (times, self.pulse_width)))
        in_time = np.fft.ifft(np.fft.ifftshift(gain * noise[:n])) * np.fft.ifftshift(pulse)
        intensity = np.abs(np.fft.fftshift(np.fft.fft(in_time))) ** 2
        centre = 1.0 + self.energy_jitter * math.sqrt(2.0) * noise[n].real
        energy = centre + offsets / self.frequency
        kept = energy > 0.0
        mean_sum = np.square(gain).sum() * np.square(pulse).sum() / n
        return Spectrum(self.wavelength / energy[kept], intensity[kept] / mean_sum)


@dataclass(frozen=True, eq=False, repr=False)
class Spectra(ByValue):
    """Measured shot by shot: wavelengths in m, (n,) or (shots, n), and weights (shots, n). The first shot is number 1, and 0 as well."""

    wavelengths: Array
    weights: Array

    differs_by_shot: ClassVar[bool] = True

    def __post_init__(self) -> None:
        try:
            weights = np.array(self.weights, np.float64)
            lengths = np.array(np.broadcast_to(np.array(self.wavelengths, np.float64), weights.shape))
        except (TypeError, ValueError, OverflowError):
            raise ParameterError("spectrum.weights", "needs wavelengths (n,) or (shots, n) and weights (shots, n)") from None
        if weights.ndim != 2:
            raise ParameterError("spectrum.weights", f"must be (shots, n), not {weights.shape}")
        dark = ~(np.isfinite(weights).all(axis=1) & (weights >= 0.0).all(axis=1) & (weights.sum(axis=1) > 0.0))
        if dark.any():
            shot = int(np.argmax(dark)) + 1
            raise ParameterError("spectrum.weights", f"of shot {shot}: must be finite and at least 0, and not all of them 0")
        for name, array in (("wavelengths", lengths), ("weights", weights)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def of_shot(self, shot: int, seed: int = 1) -> Spectrum:
        """That of a shot. Raises ParameterError."""
        if shot > len(self.weights):
            raise ParameterError("beam.shot", f"{shot}: the spectra are of {len(self.weights)} shots")
        return Spectrum(self.wavelengths[max(shot, 1) - 1], self.weights[max(shot, 1) - 1])

    @property
    def mean(self) -> float:
        """The wavelength of the mean energy of all shots."""
        return float(self.weights.sum() / (self.weights / self.wavelengths).sum())

    @property
    def range(self) -> float:
        """From the least energy of all shots to the greatest, over the mean."""
        return float((1.0 / self.wavelengths.min() - 1.0 / self.wavelengths.max()) * self.mean)


def numbers(where: str, given: Any) -> Array:
    """A list of numbers as an array of one axis. Raises ParameterError."""
    try:
        found = np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ParameterError(where, "must be a list of numbers") from None
    if found.ndim != 1:
        raise ParameterError(where, f"must be a list of numbers, not an array of shape {found.shape}")
    return found


def checked(name: str, value: float, limits: Limits) -> float:
    """A number of a formula within its limits. Raises ParameterError."""
    if problem := limits.problem(value):
        raise ParameterError(f"spectrum.{name}", f"{value:g}: {problem}")
    return value


def as_strata(values: Array, weights: Array, stratum: NDArray[np.int64], count: int, within: Array | float = 0.0) -> tuple[Array, Array]:
    """Mean value, NaN of one without weight, and weight of each stratum, stretched about the mean of all so that their variance stays.

    within: variance of what each value stands for.
    """
    total, moment = (np.asarray(np.bincount(stratum, of, count), np.float64) for of in (weights, weights * values))
    lit = total > 0.0
    found = np.full(count, np.nan)
    found[lit] = moment[lit] / total[lit]
    mean = np.average(found[lit], weights=total[lit])
    before, after = np.average((values - mean) ** 2 + within, weights=weights), np.average((found[lit] - mean) ** 2, weights=total[lit])
    return mean + (found - mean) * (math.sqrt(before / after) if after > 0.0 else 1.0), total
