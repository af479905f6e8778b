"""The contract between nbnumba and a physics model: the Stage."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import FunctionType
from typing import Any

import numpy as np

from nbnumba.errors import StageError
from nbnumba.experiment.by_value import ByValue
from nbnumba.experiment.part import ANY, Limits, Part, default_of

# What a stage function of each kind is called with. ``p`` is what the stage's own prepare() returned.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "geometry": ("p", "fast", "slow", "layer"),
    "rotation": ("p", "step", "is_first"),
    "lattice_shape": ("p", "x", "y", "z"),
    "structure_factor": ("p", "h", "k", "l", "h0", "k0", "l0", "latched"),
    "polarization": ("p", "ix", "iy", "iz", "dx", "dy", "dz"),
    "scaling": ("p", "total", "f_latt", "f_cell", "weight"),
}

# What it returns.
RESULT: dict[str, str] = {
    "geometry": "unit vector dx, dy, dz towards the sub-pixel, solid angle of the pixel (sr), fraction of photons captured",
    "rotation": "row of p.axes that phi step `step` uses; is_first is 1 in the first sample of the image",
    "lattice_shape": "F_latt at the fractional offsets x, y, z from the nearest lattice point; its sign does not matter",
    "structure_factor": "F_cell (electrons) at h, k, l, whose nearest integers are h0, k0, l0; latched is 1 once latch() has fallen",
    "polarization": "factor for a photon scattered from the unit vector i to the unit vector d",
    "scaling": "the running total after a term with these F_latt and F_cell, whose correction factors multiply to weight",
}

# By which of its arguments it is differentiated, and how many numbers it returns where its derivative sums over them.
DIFFERENTIATED: dict[str, tuple[str, ...]] = {
    "geometry": (),
    "rotation": (),
    "lattice_shape": ("x", "y", "z"),
    "structure_factor": ("h", "k", "l"),
    "polarization": ("ix", "iy", "iz", "dx", "dy", "dz"),
    "scaling": ("total", "f_latt", "f_cell", "weight"),
}
RESULTS: dict[str, int] = {"geometry": 5}

# Fields that the kernel itself reads from what prepare() returned.
REQUIRED_FIELDS: dict[str, tuple[str, ...]] = {
    "geometry": ("layers",),
    "rotation": ("axes", "phi_steps"),
    "lattice_shape": (),
    "structure_factor": (),
    "polarization": (),
    "scaling": (
        "background",
        "photons",
        "polarization_per_term",
        "solid_angle_per_term",
        "capture_per_term",
        "initial_polarization",
    ),
}

KINDS = tuple(ARGUMENTS)


@dataclass(frozen=True)
class Parameter:
    """A number that the user can set for a stage: a line of the table in ``nbnumba plugins``.

    Where ``field`` is set, the value lives in the experiment (``crystal.mosaic_spread``); else in ``model.parameters``.
    """

    name: str
    unit: str
    default: float | tuple[float, ...] | None
    help: str
    limits: Limits = ANY
    field: str = ""


def experiment_parameter(part: type[Part], name: str) -> Parameter:
    """The table line of a field of the experiment that a stage reads."""
    f = next(f for f in fields(part) if f.name == name)
    return Parameter(
        name=name,
        unit=f.metadata["unit"],
        default=default_of(f),
        help=f.metadata["meaning"],
        limits=f.metadata.get("limits", ANY),
        field=part.where(name),
    )


@dataclass(frozen=True, eq=False)
class WorkedValue(ByValue):
    """A value worked out independently: function(parameters, *arguments) equals ``result`` to ``tolerance``, relative."""

    parameters: Any
    arguments: tuple[float, ...]
    result: float | tuple[float, ...]
    tolerance: float = 1e-12


@dataclass(frozen=True, eq=False)
class Stage(ByValue):
    """One physics model of one kind.

    prepare(experiment) runs once on the host and returns a flat NamedTuple of numbers and arrays, which it leaves alone from then
    on. function(p, ...) is plain scalar Python, takes that NamedTuple first and then the ARGUMENTS of its kind, and returns their
    RESULT; the same source runs in Python and in the kernels for CPU and GPU (a rotation's, once per step, in Python only). Numbers
    come in as float64; with ``--dtype float32`` the functions of nbnumba.kernel.math go on in float32, ``working`` among them, and
    arrays of p are float32.

    derivative(p, ...), if there is one, takes what function takes and returns its result (of a lattice shape, up to its sign), then
    the derivatives of that by those of the arguments that DIFFERENTIATED names, then by the fields of p that ``varied`` names. A
    geometry has five results: its derivative takes a number g for each besides, and returns the derivatives of the sum of g times
    result by the ``varied`` fields. It is in float64, finite everywhere, and where function has a jump or a kink the derivative of one
    side. A structure factor that is linear in an array of p names that ``table``, and spread(p, ..., g, into) adds g times the
    derivatives of its result by the elements of the table to the array ``into``.

    spec names the numbered statements of specs/ that the model implements. latch(p, h, k, l), for a structure factor only, returns 1
    for a term that changes how all later ones of the image, in scan order, are treated; outside(p, h, k, l) returns 1 for a term that the
    model has no data for, which are counted and reported. ceiling(p, x, y, z), for a lattice shape only, is at least |F_latt| at all
    offsets whose sizes are at least x, y, z >= 0: whole stretches of pixels where that is negligible are left out.

    Two say more about a pixel that is traced, and are not rendered with: place(p, fast, slow, layer), for a geometry, returns the point x,
    y, z (m) on the ray that the function gives; sign(p, h, k, l), for a lattice shape, the sign that the function leaves out, 1 or -1.
    """

    kind: str
    name: str
    summary: str
    prepare: Callable[[Any], Any]
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    spec: tuple[str, ...] = ()
    worked_values: tuple[WorkedValue, ...] = ()
    derivative: Callable[..., Any] | None = None
    varied: tuple[str, ...] = ()
    table: str = ""
    spread: Callable[..., Any] | None = None
    latch: Callable[..., Any] | None = None
    outside: Callable[..., Any] | None = None
    ceiling: Callable[..., Any] | None = None
    place: Callable[..., Any] | None = None
    sign: Callable[..., Any] | None = None

    def problem(self) -> str:
        """Why the stage cannot be registered; empty if it can."""
        for part, kind_of in (
            (self.kind, str),
            (self.name, str),
            (self.summary, str),
            (self.parameters, tuple),
            (self.worked_values, tuple),
            (self.varied, tuple),
        ):
            if not isinstance(part, kind_of):
                return f"{part!r} must be a {kind_of.__name__}"
        if strange := [p for p in self.parameters if not isinstance(p, Parameter)]:
            return f"parameter {strange[0]!r} must be a Parameter"
        if self.kind not in KINDS:
            return f"unknown kind {self.kind!r}; kinds are {', '.join(KINDS)}"
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", self.name):
            return f"name {self.name!r} must be lower-case letters, digits, '-' and '_'"
        if not callable(self.prepare) or len(positional_arguments(self.prepare) or ()) != 1:
            return "prepare must take one argument, the experiment"
        function = getattr(self.function, "py_func", self.function)
        if not isinstance(function, FunctionType):
            return f"function must be a plain Python function, not a {type(function).__name__}"
        for name in ("latch", "outside", "ceiling", "place", "sign"):
            if (other := getattr(self, name)) is not None and len(positional_arguments(other) or ()) != 4:
                return f"{name} must be a function of four arguments"
        takes = len(ARGUMENTS[self.kind]) + RESULTS.get(self.kind, 0)
        if self.derivative is not None and len(positional_arguments(self.derivative) or ()) != takes:
            then = ", then one for each of its results" if self.kind in RESULTS else ""
            return f"derivative must be a function of {takes} arguments: those of function{then}"
        if (self.spread is None) != (self.table == "") or (self.spread and len(positional_arguments(self.spread) or ()) != 10):
            return "spread must be a function of ten arguments, those of function, g and into, and table the name of a field"
        found, wanted = positional_arguments(function), ARGUMENTS[self.kind]
        if found is None or len(found) != len(wanted):
            given = ", ".join(inspect.signature(function).parameters)
            return f"{function.__name__}({given}) must take ({', '.join(wanted)})"
        return ""

    def value_of(self, name: str, given: Any) -> float:
        """The user's value of one of the stage's own parameters, or its default."""
        parameter = next(p for p in self.parameters if p.name == name)
        return float(given.get(name, parameter.default))

    def require_fields(self, parameters: Any) -> None:
        """Refuse what prepare() returned unless it is a NamedTuple with the fields that the kernel reads."""
        names: Sequence[str] = getattr(parameters, "_fields", ())
        if not isinstance(parameters, tuple) or not hasattr(parameters, "_fields"):
            raise StageError(f"{self}: prepare() must return a NamedTuple, not a {type(parameters).__name__}")
        for name, value in zip(names, parameters, strict=True):
            if not isinstance(value, int | float | np.number | np.bool_ | np.ndarray):
                raise StageError(f"{self}: prepare() returned a {type(value).__name__} as {name}; numbers and arrays are possible")
        if missing := [name for name in REQUIRED_FIELDS[self.kind] if name not in names]:
            raise StageError(f"{self}: prepare() returned no {', '.join(missing)}, which the kernel reads")

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def positional_arguments(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Names of a function's arguments; None if any of them is starred, keyword-only or has a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have none
        return None
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) or p.default is not p.empty for p in parameters):
        return None
    return tuple(p.name for p in parameters)
