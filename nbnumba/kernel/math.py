"""Scalar mathematics for stage functions: plain Python that vectorises on the CPU and compiles for the GPU."""

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

# Distance kept from an exact lattice point, where 0 / 0 would stand; changes N sinc by less than 1e-9 for N <= 1000.
TINY = 1e-8


def nearest(x):
    """The integer nearest to x, the lower of two equally near ones (as the reference program rounds)."""
    return np.ceil(x - 0.5)


def sin_pi(x):
    """sin(pi x) for |x| <= 1/2, within 1e-15 of the value, relative."""
    u = x * x
    return x * (S0 + u * (S1 + u * (S2 + u * (S3 + u * (S4 + u * (S5 + u * (S6 + u * S7)))))))


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
