"""In which settings two experiments differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from nbnumba.experiment.experiment import PARTS, Experiment
from nbnumba.options.configuration import ARRAYS, plain

SWITCHES = ("preset", "quirks")  # of the model, which are looked at one by one


def differing_settings(a: Experiment, b: Experiment) -> dict[str, tuple[Any, Any]]:
    """Name of a setting -> its values in both, in SI units; arrays and files are left out."""
    here, there = dict(settings(a)), dict(settings(b))
    return {name: (here[name], there[name]) for name in here if here[name] != there[name]}


def settings(experiment: Experiment) -> Iterator[tuple[str, Any]]:
    for section in PARTS:
        part = getattr(experiment, section)
        for f in fields(part):
            if f.name not in ARRAYS and not (section == "model" and f.name in SWITCHES):
                yield f"{section}.{f.name}", plain(getattr(part, f.name))
