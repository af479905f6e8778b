"""Handing out work: each thread takes the next piece when it is done with one, so that a busy core slows nobody else."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def claim(typing_context: Any, counter: Any) -> Any:
    """Add 1 to ``counter`` (int64, one element), which all threads share, and return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate
