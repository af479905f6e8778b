"""What the header of an SMV image says of the experiment (FMT-13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbnumba import units
from nbnumba.experiment.detector import Detector
from nbnumba.inputs.smv import SmvImage

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


def header_values(image: SmvImage, flip_y: bool, as_reference: bool) -> dict[str, Any]:
    """What a header says of the experiment, by field (FMT-13)."""
    slow, fast = image.pixels.shape
    found: dict[str, Any] = {"detector.fast_pixels": fast, "detector.slow_pixels": slow}
    for keyword, field, convert in FIELDS:
        value = image.value(keyword, exact=not as_reference)
        if value is not None:
            found[field] = convert(value)
    if not as_reference and (twotheta := image.value("TWOTHETA", exact=True)) is not None:
        found["detector.twotheta"] = units.radians(twotheta)
    if flip_y and "detector.beam_y" in found:
        found["detector.beam_y"] = slow * found.get("detector.pixel_size", Detector().pixel_size) - found["detector.beam_y"]
    return found
