"""The resolved geometry in the conventions of the field's programs (FMT-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbnumba.geometry.exposure import Exposure

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def centres(experiment: Experiment) -> dict[str, Any]:
    """Beam centres and origins: mm, but ORGX and ORGY in pixels; beam_center: as the experiment's convention has it."""
    frame, pixel = experiment.frame, experiment.detector.pixel_size
    height, _ = experiment.detector.extent
    x, y, z = (float(v) * 1e3 for v in frame.pix0)
    close = frame.close_fast / pixel, frame.close_slow / pixel
    conventions = by_convention(frame.beam_fast, frame.beam_slow, close, height, pixel)
    return {"beam_center": (frame.beam_x * 1e3, frame.beam_y * 1e3), **conventions, "dials_origin": (z, y, -x)}


def centres_of(exposure: Exposure) -> dict[str, Any]:
    """The same of an exposure in imgCIF's laboratory."""
    pixel, (fast, slow) = exposure.pixel_size, exposure.beam_centre
    conventions = by_convention(fast * pixel, slow * pixel, exposure.close_point, exposure.shape[0] * pixel, pixel)
    return {**conventions, "dials_origin": tuple(v * 1e3 for v in exposure.origin)}


def by_convention(beam_fast: float, beam_slow: float, close: tuple[float, float], height: float, pixel: float) -> dict[str, Any]:
    """The direct beam (m) and the nearest point (fast, slow; pixels), both from the corner of the first pixel."""
    return {
        "adxv": (beam_fast * 1e3, (height - beam_slow) * 1e3),
        "mosflm": ((beam_slow - 0.5 * pixel) * 1e3, (beam_fast - 0.5 * pixel) * 1e3),
        "denzo": (beam_slow * 1e3, beam_fast * 1e3),
        "xds": (close[0] + 0.5, close[1] + 0.5),
    }
