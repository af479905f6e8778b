"""Detector, beam, crystal and spindle in space, as a picture (CLI-75)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.vectors import rotate_about
from nbnumba.files.whole import check_writable, write_all
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.layout import corners_of
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.panel_groups import group_of, middle_of
from nbnumba.image.drawing import BEAM_COLOUR, geometry_line
from nbnumba.image.png import png_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.panel import Panel

Array = NDArray[np.float64]
MM = 1e3
SIZE = (9.0, 7.0)  # of the figure, in inches
ELEVATION, ASIDE = 22.0, 52.0  # deg, of the camera: above the beam, and from where it comes from toward the side
FEW_NAMES, MOST_NAMES = 8, 40  # of groups, that there is room for in letters of the usual size, and in smaller ones
TICKS = 8  # along the longest axis
FAR = 2.5  # times as long as the detector is wide is the way to it drawn at most
PLAIN, EDGES, SPINDLE_COLOUR = "0.75", "0.25", "tab:green"
AXES = {"a": "#c2185b", "b": "#7b1fa2", "c": "#303f9f"}
BEFORE = 0.5  # of the way behind the crystal, the beam is drawn before it
ASTRIDE, LONGEST, ALONG = 0.5, 0.4, 0.15  # of the reach: the spindle to either side, the crystal's longest axis, the axes of pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Setup:
    """What is drawn. cell: a, b, c at the beginning of the image, (3, 3), in m; None: no crystal is known. In imgCIF's laboratory."""

    exposure: Exposure
    cell: Array | None = None
    title: str = ""

    def draw(self, figure: Any) -> int:
        """Draw on an empty figure of matplotlib; returns how many labels are in it."""
        axes = figure.add_subplot(projection="3d", computed_zorder=False)
        figure.set_size_inches(*SIZE)
        panels = self.exposure.panels or (self.exposure.as_panel("", ""),)
        drawn = draw_panels(axes, panels)
        draw_beam(axes, self.exposure, panels)
        draw_crystal(axes, self.exposure, self.cell, reach_of(panels))
        look(axes)
        axes.set_title(self.title.replace("$", r"\$"), fontsize=10, wrap=True)
        return drawn


def setup_of(exposure: Exposure, experiment: Experiment | None = None, title: str | None = None) -> Setup:
    """The setup of an exposure, with the crystal of an experiment that is in the same place."""
    turn, cell = exposure.to_imgcif, None
    if experiment is not None and experiment.crystal.has_cell:
        spindle, phi = experiment.axes["spindle"], experiment.goniometer.phi_start
        cell = np.array([rotate_about(axis, spindle, phi) for axis in experiment.unit_cell.direct]) @ turn.T
    return Setup(exposure=exposure.imgcif, cell=cell, title=geometry_line(exposure) if title is None else title)


def draw_in_space(path: str | Path, experiment: Experiment) -> None:
    """Write a picture (.png) of an experiment in space: panels and their groups, beam, spindle, the crystal's axes.

    In imgCIF's laboratory: x along the spindle, z to the source. Needs matplotlib. Raises NotAvailableError, OutputFileError.
    """
    path = Path(path)
    check_writable([path])
    write_all({path: png_of(setup_of(exposure_of(experiment), experiment), "draw_in_space")[0]})


def draw_panels(axes: Any, panels: tuple[Panel, ...]) -> int:
    """Every panel as it is seen through, a colour for each group; the groups' names, if there are not too many."""
    from matplotlib import colormaps
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    groups = told_apart(panels)
    names = list(dict.fromkeys(groups))
    colours = {name: colormaps["tab20"](number % 20) for number, name in enumerate(names)} if len(names) > 1 else {names[0]: PLAIN}
    faces = [colours[group] for group in groups]
    outlines = [upright(corners_of(panel)) for panel in panels]
    axes.auto_scale_xyz(*np.concatenate(outlines).T)
    axes.add_collection3d(Poly3DCollection(outlines, facecolors=faces, edgecolors=EDGES, linewidths=0.5, alpha=0.75, zorder=1))
    draw_pixel_axes(axes, panels[0], reach_of(panels))
    if len(names) > MOST_NAMES:
        axes.text2D(0.0, 0.0, f"{len(names)} groups of panels, from {names[0]} to {names[-1]}", transform=axes.transAxes, fontsize=8)
        return 0
    drawn = [name for name in names if name]
    for name in drawn:
        middle = np.mean([middle_of(panel) for panel, group in zip(panels, groups, strict=True) if group == name], axis=0)
        write(axes, middle, name, "black", points=9.0 if len(drawn) <= FEW_NAMES else 7.0)
    return len(drawn)


def told_apart(panels: tuple[Panel, ...]) -> list[str]:
    """The groups of panels, at the outermost level that tells any apart; of panels that no group tells apart, their names."""
    paths = [[*group_of(panel).split("/"), panel.name] for panel in panels]
    for depth in range(1, max(map(len, paths)) + 1):
        found = ["/".join(filter(None, path[:depth])) for path in paths]
        if len(set(found)) > 1:
            return found
    return [group_of(panel) or panel.name for panel in panels]


def draw_pixel_axes(axes: Any, panel: Panel, reach: float) -> None:
    """From the first pixel of the first panel, its fast and its slow axis."""
    for name, axis in (("fast", panel.fast_axis), ("slow", panel.slow_axis)):
        arrow(axes, np.array(panel.origin), ALONG * reach * np.array(axis), "black", name)


def draw_beam(axes: Any, exposure: Exposure, panels: tuple[Panel, ...]) -> None:
    """From the source to the crystal, and on to the panel that it meets, or as far as the farthest panel is."""
    beam = np.array(exposure.incident)
    along = max(float((corners_of(panel) @ beam).max()) for panel in panels)
    met = [alone for alone in exposure.by_panel if alone.is_in_beam]
    end = min((alone.distance for alone in met), default=max(along, reach_of(panels)))
    line(axes, -BEFORE * end * beam, np.zeros(3), color=BEAM_COLOUR)
    line(axes, np.zeros(3), end * beam, color=BEAM_COLOUR, linestyle="--")
    write(axes, -1.1 * BEFORE * end * beam, "beam", BEAM_COLOUR)
    if met:
        axes.plot(*upright(end * beam)[:, np.newaxis], "x", color=BEAM_COLOUR, zorder=3)


def draw_crystal(axes: Any, exposure: Exposure, cell: Array | None, reach: float) -> None:
    """The crystal, its axes in proportion, and the spindle."""
    if exposure.spindle_axis is not None:
        spindle = ASTRIDE * reach * np.array(exposure.spindle_axis)
        line(axes, -spindle, np.zeros(3), color=SPINDLE_COLOUR)
        arrow(axes, np.zeros(3), spindle, SPINDLE_COLOUR, "spindle")
    if cell is not None:
        longest = float(np.linalg.norm(cell, axis=1).max())
        for (name, colour), axis in zip(AXES.items(), cell, strict=True):
            arrow(axes, np.zeros(3), LONGEST * reach / longest * axis, colour, name)
    axes.plot([0.0], [0.0], [0.0], "o", color="black", markersize=4, zorder=4)


def reach_of(panels: tuple[Panel, ...]) -> float:
    """How far the crystal is from the nearest middle of a panel, or how wide the detector is if that is less."""
    nearest = min(float(np.linalg.norm(middle_of(panel))) for panel in panels)
    return min(nearest, float(np.ptp(np.concatenate([corners_of(panel) for panel in panels]), axis=0).max()))


def upright(places: Array) -> Array:
    """Places in m as matplotlib has them, whose third axis is the one that is up: z, x, y in mm."""
    return np.roll(places, 1, axis=-1) * MM


def arrow(axes: Any, start: Array, along: Array, colour: str, name: str) -> None:
    """With its name beyond the tip."""
    axes.quiver(*upright(start), *upright(along), color=colour, arrow_length_ratio=0.12, linewidth=1.4, zorder=3)
    axes.auto_scale_xyz(*upright(start + along)[:, np.newaxis], had_data=True)  # which quiver() does for the other end alone
    write(axes, start + 1.12 * along, name, colour)


def line(axes: Any, start: Array, end: Array, **style: Any) -> None:
    axes.plot(*upright(np.array([start, end])).T, linewidth=1.4, zorder=2, **style)


def write(axes: Any, place: Array, text: str, colour: str, points: float = 9.0) -> None:
    """A text in the middle of a place, as it is."""
    from matplotlib.patheffects import withStroke

    written = axes.text(*upright(place), text, color=colour, fontsize=points, ha="center", va="center", zorder=5, parse_math=False)
    written.set_path_effects([withStroke(linewidth=2.0, foreground="white")])


def look(axes: Any) -> None:
    """Axes in mm on one scale, unless the detector is far away; the camera is before the crystal, above the beam and beside it, y is up."""
    from matplotlib.ticker import MaxNLocator

    axes.view_init(elev=ELEVATION, azim=ASIDE)
    edges = np.ptp([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()], axis=1)
    shown = np.minimum(edges, [FAR * edges[1:].max(), np.inf, np.inf])
    axes.set_box_aspect(tuple(shown))
    if (shorter := edges[0] / shown[0]) > 1.0:
        axes.text2D(0.0, 0.02, f"z is drawn {shorter:.2g} times shorter than x and y", transform=axes.transAxes, fontsize=8)
    ticks = np.maximum(2, np.rint(TICKS * shown / shown.max()).astype(int))
    for name, axis, most in zip("zxy", (axes.xaxis, axes.yaxis, axes.zaxis), ticks, strict=True):
        axis.set_major_locator(MaxNLocator(nbins=most))
        axis.set_label_text(f"{name} / mm")
        axis.labelpad = 12
