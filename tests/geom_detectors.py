"""CrystFEL geometry files as there are for detectors at beamlines: made up, with panels a little off, as refinement leaves them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np

Turned = tuple[np.ndarray, np.ndarray]


def direction(v: np.ndarray) -> str:
    """A vector to 40 digits."""
    return " ".join(f"{Decimal(float(c)):+.40f}{axis}" for c, axis in zip(v, "xyz", strict=True))


def turned(degrees: float, rng: np.random.Generator, tilt: float = 0.0) -> Turned:
    """Fast and slow axis of a panel turned about the beam, and a little about x and y, at right angles to the last digit."""
    angle = np.radians(degrees) + rng.normal(0.0, 1e-3)
    fast = np.array([np.cos(angle), np.sin(angle), rng.normal(0.0, tilt)])
    slow = np.array([-np.sin(angle), np.cos(angle), rng.normal(0.0, tilt)])
    fast /= np.linalg.norm(fast)
    slow -= (slow @ fast) * fast
    return fast, slow / np.linalg.norm(slow)


def panel(name: str, axes: Turned, centre: np.ndarray, data: tuple[int, int], size: tuple[int, int], **more: object) -> list[str]:
    """centre: in pixels; data: first ss and fs; size: pixels along ss and fs."""
    (fast, slow), (row, column), (rows, columns) = axes, data, size
    corner = centre - fast[:2] * columns / 2 - slow[:2] * rows / 2
    stated = {
        "min_fs": column, "max_fs": column + columns - 1, "min_ss": row, "max_ss": row + rows - 1, "fs": direction(fast),
        "ss": direction(slow), "corner_x": repr(float(corner[0])), "corner_y": repr(float(corner[1])), **more,
    }  # fmt: skip
    return [f"{name}/{key} = {value}" for key, value in stated.items()]


def cspad() -> str:
    """64 chips of 185 x 194 pixels in four quadrants about the beam, two chips to a sensor; data as one array."""
    rng = np.random.default_rng(1)
    lines = [
        "adu_per_eV = 0.00338", "res = 9097.52   ; pixels per metre", "clen = 125.5 mm", "photon_energy = 9500 eV", "coffset = 0.0011",
        "data = /entry_1/data_1/data", "dim0 = %", "dim1 = ss", "dim2 = fs", "mask_edge_pixels = 1",
    ]  # fmt: skip
    for quadrant in range(4):
        lines.append(f"rigid_group_q{quadrant} = " + ",".join(f"q{quadrant}a{n}" for n in range(16)))
        lines += [f"rigid_group_a{quadrant * 8 + n} = q{quadrant}a{2 * n},q{quadrant}a{2 * n + 1}" for n in range(8)]
    lines.append("rigid_group_collection_quadrants = q0,q1,q2,q3")
    lines.append("rigid_group_collection_asics = " + ",".join(f"a{n}" for n in range(32)))
    for quadrant in range(4):
        for chip in range(16):
            sensor, half = divmod(chip, 2)
            along = np.radians(90 * quadrant)
            across = np.array([np.cos(along), np.sin(along)]), np.array([-np.sin(along), np.cos(along)])
            middle = (110 + 215 * (sensor % 4)) * across[0] + (130 + 400 * (sensor // 4) + 197 * half) * across[1]
            at = middle + rng.normal(0.0, 0.5, 2)
            axes = turned(90 * quadrant + 90, rng, 1e-4)
            lines += panel(f"q{quadrant}a{chip}", axes, at, (sensor * 185, quadrant * 388 + half * 194), (185, 194))
    return "\n".join(lines)


def agipd() -> str:
    """16 modules of eight panels of 64 x 128 pixels, an axis of the data for the modules; the hole for the beam in the middle."""
    rng = np.random.default_rng(2)
    lines = [
        "photon_energy = 9300", "adu_per_photon = 60", "clen = 0.2", "res = 5000", "data = /entry_1/instrument_1/detector_1/data",
        "dim0 = %", "dim2 = ss", "dim3 = fs",
        "bad_hole/min_x = -25.5", "bad_hole/max_x = 40.25", "bad_hole/min_y = -90", "bad_hole/max_y = 120.5",
    ]  # fmt: skip
    for module in range(16):
        for tile in range(8):
            side = 1 if module < 8 else -1
            at = np.array([side * (40.0 + 66 * tile), 560.0 - 157 * (module % 8) + 12 * side]) + rng.normal(0.0, 0.3, 2)
            more = {"dim1": module, "coffset": repr(float(rng.normal(0.0, 2e-4)))}
            lines += panel(f"p{module}a{tile}", turned(90 * side, rng, 3e-4), at, (64 * tile, 0), (64, 128), **more)
    for module in range(16):
        lines.append(f"group_p{module} = " + ",".join(f"p{module}a{tile}" for tile in range(8)))
    for quadrant in range(4):
        lines.append(f"group_q{quadrant} = " + ", ".join(f"p{quadrant * 4 + n}" for n in range(4)))
    lines += [
        "group_all = q0,q1,q2,q3",
        "bad_p3/panel = p3a2",
        "bad_p3/min_fs = 5",
        "bad_p3/max_fs = 9",
        "bad_p3/min_ss = 130",
        "bad_p3/max_ss = 191",
    ]
    return "\n".join(lines)


def jungfrau() -> str:
    """Eight modules of 512 x 1024 pixels stacked along slow, chips of 256 x 256 with two pixels between them."""
    rng = np.random.default_rng(3)
    lines = [
        "wavelength = 1.305 A",
        "adu_per_photon = 1",
        "clen = 85.2 mm ; refined",
        "res = 13333.33333",
        "data = /data/data",
        "detector_shift_x = 0.35 mm",
    ]
    lines += ["detector_shift_y = -0.0012 m", "dim0 = %", "dim1 = ss", "dim2 = fs"]
    for module in range(8):
        fast, slow = turned(180 if module % 2 else 0, rng, 2e-4)
        middle = np.array([(module % 2 - 0.5) * 1070, (module // 2 - 1.5) * 552 + 30.0]) + rng.normal(0.0, 2.0, 2)
        for chip in range(8):
            row, column = divmod(chip, 4)
            at = middle + fast[:2] * (column - 1.5) * 258 + slow[:2] * (row - 0.5) * 258
            more = {"coffset": repr(float(((column - 1.5) * 258 * fast[2] + (row - 0.5) * 258 * slow[2]) / 13333.33333))}
            lines += panel(f"m{module}c{chip}", (fast, slow), at, (512 * module + 256 * row, 256 * column), (256, 256), **more)
        lines.append(f"m{module}c0/no_index = {'true' if module == 5 else 0}")
    return "\n".join(lines)


def eiger() -> str:
    """One panel of 1065 x 1030 pixels, a module's gap and a beamstop marked."""
    return """; made by hand
photon_energy = 12.4 keV
clen = 0.1204
res = 13333.3333333
adu_per_photon = 1
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
p/min_fs = 0
p/max_fs = 1029
p/min_ss = 0
p/max_ss = 1064
p/corner_x = -510.25
p/corner_y = -529.75
p/fs = x
p/ss = y
bad_gap/min_fs = 0
bad_gap/max_fs = 1029
bad_gap/min_ss = 514
bad_gap/max_ss = 550
bad_gap/panel = p
bad_stop/min_x = -12.25
bad_stop/max_x = 12.5
bad_stop/min_y = -2000
bad_stop/max_y = 10
"""


def stacked() -> str:
    """Four modules of 352 x 384 pixels in a three-dimensional array without images, swung about the crystal."""
    rng = np.random.default_rng(5)
    lines = [
        "wavelength = 1.1e-10 m",
        "adu_per_eV = 0.0001",
        "res = 10000",
        "clen = 60 mm",
        "dim1 = ss",
        "dim2 = fs",
        "min_fs = 0",
        "min_ss = 0",
        "data = /stack",
    ]
    for module in range(4):
        swing = np.radians(40.0 * (module - 1.5))
        (fx, fy, _), slow = turned(0, rng)
        fast = np.array([fx * np.cos(swing), fy, -fx * np.sin(swing)])
        slow = slow - (slow @ fast) * fast
        at = np.array([600 * np.sin(swing), rng.normal(0.0, 1.0)])
        more = {"dim0": module, "coffset": repr(float(0.06 * (np.cos(swing) - 1.0) - fast[2] * 0.0192))}
        lines += panel(f"module{module}", (fast / np.linalg.norm(fast), slow / np.linalg.norm(slow)), at, (0, 0), (352, 384), **more)
    return "\n".join(lines)


DETECTORS: dict[str, tuple[int, Callable[[], str]]] = {
    "cspad": (64, cspad), "agipd": (128, agipd), "jungfrau": (64, jungfrau), "eiger": (1, eiger), "stacked": (4, stacked),
}  # fmt: skip
