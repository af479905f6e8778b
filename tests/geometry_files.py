"""Geometry files of other programs for tests: small, and with every axis askew."""

from __future__ import annotations

import json
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

REAL_AXES = np.array([[41.0, 5.0, -3.0], [-6.0, 52.0, 7.0], [4.0, -8.0, 63.0]])  # A, rows a, b, c


def turn(axis: list[float], degrees: float) -> np.ndarray:
    """Rotation by quaternion, which is another way than the readers'."""
    x, y, z = np.array(axis) / np.linalg.norm(axis) * math.sin(math.radians(degrees) / 2.0)
    w = math.cos(math.radians(degrees) / 2.0)
    return np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )


FACING = np.diag([1.0, -1.0, -1.0])


def panel(frame: np.ndarray = FACING, origin: tuple[float, ...] = (-30.0, 33.0, -120.0), **more: Any) -> dict[str, Any]:
    """frame: columns fast, slow, normal."""
    return {
        "name": "Panel", "fast_axis": frame[:, 0].tolist(), "slow_axis": frame[:, 1].tolist(), "origin": list(origin),
        "image_size": [400, 420], "pixel_size": [0.15, 0.15], "thickness": 0.0, "mu": 0.0,
        "px_mm_strategy": {"type": "SimplePxMmStrategy"}, **more,
    }  # fmt: skip


def expt_content(**models: Any) -> dict[str, Any]:
    """An experiment list of one experiment; None leaves a model out."""
    found = {
        "beam": {
            "direction": [0.01, -0.02, 1.0], "wavelength": 0.97, "polarization_normal": [0.0, 1.0, 0.0], "polarization_fraction": 0.95,
        },
        "detector": {"panels": [panel()]},
        "goniometer": {
            "rotation_axis": [1.0, 0.0, 0.0],
            "fixed_rotation": turn([1, 2, 3], 25).ravel().tolist(),
            "setting_rotation": turn([3, -1, 2], 15).ravel().tolist(),
        },
        "scan": {"image_range": [5, 14], "oscillation": [3.0, 0.5], "exposure_time": [0.1] * 10},
        "crystal": {"__id__": "crystal", **{f"real_space_{name}": row.tolist() for name, row in zip("abc", REAL_AXES, strict=True)}},
        **models,
    }  # fmt: skip
    used = {name: content for name, content in found.items() if content is not None}
    experiment = {"__id__": "Experiment", "identifier": "", **dict.fromkeys(used, 0)}
    return {"__id__": "ExperimentList", "experiment": [experiment], **{name: [content] for name, content in used.items()}}


def write_expt(path: Path, **models: Any) -> Path:
    path.write_text(json.dumps(expt_content(**models)))
    return path


XDS_INP = """! a template's comment NX= 1
JOB= XYCORR INIT ! more
DETECTOR=PILATUS MINIMUM_VALID_PIXEL_VALUE=0 OVERLOAD= 1048500
NX= 400 NY=420  QX=0.15 QY= 0.150
ORGX= 210.5 ORGY= 190.25 DETECTOR_DISTANCE= 120.5
DIRECTION_OF_DETECTOR_X-AXIS= 0.99 0.1 0.02
DIRECTION_OF_DETECTOR_Y-AXIS= -0.1 0.99 0.0
ROTATION_AXIS= 0.999 0.01 -0.02
OSCILLATION_RANGE= 0.5 STARTING_ANGLE= 3.0
X-RAY_WAVELENGTH= 0.97
INCIDENT_BEAM_DIRECTION= 0.01 0.0 1.03
FRACTION_OF_POLARIZATION= 0.95 POLARIZATION_PLANE_NORMAL= 0 1 0
NAME_TEMPLATE_OF_DATA_FRAMES= /data/x_????.cbf ! CBF
DATA_RANGE= 5 14
SPACE_GROUP_NUMBER= 0
UNIT_CELL_CONSTANTS= 70 80 90 90 90 90 ! put correct values if known
FRIEDEL'S_LAW=TRUE
"""

XPARM = """ XPARM.XDS    VERSION Jan 10, 2022
     5        3.0000    0.5000  0.999000  0.010000 -0.020000
       0.970000       0.010000       0.000000       1.030000
     1     41.4126     52.7541     63.6318  90.000  90.000  90.000
      41.000000       5.000000      -3.000000
      -6.000000      52.000000       7.000000
       4.000000      -8.000000      63.000000
         1       400       420    0.150000    0.150000
     210.500000     190.250000     120.500000
       0.990000       0.100000       0.020000
      -0.100000       0.990000       0.000000
      -0.019800      -0.002000       0.990100
         1         1       400         1       420
    0.00    0.00    0.00  1.00000  0.00000  0.00000  0.00000  1.00000  0.00000
"""

GEOM = """; a detector
photon_energy = 12.7 keV
adu_per_eV = 0.0001
clen = 120.5 mm
res = 6666.7  ; pixels per metre
rigid_group_q0 = p0
bad_edge/min_x = -5.0
mask_good = 0x0
group_all = p0

p0/coffset = 0.0005
p0/min_fs = 10
p0/max_fs = 409
p0/min_ss = 0
p0/max_ss = 419
p0/corner_x = -210.5
p0/corner_y = 190.25
p0/fs = +0.999950x +0.01y
p0/ss = +0.01x -0.999950y +0.0001z
"""

GEOM_PANELS = """wavelength = 1.1 A
clen = 80 mm
res = 5000
dim0 = %
dim1 = 2
dim2 = ss
dim3 = fs
mask_file = mask.h5
mask = /mask
mask_good = 0x01
mask1_file = mask.h5
mask1_data = /mask
mask1_badbits = 4
detector_shift_x = -0.5 mm
bad_stop/min_x = -3
bad_stop/max_x = 3.5
bad_stop/min_y = -90
bad_stop/max_y = 2
bad_row/panel = b
bad_row/min_fs = 1
bad_row/max_fs = 3
bad_row/min_ss = 7
bad_row/max_ss = 7
a/min_fs = 0
a/max_fs = 7
a/min_ss = 0
a/max_ss = 5
a/corner_x = 2.5
a/corner_y = -3
a/fs = +0.999998x +0.002y
a/ss = -0.002x +0.999998y
b/min_fs = 0
b/max_fs = 7
b/min_ss = 6
b/max_ss = 11
b/corner_x = -9.25
b/corner_y = -3
b/fs = x
b/ss = +0.999y -0.0447z
b/coffset = 0.0002
b/mask_edge_pixels = 1
c/min_fs = 0
c/max_fs = 7
c/min_ss = 12
c/max_ss = 17
c/corner_x = 0
c/corner_y = 20
c/fs = -y
c/ss = x
c/no_index = true
group_left = b
group_right = a,c
group_all = left,right
"""


def geom_mask() -> bytes:
    """The HDF5 file that it names."""
    import h5py

    with h5py.File(buffer := BytesIO(), "w") as file:
        file["mask"] = np.arange(3 * 18 * 8).reshape(3, 18, 8) % 7
    return buffer.getvalue()


def predicted(h: np.ndarray, A: np.ndarray, s0: np.ndarray, frame: np.ndarray, origin: np.ndarray, pixel: float) -> np.ndarray:
    """Pixel coordinates where A h, (3, 3) times (n, 3), is met by the panel, whether or not it is on the Ewald sphere, (n, 2)."""
    rays = s0 + h @ A.T
    solved = np.linalg.solve(
        np.stack([np.stack([frame[:, 0], frame[:, 1], -ray], axis=1) for ray in rays]), np.tile(-origin, (len(h), 1))[..., None]
    )
    return solved[:, :2, 0] / pixel


GEOM_PAIR = """clen = 0.1
res = 10000
min_fs = 0
max_fs = 3
p0/min_ss = 0
p0/max_ss = 2
p0/corner_x = 1
p0/corner_y = 2
p1/min_ss = 3
p1/max_ss = 5
p1/corner_x = -9
p1/corner_y = 2
"""
