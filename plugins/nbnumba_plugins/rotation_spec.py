"""A fresh rotation at every phi step (ROT-1 to ROT-4, ROT-7, ROT-8)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.experiment.crystal import Crystal
from nbnumba.experiment.goniometer import Goniometer
from nbnumba.experiment.ran1 import Ran1, cap_rotation
from nbnumba.experiment.vectors import rotate_about
from nbnumba.plugin import Rotation, WorkedValue, experiment_parameter, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

PARAMETERS = (
    experiment_parameter(Goniometer, "phi_start"),
    experiment_parameter(Goniometer, "oscillation"),
    experiment_parameter(Goniometer, "phi_steps"),
    experiment_parameter(Crystal, "mosaic_spread"),
    experiment_parameter(Crystal, "mosaic_domains"),
    experiment_parameter(Crystal, "mosaic_seed"),
)


class Spec(NamedTuple):
    """axes: (phi_steps, domains, 3, 3), rows a, b, c in m."""

    axes: np.ndarray
    phi_steps: int


def orientations(experiment: Experiment) -> np.ndarray:
    """Rows a, b, c (m) for every phi step and mosaic domain, (phi_steps, domains, 3, 3)."""
    single = "single-angles" in experiment.quirks
    return turned_by(experiment, mosaic_rotations(*experiment.mosaic, experiment.crystal.mosaic_seed, single))


def turned_by(experiment: Experiment, rotations: np.ndarray) -> np.ndarray:
    """The cell turned by phi first, then by every domain's rotation (domains, 3, 3)."""
    spindle = experiment.axes["spindle"]
    turned = np.array([rotate_about(experiment.unit_cell.direct, spindle, phi) for phi in experiment.phi])
    return np.asarray(turned[:, np.newaxis] @ rotations.transpose(0, 2, 1)[np.newaxis])


@lru_cache(maxsize=8)  # a series of images has the same domains, and its derivatives the same few others
def mosaic_rotations(spread: float, domains: int, seed: int, single: bool) -> np.ndarray:
    """Rotation of every domain, (domains, 3, 3): the first is aligned, the others fill a cap at random; single: angles in float32."""
    if domains == 1:
        return np.eye(3)[np.newaxis]
    deviates = Ran1(seed)
    rotations = np.array([cap_rotation(spread, deviates, single) for _ in range(domains)])
    rotations[0] = np.eye(3)
    rotations.setflags(write=False)
    return rotations


def prepare(experiment: Experiment) -> Spec:
    return Spec(axes=orientations(experiment), phi_steps=len(experiment.phi))


def spec(p, step, is_first):
    """Every phi step uses its own orientation."""
    return step


STAGE = Rotation(
    name="spec",
    summary="a fresh rotation about the spindle at every phi step",
    prepare=prepare,
    function=spec,
    parameters=PARAMETERS,
    spec=("ROT-1", "ROT-2", "ROT-3", "ROT-4", "ROT-7", "ROT-8"),
    worked_values=(WorkedValue(parameters=Spec(np.zeros((3, 1, 3, 3)), 3), arguments=(2, 1), result=2),),
)


@hookimpl
def rotation() -> list[Rotation]:
    return [STAGE]
