"""What the exposure of an image file says of the experiment, where options leave it open (CLI-15)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nbnumba.experiment.detector import Detector
from nbnumba.experiment.panel import Panel
from nbnumba.geometry.exposure import Exposure
from nbnumba.options.experiment import Draft
from nbnumba.options.exposure import position

# What can be said of a detector without saying where it is.
NO_PLACE = {"pixel_size", "fast_pixels", "slow_pixels", "fast_size", "slow_size", "point_pixel"}
NO_PLACE |= {"sensor_thickness", "sensor_attenuation", "sensor_material", "sensor_layers"}
SIZES = ("fast_pixels", "slow_pixels", "fast_size", "slow_size")
MOSFLM_FROM_IMGCIF = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])  # beam -z to x, spindle x to z


def given_panels(draft: Draft) -> tuple[Panel, ...]:
    """Those that options or a saved experiment describe a detector by, if they do; they may not be in their places yet."""
    if draft.detector is not None:
        return draft.detector.panels
    before: tuple[Panel, ...] = draft.base.detector.panels if draft.base else ()
    return tuple(draft.part("detector").get("panels", before))


def given_shape(draft: Draft) -> tuple[int, int] | None:
    """Pixels (slow, fast) that options or a saved experiment ask for, of several panels one below the other; None if they say nothing."""
    said = draft.part("detector")
    if len(panels := given_panels(draft)) > 1:
        return sum(panel.slow_pixels for panel in panels), max(panel.fast_pixels for panel in panels)
    if draft.base is not None:
        return replace(draft.base.detector, **{name: said[name] for name in (*SIZES, "pixel_size") if name in said}).shape
    if not any(name in said for name in SIZES):
        return None
    return Detector(**{name: said[name] for name in (*SIZES, "pixel_size") if name in said}).shape


def complete(draft: Draft, exposure: Exposure | None, shape: tuple[int, int]) -> None:
    """Put in what options leave open; shape: of the pixels.

    Wavelength, pixel, phi and oscillation one by one; where the detector is as a whole, in MOSFLM's laboratory, if no option places it
    or turns to other axes. A saved experiment leaves nothing open.
    """
    if draft.base is not None:
        return
    said = {name.partition(".")[0]: draft.part(name.partition(".")[0]) for name in ("detector", "beam", "goniometer")}
    if given_shape(draft) is None:
        draft.values |= {"detector.slow_pixels": shape[0], "detector.fast_pixels": shape[1]}
    if exposure is None:
        return
    defaults: dict[str, Any] = {"detector.pixel_size": exposure.pixel_size}
    if exposure.wavelength is not None:
        defaults["beam.wavelength"] = exposure.wavelength
    if not said["goniometer"].keys() & {"oscillation", "phi_step", "phi_steps"}:
        defaults["goniometer.oscillation"] = exposure.oscillation or None
    defaults["goniometer.phi_start"] = exposure.phi_start
    if not (said["detector"].keys() - NO_PLACE) and "direction" not in said["beam"]:
        defaults |= place(exposure)
    for field, value in defaults.items():
        draft.values.setdefault(field, value)


def place(exposure: Exposure) -> dict[str, Any]:
    """Where the detector is, as fields of an experiment in MOSFLM's laboratory."""
    turned = exposure.imgcif.turned(MOSFLM_FROM_IMGCIF) if not is_mosflm(exposure) else exposure
    return {
        **position(turned),
        "beam.direction": turned.incident,
        "goniometer.spindle_axis": turned.spindle_axis or (0.0, 0.0, 1.0),
    }


def is_mosflm(exposure: Exposure) -> bool:
    """Whether the beam is along x and the spindle along z already."""
    return exposure.incident == (1.0, 0.0, 0.0) and exposure.spindle_axis == (0.0, 0.0, 1.0)
