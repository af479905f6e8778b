"""Charge or light that spreads over neighbouring pixels (RSP-32, RSP-33, RSP-34)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Limits, Parameter, ParameterError, Response, WorkedValue, hookimpl
from nbnumba.response.psf import along_both, fibre_kernel, gauss_profile, normalised, over_neighbours

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

GAUSS = Parameter("psf_gauss", "m", 0.0, "full width at half maximum of a Gaussian point spread", NOT_NEGATIVE)
FIBRE = Parameter("psf_fiber", "m", 0.0, "full width at half maximum of the point spread of a taper of fibres", NOT_NEGATIVE)
LOST = Parameter("psf_lost", "", 1e-3, "share of a pixel's photons that may be beyond the kernel's radius", Limits(0.0, 1.0, True, True))


class Spread(NamedTuple):
    """Width of the point spread in pixels, for each panel; share that may be left out."""

    widths: tuple[float, ...]
    lost: float


class Table(NamedTuple):
    """Shares of neighbours, [slow, fast]."""

    kernel: np.ndarray


def spread_of(stage: Response, parameter: str, experiment: Experiment) -> Spread:
    given = experiment.model.parameters
    width = stage.value_of(parameter, given)
    return Spread(tuple(width / panel.detector.pixel_size for panel in experiment.by_panel), stage.value_of("psf_lost", given))


def prepare_gauss(experiment: Experiment) -> Spread:
    return spread_of(PSF_GAUSS, "psf_gauss", experiment)


def prepare_fibre(experiment: Experiment) -> Spread:
    return spread_of(PSF_FIBRE, "psf_fiber", experiment)


def prepare_table(experiment: Experiment) -> Table:
    if (table := experiment.detector.psf_table) is None:
        raise ParameterError("detector.psf_table", "is missing, which the response psf-table spreads photons by")
    return Table(normalised(table))


def gauss(p: Spread, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Product of two profiles."""
    width = p.widths[frame.block.panel]
    return along_both(values, gauss_profile(width, p.lost, max(values.shape))) if width else values


def fibre(p: Spread, values: np.ndarray, frame: Frame) -> np.ndarray:
    """g / 2 pi (r^2 + g^2)^(-3/2)."""
    width = p.widths[frame.block.panel]
    return over_neighbours(values, fibre_kernel(width, p.lost, max(values.shape))) if width else values


def table(p: Table, values: np.ndarray, frame: Frame) -> np.ndarray:
    """As measured."""
    return over_neighbours(values, p.kernel)


ONE_PIXEL = np.array([[0.0, 0.0, 0.0], [0.0, 100.0, 0.0], [0.0, 0.0, 0.0]])
CROSS = np.array([[0.0, 0.125, 0.0], [0.125, 0.5, 0.125], [0.0, 0.125, 0.0]])
WIDE = Spread((1.0,), 0.5)  # pixels, of which the nearest neighbours are enough
# As far as half a pixel, and three halves, a Gaussian of a pixel's width has these shares along an axis.
HALF, THREE = math.erf(math.sqrt(math.log(2.0))), math.erf(3.0 * math.sqrt(math.log(2.0)))
ROW = np.array([0.5 * (THREE - HALF), HALF, 0.5 * (THREE - HALF)]) / THREE


def quarter(x: float, y: float) -> float:
    """Of a fibre's share, as far as x and y in pixels, times 2 pi."""
    g = 0.5 / math.sqrt(2.0 ** (2.0 / 3.0) - 1.0)
    return math.atan(x * y / (g * math.sqrt(g * g + x * x + y * y)))


MIDDLE, ALL = 4.0 * quarter(0.5, 0.5), 4.0 * quarter(1.5, 1.5)
EDGE = 2.0 * (quarter(0.5, 1.5) - quarter(0.5, 0.5))
CORNER = (ALL - MIDDLE - 4.0 * EDGE) / 4.0
NINE = np.array([[CORNER, EDGE, CORNER], [EDGE, MIDDLE, EDGE], [CORNER, EDGE, CORNER]]) / ALL

PSF_GAUSS = Response(
    name="psf-gauss",
    summary="photons spread over neighbouring pixels by a Gaussian",
    prepare=prepare_gauss,
    function=gauss,
    parameters=(GAUSS, LOST),
    spec=("RSP-32",),
    worked_values=(WorkedValue(WIDE, (ONE_PIXEL, Frame.example()), 100.0 * np.outer(ROW, ROW)),),
    whole=True,
)

PSF_FIBRE = Response(
    name="psf-fiber",
    summary="photons spread over neighbouring pixels by a taper of fibres",
    prepare=prepare_fibre,
    function=fibre,
    parameters=(FIBRE, LOST),
    spec=("RSP-33",),
    worked_values=(WorkedValue(Spread((1.0,), 0.8), (ONE_PIXEL, Frame.example()), 100.0 * NINE),),
    whole=True,
)

PSF_TABLE = Response(
    name="psf-table",
    summary="photons spread over neighbouring pixels by a table",
    prepare=prepare_table,
    function=table,
    spec=("RSP-34",),
    worked_values=(WorkedValue(Table(CROSS), (ONE_PIXEL, Frame.example()), 100.0 * CROSS),),
    whole=True,
)


@hookimpl
def response() -> list[Response]:
    return [PSF_GAUSS, PSF_FIBRE, PSF_TABLE]
