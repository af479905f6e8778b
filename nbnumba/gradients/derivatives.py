"""Everything that the image of one experiment changes with: what gradient.py and the others are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.devices import open_device
from nbnumba.errors import ParameterError, StageError
from nbnumba.gradients.chain import Chain, Inputs
from nbnumba.kernel.loss import PixelLoss, linear
from nbnumba.kernel.render import ORDER
from nbnumba.kernel.tangent import Directions
from nbnumba.render import area_of, mark_scan_order, named_stages, orientation_rows, physics_of, sampling_of, taken
from nbnumba.simulate import choose_stages, prepare
from nbnumba.stages import registry

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.gradients.variables import Variable
    from nbnumba.kernel.adjoint import Sums
    from nbnumba.kernel.device import Physics
    from nbnumba.stages.stage import Stage

Image = NDArray[np.float64]
Loss = Callable[[Image], tuple[float, Image]]

DIFFERENTIATING = ("cpu", "cuda")  # devices that have an adjoint kernel
LOOKS = 100
STEP_OF_TABLE = 1e-2  # of the largest amplitude


@lru_cache(maxsize=8)
def device_of(name: str, threads: int | None, caller: int) -> Any:
    """Keeps linked kernels from call to call; caller: the thread that calls, each of which has a device of its own."""
    if name not in DIFFERENTIATING:
        raise ParameterError("device", f"{name!r} is not one of {', '.join(DIFFERENTIATING)}")
    return open_device(name, threads=threads)


class Derivatives:
    """An experiment, ready to be rendered and differentiated in float64.

    like: another one that phi steps take the same orientations as, where that depends on whether an angle is 0.
    Raises what simulate() raises, and StageError for stages that do not state their derivative.
    """

    def __init__(
        self,
        experiment: Experiment,
        stages: registry.Registry | None = None,
        threads: int | None = None,
        like: Derivatives | None = None,
        device: str = "cpu",
    ) -> None:
        experiment.check()
        self.experiment = experiment
        self._chosen = choose_stages(experiment, stages or registry.installed())
        self._prepared = prepare(self._chosen, experiment)
        self._physics = with_derivatives(physics_of(experiment, self._chosen, self._prepared).in_float64(), self._chosen)
        # Which orientation a phi step takes is chosen in steps, and does not vary.
        self._rows: NDArray[np.int64] = like._rows if like else orientation_rows(self._chosen["rotation"], self._prepared["rotation"])
        self._area, self._device = area_of(experiment), device_of(device, threads, threading.get_ident())
        with named_stages(self._chosen):
            sampling = sampling_of(experiment, self._chosen, self._prepared)
            sampling = sampling._replace(orientations=taken(self._prepared["rotation"], self._rows))
            self._sampling = mark_scan_order(self._physics, sampling, self._area, self._device)

    @property
    def notes(self) -> list[str]:
        """What has to be known about derivatives of the chosen stages."""
        shape = self._chosen["lattice_shape"]
        return (
            [f"{shape}: is flat but for its edges, where it jumps; its slope is 0 away from them"] if is_flat(shape, self._prepared) else []
        )

    @property
    def has_table(self) -> bool:
        """Whether structure factors are looked up."""
        return self._chosen["structure_factor"].table != ""

    @cached_property
    def chain(self) -> Chain:
        """From parameters to what the kernel is given."""
        return Chain(self.experiment, self._chosen, self._prepared, self._rows)

    def slopes(self, variables: Sequence[Variable]) -> list[Inputs]:
        """The derivatives by parameters of what the kernel is given."""
        return [self.chain.slopes(v) for v in variables]

    def image(self) -> Image:
        """Photons per pixel."""
        return self._image_with(self._prepared["structure_factor"])

    def value_and_grad(self, loss: Loss, variables: Sequence[Variable]) -> tuple[float, NDArray[np.float64]]:
        """A loss of the image, and its derivatives by parameters."""
        with ThreadPoolExecutor(1) as beside:  # while the kernel runs, which leaves Python alone
            slopes = beside.submit(self.slopes, variables)
            value, sums = self.of_loss(loss, table=any(v.part == "structure_factors" for v in variables))
            return value, np.array([by_variable(sums, slope) for slope in slopes.result()])

    def of_loss(self, loss: Loss, table: bool = False) -> tuple[float, Sums]:
        """A loss of the image, and its derivatives by what the kernel is given; by the table of structure factors if that is wanted."""
        if isinstance(loss, PixelLoss):
            return self._of_pixels(loss, table)
        photons = self.image()
        photons.setflags(write=False)
        value, slopes = loss(photons)
        return value, self.of_slopes(slopes, table)

    def of_slopes(self, slopes: Any, table: bool = False) -> Sums:
        """The derivatives of what has these derivatives by the photons of every pixel."""
        slopes = np.ascontiguousarray(slopes, np.float64)
        if slopes.shape != self._area.shape:
            raise ParameterError("loss", f"gave derivatives of shape {slopes.shape} for an image of {self._area.shape}")
        if self._area.mask is not None:
            slopes = np.where(self._area.mask, slopes, 0.0)
        return self._adjoint(PixelLoss(linear, slopes, slopes), table)

    def _of_pixels(self, loss: PixelLoss, table: bool) -> tuple[float, Sums]:
        """The same for a loss that the kernel can work out by itself; pixels that are not rendered hold nothing."""
        loss = loss.spread_over(self._area.shape)
        rest = self._rest
        if rest is None:
            sums = self._adjoint(loss, table)
            return float(sums.loss[0]), sums
        values, _ = loss.function(np.zeros(np.count_nonzero(rest)), loss.observed[rest], loss.weights[rest])
        sums = self._adjoint(replace(loss, weights=np.where(rest, 0.0, loss.weights)), table)
        return float(sums.loss[0] + np.sum(values)), sums

    @cached_property
    def _rest(self) -> NDArray[np.bool_] | None:
        """Where nothing is rendered; None if everything is."""
        if self._area.pixels == np.prod(self._area.shape):
            return None
        rest = np.ones(self._area.shape, bool)
        first_fast, last_fast, first_slow, last_slow = self._area.roi
        rendered = slice(first_slow, last_slow + 1), slice(first_fast, last_fast + 1)
        rest[rendered] = False if self._area.mask is None else ~self._area.mask[rendered]
        return rest

    def _adjoint(self, loss: PixelLoss, table: bool) -> Sums:
        with named_stages(self._chosen):
            sums: Sums = self._device.adjoint(self._physics, self._sampling, self._area, loss, table)
        return sums

    def columns(self, slopes: Sequence[Inputs]) -> tuple[Image, Image]:
        """Photons [slow, fast], and their derivatives [n, slow, fast] where what the kernel is given changes as each of these says."""
        with named_stages(self._chosen):
            image, columns = self._device.tangents(self._physics, self._sampling, self._area, self._directions(slopes))
        for column, slope in zip(columns, slopes, strict=True):
            if "table" in slope and slope["table"].any():
                column += self._along_table(slope["table"])
        return image, columns

    def _along_table(self, slope: NDArray[np.float64]) -> Image:
        """The change of the image with the table of structure factors. Photons go with their squares, of which differences are exact."""
        factors = self._physics.parameters["structure_factor"]
        table = getattr(factors, self._physics.table)
        step = STEP_OF_TABLE * max(float(np.abs(table).max()), 1.0) / float(np.abs(slope).max())
        more, less = (self._image_with(factors._replace(**{self._physics.table: table + s * slope})) for s in (step, -step))
        return (more - less) / (2.0 * step)

    def _image_with(self, factors: Any) -> Image:
        """Photons with other structure factors."""
        image, physics = self._device.zeros(self._area.shape), self._physics
        physics = replace(physics, parameters={**physics.parameters, "structure_factor": factors})
        with named_stages(self._chosen):
            self._device.render(physics, self._sampling, self._area, image)
        return np.asarray(self._device.to_host(image), np.float64)

    def _directions(self, slopes: Sequence[Inputs]) -> Directions:
        """The same as arrays, 0 where nothing is said."""
        (tables, turns), sources = self._sampling.orientations.shape[:2], self._sampling.wavelength.size
        shapes = {"orientations": (tables, turns, 9), "incident": (sources, 3), "wavelength": (sources,), "brightness": (sources,)}
        shapes |= {kind: (len(self._chosen[kind].varied) + 2 * (kind == "scaling"),) for kind in ORDER}
        found = {name: np.zeros((len(slopes), *shape)) for name, shape in shapes.items()}
        for n, slope in enumerate(slopes):
            for name in found.keys() & slope.keys():
                found[name][n] = slope[name]
        return Directions(turns=np.array([int(part.any()) for part in found["orientations"]]), **found)


def with_derivatives(physics: Physics, chosen: Mapping[str, Stage]) -> Physics:
    """The same with the stages' derivatives. Raises StageError for a stage that has none."""
    for kind in ORDER:
        if chosen[kind].derivative is None:
            raise StageError(f"{chosen[kind]}: does not state its derivative, which a gradient needs; differences=True goes without")
    derivatives = {kind: (chosen[kind].derivative, chosen[kind].varied) for kind in ORDER}
    factor = chosen["structure_factor"]
    return replace(physics, derivatives=derivatives, table=factor.table, spread=factor.spread)  # type: ignore[arg-type]


def is_flat(shape: Stage, prepared: Mapping[str, Any]) -> bool:
    """Whether a lattice shape has no slope wherever one looks."""
    assert shape.derivative is not None
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (LOOKS, 3))
    return not any(np.any(shape.derivative(prepared["lattice_shape"], *offset)[1:4]) for offset in offsets)


def by_variable(sums: Sums, slopes: Inputs) -> float:
    """The chain rule: the derivative of a loss by a parameter."""
    return sum(float(np.vdot(getattr(sums, name), slope)) for name, slope in slopes.items())
