"""Structure factor of the nearest reflection (SF-1, SF-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.kernel.lookup import row_of
from nbnumba.plugin import ParameterError, StructureFactor, WorkedValue, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

MOST_ENTRIES = 2**31  # of the table, 16 GiB


MOST_TABLES = 2  # kept
TABLES: WeakKeyDictionary[StructureFactors, tuple[float, Nearest]] = WeakKeyDictionary()  # each with the wavelength that it is for, if any


class Nearest(NamedTuple):
    """A dense table of F with a border of default_F, flat; an index is clamped onto the border.

    Row of (h, k, l): h * h_stride + k * k_stride + l + origin.
    """

    F: np.ndarray
    h_low: float
    h_high: float
    k_low: float
    k_high: float
    l_low: float
    l_high: float
    h_stride: float
    k_stride: float
    origin: float


def table(hkl: np.ndarray, F: np.ndarray, default_F: float) -> Nearest:
    """The table of (n, 3) indices and (n,) amplitudes."""
    low, high = hkl.min(axis=0).astype(np.int64) - 1, hkl.max(axis=0).astype(np.int64) + 1
    shape = high - low + 1
    if shape[0] * shape[1] * shape[2] > MOST_ENTRIES or shape.max() > MOST_ENTRIES:
        raise ParameterError(
            "structure_factors.hkl",
            f"indices from {tuple(map(int, low + 1))} to {tuple(map(int, high - 1))} need a table of more than {MOST_ENTRIES} "
            "entries; leave out the reflections far from the others",
        )
    dense = np.full(shape, default_F)
    dense[tuple((hkl - low).T)] = F
    h_stride, k_stride = float(shape[1] * shape[2]), float(shape[2])
    (h_low, k_low, l_low), (h_high, k_high, l_high) = low.astype(float).tolist(), high.astype(float).tolist()
    origin = -(h_low * h_stride + k_low * k_stride + l_low)
    return Nearest(dense.ravel(), h_low, h_high, k_low, k_high, l_low, l_high, h_stride, k_stride, origin)


def prepare(experiment: Experiment) -> Nearest:
    """The same table for the same structure factors: a series of images needs it once."""
    factors = experiment.structure_factors
    wavelength = 0.0 if factors.parts is None else experiment.beam.wavelength
    found = TABLES.get(factors)
    if found is None or found[0] != wavelength:
        if len(TABLES) >= MOST_TABLES:
            TABLES.clear()
        found = TABLES[factors] = wavelength, table_of(factors, experiment.amplitudes)
    return found[1]


def table_of(factors: StructureFactors, F: np.ndarray | None) -> Nearest:
    """The table of what is listed, with these amplitudes."""
    if factors.hkl is None or F is None:
        return table(np.zeros((1, 3), np.int32), np.array([factors.default_F]), factors.default_F)
    return table(factors.hkl, F, factors.default_F)


def nearest_F(p, h, k, l, h0, k0, l0, wavelength, latched):
    """F of the reflection h0 k0 l0."""
    return p.F[row_of(p, h0, k0, l0)]


def derivative(p, h, k, l, h0, k0, l0, wavelength, latched):
    """F, which does not vary with h, k, l or the wavelength, but where the nearest reflection is another, where there is no derivative."""
    return nearest_F(p, h, k, l, h0, k0, l0, wavelength, latched), 0.0, 0.0, 0.0, 0.0


def spread_nearest(p, h, k, l, h0, k0, l0, wavelength, latched, g, into):
    """Add g to the element of the table that is looked up."""
    into[row_of(p, h0, k0, l0)] += g


PAIR = table(np.array([[1, 2, 3], [-1, 0, 2]], np.int32), np.array([40.0, 50.0]), 7.0)

STAGE = StructureFactor(
    name="nearest",
    summary="amplitude of the nearest listed reflection",
    prepare=prepare,
    function=nearest_F,
    derivative=derivative,
    table="F",
    spread=spread_nearest,
    parameters=(experiment_parameter(StructureFactors, "default_F"),),
    spec=("SF-1", "SF-2"),
    worked_values=(
        WorkedValue(PAIR, (1.2, 1.9, 3.1, 1.0, 2.0, 3.0, 1e-10, 0), 40.0),
        WorkedValue(PAIR, (-1.2, 0.1, 2.1, -1.0, 0.0, 2.0, 1e-10, 0), 50.0),
        WorkedValue(PAIR, (0.0, 0.0, 2.0, 0.0, 0.0, 2.0, 1e-10, 0), 7.0),
        WorkedValue(PAIR, (1e6, 2.0, -1e6, 1e6, 2.0, -1e6, 1e-10, 0), 7.0),
        WorkedValue(PAIR, (np.nan,) * 6 + (1e-10, 0), 7.0),
    ),
)


@hookimpl
def structure_factor() -> list[StructureFactor]:
    return [STAGE]
