"""The hooks that a plugin can answer, one per kind of stage, made from what kinds declare. Each answers with a list of stages.

A plugin is a module (or any object) with functions of the kinds' names, marked with ``nbnumba.plugin.hookimpl``; it need not have all.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pluggy

from nbnumba.stages.stage import Kind

hookspec = pluggy.HookspecMarker("nbnumba")
hookimpl = pluggy.HookimplMarker("nbnumba")


def specification(kind: Kind) -> Any:
    """The hook of a kind, as pluggy wants it."""

    def hook() -> list[Any]:
        raise NotImplementedError

    hook.__name__, hook.__doc__ = kind.name, kind.meaning
    return SimpleNamespace(**{kind.name: hookspec(hook)})
