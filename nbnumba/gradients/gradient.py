"""How a number that depends on an image changes with the parameters of its experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.gradients.derivatives import Loss
from nbnumba.gradients.differences import gradient_by_differences
from nbnumba.gradients.of_panels import derivatives_of
from nbnumba.gradients.parameters import variables_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.registry import StageSource


def value_and_grad(
    experiment: Experiment,
    parameters: Sequence[str],
    loss: Loss,
    *,
    stages: StageSource = None,
    device: str = "cpu",
    threads: int | None = None,
    differences: bool = False,
) -> tuple[float, NDArray[np.float64]]:
    """The loss of an experiment's image, and its derivatives by parameters, in one pass over the image's terms.

    parameters: names such as ``cell_a``, ``misset_x`` or ``F(1,2,3)`` (NAMES of variables.py), or fields of the experiment such as
    ``crystal.a_matrix[3]``, or motions of panels such as ``panels[quadrant0].shift_x`` (m) and ``panels[*].rotation_z`` (rad, about the
    panels' middle), or what a chosen stage brings along, such as ``fudge``; derivatives are by values in m and rad. loss(photons)
    returns L and dL/dI, both of the shape of Image.pixels; those of losses.py are worked out by the kernel itself, others need the image
    first. What is chosen in steps, such as sub-pixels, stays. device: cpu, or cuda, which leaves tables and running products to the CPU,
    and whose sums differ by rounding from run to run. differences: by differences of images of fourth order instead, which needs no
    derivatives of stages, and four images for each parameter. In float64.

    A lattice shape with flat spots (tophat) has no slope: cell and orientation seem to be without effect.

    Raises ParameterError for a parameter that there is not, or that the experiment leaves open, StageError for stages that do not say how
    they vary, and what simulate() raises.
    """
    variables = variables_of(experiment, parameters, stages)
    if differences:
        here = derivatives_of(experiment, stages, threads, device=device)

        def value_of(other: Experiment) -> float:
            return here.loss_of(here.near(other).image(), loss)

        value = value_of(experiment)
        return value, np.array(gradient_by_differences(experiment, variables, value_of, value))
    return derivatives_of(experiment, stages, threads, device=device).value_and_grad(loss, variables)


def gradient_by_amplitudes(
    experiment: Experiment, loss: Loss, *, stages: StageSource = None, threads: int | None = None
) -> tuple[float, NDArray[np.float64]]:
    """The loss of an experiment's image, and its derivatives by every amplitude that is listed: dL/dF, of the shape of structure_factors.F.

    By intensities: dL/dF^2 is dL/dF / (2 F). Raises ParameterError where no amplitudes are listed, and what value_and_grad() raises.
    """
    factors = experiment.structure_factors
    here = derivatives_of(experiment, stages, threads)
    if factors.hkl is None or factors.F is None or not here.has_table:
        raise ParameterError("structure_factors.F", "lists no amplitudes to differentiate by; give a table of them")
    value, sums = here.of_loss(loss, table=True)
    return value, here.by_amplitudes(sums)
