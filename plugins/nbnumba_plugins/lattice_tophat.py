"""Spots with a flat top and a sharp edge (LAT-6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nbnumba.experiment.crystal import Crystal
from nbnumba.plugin import LatticeShape, WorkedValue, experiment_parameter, hookimpl, working
from nbnumba_plugins.lattice_gauss import SPHERE, Spot, least_radius_squared, quadratic_form, spot
from nbnumba_plugins.lattice_round import FUDGE

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

EDGE = 0.3969  # squared radius


def prepare(experiment: Experiment) -> Spot:
    return spot(experiment, 4.0 / 3.0 * math.pi * EDGE**1.5)


def tophat(p, x, y, z):
    """The peak value inside the spot's edge, zero outside."""
    radius_squared = quadratic_form(p.xx, p.yy, p.zz, p.xy, p.yz, p.zx, x, y, z)
    return working(p.peak if radius_squared < EDGE else 0.0)


def derivative(p, x, y, z):
    """The value, and its derivatives by offsets and by the peak; the edge, where there is none, is left out."""
    inside = quadratic_form(p.xx, p.yy, p.zz, p.xy, p.yz, p.zx, x, y, z) < EDGE
    height = 1.0 if inside else 0.0
    return p.peak * height, 0.0, 0.0, 0.0, height


def ceiling(p, x, y, z):
    """Nothing where the least radius is outside, with a margin for its rounding."""
    return p.peak if least_radius_squared(p, x, y, z) < EDGE * (1.0 + 1e-9) else 0.0


def support(p, least):
    """The form and the squared radius of the edge, with a margin for rounding."""
    return p.xx, p.yy, p.zz, p.xy, p.yz, p.zx, EDGE * (1.0 + 1e-9)


STAGE = LatticeShape(
    name="tophat",
    summary="flat spots with a sharp edge, no fringes between Bragg peaks",
    prepare=prepare,
    function=tophat,
    flat=True,
    derivative=derivative,
    varied=("peak",),
    ceiling=ceiling,
    support=support,
    parameters=(experiment_parameter(Crystal, "cells"), FUDGE),
    spec=("LAT-5", "LAT-6", "LAT-7", "LAT-8", "LAT-20"),
    worked_values=(
        WorkedValue(SPHERE, (0.62, 0.0, 0.0), 8.0),
        WorkedValue(SPHERE, (0.64, 0.0, 0.0), 0.0),
    ),
)


@hookimpl
def lattice_shape() -> list[LatticeShape]:
    return [STAGE]
