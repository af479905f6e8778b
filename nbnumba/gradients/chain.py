"""The chain rule from an experiment's parameters to what the kernel is given: orientations, sources, fields of the stages' parameters.

That depends on an experiment smoothly and costs little: it is differentiated by differences of fourth order, of no more than what reads
the part that a parameter belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError, StageError
from nbnumba.experiment.experiment import PARTS, Experiment
from nbnumba.gradients.differences import neighbours
from nbnumba.gradients.variables import StageParameter
from nbnumba.kernel.cpu.render import ORDER
from nbnumba.kernel.device import each
from nbnumba.simulation.scene import brightness_of, taken
from nbnumba.stages.chosen import Stages

if TYPE_CHECKING:
    from nbnumba.gradients.variables import Variable
    from nbnumba.stages.stage import Stage

Inputs = dict[str, NDArray[np.float64]]  # what the kernel is given, by the names of Sums and in their shapes

# Parts that stages keep tables by: what reads one of them is taken to read all its fields.
KEPT_WHOLE = ("sampling", "structure_factors", "model")
# Fields of a scaling by which the kernel itself differentiates.
OF_THE_SUM = ("photons", "background")
# What an experiment works out once.
RESOLVED = tuple(name for name, value in vars(Experiment).items() if isinstance(value, cached_property))


class NoDerivativeError(StageError):
    """A stage that does not say how its results vary with what they depend on; problem: in words."""

    def __init__(self, stage: Stage, problem: str) -> None:
        super().__init__(f"{stage}: {problem}; value_and_grad(..., differences=True) goes without")
        self.problem = f"{stage}: {problem}"


class Chain:
    """How what the kernel is given changes with an experiment's parameters.

    chosen, prepared: stages and what they prepared, by kind; rows: the row of the rotation's table that every phi step takes.
    """

    def __init__(self, experiment: Experiment, chosen: Stages, prepared: Mapping[str, Any], rows: NDArray[np.int64]) -> None:
        self._experiment, self._chosen, self._prepared, self._rows = experiment, chosen, prepared, rows
        reads = ReadRecorder(experiment)
        self._fields = {name: reads.of(attrgetter(name)) for name in RESOLVED if name in experiment.worked_out}
        self._fields |= {kind: reads.of(partial(chosen.prepare, kinds=(kind,))) for kind in prepared}
        self._fields["sources"] = reads.of(attrgetter("source_list")) | reads.of(brightness_of)
        self._here = self._inputs(experiment, prepared, sources=True)

    def slopes(self, v: Variable) -> Inputs:
        """The derivatives by a parameter of what the kernel is given; what it does not reach is left out."""
        step = v.step(self._experiment)
        there = [(weight, self._changed(v, experiment)) for weight, experiment in neighbours(v, self._experiment, step)]
        if any(inputs[name].shape != self._here[name].shape for _, inputs in there for name in inputs):
            raise ParameterError(v.name, "changes how many sources or orientations there are; give numbers of steps")
        return {
            name: np.asarray(sum(weight * (inputs[name] - here) for weight, inputs in there) / step)
            for name, here in self._here.items()
            if name in there[0][1]
        }

    def by_amplitudes(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the derivatives by the table of structure factors to those by the amplitudes that are listed."""
        stage, factors = self._chosen["structure_factor"], self._experiment.structure_factors
        assert factors.F is not None
        # Which amplitude an element of the table holds shows where they are numbered.
        numbered = replace(
            factors, F=np.arange(1.0, len(factors.F) + 1.0), default_F=0.0, path=factors.path or Path("numbered"), reflections=None
        )
        numbers = getattr(stage.prepare(replace(self._experiment, structure_factors=numbered)), stage.table)
        if not np.isin(numbers, np.arange(len(factors.F) + 1)).all():
            raise StageError(f"{stage}: its table {stage.table} holds other numbers than the amplitudes that are listed")
        listed = np.bincount(numbers.astype(np.int64).ravel(), weights=table.ravel(), minlength=len(factors.F) + 1)
        return np.asarray(listed[1:], np.float64)

    def _changed(self, v: Variable, experiment: Experiment) -> Inputs:
        """What may be different with another value of a parameter."""
        known = self._experiment.worked_out
        alike = {name: known[name] for name in RESOLVED if name in self._fields and v.where not in self._fields[name]}
        experiment = experiment.taking(**{**alike, **experiment.worked_out})
        prepared = self._chosen.prepare(experiment, tuple(kind for kind in self._prepared if v.where in self._fields[kind]))
        self._require_followed(v, prepared)
        return self._inputs(experiment, prepared, sources=v.where in self._fields["sources"])

    def _inputs(self, experiment: Experiment, prepared: Mapping[str, Any], sources: bool) -> Inputs:
        """What stages that have prepared something and, if wanted, the sources give to the kernel."""
        found: Inputs = {}
        if "rotation" in prepared:
            found["orientations"] = taken(prepared["rotation"], self._rows).reshape(len(self._rows), -1, 9)
        if sources:
            found["incident"], found["wavelength"] = experiment.source_list.incident, experiment.source_list.wavelength
            found["brightness"] = brightness_of(experiment)
        for kind in set(ORDER) & set(prepared):
            found[kind] = np.array([getattr(each(prepared[kind])[n], name) for n, name in varied_fields(self._chosen, kind)], np.float64)
        if "scaling" in prepared:
            found["scaling"] = np.append(found["scaling"], [prepared["scaling"].photons, prepared["scaling"].background])
        if "structure_factor" in prepared and (table := self._chosen["structure_factor"].table):
            found["table"] = getattr(prepared["structure_factor"], table)
        return found

    def _require_followed(self, v: Variable, prepared: Mapping[str, Any]) -> None:
        """Refuse a parameter on which something depends that no derivative is taken by: an array, or all that a stage makes of its own.

        A field that a derivative does not name may be for something else, such as the ceiling of a lattice shape.
        """
        for kind in set(ORDER) & set(prepared):
            for stage, before, after in zip(self._chosen.of(kind), each(self._prepared[kind]), each(prepared[kind]), strict=False):
                require_followed(v, stage, before._asdict(), after._asdict())


def require_followed(v: Variable, stage: Stage, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """The same of one stage, with what it prepares without and with a change of the parameter."""
    varying = {name for name in here if here[name] is not there[name] and not np.array_equal(here[name], there[name])}
    followed = varying & {*stage.varied, getattr(stage, "table", ""), *(OF_THE_SUM if stage.kind == "scaling" else ())}
    lost = {name for name in varying - followed if isinstance(here[name], np.ndarray)}
    if isinstance(v, StageParameter) and stage.derivative and not followed:
        lost |= varying
    for name in sorted(lost):
        what = "array" if isinstance(here[name], np.ndarray) else "field"
        raise NoDerivativeError(stage, f"its {what} {name} varies with {v.name}, which a gradient does not follow")


def varied_fields(chosen: Stages, kind: str) -> list[tuple[int, str]]:
    """What the stages of one of the kernel's kinds vary with: which of them, and the field."""
    return [(n, name) for n, stage in enumerate(chosen.of(kind)) for name in stage.varied]


class ReadRecorder:
    """Which fields (``beam.fluence``) functions of an experiment read, on the way through what the experiment works out, too."""

    def __init__(self, experiment: Experiment) -> None:
        self._read: set[str] = set()
        self._parts = {section: getattr(experiment, section) for section in PARTS}

    def of(self, function: Callable[[Experiment], Any]) -> set[str]:
        """The fields that a function reads; of a part that is kept whole, its name."""
        watched = {section: self._part(section) for section in PARTS}  # of which nothing is known from the last time
        experiment = self._watched(Experiment(**watched), {section: section for section in PARTS})
        self._read.clear()
        function(experiment)
        return set(self._read)

    def _part(self, section: str) -> Any:
        part = self._parts[section]
        return part if section in KEPT_WHOLE else self._watched(part, {f.name: f"{section}.{f.name}" for f in fields(part)})

    def _watched(self, thing: Any, names: Mapping[str, str]) -> Any:
        """A description of the same fields, of which nothing is worked out yet, that notes what is read."""
        note = self._read.add

        class Watched(type(thing)):  # type: ignore[misc]
            def __getattribute__(self, name: str) -> Any:
                if name in names:
                    note(names[name])
                return object.__getattribute__(self, name)

        return Watched(**{name: getattr(thing, name) for name in names})
