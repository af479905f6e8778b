"""What to measure against: a kernel fused by hand for one case (square crystal, one F, flat detector, float64), and the peak rate.

The yardstick has no stages, options, samples or corrections but the solid angle: what a kernel with all these has to compare with. Its
sines are polynomials of degree 8, exact to the last bit; those of kernel/math.py have degree 6 and an error of 6e-14.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numba import njit, prange

from nbnumba.kernel.cpu.device import compiled_alone
from nbnumba.kernel.cpu.work_queue import numba_threads

FLAGS = {"contract", "nsz", "arcp"}
# sin(pi x) / x = sum S_j x^(2j) on |x| <= 1/2, to the last bit.
S0, S1, S2, S3, S4, S5, S6, S7, S8 = (
    3.1415926535897932, -5.1677127800499695, 2.5501640398772939, -0.59926452931873824, 0.082145886569892612,
    -0.0073704304787608664, 0.00046629968876099656, -2.1903185384121711e-5, 7.6947269244086495e-7,
)  # fmt: skip
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding and subtracting it rounds to the nearest integer
PIXELS, DOMAINS = 1024, 50


@njit(forceinline=True, fastmath=FLAGS)
def sine(x: Any) -> Any:
    u = x * x
    return x * (S0 + u * (S1 + u * (S2 + u * (S3 + u * (S4 + u * (S5 + u * (S6 + u * (S7 + u * S8))))))))


@compiled_alone(parallel=True, fastmath=FLAGS, error_model="numpy")
def fused(pix0, pixel_size, orientations, cells, F_squared, image):  # type: ignore[no-untyped-def]
    slow_pixels, fast_pixels = image.shape
    for slow in prange(slow_pixels):
        qx = np.empty(fast_pixels)
        qy = np.empty(fast_pixels)
        qz = np.empty(fast_pixels)
        solid_angle = np.empty(fast_pixels)
        total = np.zeros(fast_pixels)
        for i in range(fast_pixels):
            x, y, z = pix0[0], pix0[1] - (slow + 0.5) * pixel_size, pix0[2] + (i + 0.5) * pixel_size
            inverse = 1.0 / np.sqrt(x * x + y * y + z * z)
            qx[i], qy[i], qz[i] = x * inverse - 1.0, y * inverse, z * inverse
            solid_angle[i] = inverse * inverse * inverse
        for m in range(orientations.shape[0]):
            ax, ay, az = orientations[m, 0, 0], orientations[m, 0, 1], orientations[m, 0, 2]
            bx, by, bz = orientations[m, 1, 0], orientations[m, 1, 1], orientations[m, 1, 2]
            cx, cy, cz = orientations[m, 2, 0], orientations[m, 2, 1], orientations[m, 2, 2]
            for i in range(fast_pixels):
                h = ax * qx[i] + ay * qy[i] + az * qz[i]
                k = bx * qx[i] + by * qy[i] + bz * qz[i]
                l = cx * qx[i] + cy * qy[i] + cz * qz[i]
                x, y, z = (h - ((h + ROUND) - ROUND)) + 1e-90, (k - ((k + ROUND) - ROUND)) + 1e-90, (l - ((l + ROUND) - ROUND)) + 1e-90
                nx, ny, nz = cells * x, cells * y, cells * z
                nx, ny, nz = nx - ((nx + ROUND) - ROUND), ny - ((ny + ROUND) - ROUND), nz - ((nz + ROUND) - ROUND)
                F_latt = sine(nx) * sine(ny) * sine(nz) / (sine(x) * sine(y) * sine(z))
                total[i] += F_latt * F_latt * F_squared
        for i in range(fast_pixels):
            image[slow, i] = total[i] * solid_angle[i]


def yardstick(threads: int, repeats: int = 3) -> float:
    """Samples a second of the hand-fused kernel, best of ``repeats``."""
    turns = np.random.default_rng(0).normal(size=(DOMAINS, 3)) * 0.004
    generator = np.zeros((DOMAINS, 3, 3))
    for axis, (i, j) in enumerate([(1, 2), (2, 0), (0, 1)]):
        generator[:, i, j], generator[:, j, i] = -turns[:, axis], turns[:, axis]
    arguments = np.array([0.1, 0.0513, -0.0513]), 1e-4, 100.0 * (np.eye(3) + generator), 5.0, 1e4, np.empty((PIXELS, PIXELS), np.float32)
    return PIXELS * PIXELS * DOMAINS / best_time(lambda: fused(*arguments), threads, repeats)


@compiled_alone(parallel=True, fastmath=FLAGS, error_model="numpy")
def horner(x, chunks, result):  # type: ignore[no-untyped-def]
    for chunk in prange(chunks):
        y = np.empty(x.size)
        for i in range(x.size):
            y[i] = x[i] + chunk
        for _ in range(200):
            for i in range(x.size):
                u, v = x[i], y[i]
                v = u + v * (u + v * (u + v * (u + v * (u + v * (u + v * (u + v * (u + v * u)))))))
                v = u + v * (u + v * (u + v * (u + v * (u + v * (u + v * (u + v * (u + v * u)))))))
                y[i] = v
        result[chunk] = y[0]


def peak(threads: int, repeats: int = 5) -> float:
    """Floating-point operations a second (a fused multiply-add is two) that float64 polynomials reach in the first cache."""
    x, chunks = np.full(1024, 1e-3), 64 * threads
    result = np.empty(chunks)
    operations = 2 * 16 * 200 * x.size * chunks
    return operations / best_time(lambda: horner(x, chunks, result), threads, repeats)


def best_time(work: Any, threads: int, repeats: int) -> float:
    """Seconds of the best of so many runs, after one that may compile."""
    with numba_threads(threads):
        work()
        return min(time_once(work) for _ in range(repeats))


def time_once(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
