"""Mosaic domains whose misorientations are normally distributed (ROT-9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.ran1 import Ran1, normal_rotation
from nbnumba_plugins.rotation_spec import PARAMETERS, Spec, spec, turned_by

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def normal_domains(experiment: Experiment) -> np.ndarray:
    """Rotation of every domain, (domains, 3, 3); none is aligned on purpose."""
    spread, domains = experiment.mosaic
    if domains == 1:
        return np.eye(3)[np.newaxis]
    deviates = Ran1(experiment.crystal.mosaic_seed)
    return np.array([normal_rotation(spread, deviates) for _ in range(domains)])


def prepare(experiment: Experiment) -> Spec:
    return Spec(axes=turned_by(experiment, normal_domains(experiment)), phi_steps=len(experiment.phi))


STAGE = Stage(
    kind="rotation",
    name="gaussian",
    summary="a fresh rotation at every phi step; mosaic domains about random axes by normally distributed angles",
    prepare=prepare,
    function=spec,
    parameters=PARAMETERS,
    spec=("ROT-9",),
    worked_values=(WorkedValue(parameters=Spec(np.zeros((3, 1, 3, 3)), 3), arguments=(1, 0), result=1),),
)


@hookimpl
def rotation() -> list[Stage]:
    return [STAGE]
