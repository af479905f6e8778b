"""What derivatives.py has of an image of one panel, of the image of several: that of each panel, put together (GRA-22)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.gradients.derivatives import Derivatives, Loss, Pixels, answer_of
from nbnumba.gradients.of_spots import SpotDerivatives
from nbnumba.gradients.panel_motion import PanelMotion
from nbnumba.gradients.variables import Amplitude
from nbnumba.kernel.loss import PixelLoss
from nbnumba.simulation.background import refuse_backgrounds
from nbnumba.stages.kinds import KINDS

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.gradients.chain import Inputs
    from nbnumba.gradients.variables import Variable
    from nbnumba.kernel.cpu.adjoint import Sums
    from nbnumba.stages.registry import StageSource

# What the kernel is given for all panels alike.
ALIKE = {"orientations", "table", "incident", "wavelength", "brightness", *(kind for kind in KINDS if KINDS[kind].of_crystal)}


class PanelDerivatives:
    """Derivatives of an experiment of several panels: the image has the pixels of one after the other, (pixels,).

    Takes, raises and gives what Derivatives does, with slopes, sums and the like of every panel in place of those of one.
    """

    def __init__(
        self,
        experiment: Experiment,
        stages: StageSource = None,
        threads: int | None = None,
        like: PanelDerivatives | None = None,
        device: str = "cpu",
    ) -> None:
        self.experiment, self._asked = experiment, (threads, device)
        nearby: Sequence[Derivatives | None] = like.parts if like else [None] * len(experiment.by_panel)
        self.parts: list[Derivatives] = [
            Derivatives(panel, stages, threads, near, device, f"panel {place.name or n}, ")
            for n, (panel, near, place) in enumerate(zip(experiment.by_panel, nearby, experiment.panels, strict=True))
        ]
        self._slices = [slice(*ends) for ends in pairwise(accumulate((int(np.prod(part.shape)) for part in self.parts), initial=0))]

    def near(self, experiment: Experiment) -> PanelDerivatives:
        """The same of an experiment nearby."""
        return PanelDerivatives(experiment, threads=self._asked[0], like=self, device=self._asked[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return (self._slices[-1].stop,)

    @property
    def notes(self) -> list[str]:
        """What has to be known about derivatives of the chosen stages."""
        return self.parts[0].notes

    @property
    def has_table(self) -> bool:
        """Whether structure factors are looked up."""
        return self.parts[0].has_table

    def image(self) -> Pixels:
        """Photons per pixel."""
        return np.concatenate([part.image().ravel() for part in self.parts])

    def slopes(self, variables: Sequence[Variable]) -> list[list[Inputs]]:
        """For every parameter the derivatives of what the kernel is given, panel by panel."""
        return [self._of_panels(v) for v in variables]

    def _of_panels(self, v: Variable) -> list[Inputs]:
        if isinstance(v, PanelMotion):
            there = [v.of_panel(n) for n in range(len(self.parts))]
            return [part.chain.slopes(of_panel) if of_panel else {} for part, of_panel in zip(self.parts, there, strict=True)]
        first = self.parts[0].chain.slopes(v)
        if first.keys() <= ALIKE:
            return [first] * len(self.parts)
        return [first, *(part.chain.slopes(v) for part in self.parts[1:])]

    def value_and_grad(self, loss: Loss, variables: Sequence[Variable]) -> tuple[float, NDArray[np.float64]]:
        """A loss of the image, and its derivatives by parameters."""
        amplitudes = [v for v in variables if isinstance(v, Amplitude)]
        others = [v for v in variables if not isinstance(v, Amplitude)]
        slopes = self.slopes(others)
        value, sums = self.of_loss(loss, table=any(v.part == "structure_factors" for v in variables))
        found = {v.name: slope for v, slope in zip(others, self.gradient(sums, slopes), strict=True)}
        if amplitudes:
            by_F = self.by_amplitudes(sums)
            found |= {v.name: float(by_F[v.rows(self.experiment)[-1]]) for v in amplitudes}
        return value, np.array([found[v.name] for v in variables])

    def gradient(self, sums: Sequence[Sums], slopes: Sequence[Sequence[Inputs]]) -> NDArray[np.float64]:
        """The chain rule: the derivatives of a loss by parameters."""
        by_panel = zip(self.parts, sums, *slopes, strict=True) if slopes else ()
        return np.sum([part.gradient(of_panel, by) for part, of_panel, *by in by_panel], axis=0) if slopes else np.zeros(0)

    def along(self, direction: Any, slopes: Sequence[Sequence[Inputs]]) -> list[Inputs]:
        """The derivatives of what the kernel is given along a direction of the parameters."""
        return [part.along(direction, by) for part, *by in zip(self.parts, *slopes, strict=True)]

    def reach_table(self, slopes: Sequence[Sequence[Inputs]]) -> bool:
        """Whether some are by the table of structure factors."""
        return any("table" in slope for by in slopes for slope in by)

    def by_amplitudes(self, sums: Sequence[Sums]) -> NDArray[np.float64]:
        """The derivatives by every amplitude that is listed."""
        return np.asarray(sum(part.by_amplitudes(of_panel) for part, of_panel in zip(self.parts, sums, strict=True)))

    def loss_of(self, photons: Pixels, loss: Loss) -> float:
        """A loss of an image of another experiment."""
        return answer_of(self.within(loss) if isinstance(loss, PixelLoss) else loss, photons)[0]

    def of_loss(self, loss: Loss, table: bool = False) -> tuple[float, list[Sums]]:
        """A loss of the image, and its derivatives by what the kernel is given; by the table of structure factors if that is wanted."""
        if isinstance(loss, PixelLoss):
            found = [part.of_loss(of_panel, table) for part, of_panel in zip(self.parts, self._parts_of(loss), strict=True)]
            return sum(value for value, _ in found), [sums for _, sums in found]
        photons = self.image()
        photons.setflags(write=False)
        value, slopes = answer_of(loss, photons)
        return value, self.of_slopes(slopes, table)

    def of_slopes(self, slopes: Any, table: bool = False) -> list[Sums]:
        """The derivatives of what has these derivatives by the photons of every pixel."""
        slopes = np.ascontiguousarray(slopes, np.float64)
        if slopes.shape != self.shape:
            raise ParameterError("loss", f"gave derivatives of shape {slopes.shape} for an image of {self.shape}")
        return [part.of_slopes(slopes[at].reshape(part.shape), table) for part, at in zip(self.parts, self._slices, strict=True)]

    def _parts_of(self, loss: PixelLoss) -> list[PixelLoss]:
        """A loss of every panel."""
        spread = loss.spread_over(self.shape)
        return [spread.part(at, part.shape) for part, at in zip(self.parts, self._slices, strict=True)]

    def within(self, loss: PixelLoss) -> PixelLoss:
        """A loss of the pixels that are rendered and have a weight."""
        found = [part.within(of_panel) for part, of_panel in zip(self.parts, self._parts_of(loss), strict=True)]
        observed, weights = (np.concatenate([getattr(one, name).ravel() for one in found]) for name in ("observed", "weights"))
        return PixelLoss(loss.function, observed, weights)

    def columns(self, slopes: Sequence[Sequence[Inputs]]) -> tuple[Pixels, Pixels]:
        """Photons (pixels,), and their derivatives (n, pixels) where what the kernel is given changes as each of these says."""
        found = [part.columns(list(by)) for part, *by in zip(self.parts, *slopes, strict=True)]
        images, columns = zip(*found, strict=True)
        flat = [column.reshape(len(slopes), image.size) for column, image in zip(columns, images, strict=True)]
        return np.concatenate([image.ravel() for image in images]), np.concatenate(flat, axis=1)


def derivatives_of(
    experiment: Experiment, stages: StageSource = None, threads: int | None = None, like: Any = None, device: str = "cpu"
) -> Derivatives:
    """Derivatives of an experiment, of one panel or of several, of samples or of Gaussian spots: all have one face."""
    refuse_backgrounds(experiment, stages, "gradients")
    several = experiment.by_panel[0] is not experiment
    of_samples = PanelDerivatives if several else Derivatives
    kind: Any = SpotDerivatives if experiment.spots.are_gaussian else of_samples
    return cast("Derivatives", kind(experiment, stages, threads, like=like, device=device))
