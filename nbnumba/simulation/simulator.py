"""From an experiment to its image: the whole program on one page."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nbnumba.errors import NbnumbaError, QuirkWarning, StageError
from nbnumba.experiment.advice import IN_PYTHON, quirk_notes
from nbnumba.image.image import Image, provenance
from nbnumba.kernel.device import Device, Progress
from nbnumba.memory import refuse_too_much
from nbnumba.simulation.devices import open_device
from nbnumba.simulation.scene import refuse_overflow, render, terms_outside
from nbnumba.stages.presets import stage_names
from nbnumba.stages.registry import Registry, Stages, registry_of
from nbnumba.stages.stage import Stage

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def simulate(
    experiment: Experiment,
    *,
    stages: Stages = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Image:
    """Render an experiment.

    stages: your own, each of which is taken for its kind, or a registry to look them up in; default: those of all installed packages.
    device: cpu, cuda, or auto: the GPU if there is one and it pays. threads: of the CPU, default all. progress(done, total) is called now
    and then with numbers of pixels, the first time with done = 0 when experiment and stages have been checked.

    Returns an Image: photons per pixel, float64, [slow, fast], zero outside the region of interest and the mask, with
    statistics and provenance. Warns of quirks of nanoBragg that are followed and change the image (QuirkWarning). Raises ParameterError,
    StageError and NotAvailableError before any pixel is rendered, NotFiniteError after it.
    """
    return Simulator(stages=stages, device=device, threads=threads).image(experiment, progress)


class Simulator:
    """Renders one experiment after another, and keeps what the next one can use: compiled kernels, tables and images on the device.

    Takes what simulate() takes. The device is opened when the first image is asked for. One thread at a time.
    """

    def __init__(self, *, stages: Stages = None, device: str = "cpu", threads: int | None = None) -> None:
        self._stages, self._wanted, self._threads = registry_of(stages), device, threads
        self._device: Device | None = None
        self._pixels: Any = None

    @property
    def device(self) -> str:
        """What renders, by name; what was asked for until the first image."""
        return self._device.name if self._device else self._wanted

    def image(self, experiment: Experiment, progress: Progress | None = None) -> Image:
        """The experiment's Image, as simulate() returns it."""
        experiment.check()
        refuse_too_much(experiment)
        warn_of_quirks(experiment)
        chosen = choose_stages(experiment, self._stages)
        parameters = prepare(chosen, experiment)
        device = self._open(experiment)
        pixels = device.to_host(render(experiment, chosen, parameters, device, progress))
        refuse_overflow(pixels)
        outside = terms_outside(experiment, chosen, parameters, device)
        made_with = {**provenance(experiment, chosen), "device": device.name}
        return Image(pixels=pixels, experiment=experiment, provenance=made_with, terms_outside=outside)

    def render(self, experiment: Experiment, out: Any = None) -> Any:
        """Photons per pixel alone, float64, [slow, fast], in the device's memory.

        On the CPU a NumPy array. On the GPU one of numba's, which CuPy, PyTorch and others take without a copy, as ``out`` may be one of
        theirs (``__cuda_array_interface__``). The GPU may still be at work when this returns: what is done in its default stream waits
        for that, anything else has to call ``numba.cuda.synchronize()`` first. The same memory at every call, unless ``out`` names
        other: copy what has to last. Whether pixels are finite is left to the caller.
        """
        experiment.check()
        warn_of_quirks(experiment)
        chosen = choose_stages(experiment, self._stages)
        device = self._open(experiment)
        shape = experiment.detector.shape
        if out is None:
            if self._pixels is None or self._pixels.shape != shape:
                refuse_too_much(experiment)
                self._pixels = device.zeros(shape)
            out = self._pixels
        render(experiment, chosen, prepare(chosen, experiment), device, image=device.own(out, shape))
        return out

    def _open(self, experiment: Experiment) -> Device:
        """The device that was asked for, or that suits the first experiment."""
        if self._device is None:
            self._device = open_device(self._wanted, experiment.terms, experiment.sampling.dtype, self._threads)
        return self._device


def warn_of_quirks(experiment: Experiment) -> None:
    """A QuirkWarning for each that is followed and changes the image; once for an experiment."""
    if _warned_of.get(id(experiment)) is not experiment:
        _warned_of[id(experiment)] = experiment
        for note in quirk_notes(experiment, IN_PYTHON).values():
            warnings.warn(QuirkWarning(note), stacklevel=4)


_warned_of: WeakValueDictionary[int, Experiment] = WeakValueDictionary()


def choose_stages(experiment: Experiment, stages: Registry) -> dict[str, Stage]:
    """kind -> stage: by preset, experiment and the user's own choice."""
    return stages.choose({**stage_names(experiment), **stages.taken}, experiment.model.parameters)


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
