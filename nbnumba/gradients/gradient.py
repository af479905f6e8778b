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
    steps = [(v.value(experiment), v.step(experiment)) for v in variables]
    with named_stages(chosen):
        sampling = mark_scan_order(physics.in_float64(), sampling_of(experiment, chosen, prepared), area, device)
        image = device.zeros(area.shape)
        device.render(physics.in_float64(), sampling, area, image)
        value, cotangents = loss(image)
        cotangents = np.array(cotangents, np.float64)
        if cotangents.shape != image.shape:
            raise ParameterError("loss", f"gave derivatives of shape {cotangents.shape} for an image of {image.shape}")
        if area.mask is not None:
            cotangents[~area.mask] = 0.0
        sums = device.adjoint(physics, sampling, area, image, cotangents)
    by_inputs = {name: np.asarray(part) for name, part in sums._asdict().items()}

    def chained(v: Variable, at: float, step: float) -> float:
        a, b, c, d = (inputs_of(v.changed(experiment, at + n * step), chosen, rows) for n in (-2, -1, 1, 2))
        return float(sum(np.vdot(by_inputs[n], fourth_order(a[n], b[n], c[n], d[n]).reshape(by_inputs[n].shape)) for n in a)) / step

    return value, np.array([chained(v, at, step) for v, (at, step) in zip(variables, steps, strict=True)])


def fourth_order(a: Any, b: Any, c: Any, d: Any) -> Any:
    """The derivative times the step of what has these values two steps before, one before, one after and two after."""
    return ((c - b) * 8.0 - (d - a)) / 12.0


def inputs_of(experiment: Experiment, chosen: Mapping[str, Stage], rows: NDArray[np.int64]) -> Inputs:
    """What the kernel is given for an experiment; rows: of orientations, which are chosen in steps and do not vary."""
    prepared = prepare(chosen, experiment)
    sampling = sampling_of(experiment, chosen, prepared)
    axes = prepared["rotation"].axes[rows].reshape(len(rows), -1, 9)
    found: Inputs = {"orientations": axes}
    found |= {name: getattr(sampling, name) for name in ("incident", "wavelength", "brightness")}
    for kind in ORDER:
        found[kind] = np.array([getattr(prepared[kind], name) for name in chosen[kind].varied], np.float64)
    scaling = prepared["scaling"]
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
