"""miniCBF images: pixels by fabio, geometry and scan from the header that Dectris's detectors write (FMT-25)."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.exposure import SURFACE, Exposure
from nbnumba.inputs.text import read_bytes

NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
HEADER = "_array_data.header_contents"
STARTS = b"\x0c\x1a\x04\xd5"  # what stands before the compressed pixels


def read_cbf(path: Path) -> tuple[NDArray[Any], str]:
    """Counts [slow, fast], and the header's text. Raises InputFileError."""
    from fabio.cbfimage import CbfImage

    require_whole(path)
    logging.getLogger("fabio").setLevel(logging.CRITICAL)  # what is wrong is told here
    try:
        image = CbfImage().read(str(path))
        pixels = np.asarray(image.data)
    except Exception as error:  # fabio raises whatever its parsing stumbles over
        raise InputFileError(path, f"is not a CBF image that can be read: {str(error) or type(error).__name__}") from None
    if pixels.ndim != 2 or not pixels.size:
        raise InputFileError(path, f"is not a CBF image that can be read: its pixels have shape {pixels.shape}")
    return pixels, str(image.header.get(HEADER, ""))


def require_whole(path: Path) -> None:
    """Refuse a file whose pixels are cut short, or are not those that it was written with."""
    header, starts, rest = read_bytes(path).partition(STARTS)
    if not starts:
        raise InputFileError(path, "is not a CBF image that can be read: it holds no binary section; is it whole?")
    size, digest = re.search(rb"X-Binary-Size:\s*(\d+)", header), re.search(rb"Content-MD5:\s*(\S+)", header)
    pixels = rest[: int(size[1])] if size else rest
    if size and len(pixels) < int(size[1]):
        raise InputFileError(path, f"is cut short: {len(pixels)} bytes of pixels where the header promises {int(size[1])}; fetch it again")
    if digest and base64.b64encode(hashlib.md5(pixels, usedforsecurity=False).digest()) != digest[1]:
        raise InputFileError(path, "is damaged: the sum over its pixels is not the one in its header; fetch it again")


def exposure_of_cbf(path: Path, text: str, shape: tuple[int, ...]) -> Exposure | None:
    """Detector straight in the beam, spindle along x, as a Pilatus states it; None without beam centre, distance or pixel size.

    Raises InputFileError where what is stated cannot be.
    """
    pixel = stated(text, r"Pixel_size")
    distance = stated(text, r"Detector_distance")
    centre = re.search(rf"Beam_xy\s*\(\s*{NUMBER}\s*,\s*{NUMBER}\s*\)", text)
    if not (pixel and distance and centre):
        return None
    fast, slow = (float(v) * pixel for v in centre.groups())
    thickness = stated(text, "(?:Silicon|CdTe) sensor, thickness") or 0.0
    wavelength, polarization = stated(text, "Wavelength"), stated(text, "Polarization")
    return Exposure(
        shape=(shape[0], shape[1]),
        pixel_size=pixel,
        origin=(-fast, slow, -distance),
        wavelength=None if wavelength is None else wavelength * 1e-10,
        polarization_axis=(1.0, 0.0, 0.0),
        polarization_fraction=None if polarization is None else 2.0 * polarization - 1.0,
        spindle_axis=(1.0, 0.0, 0.0),
        phi_start=units.radians(stated(text, "Start_angle") or 0.0),
        oscillation=units.radians(stated(text, "Angle_increment") or 0.0),
        exposure_time=stated(text, "Exposure_period") or stated(text, "Exposure_time"),
        sensor_thickness=thickness if thickness > SURFACE else 0.0,
    )


def stated(text: str, name: str) -> float | None:
    """The number after a name, None where there is none."""
    found = re.search(rf"#\s*{name}[\s=:(]*{NUMBER}", text)
    return float(found[1]) if found else None
