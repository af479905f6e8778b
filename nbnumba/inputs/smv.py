"""SMV images (ADSC's format) as sources of headers and masks (FMT-13)."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.exposure import Exposure
from nbnumba.inputs.text import read_bytes

BLOCK = 512
LARGEST = 100_000
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


@dataclass(frozen=True, eq=False)
class SmvImage:
    """header: its text; pixels: [slow, fast], 16-bit, in the byte order that the header states."""

    path: Path
    header: str
    pixels: NDArray[np.uint16]

    def value(self, keyword: str, exact: bool) -> float | None:
        """The number after a keyword, the last one in the header; None if there is none.

        exact: the whole keyword, else whatever keyword ends with it, as the reference program looks it up (it takes
        CLOSE_DISTANCE for DISTANCE).
        """
        before = r"(?:^|[\n;{])\s*" if exact else ""
        found = re.findall(rf"{before}{re.escape(keyword)}{'' if exact else '[^=]*'}\s*=([^;\n]*)", self.header)
        number = NUMBER.match(found[-1]) if found else None
        if found and number is None:
            raise InputFileError(self.path, f"{keyword} = {found[-1].strip()[:60]!r} is not a number")
        return float(number.group(1)) if number else None

    @property
    def swapped(self) -> NDArray[np.uint16]:
        """The pixels as they would be without regard to the byte order."""
        foreign = "big" if sys.byteorder == "little" else "little"
        return self.pixels.byteswap() if f"{foreign}_endian" in self.header else self.pixels


def read_smv(path: str | Path) -> SmvImage:
    """Header and pixels of an SMV file. Raises InputFileError."""
    data, path = read_bytes(path), Path(path)
    if not data.startswith(b"{\nHEADER_BYTES"):
        raise InputFileError(path, "is not an SMV image; it does not begin with { and HEADER_BYTES")
    size = header_size(path, data)
    header = data[:size].decode("latin-1").split("}")[0]
    unread = SmvImage(path, header, np.empty((0, 0), np.uint16))
    fast, slow = unread.value("SIZE1", exact=True), unread.value("SIZE2", exact=True)
    for name, edge in (("SIZE1", fast), ("SIZE2", slow)):
        if edge is None or not edge.is_integer() or not 1 <= edge <= LARGEST:
            raise InputFileError(path, f"{name} = {'nothing' if edge is None else edge} is not a number of pixels")
    assert fast is not None
    assert slow is not None
    expected = 2 * int(fast) * int(slow)
    if len(data) - size < expected:
        raise InputFileError(path, f"is cut short: {len(data) - size} bytes of pixels where the header promises {expected}")
    order = ">" if "big_endian" in header else "<"
    pixels = np.frombuffer(data, f"{order}u2", int(fast) * int(slow), size).reshape(int(slow), int(fast))
    return SmvImage(path, header, pixels.astype(np.uint16))


def header_size(path: Path, data: bytes) -> int:
    found = re.match(rb"\{\nHEADER_BYTES=\s*(\d+)", data[:BLOCK])
    size = int(found.group(1)) if found else 0
    if not BLOCK <= size <= len(data) or not math.isfinite(size):
        raise InputFileError(path, f"HEADER_BYTES = {size} does not fit a file of {len(data)} bytes")
    return size


def exposure_of_smv(image: SmvImage) -> Exposure | None:
    """What an SMV header says, in MOSFLM's laboratory (EXP-3): beam along x, spindle and fast axis along z, slow axis along -y.

    The detector is swung about -z by TWOTHETA. It lies where XDS's origin and the distance of the plane put it, else where the direct
    beam is: MOSFLM_CENTER, else BEAM_CENTER, both X along the slow axis from the first pixel's centre. None without a pixel size, a
    distance and a centre. Raises InputFileError.
    """

    def header(keyword: str, default: float | None = None) -> float | None:
        value = image.value(keyword, exact=True)
        return default if value is None else value

    pixel_mm, distance_mm = header("PIXEL_SIZE"), header("DISTANCE")
    close_mm, wavelength = header("CLOSE_DISTANCE"), header("WAVELENGTH")
    beam = [header(f"MOSFLM_CENTER_{axis}", header(f"BEAM_CENTER_{axis}")) for axis in "XY"]
    origin = [header("XDS_ORGX", header("ORGX")), header("XDS_ORGY", header("ORGY"))]
    twotheta, phi, oscillation = (units.radians(header(name, 0.0) or 0.0) for name in ("TWOTHETA", "PHI", "OSC_RANGE"))
    phi = units.radians(header("OSC_START", units.degrees(phi)) or 0.0)
    for name, value in (("PIXEL_SIZE", pixel_mm), ("DISTANCE", distance_mm), ("CLOSE_DISTANCE", close_mm), ("WAVELENGTH", wavelength)):
        if value is not None and not 0.0 < value < math.inf:
            raise InputFileError(image.path, f"{name} = {value:g} is not greater than 0")
    if pixel_mm is None:
        return None
    c, s = math.cos(twotheta), math.sin(twotheta)
    normal, slow_axis, fast_axis = np.array([c, -s, 0.0]), np.array([-s, -c, 0.0]), np.array([0.0, 0.0, 1.0])
    if close_mm is not None and origin[0] is not None and origin[1] is not None:
        corner = close_mm * normal - (origin[0] - 0.5) * pixel_mm * fast_axis - (origin[1] - 0.5) * pixel_mm * slow_axis
    elif distance_mm is not None and beam[0] is not None and beam[1] is not None:
        corner = distance_mm * np.array([1.0, 0.0, 0.0]) - (beam[1] + 0.5 * pixel_mm) * fast_axis - (beam[0] + 0.5 * pixel_mm) * slow_axis
    else:
        return None
    slow, fast = image.pixels.shape
    return Exposure(
        shape=(slow, fast),
        pixel_size=units.metres_from_mm(pixel_mm),
        origin=(float(corner[0]) / 1e3, float(corner[1]) / 1e3, float(corner[2]) / 1e3),
        fast_axis=(0.0, 0.0, 1.0),
        slow_axis=(-s, -c, 0.0),
        incident=(1.0, 0.0, 0.0),
        wavelength=None if wavelength is None else units.metres_from_angstrom(wavelength),
        spindle_axis=(0.0, 0.0, 1.0),
        phi_start=phi,
        oscillation=oscillation,
        exposure_time=header("TIME"),
    )
