"""How a detector is made up of modules, as panels in its own plane, and these in their places in the laboratory (DET-3, DET-4)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import ParameterError
from nbnumba.experiment.beam import Vector
from nbnumba.experiment.detector import Detector
from nbnumba.experiment.frame import Frame
from nbnumba.experiment.panel import PIXELS, Panel
from nbnumba.experiment.part import NOT_NEGATIVE, Limits, Part, flag, quantity, text

Array = NDArray[np.float64]
GRID, GAPS = Limits(1, 1000), Limits(0, 10_000)
EDGE = Limits(0.0, 0.01, open_low=True)  # of pixels in m: what is more is in um or mm
MOST_PANELS, MOST_PIXELS = 1000, 10**8
OF_MODULES = ("pixel_size", "fast_pixels", "slow_pixels", "fast_size", "slow_size")  # fields of a detector that modules decide


@dataclass(frozen=True, kw_only=True, eq=False)
class Modules(Part):
    """Grids of modules, all alike; coordinates are along the detector's fast axis, along its slow axis, and away from the crystal."""

    pixel_size: float = quantity(1e-4, "m", "edge of a square pixel", EDGE)
    slow_pixels: int = quantity(1, "", "pixels of a module along the slow axis", PIXELS, whole=True)
    fast_pixels: int = quantity(1, "", "pixels of a module along the fast axis", PIXELS, whole=True)
    rows: int = quantity(1, "", "modules along the slow axis", GRID, whole=True)
    columns: int = quantity(1, "", "modules along the fast axis", GRID, whole=True)
    slow_gap: int = quantity(0, "pixel", "between rows", GAPS, whole=True)
    fast_gap: int = quantity(0, "pixel", "between columns", GAPS, whole=True)
    diameter: float = quantity(0.0, "m", "of the disc of active pixels in the middle of the one panel; 0: all are", NOT_NEGATIVE)
    one_panel: bool = flag(True, "all modules are one panel, whose pixels in gaps are masked; else each is a panel of its own")
    turns: int = quantity(1, "", "how many times the grids are there, turned about the beam by equal angles", GRID, whole=True)
    grids: tuple[Grid, ...] = field(default=(), metadata={"unit": "", "meaning": "where grids of modules are; default: one"})
    source: str = text("where the numbers are from")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.one_panel and (self.grids or self.turns > 1):
            raise ParameterError(self.where("one_panel"), "is true, and one panel has one grid; give one_panel = false")
        object.__setattr__(self, "grids", tuple(self.grids) or (Grid(),))
        if not self.one_panel and (number := self.rows * self.columns * self.turns * len(self.grids)) > MOST_PANELS:
            raise ParameterError("modules", f"are {number} panels; {MOST_PANELS} are the most")
        if self.diameter > 0.0 and not self.one_panel:
            raise ParameterError(self.where("diameter"), "is of one panel, and each module is one; leave it out")
        if self.one_panel and (pixels := math.prod(self.shape)) > MOST_PIXELS:
            raise ParameterError("modules", f"are a panel of {pixels} pixels; {MOST_PIXELS} are the most")

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of a grid with its gaps, (slow, fast)."""
        return (
            self.rows * self.slow_pixels + (self.rows - 1) * self.slow_gap,
            self.columns * self.fast_pixels + (self.columns - 1) * self.fast_gap,
        )

    @property
    def has_gaps(self) -> bool:
        """Whether pixels of the one panel are in gaps."""
        return self.one_panel and (self.diameter > 0.0 or self.shape != (self.rows * self.slow_pixels, self.columns * self.fast_pixels))

    @property
    def gaps(self) -> NDArray[np.bool_] | None:
        """Mask of the one panel [slow, fast], false in gaps and outside the disc; None without any."""
        if not self.has_gaps:
            return None
        slow, fast = self.shape
        in_row = np.arange(slow) % (self.slow_pixels + self.slow_gap) < self.slow_pixels
        in_column = np.arange(fast) % (self.fast_pixels + self.fast_gap) < self.fast_pixels
        active = np.asarray(in_row[:, None] & in_column)
        if self.diameter > 0.0:
            x, y = ((np.arange(pixels) + 0.5 - pixels / 2.0) * self.pixel_size for pixels in (fast, slow))
            active &= np.hypot(x, y[:, None]) <= self.diameter / 2.0
        return active

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels in the detector's own coordinates."""
        if self.one_panel:
            slow, fast = self.shape
            return (self._panel(np.zeros(3), np.eye(3), slow_pixels=slow, fast_pixels=fast, mask=self.gaps),)
        return self.each

    @property
    def each(self) -> tuple[Panel, ...]:
        """Every module as a panel."""
        return tuple(replace(panel, name=f"module{number}") for number, panel in enumerate(self._modules()))

    def _modules(self) -> Iterator[Panel]:
        """Of each turn, each grid, row by row."""
        several = self.turns * len(self.grids) > 1
        for turn in range(self.turns):
            turned = quarter_exact(2.0 * np.pi * turn / self.turns)
            for number, grid in enumerate(self.grids):
                group = (grid.group or f"grid{turn * len(self.grids) + number}") if several else grid.group
                axes = turned @ np.stack([grid.fast_axis, grid.slow_axis, np.cross(grid.fast_axis, grid.slow_axis)], axis=1)
                for row, column in np.ndindex(self.rows, self.columns):
                    steps = [column * (self.fast_pixels + self.fast_gap), row * (self.slow_pixels + self.slow_gap), 0]
                    yield self._panel(turned @ grid.origin + axes @ steps * self.pixel_size, axes, group=group)

    def _panel(self, origin: Array, axes: Array, **more: Any) -> Panel:
        alike = {name: getattr(self, name) for name in ("pixel_size", "fast_pixels", "slow_pixels")}
        return Panel(**(alike | more), origin=tuple(origin), fast_axis=tuple(axes[:, 0]), slow_axis=tuple(axes[:, 1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid(Part):
    """Where a grid of modules is."""

    origin: Vector = quantity((0.0, 0.0, 0.0), "m", "outer corner of the first module's first pixel", size=3)
    fast_axis: Vector = quantity((1.0, 0.0, 0.0), "", "unit vector along which a row's pixels follow each other", size=3)
    slow_axis: Vector = quantity((0.0, 1.0, 0.0), "", "unit vector along which rows follow each other", size=3)
    group: str = text("what its modules are together")


def quarter_exact(angle: float) -> Array:
    """Rotation about the detector's third axis; exact where it is by quarters of a turn."""
    c, s = round(float(np.cos(angle)), 15), round(float(np.sin(angle)), 15)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def enclosing(panels: tuple[Panel, ...]) -> tuple[Array, Array]:
    """Corners of the rectangle across the detector's third axis in which all panels are: least and greatest coordinates."""
    corners = np.concatenate([corners_of(panel) for panel in panels])
    return corners.min(axis=0), corners.max(axis=0)


def corners_of(panel: Panel) -> Array:
    """The four corners of a panel, (4, 3)."""
    edges = panel.pixel_size * np.array([[0, 0], [panel.fast_pixels, 0], [panel.fast_pixels, panel.slow_pixels], [0, panel.slow_pixels]])
    return np.asarray(np.array(panel.origin) + edges @ np.array([panel.fast_axis, panel.slow_axis]))


def plane_of(modules: Modules) -> dict[str, Any]:
    """Fields of the detector of one flat panel that options put in place: the one panel, or what encloses all."""
    if modules.one_panel:
        return {"pixel_size": modules.pixel_size, "slow_pixels": modules.shape[0], "fast_pixels": modules.shape[1]}
    least, greatest = enclosing(modules.panels)
    width, height, _ = (greatest - least).tolist()
    return {"pixel_size": modules.pixel_size, "slow_pixels": None, "fast_pixels": None, "fast_size": width, "slow_size": height}


def in_place(panels: tuple[Panel, ...], plane: Detector, frame: Frame) -> Detector:
    """The detector of these panels where another, the plane that encloses them, is; they have its sensor."""
    least, _ = enclosing(panels)
    axes = np.stack([frame.fast_axis, frame.slow_axis, frame.normal], axis=1)
    sensor = {name: getattr(plane, name) for name in ("sensor_thickness", "sensor_attenuation", "sensor_material")}

    def placed(panel: Panel) -> Panel:
        return replace(
            panel,
            origin=tuple(frame.pix0 + axes @ (np.array(panel.origin) - [*least[:2], 0.0])),
            fast_axis=tuple(axes @ panel.fast_axis),
            slow_axis=tuple(axes @ panel.slow_axis),
            **sensor,
        )

    return Detector(
        convention=plane.convention,
        saturation=plane.saturation,
        sensor_layers=plane.sensor_layers,
        point_pixel=plane.point_pixel,
        panels=tuple(placed(panel) for panel in panels),
    )
