"""The contract between nbnumba and a physics model: what every Stage has, whatever its kind (kinds.py)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from nbnumba.errors import StageError
from nbnumba.experiment.by_value import ByValue
from nbnumba.experiment.part import ANY, Limits, Part, default_of


class Place(Enum):
    """Where stages of a kind come in. The last three are chains: any number of stages, in order."""

    HOST = "once per phi step, on the host"
    KERNEL = "in the kernels"
    FACTORS = "in the kernels, multiplied with the others of the chain"
    BACKGROUNDS = "per pixel, added to the sum, on the host"
    RESPONSES = "after the sum, on the host"


@dataclass(frozen=True)
class Kind:
    """All that is said of a kind of stages; the class that states it is its stages' class.

    name: of the kind, its hook, and its placeholder in the kernels; arguments: of its functions, after p, which is what the stage's own
    prepare() returned; returns: what that means. usual: the stage that is taken, if nothing else is asked for. results: numbers that a
    function returns whose derivative sums over them; differentiated_by: arguments that a derivative is by; in_dtype: whether --dtype
    concerns it; of_crystal: whether it does not know the detector, so that all panels of one have it prepared once; required: fields that
    the kernel itself reads from p.
    """

    name: str
    place: Place
    meaning: str
    arguments: tuple[str, ...]
    returns: str
    prefix: str
    usual: str = ""
    results: int = 0
    differentiated_by: tuple[str, ...] = ()
    in_dtype: bool = False
    of_crystal: bool = False
    required: tuple[str, ...] = ()

    @property
    def is_chain(self) -> bool:
        """Whether any number of its stages is taken, in order."""
        return self.place in (Place.FACTORS, Place.BACKGROUNDS, Place.RESPONSES)

    @property
    def in_kernels(self) -> bool:
        """Whether its functions are compiled into the kernels."""
        return self.place in (Place.KERNEL, Place.FACTORS)

    @property
    def signature(self) -> tuple[str, ...]:
        """Arguments of a function."""
        return ("p", *self.arguments)

    @property
    def first_field(self) -> int:
        """Where in what a derivative returns its ``varied`` fields begin: after its result, and the derivatives by its arguments."""
        return 0 if self.results else 1 + len(self.differentiated_by)


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
    whole: bool = False

    def problem(self, value: float) -> str:
        """What is wrong with a value, in words; empty if nothing is."""
        return self.limits.problem(value) or ("must be a whole number" if self.whole and value != int(value) else "")


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
    arguments: tuple[Any, ...]
    result: Any
    tolerance: float = 1e-12


class EarlierForm(type):
    """Has ``Stage(kind, ...)``, which is no class of a kind, give a stage of that kind: the form of plugins before there were classes."""

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        """A stage."""
        if hasattr(cls, "of"):
            return super().__call__(*args, **fields)
        from nbnumba.stages.earlier import stage_of_its_kind

        return stage_of_its_kind(*args, **fields)


@dataclass(frozen=True, eq=False)
class Stage(ByValue, metaclass=EarlierForm):
    """One physics model.

    prepare(experiment) runs once on the host and returns a flat NamedTuple of numbers and arrays, which it leaves alone from then
    on. function(p, ...) is plain scalar Python, takes that NamedTuple first and then the arguments of its kind, and returns what they
    say; the same source runs in Python and in the kernels for CPU and GPU. Numbers come in as float64; with ``--dtype float32`` the
    functions of nbnumba.kernel.math go on in float32, ``working`` among them, and arrays of p are float32.

    derivative(p, ...), if there is one, takes what function takes and returns its result (of a lattice shape, up to its sign), then
    the derivatives of that by those of the arguments that the kind is differentiated by, then by the fields of p that ``varied`` names.
    It is in float64, finite everywhere, and where function has a jump or a kink the derivative of one side.

    spec names the numbered statements of specs/ that the model implements.
    """

    kind: ClassVar[str] = ""
    of: ClassVar[Kind]

    name: str
    summary: str
    prepare: Callable[[Any], Any]
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    spec: tuple[str, ...] = ()
    worked_values: tuple[WorkedValue, ...] = ()
    derivative: Callable[..., Any] | None = None
    varied: tuple[str, ...] = ()

    # Functions that a kind may have besides: name -> their arguments after p.
    optional: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, kind: Kind | None = None) -> None:
        """A class of stages declares their kind."""
        if kind is not None:
            cls.kind, cls.of = kind.name, kind
            KINDS[kind.name], CLASSES[kind.name] = kind, cls

    @classmethod
    def added(cls, chain: str, name: str) -> str:
        """A chain of names, with commas between, with one more."""
        return f"{chain},{name}" if chain else name

    def problem(self) -> str:
        """Why the stage cannot be registered; empty if it can."""
        for part, kind_of in (
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
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", self.name):
            return f"name {self.name!r} must be lower-case letters, digits, '-' and '_'"
        if not callable(self.prepare) or len(positional_arguments(self.prepare) or ()) != 1:
            return "prepare must take one argument, the experiment"
        return self._problem_of_functions()

    def _problem_of_functions(self) -> str:
        function = getattr(self.function, "py_func", self.function)
        if not isinstance(function, FunctionType):
            return f"function must be a plain Python function, not a {type(function).__name__}"
        for name, arguments in self.optional.items():
            if (other := getattr(self, name)) is not None and len(positional_arguments(other) or ()) != 1 + len(arguments):
                return f"{name} must be a function of {IN_WORDS[len(arguments) + 1]} arguments"
        takes = len(self.of.signature) + self.of.results
        if self.derivative is not None and len(positional_arguments(self.derivative) or ()) != takes:
            then = ", then one for each of its results" if self.of.results else ""
            return f"derivative must be a function of {takes} arguments: those of function{then}"
        found, wanted = positional_arguments(function), self.of.signature
        if found is None or len(found) != len(wanted):
            given = ", ".join(inspect.signature(function).parameters)
            return f"{function.__name__}({given}) must take ({', '.join(wanted)})"
        return ""

    def value_of(self, name: str, given: Any) -> float:
        """The user's value of one of the stage's own parameters, or its default."""
        parameter = next(p for p in self.parameters if p.name == name)
        return float(given.get(name, parameter.default))

    def values_of(self, given: Any) -> list[float]:
        """The same of all its own parameters, in order."""
        return list(self.taken(given).values())

    def taken(self, given: Any) -> dict[str, float]:
        """The same by name."""
        return {p.name: self.value_of(p.name, given) for p in self.parameters if not p.field}

    def require_fields(self, parameters: Any) -> None:
        """Refuse what prepare() returned unless it is a NamedTuple with the fields that the kernel reads."""
        names: Sequence[str] = getattr(parameters, "_fields", ())
        if not isinstance(parameters, tuple) or not hasattr(parameters, "_fields"):
            raise StageError(f"{self}: prepare() must return a NamedTuple, not a {type(parameters).__name__}")
        for name, value in zip(names, parameters, strict=True):
            if type(value) is not float and not isinstance(value, int | float | np.number | np.bool_ | np.ndarray):
                raise StageError(f"{self}: prepare() returned a {type(value).__name__} as {name}; numbers and arrays are possible")
        if missing := [name for name in self.of.required if name not in names]:
            raise StageError(f"{self}: prepare() returned no {', '.join(missing)}, which the kernel reads")

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


KINDS: dict[str, Kind] = {}  # those that classes have declared, in order
CLASSES: dict[str, type[Stage]] = {}  # these
IN_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def positional_arguments(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Names of a function's arguments; None if any of them is starred, keyword-only or has a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have none
        return None
    if any(p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) or p.default is not p.empty for p in parameters):
        return None
    return tuple(p.name for p in parameters)
