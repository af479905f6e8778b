"""Structure factors interpolated between reflections (SF-4, SF-5)."""

from __future__ import annotations

import math

import numpy as np

from nbnumba.experiment.structure_factors import StructureFactors
from nbnumba.kernel.lookup import spread_tricubic, tricubic_in_table, tricubic_slopes_in_table
from nbnumba.plugin import StructureFactor, WorkedValue, experiment_parameter, hookimpl, working
from nbnumba_plugins.structure_factor_nearest import nearest_F, prepare, spread_nearest, table


def off_table(p, h, k, l):
    """1 where one of the 64 reflections around h, k, l may lie outside the listed range, or an index is not a number."""
    # With & rather than ``and`` there are no branches, and half the time.
    h_inside = (h >= p.h_low + 3.0) & (h <= p.h_high - 3.0)
    k_inside = (k >= p.k_low + 3.0) & (k <= p.k_high - 3.0)
    l_inside = (l >= p.l_low + 3.0) & (l <= p.l_high - 3.0)
    return 0 if h_inside & k_inside & l_inside else 1


def interpolated(p, h, k, l):
    """The product of Lagrange's cubics along h, k and l through the 4 x 4 x 4 reflections around h, k, l."""
    h1, k1, l1 = math.floor(h), math.floor(k), math.floor(l)
    first = np.int64((h1 - 1.0) * p.h_stride + (k1 - 1.0) * p.k_stride + (l1 - 1.0) + p.origin)
    return tricubic_in_table(p.F, first, np.int64(p.h_stride), np.int64(p.k_stride), working(h - h1), working(k - k1), working(l - l1))


def tricubic(p, h, k, l, h0, k0, l0, wavelength, latched):
    """Interpolated where all 64 neighbours are listed, the nearest reflection elsewhere."""
    return nearest_F(p, h, k, l, h0, k0, l0, wavelength, 0) if off_table(p, h, k, l) else interpolated(p, h, k, l)


def tricubic_latch(p, h, k, l, h0, k0, l0, wavelength, latched):
    """Interpolated up to the first term of the image that leaves the table; the nearest reflection from there on.

    What is off the table before that has F_latt = 0 or is not rendered, and must only not be looked up there.
    """
    return nearest_F(p, h, k, l, h0, k0, l0, wavelength, 0) if latched or off_table(p, h, k, l) else interpolated(p, h, k, l)


def interpolated_slopes(p, h, k, l):
    """interpolated(), and its derivatives by h, k, l and the wavelength."""
    h1, k1, l1 = math.floor(h), math.floor(k), math.floor(l)
    first = np.int64((h1 - 1.0) * p.h_stride + (k1 - 1.0) * p.k_stride + (l1 - 1.0) + p.origin)
    found = tricubic_slopes_in_table(p.F, first, np.int64(p.h_stride), np.int64(p.k_stride), h - h1, k - k1, l - l1)
    return found[0], found[1], found[2], found[3], 0.0


def tricubic_derivative(p, h, k, l, h0, k0, l0, wavelength, latched):
    """The value, and its derivatives by h, k, l and the wavelength."""
    end = off_table(p, h, k, l)
    return (nearest_F(p, h, k, l, h0, k0, l0, wavelength, 0), 0.0, 0.0, 0.0, 0.0) if end else interpolated_slopes(p, h, k, l)


def tricubic_latch_derivative(p, h, k, l, h0, k0, l0, wavelength, latched):
    """The same; where interpolation ends does not vary."""
    end = latched or off_table(p, h, k, l)
    return (nearest_F(p, h, k, l, h0, k0, l0, wavelength, 0), 0.0, 0.0, 0.0, 0.0) if end else interpolated_slopes(p, h, k, l)


def spread_interpolated(p, h, k, l, g, into):
    """Add g times their weights to the 64 elements of the table that are interpolated between."""
    h1, k1, l1 = math.floor(h), math.floor(k), math.floor(l)
    first = np.int64((h1 - 1.0) * p.h_stride + (k1 - 1.0) * p.k_stride + (l1 - 1.0) + p.origin)
    spread_tricubic(into, first, np.int64(p.h_stride), np.int64(p.k_stride), h - h1, k - k1, l - l1, g)


def spread(p, h, k, l, h0, k0, l0, wavelength, latched, g, into):
    """The transpose of tricubic()."""
    if off_table(p, h, k, l):
        spread_nearest(p, h, k, l, h0, k0, l0, wavelength, latched, g, into)
    else:
        spread_interpolated(p, h, k, l, g, into)


def spread_latch(p, h, k, l, h0, k0, l0, wavelength, latched, g, into):
    """The transpose of tricubic_latch()."""
    if latched or off_table(p, h, k, l):
        spread_nearest(p, h, k, l, h0, k0, l0, wavelength, latched, g, into)
    else:
        spread_interpolated(p, h, k, l, g, into)


# F = h^3 + 10 k l^2 on -3..3: a cubic in each index, hence interpolated without error.
GRID = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
CUBIC = table(GRID, GRID[:, 0] ** 3 + 10.0 * GRID[:, 1] * GRID[:, 2] ** 2, default_F=7.0)

TRICUBIC = StructureFactor(
    name="tricubic",
    summary="amplitude interpolated between reflections; the nearest one where neighbours are not listed",
    prepare=prepare,
    function=tricubic,
    derivative=tricubic_derivative,
    table="F",
    spread=spread,
    parameters=(experiment_parameter(StructureFactors, "default_F"),),
    spec=("SF-4",),
    outside=off_table,
    looks_up_first=True,
    worked_values=(
        WorkedValue(CUBIC, (0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 1e-10, 0), 0.125 + 1.25),
        WorkedValue(CUBIC, (-0.25, 0.75, -0.5, 0.0, 1.0, 0.0, 1e-10, 0), -0.015625 + 1.875),
        WorkedValue(CUBIC, (2.25, 0.5, 0.5, 2.0, 0.0, 0.0, 1e-10, 0), 8.0),
        WorkedValue(CUBIC, (9.0, 0.0, 0.0, 9.0, 0.0, 0.0, 1e-10, 0), 7.0),
        WorkedValue(CUBIC, (np.nan,) * 6 + (1e-10, 0), 7.0),
    ),
)

TRICUBIC_LATCH = StructureFactor(
    name="tricubic-latch",
    summary="as nanoBragg: interpolated until a sample of the image leaves the table, the nearest reflection from then on",
    prepare=prepare,
    function=tricubic_latch,
    derivative=tricubic_latch_derivative,
    table="F",
    spread=spread_latch,
    parameters=(experiment_parameter(StructureFactors, "default_F"),),
    spec=("SF-5",),
    latch=off_table,
    looks_up_first=True,
    worked_values=(
        WorkedValue(CUBIC, (0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 1e-10, 0), 0.125 + 1.25),
        WorkedValue(CUBIC, (1.25, 0.5, 0.5, 1.0, 0.0, 0.0, 1e-10, 1), 1.0),
    ),
)


@hookimpl
def structure_factor() -> list[StructureFactor]:
    return [TRICUBIC, TRICUBIC_LATCH]
