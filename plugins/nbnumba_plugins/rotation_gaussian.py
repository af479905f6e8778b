"""Mosaic domains whose misorientations are normally distributed (ROT-9)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nbnumba.experiment.ran1 import Ran1, normal_rotation
from nbnumba.plugin import Rotation, WorkedValue, hookimpl
from nbnumba_plugins.rotation_spec import PARAMETERS, Spec, spec, turned_by

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


@lru_cache(maxsize=2)
def normal_domains(spread: float, domains: int, seed: int) -> np.ndarray:
    """Rotation of every domain, (domains, 3, 3); none is aligned on purpose."""
    if domains == 1:
        return np.eye(3)[np.newaxis]
    deviates = Ran1(seed)
    rotations = np.array([normal_rotation(spread, deviates) for _ in range(domains)])
    rotations.setflags(write=False)
    return rotations


def prepare(experiment: Experiment) -> Spec:
    domains = normal_domains(*experiment.mosaic, experiment.crystal.mosaic_seed)
    return Spec(axes=turned_by(experiment, domains), phi_steps=len(experiment.phi))


STAGE = Rotation(
    name="gaussian",
    summary="a fresh rotation at every phi step; mosaic domains about random axes by normally distributed angles",
    prepare=prepare,
    function=spec,
    parameters=PARAMETERS,
    spec=("ROT-9",),
    worked_values=(WorkedValue(parameters=Spec(np.zeros((3, 1, 3, 3)), 3), arguments=(1, 0), result=1),),
)


@hookimpl
def rotation() -> list[Rotation]:
    return [STAGE]
