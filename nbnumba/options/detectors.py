"""A detector by its name as fields of the experiment, which options then put in place as they do a detector of one panel (DET-4, DET-5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import OptionError
from nbnumba.experiment.panel import Panel
from nbnumba.geometry.catalogue import KnownDetector
from nbnumba.geometry.layout import OF_MODULES

Mask = NDArray[np.bool_]
DECIDED = (*(f"detector.{name}" for name in OF_MODULES), "detector.pixels", "detector.size")  # of options that cannot change them


def fields_of_detector(detector: KnownDetector) -> dict[str, Any]:
    """Its pixels and its sensor; the attenuation follows from material and wavelength, once that is settled."""
    return {f"detector.{name}": value for name, value in {**detector.fields, "panels": (), "sensor_attenuation": None}.items()}


def masked(detector: KnownDetector, given: Mask | None) -> tuple[Panel, ...]:
    """The detector's panels with the gaps, and what a mask leaves out, in their own masks. Raises OptionError.

    given: pixels to render, [slow, fast]; of several panels the pixels of one after the other, in rows of any length.
    """
    if given is None:
        return detector.panels
    if given.size != detector.pixels or (len(detector.panels) == 1 and given.shape != detector.panels[0].shape):
        slow, fast = detector.panels[0].shape
        has = f"{fast} x {slow}" if len(detector.panels) == 1 else f"{len(detector.panels)} panels of {fast} x {slow}"
        raise OptionError(f"-mask: has {given.shape[1]} x {given.shape[0]} pixels, --detector {detector.name} {has}")
    ends = np.cumsum([panel.slow_pixels * panel.fast_pixels for panel in detector.panels])
    parts = np.split(given.ravel(), ends[:-1])
    return tuple(replace(panel, mask=both(panel, part)) for panel, part in zip(detector.panels, parts, strict=True))


def both(panel: Panel, given: Mask) -> Mask:
    """What a panel's own mask and another leave."""
    mask = given.reshape(panel.shape)
    return mask if panel.mask is None else mask & panel.mask
