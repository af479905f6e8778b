"""The choice of physics: a preset, stages that differ from it, and their own parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import Part, choice

PRESETS = ("reference", "c-parity", "physics")


@dataclass(frozen=True, kw_only=True)
class Model(Part):
    """preset: a named choice of stages; stages: kind -> name, over the preset; parameters: stage parameter -> value."""

    preset: str = choice("reference", "named choice of stages and switches", PRESETS)
    stages: Mapping[str, str] = field(default_factory=dict, metadata={"unit": "", "meaning": "stage kind -> name"})
    parameters: Mapping[str, float] = field(default_factory=dict, metadata={"unit": "", "meaning": "stage parameter -> value"})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind, wanted in (("stages", str, "kind = name"), ("parameters", int | float, "name = number")):
            entries = getattr(self, name)
            if not isinstance(entries, Mapping):
                raise ParameterError(self.where(name), f"{entries!r} must be a table of {wanted}")
            for key, value in entries.items():
                if not isinstance(value, kind) or isinstance(value, bool):
                    raise ParameterError(self.where(f"{name}.{key}"), f"{value!r} must be a {'name' if kind is str else 'number'}")
