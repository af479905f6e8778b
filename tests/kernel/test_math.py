"""Error bounds of the kernel's mathematics, against 50-digit arithmetic where it matters."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from nbnumba.kernel.math import TINY, distance_to_nearest, exp, nearest, not_zero, sin_pi, sinc3


def exact_sin_pi(x: float) -> float:
    """sin(pi x) to double precision for |x| <= 1/2, by its series in exact fractions."""
    pi = Fraction(3141592653589793238462643383279502884197169399375105820974944592307816406286, 10**75)
    t = pi * Fraction(x)
    term, total = t, t
    for n in range(1, 22):
        term = -term * t * t / (2 * n * (2 * n + 1))
        term = Fraction(int(term * 2**200), 2**200)
        total += term
    return float(total)


@pytest.mark.spec("LAT-1")
def test_sin_pi_is_within_its_bound_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-0.5, 0.5, 2001), np.logspace(-300, -1, 200)])
    errors = [abs(sin_pi(v) / exact_sin_pi(v) - 1.0) for v in x if v]
    assert max(errors) <= 1e-15
    assert sin_pi(0.0) == 0.0


@pytest.mark.spec("LAT-3")
def test_sinc3_is_smooth_across_the_switch_to_its_series() -> None:
    for t in np.concatenate([np.linspace(0.05, 0.2, 500), [1e-300, 1e-8, 1e-3]]):
        exact = 1.0 - sum((-1) ** n * 3 * (2 * n + 2) * t ** (2 * n) / math.factorial(2 * n + 3) * -1 for n in range(1, 9))
        assert sinc3(t) == pytest.approx(exact, rel=1e-12)
    assert sinc3(0.0) == 1.0
    assert sinc3(math.pi) == pytest.approx(3.0 / math.pi**2, rel=1e-14)


@pytest.mark.spec("LAT-4", "GEO-6")
def test_exp_is_within_its_bound_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-708.0, 709.0, 20001), np.linspace(-2.0, 2.0, 4001), -np.logspace(-300, 0, 50)])
    worst = max(abs(Fraction(exp(v)) / Fraction(math.exp(v)) - 1) for v in x.tolist())
    assert worst <= 6e-16  # 4e-16 and what math.exp itself is off
    assert exp(-746.0) == exp(-1e300) == 0.0
    assert exp(0.0) == 1.0
    assert exp(1e300) == exp(709.0)


@pytest.mark.parametrize(("x", "integer"), [(0.5, 0), (-0.5, -1), (1.5, 1), (0.51, 1), (-0.49, 0), (2.0, 2)])
def test_nearest_takes_the_lower_integer_at_a_tie(x: float, integer: int) -> None:
    assert nearest(x) == integer


def test_offsets() -> None:
    assert distance_to_nearest(7.25) == 0.25
    assert distance_to_nearest(-7.25) == -0.25
    assert not_zero(0.0) == TINY
    assert not_zero(-0.25) == 0.25
