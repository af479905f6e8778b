"""How every pixel changes with an experiment's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.gradients.chain import NoDerivativeError
from nbnumba.gradients.differences import gradient_by_differences, warn_of_differences
from nbnumba.gradients.of_panels import derivatives_of
from nbnumba.gradients.parameters import variables_of

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.registry import StageSource


def jacobian(
    experiment: Experiment,
    parameters: Sequence[str],
    *,
    stages: StageSource = None,
    threads: int | None = None,
    differences: bool = False,
) -> NDArray[np.float64]:
    """The derivatives of the photons of every pixel by parameters, (pixels, parameters); pixels as in ``Image.pixels.ravel()``.

    parameters, stages, threads, differences, errors: as in value_and_grad(), but that differences take the place of a derivative that a
    stage does not state, with a warning. One pass over the terms of the image for all parameters,
    which costs the more the more of them there are; for a number that depends on the image value_and_grad() is the way.
    """
    variables = variables_of(experiment, parameters, stages)
    here = derivatives_of(experiment, stages, threads)
    try:
        columns = None if differences else here.columns(here.slopes(variables))[1]
    except NoDerivativeError as error:
        warn_of_differences(error.problem)
        columns = None
    if columns is None:
        columns = np.array(gradient_by_differences(experiment, variables, lambda other: here.near(other).image(), here.image()))
    return columns.reshape(len(variables), int(np.prod(here.shape))).T


def linear_operator(
    experiment: Experiment, parameters: Sequence[str], *, stages: StageSource = None, threads: int | None = None
) -> LinearOperator:
    """The same as an operator of SciPy's that keeps no column: J v by one pass over the terms of the image, J^T w by another.

    Takes what jacobian() takes.
    """
    from scipy.sparse.linalg import LinearOperator

    here = derivatives_of(experiment, stages, threads)
    slopes = here.slopes(variables_of(experiment, parameters, stages))

    def forward(v: Any) -> NDArray[np.float64]:
        return np.ravel(here.columns([here.along(np.ravel(v), slopes)])[1])

    def back(w: Any) -> NDArray[np.float64]:
        return here.gradient(here.of_slopes(np.reshape(w, here.shape), table=here.reach_table(slopes)), slopes)

    return LinearOperator((int(np.prod(here.shape)), len(slopes)), matvec=forward, rmatvec=back, dtype=np.float64)
