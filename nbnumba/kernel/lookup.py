"""Sums over a block of a table: the plain function, and the form with short vectors that stands in for it on the CPU."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def sum_of_64(table, row, h_stride, k_stride, u0, u1, u2, u3, v0, v1, v2, v3, w0, w1, w2, w3):
    """Sum of u_a v_b w_c table[row + a h_stride + b k_stride + c] over a, b, c = 0..3."""
    return (
        u0 * sum_of_16(table, row, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
        + u1 * sum_of_16(table, row + h_stride, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
        + u2 * sum_of_16(table, row + 2 * h_stride, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
        + u3 * sum_of_16(table, row + 3 * h_stride, k_stride, v0, v1, v2, v3, w0, w1, w2, w3)
    )


def sum_of_16(table, row, k_stride, v0, v1, v2, v3, w0, w1, w2, w3):
    """Sum of v_b w_c table[row + b k_stride + c] over b, c = 0..3."""
    return (
        v0 * sum_of_4(table, row, w0, w1, w2, w3)
        + v1 * sum_of_4(table, row + k_stride, w0, w1, w2, w3)
        + v2 * sum_of_4(table, row + 2 * k_stride, w0, w1, w2, w3)
        + v3 * sum_of_4(table, row + 3 * k_stride, w0, w1, w2, w3)
    )


def sum_of_4(table, row, w0, w1, w2, w3):
    """Sum of w_c table[row + c] over c = 0..3."""
    return w0 * table[row] + w1 * table[row + 1] + w2 * table[row + 2] + w3 * table[row + 3]


@intrinsic
def sum_of_64_by_fours(typing_context, table, row, h_stride, k_stride, u0, u1, u2, u3, v0, v1, v2, v3, w0, w1, w2, w3):  # type: ignore[no-untyped-def]
    """sum_of_64, four neighbours of a row at a time."""
    weight = table.dtype
    signature = weight(table, types.int64, types.int64, types.int64, *[weight] * 12)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        row, h_stride, k_stride, *weights = arguments[1:]
        u, v, w = weights[:4], weights[4:8], weights[8:]
        four = ir.VectorType(weights[0].type, 4)
        integer = ir.IntType(32)

        def vector(numbers: list[Any]) -> Any:
            made = ir.Constant(four, ir.Undefined)
            for place, number in enumerate(numbers):
                made = builder.insert_element(made, number, ir.Constant(integer, place))
            return made

        total = ir.Constant(four, [0.0] * 4)
        for a in range(4):
            for b in range(4):
                offset = builder.add(row, builder.add(builder.mul(h_stride, h_stride.type(a)), builder.mul(k_stride, k_stride.type(b))))
                place = builder.bitcast(builder.gep(array.data, [offset]), four.as_pointer())
                values = builder.load(place, align=context.get_abi_sizeof(weights[0].type))
                product = builder.fmul(u[a], v[b])
                total = builder.fadd(total, builder.fmul(values, vector([product] * 4), flags=["contract"]), flags=["contract"])
        terms = builder.fmul(total, vector(w))
        parts = [builder.extract_element(terms, ir.Constant(integer, place)) for place in range(4)]
        return builder.fadd(builder.fadd(parts[0], parts[1]), builder.fadd(parts[2], parts[3]))

    return signature, generate
