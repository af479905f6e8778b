"""An experiment's geometry and scan as files of other programs state them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbnumba.exposure import Exposure, Vector

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def exposure_of(experiment: Experiment, number: int = 1) -> Exposure:
    """One image's, in the experiment's own laboratory; number: of the image in its scan."""
    detector, frame, beam, sweep = experiment.detector, experiment.frame, experiment.beam, experiment.goniometer.sweep
    return Exposure(
        shape=detector.shape,
        pixel_size=detector.pixel_size,
        origin=vector(frame.pix0),
        fast_axis=vector(frame.fast_axis),
        slow_axis=vector(frame.slow_axis),
        incident=vector(frame.incident),
        wavelength=beam.wavelength,
        polarization_axis=vector(frame.polarization_axis),
        polarization_fraction=beam.polarization_fraction,
        spindle_axis=vector(frame.spindle_axis),
        phi_start=experiment.goniometer.phi_start,
        oscillation=sweep.oscillation,
        number=number,
        exposure_time=beam.exposure,
        sensor_thickness=detector.sensor_thickness,
        sensor_attenuation=1.0 / detector.absorption if detector.absorption else None,
    )


def vector(values: Any) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
