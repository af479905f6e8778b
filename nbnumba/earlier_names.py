"""Modules under the names that they had in version 0.1: imported from there, with a warning that says where they are."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "caches": "files.caches",
    "devices": "simulation.devices",
    "experiment.configuration": "options.configuration",
    "experiment.model": "experiment.physics",
    "experiment.prediction": "geometry.prediction",
    "exposure": "geometry.exposure",
    "inputs.amplitudes": "amplitudes.files",
    "inputs.atoms": "amplitudes.atoms",
    "inputs.cache": "files.array_cache",
    "inputs.cbf": "formats.cbf_pixels",
    "inputs.cif": "amplitudes.cif",
    "inputs.columns": "amplitudes.columns",
    "inputs.crystfel": "geometry.crystfel",
    "inputs.detectors": "geometry.known_detectors",
    "inputs.dials_expt": "geometry.dials",
    "inputs.dump": "amplitudes.dump",
    "inputs.hdf5": "formats.hdf5",
    "inputs.hdf5_images": "formats.hdf5_images",
    "inputs.hkl": "amplitudes.hkl",
    "inputs.image": "formats.read",
    "inputs.imgcif": "formats.imgcif",
    "inputs.mask": "formats.mask",
    "inputs.matrix": "geometry.matrix",
    "inputs.minicbf": "formats.cbf_header",
    "inputs.model": "amplitudes.atomic_model",
    "inputs.mtz": "amplitudes.mtz",
    "inputs.npy": "formats.npy",
    "inputs.nxmx": "formats.nxmx",
    "inputs.nxmx_geometry": "formats.nxmx_geometry",
    "inputs.packed": "files.packed",
    "inputs.recorded": "geometry.recorded",
    "inputs.reflections": "amplitudes.reflections",
    "inputs.sf_cif": "amplitudes.sf_cif",
    "inputs.smv": "formats.smv",
    "inputs.source_table": "geometry.source_table",
    "inputs.symmetry": "amplitudes.symmetry",
    "inputs.text": "files.text",
    "inputs.tiff": "formats.tiff",
    "inputs.trace": "traces.read",
    "inputs.trial": "files.trial",
    "inputs.xds": "geometry.xds",
    "kernel.adjoint": "kernel.cpu.adjoint",
    "kernel.adjoint_cuda": "kernel.gpu.adjoint",
    "kernel.claim": "kernel.cpu.work_queue",
    "kernel.cuda": "kernel.gpu.device",
    "kernel.cuda_math": "kernel.gpu.math",
    "kernel.cuda_numpy": "kernel.gpu.numpy_functions",
    "kernel.diagnosis": "kernel.compile_errors",
    "kernel.fields": "kernel.unrolled",
    "kernel.plain": "kernel.interpreted",
    "kernel.ptx": "kernel.gpu.ptx",
    "kernel.render": "kernel.cpu.render",
    "kernel.render_cuda": "kernel.gpu.render",
    "kernel.scan_order_cuda": "kernel.gpu.scan_order",
    "kernel.single": "kernel.math_float32",
    "kernel.spans": "kernel.cpu.spans",
    "kernel.tangent": "kernel.cpu.tangent",
    "outputs.centres": "geometry.beam_centre",
    "outputs.counter_noise": "response.counter_noise",
    "outputs.drawing": "image.drawing",
    "outputs.exposure": "geometry.of_experiment",
    "outputs.formats": "formats.registry",
    "outputs.image": "image.image",
    "outputs.labels": "image.labels",
    "outputs.minicbf": "formats.cbf",
    "outputs.noise": "response.noise",
    "outputs.nxmx": "formats.nxmx",
    "outputs.pgm": "formats.pgm",
    "outputs.png": "image.png",
    "outputs.products": "campaign.products",
    "outputs.rings": "image.rings",
    "outputs.sequential_noise": "response.sequential_noise",
    "outputs.series": "campaign.series",
    "outputs.settings": "options.output",
    "outputs.smv": "formats.smv",
    "outputs.statistics": "image.statistics",
    "outputs.summary": "image.summary",
    "outputs.trace": "traces.text",
    "reference_program": "nanobragg",
    "render": "simulation.scene",
    "stages.suite": "testing.stage_suite",
    "sweep": "campaign.sweep",
    "tracing": "traces.tracing",
}
PACKAGES = ("inputs", "outputs")  # in which some of them were


class Moved:
    """Finds and loads a module that has another name."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """For a name of a module, or of a package, that is no more."""
        old = name.removeprefix("nbnumba.")
        if old in PACKAGES:
            return ModuleSpec(name, Moved(), is_package=True)  # type: ignore[arg-type]
        return ModuleSpec(name, Moved()) if name != old and old in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        """Have the module of today in its place."""
        old = module.__name__.removeprefix("nbnumba.")
        if old in MOVED:
            sys.modules[module.__name__] = import_module(moved(module.__name__, f"nbnumba.{MOVED[old]}"))


def moved(old: str, new: str) -> str:
    """The name of today, and a warning."""
    from nbnumba.errors import NbnumbaWarning

    warnings.warn(f"{old} is {new}; import it from there", NbnumbaWarning, stacklevel=2)
    return new


def attribute(old: str, new: str, name: str) -> Any:
    """What a module had that is a package today, or has it no more: for its __getattr__. Raises AttributeError."""
    module = import_module(new)
    if name.startswith("__") or not hasattr(module, name):
        raise AttributeError(f"module {old!r} has no attribute {name!r}")
    moved(f"{old}.{name}", f"{new}.{name}")
    return getattr(module, name)
