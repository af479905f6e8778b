"""Scalar mathematics for stage functions: plain Python that vectorises when it is compiled."""

import math

import numpy as np

# sin(pi x) / x = sum S_j x^(2j) on |x| <= 1/2, interpolated at Chebyshev nodes; relative error 2.4e-16.
S0 = 3.1415926535897927
S1 = -5.1677127800497855
S2 = 2.5501640398618677
S3 = -0.599264528825224
S4 = 0.08214587881631043
S5 = -0.0073703643265304155
S6 = 0.0004659870158043378
S7 = -2.113362735205297e-05

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

# Distance kept from an exact lattice point, where 0 / 0 would stand; the product of three of them does not underflow.
TINY = 1e-100


def nearest(x):
    """The integer nearest to x, the lower of two equally near ones (as the reference program rounds)."""
    return np.ceil(x - 0.5)


def sin_pi(x):
    """sin(pi x) for |x| <= 1/2, within 1e-15 of the value, relative."""
    u = x * x
    return x * (S0 + u * (S1 + u * (S2 + u * (S3 + u * (S4 + u * (S5 + u * (S6 + u * S7)))))))


def exp(x):
    """e^x within 4e-16, relative, for -708 <= x <= 709; 0 below -745.2, the nearer end's value elsewhere outside."""
    bounded = min(max(x, EXP_LOWEST), EXP_HIGHEST)
    k = np.rint(bounded * LOG2_E)
    r = (bounded - k * LN2_HIGH) - k * LN2_LOW
    series = E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * (E7 + r * (E8 + r * (E9 + r * (E10 + r * E11))))))))
    power_of_two = np.int64((np.int64(k) + 1023) << 52).view(np.float64)
    return (1.0 + r * (1.0 + r * series)) * power_of_two if x > EXP_UNDERFLOW else 0.0


def distance_to_nearest(x):
    """x less the integer nearest to it, in [-1/2, 1/2]."""
    return x - np.rint(x)


def not_zero(x):
    """The size of x, or TINY where it is smaller than that."""
    return max(abs(x), TINY)


def sinc3(x):
    """3 (sin x - x cos x) / x^3, the Fourier transform of a sphere; a series where the difference would cancel."""
    u = x * x
    if u < 0.01:
        return 1.0 - u * (1.0 / 10.0 - u * (1.0 / 280.0 - u * (1.0 / 15120.0 - u / 1330560.0)))
    return 3.0 * (math.sin(x) / x - math.cos(x)) / u
