"""An experiment with the stages that it takes, prepared once: what kernels are linked from, what they sum over, and over which pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.closed_form.refusals import require_gaussian
from nbnumba.errors import NotFiniteError, StageError
from nbnumba.experiment.background import Background
from nbnumba.kernel import product
from nbnumba.kernel.compile_errors import CompileError
from nbnumba.kernel.cpu.render import NEVER, ORDER, KernelInputs, ScanOrder
from nbnumba.kernel.device import Area, Device, Physics, Progress, in_order
from nbnumba.kernel.panels import Panels
from nbnumba.simulation.support import NOWHERE, support_of
from nbnumba.simulation.together import render_together
from nbnumba.stages import registry
from nbnumba.stages.chosen import FACTORS, Stages
from nbnumba.stages.kinds import Factor
from nbnumba.stages.presets import stage_names
from nbnumba.stages.stage import Stage

# Offsets at which terms have to be negligible for it to be worth while to look for such terms.
WORTH_IT = 0.2
SMALL = 1e-3  # edge of a pixel over its distance, up to which a background is the same at its middle as over all of it, to 1e-6

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


@dataclass(frozen=True, eq=False)
class Scene:
    """experiment; stages: those that it takes; parameters: what each of them has prepared, by kind."""

    experiment: Experiment
    stages: Stages
    parameters: Mapping[str, Any]

    @cached_property
    def physics(self) -> Physics:
        """What the kernels are linked from. Rotation has no part in it."""
        shape, factor, scaling = self.stages["lattice_shape"], self.stages["structure_factor"], self.stages["scaling"]
        functions: dict[str, Any] = {kind: self.stages[kind].function for kind in ORDER if kind != FACTORS}
        functions[FACTORS] = product.product(tuple(stage.function for stage in self.stages.factors), Factor.of.arguments)
        functions |= {name: found for name, found in (("ceiling", shape.ceiling), ("bounds", self.stages["geometry"].bounds)) if found}
        return Physics(
            functions,
            {kind: self.parameters[kind] for kind in ORDER},
            self.experiment.sampling.dtype,
            tuple(stage.kind for stage in self.stages.in_kernels if stage.of.in_dtype),
            latch=factor.latch,
            outside=factor.outside,
            looks_up_first=factor.looks_up_first,
            additive=scaling.additive,
        )

    @cached_property
    def area(self) -> Area:
        """The pixels to render."""
        return area_of(self.experiment)

    @cached_property
    def panels(self) -> Panels:
        """Where the pixels are."""
        return Panels((self.parameters["geometry"],), (self.area,))

    @cached_property
    def inputs(self) -> KernelInputs:
        """What the kernel sums over, wherever it begins."""
        dmin, sources = self.experiment.sampling.dmin, self.experiment.source_list
        longest = 1.0 / dmin if dmin > 0.0 else math.inf
        axes = orientations(self.stages["rotation"], self.parameters["rotation"])
        return KernelInputs(
            oversample=self.experiment.oversample,
            layers=self.parameters["geometry"].layers,
            longest=longest,
            longest_squared=largest_square(longest),
            negligible=self.negligible,
            support=NOWHERE,
            incident=sources.incident,
            wavelength=sources.wavelength,
            brightness=brightness_of(self.experiment),
            orientations=axes,
            blank_terms=axes.shape[1] if self.keeps_background else 0,
            scan_order=ScanOrder(-1, 0, NEVER, int(self.experiment.background.water_size > 0.0), 0),
        )

    @property
    def dry(self) -> Scene:
        """The scene without the background that every term has a share of (SCA-22); the scene itself where that cannot be told apart."""
        return self._without_background if self._has_background_apart else self

    @cached_property
    def _without_background(self) -> Scene:
        """Another one: a scene that refers to itself is there until garbage is searched for."""
        experiment = self.experiment.changing(background=Background())
        return Scene(experiment, self.stages, {**self.parameters, **self.stages.prepare(experiment, ("scaling",))})

    @property
    def blank(self) -> KernelInputs:
        """What the kernel sums over for that background alone; of a pixel that is seen as SMALL that of all terms at its middle."""
        inputs, detector = self.dry.inputs, self.experiment.detector
        n_sub = 1 if detector.pixel_size <= SMALL * abs(self.experiment.frame.close_distance) else inputs.oversample
        terms = (inputs.oversample // n_sub) ** 2 * inputs.orientations.shape[1]
        return inputs._replace(oversample=n_sub, longest=0.0, longest_squared=-1.0, blank_terms=terms)

    @property
    def depends_on_scan_order(self) -> bool:
        """Whether what a pixel gets depends on those before it."""
        return len(self.inputs.orientations) > 1 or self.physics.latch is not None

    def on(self, device: Device) -> KernelInputs:
        """The same with what depends on scan order, where a stage does."""
        with self.naming_stages():
            inputs = self.inputs._replace(support=support_of(self)) if device.lists else self.inputs
            return mark_scan_order(self.physics, inputs, self.area, device)

    def render(self, device: Device, progress: Progress | None = None, image: Any = None) -> Any:
        """Photons per pixel, [slow, fast], in the device's memory; in ``image`` if that is given."""
        image = device.zeros(self.area.shape) if image is None else image
        render_together([self], device, image, progress)
        return image

    def ready(self, device: Device) -> Callable[[], None]:
        """A function that renders the image once more: looks for what depends on scan order, and runs the kernel."""
        physics, area, panels, inputs = self.physics, self.area, self.panels, self.inputs
        image = device.zeros(area.shape)

        def again() -> None:
            device.render(physics, mark_scan_order(physics, inputs, area, device), panels, image)

        return again

    def terms_outside(self, device: Device) -> int:
        """Number of terms that the structure factor stage has no data for (SF-4); 0 where the stage does not say."""
        if self.physics.outside is None:
            return 0
        with self.naming_stages():
            return device.terms_outside(self.physics, self.inputs, self.area)

    def of_panel(self, experiment: Experiment) -> Scene:
        """The scene of another panel of the same detector."""
        return Scene(experiment, self.stages, {**self.parameters, **self.stages.prepare(experiment, self.stages.of_panels)})

    @contextmanager
    def naming_stages(self) -> Iterator[None]:
        """One line about a stage that cannot be compiled."""
        try:
            yield
        except CompileError as error:
            named = ", ".join(map(str, self.stages.of(error.kind))) if error.kind else "the chosen stages"
            raise StageError(f"{named}: cannot be compiled: {error}") from error

    @property
    def keeps_background(self) -> bool:
        """Whether samples beyond the resolution limit have a background (SCA-20), which takes a stage that adds terms up."""
        experiment = self.experiment
        cut = experiment.sampling.dmin and experiment.background.water_size and "dmin-cuts-water" not in experiment.quirks
        return bool(cut and self.stages["scaling"].additive)

    @property
    def _has_background_apart(self) -> bool:
        """Whether every term adds a share of a background that factors of its sample alone multiply, and nothing cuts."""
        p = self.parameters["scaling"]
        with_factors = p.polarization_per_term and p.solid_angle_per_term and p.capture_per_term
        whole = self.keeps_background or not self.experiment.sampling.dmin
        return bool(with_factors and whole and self.stages["scaling"].additive and self._adds_without_amplitude)

    @property
    def _adds_without_amplitude(self) -> bool:
        """Whether a term without amplitude counts, as a share of the background does."""
        return bool(self.stages["scaling"].function(self.parameters["scaling"], 0.0, 0.0, 0.0, 1.0) != 0.0)

    @cached_property
    def negligible(self) -> float:
        """|F_latt| of a term of so small a part of a reflection's largest (SCA-11); 0 where none is left out."""
        shape, p = self.stages["lattice_shape"], self.parameters["lattice_shape"]
        if shape.ceiling is None or not self.stages["scaling"].additive or self._adds_without_amplitude:
            return 0.0
        try:
            least = math.sqrt(self.experiment.negligible) * shape.ceiling(p, 0.0, 0.0, 0.0)
            return least if shape.ceiling(p, WORTH_IT, WORTH_IT, WORTH_IT) <= least else 0.0
        except Exception as error:
            raise StageError(f"{shape}: its ceiling fails: {type(error).__name__}: {error}") from error


def largest_square(root: float) -> float:
    """The largest number whose square root is no more than this."""
    square = root * root
    while math.sqrt(square) > root:
        square = math.nextafter(square, 0.0)
    while square < math.inf and math.sqrt(further := math.nextafter(square, math.inf)) <= root:
        square = further
    return square


def scene_of(experiment: Experiment, stages: registry.Registry | None = None) -> Scene:
    """The scene of an experiment. Raises ParameterError, StageError."""
    chosen = choose_stages(experiment, stages or registry.installed())
    return prepared_scene(experiment, chosen)


def scenes_of(experiment: Experiment, stages: registry.Registry | None = None) -> list[Scene]:
    """A scene of every panel. Raises ParameterError, StageError."""
    first = prepared_scene(experiment.by_panel[0], choose_stages(experiment, stages or registry.installed()))
    return [first, *map(first.of_panel, experiment.by_panel[1:])]


def area_of(experiment: Experiment) -> Area:
    """The pixels to render."""
    return Area(experiment.detector.shape, experiment.roi, experiment.sampling.mask)


def prepared_scene(experiment: Experiment, chosen: Stages) -> Scene:
    """The scene of an experiment with these stages. Raises StageError."""
    if chosen.factors and not chosen["scaling"].weighted:
        told = "does not look at the weight of a term, in which factors come; take per-term (--plugin scaling=per-term)"
        raise StageError(f"{chosen.factors[0]}: {chosen['scaling']} {told}")
    return Scene(experiment, chosen, chosen.prepare(experiment))


def choose_stages(experiment: Experiment, stages: registry.Registry) -> Stages:
    """By preset, experiment and the user's own choice."""
    chosen = stages.choose(stage_names(experiment, stages.taken), experiment.model.parameters)
    if experiment.spots.are_gaussian:
        require_gaussian(experiment, chosen)
    return chosen


def refuse_overflow(pixels: NDArray[np.float64]) -> None:
    """Refuse an image that is not finite in the float32 of its files."""
    most = np.finfo(np.float32).max
    if not (pixels.max(initial=0.0) <= most and pixels.min(initial=0.0) >= -most):  # false for what is not a number, too
        bad = np.argwhere(~(np.abs(pixels) <= most))[0]
        raise NotFiniteError(
            f"pixel slow {bad[0]}, fast {bad[1]} has {pixels[tuple(bad)]:g} photons: not finite, or too many for an image file; check "
            "fluence, structure factors and stages"
        )


def brightness_of(experiment: Experiment) -> NDArray[np.float64]:
    """Relative intensity of every source, (sources,); nanoBragg does not look at weights."""
    weight = experiment.source_list.weight
    return np.ones_like(weight) if "source-weights" in experiment.quirks else weight / weight.mean()


def mark_scan_order(physics: Physics, inputs: KernelInputs, area: Area, device: Device) -> KernelInputs:
    """Tell the kernel what depends on scan order, where a chosen stage does."""
    if len(inputs.orientations) > 1:
        if first := device.first_sample(physics, inputs, area):
            inputs = in_order(inputs, first_pixel=first[0], first_sample=first[1])
    if physics.latch:
        if latched := device.first_latch(physics, inputs, area):
            inputs = in_order(inputs, latch_pixel=latched[0], latch_term=latched[1])
    return inputs


def orientations(rotation: Stage, parameters: Any) -> NDArray[np.float64]:
    """Rows a, b, c (m) of every term of a sample, (1, terms, 3, 3); a second table if the image's first sample has its own."""
    return taken(parameters, orientation_rows(rotation, parameters))


def taken(parameters: Any, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """These rows of a rotation's table of axes, (1, terms, 3, 3)."""
    return np.ascontiguousarray(parameters.axes[rows].reshape(len(rows), -1, 3, 3), np.float64)


def orientation_rows(rotation: Stage, parameters: Any) -> NDArray[np.int64]:
    """Row of the table of axes that every phi step takes, (1, steps); a second row if the image's first sample has its own."""
    later, first = ([int(rotation.function(parameters, step, is_first)) for step in range(parameters.phi_steps)] for is_first in (0, 1))
    return np.array([later] if first == later else [later, first])
