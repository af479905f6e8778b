"""Base of the frozen parts of an experiment: every field carries its unit, limits and meaning, and is checked on creation."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from numbers import Real
from typing import Any, TypeVar

from nbnumba.errors import ParameterError
from nbnumba.experiment.by_value import ByValue


@dataclass(frozen=True)
class Limits:
    """Allowed values of a number: low <= value <= high, without the ends where ``open_low`` or ``open_high``."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def words(self) -> str:
        """The allowed values, for people; empty if all are."""
        low = "" if self.low == -math.inf else f"{'greater than' if self.open_low else 'at least'} {self.low:.10g}"
        high = "" if self.high == math.inf else f"{'less than' if self.open_high else 'at most'} {self.high:.10g}"
        return " and ".join(filter(None, (low, high)))

    def problem(self, value: float, scale: float = 1.0) -> str:
        """What is wrong with a value, in words; empty if nothing is. ``scale`` converts the limits to the user's unit."""
        if not abs(value) <= sys.float_info.max:  # whole numbers know no limit
            return "must be a finite number"
        if value < self.low or (self.open_low and value == self.low):
            return f"must be {'greater than' if self.open_low else 'at least'} {self.low * scale:.10g}"
        if value > self.high or (self.open_high and value == self.high):
            return f"must be {'less than' if self.open_high else 'at most'} {self.high * scale:.10g}"
        return ""


LONGEST = 80  # characters of a value in a message

POSITIVE = Limits(low=0.0, open_low=True)
NOT_NEGATIVE = Limits(low=0.0)
ANY = Limits()


def quantity(default: Any, unit: str, meaning: str, limits: Limits = ANY, size: int = 0, whole: bool = False) -> Any:
    """A dataclass field for a number (``size`` 0) or a tuple of ``size`` numbers; None stands for "not given"."""
    return field(default=default, metadata={"unit": unit, "meaning": meaning, "limits": limits, "size": size, "whole": whole})


def flag(default: bool | None, meaning: str) -> Any:
    """A dataclass field that is true or false; None stands for "not given" where it is the default."""
    return field(default=default, metadata={"unit": "", "meaning": meaning, "flag": True})


def choice(default: str | None, meaning: str, allowed: Sequence[str | None]) -> Any:
    """A dataclass field for one of a few words."""
    return field(default=default, metadata={"unit": "", "meaning": meaning, "allowed": tuple(allowed)})


def text(meaning: str) -> Any:
    """A dataclass field for a text, empty by default."""
    return field(default="", metadata={"unit": "", "meaning": meaning, "text": True})


@dataclass(frozen=True, eq=False, repr=False)
class Part(ByValue):
    """A part of the experiment. Numbers are normalised to float, int and tuples of them, and checked."""

    def __post_init__(self) -> None:
        for f in fields(self):
            if "limits" in f.metadata:
                self._check_numbers(f)
            elif "allowed" in f.metadata:
                self._check_word(f)
            elif "flag" in f.metadata:
                self._check_flag(f)
            elif "text" in f.metadata and not isinstance(getattr(self, f.name), str):
                raise ParameterError(self.where(f.name), f"{shown(getattr(self, f.name))} is not a text")

    @classmethod
    def where(cls, name: str) -> str:
        """``detector.distance`` for the field ``distance`` of Detector."""
        return f"{cls.section()}.{name}"

    @classmethod
    def section(cls) -> str:
        """The part's name in a configuration file."""
        return "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")

    def _check_word(self, f: Field[Any]) -> None:
        given, allowed = getattr(self, f.name), f.metadata["allowed"]
        if not (given is None or isinstance(given, str)) or given not in allowed:
            raise ParameterError(self.where(f.name), f"{shown(given)} is not one of {', '.join(word for word in allowed if word)}")

    def _check_flag(self, f: Field[Any]) -> None:
        given = in_python(getattr(self, f.name))
        if given is None and f.default is None:
            return
        if not isinstance(given, Real) or given not in (0, 1):
            raise ParameterError(self.where(f.name), f"{shown(given)} must be true or false")
        object.__setattr__(self, f.name, bool(given))

    def _check_numbers(self, f: Field[Any]) -> None:
        kind: Any = int if f.metadata["whole"] else float
        given, size = getattr(self, f.name), f.metadata["size"]
        if given is None and f.default is None:
            return
        given = in_python(given.reshape(-1) if size and hasattr(given, "reshape") else given)
        values = list(given) if size and isinstance(given, Sequence) and not isinstance(given, str) else [given]
        if size and len(values) != size:
            raise ParameterError(self.where(f.name), f"needs {size} numbers, got {shown(given)}")
        numbers = []
        for value in map(in_python, values):
            try:
                if isinstance(value, bool) or not isinstance(value, Real):
                    raise TypeError
                number = kind(value)
                problem = f.metadata["limits"].problem(number) or ("" if kind is float or number == value else "must be a whole number")
            except OverflowError:
                raise ParameterError(self.where(f.name), f"{shown(value)}: must be a finite number") from None
            except (TypeError, ValueError):
                raise ParameterError(self.where(f.name), f"{shown(value)} is not a number") from None
            if problem:
                unit = f" {f.metadata['unit']}" if f.metadata["unit"] else ""
                raise ParameterError(self.where(f.name), f"{shown(value)}{unit}: {problem}")
            numbers.append(number)
        object.__setattr__(self, f.name, tuple(numbers) if size else numbers[0])


def in_python(value: Any) -> Any:
    """What a NumPy array or scalar holds as lists and numbers of Python; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def shown(value: Any) -> str:
    """A value of any kind in a message: one line, cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # whatever a stranger's object, or Python's limit of digits, has to say
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def default_of(f: Field[Any]) -> Any:
    """The default of a dataclass field, None where it has none."""
    return None if f.default is MISSING else f.default


Described = TypeVar("Described", bound=type[Part])


def described(part: Described) -> Described:
    """Add every field to a part's docstring: unit, default, meaning and limits, as they stand beside it."""
    lines = [line for f in fields(part) for line in (f"{f.name} : {', '.join(filter(None, summary(f)))}", f"    {explanation(f)}")]
    part.__doc__ = "\n".join([*(part.__doc__ or "").rstrip().splitlines(), "", "Parameters", "----------", *lines, ""])
    return part


def summary(f: Field[Any]) -> tuple[str, str, str]:
    """What a field takes, its unit, its default."""
    size, whole = f.metadata.get("size", 0), f.metadata.get("whole", False)
    if "flag" in f.metadata:
        takes = "bool"
    elif "allowed" in f.metadata:
        takes = "{" + ", ".join(repr(word) for word in f.metadata["allowed"] if word) + "}"
    elif "limits" in f.metadata:
        takes = f"{size} {'whole ' if whole else ''}numbers" if size else ("int" if whole else "float")
    else:
        takes = str(f.type).removesuffix(" | None")
    default = default_of(f)
    return takes, f.metadata["unit"], "optional" if default is None else f"default {default!r}"


def explanation(f: Field[Any]) -> str:
    """A field's meaning and limits."""
    limits = f.metadata.get("limits", ANY).words
    return f"{f.metadata['meaning']}{f'; {limits}' if limits else ''}"
