"""From an experiment to its image: the whole program on one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaError, NotFiniteError, StageError
from nbnumba.kernel import cpu
from nbnumba.kernel.render import NEVER, Sampling
from nbnumba.kernel.spans import isolate, make_spans, unmasked
from nbnumba.outputs.image import Image, provenance
from nbnumba.stages import registry
from nbnumba.stages.presets import PRESETS
from nbnumba.stages.stage import Stage

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def simulate(
    experiment: Experiment,
    *,
    stages: registry.Registry | None = None,
    threads: int | None = None,
    progress: cpu.Progress | None = None,
) -> Image:
    """Render an experiment.

    stages: where to look stages up; default: those of all installed packages. threads: default all. progress(done, total) is
    called now and then with numbers of
    pixels, the first time with done = 0 when all checks have passed.

    Returns an Image: photons per pixel, float64, [slow, fast], zero outside the region of interest and the mask, with
    statistics and provenance. Raises ParameterError and StageError before any work is done.
    """
    experiment.check()
    chosen = choose_stages(experiment, stages or registry.installed())
    parameters = prepare(chosen, experiment)
    pixels = render(experiment, chosen, parameters, threads, progress)
    refuse_overflow(pixels)
    return Image(pixels=pixels, experiment=experiment, provenance=provenance(experiment, chosen))


def choose_stages(experiment: Experiment, stages: registry.Registry) -> dict[str, Stage]:
    """kind -> stage: those of the preset, then what the experiment calls for, then what the user names."""
    model = experiment.model
    names = {**PRESETS[model.preset], **suited_to(experiment), **model.stages}
    return stages.choose(names, model.parameters)


# Quirks without which terms differ in their weights.
TERM_QUIRKS = {"first-sample-factors", "last-layer-capture", "water-squared", "source-weights"}


def suited_to(experiment: Experiment) -> dict[str, str]:
    """Stages that the kind of data, the sampling and the quirks decide (SF-3, SF-6, SCA-9, SCA-10)."""
    quirks = experiment.quirks
    suited = {"rotation": "c-parity" if "phi-carryover" in quirks else "spec"}
    if experiment.structure_factors.hkl is None:
        suited["structure_factor"] = "constant"
    elif experiment.interpolated:
        suited["structure_factor"] = "tricubic-latch" if "interpolation-latch" in quirks else "tricubic"
    if experiment.sampling.corrects_subpixels and "running-product" in quirks:
        suited["scaling"] = "running-product"
    elif experiment.sampling.corrects_subpixels or not quirks >= TERM_QUIRKS:
        suited["scaling"] = "per-term"
    return suited


def prepare(chosen: Mapping[str, Stage], experiment: Experiment) -> dict[str, Any]:
    """kind -> the NamedTuple that the stage's function reads."""
    parameters = {}
    for kind, stage in chosen.items():
        try:
            parameters[kind] = stage.prepare(experiment)
        except NbnumbaError:
            raise
        except Exception as error:
            raise StageError(f"{stage}: prepare() failed: {type(error).__name__}: {error}") from error
        stage.require_fields(parameters[kind])
    return parameters


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
        sampling, spans = mark_scan_order(chosen, functions, parameters, sampling, spans, mask, image.shape[1])
        cpu.render_image(functions, parameters, sampling, spans, image, experiment.steps * sampling.layers, threads, progress)
    except cpu.CompileError as error:
        raise StageError(f"{chosen.get(error.kind, 'the chosen stages')}: cannot be compiled: {error}") from error
    if mask is not None:
        image[~mask] = 0.0
    return image


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
) -> tuple[Sampling, NDArray[np.int64]]:
    """Tell the kernel what depends on scan order, where a chosen stage does, and give the pixels concerned spans of their own."""
    visited = spans if mask is None else unmasked(spans, mask)
    if first_sample_differs(chosen["rotation"], parameters["rotation"]):
        if first := cpu.first_sample(functions, parameters, sampling, visited):
            slow, fast, sample = first
            sampling = sampling._replace(first_pixel=slow * fast_pixels + fast, first_sample=sample)
            spans = isolate(spans, slow, fast)
    if latch := chosen["structure_factor"].latch:
        if latched := cpu.first_latch(functions, parameters, latch, sampling, visited, fast_pixels):
            slow, fast, term = latched
            sampling = sampling._replace(latch_pixel=slow * fast_pixels + fast, latch_term=term)
            spans = isolate(spans, slow, fast)
    return sampling, spans


def first_sample_differs(rotation: Stage, parameters: Any) -> bool:
    """Whether the rotation stage gives the image's first sample an orientation of its own."""
    return any(rotation.function(parameters, step, 1) != rotation.function(parameters, step, 0) for step in range(parameters.phi_steps))
