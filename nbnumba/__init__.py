"""nbnumba: simulated X-ray diffraction images, with physics stages that are plugins.

The names below are the public API. They are loaded when first used, so that ``import nbnumba`` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbnumba.amplitudes.hkl import read_hkl
    from nbnumba.errors import (
        InputFileError,
        NbnumbaError,
        NotAvailableError,
        NotFiniteError,
        OptionError,
        OutputFileError,
        ParameterError,
        StageError,
    )
    from nbnumba.experiment.background import Background
    from nbnumba.experiment.beam import Beam
    from nbnumba.experiment.crystal import Crystal
    from nbnumba.experiment.detector import Detector
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.goniometer import Goniometer
    from nbnumba.experiment.part import Limits
    from nbnumba.experiment.physics import Model
    from nbnumba.experiment.sampling import Sampling
    from nbnumba.experiment.sources import Sources
    from nbnumba.experiment.structure_factors import StructureFactors
    from nbnumba.geometry.matrix import read_matrix
    from nbnumba.gradients.gradient import gradient_by_amplitudes, value_and_grad
    from nbnumba.gradients.jacobian import jacobian, linear_operator
    from nbnumba.gradients.refinement import Refinement
    from nbnumba.image.image import Image
    from nbnumba.options.configuration import load_experiment, save_experiment
    from nbnumba.options.experiment import experiment_from_options
    from nbnumba.simulation.simulator import Simulator, simulate
    from nbnumba.stages.hookspecs import hookimpl
    from nbnumba.stages.stage import Parameter, Stage, WorkedValue
    from nbnumba.traces.tracing import trace

__version__ = "0.1.0"

_HOME = {
    "nbnumba.errors": (
        "InputFileError",
        "NbnumbaError",
        "NotAvailableError",
        "NotFiniteError",
        "OptionError",
        "OutputFileError",
        "ParameterError",
        "StageError",
    ),
    "nbnumba.experiment.background": ("Background",),
    "nbnumba.experiment.beam": ("Beam",),
    "nbnumba.options.configuration": ("load_experiment", "save_experiment"),
    "nbnumba.experiment.crystal": ("Crystal",),
    "nbnumba.experiment.detector": ("Detector",),
    "nbnumba.experiment.experiment": ("Experiment",),
    "nbnumba.experiment.goniometer": ("Goniometer",),
    "nbnumba.experiment.physics": ("Model",),
    "nbnumba.experiment.part": ("Limits",),
    "nbnumba.experiment.sampling": ("Sampling",),
    "nbnumba.experiment.sources": ("Sources",),
    "nbnumba.experiment.structure_factors": ("StructureFactors",),
    "nbnumba.gradients.gradient": ("gradient_by_amplitudes", "value_and_grad"),
    "nbnumba.gradients.jacobian": ("jacobian", "linear_operator"),
    "nbnumba.gradients.refinement": ("Refinement",),
    "nbnumba.amplitudes.hkl": ("read_hkl",),
    "nbnumba.geometry.matrix": ("read_matrix",),
    "nbnumba.options.experiment": ("experiment_from_options",),
    "nbnumba.image.image": ("Image",),
    "nbnumba.simulation.simulator": ("Simulator", "simulate"),
    "nbnumba.stages.hookspecs": ("hookimpl",),
    "nbnumba.stages.stage": ("Parameter", "Stage", "WorkedValue"),
    "nbnumba.traces.tracing": ("trace",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Background",
    "Beam",
    "Crystal",
    "Detector",
    "Experiment",
    "Goniometer",
    "Image",
    "InputFileError",
    "Limits",
    "Model",
    "NbnumbaError",
    "NotAvailableError",
    "NotFiniteError",
    "OptionError",
    "OutputFileError",
    "Parameter",
    "ParameterError",
    "Refinement",
    "Sampling",
    "Simulator",
    "Sources",
    "Stage",
    "StageError",
    "StructureFactors",
    "WorkedValue",
    "experiment_from_options",
    "gradient_by_amplitudes",
    "hookimpl",
    "jacobian",
    "linear_operator",
    "load_experiment",
    "read_hkl",
    "read_matrix",
    "save_experiment",
    "simulate",
    "trace",
    "value_and_grad",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nbnumba' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


class _Package(ModuleType):
    """Keeps ``nbnumba.simulate`` the function: importing the module of that name would put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
