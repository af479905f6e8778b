"""How far off the photons of spots are for want of samples, from replicates of a few spots (EXP-61)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NbnumbaError, NotFiniteError, ParameterError, QuirkWarning
from nbnumba.experiment.panel import Panel, panel_of
from nbnumba.experiment.rocking import dispersion, divergence
from nbnumba.geometry.spots import PredictedSpots, predict
from nbnumba.simulation.simulator import Simulator
from nbnumba.stages.presets import stage_names

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

SPOTS, REPLICATES = 8, 4
ANOTHER = (1, 3, 0, 2)  # order of the replicates along the other axis
WIDEST = 30  # pixels from the middle of a spot that are looked at
SHARE, FEWEST = 16, 4000  # replicates have one of so many pixels of the image, or so many pixels, where that is more
MOST_CANDIDATES = 2e6  # reflections that the strongest are looked for among
PLANE = ("planar", "planar-depth")  # geometries whose spots are where they are predicted
Array = NDArray[np.float64]


class NotEstimatedError(NbnumbaError):
    """Why it is not known how far off spots are."""


@dataclass(frozen=True, kw_only=True)
class SamplingError:
    """Root mean square of the errors of spots' photons over that of their photons: for want of orientations, and of sub-pixels.

    spots: how many were looked at.
    """

    orientations: float
    subpixels: float
    spots: int

    @property
    def total(self) -> float:
        """For want of either."""
        return math.hypot(self.orientations, self.subpixels)

    def __str__(self) -> str:
        return f"{self.total:.2g} (orientations {self.orientations:.2g}, sub-pixels {self.subpixels:.2g})"


class Spot(NamedTuple):
    """Square pixels about a spot on a panel, which may reach beyond that."""

    panel: Panel
    first_fast: int
    first_slow: int
    width: int

    def cut_out(self, fast: float = 0.0, slow: float = 0.0) -> Panel:
        """A panel of these pixels alone, shifted by parts of a pixel along its axes."""
        panel = self.panel
        steps = panel.pixel_size * np.array([self.first_fast + fast, self.first_slow + slow])
        origin = np.array(panel.origin) + steps @ np.array([panel.fast_axis, panel.slow_axis])
        return replace(panel, origin=tuple(origin), fast_pixels=self.width, slow_pixels=self.width, roi=None, mask=None, name="", group="")


def sampling_error(experiment: Experiment, simulator: Simulator | None = None) -> SamplingError:
    """How far off the photons of the strongest spots are for want of samples, from replicates of these spots alone.

    Replicates have as many samples as the image: with other mosaic domains and phi steps, or with sub-pixels, that are a part of the way
    to the next ones further on. simulator: what renders; default: one on the CPU. Raises NotEstimatedError.
    """
    spots, simulator = strongest(experiment), simulator or Simulator()
    dry = replace(experiment, background=type(experiment.background)())

    here = with_panels(dry, [spot.cut_out() for spot in spots])
    shifted = [spot.cut_out(*shifts(n, experiment.oversample)) for n in range(REPLICATES) for spot in spots]
    turned = np.array([photons_of(turned_on(here, n), simulator) for n in range(REPLICATES)])
    moved = photons_of(with_panels(dry, shifted), simulator).reshape(REPLICATES, len(spots))
    return SamplingError(orientations=scatter(turned), subpixels=scatter(moved), spots=len(spots))


def scatter(photons: Array) -> float:
    """Of replicates' photons (replicates, spots) about their mean; spots that all of them miss are off by all of their photons."""
    mean = photons.mean(axis=0)
    return float(np.sqrt(photons.var(axis=0, ddof=1).sum() / np.square(mean).sum())) if mean.any() else 1.0


def part(n: int) -> float:
    """Of the way from one sample to the next, from -1/2 to 1/2."""
    return (n + 0.5) / REPLICATES - 0.5


def shifts(n: int, oversample: int) -> tuple[float, float]:
    """Of the sub-pixels of a replicate, in pixels: parts of the way that are others along each axis."""
    return part(n) / oversample, part(ANOTHER[n]) / oversample


def turned_on(experiment: Experiment, n: int) -> Experiment:
    """A replicate with other domains, and angles a part of the way to the next ones."""
    goniometer, crystal = experiment.goniometer, experiment.crystal
    way = goniometer.scan.step / (experiment.mosaic[1] if experiment.samples_whole_steps else 1)
    return replace(
        experiment,
        goniometer=replace(goniometer, phi_start=goniometer.phi_start + part(n) * way),
        crystal=replace(crystal, mosaic_seed=(crystal.mosaic_seed + n + 1) % 2_147_483_647),
    )


def with_panels(experiment: Experiment, panels: list[Panel]) -> Experiment:
    """The experiment with these panels for its detector, and all of their pixels."""
    sampling = replace(experiment.sampling, oversample=experiment.oversample, roi=None, mask=None)
    return replace(experiment, detector=replace(experiment.detector, panels=tuple(panels)), sampling=sampling)


def photons_of(experiment: Experiment, simulator: Simulator) -> Array:
    """Of every panel, (panels,)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QuirkWarning)  # the experiment's own, of which people are told with its image
        try:
            return np.array([panel.sum() for panel in simulator.image(experiment).panels])
        except NotFiniteError:
            raise NotEstimatedError("photons of a spot are not finite") from None


def strongest(experiment: Experiment) -> list[Spot]:
    """The strongest of the spots that are expected, apart from each other. Raises NotEstimatedError."""
    if (geometry := stage_names(experiment)["geometry"]) not in PLANE:
        raise NotEstimatedError(f"spots are predicted on planes, and the geometry is {geometry}")
    try:
        spots = predict(experiment, resolution(experiment))
    except ParameterError as error:
        raise NotEstimatedError(str(error)) from None
    most = max(FEWEST, sum(math.prod(panel.detector.shape) for panel in experiment.by_panel) // SHARE) // (2 * REPLICATES)
    lit = np.flatnonzero(is_rendered(experiment, spots) & (spots.intensity > 0.0))
    found: list[Spot] = []
    for n in lit[np.argsort(-spots.intensity[lit])][: 10 * SPOTS]:
        spot = spot_at(experiment, spots, n)
        if found and sum(one.width**2 for one in [*found, spot]) > most:
            break
        if all(apart(spot, other) for other in found):
            found.append(spot)
        if len(found) == SPOTS:
            break
    if not found:
        raise NotEstimatedError("no spot is expected in what is rendered")
    return found


def is_rendered(experiment: Experiment, spots: PredictedSpots) -> NDArray[np.bool_]:
    """Whether the middles of spots are in the region of interest and the mask of their panels."""
    rendered = np.zeros(len(spots.hkl), bool)
    for number, panel in enumerate(experiment.by_panel):
        (here,), mask = np.nonzero(spots.panel == number), panel.sampling.mask
        fast, slow = np.rint(spots.fast[here]).astype(int), np.rint(spots.slow[here]).astype(int)
        first_fast, last_fast, first_slow, last_slow = panel.roi
        inside = (first_fast <= fast) & (fast <= last_fast) & (first_slow <= slow) & (slow <= last_slow)
        rendered[here] = inside if mask is None else inside & mask[np.where(inside, slow, 0), np.where(inside, fast, 0)]
    return rendered


def resolution(experiment: Experiment) -> float:
    """To which the strongest spots are looked for, in m: as far as there are not too many."""
    a, b, c = experiment.unit_cell.lengths_and_angles[:3]
    finest = max(experiment.finest_d, experiment.sampling.dmin)
    return float(max(finest, 2.0 * (a * b * c / MOST_CANDIDATES) ** (1.0 / 3.0)))


def spot_at(experiment: Experiment, spots: PredictedSpots, n: int) -> Spot:
    """The pixels about a spot."""
    here = experiment.by_panel[spots.panel[n]]
    panel, fast, slow = panel_of(here), round(spots.fast[n]), round(spots.slow[n])
    reach = reach_of(here, spots.hkl[n], panel, fast, slow)
    return Spot(panel, fast - reach, slow - reach, 2 * reach + 1)


def reach_of(experiment: Experiment, hkl: Array, panel: Panel, fast: int, slow: int) -> int:
    """Pixels from the middle of a spot to where there is hardly any of it: crystal size, mosaicity, divergence and spectrum."""
    r = float(np.linalg.norm(hkl @ experiment.unit_cell.reciprocal))
    place = np.array(panel.origin) + panel.pixel_size * (fast * np.array(panel.fast_axis) + slow * np.array(panel.slow_axis))
    distance = float(np.linalg.norm(place))
    obliquity = max(0.1, abs(float(place @ np.cross(panel.fast_axis, panel.slow_axis))) / distance)
    smallest = min(n * edge for n, edge in zip(experiment.cells, experiment.unit_cell.lengths_and_angles, strict=False))
    wavelength = experiment.beam.wavelength
    angle = wavelength * (2.0 / smallest + r * (experiment.mosaic[0] + dispersion(experiment))) + divergence(experiment)
    return min(WIDEST, 2 + math.ceil(angle * distance / obliquity / panel.pixel_size))


def apart(one: Spot, other: Spot) -> bool:
    """Whether two spots share no pixels."""
    width = max(one.width, other.width)
    near = abs(one.first_fast - other.first_fast) < width and abs(one.first_slow - other.first_slow) < width
    return one.panel.origin != other.panel.origin or not near
