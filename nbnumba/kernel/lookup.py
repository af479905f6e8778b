"""Lookup and interpolation in a flat table: the plain functions, and the form with short vectors that stands in for one on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nbnumba.kernel.math import working

# What is known to be below 2^31 is gathered by offsets of 32 bits instead of 64.
LARGEST_ROW = np.uint32(0x7FFFFFFF)


def row_of(p, h, k, l):
    """Row of the reflection h k l in a dense table, of the border for one that is off it or is not a number.

    p: h_low, h_high etc., the least and the greatest index along each axis; row: h * h_stride + k * k_stride + l + origin.
    """
    row = min(p.h_high, max(p.h_low, h)) * p.h_stride
    row += min(p.k_high, max(p.k_low, k)) * p.k_stride + (min(p.l_high, max(p.l_low, l)) + p.origin)
    return np.uint32(np.uint32(row) & LARGEST_ROW)


def cubic(u):
    """Weights of the values at -1, 0, 1, 2 in Lagrange's cubic at u."""
    sixth, half, one, two = working(1.0 / 6.0), working(0.5), working(1.0), working(2.0)
    return (
        -u * (u - one) * (u - two) * sixth,
        (u + one) * (u - one) * (u - two) * half,
        -(u + one) * u * (u - two) * half,
        (u + one) * u * (u - one) * sixth,
    )


# The same by powers of u, from the highest.
POWERS = (
    (-1.0 / 6.0, 1.0 / 2.0, -1.0 / 2.0, 1.0 / 6.0),
    (1.0 / 2.0, -1.0, 1.0 / 2.0, 0.0),
    (-1.0 / 3.0, -1.0 / 2.0, 1.0, -1.0 / 6.0),
    (0.0, 1.0, 0.0, 0.0),
)


def tricubic_in_table(table, row, h_stride, k_stride, u, v, w):
    """The product of Lagrange's cubics at u, v and w through the block of 4 x 4 x 4 values whose first is at ``row``."""
    return weighted(table, row, h_stride, k_stride, cubic(u), cubic(v), cubic(w))


def slopes(u):
    """The derivatives of the weights of cubic(u)."""
    sixth, half, two, three = working(1.0 / 6.0), working(0.5), working(2.0), working(3.0)
    return (
        -(three * u * u - working(6.0) * u + two) * sixth,
        (three * u * u - working(4.0) * u - working(1.0)) * half,
        -(three * u * u - two * u - two) * half,
        (three * u * u - working(1.0)) * sixth,
    )


def tricubic_slopes_in_table(table, row, h_stride, k_stride, u, v, w):
    """tricubic_in_table, and its derivatives by u, v and w."""
    by_u, by_v, by_w = cubic(u), cubic(v), cubic(w)
    return (
        weighted(table, row, h_stride, k_stride, by_u, by_v, by_w),
        weighted(table, row, h_stride, k_stride, slopes(u), by_v, by_w),
        weighted(table, row, h_stride, k_stride, by_u, slopes(v), by_w),
        weighted(table, row, h_stride, k_stride, by_u, by_v, slopes(w)),
    )


def spread_tricubic(table, row, h_stride, k_stride, u, v, w, g):
    """The transpose of tricubic_in_table: g times the weights of the 4 x 4 x 4 values is added to them."""
    by_u, by_v, by_w = cubic(u), cubic(v), cubic(w)
    for a in range(4):
        for b in range(4):
            for c in range(4):
                table[row + a * h_stride + b * k_stride + c] += g * by_u[a] * by_v[b] * by_w[c]


def weighted(table, row, h_stride, k_stride, by_u, by_v, by_w):
    """The sum of the 4 x 4 x 4 values with these weights along each axis."""
    u0, u1, u2, u3 = by_u
    v0, v1, v2, v3 = by_v
    w0, w1, w2, w3 = by_w
    return (
        u0 * bicubic(table, row, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
        + u1 * bicubic(table, row + h_stride, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
        + u2 * bicubic(table, row + 2 * h_stride, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
        + u3 * bicubic(table, row + 3 * h_stride, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
    )


def bicubic(table, row, k_stride, v0, v1, v2, v3, w0, w1, w2, w3):
    return (
        v0 * dot_4(table, row, w0, w1, w2, w3)
        + v1 * dot_4(table, row + k_stride, w0, w1, w2, w3)
        + v2 * dot_4(table, row + 2 * k_stride, w0, w1, w2, w3)
        + v3 * dot_4(table, row + 3 * k_stride, w0, w1, w2, w3)
    )


def dot_4(table, row, w0, w1, w2, w3):
    return w0 * table[row] + w1 * table[row + 1] + w2 * table[row + 2] + w3 * table[row + 3]


@intrinsic
def tricubic_by_fours(typing_context, table, row, h_stride, k_stride, u, v, w):
    """tricubic_in_table, four neighbours of a row at a time."""
    number = table.dtype
    signature = number(table, types.int64, types.int64, types.int64, number, number, number)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        row, h_stride, k_stride, u, v, w = arguments[1:]
        four, index = ir.VectorType(u.type, 4), ir.IntType(32)

        def spread(value: Any) -> Any:
            alone = builder.insert_element(ir.Constant(four, ir.Undefined), value, index(0))
            return builder.shuffle_vector(alone, ir.Constant(four, ir.Undefined), ir.Constant(ir.VectorType(index, 4), [0] * 4))

        def multiply_add(a: Any, b: Any, c: Any) -> Any:
            return builder.fadd(builder.fmul(a, b, flags=["contract"]), c, flags=["contract"])

        def weights(value: Any) -> Any:
            power, result = spread(value), ir.Constant(four, list(POWERS[0]))
            for coefficients in POWERS[1:]:
                result = multiply_add(result, power, ir.Constant(four, list(coefficients)))
            return result

        def element(vector: Any, place: int) -> Any:
            return spread(builder.extract_element(vector, index(place)))

        along_h, along_k = weights(u), weights(v)
        total = ir.Constant(four, [0.0] * 4)
        for a in range(4):
            plane = ir.Constant(four, [0.0] * 4)
            for b in range(4):
                offset = builder.add(row, builder.add(builder.mul(h_stride, h_stride.type(a)), builder.mul(k_stride, k_stride.type(b))))
                values = builder.load(
                    builder.bitcast(builder.gep(array.data, [offset]), four.as_pointer()), align=context.get_abi_sizeof(u.type)
                )
                plane = multiply_add(values, element(along_k, b), plane)
            total = multiply_add(plane, element(along_h, a), total)
        terms = builder.fmul(total, weights(w))
        parts = [builder.extract_element(terms, index(place)) for place in range(4)]
        return builder.fadd(builder.fadd(parts[0], parts[1]), builder.fadd(parts[2], parts[3]))

    return signature, generate
