"""Images to be looked at: pixels, and the geometry that the file states."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.errors import InputFileError
from nbnumba.exposure import Exposure
from nbnumba.inputs.image import Shape, is_counts, read_image
from nbnumba.inputs.smv import SmvImage, read_smv


def read_picture(path: str | Path, number: int = 1, shape: Shape | None = None) -> tuple[NDArray[np.float64], Exposure | None]:
    """Pixels [slow, fast] of an image and its exposure, None if the file states none; number: which image of a stack, from 1.

    shape: of a raw image, which is taken for square without it. Raises InputFileError.
    """
    if number != 1:
        raise InputFileError(path, f"holds one image; there is no number {number}")
    pixels = read_image(path, shape)
    return pixels, exposure_of_smv(read_smv(path)) if is_counts(path) else None


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
    )
