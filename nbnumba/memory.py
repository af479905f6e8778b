"""How much memory an image takes, and how much there is: what cannot be is refused before it is begun (DEV-22)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.errors import NotAvailableError

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

LARGEST_TABLE = 2**31  # entries; of a larger one its stage says which reflections are far from the others
SURELY_THERE = 100e6  # bytes that it is not worth while to ask for
# Bytes of an orientation: axes, and axes with lengths by component.
ORIENTATION = 8 * 9 + 8 * 12
# Where control groups of version 2 and 1 state limit and use, and under which name what could be dropped of that.
GROUPS: dict[str, tuple[Path, str, str, str]] = {
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    "memory": (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def needed(experiment: Experiment) -> dict[str, int]:
    """Bytes of what is as large as the experiment makes it."""
    pixels = sum(math.prod(panel.detector.shape) for panel in experiment.by_panel)
    hkl, size = experiment.structure_factors.hkl, 8 + 4 * (experiment.sampling.dtype == "float32")
    entries = 0 if hkl is None else int(np.prod(hkl.max(axis=0).astype(float) - hkl.min(axis=0) + 3.0))
    entries = entries if entries <= LARGEST_TABLE else 0
    orientations = experiment.mosaic[1] * experiment.goniometer.scan.steps
    background = {"background": 8 * pixels} if experiment.background.materials else {}
    return {"image": 8 * pixels, **background, "structure factors": size * entries, "orientations": ORIENTATION * orientations}


def problem(experiment: Experiment) -> str:
    """Why this machine cannot render it; empty if it can."""
    parts = needed(experiment)
    total = sum(parts.values())
    if total <= SURELY_THERE or total <= (there_are := available()):
        return ""
    listed = ", ".join(f"{name} {size / 1e9:.3g}" for name, size in parts.items() if size > 0.01 * total)
    told = f"needs {total / 1e9:.3g} GB of memory ({listed}), and {there_are / 1e9:.3g} GB are to be had"
    return f"{told}; take fewer pixels (-detpixels), reflections, or orientations (-mosaic_dom, -phisteps)"


def refuse_too_much(experiment: Experiment) -> None:
    """Raise NotAvailableError for what this machine cannot render."""
    if told := problem(experiment):
        raise NotAvailableError(f"the image {told}")


def available() -> float:
    """Bytes that this process may have in all: what it has, and what the machine and each of its control groups have left, with swap."""
    here, swap = meminfo(), meminfo().get("SwapFree", 0)
    return own() + swap + min([here.get("MemAvailable", installed()), *(left(*group) for group in groups())])


def own() -> int:
    """Bytes of this process that are in memory."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def meminfo() -> dict[str, int]:
    """What Linux says of memory, in bytes; empty elsewhere."""
    lines = lines_of("/proc/meminfo")
    return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}


def installed() -> float:
    """All of the machine's memory, in bytes; infinite where it does not say."""
    with suppress(AttributeError, ValueError, OSError):
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return np.inf


def groups() -> Iterator[tuple[Path, str, str, str]]:
    """Every control group that this process is in, with the names under which it states memory."""
    for line in lines_of("/proc/self/cgroup"):
        _, controllers, place = line.split(":", 2)
        for controller in GROUPS.keys() & controllers.split(","):
            root, limit, used, can_be_dropped = GROUPS[controller]
            for folder in takewhile(root.parent.__ne__, (inner := root / place.lstrip("/"), *inner.parents)):
                yield folder, limit, used, can_be_dropped


def left(folder: Path, limit: str, used: str, can_be_dropped: str) -> float:
    """Bytes that a control group has left; infinite if it has no limit, or is none within a container."""
    try:
        statistics = dict(line.split() for line in lines_of(folder / "memory.stat"))
        return int((folder / limit).read_text()) - int((folder / used).read_text()) + int(statistics[can_be_dropped])
    except (OSError, ValueError, KeyError):
        return np.inf


def lines_of(path: Path | str) -> list[str]:
    """Of a file of the system's; none where there is no such."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
