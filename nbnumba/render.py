"""From prepared stages to pixels: what the kernel sums over, in which spans, and what depends on scan order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NotFiniteError, StageError
from nbnumba.kernel import cpu
from nbnumba.kernel.render import NEVER, Sampling
from nbnumba.kernel.spans import isolate, make_spans, unmasked
from nbnumba.stages.stage import Stage

# Offsets at which terms have to be negligible for it to be worth while to look for such terms.
WORTH_IT = 0.2

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def render(
    experiment: Experiment,
    chosen: Mapping[str, Stage],
    parameters: Mapping[str, Any],
    threads: int | None = None,
    progress: cpu.Progress | None = None,
) -> NDArray[np.float64]:
    """Photons per pixel, [slow, fast]."""
    functions, dtype = functions_of(chosen), experiment.sampling.dtype
    image = np.zeros(experiment.detector.shape)
    try:
        sampling, spans = work_of(experiment, chosen, parameters, threads)
        cpu.render_image(functions, parameters, sampling, spans, image, experiment.steps * sampling.layers, dtype, threads, progress)
    except cpu.CompileError as error:
        raise StageError(f"{chosen.get(error.kind, 'the chosen stages')}: cannot be compiled: {error}") from error
    if experiment.sampling.mask is not None:
        image[~experiment.sampling.mask] = 0.0
    refuse_overflow(image)
    return image


def ready(
    experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any], image: NDArray[np.float64], threads: int
) -> Callable[[], None]:
    """A function that renders the image once more: looks for what depends on scan order, and runs the kernel."""
    functions, mask = functions_of(chosen), experiment.sampling.mask
    sampling, spans = sampling_of(experiment, chosen, parameters), make_spans(experiment.roi, mask)
    kernel = cpu.link(functions, parameters, experiment.sampling.dtype)

    def again() -> None:
        kernel(*mark_scan_order(chosen, functions, parameters, sampling, spans, mask, image.shape[1], threads), image, threads)

    return again


def work_of(
    experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any], threads: int | None
) -> tuple[Sampling, NDArray[np.int64]]:
    """What the kernel sums over, and in which spans."""
    sampling, mask = sampling_of(experiment, chosen, parameters), experiment.sampling.mask
    fast_pixels, spans = experiment.detector.shape[1], make_spans(experiment.roi, mask)
    return mark_scan_order(chosen, functions_of(chosen), parameters, sampling, spans, mask, fast_pixels, threads)


def terms_outside(experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any], threads: int | None = None) -> int:
    """Number of terms that the structure factor stage has no data for (SF-4); 0 where the stage does not say."""
    if (outside := chosen["structure_factor"].outside) is None:
        return 0
    functions = functions_of(chosen)
    spans, mask = make_spans(experiment.roi, experiment.sampling.mask), experiment.sampling.mask
    visited = spans if mask is None else unmasked(spans, mask)
    return cpu.terms_outside(functions, parameters, outside, sampling_of(experiment, chosen, parameters), visited, threads)


def functions_of(chosen: Mapping[str, Stage]) -> dict[str, Any]:
    """Placeholder of the kernel -> function."""
    functions: dict[str, Any] = {kind: stage.function for kind, stage in chosen.items() if kind != "rotation"}
    ceiling = chosen["lattice_shape"].ceiling
    return {**functions, "ceiling": ceiling} if ceiling else functions


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
        brightness=np.ones_like(sources.weight) if "source-weights" in experiment.quirks else sources.weight / sources.weight.mean(),
        orientations=axes,
        choice=by_component(axes),
        first_pixel=-1,
        first_sample=0,
        latch_pixel=NEVER,
        latch_without_spot=int(experiment.background.water_size > 0.0),
        latch_term=0,
    )


def mark_scan_order(
    chosen: Mapping[str, Stage],
    functions: Mapping[str, Any],
    parameters: Mapping[str, Any],
    sampling: Sampling,
    spans: NDArray[np.int64],
    mask: NDArray[np.bool_] | None,
    fast_pixels: int,
    threads: int | None,
) -> tuple[Sampling, NDArray[np.int64]]:
    """Tell the kernel what depends on scan order, where a chosen stage does, and give the pixels concerned spans of their own."""
    visited = spans if mask is None else unmasked(spans, mask)
    if len(sampling.orientations) > 1:
        if first := cpu.first_sample(functions, parameters, sampling, visited):
            slow, fast, sample = first
            sampling = sampling._replace(first_pixel=slow * fast_pixels + fast, first_sample=sample)
            spans = isolate(spans, slow, fast)
    if latch := chosen["structure_factor"].latch:
        if latched := cpu.first_latch(functions, parameters, latch, sampling, visited, fast_pixels, threads):
            slow, fast, term = latched
            sampling = sampling._replace(latch_pixel=slow * fast_pixels + fast, latch_term=term)
            spans = isolate(spans, slow, fast)
    return sampling, spans


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
    later, first = ([int(rotation.function(parameters, step, is_first)) for step in range(parameters.phi_steps)] for is_first in (0, 1))
    rows = [later] if first == later else [later, first]
    return np.ascontiguousarray(parameters.axes[np.array(rows)].reshape(len(rows), -1, 3, 3), np.float64)


def by_component(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(tables, terms, 3, 3) -> (tables, 12, terms): x, y, z and length of a, then of b and c."""
    with_length = np.concatenate([axes, np.linalg.norm(axes, axis=3, keepdims=True)], axis=3)
    return np.ascontiguousarray(with_length.reshape(*axes.shape[:2], 12).transpose(0, 2, 1))
