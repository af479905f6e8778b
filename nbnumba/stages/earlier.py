"""Plugins in their earlier form: Stage(kind, ...) for all kinds, structure factors that are not told the wavelength.

They work as they are; a warning says what to write instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from nbnumba.errors import NbnumbaWarning, StageError
from nbnumba.stages import kinds
from nbnumba.stages.stage import KINDS, Stage, positional_arguments

CLASSES: dict[str, type[Stage]] = {
    stage.kind: stage
    for stage in (kinds.Geometry, kinds.Rotation, kinds.LatticeShape, kinds.StructureFactor, kinds.Polarization, kinds.Scaling)
}
# In which order fields may be given without their names.
POSITIONS = ("kind", "name", "summary", "prepare", "function", "parameters", "spec", "worked_values", "derivative", "varied")
# Arguments of a structure factor that is not told the wavelength.
WITHOUT_WAVELENGTH = ("p", "h", "k", "l", "h0", "k0", "l0", "latched")


def stage_of_its_kind(*args: Any, **given: Any) -> Stage:
    """A stage of the class of its kind. Raises StageError for a kind or field that there is not."""
    given |= dict(zip(POSITIONS, args, strict=False))
    kind, name = given.pop("kind", None), given.get("name")
    if not isinstance(kind, str) or kind not in CLASSES:
        raise StageError(f"{kind} {name!r}: unknown kind {kind!r}; kinds are {', '.join(KINDS)}")
    stage = CLASSES[kind]
    known = {f.name for f in fields(stage)}
    if strange := sorted(name for name, value in given.items() if name not in known and value is not None and value != ""):
        raise StageError(f"{kind} {name!r}: a {kind} has no {strange[0]}; it has {', '.join(sorted(known))}")
    given = {name: value for name, value in given.items() if name in known}
    then = ""
    if kind == "structure_factor" and positional_arguments(given.get("function", len)) == WITHOUT_WAVELENGTH:
        given, then = told_the_wavelength(given), ", whose functions take wavelength before latched"
    warnings.warn(
        f"{kind} {name!r} is a Stage(kind={kind!r}, ...); write nbnumba.plugin.{stage.__name__}(...){then}", NbnumbaWarning, stacklevel=3
    )
    return stage(**given)


def told_the_wavelength(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a structure factor with functions that take the wavelength and do not look at it."""
    head, tail = "p, h, k, l, h0, k0, l0, wavelength, latched", "p, h, k, l, h0, k0, l0, latched"
    made = given | {"function": wrapped(given["function"], f"def function({head}):\n    return inner({tail})")}
    if derivative := given.get("derivative"):
        lines = f"def derivative({head}):\n    found = inner({tail})\n    return found[:4] + (0.0,) + found[4:]"
        made["derivative"] = wrapped(derivative, lines)
    if spread := given.get("spread"):
        made["spread"] = wrapped(spread, f"def spread({head}, g, into):\n    inner({tail}, g, into)")
    return made


def wrapped(inner: Callable[..., Any], source: str) -> Callable[..., Any]:
    """A function of this source that calls another as ``inner``."""
    namespace: dict[str, Any] = {"inner": inner, "__name__": getattr(inner, "__module__", __name__)}
    exec(source, namespace)
    made: Callable[..., Any] = namespace[source.split("(")[0].removeprefix("def ")]
    return made
