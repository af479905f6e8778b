"""Traces of a pixel: our own, and the ``TRACE_...`` lines of other programs' logs (TRA-8)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nbnumba.errors import InputFileError
from nbnumba.files.text import lines, number, read_text

INDEX = ("layer", "sub_slow", "sub_fast", "source", "phi_tic", "mos_tic")  # what tells rows apart; 0 where it is left out
OTHERS = re.compile(r"TRACE_[A-Z]+?(?P<tag>_PHI)?[:\s]\s*(?P<line>.*)")
NAME = re.compile(r"[A-Za-z]\w*")
Value = tuple[float, ...] | str


class Key(NamedTuple):
    """Which value: its name, and for a row of a table the table and the numbers of INDEX that tell the row."""

    name: str
    table: str = ""
    row: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class TraceFile:
    """values: numbers and words in the order of the file; of a name that comes again, the first."""

    path: Path
    values: dict[Key, Value]

    @property
    def mode(self) -> str:
        """The phi mode that the trace states; empty if it states none."""
        return str(self.values.get(Key("phi_carryover_mode"), ""))


def read_trace(path: str | Path) -> TraceFile:
    """A trace as text or JSON, or the log of a program that prints one. Raises InputFileError."""
    path, text = Path(path), read_text(path)
    found: dict[Key, Value] = {}
    for key, value in from_json(path, text) if text.lstrip().startswith("{") else from_text(text):
        found.setdefault(key, value)
    if not any(isinstance(value, tuple) for value in found.values()):
        raise InputFileError(path, "holds no trace: no lines NAME VALUE... or TRACE_...: NAME VALUE...")
    return TraceFile(path, found)


def from_text(text: str) -> Iterator[tuple[Key, Value]]:
    """Of a log with ``TRACE_...`` lines those alone, else every line that has the form."""
    others = [match for line in lines(text) if (match := OTHERS.match(line.strip()))]
    if others:
        for match in others:
            yield from of_line(("PHI " if match["tag"] else "") + match["line"])
    else:
        for line in lines(text):
            yield from of_line(line.strip())


def of_line(line: str) -> Iterator[tuple[Key, Value]]:
    """``NAME value...``, ``NAME=value...`` or ``TABLE name=value...``."""
    first, *rest = line.split()[:1000] or [""]
    if rest and NAME.fullmatch(first) and all("=" in word for word in rest):
        row = {name: value for name, _, value in (word.partition("=") for word in rest)}
        yield from of_row(first, {name: value_of(value.split(",")) for name, value in row.items()})
        return
    name, equals, value = first.partition("=")
    words = [value, *rest] if equals else rest
    if words and NAME.fullmatch(name) and (found := value_of(words)) is not None:
        yield Key(name), found


def of_row(table: str, row: dict[str, Value]) -> Iterator[tuple[Key, Value]]:
    """The values of a row under its index."""
    index = tuple(whole(row.get(name, ())) for name in INDEX)
    for name, value in row.items():
        if name not in INDEX:
            yield Key(name, table, index), value


def whole(value: Value) -> int:
    """A number of INDEX; 0 for what is none."""
    return int(value[0]) if isinstance(value, tuple) and value and math.isfinite(value[0]) else 0


def value_of(words: list[str]) -> Value:
    """Numbers if all are, else the words."""
    try:
        return tuple(number(word) for word in words)
    except ValueError:
        return " ".join(words)


def from_json(path: Path, text: str) -> Iterator[tuple[Key, Value]]:
    """As ``nbnumba trace --json`` writes it."""
    try:
        content = json.loads(text)
        rows = list(rows_of(content))
        if "values" not in content:  # --per-phi
            yield from rows
        for name, value in content.get("values", {}).items():
            if name == "I_before_scaling":  # rows come where the text has them
                yield from rows
            yield Key(name), in_json(value)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise InputFileError(path, "is JSON, but not a trace as 'nbnumba trace --json' writes it") from None


def rows_of(content: Any) -> Iterator[tuple[Key, Value]]:
    for table, tag in (("samples", "SAMPLE"), ("phi", "PHI")):
        rows = content["phi"] if table == "phi" else content.get("samples", [])
        if table == "phi" or len(rows) > 1:
            for row in rows:
                yield from of_row(tag, {name: in_json(value) for name, value in row.items()})


def in_json(value: Any) -> Value:
    """A number, a list of them or a word; null for what is no finite number."""
    if isinstance(value, str):
        return value
    return tuple(math.nan if v is None else float(v) for v in (value if isinstance(value, list) else [value]))
