"""The trace of a pixel as text and as JSON (TRA-4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]  # name -> number, tuple of numbers or word


@dataclass(frozen=True, eq=False)
class Trace:
    """values: of the pixel, its first sample and first term, by name, in order; samples, terms: a row for each, in scan order."""

    provenance: Mapping[str, Any]
    values: Row
    samples: list[Row]
    terms: list[Row]


def as_dict(trace: Trace) -> dict[str, Any]:
    """All of it, for JSON."""
    values, samples = finite(trace.values), [finite(row) for row in trace.samples]
    return {**trace.provenance, "values": values, "samples": samples, **phi_dict(trace)}


def phi_dict(trace: Trace) -> dict[str, Any]:
    """The rows of the terms alone, for JSON."""
    return {"phi": [finite(row) for row in trace.terms]}


def finite(row: Row) -> Row:
    """The row with null for what is no finite number, for which JSON has no word."""
    return {name: known(value) for name, value in row.items()}


def known(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(known, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(trace: Trace) -> str:
    """``NAME value...`` lines in the order in which the values come about; samples and terms are rows of ``name=value``."""
    made = trace.provenance
    stages = " ".join(f"{kind}={name}" for kind, name in made["stages"].items())
    names = list(trace.values)
    end = names.index("I_before_scaling")
    panel = f", panel {made['panel']}" if "panel" in made else ""
    head = f"# {made['program']}, preset {made['preset']}, device {made['device']}{panel}; {stages}"
    lines = [head, *(line(name, trace.values[name]) for name in names[:end])]
    lines += rows("SAMPLE", trace.samples) if len(trace.samples) > 1 else []
    return "\n".join([*lines, *rows("PHI", trace.terms), *(line(name, trace.values[name]) for name in names[end:])])


def per_phi_text(trace: Trace) -> str:
    """The rows of the terms alone."""
    return "\n".join(rows("PHI", trace.terms))


def rows(tag: str, table: list[Row]) -> Iterator[str]:
    for row in table:
        yield " ".join([tag, *(f"{name}={shown(value, ',')}" for name, value in row.items())])


def line(name: str, value: Any) -> str:
    return f"{name} {shown(value, ' ')}"


def shown(value: Any, between: str) -> str:
    """Numbers with the digits that they need to be read back as they are."""
    if isinstance(value, tuple):
        return between.join(shown(v, between) for v in value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
