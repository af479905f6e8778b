"""A detector by its name as fields of the experiment, which options then put in place as they do a detector of one panel (DET-4, DET-5)."""

from __future__ import annotations

from typing import Any

from nbnumba.geometry.catalogue import KnownDetector
from nbnumba.geometry.layout import OF_MODULES

DECIDED = (*(f"detector.{name}" for name in OF_MODULES), "detector.pixels", "detector.size")  # of options that cannot change them


def fields_of_detector(detector: KnownDetector) -> dict[str, Any]:
    """Its pixels and its sensor; attenuation and saturation follow from the wavelength, once that is settled."""
    return {f"detector.{name}": value for name, value in {**detector.fields, "panels": (), "sensor_attenuation": None}.items()}
