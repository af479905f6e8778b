"""What stands in for math.py with ``--dtype float32``: the same functions of a float64 argument, which is reduced in float64 first."""

import numpy as np

from nbnumba.kernel import math

# sin(pi x) / x = sum S_j x^(2j) on |x| <= 1/2, relative error 5.4e-9.
S0 = np.float32(3.141592636895444)
S1 = np.float32(-5.167709684798134)
S2 = np.float32(2.5500697262973373)
S3 = np.float32(-0.5982421261351902)
S4 = np.float32(0.07756038638625973)

# 3 (sin x - x cos x) / x^3 = sum B_j r^(2j) with x = pi r on |r| <= 1/2, relative error 1.2e-9.
B0 = np.float32(0.9999999988754894)
B1 = np.float32(-0.9869602246504349)
B2 = np.float32(0.3478829013258605)
B3 = np.float32(-0.06351008236046998)
B4 = np.float32(0.006796354133957763)

# exp(r) = sum E_j r^j on |r| <= ln(2) / 2, relative error 1.1e-8. E_0 = E_1 = 1.
E2 = np.float32(0.5)
E3 = np.float32(0.16666577025597988)
E4 = np.float32(0.041666554662050534)
E5 = np.float32(0.0083631730745137109)
E6 = np.float32(0.0013926176119935579)
ONE = np.float32(1.0)
HALF = np.float32(0.5)
ZERO = np.float32(0.0)
PI = np.float32(np.pi)
THREE_BY_PI3 = np.float32(3.0 / np.pi**3)
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH = np.float32(0.693359375)  # ln 2 in two parts; the first has so few bits that its product with an exponent is exact
LN2_LOW = np.float32(-2.1219444005469057e-4)
EXP_LOWEST, EXP_HIGHEST = np.float32(-87.0), np.float32(88.0)
BIAS, FRACTION_BITS = np.int32(127), np.int32(23)
TINY, SINGLE_TINY = 1e-11, np.float32(1e-11)  # more than TIE, which stands at a lattice point with the other sign
TIE = 1e-12  # more than the rounding of indices to 4096, and less than anything that float32 tells apart
TINY_CUBE = np.float32(1e-36)


def working(x):
    """x in float32."""
    return np.float32(x)


def not_zero(x):
    """x, moved by 1e-11 so that it is not 0, nor is the product of three of them in float32."""
    return np.float32(x) + SINGLE_TINY


def multiple(n, x):
    """n times not_zero(x), in float64: it is reduced next."""
    return n * x + n * TINY


def ratio(a, b):
    """a / b; on the GPU by its fast division."""
    return a / b


def sin_pi(x):
    """sin(pi x) for |x| <= 1/2, within 4e-7 of the value, relative."""
    y = np.float32(x)
    u = y * y
    return y * (S0 + u * (S1 + u * (S2 + u * (S3 + u * S4))))


def sinc3_pi(r):
    """3 (sin x - x cos x) / x^3 with x = pi r up to its sign, r >= 0; within 2e-6 of the value up to r = 1/2, 4e-7 / r^2 beyond."""
    y, t = np.float32(r), r - np.rint(r)
    u = y * y
    inside = B0 + u * (B1 + u * (B2 + u * (B3 + u * B4)))
    outside = ratio(THREE_BY_PI3 * (sin_pi(t) - PI * y * sin_pi(0.5 - abs(t))), u * y + TINY_CUBE)
    return inside if y < HALF else outside


def exp(x):
    """e^y of y = x in float32 within 3e-7, relative, for -87 <= y <= 88; 0 below, the value at 88 above."""
    y = np.float32(x)
    bounded = min(max(y, EXP_LOWEST), EXP_HIGHEST)
    k = rint(bounded * LOG2_E)
    r = (bounded - k * LN2_HIGH) - k * LN2_LOW
    series = E2 + r * (E3 + r * (E4 + r * (E5 + r * E6)))
    return (ONE + r * (ONE + r * series)) * power_of_two(k) if y >= EXP_LOWEST else ZERO


def rint(x):
    """The integer nearest to x of float32."""
    return np.rint(x)


def power_of_two(k):
    """2^k for a whole number k between -126 and 127."""
    return np.int32((np.int32(k) + BIAS) << FRACTION_BITS).view(np.float32)


def nearest(x):
    """The integer nearest to x, where TIE was taken off x before: in float64, one operation less than by ceil(x - 1/2)."""
    return np.rint(x)


def mark(array, i, value):
    """Store a value that nobody reads: LLVM takes the length of vectors from what a loop stores, which would be float64 alone."""
    array[i] = value


# Function of math.py -> what stands in for it.
INSTEAD = {
    math.working: working,
    math.not_zero: not_zero,
    math.multiple: multiple,
    math.ratio: ratio,
    math.sin_pi: sin_pi,
    math.sinc3_pi: sinc3_pi,
    math.exp: exp,
}
