"""Base of the frozen parts of an experiment: every field carries its unit, limits and meaning, and is checked on creation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from nbnumba.errors import ParameterError


@dataclass(frozen=True)
class Limits:
    """Allowed values of a number: low <= value <= high, without the ends where ``open_low`` or ``open_high``."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def problem(self, value: float, scale: float = 1.0) -> str:
        """What is wrong with a value, in words; empty if nothing is. ``scale`` converts the limits to the user's unit."""
        if not math.isfinite(value):
            return "must be a finite number"
        if value < self.low or (self.open_low and value == self.low):
            return f"must be {'greater than' if self.open_low else 'at least'} {self.low * scale:.10g}"
        if value > self.high or (self.open_high and value == self.high):
            return f"must be {'less than' if self.open_high else 'at most'} {self.high * scale:.10g}"
        return ""


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


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the experiment. Numbers are normalised to float, int and tuples of them, and checked."""

    def __post_init__(self) -> None:
        for f in fields(self):
            if "limits" in f.metadata:
                self._check_numbers(f)
            elif "allowed" in f.metadata and getattr(self, f.name) not in f.metadata["allowed"]:
                given, allowed = getattr(self, f.name), ", ".join(word for word in f.metadata["allowed"] if word)
                raise ParameterError(self.where(f.name), f"{given!r} is not one of {allowed}")
            elif "flag" in f.metadata and getattr(self, f.name) not in (True, False, f.default):
                raise ParameterError(self.where(f.name), f"{getattr(self, f.name)!r} must be true or false")

    @classmethod
    def where(cls, name: str) -> str:
        """``detector.distance`` for the field ``distance`` of Detector."""
        return f"{cls.section()}.{name}"

    @classmethod
    def section(cls) -> str:
        """The part's name in a configuration file."""
        return "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")

    def _check_numbers(self, f: Field[Any]) -> None:
        given, size, kind = getattr(self, f.name), f.metadata["size"], int if f.metadata["whole"] else float
        if given is None and f.default is None:
            return
        if hasattr(given, "tolist"):  # a NumPy array or scalar
            given = given.reshape(-1).tolist() if size else given.tolist()
        values = list(given) if size and isinstance(given, Sequence) and not isinstance(given, str) else [given]
        if size and len(values) != size:
            raise ParameterError(self.where(f.name), f"needs {size} numbers, got {given!r}")
        numbers = []
        for value in values:
            try:
                if isinstance(value, str | bytes | bool):
                    raise TypeError
                number = kind(value)
                exact = number == value or not math.isfinite(value)
            except (TypeError, ValueError, OverflowError):
                raise ParameterError(self.where(f.name), f"{value!r} is not a number") from None
            problem = f.metadata["limits"].problem(number) or ("" if exact else "must be a whole number")
            if problem:
                unit = f" {f.metadata['unit']}" if f.metadata["unit"] else ""
                raise ParameterError(self.where(f.name), f"{value!r}{unit}: {problem}")
            numbers.append(number)
        object.__setattr__(self, f.name, tuple(numbers) if size else numbers[0])


def default_of(f: Field[Any]) -> Any:
    """The default of a dataclass field, None where it has none."""
    return None if f.default is MISSING else f.default
