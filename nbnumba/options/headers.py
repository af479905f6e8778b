"""What the header of an SMV image says of the experiment (FMT-13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbnumba import units
from nbnumba.experiment.detector import Detector
from nbnumba.formats.smv import SmvImage, beam_centre_mm
from nbnumba.formats.smv_header import SmvHeader

FIELDS: tuple[tuple[str, str, Callable[[float], float]], ...] = (
    ("PIXEL_SIZE", "detector.pixel_size", units.metres_from_mm),
    ("DISTANCE", "detector.distance", units.metres_from_mm),
    ("CLOSE_DISTANCE", "detector.close_distance", units.metres_from_mm),
    ("WAVELENGTH", "beam.wavelength", units.metres_from_angstrom),
    ("BEAM_CENTER_X", "detector.beam_x", units.metres_from_mm),
    ("BEAM_CENTER_Y", "detector.beam_y", units.metres_from_mm),
    ("ORGX", "detector.xds_orgx", float),
    ("ORGY", "detector.xds_orgy", float),
    ("PHI", "goniometer.phi_start", units.radians),
    ("OSC_RANGE", "goniometer.oscillation", units.radians),
)


# With exact keywords: what wins over the field's own keyword where it is there.
RATHER = {"PHI": ("OSC_START",)}


def header_values(image: SmvImage, flip_y: bool, as_reference: bool) -> dict[str, Any]:
    """What a header says of the experiment, by field (FMT-13)."""
    slow, fast = image.pixels.shape
    found: dict[str, Any] = {"detector.fast_pixels": fast, "detector.slow_pixels": slow}
    for keyword, field, convert in FIELDS:
        value = image.header.value(keyword, exact=False) if as_reference else image.header.first_of(*RATHER.get(keyword, ()), keyword)
        if value is not None:
            found[field] = convert(value)
    pixel = found.get("detector.pixel_size", Detector().pixel_size)
    if not as_reference:
        found |= exact_values(image.header, pixel)
    if flip_y and "detector.beam_y" in found:
        found["detector.beam_y"] = slow * pixel - found["detector.beam_y"]
    return found


def exact_values(header: SmvHeader, pixel: float) -> dict[str, Any]:
    """TWOTHETA, and the direct beam from the centre of the first pixel, as MOSFLM's convention has it."""
    twotheta = header.value("TWOTHETA")
    centre = dict(zip("xy", beam_centre_mm(header, pixel * 1e3), strict=True))
    beam = {f"detector.beam_{axis}": units.metres_from_mm(mm) - pixel / 2.0 for axis, mm in centre.items() if mm is not None}
    return {**beam, **({} if twotheta is None else {"detector.twotheta": units.radians(twotheta)})}
