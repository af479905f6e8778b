"""What stands in for functions of math.py and math_float32.py on the GPU, where they compile otherwise or hardware has something better."""

import numpy as np
from numba.cuda import libdevice

from nbnumba.kernel import lookup, math
from nbnumba.kernel import math_float32 as single
from nbnumba.kernel.math_float32 import BIAS, FRACTION_BITS

SHIFT = 6755399441055744.0  # 1.5 * 2^52: numbers as large as that are whole
SHIFT_SINGLE = np.float32(12582912.0)  # 1.5 * 2^23, likewise


def power_of_two(k):
    """2^k for a whole number k between -1022 and 1023."""
    return libdevice.longlong_as_double((np.int64(k) + 1023) << 52)


def power_of_two_single(k):
    """2^k for a whole number k between -126 and 127."""
    return libdevice.int_as_float((np.int32(k) + BIAS) << FRACTION_BITS)


def nearest_by_shift(x):
    """The integer nearest to x, where TIE was taken off x before; |x| < 2^51."""
    return (x + SHIFT) - SHIFT


def rint_single(x):
    """The integer nearest to x of float32; |x| < 2^22."""
    return (x + SHIFT_SINGLE) - SHIFT_SINGLE


def distance_by_shift(x):
    """x less the integer nearest to it, in [-1/2, 1/2]; |x| < 2^51."""
    return x - ((x + SHIFT) - SHIFT)


def ratio_single(a, b):
    """a / b in float32, within two units in the last place."""
    return libdevice.fast_fdividef(a, b)


def row_of(p, h, k, l):
    """Row of the reflection h k l in a dense table, worked out in integers."""
    h_row, k_row, l_row = clamped(h, p.h_low, p.h_high), clamped(k, p.k_low, p.k_high), clamped(l, p.l_low, p.l_high)
    return np.uint32(h_row * np.int32(p.h_stride) + k_row * np.int32(p.k_stride) + l_row)


def clamped(x, low, high):
    """Number of an index from the least one on."""
    return np.int32(min(max(libdevice.double2int_rn(x), np.int32(low)), np.int32(high)) - np.int32(low))


# Rounding and conversion of a float64 are slow, addition is not. With --dtype float64 additions are what there is too much of.
INSTEAD: dict[str, dict[object, object]] = {
    "float64": {math.power_of_two: power_of_two, lookup.row_of: row_of},
    "float32": {
        math.power_of_two: power_of_two,
        lookup.row_of: row_of,
        single.power_of_two: power_of_two_single,
        math.distance_to_nearest: distance_by_shift,
        single.nearest: nearest_by_shift,
        single.rint: rint_single,
        single.ratio: ratio_single,
    },
}
