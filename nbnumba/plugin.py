"""All that a plugin needs: the classes of stages, what describes them, and the mathematics that their functions may use.

A plugin imports from here alone, besides the parts of an experiment, which ``nbnumba`` has.
"""

from nbnumba.errors import ParameterError, StageError
from nbnumba.experiment.part import ANY, NOT_NEGATIVE, POSITIVE, Limits
from nbnumba.kernel.math import double, exp, nearest, working
from nbnumba.response.readout import Frame, Readout
from nbnumba.stages.hookspecs import hookimpl
from nbnumba.stages.kinds import (
    BackgroundStage,
    Factor,
    Geometry,
    LatticeShape,
    Polarization,
    Response,
    Rotation,
    Scaling,
    StructureFactor,
)
from nbnumba.stages.stage import Kind, Parameter, Place, Stage, WorkedValue, experiment_parameter

__all__ = [
    "ANY",
    "NOT_NEGATIVE",
    "POSITIVE",
    "BackgroundStage",
    "Factor",
    "Frame",
    "Geometry",
    "Kind",
    "LatticeShape",
    "Limits",
    "Parameter",
    "ParameterError",
    "Place",
    "Polarization",
    "Readout",
    "Response",
    "Rotation",
    "Scaling",
    "Stage",
    "StageError",
    "StructureFactor",
    "WorkedValue",
    "double",
    "exp",
    "experiment_parameter",
    "hookimpl",
    "nearest",
    "working",
]
