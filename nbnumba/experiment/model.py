"""The choice of physics: a preset, stages that differ from it, and their own parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from nbnumba.experiment.part import Part, choice

PRESETS = ("reference", "c-parity", "physics")
EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Model(Part):
    """preset: a named choice of stages; stages: kind -> name, over the preset; parameters: stage parameter -> value."""

    preset: str = choice("reference", "named choice of stages and switches", PRESETS)
    stages: Mapping[str, str] = field(default_factory=dict, metadata={"unit": "", "meaning": "stage kind -> name"})
    parameters: Mapping[str, float] = field(default_factory=dict, metadata={"unit": "", "meaning": "stage parameter -> value"})
