"""What derivatives.py has of an image of samples, of an image of Gaussian spots: forwards, in closed form (CLO-12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.closed_form.draw import Changes
from nbnumba.closed_form.drawing import Drawing
from nbnumba.errors import ParameterError
from nbnumba.gradients.derivatives import Loss, Pixels, answer_of
from nbnumba.gradients.differences import neighbours
from nbnumba.gradients.variables import Amplitude
from nbnumba.image.image import shape_of, split_by_panel
from nbnumba.kernel.loss import PixelLoss
from nbnumba.memory import refuse_too_much
from nbnumba.simulation.devices import open_device
from nbnumba.simulation.in_closed_form import add_water, amplitudes_of, clear_outside, drawing_in, drawings_of, smears_of
from nbnumba.simulation.scene import Scene, prepared_scene, scenes_of
from nbnumba.stages.registry import StageSource, registry_of

if TYPE_CHECKING:
    from nbnumba.closed_form.spots import Layout
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.gradients.variables import Variable

AT_ONCE = 8  # images of derivatives that are in memory at once, where none is kept


class Slope(NamedTuple):
    """The derivatives by a parameter of what each panel is drawn from, part by part of the turn, and of its background (0.0: none)."""

    changes: list[list[Changes]]
    water: list[Any]


class SpotDerivatives:
    """Derivatives of an experiment of Gaussian spots.

    Takes, raises and gives what Derivatives does. What spots are drawn from depends on an experiment smoothly and costs little: it is
    differentiated by differences of fourth order, as what samples are summed from is, and the rest by the kernel.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        experiment: Experiment,
        stages: StageSource = None,
        threads: int | None = None,
        like: SpotDerivatives | None = None,
        device: str = "cpu",
    ) -> None:
        experiment.check()
        refuse_too_much(experiment)
        self.experiment, self._device = experiment, open_device(device, threads=threads)
        chosen = like.scenes[0].stages if like else None
        self.scenes: list[Scene]
        self.scenes = (
            [prepared_scene(panel, chosen) for panel in experiment.by_panel] if chosen else scenes_of(experiment, registry_of(stages))
        )
        self._drawings = [drawings_of(scene) for scene in self.scenes]
        self._waters = [self._water(scene) for scene in self.scenes]

    def near(self, experiment: Experiment) -> SpotDerivatives:
        """The same of an experiment nearby, drawn as spots are drawn here."""
        there = object.__new__(SpotDerivatives)
        there.experiment, there._device = experiment, self._device
        there.scenes, there._drawings = self._changed(experiment)
        there._waters = [self._water(scene) for scene in there.scenes]
        return there

    @property
    def has_table(self) -> bool:
        """Whether structure factors are looked up."""
        return bool(self.scenes[0].stages["structure_factor"].table)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return shape_of(self.experiment)

    def image(self) -> Pixels:
        """Photons per pixel."""
        return self.columns([])[0]

    def slopes(self, variables: Sequence[Variable]) -> list[Slope]:
        """The derivatives by parameters of what is drawn."""
        return [self._slope(v) for v in variables]

    def _slope(self, v: Variable) -> Slope:
        step = v.step(self.experiment)
        there = [(weight / step, *self._changed(experiment)) for weight, experiment in neighbours(v, self.experiment, step)]
        changes = [
            [difference([(weight, drawings[n][m]) for weight, _, drawings in there], here) for m, here in enumerate(parts)]
            for n, parts in enumerate(self._drawings)
        ]
        water: list[Any] = [0.0] * len(self.scenes)
        if self.experiment.background.water_size:
            water = [sum(weight * (self._water(scenes[n]) - here) for weight, scenes, _ in there) for n, here in enumerate(self._waters)]
        return Slope(changes, water)

    def _changed(self, experiment: Experiment) -> tuple[list[Scene], list[list[Drawing]]]:
        """The scenes of an experiment nearby, with what is drawn where spots are here."""
        scenes = [prepared_scene(panel, self.scenes[0].stages) for panel in experiment.by_panel]
        layouts = [[drawing.layout for drawing in parts] for parts in self._drawings]
        return scenes, [redrawn(scene, of_panel) for scene, of_panel in zip(scenes, layouts, strict=True)]

    def _water(self, scene: Scene) -> Pixels:
        image = np.zeros(scene.area.shape if scene.experiment.background.water_size else (1, 1))
        if image.size > 1:
            add_water(scene, image, self._device.threads)  # type: ignore[attr-defined]
        return image

    def columns(self, slopes: Sequence[Slope]) -> tuple[Pixels, Pixels]:
        """Photons, and their derivatives, (n, ...), where what is drawn changes as each of these says."""
        found = np.zeros((1 + len(slopes), int(np.prod(self.shape))))
        begin = 0
        for n, scene in enumerate(self.scenes):
            size = int(np.prod(scene.area.shape))
            of_panel = np.zeros((1 + len(slopes), *scene.area.shape))
            for m, drawing in enumerate(self._drawings[n]):
                changes = together([slope.changes[n][m] for slope in slopes]) if slopes else None
                drawing.add_to(of_panel, self._device.threads, changes)  # type: ignore[attr-defined]
            for image, water in zip(of_panel, [self._waters[n], *(slope.water[n] for slope in slopes)], strict=True):
                image += water
            clear_outside(scene.area, of_panel)
            found[:, begin : begin + size] = of_panel.reshape(len(of_panel), size)
            begin += size
        shaped = found.reshape(-1, *self.shape)
        return shaped[0], shaped[1:]

    def value_and_grad(self, loss: Loss, variables: Sequence[Variable]) -> tuple[float, NDArray[np.float64]]:
        """A loss of the image, and its derivatives by parameters."""
        value, sums = self.of_loss(loss)
        others = [v for v in variables if not isinstance(v, Amplitude)]
        found = {v.name: slope for v, slope in zip(others, self.gradient(sums, self.slopes(others)), strict=True)}
        if len(others) < len(variables):
            by_F = self.by_amplitudes(sums)
            found |= {v.name: by_F[v.rows(self.experiment)[-1]] for v in variables if isinstance(v, Amplitude)}
        return value, np.array([found[v.name] for v in variables])

    def by_amplitudes(self, sums: Pixels) -> NDArray[np.float64]:
        """The derivatives by every amplitude that is listed, the last of a reflection's: photons go with its square."""
        hkl = np.asarray(self.experiment.structure_factors.hkl)
        rows = {tuple(index): row for row, index in enumerate(hkl.tolist())}
        found = np.zeros(len(hkl))
        for scene, drawings, weights in zip(self.scenes, self._drawings, split_by_panel(sums, self.experiment), strict=True):
            for drawing in drawings:
                photons, F = drawing.weighed(weights, self._device.threads), amplitudes_of(scene, drawing.layout.hkl)  # type: ignore[attr-defined]
                listed = np.array([rows.get(tuple(index), -1) for index in drawing.layout.hkl.astype(int).tolist()], np.int64)
                np.add.at(found, listed[listed >= 0], (2.0 * photons / F)[listed >= 0])
        return found

    def of_loss(self, loss: Loss, table: bool = False) -> tuple[float, Pixels]:
        """A loss of the image, and its derivatives by the photons of every pixel."""
        photons = self.image()
        photons.setflags(write=False)
        value, slopes = answer_of(self.within(loss) if isinstance(loss, PixelLoss) else loss, photons)
        return value, self.of_slopes(slopes)

    def of_slopes(self, slopes: Any, table: bool = False) -> Pixels:
        """These derivatives by the photons of every pixel, checked."""
        found: Pixels = np.array(slopes, np.float64)
        if found.shape != self.shape:
            raise ParameterError("loss", f"gave derivatives of shape {found.shape} for an image of {self.shape}")
        for part, scene in zip(split_by_panel(found, self.experiment), self.scenes, strict=True):
            clear_outside(scene.area, part)
        if not np.isfinite(found.sum()):
            raise ParameterError("loss", "gave a derivative that is not a finite number")
        return found

    def gradient(self, sums: Pixels, slopes: Sequence[Slope]) -> NDArray[np.float64]:
        """The chain rule: the derivatives of a loss by parameters."""
        found = [np.tensordot(self.columns(slopes[n : n + AT_ONCE])[1], sums, sums.ndim) for n in range(0, len(slopes), AT_ONCE)]
        return np.concatenate([np.zeros(0), *found])

    def along(self, direction: Any, slopes: Sequence[Slope]) -> Slope:
        """The derivatives of what is drawn along a direction of the parameters."""
        weighted = list(zip(direction, slopes, strict=True))
        changes = [
            [combined([(x, slope.changes[n][m]) for x, slope in weighted]) for m in range(len(parts))]
            for n, parts in enumerate(self._drawings)
        ]
        return Slope(changes, [sum(x * slope.water[n] for x, slope in weighted) for n in range(len(self.scenes))])

    def reach_table(self, slopes: Sequence[Slope]) -> bool:
        """Amplitudes are parameters like others."""
        return False

    def loss_of(self, photons: Pixels, loss: Loss) -> float:
        """A loss of an image of another experiment."""
        return float(answer_of(self.within(loss) if isinstance(loss, PixelLoss) else loss, photons)[0])

    def within(self, loss: PixelLoss) -> PixelLoss:
        """A loss of the pixels that are rendered and have a weight."""
        rendered = np.ones(self.shape)
        for part, scene in zip(split_by_panel(rendered, self.experiment), self.scenes, strict=True):
            clear_outside(scene.area, part)
        spread = loss.spread_over(self.shape)
        parts = zip(*(split_by_panel(array, self.experiment) for array in (spread.observed, spread.weights, rendered != 0.0)), strict=True)
        found = [PixelLoss(loss.function, observed, weights).within(wanted.shape, wanted) for observed, weights, wanted in parts]
        observed, weights = (np.concatenate([getattr(one, name).ravel() for one in found]) for name in ("observed", "weights"))
        return PixelLoss(loss.function, observed.reshape(self.shape), weights.reshape(self.shape))


def redrawn(scene: Scene, layouts: Sequence[Layout]) -> list[Drawing]:
    """What is drawn in layouts that are decided, part by part of the turn."""
    return [drawing_in(scene, smear, layout) for smear, layout in zip(smears_of(scene), layouts, strict=True)]


def numbers_of(drawing: Drawing) -> Changes:
    """What varies of a drawing."""
    return Changes(*drawing.spots, np.asarray(0.5 * drawing.smear.width))


def difference(weighted: Sequence[tuple[float, Drawing]], here: Drawing) -> Changes:
    """The derivatives of what varies, from its values nearby."""
    there = [(weight, numbers_of(drawing)) for weight, drawing in weighted]
    return Changes(*(sum_of(weight * (one[n] - now) for weight, one in there) for n, now in enumerate(numbers_of(here))))


def combined(weighted: Sequence[tuple[float, Changes]]) -> Changes:
    """A sum of changes."""
    return Changes(*(sum_of(x * one[n] for x, one in weighted) for n in range(len(Changes._fields))))


def together(changes: Sequence[Changes]) -> Changes:
    """Those along several directions."""
    return Changes(*(np.ascontiguousarray(np.stack(parts)) for parts in zip(*changes, strict=True)))


sum_of: Callable[[Any], Any] = sum
