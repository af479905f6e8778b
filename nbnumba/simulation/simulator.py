"""From an experiment to its image: the whole program on one page."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nbnumba.closed_form.refusals import require_cpu
from nbnumba.errors import NotAvailableError, QuirkWarning
from nbnumba.experiment.advice import IN_PYTHON, quirk_notes
from nbnumba.image.image import Image, Layer, provenance, shape_of, split_by_panel
from nbnumba.kernel.device import Device, Progress
from nbnumba.memory import refuse_too_much
from nbnumba.simulation.background import BackgroundPhotons
from nbnumba.simulation.devices import open_device
from nbnumba.simulation.scene import refuse_overflow, scenes_of
from nbnumba.simulation.together import render_together
from nbnumba.stages.registry import StageSource, registry_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

BRAGG = "bragg"  # the layer of what is summed over the crystal's terms, with the constant background of these


def simulate(
    experiment: Experiment,
    *,
    stages: StageSource = None,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    layers: bool = False,
) -> Image:
    """Render an experiment.

    stages: your own, each of which is taken for its kind, or a registry to look them up in; default: those of all installed packages.
    device: cpu, cuda, or auto: the GPU if there is one and it pays. threads: of the CPU, default all. progress(done, total) is called now
    and then with numbers of pixels, the first time with done = 0 when experiment and stages have been checked. layers: whether the image
    keeps the photons of the crystal and of every background stage apart as well.

    Returns an Image: photons per pixel, float64, [slow, fast], zero outside the region of interest and the mask, with
    statistics and provenance. Warns of quirks of nanoBragg that are followed and change the image (QuirkWarning). Raises ParameterError,
    StageError and NotAvailableError before any pixel is rendered, NotFiniteError after it.
    """
    return Simulator(stages=stages, device=device, threads=threads).image(experiment, progress, layers)


class Simulator:
    """Renders one experiment after another, and keeps what the next one can use: compiled kernels, tables and images on the device.

    Takes what simulate() takes. The device is opened when the first image is asked for. One thread at a time.
    """

    def __init__(self, *, stages: StageSource = None, device: str = "cpu", threads: int | None = None) -> None:
        self._stages, self._wanted, self._threads = registry_of(stages), device, threads
        self._device: Device | None = None
        self._pixels: Any = None
        self._background = BackgroundPhotons(threads)

    @property
    def device(self) -> str:
        """What renders, by name; what was asked for until the first image."""
        return self._device.name if self._device else self._wanted

    def image(self, experiment: Experiment, progress: Progress | None = None, layers: bool = False) -> Image:
        """The experiment's Image, as simulate() returns it."""
        experiment.check()
        refuse_too_much(experiment)
        warn_of_quirks(experiment)
        scenes, device = scenes_of(experiment, self._stages), self._open(experiment)
        pixels = device.zeros(shape_of(experiment))
        render_together(scenes, device, pixels, progress)
        pixels = device.to_host(pixels)
        found = (Layer(BRAGG, pixels.copy()), *self._background.layers(experiment, scenes)) if layers else ()
        if (background := self._background.of(experiment, scenes)) is not None:
            pixels += background
        for part in split_by_panel(pixels, experiment):
            refuse_overflow(part)
        made_with = {**provenance(experiment, scenes[0].stages), "device": device.name}
        outside = sum(scene.terms_outside(device) for scene in scenes)
        responses = scenes[0].stages.responses
        return Image(pixels, experiment, made_with, terms_outside=outside, responses=responses, layers=found)

    def render(self, experiment: Experiment, out: Any = None) -> Any:
        """Photons per pixel alone, float64, [slow, fast], in the device's memory.

        On the CPU a NumPy array. On the GPU one of numba's, which CuPy, PyTorch and others take without a copy, as ``out`` may be one of
        theirs (``__cuda_array_interface__``). The GPU may still be at work when this returns: what is done in its default stream waits
        for that, anything else has to call ``numba.cuda.synchronize()`` first. The same memory at every call, unless ``out`` names
        other: copy what has to last. Whether pixels are finite is left to the caller.
        """
        experiment.check()
        warn_of_quirks(experiment)
        device = self._open(experiment)
        shape = shape_of(experiment)
        if out is None:
            if self._pixels is None or self._pixels.shape != shape:
                refuse_too_much(experiment)
                self._pixels = device.zeros(shape)
            out = self._pixels
        scenes = scenes_of(experiment, self._stages)
        if scenes[0].stages.backgrounds and device.name != "cpu":
            raise NotAvailableError("stages of the background add their photons on the CPU: Simulator.image() has them, render() has not")
        render_together(scenes, device, device.own(out, shape))
        if (background := self._background.of(experiment, scenes)) is not None:
            out += background
        return out

    def _open(self, experiment: Experiment) -> Device:
        """The device that was asked for, or that suits the first experiment."""
        if experiment.spots.are_gaussian:
            require_cpu(self._wanted)
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
