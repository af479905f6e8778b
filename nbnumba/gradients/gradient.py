"""Value and gradient of a loss: the adjoint of the kernel, then the chain rule to the experiment's parameters on the host.

The kernel's part is exact: derivatives that stages state. What the kernel is given (orientations, sources, fields of the stages'
parameters) depends on an experiment smoothly and costs next to nothing: it is differentiated by differences of fourth order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError, StageError
from nbnumba.gradients.variables import Variable, variable
from nbnumba.kernel.cpu import Cpu
from nbnumba.kernel.device import Physics
from nbnumba.kernel.render import ORDER
from nbnumba.render import area_of, mark_scan_order, named_stages, orientation_rows, physics_of, sampling_of
from nbnumba.simulate import choose_stages, prepare
from nbnumba.stages import registry

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.stage import Stage

Loss = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]
Inputs = dict[str, NDArray[np.float64]]  # what the kernel is given, by the names of Sums


def value_and_grad(
    experiment: Experiment,
    parameters: Sequence[str],
    loss: Loss,
    *,
    stages: registry.Registry | None = None,
    threads: int | None = None,
) -> tuple[float, NDArray[np.float64]]:
    """The loss of an experiment's image, and its derivatives by parameters.

    parameters: names such as ``cell_a`` or ``misset_x`` (NAMES of variables.py), or fields of the experiment such as
    ``crystal.a_matrix[3]``; derivatives are by values in m and rad. loss(pixels) returns L and dL/dI [slow, fast]; see losses.py. What is
    chosen in steps, such as sub-pixels, does not vary. Worked out on the CPU, in float64.

    Raises ParameterError for a parameter that there is not, or that the experiment leaves open, StageError for stages that do not say how
    they vary, and what simulate() raises.
    """
    variables = [variable(name) for name in parameters]
    experiment.check()
    chosen = choose_stages(experiment, stages or registry.installed())
    prepared = prepare(chosen, experiment)
    physics = with_derivatives(physics_of(experiment, chosen, prepared), chosen)
    area, device = area_of(experiment), Cpu(threads)
    rows = orientation_rows(chosen["rotation"], prepared["rotation"])
    for v in variables:
        v.step(experiment)  # refuses what the experiment leaves open before anything is rendered
    with named_stages(chosen):
        sampling = mark_scan_order(physics.in_float64(), sampling_of(experiment, chosen, prepared), area, device)
        image = device.zeros(area.shape)
        device.render(physics.in_float64(), sampling, area, image)
        photons = image.view()
        photons.setflags(write=False)
        value, cotangents = loss(photons)
        cotangents = np.array(cotangents, np.float64)
        if cotangents.shape != image.shape:
            raise ParameterError("loss", f"gave derivatives of shape {cotangents.shape} for an image of {image.shape}")
        if area.mask is not None:
            cotangents[~area.mask] = 0.0
        sums = device.adjoint(physics, sampling, area, image, cotangents)
    by_inputs = {name: np.asarray(part) for name, part in sums._asdict().items()}

    here = inputs_of(experiment, chosen, rows)

    def chained(v: Variable) -> float:
        return sum(float(np.vdot(by_inputs[name], change)) for name, change in slopes(v, experiment, chosen, rows, here).items())

    return value, np.array([chained(v) for v in variables])


# Differences of fourth order, (steps away, weight): about a value, or, where it is at a limit, to one side of it.
CENTRED = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))
UPWARD = ((1, 4.0), (2, -3.0), (3, 4 / 3), (4, -1 / 4))
DOWNWARD = tuple((-n, -weight) for n, weight in UPWARD)


def slopes(v: Variable, experiment: Experiment, chosen: Mapping[str, Stage], rows: NDArray[np.int64], here: Inputs) -> Inputs:
    """The derivatives by a variable of what the kernel is given."""
    at, step = v.value(experiment), v.step(experiment)
    for scheme in (CENTRED, UPWARD, DOWNWARD):
        try:
            changed = [(weight, v.changed(experiment, at + n * step)) for n, weight in scheme]
        except ParameterError:
            if scheme is DOWNWARD:
                raise
            continue
        there = [(weight, inputs_of(other, chosen, rows)) for weight, other in changed]
        require_no_tables(v, chosen, prepare(chosen, experiment), prepare(chosen, changed[0][1]))
        return {name: np.sum([weight * (inputs[name] - here[name]) for weight, inputs in there], axis=0) / step for name in here}
    raise AssertionError


def require_no_tables(v: Variable, chosen: Mapping[str, Stage], here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Refuse a variable that a table of a stage depends on: derivatives are by numbers."""
    for kind in ORDER:
        for name, a, b in zip(here[kind]._fields, here[kind], there[kind], strict=True):
            if isinstance(a, np.ndarray) and a is not b and not np.array_equal(a, b):
                raise StageError(f"{chosen[kind]}: its table {name} varies with {v.name}, which a gradient does not follow")


def inputs_of(experiment: Experiment, chosen: Mapping[str, Stage], rows: NDArray[np.int64]) -> Inputs:
    """What the kernel is given for an experiment, in the shapes of Sums; rows: of orientations, chosen in steps, which do not vary."""
    prepared = prepare(chosen, experiment)
    sampling, scaling = sampling_of(experiment, chosen, prepared), prepared["scaling"]
    found: Inputs = {"orientations": prepared["rotation"].axes[rows].reshape(len(rows), -1, 9)}
    found |= {name: getattr(sampling, name) for name in ("incident", "wavelength", "brightness")}
    for kind in ORDER:
        found[kind] = np.array([getattr(prepared[kind], name) for name in chosen[kind].varied], np.float64)
    found["scaling"] = np.append(found["scaling"], [scaling.photons, scaling.background])
    return found


def with_derivatives(physics: Physics, chosen: Mapping[str, Stage]) -> Physics:
    """The same with the stages' derivatives. Raises StageError for those that have none, or that do not simply add up."""
    for kind in ORDER:
        if chosen[kind].derivative is None:
            raise StageError(f"{chosen[kind]}: does not state its derivative, which a gradient needs")
    scaling = chosen["scaling"]
    if scaling.derivative is not None and scaling.derivative(physics.parameters["scaling"], 2.0, 3.0, 5.0, 0.5, 1.0)[0] != 1.0:
        raise StageError(f"{scaling}: multiplies the running sum, which a gradient does not follow; put the quirk running-product right")
    derivatives = {kind: (chosen[kind].derivative, chosen[kind].varied) for kind in ORDER}
    return replace(physics, derivatives=derivatives)  # type: ignore[arg-type]
