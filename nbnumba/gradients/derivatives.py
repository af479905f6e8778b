"""Everything that the image of one experiment changes with: what gradient.py and the others are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError, StageError
from nbnumba.gradients.chain import Chain, Inputs, NoDerivativeError, varied_fields
from nbnumba.gradients.variables import Amplitude
from nbnumba.kernel import product
from nbnumba.kernel.cpu.render import ORDER
from nbnumba.kernel.cpu.tangent import Directions
from nbnumba.kernel.device import Slopes, each
from nbnumba.kernel.loss import PixelLoss, linear
from nbnumba.memory import refuse_too_much
from nbnumba.simulation.devices import open_device
from nbnumba.simulation.scene import Scene, mark_scan_order, orientation_rows, prepared_scene, scene_of, taken
from nbnumba.stages.chosen import FACTORS, Stages
from nbnumba.stages.kinds import Factor
from nbnumba.stages.registry import StageSource, registry_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.gradients.variables import Variable
    from nbnumba.kernel.cpu.adjoint import Sums
    from nbnumba.kernel.device import Physics
    from nbnumba.stages.stage import Stage

Pixels = NDArray[np.float64]
Loss = Callable[[Pixels], tuple[float, Pixels]]

DIFFERENTIATING = ("cpu", "cuda")  # devices that have an adjoint kernel
LOOKS = 100
WITHIN = 0.25  # for every argument, to see whether a derivative works
STEP_OF_TABLE = 1e-2  # of the largest amplitude


@lru_cache(maxsize=8)
def device_of(name: str, threads: int | None, caller: int) -> Any:
    """Keeps linked kernels from call to call; caller: the thread that calls, each of which has a device of its own."""
    if name not in DIFFERENTIATING:
        raise ParameterError("device", f"{name!r} is not one of {', '.join(DIFFERENTIATING)}")
    return open_device(name, threads=threads)


class Derivatives:
    """An experiment, ready to be rendered and differentiated in float64.

    like: another one, of an experiment nearby, that takes the same stages and orientations where these depend on a number. called: what
    messages call it, of several panels.

    Raises what simulate() raises, and, where derivatives are asked for, StageError for stages that do not state theirs.
    """

    def __init__(
        self,
        experiment: Experiment,
        stages: StageSource = None,
        threads: int | None = None,
        like: Derivatives | None = None,
        device: str = "cpu",
        called: str = "",
    ) -> None:
        experiment.check()
        refuse_too_much(experiment)
        self._called = called
        self.experiment, self._asked = experiment, (threads, device)
        # Stages, and which orientation a phi step takes, are chosen in steps, and do not vary.
        self._scene: Scene = prepared_scene(experiment, like._scene.stages) if like else scene_of(experiment, registry_of(stages))
        self._chosen, self._prepared, self._area = self._scene.stages, self._scene.parameters, self._scene.area
        self._physics = self._scene.physics.in_float64()
        self._rows: NDArray[np.int64] = like._rows if like else orientation_rows(self._chosen["rotation"], self._prepared["rotation"])
        self._device = device_of(device, threads, threading.get_ident())
        inputs = self._scene.inputs._replace(orientations=taken(self._prepared["rotation"], self._rows))
        with self._scene.naming_stages():
            self._sampling = mark_scan_order(self._physics, inputs, self._area, self._device)

    def near(self, experiment: Experiment) -> Derivatives:
        """The same of an experiment nearby."""
        return Derivatives(experiment, threads=self._asked[0], like=self, device=self._asked[1])

    @cached_property
    def _differentiated(self) -> Physics:
        return with_derivatives(self._physics, self._chosen)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return self._area.shape

    @property
    def notes(self) -> list[str]:
        """What has to be known about derivatives of the chosen stages."""
        shape = self._chosen["lattice_shape"]
        return [f"{shape}: is flat but for its edges, where it jumps; its slope is 0 away from them"] if shape.flat else []

    @property
    def has_table(self) -> bool:
        """Whether structure factors are looked up."""
        return bool(self._chosen["structure_factor"].table)

    @cached_property
    def chain(self) -> Chain:
        """From parameters to what the kernel is given."""
        return Chain(self.experiment, self._chosen, self._prepared, self._rows)

    def slopes(self, variables: Sequence[Variable]) -> list[Inputs]:
        """The derivatives by parameters of what the kernel is given."""
        return [self.chain.slopes(v) for v in variables]

    def image(self) -> Pixels:
        """Photons per pixel."""
        return self._image_with(self._prepared["structure_factor"])

    def value_and_grad(self, loss: Loss, variables: Sequence[Variable]) -> tuple[float, NDArray[np.float64]]:
        """A loss of the image, and its derivatives by parameters."""
        amplitudes = [v for v in variables if isinstance(v, Amplitude)]
        others = [v for v in variables if not isinstance(v, Amplitude)]
        with ThreadPoolExecutor(1) as beside:  # while the kernel runs, which leaves Python alone
            slopes = beside.submit(self.slopes, others)
            value, sums = self.of_loss(loss, table=any(v.part == "structure_factors" for v in variables))
            found = {v.name: slope for v, slope in zip(others, self.gradient(sums, slopes.result()), strict=True)}
        if amplitudes:
            by_F = self.by_amplitudes(sums)
            found |= {v.name: float(by_F[v.rows(self.experiment)[-1]]) for v in amplitudes}
        return value, np.array([found[v.name] for v in variables])

    def gradient(self, sums: Sums, slopes: Sequence[Inputs]) -> NDArray[np.float64]:
        """The chain rule: the derivatives of a loss by parameters."""
        return np.array([sum(float(np.vdot(getattr(sums, name), slope)) for name, slope in one.items()) for one in slopes])

    def along(self, direction: Any, slopes: Sequence[Inputs]) -> Inputs:
        """The derivatives of what the kernel is given along a direction of the parameters."""
        names = {name for slope in slopes for name in slope}
        weighted = list(zip(direction, slopes, strict=True))
        return {name: np.asarray(sum(x * slope[name] for x, slope in weighted if name in slope)) for name in names}

    def reach_table(self, slopes: Sequence[Inputs]) -> bool:
        """Whether some are by the table of structure factors."""
        return any("table" in slope for slope in slopes)

    def by_amplitudes(self, sums: Sums) -> NDArray[np.float64]:
        """The derivatives by every amplitude that is listed."""
        return self.chain.by_amplitudes(sums.table)

    def loss_of(self, photons: Pixels, loss: Loss) -> float:
        """A loss of an image of another experiment."""
        return answer_of(self.within(loss) if isinstance(loss, PixelLoss) else loss, photons)[0]

    def of_loss(self, loss: Loss, table: bool = False) -> tuple[float, Sums]:
        """A loss of the image, and its derivatives by what the kernel is given; by the table of structure factors if that is wanted."""
        _ = self._differentiated  # before anything is rendered
        if isinstance(loss, PixelLoss):
            sums = self._adjoint(loss.spread_over(self._area.shape) if self._rendered is None else self.within(loss), table)
            if not np.isfinite(sums.loss[0]):  # which says that it has to be looked for pixels that say nothing
                sums = self._adjoint(self.within(loss), table)
            return float(sums.loss[0]), sums
        photons = self.image()
        photons.setflags(write=False)
        value, slopes = answer_of(loss, photons)
        return value, self.of_slopes(slopes, table)

    def of_slopes(self, slopes: Any, table: bool = False) -> Sums:
        """The derivatives of what has these derivatives by the photons of every pixel."""
        slopes = np.ascontiguousarray(slopes, np.float64)
        if slopes.shape != self._area.shape:
            raise ParameterError("loss", f"gave derivatives of shape {slopes.shape} for an image of {self._area.shape}")
        if self._area.mask is not None:
            slopes = np.where(self._area.mask, slopes, 0.0)
        if not np.isfinite(slopes.sum()):
            raise ParameterError("loss", "gave a derivative that is not a finite number")
        return self._adjoint(PixelLoss(linear, slopes, slopes), table)

    @cached_property
    def _rendered(self) -> NDArray[np.bool_] | None:
        """Where something is; None: everywhere."""
        if self._area.pixels == np.prod(self._area.shape):
            return None
        rendered = np.zeros(self._area.shape, bool)
        first_fast, last_fast, first_slow, last_slow = self._area.roi
        region = slice(first_slow, last_slow + 1), slice(first_fast, last_fast + 1)
        rendered[region] = True if self._area.mask is None else self._area.mask[region]
        return rendered

    def within(self, loss: PixelLoss) -> PixelLoss:
        """A loss of the pixels that are rendered and have a weight."""
        return loss.within(self._area.shape, self._rendered, self._called)

    def _adjoint(self, loss: PixelLoss, table: bool) -> Sums:
        with self._scene.naming_stages():
            sums: Sums = self._device.adjoint(self._differentiated, self._sampling, self._area, loss, table)
        return sums

    def columns(self, slopes: Sequence[Inputs]) -> tuple[Pixels, Pixels]:
        """Photons [slow, fast], and their derivatives [n, slow, fast] where what the kernel is given changes as each of these says."""
        with self._scene.naming_stages():
            image, columns = self._device.tangents(self._differentiated, self._sampling, self._area, self._directions(slopes))
        for column, slope in zip(columns, slopes, strict=True):
            if "table" in slope and slope["table"].any():
                column += self._along_table(slope["table"])
        return image, columns

    def _along_table(self, slope: NDArray[np.float64]) -> Pixels:
        """The change of the image with the table of structure factors. Photons go with their squares, of which differences are exact."""
        factors, field = self._prepared["structure_factor"], self._chosen["structure_factor"].table
        table = getattr(factors, field)
        step = STEP_OF_TABLE * max(float(np.abs(table).max()), 1.0) / float(np.abs(slope).max())
        more, less = (self._image_with(factors._replace(**{field: table + s * slope})) for s in (step, -step))
        return (more - less) / (2.0 * step)

    def _image_with(self, factors: Any) -> Pixels:
        """Photons with other structure factors."""
        image, physics = self._device.zeros(self._area.shape), self._physics
        physics = replace(physics, parameters={**physics.parameters, "structure_factor": factors})
        with self._scene.naming_stages():
            self._device.render(physics, self._sampling, self._scene.panels, image)
        return np.asarray(self._device.to_host(image), np.float64)

    def _directions(self, slopes: Sequence[Inputs]) -> Directions:
        """The same as arrays, 0 where nothing is said."""
        (tables, turns), sources = self._sampling.orientations.shape[:2], self._sampling.wavelength.size
        shapes = {"orientations": (tables, turns, 9), "incident": (sources, 3), "wavelength": (sources,), "brightness": (sources,)}
        shapes |= {kind: (len(varied_fields(self._chosen, kind)) + 2 * (kind == "scaling"),) for kind in ORDER}
        found = {name: np.zeros((len(slopes), *shape)) for name, shape in shapes.items()}
        for n, slope in enumerate(slopes):
            for name in found.keys() & slope.keys():
                found[name][n] = slope[name]
        return Directions(turns=np.array([part.any() for part in found["orientations"]], np.int64), **found)


def answer_of(loss: Loss, photons: Pixels) -> tuple[float, Pixels]:
    """What a loss says of an image. Raises ParameterError for what is no number with an array of numbers."""
    try:
        value, slopes = loss(photons)
        if np.iscomplexobj(slopes):
            raise TypeError("derivatives are complex")
        return float(value), np.asarray(slopes, np.float64)
    except (TypeError, ValueError) as error:
        if "read-only" in str(error):
            raise
        raise ParameterError("loss", f"must take photons [slow, fast] and return L and dL/dI, arrays of real numbers: {error}") from error


def with_derivatives(physics: Physics, chosen: Stages) -> Physics:
    """The same with the stages' derivatives. Raises StageError for a stage that has none."""
    for kind in ORDER:
        for stage, parameters in zip(chosen.of(kind), each(physics.parameters[kind]), strict=False):
            if stage.derivative is None:
                raise NoDerivativeError(stage, "does not state its derivative, which a gradient needs")
            require_slopes(stage, parameters)
    factor = chosen["structure_factor"]
    slopes = {kind: slopes_of(chosen, kind) for kind in ORDER}
    return replace(physics, derivatives=slopes, table=factor.table, spread=factor.spread)


def slopes_of(chosen: Stages, kind: str) -> Slopes:
    """The derivative of a kind's stage; of a chain of factors, that of their product."""
    names = tuple(name for _, name in varied_fields(chosen, kind))
    if kind != FACTORS:
        return Slopes(chosen[kind].derivative, names, chosen[kind].of.first_field)
    functions = tuple(stage.derivative for stage in chosen.factors if stage.derivative)
    counts = tuple(len(stage.varied) for stage in chosen.factors)
    return Slopes(product.derivative(functions, Factor.of.arguments, counts), names, Factor.of.first_field)


def require_slopes(stage: Stage, parameters: Any) -> None:
    """Refuse a derivative that fails, or that does not have a number for everything that it is taken by."""
    assert stage.derivative is not None
    if missing := [name for name in (*stage.varied, *filter(None, [getattr(stage, "table", "")])) if name not in parameters._fields]:
        raise StageError(f"{stage}: prepare() returned no {', '.join(missing)}, which its derivative is taken by")
    try:
        found = stage.derivative(parameters, *[WITHIN] * (len(stage.of.arguments) + stage.of.results))
        count = len(found)
    except Exception as error:
        raise StageError(f"{stage}: its derivative fails: {type(error).__name__}: {error}") from error
    if count != (wanted := stage.of.first_field + len(stage.varied)):
        raise StageError(f"{stage}: its derivative returns {count} numbers, not {wanted}")
