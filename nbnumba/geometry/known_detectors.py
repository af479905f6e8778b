"""Detectors of which more is known by their names than headers say, as in the registry of formats of dxtbx 3.11 to 3.23 (FMT-47)."""

from __future__ import annotations

import re
from typing import NamedTuple

from nbnumba.geometry.exposure import Vector

NOT_FLAT = {
    r"PILATUS\S* 12M|S/N 120-0100": "24 rows of modules on a barrel",
    r"TIMEPIX": "chips that have each a place of their own",
    r"HYPIX-ARC": "modules at angles to each other",
    r"S/N 10-0163": "rows and columns interchanged",
}


class Spindle(NamedTuple):
    """The axis of a beamline's spindle; serial: number of its detector, which was there since a date, and until one."""

    serial: str
    axis: Vector
    since: str = ""
    until: str = "9999"


REVERSED, UPRIGHT = (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
SPINDLES = (
    *(Spindle(serial, REVERSED) for serial in ("60-0123", "60-0125", "60-0127", "60-0132", "XX-XXX", "E-32-0111", "E-32-0123")),
    *(Spindle(serial, UPRIGHT) for serial in ("60-0115-F", "E-32-0105", "E-32-0129")),
    Spindle("60-0114", UPRIGHT, since="2017"),
    Spindle("60-0119", UPRIGHT, since="2015"),
    Spindle("E-32-0107", UPRIGHT, until="2021-05-22"),
)


def not_flat(name: str) -> str:
    """What a detector is made of that is no flat panel as its header has it, in words; empty for what is one."""
    return next((parts for mark, parts in NOT_FLAT.items() if re.search(mark, name, re.IGNORECASE)), "")


def spindle_of(name: str, date: str, oscillation_axis: str) -> Vector | None:
    """The spindle in imgCIF's laboratory where it is another than x; date: of the image, as 2019-09-11; None where nothing is known."""
    found = next((s for s in SPINDLES if re.search(rf"S/N {s.serial}\b", name) and s.since <= date < s.until), None)
    if found and found.serial == "60-0119" and "FAST" in oscillation_axis:  # with a plate in place of the pin
        return REVERSED
    return found.axis if found else None
