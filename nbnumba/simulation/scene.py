"""From prepared stages to pixels: what the kernel sums over, over which pixels, and what depends on scan order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NotFiniteError, StageError
from nbnumba.kernel.compile_errors import CompileError
from nbnumba.kernel.cpu.render import NEVER, ORDER, Sampling
from nbnumba.kernel.device import Area, Device, Physics, Progress
from nbnumba.stages.stage import Stage

# Offsets at which terms have to be negligible for it to be worth while to look for such terms.
WORTH_IT = 0.2

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def render(
    experiment: Experiment,
    chosen: Mapping[str, Stage],
    parameters: Mapping[str, Any],
    device: Device,
    progress: Progress | None = None,
    image: Any = None,
) -> Any:
    """Photons per pixel, [slow, fast], in the device's memory; in ``image`` if that is given."""
    physics, area = physics_of(experiment, chosen, parameters), area_of(experiment)
    image = device.zeros(area.shape) if image is None else image
    with named_stages(chosen):
        sampling = mark_scan_order(physics, sampling_of(experiment, chosen, parameters), area, device)
        device.render(physics, sampling, area, image, progress)
    return image


def ready(experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any], device: Device) -> Callable[[], None]:
    """A function that renders the image once more: looks for what depends on scan order, and runs the kernel."""
    physics, area = physics_of(experiment, chosen, parameters), area_of(experiment)
    sampling, image = sampling_of(experiment, chosen, parameters), device.zeros(area.shape)

    def again() -> None:
        device.render(physics, mark_scan_order(physics, sampling, area, device), area, image)

    return again


def terms_outside(experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any], device: Device) -> int:
    """Number of terms that the structure factor stage has no data for (SF-4); 0 where the stage does not say."""
    physics = physics_of(experiment, chosen, parameters)
    if physics.outside is None:
        return 0
    with named_stages(chosen):
        return device.terms_outside(physics, sampling_of(experiment, chosen, parameters), area_of(experiment))


@contextmanager
def named_stages(chosen: Mapping[str, Stage]) -> Iterator[None]:
    """One line about a stage that cannot be compiled."""
    try:
        yield
    except CompileError as error:
        raise StageError(f"{chosen.get(error.kind, 'the chosen stages')}: cannot be compiled: {error}") from error


def physics_of(experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any]) -> Physics:
    """What the kernels are linked from. Rotation has no part in it."""
    functions: dict[str, Any] = {kind: stage.function for kind, stage in chosen.items() if kind != "rotation"}
    if ceiling := chosen["lattice_shape"].ceiling:
        functions["ceiling"] = ceiling
    of_kernels = {kind: parameters[kind] for kind in ORDER}
    latch, outside = chosen["structure_factor"].latch, chosen["structure_factor"].outside
    return Physics(functions, of_kernels, experiment.sampling.dtype, latch, outside)


def area_of(experiment: Experiment) -> Area:
    """The pixels to render."""
    return Area(experiment.detector.shape, experiment.roi, experiment.sampling.mask)


def refuse_overflow(pixels: NDArray[np.float64]) -> None:
    """Refuse an image that is not finite in the float32 of its files."""
    most = np.finfo(np.float32).max
    if not (pixels.max(initial=0.0) <= most and pixels.min(initial=0.0) >= -most):  # false for what is not a number, too
        bad = np.argwhere(~(np.abs(pixels) <= most))[0]
        raise NotFiniteError(
            f"pixel slow {bad[0]}, fast {bad[1]} has {pixels[tuple(bad)]:g} photons: not finite, or too many for an image file; check "
            "fluence, structure factors and stages"
        )


def sampling_of(experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any]) -> Sampling:
    """What the kernel sums over."""
    dmin, sources = experiment.sampling.dmin, experiment.source_list
    axes = orientations(chosen["rotation"], parameters["rotation"])
    return Sampling(
        oversample=experiment.oversample,
        layers=parameters["geometry"].layers,
        longest=1.0 / dmin if dmin > 0.0 else np.inf,
        negligible=least_amplitude(chosen, parameters, experiment.sampling.negligible),
        incident=sources.incident,
        wavelength=sources.wavelength,
        brightness=brightness_of(experiment),
        orientations=axes,
        first_pixel=-1,
        first_sample=0,
        latch_pixel=NEVER,
        latch_without_spot=int(experiment.background.water_size > 0.0),
        latch_term=0,
        blank_terms=axes.shape[1] if keeps_background(experiment, chosen["scaling"], parameters["scaling"]) else 0,
    )


def keeps_background(experiment: Experiment, scaling: Stage, parameters: Any) -> bool:
    """Whether samples beyond the resolution limit have a background (SCA-20), which takes a stage that adds terms up."""
    if "dmin-cuts-water" in experiment.quirks or not (experiment.sampling.dmin and experiment.background.water_size):
        return False
    return bool(scaling.function(parameters, 1.0, 0.0, 0.0, 0.0) == 1.0)


def brightness_of(experiment: Experiment) -> NDArray[np.float64]:
    """Relative intensity of every source, (sources,); nanoBragg does not look at weights."""
    weight = experiment.source_list.weight
    return np.ones_like(weight) if "source-weights" in experiment.quirks else weight / weight.mean()


def mark_scan_order(physics: Physics, sampling: Sampling, area: Area, device: Device) -> Sampling:
    """Tell the kernel what depends on scan order, where a chosen stage does."""
    if len(sampling.orientations) > 1:
        if first := device.first_sample(physics, sampling, area):
            sampling = sampling._replace(first_pixel=first[0], first_sample=first[1])
    if physics.latch:
        if latched := device.first_latch(physics, sampling, area):
            sampling = sampling._replace(latch_pixel=latched[0], latch_term=latched[1])
    return sampling


def least_amplitude(chosen: Mapping[str, Stage], parameters: Mapping[str, Any], fraction: float) -> float:
    """As negligible(), with one line about a stage that fails."""
    try:
        return negligible(chosen, parameters, fraction)
    except Exception as error:
        raise StageError(f"{chosen['lattice_shape']} or {chosen['scaling']}: {type(error).__name__}: {error}") from error


def negligible(chosen: Mapping[str, Stage], parameters: Mapping[str, Any], fraction: float) -> float:
    """|F_latt| of a term of ``fraction`` of a reflection's largest (SCA-11); 0 where none is left out."""
    ceiling, scaling = chosen["lattice_shape"].ceiling, chosen["scaling"].function
    # With some stages a term changes the sum however small it is.
    if ceiling is None or scaling(parameters["scaling"], 1.0, 1e-30, 1.0, 0.5) != 1.0:
        return 0.0
    shape = parameters["lattice_shape"]
    least = math.sqrt(fraction) * ceiling(shape, 0.0, 0.0, 0.0)
    return least if ceiling(shape, WORTH_IT, WORTH_IT, WORTH_IT) <= least else 0.0


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
