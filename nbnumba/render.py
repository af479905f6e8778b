"""From prepared stages to pixels: what the kernel sums over, in which spans, and what depends on scan order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NotFiniteError, StageError
from nbnumba.kernel import cpu
from nbnumba.kernel.render import NEVER, Sampling
from nbnumba.kernel.spans import isolate, make_spans, unmasked
from nbnumba.stages.stage import Stage

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
    functions = {kind: stage.function for kind, stage in chosen.items()}
    sampling, mask = sampling_of(experiment, parameters), experiment.sampling.mask
    image = np.zeros(experiment.detector.shape)
    spans = make_spans(experiment.roi, mask)
    try:
        sampling, spans = mark_scan_order(chosen, functions, parameters, sampling, spans, mask, image.shape[1], threads)
        cpu.render_image(functions, parameters, sampling, spans, image, experiment.steps * sampling.layers, threads, progress)
    except cpu.CompileError as error:
        raise StageError(f"{chosen.get(error.kind, 'the chosen stages')}: cannot be compiled: {error}") from error
    if mask is not None:
        image[~mask] = 0.0
    refuse_overflow(image)
    return image


def terms_outside(experiment: Experiment, chosen: Mapping[str, Stage], parameters: Mapping[str, Any], threads: int | None = None) -> int:
    """Number of terms that the structure factor stage has no data for (SF-4); 0 where the stage does not say."""
    if (outside := chosen["structure_factor"].outside) is None:
        return 0
    functions = {kind: stage.function for kind, stage in chosen.items()}
    spans, mask = make_spans(experiment.roi, experiment.sampling.mask), experiment.sampling.mask
    visited = spans if mask is None else unmasked(spans, mask)
    return cpu.terms_outside(functions, parameters, outside, sampling_of(experiment, parameters), visited, threads)


def refuse_overflow(pixels: NDArray[np.float64]) -> None:
    """Refuse an image that is not finite in the float32 of its files."""
    if not np.abs(pixels).max(initial=0.0) <= np.finfo(np.float32).max:
        bad = np.argwhere(~(np.abs(pixels) <= np.finfo(np.float32).max))[0]
        raise NotFiniteError(
            f"pixel slow {bad[0]}, fast {bad[1]} has {pixels[tuple(bad)]:g} photons: not finite, or too many for an image file; check "
            "fluence, structure factors and stages"
        )


def sampling_of(experiment: Experiment, parameters: Mapping[str, Any]) -> Sampling:
    """What the kernel sums over."""
    dmin, sources = experiment.sampling.dmin, experiment.source_list
    return Sampling(
        oversample=experiment.oversample,
        layers=parameters["geometry"].layers,
        longest=1.0 / dmin if dmin > 0.0 else np.inf,
        incident=sources.incident,
        wavelength=sources.wavelength,
        brightness=np.ones_like(sources.weight) if "source-weights" in experiment.quirks else sources.weight / sources.weight.mean(),
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
    if first_sample_differs(chosen["rotation"], parameters["rotation"]):
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


def first_sample_differs(rotation: Stage, parameters: Any) -> bool:
    """Whether the rotation stage gives the image's first sample an orientation of its own."""
    return any(rotation.function(parameters, step, 1) != rotation.function(parameters, step, 0) for step in range(parameters.phi_steps))
