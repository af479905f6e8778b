"""The resolved geometry in the conventions of the field's programs (FMT-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def centres(experiment: Experiment) -> dict[str, Any]:
    """Beam centres and origins: mm, but ORGX and ORGY in pixels."""
    frame, pixel = experiment.frame, experiment.detector.pixel_size
    height, _ = experiment.detector.extent
    x, y, z = (float(v) * 1e3 for v in frame.pix0)
    return {
        "beam_center": (frame.beam_x * 1e3, frame.beam_y * 1e3),
        "adxv": (frame.beam_fast * 1e3, (height - frame.beam_slow) * 1e3),
        "mosflm": ((frame.beam_slow - 0.5 * pixel) * 1e3, (frame.beam_fast - 0.5 * pixel) * 1e3),
        "denzo": (frame.beam_slow * 1e3, frame.beam_fast * 1e3),
        "dials_origin": (z, y, -x),
        "xds": (frame.close_fast / pixel + 0.5, frame.close_slow / pixel + 0.5),
    }
