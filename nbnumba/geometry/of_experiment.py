"""What files of other programs say of an experiment's image (EXP-4, EXP-6)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nbnumba.geometry.exposure import Exposure, Vector

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.vectors import Array


def exposure_of(experiment: Experiment, number: int = 1) -> Exposure:
    """Geometry and scan of the experiment's image, in the laboratory of its convention; number: of the image in its scan.

    A detector with ``-curved_det`` is stated as the plane that it touches. Raises ParameterError.
    """
    if experiment.by_panel[0] is not experiment:
        panels = experiment.detector.panels
        return replace(exposure_of(experiment.by_panel[0], number), panels=panels if len(panels) > 1 else ())
    frame, beam, detector, scan = experiment.frame, experiment.beam, experiment.detector, experiment.goniometer.scan
    absorption = detector.absorption if detector.sensor_thickness > 0.0 else 0.0
    return Exposure(
        shape=detector.shape,
        pixel_size=detector.pixel_size,
        origin=vector(frame.pix0),
        fast_axis=vector(frame.fast_axis),
        slow_axis=vector(frame.slow_axis),
        incident=vector(frame.incident),
        wavelength=beam.wavelength,
        flux=beam.flux or None,
        polarization_axis=vector(frame.polarization_axis),
        polarization_fraction=beam.polarization_fraction,
        spindle_axis=vector(frame.spindle_axis),
        phi_start=experiment.goniometer.phi_start,
        oscillation=scan.oscillation,
        number=number,
        exposure_time=beam.exposure,
        sensor_thickness=detector.sensor_thickness,
        sensor_attenuation=1.0 / absorption if absorption > 0.0 else None,
        sensor_material=detector.sensor_material,
        trusted_range=None if detector.saturation is None else (0.0, detector.saturation),
        mask=experiment.sampling.mask,
    )


def vector(v: Array) -> Vector:
    x, y, z = (float(component) for component in v)
    return x, y, z
