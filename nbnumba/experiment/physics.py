"""The choice of physics: a preset, stages that differ from it, and their own parameters."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import Part, choice, described, shown
from nbnumba.experiment.quirks import NAMES

CARRYOVER_MODES = ("spec", "c-parity")  # rotation stages that differ by the quirk phi-carryover
CROMER_LIBERMAN = "cromer-liberman"  # tables of f' and f''
PRESETS = ("reference", "c-parity", "physics")


def is_name(value: object) -> bool:
    return isinstance(value, str)


def is_finite(value: object) -> bool:
    """Whether this is a number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model(Part):
    """preset: a named choice of stages and quirks; over it, stages: kind -> name, quirks: name -> whether it is on.

    parameters: stage parameter -> value.
    """

    preset: str = choice("reference", "named choice of stages and switches", PRESETS)
    stages: Mapping[str, str] = field(default_factory=dict, metadata={"unit": "", "meaning": "stage kind -> name"})
    parameters: Mapping[str, float] = field(default_factory=dict, metadata={"unit": "", "meaning": "stage parameter -> value"})
    quirks: Mapping[str, bool] = field(default_factory=dict, metadata={"unit": "", "meaning": "quirk -> on or off"})

    def __post_init__(self) -> None:
        super().__post_init__()
        contents = (
            ("stages", is_name, "kind = name"),
            ("parameters", is_finite, "name = finite number"),
            ("quirks", is_flag, "name = true or false"),
        )
        for name, fits, wanted in contents:
            entries = getattr(self, name)
            if not isinstance(entries, Mapping):
                raise ParameterError(self.where(name), f"{shown(entries)} must be a table of {wanted}")
            for key, value in entries.items():
                if not isinstance(key, str):
                    raise ParameterError(self.where(name), f"{shown(key)} is not a name; {name} has the form {wanted}")
                if not fits(value):
                    raise ParameterError(self.where(f"{name}.{key}"), f"{shown(value)} does not fit; {name} has the form {wanted}")
            object.__setattr__(self, name, MappingProxyType(dict(entries)))
        if unknown := sorted(set(self.quirks) - set(NAMES)):
            near = difflib.get_close_matches(unknown[0], NAMES, 3)
            raise ParameterError(
                self.where("quirks"),
                f"no quirk {shown(unknown[0])}; {'the nearest are' if near else 'there are'} {', '.join(near or NAMES)}",
            )

        rotation, carries = self.stages.get("rotation"), self.quirks.get("phi-carryover")
        if carries is not None and rotation in CARRYOVER_MODES and carries != (rotation == "c-parity"):
            raise ParameterError(self.where("quirks"), f"phi-carryover {'on' if carries else 'off'} contradicts the rotation {rotation!r}")

    @property
    def active_quirks(self) -> frozenset[str]:
        """Quirks of nanoBragg that are followed."""
        return frozenset(name for name in NAMES if self.quirks.get(name, self._has_by_default(name)))

    def _has_by_default(self, name: str) -> bool:
        if name == "phi-carryover":
            return self.stages.get("rotation", self.preset) == "c-parity"
        if name == "reference-header":
            return self.preset == "c-parity"
        return self.preset != "physics" and name != "implicit-dump"
