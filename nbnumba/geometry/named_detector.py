"""A detector by its name in Python (DET-7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Beam
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.frame import resolve_axes, resolve_frame
from nbnumba.experiment.goniometer import Goniometer
from nbnumba.experiment.part import shown
from nbnumba.experiment.physics import Model
from nbnumba.geometry.catalogue import detector_by_name
from nbnumba.geometry.layout import OF_MODULES, in_place
from nbnumba.geometry.sensor import attenuation_length


def detector(name: str, beam: Beam, *, model: Model | None = None, **placement: Any) -> Detector:
    """The detector of this name (``nbnumba detectors`` lists them), or of a TOML file, where fields of Detector put it.

    placement: such as ``distance=0.2``, ``beam_x``, ``twotheta``, of the one flat panel that encloses all of its own; the sensor's, too.
    beam: whose wavelength its sensor absorbs; model: whose quirks the place follows. Raises OptionError, InputFileError, ParameterError.
    """
    if not isinstance(name, str):
        raise ParameterError("name", f"{shown(name)} is no name of a detector, nor a TOML file; 'nbnumba detectors' lists names")
    if not isinstance(beam, Beam):
        raise ParameterError("beam", f"{shown(beam)} is not a Beam")
    known = detector_by_name(name)
    if taken := [field for field in placement if field in (*OF_MODULES, "panels")]:
        raise ParameterError(f"detector.{taken[0]}", f"is that of {known.name}; leave it out")
    plane = Detector(**(known.fields | {"saturation": known.counting.largest_count(beam.wavelength)} | placement))
    if plane.sensor_material and plane.sensor_thickness and plane.sensor_attenuation is None:
        plane = replace(plane, sensor_attenuation=attenuation_length(plane.sensor_material, beam.wavelength))
    if known.modules.one_panel and not known.modules.has_gaps:
        return plane
    quirks = (model or Model()).active_quirks
    return in_place(known.panels, plane, resolve_frame(resolve_axes(beam, plane, Goniometer(), quirks), plane, quirks))
