"""What files of other programs say of an experiment's image (EXP-4, EXP-6)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.experiment.spectrum import Spectrum
from nbnumba.geometry.exposure import Exposure, Vector

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.panel import Panel
    from nbnumba.experiment.vectors import Array


def exposure_of(experiment: Experiment, number: int = 1) -> Exposure:
    """Geometry and scan of the experiment's image, in the laboratory of its convention; number: of the image in its scan.

    A detector with ``-curved_det`` is stated as the plane that it touches. The wavelength is the beam's, about which there may be others;
    of listed sources and of a spectrum, that of their mean energy. Raises ParameterError.
    """
    if experiment.by_panel[0] is not experiment:
        panels = tuple(map(as_rendered, experiment.detector.panels))
        return replace(exposure_of(experiment.by_panel[0], number), panels=panels if len(panels) > 1 else ())
    frame, beam, detector, scan = experiment.frame, experiment.beam, experiment.detector, experiment.goniometer.scan
    absorption = detector.absorption if detector.sensor_thickness > 0.0 else 0.0
    spectrum = spectrum_of(experiment)
    return Exposure(
        shape=detector.shape,
        pixel_size=detector.pixel_size,
        origin=vector(frame.pix0),
        fast_axis=vector(frame.fast_axis),
        slow_axis=vector(frame.slow_axis),
        incident=vector(frame.incident),
        wavelength=beam.wavelength if experiment.sources.wavelengths is None and beam.spectrum is None else spectrum.mean,
        spectrum=spectrum if len(spectrum.wavelengths) > 1 else None,
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


def as_rendered(panel: Panel) -> Panel:
    """The panel with the attenuation depth that it is rendered with where none is given (EXP-15)."""
    return replace(panel, sensor_attenuation=panel.sensor_thickness) if panel.sensor_attenuation is None else panel


def spectrum_of(experiment: Experiment) -> Spectrum:
    """The wavelengths of all sources, with their parts in the intensity as it is rendered."""
    sources = experiment.source_list
    weights = np.ones_like(sources.weight) if "source-weights" in experiment.quirks else sources.weight
    lengths, of = np.unique(sources.wavelength, return_inverse=True)
    parts = np.bincount(of, weights) / weights.sum()
    return Spectrum(lengths, parts)


def vector(v: Array) -> Vector:
    x, y, z = (float(component) for component in v)
    return x, y, z
