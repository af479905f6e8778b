"""The hooks that a plugin can answer, one per kind of stage. Each answers with a list of Stage objects.

A plugin is a module (or any object) with functions of these names, marked with ``nbnumba.hookimpl``; it need not have all six.
What a stage of each kind takes and returns stands in ``stage.py``.
"""

from __future__ import annotations

import pluggy

from nbnumba.stages.stage import Stage

hookspec = pluggy.HookspecMarker("nbnumba")
hookimpl = pluggy.HookimplMarker("nbnumba")


@hookspec
def geometry() -> list[Stage]:
    """Where a sub-pixel is: direction of the diffracted ray, solid angle, capture fraction."""
    raise NotImplementedError


@hookspec
def rotation() -> list[Stage]:
    """How the crystal is oriented in every phi step and mosaic domain."""
    raise NotImplementedError


@hookspec
def lattice_shape() -> list[Stage]:
    """The shape transform of the crystal, F_latt."""
    raise NotImplementedError


@hookspec
def structure_factor() -> list[Stage]:
    """The structure factor of the unit cell, F_cell."""
    raise NotImplementedError


@hookspec
def polarization() -> list[Stage]:
    """The polarization factor."""
    raise NotImplementedError


@hookspec
def scaling() -> list[Stage]:
    """How terms are accumulated and turned into photons."""
    raise NotImplementedError
