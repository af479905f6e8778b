"""From an experiment to its image: the whole program on one page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbnumba.errors import NbnumbaError, StageError
from nbnumba.kernel import cpu
from nbnumba.outputs.image import Image, provenance
from nbnumba.render import render, terms_outside
from nbnumba.stages import registry
from nbnumba.stages.presets import stage_names
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
    called now and then with numbers of pixels, the first time with done = 0 when experiment and stages have been checked.

    Returns an Image: photons per pixel, float64, [slow, fast], zero outside the region of interest and the mask, with
    statistics and provenance. Raises ParameterError and StageError before any pixel is rendered, NotFiniteError after it.
    """
    experiment.check()
    chosen = choose_stages(experiment, stages or registry.installed())
    parameters = prepare(chosen, experiment)
    pixels = render(experiment, chosen, parameters, threads, progress)
    outside = terms_outside(experiment, chosen, parameters, threads)
    return Image(pixels=pixels, experiment=experiment, provenance=provenance(experiment, chosen), terms_outside=outside)


def choose_stages(experiment: Experiment, stages: registry.Registry) -> dict[str, Stage]:
    """kind -> stage: by preset, experiment and the user's own choice."""
    return stages.choose(stage_names(experiment), experiment.model.parameters)


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
