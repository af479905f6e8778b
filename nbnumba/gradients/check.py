"""Gradients held against central differences of images, for every parameter of an experiment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.gradients.differences import difference, image_step
from nbnumba.gradients.of_panels import derivatives_of
from nbnumba.gradients.parameters import parameters_of, variables_of
from nbnumba.gradients.variables import Variable, decided_alike, with_amplitudes

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.stages.registry import StageSource

TOLERANCE = 1e-6
# Steps that are tried one after the other, in units of that of image_step(), until two of them agree.
STEPS = (1.0, 0.1, 10.0, 0.01, 100.0, 1e-3)
AGREEMENT = 1e-8
UNSETTLED = 1e-5  # of the derivative, by which differences of two steps disagree
ROUNDING = 1e-15  # of the loss, relative
# Relative to the loss: what differences cannot tell from no change at all.
LEAST = 1e-10


@dataclass(frozen=True)
class Row:
    """A parameter (m, rad), the loss's derivative by it from the adjoint, that from differences, and how far apart they are."""

    parameter: str
    value: float
    gradient: float
    differences: float
    uncertainty: float  # of the differences: how far apart two steps are, and rounding
    hidden: float  # what differences cannot tell from nothing
    relative_error: float

    @property
    def settled(self) -> bool:
        """Whether differences of two steps agree."""
        return self.uncertainty <= max(self.hidden, UNSETTLED * max(abs(self.gradient), abs(self.differences)))

    def agrees(self, tolerance: float) -> bool:
        """Whether gradient and differences do, as far as differences can tell."""
        return self.settled and (self.relative_error <= tolerance or abs(self.gradient - self.differences) <= self.hidden)


@dataclass(frozen=True)
class Check:
    """Rows, and what has to be known about them; loss: the number that was differentiated."""

    loss: float
    rows: list[Row]
    notes: list[str]

    def off(self, tolerance: float = TOLERANCE) -> list[Row]:
        """Rows with a larger relative error, or whose differences say nothing."""
        return [row for row in self.rows if not row.agrees(tolerance)]


class AllAmplitudes(Variable):
    """All amplitudes of the table at once, along a random direction: every one has its part in it."""

    def value(self, experiment: Experiment) -> float:
        """How far along the direction: nowhere."""
        return 0.0

    def step(self, experiment: Experiment) -> float:
        """As for one of them."""
        return float(np.abs(np.asarray(experiment.structure_factors.F)).max() or 1.0) * 1e-3

    def changed(self, experiment: Experiment, value: Any) -> Experiment:
        """The experiment with all amplitudes changed."""
        F = np.asarray(experiment.amplitudes) + value * self.direction(experiment)
        return decided_alike(with_amplitudes(experiment, F), experiment)

    def direction(self, experiment: Experiment) -> NDArray[np.float64]:
        """The same for reflections that are listed twice."""
        _, first = np.unique(np.asarray(experiment.structure_factors.hkl), axis=0, return_inverse=True)
        return np.asarray(np.random.default_rng(0).normal(size=first.max() + 1)[first.ravel()])


def check_gradient(
    experiment: Experiment,
    parameters: Sequence[str] | None = None,
    *,
    stages: StageSource = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Check:
    """The gradient of a sum of photons, each with a random weight, against differences of fourth order.

    parameters: as in value_and_grad(), default all that the experiment can be differentiated by, with the amplitudes of a table together,
    along a random direction. The step of differences is chosen by where those of two steps agree, whatever the gradient is.
    progress(done, total) counts parameters. Raises what value_and_grad() raises.
    """
    experiment = with_smooth_angles(experiment)
    here = derivatives_of(experiment, stages, threads)
    names = parameters_of(experiment) if parameters is None else parameters
    variables = variables_of(experiment, names, stages)
    with_amplitudes = parameters is None and experiment.structure_factors.hkl is not None and here.has_table
    photons = here.image()
    weights = np.random.default_rng(0).uniform(0.5, 1.5, photons.shape) / (float(np.abs(photons).max()) or 1.0)
    loss = float((weights * photons).sum())

    def loss_of(other: Experiment) -> float:
        return float((weights * here.near(other).image()).sum())

    slopes = here.slopes(variables)
    sums = here.of_slopes(weights, table=with_amplitudes or here.reach_table(slopes))
    found = list(zip(variables, here.gradient(sums, slopes).tolist(), strict=True))
    if with_amplitudes:
        found.append(of_all_amplitudes(here, sums))
    rows: list[Row] = []
    for v, gradient in found:
        if progress:
            progress(len(rows), len(found))
        rows.append(row_of(v, experiment, gradient, loss_of, loss))
    if progress:
        progress(len(rows), len(found))
    return Check(loss, rows, here.notes)


def with_smooth_angles(experiment: Experiment) -> Experiment:
    """The experiment with the angles of mosaic domains in float64: differences of images would see where float32 rounds."""
    model = experiment.model
    return decided_alike(replace(experiment, model=replace(model, quirks={**model.quirks, "single-angles": False})), experiment)


def of_all_amplitudes(here: Any, sums: Any) -> tuple[Variable, float]:
    """All amplitudes as one parameter, and the derivative by it."""
    count = len(np.asarray(here.experiment.structure_factors.F))
    together = AllAmplitudes(f"F ({count} together)", "structure_factors", "F", None, "electrons")
    return together, float(here.by_amplitudes(sums) @ together.direction(here.experiment))


def row_of(v: Variable, experiment: Experiment, gradient: float, loss_of: Callable[[Experiment], float], loss: float) -> Row:
    """One parameter checked."""
    expected, uncertainty = controlled_difference(v, experiment, loss_of, loss)
    size = max(abs(gradient), abs(expected))
    hidden = LEAST * abs(loss) / (1.0 if v.is_angle else abs(v.value(experiment)) or v.step(experiment))
    hidden = max(hidden, 4.0 * ROUNDING * abs(loss) / (max(STEPS) * image_step(v, experiment)))
    off = abs(gradient - expected)
    relative = off / size if size > 0.0 else 0.0 if off == 0.0 else math.inf
    return Row(v.name, v.value(experiment), gradient, expected, uncertainty, hidden, relative)


def controlled_difference(v: Variable, experiment: Experiment, loss_of: Callable[[Experiment], float], loss: float) -> tuple[float, float]:
    """The derivative by differences, from the two steps that agree best, and how far off it may be."""
    tried: list[tuple[float, float]] = []
    best = math.nan, math.inf
    for factor in STEPS:
        step = factor * image_step(v, experiment)
        tried.append((step, float(difference(v, experiment, loss_of, loss, step))))
        for one, other in itertools.combinations(tried, 2):
            (wider, found), (_, narrow) = max(one, other), min(one, other)
            off = abs(found - narrow) + ROUNDING * abs(loss) / wider
            best = min(best, (found, off), key=lambda estimate: estimate[1])
        if best[1] <= AGREEMENT * abs(best[0]):
            break
    return best


def as_text(check: Check, tolerance: float = TOLERANCE) -> str:
    """A table, and a last line that says how it went."""
    heads = ("parameter", "value", "by adjoint", "by differences", "relative error")
    rows = [
        (row.parameter, f"{row.value:.6g}", f"{row.gradient:.9e}", f"{row.differences:.9e}", error_of(row, tolerance)) for row in check.rows
    ]
    widths = [max(len(row[n]) for row in (heads, *rows)) for n in range(len(heads))]
    aligns = (str.ljust, *[str.rjust] * (len(heads) - 1))
    lines = ["  ".join(align(cell, w) for align, cell, w in zip(aligns, row, widths, strict=True)) for row in (heads, *rows)]
    off = check.off(tolerance)
    if any(cells[-1].endswith("*") for cells in rows):
        lines.append("* less than rounding of the loss lets differences see")
    said = f"{len(off)} of {len(rows)} parameters are off by more than {tolerance:g}: {', '.join(row.parameter for row in off)}"
    said += "".join(f"; differences by {row.parameter} do not settle" for row in off if not row.settled)
    worst = max((row.relative_error for row in check.rows if row.relative_error <= tolerance), default=0.0)
    return "\n".join(
        [
            *(line.rstrip() for line in lines),
            *check.notes,
            said if off else f"{len(rows)} parameters agree; the largest relative error is {worst:.1e}",
        ]
    )


def error_of(row: Row, tolerance: float) -> str:
    """The relative error, marked where it is more than the tolerance and nothing to differences."""
    return f"{row.relative_error:.1e}{'*' if row.agrees(tolerance) and row.relative_error > tolerance else ' '}"


def as_dict(check: Check) -> dict[str, Any]:
    """The same for programs."""
    return asdict(check)
