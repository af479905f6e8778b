"""Frozen descriptions that are what they hold: equal to their copies, pickled by their fields, shown in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

LENGTHS = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (0.0, "Å"))  # from this many metres on
IN_METRES = {"m": 1.0, "mm": 1e-3, "µm": 1e-6, "Å": 1e-10}
LONGEST = 60  # characters of a value that has no short form of its own


class ByValue:
    """Base of frozen dataclasses (with eq=False and repr=False). Arrays are compared by what they hold, and count for the hash by shape."""

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and same(self, other))

    def __hash__(self) -> int:
        return hash(key_of(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return made, (type(self), {name: portable(value) for name, value in values_of(self).items()})

    def __repr__(self) -> str:
        """With units, and only what differs from the defaults."""
        here = values_of(self)
        told = [f"{f.name}={text_of(f, here[f.name])}" for f in fields(self) if not same(here[f.name], usual(f))]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(told)})"


def values_of(thing: Any) -> dict[str, Any]:
    return {f.name: getattr(thing, f.name) for f in fields(thing)}


def made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """The description with these fields, checked as any other."""
    return kind(**values)


def portable(value: Any) -> Any:
    """A read-only view of a mapping cannot be pickled."""
    return dict(value) if isinstance(value, Mapping) else value


def usual(f: Field[Any]) -> Any:
    """The default of a field; nothing equals that of a field without."""
    return f.default_factory() if f.default_factory is not MISSING else f.default


def is_array(value: Any) -> bool:
    """Whether this is NumPy's, which is not imported to find out."""
    return hasattr(value, "__array__")


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; arrays where they hold the same, NaN being NaN."""
    if a is b:
        return True
    if type(a) is float and type(b) is float:  # most values are
        return a == b or (a != a and b != b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return dict(a) == dict(b)
    if is_array(a) and is_array(b):
        import numpy as np

        return bool(a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, tuple) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a) and type(a) is type(b):
        return all(same(value, getattr(b, name)) for name, value in values_of(a).items())
    return type(a) is type(b) and bool(a == b or (is_nan(a) and is_nan(b)))


def key_of(value: Any) -> Any:
    """What equal values have in common, to be hashed."""
    if is_array(value):
        return value.shape
    if is_dataclass(value):
        return type(value), *map(key_of, values_of(value).values())
    if isinstance(value, tuple):
        return tuple(map(key_of, value))
    if isinstance(value, Mapping):
        return frozenset(value.items())
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    return "NaN" if is_nan(value) else value


def text_of(f: Field[Any], value: Any) -> str:
    """A field's value in a line, with its unit."""
    unit = f.metadata.get("unit", "")
    if is_array(value):
        return f"<{' x '.join(map(str, value.shape))} {value.dtype}{f', {unit}' if unit else ''}>"
    if isinstance(value, ByValue) or is_dataclass(value) or isinstance(value, str | bool) or value is None:
        return in_short(value)
    if isinstance(value, Mapping):
        return repr(dict(value))
    if unit == "m, rad":
        return f"({with_unit(value[:3], 'm')}, {with_unit(value[3:], 'rad')})"
    return with_unit(value, unit) if "limits" in f.metadata else in_short(value)


def in_short(value: Any) -> str:
    """A dataclass that is none of the experiment's by its type alone, anything else by its own words."""
    if is_dataclass(value) and not isinstance(value, ByValue):
        return f"<{type(value).__name__}>"
    text = repr(value)
    return text if isinstance(value, ByValue) or len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def with_unit(value: Any, unit: str) -> str:
    """Numbers in a unit in which they are neither large nor small: ``1 Å``, ``(0.5, 1) deg``."""
    numbers: Sequence[float] = value if isinstance(value, tuple) else (value,)
    if unit == "m":
        most = max(map(abs, numbers))
        unit = next(name for least, name in LENGTHS if most >= least) if most else "m"
        numbers = [v / IN_METRES[unit] for v in numbers]
    elif unit == "rad":
        numbers, unit = [math.degrees(v) for v in numbers], "deg"
    listed = ", ".join(str(v) if isinstance(v, int) else f"{v:.10g}" for v in numbers)
    listed = f"({listed})" if isinstance(value, tuple) else listed
    return f"{listed} {unit}".rstrip()
