"""nanoBragg's phi rotation, in which a step at phi = 0 keeps the orientation before it (ROT-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import Rotation, WorkedValue, hookimpl
from nbnumba_plugins.rotation_spec import PARAMETERS, orientations

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


class CParity(NamedTuple):
    """axes: (phi_steps, domains, 3, 3), rows a, b, c in m; first, later: (phi_steps,) row of axes for each step."""

    axes: np.ndarray
    phi_steps: int
    first: np.ndarray
    later: np.ndarray


def carried_rows(phi: np.ndarray, before: int) -> np.ndarray:
    """Row of axes that each step of one sample uses, if the sample before it ended on row ``before``."""
    rows = np.empty(len(phi), np.int64)
    for step, angle in enumerate(phi):
        before = rows[step] = step if angle != 0.0 else before
    return rows


def prepare(experiment: Experiment) -> CParity:
    # Before the first sample the crystal is unrotated: if that matters, step 0 is at phi = 0 and row 0 is unrotated.
    first = carried_rows(experiment.phi, before=0)
    return CParity(
        axes=orientations(experiment),
        phi_steps=len(experiment.phi),
        first=first,
        later=carried_rows(experiment.phi, before=int(first[-1])),
    )


def c_parity(p, step, is_first):
    """The row of the last step that was turned, in this sample or the one before."""
    return p.first[step] if is_first else p.later[step]


STAGE = Rotation(
    name="c-parity",
    summary="as nanoBragg: a step at phi = 0 keeps the orientation of the step before it",
    prepare=prepare,
    function=c_parity,
    parameters=PARAMETERS,
    spec=("ROT-5", "ROT-6"),
    worked_values=tuple(
        WorkedValue(
            parameters=CParity(np.zeros((3, 1, 3, 3)), 3, carried_rows(np.array(phi), 0), carried_rows(np.array(phi), last)),
            arguments=(step, is_first),
            result=row,
        )
        for phi, last, step, is_first, row in [
            ((0.0, 0.1, 0.2), 2, 0, 1, 0),
            ((0.0, 0.1, 0.2), 2, 0, 0, 2),
            ((0.0, 0.1, 0.2), 2, 1, 0, 1),
            ((-0.1, 0.0, 0.1), 2, 1, 0, 0),
        ]
    ),
)


@hookimpl
def rotation() -> list[Rotation]:
    return [STAGE]
