"""The numbers of an experiment that it can be differentiated by (GRA-3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import ANY, Limits
from nbnumba.experiment.unit_cell import complete_cell

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

# Short names of fields of the experiment.
NAMES = {
    **{f"cell_{name}": f"crystal.cell[{n}]" for n, name in enumerate(("a", "b", "c", "alpha", "beta", "gamma"))},
    **{f"misset_{axis}": f"crystal.misset[{n}]" for n, axis in enumerate("xyz")},
    **{f"cells_{axis}": f"crystal.cells[{n}]" for n, axis in enumerate("abc")},
    **{f"detector_rot{axis}": f"detector.rotations[{n}]" for n, axis in enumerate("xyz")},
    "mosaic_spread": "crystal.mosaic_spread",
    **{f"mosaic_{axis}": f"spots.mosaic_widths[{n}]" for n, axis in enumerate("abc")},
    "bandwidth": "spots.bandwidth",
    "divergence_along": "spots.divergence_widths[0]",
    "divergence_across": "spots.divergence_widths[1]",
    "point_spread": "spots.point_spread",
    "phi_start": "goniometer.phi_start",
    "oscillation": "goniometer.oscillation",
    "wavelength": "beam.wavelength",
    "polarization_fraction": "beam.polarization_fraction",
    "fluence": "beam.fluence",
    "flux": "beam.flux",
    "distance": "detector.distance",
    "beam_x": "detector.beam_x",
    "beam_y": "detector.beam_y",
    "twotheta": "detector.twotheta",
    "background": "background.water_size",
    "default_F": "structure_factors.default_F",
}
AMPLITUDE = re.compile(r"F\(-?\d+,-?\d+,-?\d+\)")
BEAM_CENTRE = (("detector", "beam_x"), ("detector", "beam_y"))  # the middle of the detector, if it is not given
# What another value than 0 brings into being.
NOTHING_AT_0 = (
    *("beam.flux", "detector.sensor_thickness", "crystal.mosaic_spread", "goniometer.phi_step"),
    *("sources.dispersion", "sources.horizontal_range", "sources.vertical_range"),
    *("spots.bandwidth", "spots.divergence_widths", "spots.mosaic_widths", "spots.point_spread"),
)
FIELD = re.compile(r"(\w+)\.(\w+)(?:\[(\d+)\])?")
STEP = 3e-4  # of differences of fourth order, relative; what is differentiated is smooth and has fifteen digits
# Steps where the number itself is 0, by unit.
LEAST = {"rad": 3e-4, "m": 1e-5, "m, rad": 3e-4, "": 1e-5}


@dataclass(frozen=True)
class Variable:
    """A number of the experiment: a field of a part, or one of its elements; name: as it was asked for."""

    name: str
    part: str
    field: str
    element: int | None
    unit: str

    @property
    def sets(self) -> tuple[tuple[Any, ...], ...]:
        """What no other parameter may set."""
        return ((self.part, self.field, self.element),)

    @property
    def where(self) -> str:
        """What reads it reads this: its field, or for a table its part."""
        return self.part if self.part == "structure_factors" else f"{self.part}.{self.field}"

    def given(self, experiment: Experiment) -> Any:
        """The field, with what stands for something else spelled out."""
        given = getattr(getattr(experiment, self.part), self.field)
        if (self.part, self.field) == ("crystal", "misset"):
            return experiment.unit_cell.misset
        if (self.part, self.field) == ("crystal", "cell") and given is not None:
            return complete_cell(given)
        if (self.part, self.field) in BEAM_CENTRE and given is None:
            return getattr(experiment.frame, self.field)
        if given is None:
            raise ParameterError(f"{self.part}.{self.field}", f"is not given, so that nothing can be differentiated by {self.name}")
        return given

    def value(self, experiment: Experiment) -> float:
        """What it is. Raises ParameterError where the experiment leaves it open."""
        given: Any = experiment.cells if self.is_cells else self.given(experiment)
        return float(given if self.element is None else given[self.element])

    @property
    def is_cells(self) -> bool:
        """Whether it is a number of unit cells, which is whole in the description of a crystal, and need not be in a derivative."""
        return (self.part, self.field) == ("crystal", "cells")

    @property
    def is_angle(self) -> bool:
        """Whether it is in radians: of a cell, the last three numbers are."""
        return self.unit == "rad" or (self.unit == "m, rad" and (self.element or 0) >= 3)

    @property
    def is_mosaic_spread(self) -> bool:
        """Whether it is what turns mosaic domains: their angles vary as real numbers, whatever they are formed in (ROT-8)."""
        return (self.part, self.field) == ("crystal", "mosaic_spread")

    def step(self, experiment: Experiment) -> float:
        """Of differences of what depends on it smoothly. Raises ParameterError where nothing can be differentiated by it."""
        value, where = abs(self.value(experiment)), f"{self.part}.{self.field}"
        if value == 0.0 and where in NOTHING_AT_0:
            raise ParameterError(where, f"is 0, which means that there is none: nothing can be differentiated by {self.name}")
        if value == 0.0 and self.element is not None and not self.is_cells:
            value = max(map(abs, self.given(experiment)))  # of a matrix or a vector
        return STEP * value if value > 0.0 else LEAST.get(self.unit, STEP)

    def changed(self, experiment: Experiment, value: Any) -> Experiment:
        """The experiment with another value, and all that is decided for the user as it was."""
        if self.is_cells:
            cells = tuple(value if n == self.element else count for n, count in enumerate(experiment.cells))
            return decided_alike(experiment, experiment, cells=cells)
        new = value
        if self.element is not None:
            new = tuple(value if n == self.element else v for n, v in enumerate(self.given(experiment)))
        changes = {self.field: new}
        if (self.part, self.field) == ("crystal", "misset"):
            changes["random_orientation_seed"] = None  # which the angles that it gave take the place of
        changed = replace(experiment, **{self.part: replace(getattr(experiment, self.part), **changes)})
        if self.is_mosaic_spread:
            model = experiment.model
            model = replace(model, quirks={**model.quirks, "single-angles": False})
            changed = replace(changed, model=model).taking(quirks=model.active_quirks)
        return decided_alike(changed, experiment)


@dataclass(frozen=True)
class Scale(Variable):
    """A factor to all photons that come in; reference: photons / m^2 of a factor of 1, None: those of the experiment at hand."""

    reference: float | None = None

    @property
    def sets(self) -> tuple[tuple[Any, ...], ...]:
        """Fluence and flux."""
        return ("beam", "fluence", None), ("beam", "flux", None)

    @property
    def where(self) -> str:
        """A flux is asked for before a fluence."""
        return "beam.flux"

    def value(self, experiment: Experiment) -> float:
        """1 with the reference. Raises ParameterError where there are no photons."""
        if not experiment.beam.photons_per_area:
            raise ParameterError("beam.fluence", "is 0, which no scale changes")
        return experiment.beam.photons_per_area / (self.reference or experiment.beam.photons_per_area)

    def changed(self, experiment: Experiment, value: Any) -> Experiment:
        """The experiment with another fluence, whether that was given or followed from a flux."""
        beam = replace(experiment.beam, fluence=(self.reference or experiment.beam.photons_per_area) * value, flux=0.0)
        return decided_alike(replace(experiment, beam=beam), experiment)


class Amplitude(Variable):
    """The amplitude of a reflection h k l of the table; ``unit`` is that of amplitudes, ``name`` is F(h,k,l)."""

    @property
    def sets(self) -> tuple[tuple[Any, ...], ...]:
        """That of the reflection."""
        return ((self.part, self.field, self.name),)

    def rows(self, experiment: Experiment) -> Any:
        """Of the reflection in the table, of which the last one counts. Raises ParameterError where it is not listed."""
        factors, wanted = experiment.structure_factors, [int(index) for index in self.name[2:-1].split(",")]
        rows: Any = [] if factors.hkl is None else np.flatnonzero((np.asarray(factors.hkl) == wanted).all(axis=1))
        if experiment.depends_on_energy:
            raise ParameterError("structure_factors.anomalous", f"gives every wavelength another {self.name}; leave one of them out")
        if not len(rows):
            raise ParameterError("structure_factors.hkl", f"does not list the reflection of {self.name}")
        return rows

    def value(self, experiment: Experiment) -> float:
        """In electrons."""
        row = self.rows(experiment)[-1]
        return float(np.asarray(experiment.amplitudes)[row])

    def changed(self, experiment: Experiment, value: Any) -> Experiment:
        """The experiment with another table."""
        rows, F = self.rows(experiment), np.array(experiment.amplitudes, np.float64)
        F[rows] = value
        return decided_alike(with_amplitudes(experiment, F), experiment)


@dataclass(frozen=True)
class StageParameter(Variable):
    """A number that a chosen stage brings along, ``model.parameters.NAME``; default: where the experiment does not give it."""

    default: float = 0.0
    limits: Limits = ANY

    @property
    def sets(self) -> tuple[tuple[Any, ...], ...]:
        """That of the stages."""
        return (("model.parameters", self.field),)

    @property
    def where(self) -> str:
        """The model as a whole."""
        return self.part

    def value(self, experiment: Experiment) -> float:
        """The user's, else the stage's default."""
        return float(experiment.model.parameters.get(self.field, self.default))

    def changed(self, experiment: Experiment, value: Any) -> Experiment:
        """The experiment with another value. Raises ParameterError for one that the stage does not allow."""
        if problem := self.limits.problem(value):
            raise ParameterError(f"model.parameters.{self.field}", f"{value} {problem}")
        model = replace(experiment.model, parameters={**experiment.model.parameters, self.field: float(value)})
        return decided_alike(replace(experiment, model=model), experiment)


def with_amplitudes(experiment: Experiment, F: Any) -> Experiment:
    """The experiment with other amplitudes, which are those of no file; of a reflection that is listed twice, the last one counts."""
    factors = experiment.structure_factors
    assert factors.hkl is not None
    _, last = np.unique(np.asarray(factors.hkl)[::-1], axis=0, return_index=True)
    kept = np.sort(len(factors.hkl) - 1 - last)
    listed = replace(factors, hkl=np.asarray(factors.hkl)[kept], F=np.asarray(F)[kept], path=None, reflections=None)
    return replace(experiment, structure_factors=listed)


def decided_alike(changed: Experiment, experiment: Experiment, **known: Any) -> Experiment:
    """Hold what is chosen in steps: sub-pixels, phi steps, and cells that follow from a sample size."""
    steps = experiment.goniometer.scan.steps
    if changed.goniometer.oscillation is not None and changed.goniometer.phi_steps != steps:
        changed = replace(changed, goniometer=replace(changed.goniometer, phi_steps=steps)).taking(**changed.worked_out)
    return changed.taking(**{"oversample": experiment.oversample, "cells": experiment.cells, **known})
