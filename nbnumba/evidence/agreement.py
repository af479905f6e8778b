"""Whether a file that was made again is the one in the bundle: byte for byte, or as far as another machine's last digits allow."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nbnumba.compare.images import AGREEMENT
from nbnumba.compare.traces import compare_traces
from nbnumba.errors import NbnumbaError
from nbnumba.inputs.image import SMV
from nbnumba.inputs.trace import read_trace

NUMBERS = 1e-6  # relative difference of figures in reports
COUNTS = 1e-4  # of the pixels of an integer image that may differ


class Verdict(NamedTuple):
    """Whether it agrees, and how well in words."""

    agrees: bool
    words: str


def same_outcome(there: Path, here: Path) -> Verdict:
    """Compare a file of the bundle with the one made now."""
    if not here.is_file():
        return Verdict(False, "was not written")
    if there.read_bytes() == here.read_bytes():
        return Verdict(True, "identical")
    kind = there.suffix
    if there.read_bytes().startswith(SMV) or kind == ".pgm":
        return same_counts(there, here)
    if kind == ".png":
        return Verdict(True, "a picture, drawn otherwise; not compared")
    if there.name in ("trace.txt", "trace.json", "phi.txt"):
        return same_trace(there, here)
    if kind in (".json", ".toml"):
        return same_numbers(there, here)
    return same_photons(there, here)


def same_photons(there: Path, here: Path) -> Verdict:
    """Raw images and dumps of numbers: within 1e-6 of the maximum."""
    if there.stat().st_size != here.stat().st_size or there.stat().st_size % 4:
        return Verdict(False, f"has {here.stat().st_size} bytes, not {there.stat().st_size}")
    a, b = (np.frombuffer(path.read_bytes(), np.float32).astype(np.float64) for path in (there, here))
    most = float(np.abs(a).max(initial=0.0))
    apart = float(np.abs(a - b).max(initial=0.0)) / most if most else math.inf
    return Verdict(apart <= AGREEMENT, f"{'equal within' if apart <= AGREEMENT else 'differs by'} {apart:.1e} of the maximum")


def same_counts(there: Path, here: Path) -> Verdict:
    """Integer images, headers included: all but a few pixels."""
    a, b = (np.frombuffer(path.read_bytes(), np.uint8) for path in (there, here))
    if a.size != b.size:
        return Verdict(False, f"has {b.size} bytes, not {a.size}")
    fraction = float(np.count_nonzero(a != b)) / a.size
    return Verdict(fraction <= COUNTS, f"{fraction:.1e} of its bytes differ")


def same_trace(there: Path, here: Path) -> Verdict:
    """By the first value that differs by more than 1e-6."""
    try:
        first = compare_traces(read_trace(there), read_trace(here), tolerance=NUMBERS)["first_divergence"]
    except NbnumbaError as error:
        return Verdict(False, str(error))
    return Verdict(
        first is None, "equal within 1e-6" if first is None else f"{first['name']} differs by {first['relative_difference']:.1e}"
    )


def same_numbers(there: Path, here: Path) -> Verdict:
    """Reports: numbers within 1e-6; words, such as versions and names, may differ."""
    try:
        a, b = (dict(numbers(loaded(path))) for path in (there, here))
    except (ValueError, OSError) as error:
        return Verdict(False, f"cannot be read: {error}")
    if a.keys() != b.keys():
        return Verdict(False, f"has other entries: {', '.join(sorted(a.keys() ^ b.keys())[:3])}")
    off = [name for name in a if not math.isclose(a[name], b[name], rel_tol=NUMBERS, abs_tol=1e-12)]
    if off:
        return Verdict(False, f"{off[0]} is {b[off[0]]:.9g}, not {a[off[0]]:.9g}")
    return Verdict(True, "equal within 1e-6")


def loaded(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.suffix == ".json" else tomllib.loads(path.read_text("utf-8"))


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
