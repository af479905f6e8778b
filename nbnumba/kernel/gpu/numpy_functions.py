"""numpy as stage functions find it on the GPU: functions of one number, which numba does not compile there under numpy's names."""

from __future__ import annotations

import math
from typing import Any

import numpy
from numba.cuda import libdevice

rint, ceil, floor, trunc, cbrt = libdevice.rint, libdevice.ceil, libdevice.floor, libdevice.trunc, libdevice.cbrt
sqrt, exp, expm1, log, log2, log10, log1p = math.sqrt, math.exp, math.expm1, math.log, math.log2, math.log10, math.log1p
sin, cos, tan, arcsin, arccos, arctan, arctan2 = math.sin, math.cos, math.tan, math.asin, math.acos, math.atan, math.atan2
sinh, cosh, tanh, arcsinh, arccosh, arctanh = math.sinh, math.cosh, math.tanh, math.asinh, math.acosh, math.atanh
copysign, hypot, power, fmod, fabs, isfinite = math.copysign, math.hypot, math.pow, math.fmod, math.fabs, math.isfinite
abs = absolute = abs


def __getattr__(name: str) -> Any:
    """Everything else as numpy has it."""
    return getattr(numpy, name)
