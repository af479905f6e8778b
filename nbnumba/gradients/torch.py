"""Images as a differentiable function in PyTorch, where that is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbnumba.errors import NotAvailableError
from nbnumba.gradients.of_panels import derivatives_of
from nbnumba.gradients.parameters import independent, moved, variables_of

try:
    import torch
except ImportError as error:
    raise NotAvailableError("torch: is not installed; pip install torch") from error

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.registry import StageSource


def render(
    experiment: Experiment,
    parameters: Sequence[str],
    values: Any,
    *,
    stages: StageSource = None,
    threads: int | None = None,
) -> Any:
    """Photons per pixel [slow, fast], a float64 tensor on the CPU, of an experiment with these values of its parameters.

    values: tensor (parameters,), in m and rad; gradients flow back to it, by the adjoint kernel. Takes and raises what value_and_grad()
    does.
    """
    return _Render.apply(values, experiment, tuple(parameters), stages, threads)


class _Render(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, values: Any, experiment: Experiment, parameters: tuple[str, ...], stages: Any, threads: int | None) -> Any:
        numbers = values.detach().cpu().numpy().astype(np.float64).ravel()
        ctx.variables, ctx.like = independent(variables_of(experiment, parameters, stages)), values
        ctx.here = derivatives_of(moved(experiment, ctx.variables, numbers.tolist()), stages, threads)
        return torch.from_numpy(ctx.here.image())

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slopes: Any) -> Any:
        by = ctx.here.slopes(ctx.variables)
        gradient = ctx.here.gradient(ctx.here.of_slopes(slopes.detach().cpu().numpy(), table=ctx.here.reach_table(by)), by)
        return torch.as_tensor(gradient, dtype=ctx.like.dtype, device=ctx.like.device), None, None, None, None
