"""Whether a file that was made again is the one in the bundle: byte for byte, or as far as another machine's last digits allow (EVI-3)."""

from __future__ import annotations

import filecmp
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nbnumba.compare.images import AGREEMENT
from nbnumba.errors import NbnumbaError
from nbnumba.formats.raw import RAW
from nbnumba.formats.read import read_image
from nbnumba.formats.registry import by_content, by_ending
from nbnumba.traces.read import Key, TraceFile, Value, read_trace

NUMBER = r"([+-]?\d+\.?\d*(?:[eE][+-]?\d+)?)"
NUMBERS = 1e-6  # relative difference of figures in reports and traces
COUNTS = 1e-4  # of the bytes of an integer image that may differ
# Sizes below which a value of a trace is what rounding leaves of greater ones, and is held against this instead.
LEAST = {"h_frac": 1e-3, "k_frac": 1e-3, "l_frac": 1e-3, "F_latt": 1e-3, "F_latt_a": 1e-3, "F_latt_b": 1e-3, "F_latt_c": 1e-3}

LEAST_TERM = 1e-3  # of the sum, for terms


class Verdict(NamedTuple):
    """Whether it agrees, and how well in words; None if that is not asked."""

    agrees: bool | None
    words: str


def same_outcome(there: Path, here: Path, kind: str) -> Verdict:
    """Compare a file of the bundle with the one made now."""
    if not here.is_file():
        return Verdict(False, "was not written")
    if filecmp.cmp(there, here, shallow=False):
        return Verdict(True, "identical")
    try:
        return KINDS[kind](there, here)
    except NbnumbaError as error:
        return Verdict(False, f"cannot be compared: {error}")


def same_photons(there: Path, here: Path) -> Verdict:
    """Images of photons, raw or of a format: within 1e-6 of the maximum."""
    if by_content(there) is not RAW:
        a, b = (read_image(path).ravel() for path in (there, here))
    elif there.stat().st_size != here.stat().st_size or there.stat().st_size % 4:
        return Verdict(False, f"has {here.stat().st_size} bytes, not {there.stat().st_size}")
    else:
        a, b = (np.frombuffer(path.read_bytes(), np.float32).astype(np.float64) for path in (there, here))
    if a.shape != b.shape:
        return Verdict(False, f"has {b.size} pixels, not {a.size}")
    most = float(np.abs(a).max(initial=0.0))
    apart = float(np.abs(a - b).max(initial=0.0)) / most if most else math.inf
    return Verdict(apart <= AGREEMENT, f"{'equal within' if apart <= AGREEMENT else 'differs by'} {apart:.1e} of the maximum")


def same_layers(there: Path, here: Path) -> Verdict:
    """Layers of the same names, each within 1e-6 of the maximum of all."""
    with np.load(there) as a, np.load(here) as b:
        if (strange := set(a) ^ set(b)) or any(a[name].shape != b[name].shape for name in a):
            return Verdict(False, f"has not the same layers{': ' if strange else ''}{', '.join(sorted(strange))}")
        most = max(float(np.abs(a[name]).max(initial=0.0)) for name in a)
        apart = max(float(np.abs(a[name] - b[name]).max(initial=0.0)) for name in a) / most if most else 0.0
    return Verdict(apart <= AGREEMENT, f"{'equal within' if apart <= AGREEMENT else 'differs by'} {apart:.1e} of the maximum")


def same_counts(there: Path, here: Path) -> Verdict:
    """Integer images: all but a few bytes, headers included, or pixels where a file of the format is compressed."""
    compressed = (kind := by_ending(there)) is not None and kind.packed
    if not compressed and there.stat().st_size != here.stat().st_size:
        return Verdict(False, f"has {here.stat().st_size} bytes, not {there.stat().st_size}")
    a, b = ((read_image(path).ravel() if compressed else np.frombuffer(path.read_bytes(), np.uint8)) for path in (there, here))
    if a.size != b.size:
        return Verdict(False, f"has {b.size} {'pixels' if compressed else 'bytes'}, not {a.size}")
    fraction = float(np.count_nonzero(a != b)) / a.size
    return Verdict(fraction <= COUNTS, f"{fraction:.1e} of its {'pixels' if compressed else 'bytes'} differ")


def same_trace(there: Path, here: Path) -> Verdict:
    """The same values under the same names: words the same, numbers within 1e-6."""
    a, b = read_trace(there), read_trace(here)
    if a.values.keys() != b.values.keys():
        key = next(iter(a.values.keys() ^ b.values.keys()))
        return Verdict(False, f"only one of them has {in_words(key)}")
    off = next((key for key, value in a.values.items() if not same_value(key, value, b.values[key], a)), None)
    return Verdict(off is None, "equal within 1e-6" if off is None else f"{in_words(off)} is {b.values[off]}, not {a.values[off]}")


def same_value(key: Key, a: Value, b: Value, trace: TraceFile) -> bool:
    """Words alike; numbers alike, relative to the largest of a vector, or to what they are the remainder of."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    size = max([least(key, trace), *(abs(n) for n in (*a, *b) if math.isfinite(n))])
    return len(a) == len(b) and all(
        x == y or abs(x - y) <= NUMBERS * size or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True)
    )


def least(key: Key, trace: TraceFile) -> float:
    """The size that a value is held against where its own is less."""
    total = trace.values.get(Key("I_before_scaling"))
    if key.name in ("I_term", "I_sum") and isinstance(total, tuple):
        return LEAST_TERM * abs(total[0])
    return LEAST.get(key.name, 0.0)


def in_words(key: Key) -> str:
    return f"{key.name} of {key.table} {key.row}" if key.table else key.name


def same_numbers(there: Path, here: Path) -> Verdict:
    """Reports: numbers within 1e-6; words, such as versions and names, may differ."""
    try:
        a, b = (dict(numbers(loaded(path))) for path in (there, here))
    except (ValueError, OverflowError, OSError, RecursionError) as error:
        return Verdict(False, f"cannot be read: {error}")
    if a.keys() != b.keys():
        return Verdict(False, f"has other entries: {', '.join(sorted(a.keys() ^ b.keys())[:3])}")
    off = [name for name in a if not math.isclose(a[name], b[name], rel_tol=NUMBERS, abs_tol=1e-12)]
    if off:
        return Verdict(False, f"{off[0]} is {b[off[0]]:.9g}, not {a[off[0]]:.9g}")
    return Verdict(True, "equal within 1e-6")


def same_words(there: Path, here: Path) -> Verdict:
    """Texts of the same lines but for numbers, which are within 1e-6 of 1 or of their size."""
    a, b = (re.split(NUMBER, path.read_text("utf-8")) for path in (there, here))
    if a[::2] != b[::2]:
        return Verdict(False, "has other words")
    off = [(x, y) for x, y in zip(a[1::2], b[1::2], strict=True) if not math.isclose(float(x), float(y), rel_tol=NUMBERS, abs_tol=NUMBERS)]
    return Verdict(False, f"has {off[0][1]}, not {off[0][0]}") if off else Verdict(True, "equal within 1e-6")


def loaded(path: Path) -> Any:
    """What is in a JSON or TOML file."""
    text = path.read_text("utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return tomllib.loads(text)


def numbers(content: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in nested lists and mappings, with its place."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(value, f"{name}.{key}".lstrip("."))
    elif isinstance(content, list):
        for n, value in enumerate(content):
            yield from numbers(value, f"{name}[{n}]")
    elif isinstance(content, int | float):
        yield name, float(content)


# What a command may leave -> whether two of that kind are the same.
def same_reflections(there: Path, here: Path) -> Verdict:
    """The same spots in the same order: whole numbers alike, others within 1e-6 of the largest of their column."""
    from nbnumba.geometry.dials_refl import read_columns

    a, b = read_columns(there), read_columns(here)
    if {name: of.shape for name, of in a.items()} != {name: of.shape for name, of in b.items()}:
        return Verdict(False, f"has {len(b['id'])} reflections, not {len(a['id'])}, or other columns")
    within = {name: NUMBERS * np.abs(of).max(initial=0.0) if of.dtype.kind == "f" else 0.0 for name, of in a.items()}
    off = next((name for name, of in a.items() if not np.allclose(b[name], of, rtol=0.0, atol=within[name])), None)
    return Verdict(off is None, f"{off} differs" if off else "equal within 1e-6")


KINDS: dict[str, Callable[[Path, Path], Verdict]] = {
    "photons": same_photons,
    "layers": same_layers,
    "counts": same_counts,
    "numbers": same_numbers,
    "words": same_words,
    "reflections": same_reflections,
    "trace": same_trace,
    "picture": lambda there, here: Verdict(None, "drawn otherwise; pictures are not compared"),
    "timings": lambda there, here: Verdict(None, "timings are another machine's; not compared"),
    "exact": lambda there, here: Verdict(False, "is not identical"),
}
