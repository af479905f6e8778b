"""Structure factor of the nearest reflection at the wavelength of each source (SF-52)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.kernel.lookup import row_of
from nbnumba.plugin import ParameterError, StructureFactor, WorkedValue, experiment_parameter, hookimpl
from nbnumba_plugins.structure_factor_nearest import table

if TYPE_CHECKING:
    from nbnumba.experiment.dispersion import ScatteringParts
    from nbnumba.experiment.experiment import Experiment

CHANNELS = 4096  # that the wavelengths of the sources are told apart by
MOST_NUMBERS = 2**32  # of the table, 32 GiB
TABLES: WeakKeyDictionary[StructureFactors, ByEnergy] = WeakKeyDictionary()


class ByEnergy(NamedTuple):
    """A dense table of complex parts of F, ``width`` numbers a reflection, with a border of default_F, and what parts count in a channel.

    The plain part counts 1. Row of (h, k, l): h * h_stride + k * k_stride + l + origin; channel: (wavelength - shortest) * per_length,
    0 to last.
    """

    parts: np.ndarray
    counts: np.ndarray
    width: int
    shortest: float
    per_length: float
    last: float
    h_low: float
    h_high: float
    k_low: float
    k_high: float
    l_low: float
    l_high: float
    h_stride: float
    k_stride: float
    origin: float


def prepare(experiment: Experiment) -> ByEnergy:
    """The same table for the same structure factors: images differ by the wavelengths of their sources alone."""
    factors, lengths = experiment.structure_factors, np.unique(experiment.source_list.wavelength)
    if factors not in TABLES:
        TABLES.clear()
        TABLES[factors] = dense(factors, factors.parts)
    shortest, step = float(lengths[0]), float(np.ptp(lengths)) / (CHANNELS - 1)
    coefficients = np.empty((len(lengths), 0), np.complex128) if factors.parts is None else factors.parts.coefficients(lengths)
    counts = counted(lengths, coefficients, shortest + step * np.arange(CHANNELS))
    return TABLES[factors]._replace(counts=counts, shortest=shortest, per_length=1.0 / step if step else 0.0)


def dense(factors: StructureFactors, parts: ScatteringParts | None) -> ByEnergy:
    """The table of all parts, of amplitudes alone where there are none, without channels; filled part by part."""
    hkl, F = (np.zeros((1, 3), np.int32), np.full(1, factors.default_F)) if factors.hkl is None else (factors.hkl, factors.F)
    of = table(hkl, np.arange(1.0, len(hkl) + 1.0), 0.0)
    rows, count = of.F.astype(np.int64), 1 if parts is None else 1 + len(parts.elements)
    if rows.size * 2 * count > MOST_NUMBERS:
        raise ParameterError("structure_factors.hkl", f"{rows.size:.1e} entries of {count} complex parts are too many; give -dmin")
    values = np.empty((rows.size, count), np.complex128)
    for n, listed in enumerate([F] if parts is None else parts.listed()):
        values[:, n] = np.concatenate([[0.0 if n else factors.default_F], listed])[rows]
    where = {name: getattr(of, name) for name in of._fields if name != "F"}
    return ByEnergy(values.view(np.float64).ravel(), np.zeros(2 * count), 2 * count, 0.0, 0.0, CHANNELS - 1.0, **where)


def counted(lengths: np.ndarray, coefficients: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """What parts count in each channel: as at the wavelength that is nearest to its middle."""
    nearest = np.searchsorted((lengths[1:] + lengths[:-1]) / 2, middles)
    return np.concatenate([np.ones((len(middles), 1)), coefficients[nearest]], axis=1).view(np.float64).ravel()


def by_energy(p, h, k, l, h0, k0, l0, wavelength, latched):
    """|F| of the reflection h0 k0 l0: the sum over its parts, as they count in the channel of the wavelength."""
    at = np.int64(row_of(p, h0, k0, l0)) * p.width
    channel = np.int64(min(p.last, max(0.0, (wavelength - p.shortest) * p.per_length)) + 0.5) * p.width
    real, imaginary = p.parts[at] * p.counts[channel], p.parts[at + 1] * p.counts[channel]
    for n in range(2, p.width, 2):
        real += p.parts[at + n] * p.counts[channel + n] - p.parts[at + n + 1] * p.counts[channel + n + 1]
        imaginary += p.parts[at + n] * p.counts[channel + n + 1] + p.parts[at + n + 1] * p.counts[channel + n]
    return math.sqrt(real * real + imaginary * imaginary)


def derivative(p, h, k, l, h0, k0, l0, wavelength, latched):
    """|F|, which does not vary with h, k, l but where the nearest reflection is another, nor with the wavelength within its channel."""
    return by_energy(p, h, k, l, h0, k0, l0, wavelength, latched), 0.0, 0.0, 0.0, 0.0


# 1 2 3 alone: 3 + 4i, and an atom of 2i; it counts 1 at 1 A, and 1 - 2i at 2 A: |3 + 6i|, |7 + 6i|.
PAIR = ByEnergy(
    np.array([7.0, 0.0, 0.0, 0.0] * 13 + [3.0, 4.0, 0.0, 2.0] + [7.0, 0.0, 0.0, 0.0] * 13),
    np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, -2.0]),
    4, 1e-10, 1e10, 1.0, 0.0, 2.0, 1.0, 3.0, 2.0, 4.0, 9.0, 3.0, -5.0,
)  # fmt: skip

STAGE = StructureFactor(
    name="nearest-by-energy",
    summary="amplitude of the nearest reflection at the wavelength of each source",
    prepare=prepare,
    function=by_energy,
    derivative=derivative,
    parameters=(experiment_parameter(StructureFactors, "default_F"),),
    looks_up_first=True,
    spec=("SF-52",),
    worked_values=(
        WorkedValue(PAIR, (1.2, 1.9, 3.1, 1.0, 2.0, 3.0, 1e-10, 0), math.sqrt(45.0)),
        WorkedValue(PAIR, (1.2, 1.9, 3.1, 1.0, 2.0, 3.0, 2e-10, 0), math.sqrt(85.0)),
        WorkedValue(PAIR, (0.0, 0.0, 2.0, 0.0, 0.0, 2.0, 1e-10, 0), 7.0),
        WorkedValue(PAIR, (1e6, 2.0, -1e6, 1e6, 2.0, -1e6, 1e-10, 0), 7.0),
    ),
)


@hookimpl
def structure_factor() -> list[StructureFactor]:
    return [STAGE]
