"""Parameters of an experiment by their names, and the experiment with other values of them (GRA-3)."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nbnumba.errors import ParameterError
from nbnumba.experiment.experiment import PARTS
from nbnumba.gradients.panel_motion import STEPS, PanelMotion, motion_of
from nbnumba.gradients.variables import AMPLITUDE, FIELD, NAMES, Amplitude, Scale, StageParameter, Variable
from nbnumba.simulation.scene import choose_stages
from nbnumba.stages.registry import Registry, registry_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.registry import StageSource


def variable(name: str) -> Variable:
    """By a name of NAMES, as ``scale``, ``F(h,k,l)``, ``part.field`` or ``part.field[element]``. Raises ParameterError."""
    if not isinstance(name, str):
        raise ParameterError("parameters", f"{name!r} is not the name of a parameter")
    if name == "scale":
        return Scale(name, "beam", "fluence", None, "")
    if AMPLITUDE.fullmatch(name):
        return Amplitude(name, "structure_factors", "F", None, "electrons")
    match = FIELD.fullmatch(NAMES.get(name, name))
    part, field, element = match.groups() if match else ("", "", None)
    found = next((f for f in fields(PARTS[part]) if f.name == field), None) if part in PARTS else None
    size = found.metadata.get("size", 0) if found else 0
    sound = found is not None and "limits" in found.metadata and (element is None) == (size == 0) and int(element or 0) < max(size, 1)
    if found is None or not sound or (found.metadata.get("whole") and name not in NAMES):
        near = difflib.get_close_matches(name, [*NAMES, "scale"], 3)
        known = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(NAMES)}, scale, F(h,k,l)"
        raise ParameterError("parameters", f"no parameter {name!r}; {known}")
    return Variable(name, part, field, None if element is None else int(element), found.metadata["unit"])


def by_name(experiment: Experiment, name: str) -> Variable:
    """The same of an experiment, whose panels can move. Raises ParameterError."""
    return (motion_of(experiment, name) if isinstance(name, str) else None) or variable(name)


def parameters_of(experiment: Experiment) -> list[str]:
    """Names of what an experiment can be differentiated by, each of which changes it in a way of its own; amplitudes of a table apart."""
    matrix = [f"crystal.{name}[{n}]" for name in ("a_matrix", "reciprocal_matrix") for n in range(9)]
    sensor = ["detector.sensor_thickness", "detector.sensor_attenuation"]
    found = []
    motions = [f"panels[*].{motion}_{axis}" for motion in STEPS for axis in "xyz"] if experiment.detector.panels else []
    for name in [*NAMES, *matrix, *sensor, *motions]:
        try:
            v = by_name(experiment, name)
            refuse_what_panels_do_not_have(experiment, v)
            v.step(experiment)
            found.append(name)
        except ParameterError:
            continue
    without = {"fluence"} if "flux" in found else set()
    without |= {"background"} if experiment.background.water_size == 0.0 else set()  # goes with its cube
    without |= {"polarization_fraction"} if experiment.model.stages.get("polarization") == "none" else set()
    return [name for name in found if name not in without]


def variables_of(experiment: Experiment, names: Sequence[str], stages: StageSource = None) -> list[Variable]:
    """By name; a scale is relative to this experiment. Raises ParameterError for what there is not, or what the experiment leaves open.

    stages: where those are looked up that bring parameters of their own.
    """
    own = parameters_of_stages(experiment, registry_of(stages))
    asked = [names] if isinstance(names, str) else names
    variables = [own[name] if name in own else by_name(experiment, name) for name in asked]
    for v in variables:
        refuse_what_panels_do_not_have(experiment, v)
        v.step(experiment)
    return [replace(v, reference=experiment.beam.photons_per_area) if isinstance(v, Scale) else v for v in variables]


def refuse_what_panels_do_not_have(experiment: Experiment, v: Variable) -> None:
    """Panels are in their places, and nothing else of a detector says where."""
    if experiment.detector.panels and v.part == "detector" and v.field != "panels":
        raise ParameterError(
            "parameters", f"{v.name} does not move a detector of panels; panels[*].shift_z, panels[*].rotation_x and the like do"
        )


def parameters_of_stages(experiment: Experiment, stages: Registry) -> dict[str, StageParameter]:
    """What the chosen stages bring along, by name (where that is no other's) and as ``model.parameters.NAME``."""
    chosen = [p for stage in choose_stages(experiment, stages) for p in stage.parameters if not p.field]
    numbers = [p for p in chosen if isinstance(p.default, int | float)]
    return {
        name: StageParameter(name, "model", p.name, None, p.unit, float(p.default), p.limits)  # type: ignore[arg-type]
        for p in numbers
        for name in (p.name, f"model.parameters.{p.name}")
        if name not in NAMES
    }


def independent(variables: Sequence[Variable]) -> Sequence[Variable]:
    """The same, to be given values. Raises ParameterError for two that set one number."""
    seen: dict[tuple[Any, ...], str] = {}
    for v in variables:
        for what in v.sets:
            if what in seen:
                raise ParameterError("parameters", f"{seen[what]} and {v.name} are one number; give one of them")
            seen[what] = v.name
    refuse_overlap([v for v in variables if isinstance(v, PanelMotion)])
    return variables


def refuse_overlap(motions: Sequence[PanelMotion]) -> None:
    """Refuse values for groups of panels of which one is part of another: where panels are would not say which of them has moved."""
    for one, other in itertools.combinations(motions, 2):
        if one.members != other.members and set(one.members) & set(other.members):
            raise ParameterError("parameters", f"{one.name} and {other.name} move a panel both; take one level of groups after the other")


def with_values(experiment: Experiment, values: Mapping[str, float]) -> Experiment:
    """The experiment with other values of some parameters; a scale is relative to this experiment."""
    return moved(experiment, independent(variables_of(experiment, list(values))), list(values.values()))


def moved(experiment: Experiment, variables: Sequence[Variable], values: Sequence[float]) -> Experiment:
    """The experiment with other values of some parameters."""
    if len(values) != len(variables):
        raise ParameterError("parameters", f"{len(values)} values for {len(variables)} parameters")
    for v, value in zip(variables, values, strict=True):
        if not isinstance(value, float | int | np.number) or not math.isfinite(value):
            raise ParameterError("parameters", f"{v.name} = {value} is not a finite number")
        experiment = v.changed(experiment, value)
    return experiment
