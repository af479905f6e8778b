"""SMV images, ADSC's and d*TREK's, as sources of pixels, geometry, headers and masks (FMT-13, FMT-40, FMT-41).

Source: Rigaku, "d*TREK image format" 1.1, for the types of pixels; where ADSC's keywords leave a choice, DIALS's is taken.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError, warn_of_file
from nbnumba.files.text import read_bytes
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.known_detectors import not_flat

BLOCK = 512
LARGEST = 100_000
BEYOND = 1e9  # mm, A, deg, s, counts: more than any header means
START = b"{\nHEADER_BYTES"
RECORD_ENDS = re.compile(r"[;\n]+")
END = re.compile(r"^[ \t\r\f\0]*\}[ \t\r\f\0]*$", re.MULTILINE)  # braces elsewhere are text
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
# Lengths are in mm, wavelengths in A, angles in deg and times in s, whether that is written or not.
UNIT = re.compile(r"\s*(?:mm|A|Ang|Angstroms?|deg|degrees|s|sec|seconds)?\s*", re.IGNORECASE)
TYPES = {
    "char": "i1", "unsigned char": "u1", "short": "i2", "short int": "i2", "unsigned short": "u2", "unsigned short int": "u2",
    "int": "i4", "unsigned int": "u4", "long": "i4", "long int": "i4", "unsigned long": "u4", "unsigned long int": "u4",
    "float": "f4", "float ieee": "f4",
}  # fmt: skip
ORDERS = {"little_endian": "<", "big_endian": ">"}
NOT_PACKED = ("", "none", "no", "0", "1")


@dataclass(frozen=True, eq=False)
class SmvHeader:
    """Keywords and their values, as text."""

    path: Path
    text: str

    @cached_property
    def fields(self) -> dict[str, str]:
        """What stands after each keyword; of one that stands twice, the last."""
        records = (record.partition("=") for record in RECORD_ENDS.split(self.text))
        return {keyword.strip(): value.strip() for keyword, equals, value in records if equals}

    def value(self, keyword: str, exact: bool = True) -> float | None:
        """The number after a keyword, the last one in the header; None if there is none. Raises InputFileError.

        exact: the whole keyword, and nothing but a number, else as nanoBragg looks it up.
        """
        text = self.fields.get(keyword) if exact else self.looked_up(keyword)
        number = None if text is None else NUMBER.match(text)
        if text is not None and (number is None or (exact and not UNIT.fullmatch(text, number.end()))):
            raise InputFileError(self.path, f"{keyword} = {text.strip()[:60]!r} is not a number")
        return float(number.group(1)) if number else None

    def looked_up(self, keyword: str) -> str | None:
        """What follows the last keyword that ends so (CLOSE_DISTANCE counts as DISTANCE)."""
        found, at = None, self.text.find(keyword)
        while at >= 0 and (equals := self.text.find("=", at + len(keyword))) >= 0:
            ending = RECORD_ENDS.search(self.text, equals)
            end = ending.start() if ending else len(self.text)
            found, at = self.text[equals + 1 : end], self.text.find(keyword, end)
        return found

    def first_of(self, *keywords: str) -> float | None:
        """The number after the first of these keywords that there is. Raises InputFileError."""
        return next((value for keyword in keywords if (value := self.value(keyword)) is not None), None)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels (slow, fast). Raises InputFileError."""
        if self.value("DIM") not in (None, 2.0):
            raise InputFileError(self.path, f"DIM = {self.fields['DIM']}: is not an image of two dimensions")
        return self.edge("SIZE2"), self.edge("SIZE1")

    def edge(self, keyword: str) -> int:
        """A number of pixels. Raises InputFileError."""
        found = self.value(keyword)
        if found is None or not found.is_integer() or not 1 <= found <= LARGEST:
            raise InputFileError(self.path, f"{keyword} = {'nothing' if found is None else found} is not a number of pixels")
        return int(found)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of pixels as they are stored: d*TREK's Data_type, else ADSC's TYPE, else unsigned short. Raises InputFileError."""
        stated = {name: self.fields[name] for name in ("Data_type", "TYPE") if name in self.fields}
        name, text = next(iter(stated.items()), ("TYPE", "unsigned_short"))
        if plain(text) not in TYPES:
            raise InputFileError(self.path, f"{name} = {text[:60]!r} is no type of pixels that is read; there are {', '.join(TYPES)}")
        if len({TYPES.get(plain(said)) for said in stated.values()}) > 1:
            warn_of_file(self.path, f"TYPE = {stated['TYPE'][:60]} is not what counts, but Data_type = {text}")
        for keyword in ("COMPRESSION", "RAXIS_COMPRESSION_RATIO"):
            if (packing := self.fields.get(keyword, "")).lower() not in NOT_PACKED:
                raise InputFileError(self.path, f"{keyword} = {packing[:60]}: packed pixels are not read")
        order = self.fields.get("BYTE_ORDER", "little_endian").lower()
        if order not in ORDERS:
            raise InputFileError(self.path, f"BYTE_ORDER = {order[:60]!r} is neither little_endian nor big_endian")
        return np.dtype(ORDERS[order] + TYPES[plain(text)])


class SmvImage(NamedTuple):
    """pixels: [slow, fast], of the type that the header states."""

    header: SmvHeader
    pixels: NDArray[Any]


def read_smv(path: str | Path) -> SmvImage:
    """Header and pixels of an SMV file. Raises InputFileError."""
    data, path = read_bytes(path), Path(path)
    if not data.startswith(START):
        raise InputFileError(path, "is not an SMV image; it does not begin with { and HEADER_BYTES")
    size = header_size(path, data)
    header = SmvHeader(path, END.split(data[1:size].decode("latin-1"), maxsplit=1)[0])
    (slow, fast), dtype = header.shape, header.dtype
    expected = dtype.itemsize * fast * slow
    if len(data) - size < expected:
        raise InputFileError(path, f"is cut short: {len(data) - size} bytes of pixels where the header promises {expected}")
    pixels = np.frombuffer(data, dtype, fast * slow, size).reshape(slow, fast)
    return SmvImage(header, pixels.astype(dtype.newbyteorder("=")))


def header_size(path: Path, data: bytes) -> int:
    found = re.match(rb"\{\nHEADER_BYTES=\s*(\d+)", data[:BLOCK])
    size = int(found.group(1)) if found else 0
    if not BLOCK <= size <= len(data):
        raise InputFileError(path, f"HEADER_BYTES = {size} does not fit a file of {len(data)} bytes")
    return size


def plain(name: str) -> str:
    """A type's name as TYPES has it: of 'signed_short' it is 'short'."""
    return " ".join(re.split(r"[\s_]+", name.lower())).removeprefix("signed ")


def exposure_of_smv(image: SmvImage) -> Exposure | None:
    """What an SMV header says, in MOSFLM's laboratory (EXP-3): beam along x, spindle and fast axis along z, slow axis along -y.

    The detector is swung about -z by TWOTHETA. It lies where XDS's origin and the distance of the plane put it, else where the direct
    beam is. A negative OSC_RANGE turns the spindle round, as DIALS has it. None without a pixel size, a distance and a centre. Raises
    InputFileError.
    """
    header = image.header
    detector = header.fields.get("BEAMLINE", "")
    if parts := not_flat(detector):
        raise InputFileError(header.path, f"its detector ({detector}) is not one flat panel but has {parts}; geometry of one panel is read")
    lengths = {name: header.value(name) for name in ("PIXEL_SIZE", "DISTANCE", "CLOSE_DISTANCE", "WAVELENGTH")}
    for name, value in lengths.items():
        if value is not None and not value >= 1.0 / BEYOND:
            raise InputFileError(header.path, f"{name} = {value:g} is not greater than {0.0 if value <= 0.0 else 1.0 / BEYOND:g}")
    pixel_mm, distance_mm, close_mm, wavelength = lengths.values()
    beam, origin = beam_centre_mm(header, pixel_mm), [header.first_of(f"XDS_ORG{axis}", f"ORG{axis}") for axis in "XY"]
    twotheta, oscillation = (units.radians(header.value(name) or 0.0) for name in ("TWOTHETA", "OSC_RANGE"))
    phi = units.radians(header.first_of("OSC_START", "PHI") or 0.0)
    if not all(abs(v) <= BEYOND for v in (twotheta, oscillation, phi, *lengths.values(), *beam, *origin) if v is not None):
        raise InputFileError(header.path, f"has a geometry with numbers beyond {BEYOND:g}")
    if pixel_mm is None:
        if "DETECTOR_NAMES" in header.fields:
            raise InputFileError(header.path, "states its geometry in d*TREK's words, which are not read")
        return None
    c, s = math.cos(twotheta), math.sin(twotheta)
    normal, slow_axis, fast_axis = np.array([c, -s, 0.0]), np.array([-s, -c, 0.0]), np.array([0.0, 0.0, 1.0])
    if close_mm is not None and origin[0] is not None and origin[1] is not None:
        corner = close_mm * normal - (origin[0] - 0.5) * pixel_mm * fast_axis - (origin[1] - 0.5) * pixel_mm * slow_axis
    elif distance_mm is not None and beam[0] is not None and beam[1] is not None:
        corner = distance_mm * np.array([1.0, 0.0, 0.0]) - beam[1] * fast_axis - beam[0] * slow_axis
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
        spindle_axis=(0.0, 0.0, -1.0 if oscillation < 0.0 else 1.0),
        phi_start=phi,
        oscillation=abs(oscillation),
        **counter(header, image.pixels.dtype),
    )


def beam_centre_mm(header: SmvHeader, pixel_mm: float | None) -> tuple[float | None, float | None]:
    """The direct beam from the corner of the first pixel, along the slow and the fast axis.

    MOSFLM_CENTER is from that pixel's centre; BEAM_CENTER from its corner, as DIALS reads it. Raises InputFileError where a simulated
    image (BEAMLINE = fake) leaves open whose BEAM_CENTER it has.
    """
    half = 0.5 * (pixel_mm or 0.0)
    x, y = (header.value(f"MOSFLM_CENTER_{axis}") for axis in "XY")
    if x is not None and y is not None:
        return x + half, y + half
    if header.fields.get("BEAMLINE") == "fake" and "XDS_ORGX" not in header.fields:
        raise InputFileError(header.path, "is simulated (BEAMLINE = fake), and its BEAM_CENTER of a convention that it does not name")
    return header.value("BEAM_CENTER_X"), header.value("BEAM_CENTER_Y")


def counter(header: SmvHeader, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Exposure time, pedestal, gain and range of the counter. Raises InputFileError."""
    seconds, gain, pedestal = header.value("TIME"), header.value("GAIN"), header.first_of("IMAGE_PEDESTAL", "ADC_OFFSET") or 0.0
    saturation = header.first_of("CCD_IMAGE_SATURATION", "SATURATED_VALUE")
    stated = {"TIME": seconds, "GAIN": gain, "IMAGE_PEDESTAL": abs(pedestal), "CCD_IMAGE_SATURATION": saturation}
    for name, value in stated.items():
        if value is not None and not 0.0 <= value <= BEYOND:
            raise InputFileError(header.path, f"{name} = {value:g} is not from 0 to {BEYOND:g}")
    if not saturation and dtype == np.uint16:
        saturation = float(np.iinfo(dtype).max)
    return {
        "exposure_time": seconds or None,
        "pedestal": pedestal,
        "gain": gain or 1.0,
        "trusted_range": (float(np.iinfo(dtype).min), saturation) if saturation and dtype.kind in "iu" else None,
    }
