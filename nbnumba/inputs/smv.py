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
EXPOSURE = (
    "PIXEL_SIZE", "DISTANCE", "CLOSE_DISTANCE", "WAVELENGTH", "XDS_ORGX", "XDS_ORGY", "BEAM_CENTER_X", "BEAM_CENTER_Y", "OSC_START", "PHI",
    "OSC_RANGE", "TWOTHETA", "TIME",
)  # fmt: skip
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
    def exposure(self) -> Exposure | None:
        """What the header says of geometry and scan (FMT-13); None where it does not say enough, or the detector is swung out.

        The beam centre is XDS's nearest point where there is one, else MOSFLM's, X along the slow axis.
        """
        named = {name: self.value(name, exact=True) for name in EXPOSURE}
        pixel, distance = named["PIXEL_SIZE"], named["CLOSE_DISTANCE"] or named["DISTANCE"]
        if named["XDS_ORGX"] is not None and named["XDS_ORGY"] is not None:
            centre: tuple[float | None, float | None] = named["XDS_ORGX"] - 0.5, named["XDS_ORGY"] - 0.5
        else:
            centre = named["BEAM_CENTER_Y"], named["BEAM_CENTER_X"]
            centre = (centre[0] / pixel, centre[1] / pixel) if pixel and None not in centre else (None, None)  # type: ignore[operator]
        fast, slow = centre
        if not pixel or not distance or fast is None or slow is None or named["TWOTHETA"]:
            return None
        start = named["OSC_START"] if named["OSC_START"] is not None else named["PHI"]
        wavelength = named["WAVELENGTH"]
        return Exposure(
            shape=(self.pixels.shape[0], self.pixels.shape[1]),
            pixel_size=units.metres_from_mm(pixel),
            origin=(-fast * pixel * 1e-3, slow * pixel * 1e-3, -distance * 1e-3),
            wavelength=None if wavelength is None else units.metres_from_angstrom(wavelength),
            polarization_axis=(1.0, 0.0, 0.0),
            spindle_axis=(1.0, 0.0, 0.0),
            phi_start=units.radians(start or 0.0),
            oscillation=units.radians(named["OSC_RANGE"] or 0.0),
            exposure_time=named["TIME"],
        )

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
