"""Pixels that take a lower gain for more charge: three ranges, as of JUNGFRAU and AGIPD (RSP-43)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba import units
from nbnumba.plugin import NOT_NEGATIVE, POSITIVE, Frame, Parameter, Response, WorkedValue, hookimpl

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

RANGES = ("high", "medium", "low")
# JUNGFRAU's; source: SLAC, github.com/slac-lcls/pysingfel, detector/jungfrau.py (gains, and the charges at which they change).
GAINS, ENDS = (40.0, 1.0, 0.1), (320.0, 12_000.0, 120_000.0)
PARAMETERS = (
    *(
        Parameter(f"gain_{name}", "1/keV", gain, f"units of the converter for a keV of charge, {name} gain", POSITIVE)
        for name, gain in zip(RANGES, GAINS, strict=True)
    ),
    *(Parameter(f"end_{name}", "keV", end, f"largest charge at {name} gain", POSITIVE) for name, end in zip(RANGES, ENDS, strict=True)),
    *(Parameter(f"noise_{name}", "keV", 0.0, f"standard deviation of the noise at {name} gain", NOT_NEGATIVE) for name in RANGES),
)


class Switching(NamedTuple):
    """Energy of a photon in keV; of each range gain in 1/keV, largest charge and noise in keV."""

    energy: float
    gains: np.ndarray
    ends: np.ndarray
    noise: np.ndarray


def prepare(experiment: Experiment) -> Switching:
    values = np.reshape(STAGE.values_of(experiment.model.parameters), (3, 3))
    return Switching(1e-3 * units.energy_from_wavelength(experiment.beam.wavelength), *values)


def switched(p: Switching, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Photons as they follow from the units that the converter of a charge's range gives; the charge ends where the last range does."""
    charge = np.minimum((values - frame.readout.offset) * p.energy, p.ends[-1])
    at = np.searchsorted(p.ends[:-1], charge)
    if frame.is_drawn and p.noise.any():
        charge = charge + p.noise[at] * frame.noise("gain-switching").normal(frame.block)
    photons: np.ndarray = np.floor(charge * p.gains[at] + 0.5) / (p.gains[at] * p.energy)
    return photons + frame.readout.offset


EXAMPLE = Switching(10.0, np.array([4.0, 0.5, 0.01]), np.array([100.0, 1000.0, 10_000.0]), np.zeros(3))

STAGE = Response(
    name="gain-switching",
    summary="three ranges of charge with a gain each, in place of gain and readout-noise",
    prepare=prepare,
    function=switched,
    parameters=PARAMETERS,
    spec=("RSP-43",),
    worked_values=(
        # 1.23 photons are 12.3 keV, 49 units of 1/4 keV; 50.03 are 500.3 keV, 250 of 2 keV; 433 are 4330 keV, 43 of 100 keV.
        WorkedValue(EXAMPLE, (np.array([[1.23, 50.03], [433.0, 5e4]]), Frame.example()), np.array([[1.225, 50.0], [430.0, 1000.0]])),
    ),
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
