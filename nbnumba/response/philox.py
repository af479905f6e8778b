"""Philox-4x64-10, numpy's generator of that name as a function: random numbers by their place in the stream, in any order.

Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC'11, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ROUNDS = 10
M0, M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)  # what the first and the third word are multiplied by
W0, W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)  # what is added to the key after each round
ONE = np.uint64(1)


@intrinsic
def high(typing_context: Any, a: Any, b: Any) -> Any:
    """The upper 64 of the 128 bits of a product."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


def four_numbers(fours, stream, k0, k1):
    """Those after ``4 fours`` others of a stream (the last word of the counter) with a key (k0, k1); all are uint64."""
    c0, c1, c2, c3 = fours + ONE, ONE - ONE, ONE - ONE, stream
    for _ in range(ROUNDS):
        c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3


def eight_numbers(fours, stream, k0, k1):
    """Those and the four after them, which a processor works out at the same time."""
    c0, c1, c2, c3 = fours + ONE, ONE - ONE, ONE - ONE, stream
    d0, d1, d2, d3 = fours + ONE + ONE, ONE - ONE, ONE - ONE, stream
    for _ in range(ROUNDS):
        c0, c1, c2, c3 = one_round(c0, c1, c2, c3, k0, k1)
        d0, d1, d2, d3 = one_round(d0, d1, d2, d3, k0, k1)
        k0, k1 = k0 + W0, k1 + W1
    return c0, c1, c2, c3, d0, d1, d2, d3


def one_round(c0, c1, c2, c3, k0, k1):
    """Of the counter's words and a key."""
    return high(M1, c2) ^ c1 ^ k0, M1 * c2, high(M0, c0) ^ c3 ^ k1, M0 * c0
