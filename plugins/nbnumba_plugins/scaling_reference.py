"""Photons as the reference program counts them (SCA-1 to SCA-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nbnumba import Stage, WorkedValue, hookimpl
from nbnumba.experiment.beam import Beam
from nbnumba.stages.stage import experiment_parameter

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

THOMSON = 7.94079248018965e-30  # m^2, squared classical electron radius


class Reference(NamedTuple):
    """photons: r_e^2 fluence / steps. Correction factors are those of a pixel's first sample unless they go with every term."""

    background: float
    photons: float
    polarization_per_term: int
    solid_angle_per_term: int
    capture_per_term: int
    initial_polarization: float


def prepare(experiment: Experiment) -> Reference:
    return Reference(
        background=0.0,
        photons=THOMSON * experiment.beam.photons_per_area / experiment.steps,
        polarization_per_term=0,
        solid_angle_per_term=0,
        capture_per_term=0,
        initial_polarization=0.0,
    )


def reference(p, total, f_latt, f_cell, weight):
    """The plain sum; the factors of the pixel's first sample multiply it at the end."""
    amplitude = f_latt * f_cell
    return total + amplitude * amplitude


STAGE = Stage(
    kind="scaling",
    name="reference",
    summary="absolute photons, with the correction factors of each pixel's first sample",
    prepare=prepare,
    function=reference,
    parameters=(
        experiment_parameter(Beam, "fluence"),
        experiment_parameter(Beam, "flux"),
        experiment_parameter(Beam, "exposure"),
        experiment_parameter(Beam, "size"),
    ),
    spec=("SCA-1", "SCA-2", "SCA-3"),
    worked_values=(WorkedValue(Reference(0.0, 1.0, 0, 0, 0, 0.0), (2.0, 3.0, -2.0, 0.5), 38.0),),
)


@hookimpl
def scaling() -> list[Stage]:
    return [STAGE]
