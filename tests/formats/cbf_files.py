"""CBF files for tests: headers as beamlines write them, around pixels in any compression."""

import base64
import hashlib

import numpy as np

from nbnumba.formats.cbf_pixels import CLEAN, SECTION, STARTS

COUNTS = np.array([[0, 3, -1, 7], [-2, 300, 70_000, 5], [1, 2, 3, 91_795]], np.int32)
PILATUS = """# Detector: PILATUS3 6M, S/N 60-0000
# 2017-11-23T15:23:41.880
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness 0.000320 m
# Exposure_time 0.0950000 s
# Exposure_period 0.1000000 s
# Tau = 0 s
# Count_cutoff 91795 counts
# Threshold_setting: 6350 eV
# Gain_setting: autog (vrf = 1.000)
# N_excluded_pixels = 1161
# Wavelength 0.9795 A
# Energy_range (0, 0) eV
# Detector_distance 0.21100 m
# Detector_Voffset 0.00000 m
# Beam_xy (243.50, 97.25) pixels
# Start_angle 30.0000 deg.
# Angle_increment 0.2000 deg.
# Detector_2theta 0.0000 deg.
# Polarization 0.990
# Kappa 0.0000 deg.
# Phi 30.0000 deg.
# Oscillation_axis X.CW"""
SIGNS = {"i": "signed {}-bit integer", "u": "unsigned {}-bit integer", "f": "signed {}-bit real IEEE"}


def byte_offsets(counts: np.ndarray) -> bytes:
    from fabio.compression import compByteOffset

    return compByteOffset(counts.astype(np.int64))


def mini(header: str = PILATUS, counts: np.ndarray = COUNTS, convention: str = "PILATUS_1.2") -> bytes:
    """A miniCBF in the manner of Dectris."""
    text = f'_array_data.header_convention "{convention}"\n_array_data.header_contents\n;\n{header}\n;\n'
    return whole(text, byte_offsets(counts), counts, "x-CBF_BYTE_OFFSET")


def whole(text: str, data: bytes, counts: np.ndarray, compression: str) -> bytes:
    """A file with a text before its pixels."""
    slow, fast = counts.shape
    element = SIGNS[counts.dtype.kind].format(8 * counts.itemsize)
    header = CLEAN.format(compression=compression, size=len(data), element=element, elements=counts.size, fast=fast, slow=slow)
    digest = base64.b64encode(hashlib.md5(data).digest()).decode("ascii")
    header = header.replace("X-Binary-ID", f"Content-MD5: {digest}\nX-Binary-ID").replace("_array_data.data", f"{text}\n_array_data.data")
    return header.replace("\n", "\r\n").encode() + STARTS + data + f"\r\n{SECTION}--\r\n;\r\n".encode("ascii")


def with_fields(**fields: str | None) -> str:
    """The header of PILATUS with other values, or without fields that are None; a field that it does not have is added."""
    lines = PILATUS.splitlines()
    for name, value in fields.items():
        lines = [line for line in lines if not line.startswith(f"# {name}")] + ([f"# {name} {value}"] if value is not None else [])
    return "\n".join(lines)
