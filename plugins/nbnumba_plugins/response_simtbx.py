"""All that simtbx makes of photons, in its order and with its random numbers (RSP-50, RSP-51)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nbnumba.plugin import NOT_NEGATIVE, Frame, Parameter, ParameterError, Response, WorkedValue, hookimpl
from nbnumba.response.simtbx_noise import Deviates
from nbnumba.response.simtbx_psf import FIBRE, GAUSS, spread
from nbnumba_plugins.response_calibration import PIXELS, SEED
from nbnumba_plugins.response_flicker import FLICKER
from nbnumba_plugins.response_gain import GAIN
from nbnumba_plugins.response_psf import FIBRE as FIBRE_WIDTH
from nbnumba_plugins.response_psf import GAUSS as GAUSS_WIDTH
from nbnumba_plugins.response_readout_noise import NOISE

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

RADIUS = Parameter("psf_radius", "pixel", 0.0, "of simtbx's point spread (0: of each pixel by its photons)", NOT_NEGATIVE, whole=True)


class Simtbx(NamedTuple):
    """Standard deviations of flicker and calibration, seed of the latter, point spread in pixels, gain, readout noise in counts."""

    flicker: float
    calibration: float
    seed: int
    shape: int
    widths: tuple[float, ...]
    radius: int
    gain: float
    readout: float


def prepare(experiment: Experiment) -> Simtbx:
    flicker, calibration, seed, gauss, fibre, radius, gain, readout = STAGE.values_of(experiment.model.parameters)
    if gauss and fibre:
        raise ParameterError("model.parameters.psf_gauss", "and psf_fiber: simtbx has one point spread; give one of them")
    widths = tuple((gauss or fibre) / panel.detector.pixel_size for panel in experiment.by_panel)
    return Simtbx(flicker, calibration, int(seed), GAUSS if gauss else FIBRE, widths, int(radius), gain, readout)


def add_noise(p: Simtbx, values: np.ndarray, frame: Frame) -> np.ndarray:
    """Flicker, photons, calibration, point spread, then gain times value + offset + readout noise; without a seed what is expected."""
    lit, shown = frame.block.lit, values.copy()
    if not frame.is_drawn:
        return read_out(p, shown, frame)
    image = frame.keeps("simtbx", lambda: Deviates(frame.readout.seed or 0))
    shown[lit] = calibrated(p, image.photons(values[lit], p.flicker), image)
    found = read_out(p, shown, frame)
    if p.readout:
        found[lit] += p.readout * image.normal(found[lit].shape)
    return found


def read_out(p: Simtbx, photons: np.ndarray, frame: Frame) -> np.ndarray:
    """Spread, amplified, with the offset."""
    return p.gain * spread(photons, p.shape, p.widths[frame.block.panel], p.radius) + frame.readout.offset


def calibrated(p: Simtbx, values: np.ndarray, image: Deviates) -> np.ndarray:
    """Of a seed of its own, the same for all images, whose table is the image's from then on."""
    if not p.calibration:
        return values
    pixels = Deviates(p.seed)
    values = values * (1.0 + p.calibration * pixels.normal(values.shape))
    image.goes_on_after(pixels)
    return values


def gain(p: Simtbx) -> float:
    return p.gain


FOUR = np.array([[0.0, 1.0], [7.0, 100.0]])

STAGE = Response(
    name="simtbx",
    summary="simtbx's noise, in its order and with its random numbers, in place of counting and offset",
    prepare=prepare,
    function=add_noise,
    gain=gain,
    parameters=(FLICKER, PIXELS, SEED, GAUSS_WIDTH, FIBRE_WIDTH, RADIUS, GAIN, NOISE),
    spec=("RSP-50", "RSP-51"),
    worked_values=(WorkedValue(Simtbx(0.0, 0.0, 1, FIBRE, (0.0,), 0, 1.5, 0.0), (FOUR, Frame.example(offset=40.0)), 1.5 * FOUR + 40.0),),
    whole=True,
)


@hookimpl
def response() -> list[Response]:
    return [STAGE]
