"""Scalar mathematics for stage functions: plain Python that vectorises when it is compiled.

``math.sin`` and ``math.exp`` stop vectorisation; these are polynomials of least greatest relative error, without branches. With
``--dtype float32`` their namesakes in math_float32.py stand in for them: arguments are reduced in float64, the rest is float32.
"""

import math

import numpy as np

# sin(pi x) / x = sum S_j x^(2j) on |x| <= 1/2, relative error 6.3e-14.
S0 = 3.141592653589597
S1 = -5.167712779977311
S2 = 2.5501640354193083
S3 = -0.599264425735473
S4 = 0.08214473211343667
S5 = -0.007363785021588997
S6 = 0.00044720028743222994

# For derivatives: sin(pi x) / (pi x) = sum R_j x^(2j), relative error 2.1e-11,
# and what the cosine lacks of that, (cos(pi x) - sin(pi x) / (pi x)) / x^2 = sum C_j x^(2j), relative error 3.9e-12.
R0 = 0.9999999999788497
R1 = -1.6449340611397447
R2 = 0.8117421707804018
R3 = -0.19074762273848278
R4 = 0.02611620561017229
R5 = -0.0022352245227150775
C0 = -3.289868133683712
C1 = 3.246969697597243
C2 = -1.1445107839017823
C3 = 0.20918008750374245
C4 = -0.02344027828388806
C5 = 0.0017085825020356589

# 3 (sin x - x cos x) / x^3 = sum B_j r^(2j) with x = pi r on |r| <= 1/2, relative error 1.1e-14.
B0 = 0.9999999999999899
B1 = -0.9869604401051119
B2 = 0.34788961059677495
B3 = -0.06358393574219973
B4 = 0.007131167734333698
B5 = -0.0005410344547151296
B6 = 2.861777462590058e-05

# exp(r) = sum E_j r^j on |r| <= ln(2) / 2, interpolated at Chebyshev nodes; relative error 1.7e-17. E_0 = E_1 = 1.
E2 = 0.5000000000000019
E3 = 0.1666666666666668
E4 = 0.0416666666664881
E5 = 0.008333333333319601
E6 = 0.0013888888952314775
E7 = 0.00019841269890047113
E8 = 2.4801485482328494e-05
E9 = 2.755724091857897e-06
E10 = 2.763263963904103e-07
E11 = 2.5110037605963777e-08
LOG2_E = 1.4426950408889634
LN2_HIGH = 0.693147180369123816490  # ln 2 in two parts; the first has so few bits that its product with an exponent is exact
LN2_LOW = 1.90821492927058770002e-10
EXP_LOWEST, EXP_HIGHEST, EXP_UNDERFLOW = -708.0, 709.0, -745.2

# Added to an offset, so that 0 / 0 does not stand at a lattice point; the product of three of them does not underflow.
TINY = 1e-90

TIE = 0.0  # taken off an index before nearest()
INSTEAD: dict[object, object] = {}  # function -> what stands in for it; see math_float32.py


def working(x):
    """x in the precision that lattice shapes and structure factors are worked out in: here float64, with --dtype float32 that."""
    return x


def double(x):
    """x in float64, in which terms are summed."""
    return np.float64(x)


def nearest(x):
    """The integer nearest to x, the lower of two equally near ones (as nanoBragg rounds)."""
    return np.ceil(x - 0.5)


def distance_to_nearest(x):
    """x less the integer nearest to it, in [-1/2, 1/2]."""
    return x - np.rint(x)


def not_zero(x):
    """x, moved by 1e-90 so that it is not 0."""
    return x + TINY


def multiple(n, x):
    """n times not_zero(x)."""
    return n * x + n * TINY


def ratio(a, b):
    """a / b."""
    return a / b


def sin_pi(x):
    """sin(pi x) for |x| <= 1/2, within 7e-14 of the value, relative."""
    u = x * x
    return x * (S0 + u * (S1 + u * (S2 + u * (S3 + u * (S4 + u * (S5 + u * S6))))))


def sinc_series(u):
    """sin(pi x) / (pi x) of u = x^2 <= 1/4, within 3e-11."""
    return R0 + u * (R1 + u * (R2 + u * (R3 + u * (R4 + u * R5))))


def cosine_series(u):
    """(cos(pi x) - sin(pi x) / (pi x)) / x^2 of u = x^2 <= 1/4, within 4e-12."""
    return C0 + u * (C1 + u * (C2 + u * (C3 + u * (C4 + u * C5))))


def sinc3_pi(r):
    """3 (sin x - x cos x) / x^3 with x = pi r, the Fourier transform of a sphere, up to its sign; r >= 0.

    Within 2e-13 of the value up to r = 1/2, within 1e-12 / r^2 beyond.
    """
    u = r * r
    inside = B0 + u * (B1 + u * (B2 + u * (B3 + u * (B4 + u * (B5 + u * B6)))))
    t = r - np.rint(r)
    outside = 3.0 * (sin_pi(t) - math.pi * r * sin_pi(0.5 - abs(t))) / (math.pi**3 * u * r + TINY)
    return inside if r < 0.5 else outside


def sinc3_pi_slope(r):
    """The derivative of sinc3_pi(r) by r^2, with the same sign left out; within 1e-12 up to r = 1/2, 2e-12 / r^2 beyond."""
    u = r * r
    inside = B1 + u * (2.0 * B2 + u * (3.0 * B3 + u * (4.0 * B4 + u * (5.0 * B5 + u * 6.0 * B6))))
    outside = 1.5 * (sin_pi(r - np.rint(r)) / (math.pi * r + TINY) - sinc3_pi(r)) / (u + TINY)
    return inside if r < 0.5 else outside


def exp(x):
    """e^x within 4e-16, relative, for -708 <= x <= 709; 0 below -745.2, the nearer end's value elsewhere outside."""
    bounded = min(max(x, EXP_LOWEST), EXP_HIGHEST)
    k = np.rint(bounded * LOG2_E)
    r = (bounded - k * LN2_HIGH) - k * LN2_LOW
    series = E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * (E7 + r * (E8 + r * (E9 + r * (E10 + r * E11))))))))
    return (1.0 + r * (1.0 + r * series)) * power_of_two(k) if x > EXP_UNDERFLOW else 0.0


def power_of_two(k):
    """2^k for a whole number k between -1022 and 1023."""
    return np.int64((np.int64(k) + 1023) << 52).view(np.float64)


def boundless(p, x, y, z):
    """The ceiling of a lattice shape that states none."""
    return np.inf


def mark(array, i, value):
    """Nothing; see math_float32.py."""


def anywhere(p, x, y, z, xx, yy, zz, xy, yz, zx, layer):
    """The bounds of a geometry that states none."""
    return -np.inf, np.inf, -np.inf, np.inf
