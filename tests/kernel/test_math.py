"""Error bounds of the kernel's mathematics over its whole range, against exact fractions and 40-digit arithmetic, in both precisions."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest

from nbnumba.kernel import math_float32 as single
from nbnumba.kernel.cpu.device import device_function
from nbnumba.kernel.math import TIE, TINY, distance_to_nearest, double, exp, multiple, nearest, not_zero, sin_pi, sinc3_pi, working

getcontext().prec = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def sin_series(t: Decimal, first: int) -> Decimal:
    """sin t (first = 1) or cos t (first = 0) by its series."""
    term, total = (t if first else Decimal(1)), Decimal(0)
    for n in range(first, 100, 2):
        total += term
        term = -term * t * t / ((n + 1) * (n + 2))
    return total


def exact_sin_pi(x: float) -> Decimal:
    return sin_series(PI * Decimal(x), 1)


def exact_sinc3(r: float) -> Decimal:
    """3 (sin x - x cos x) / x^3 at x = pi r, its even terms summed without cancellation."""
    x = PI * Decimal(r)
    if r < 1.0:
        # 3 (sin x - x cos x) / x^3 = sum (-1)^(n+1) 6 n x^(2n-2) / (2n+1)!
        total, power = Decimal(0), Decimal(1)
        for n in range(1, 30):
            total += (-1) ** (n + 1) * 6 * n * power / math.factorial(2 * n + 1)
            power *= x * x
        return total
    turns = Decimal(round(r))
    t = PI * (Decimal(r) - turns)
    sign = -1 if int(turns) % 2 else 1
    return 3 * sign * (sin_series(t, 1) - x * sin_series(t, 0)) / x**3


OFFSETS = np.concatenate([np.linspace(-0.5, 0.5, 1001), np.logspace(-30, -1, 100)])


@pytest.mark.spec("LAT-1")
@pytest.mark.parametrize(("function", "bound"), [(sin_pi, 7e-14), (single.sin_pi, 4e-7)])
def test_sin_pi_is_within_its_bound_over_its_whole_range(function, bound: float) -> None:
    errors = [abs(Decimal(float(function(x))) / exact_sin_pi(x) - 1) for x in OFFSETS.tolist() if x]
    assert max(errors) <= bound
    assert function(0.0) == 0.0


RADII = np.concatenate([np.linspace(0.0, 0.5, 400), np.linspace(0.5, 8.0, 1000), np.linspace(500.0, 900.0, 300), [1e-300, 1e-8, 1.4303]])


@pytest.mark.spec("LAT-3")
@pytest.mark.parametrize(("function", "inside", "outside"), [(sinc3_pi, 2e-13, 1e-12), (single.sinc3_pi, 2e-6, 4e-7)])
def test_sinc3_is_within_its_bound_over_its_whole_range(function, inside: float, outside: float) -> None:
    for r in RADII.tolist():
        exact, found = exact_sinc3(r), Decimal(float(function(r)))
        error = abs(abs(found) - abs(exact))
        assert error <= (Decimal(inside) * abs(exact) if r <= 0.5 else Decimal(outside) / Decimal(r) ** 2), r
    assert function(0.0) == pytest.approx(1.0, rel=inside)


@pytest.mark.spec("LAT-4", "GEO-6")
def test_exp_is_within_its_bound_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-708.0, 709.0, 20001), np.linspace(-2.0, 2.0, 4001), -np.logspace(-300, 0, 50)])
    worst = max(abs(Fraction(exp(v)) / Fraction(math.exp(v)) - 1) for v in x.tolist())
    assert worst <= 6e-16  # 4e-16 and what math.exp itself is off
    assert exp(-746.0) == exp(-1e300) == 0.0
    assert exp(0.0) == 1.0
    assert exp(1e300) == exp(709.0)


@pytest.mark.spec("LAT-4")
def test_exp_in_float32_is_within_its_bound_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-87.0, 88.0, 20001), np.linspace(-2.0, 2.0, 4001)]).astype(np.float32)
    worst = max(abs(float(single.exp(v)) / math.exp(v) - 1.0) for v in x.tolist())
    assert worst <= 3e-7
    assert single.exp(-87.1) == single.exp(np.float32(-3e38)) == 0.0
    assert single.exp(np.float32(3e38)) == single.exp(88.0)


@pytest.mark.parametrize("function", list(single.INSTEAD.values()))
def test_what_stands_in_works_in_float32(function) -> None:
    arguments = (3.0, 0.25)[: function.__code__.co_argcount]
    if function is single.ratio:  # of what the others return
        arguments = np.float32(3.0), np.float32(0.25)
    result = function(*arguments)
    assert isinstance(result, np.floating | float)
    if function is not single.multiple:  # an argument of the next reduction
        assert result.dtype == np.float32


@pytest.mark.parametrize("function", [sin_pi, sinc3_pi, exp, single.sin_pi, single.sinc3_pi, single.exp])
def test_compiled_functions_are_those_of_python(function) -> None:
    compiled = device_function(function)
    bound = 1e-5 if function.__module__ == single.__name__ else 1e-12
    for x in np.random.default_rng(0).uniform(0.0, 0.5, 200).tolist():
        assert float(compiled(x)) == pytest.approx(float(function(x)), rel=bound)


@pytest.mark.parametrize(("x", "integer"), [(0.5, 0), (-0.5, -1), (1.5, 1), (0.51, 1), (-0.49, 0), (2.0, 2), (-1000.5, -1001)])
def test_nearest_takes_the_lower_integer_at_a_tie(x: float, integer: int) -> None:
    assert nearest(x - TIE) == integer
    assert single.nearest(x - single.TIE) == integer


@pytest.mark.spec("LAT-2")
def test_offsets() -> None:
    assert distance_to_nearest(7.25) == 0.25
    assert distance_to_nearest(-7.25) == -0.25
    assert not_zero(0.0) == TINY
    assert not_zero(-0.25) == -0.25
    assert multiple(5.0, 0.0) / not_zero(0.0) == 5.0
    assert multiple(5.0, 0.2) == 1.0
    assert single.multiple(5.0, 0.0) / float(single.not_zero(0.0)) == pytest.approx(5.0, rel=1e-7)
    assert float(single.not_zero(0.0)) ** 3 > np.finfo(np.float32).tiny


def test_precisions() -> None:
    assert working(0.1) == 0.1
    assert single.working(0.1) == np.float32(0.1)
    assert double(np.float32(2.0)).dtype == np.float64
