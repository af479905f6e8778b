"""How an image is drawn: greys or colours, the direct beam, rings of constant resolution, labels (FMT-9, FMT-30)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.geometry.exposure import at_beam
from nbnumba.image.labels import Label, Window, draw_labels
from nbnumba.image.rings import resolution_A, ring_grid, ring_resolutions, ring_resolutions_of_part

if TYPE_CHECKING:
    from nbnumba.geometry.exposure import Exposure

Array = NDArray[np.float64]
Edges = tuple[float, float, float, float]  # left, right, bottom, top
DECADES = 4.0
MOST = 768  # pixels along an edge that matplotlib is given; what it draws has about as many, and it takes a hundred bytes for each
DARKEST = 20
WIDTH = 8.0  # of the figure, in inches
# Percent of differences that the colours tell apart, unless the largest is more than so many times that: a few pixels of spots outshine
# all others.
OF_DIFFERENCES, MOST_CUT = 99.5, 20.0
RING_COLOUR, BEAM_COLOUR = ("tab:blue", "0.3"), "tab:red"  # of rings on greys, and on the colours of a difference


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """What is drawn of an image.

    pixels: [slow, fast]; exposure: where they are, without which there are no rings; window: what is shown of them, all if None.
    scale: log, linear, or difference (linear, symmetric, in colours); limits: pixel values at its ends, None: DECADES below the
    brightest, less if that is below the background of counts (log), from the least to the brightest (linear).
    rings: Angstrom; None: round values.
    """

    pixels: Array
    unit: str = "photons"
    exposure: Exposure | None = None
    window: Window | None = None
    scale: str = "log"
    limits: tuple[float, float] | None = None
    rings: Sequence[float] | None = None
    labels: Sequence[Label] = ()
    title: str = ""

    @property
    def shown(self) -> Window:
        """First and last fast, first and last slow pixel."""
        slow, fast = self.pixels.shape
        return self.window or (0, fast - 1, 0, slow - 1)

    def draw(self, figure: Any) -> int:
        """Draw on an empty figure; returns how many labels there was room for."""
        return draw(figure, self)


def draw(figure: Any, picture: Picture) -> int:
    """Draw on an empty figure of matplotlib, whose size is set; returns how many labels there was room for."""
    first_fast, last_fast, first_slow, last_slow = picture.shown
    part = picture.pixels[first_slow : last_slow + 1, first_fast : last_fast + 1]
    figure.set_size_inches(WIDTH, figure_height(6.3 * part.shape[0] / part.shape[1] + 0.8))
    axes = figure.add_subplot()
    shown, (left, right, bottom, top) = binned_either_way(part) if picture.scale == "difference" else binned(part)
    extent = (first_fast + left, first_fast + right, first_slow + bottom, first_slow + top)
    limits = picture.limits
    if limits is None and picture.scale == "log" and picture.unit == "counts":
        limits = above_background(part)
    norm = normalised(shown, picture.scale, limits)
    if picture.scale == "log":
        np.clip(shown, norm.vmin, norm.vmax, out=shown)
    colours = "RdBu_r" if picture.scale == "difference" else "gray_r"
    drawn = axes.imshow(shown, cmap=colours, norm=norm, interpolation="nearest", extent=extent)
    axes.set(
        xlim=(first_fast - 0.5, last_fast + 0.5), ylim=(last_slow + 0.5, first_slow - 0.5), xlabel="fast / pixel", ylabel="slow / pixel"
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    draw_scale(figure, axes, drawn, picture, extended(part, norm, picture))
    in_the_way = []
    if picture.exposure is not None:
        draw_beam(axes, picture.exposure, picture.shown)
        in_the_way = draw_rings(axes, picture.exposure, picture)
    axes.set_title(picture.title.replace("$", r"\$"), fontsize=10, wrap=True)  # what is wrapped is parsed for formulae whatever one asks
    return draw_labels(figure, axes, picture.labels, in_the_way)


def draw_scale(figure: Any, axes: Any, drawn: Any, picture: Picture, extend: str) -> None:
    """The bar of greys or colours: as high as the picture, unless that is much higher than wide, or the other way round."""
    from matplotlib.ticker import LogFormatter

    first_fast, last_fast, first_slow, last_slow = picture.shown
    ratio = (last_slow + 1 - first_slow) / (last_fast + 1 - first_fast)
    beside = {"cax": axes.inset_axes([1.025, 0.0, 0.035, 1.0])} if 0.3 < ratio < 2.3 else {"ax": axes, "aspect": 30}
    what = "difference, " if picture.scale == "difference" else ""
    bar = figure.colorbar(drawn, label=f"{what}{picture.unit} / pixel", extend=extend, **beside)
    if picture.scale == "log" and drawn.norm.vmax < 100.0 * drawn.norm.vmin:
        bar.formatter = bar.minorformatter = LogFormatter(minor_thresholds=(2.0, 0.6))


def above_background(part: Array) -> tuple[float, float] | None:
    """Limits of counts, which have an offset, or air that scatters: from where a 20th of the pixels that count at all are darker."""
    counted, brightest = part[part > 0.0], float(part.max())
    least = float(np.percentile(counted, 100.0 / DARKEST)) if counted.size else 0.0
    return (least, brightest) if brightest * 10.0**-DECADES < least < brightest else None


def normalised(shown: Array, scale: str, limits: tuple[float, float] | None) -> Any:
    """The scale of greys or colours."""
    from matplotlib.colors import LogNorm, Normalize

    if scale == "difference":
        sizes = np.abs(shown[shown != 0.0])
        most = max(float(np.percentile(sizes, OF_DIFFERENCES)), float(sizes.max()) / MOST_CUT) if sizes.size else 1.0
        return Normalize(*(limits or (-most, most)))
    least, brightest = float(shown.min()), float(shown.max())
    if scale == "linear":
        return Normalize(*(limits or (least, brightest if brightest > least else least + 1.0)))
    brightest = brightest if brightest > 0.0 else 1.0
    return LogNorm(*(limits or (brightest * 10.0**-DECADES, brightest)))


def extended(part: Array, norm: Any, picture: Picture) -> str:
    """At which ends pixels go beyond limits that the user gave, or that leave out the largest differences."""
    if picture.limits is None and picture.scale != "difference":
        return "neither"
    below, above = bool(part.min() < norm.vmin), bool(part.max() > norm.vmax)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def draw_beam(axes: Any, exposure: Exposure, window: Window) -> None:
    """A cross where the direct beam meets the detector."""
    if not meets_beam(exposure):
        return
    fast, slow = (value - 0.5 for value in exposure.beam_centre)
    first_fast, last_fast, first_slow, last_slow = window
    if first_fast - 0.5 <= fast <= last_fast + 0.5 and first_slow - 0.5 <= slow <= last_slow + 0.5:
        axes.plot(fast, slow, "+", color=BEAM_COLOUR, markersize=10)


def meets_beam(exposure: Exposure) -> bool:
    """Whether the direct beam meets the detector's plane behind the crystal."""
    along, away = float(exposure.normal @ np.array(exposure.incident)), float(exposure.normal @ np.array(exposure.origin))
    return abs(along) > 1e-9 and away / along > 0.0


def draw_rings(axes: Any, exposure: Exposure, picture: Picture) -> list[Any]:
    """Contours of 1/d, which is smoother than d, so that rings are where they belong on a tilted detector as well. Returns their texts."""
    from matplotlib.patheffects import withStroke

    first_fast, last_fast, first_slow, last_slow = picture.shown
    fast, slow = ring_grid(first_fast, last_fast), ring_grid(first_slow, last_slow)
    if exposure.wavelength is None:
        return []
    d = resolution_A(exposure, fast, slow)
    automatic = ring_resolutions if picture.window is None else ring_resolutions_of_part
    rings = automatic(d) if picture.rings is None else [ring for ring in sorted(set(picture.rings)) if d.min() < ring < d.max()]
    if not rings:
        return []
    levels = {1.0 / ring: f"{ring:g} Å" for ring in reversed(rings)}
    colour = RING_COLOUR[picture.scale == "difference"]
    lines = axes.contour(fast, slow, 1.0 / d, levels=list(levels), colors=colour, linewidths=0.7)
    texts = list(axes.clabel(lines, fmt=levels, fontsize=8))
    for text in texts:
        text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
    return texts


def geometry_line(exposure: Exposure) -> str:
    """Wavelength, distance and spindle angles, as far as they are known: ``1 Å, 150 mm, φ 0 to 0.5°``."""
    parts = [] if exposure.wavelength is None else [f"{exposure.wavelength * 1e10:g} Å"]
    parts.append(f"{at_beam(exposure.by_panel).stated_distance * 1e3:g} mm")
    if exposure.oscillation:
        start, end = units.degrees(exposure.phi_start), units.degrees(exposure.phi_start + exposure.oscillation)
        parts.append(f"φ {start:g} to {end:g}°")
    return ", ".join(parts)


def figure_height(inches: float) -> float:
    """What a figure of that height has: long and narrow images are drawn in one that is neither."""
    return min(max(3.0, inches), 16.0)


def binned(pixels: Array) -> tuple[Array, Edges]:
    """The brightest of every n x n pixels, n as small as MOST allows, in an array of its own, and the edges of that."""
    n = -(-max(pixels.shape) // MOST)
    for axis, edge in enumerate(pixels.shape):
        pixels = np.maximum.reduceat(pixels, np.arange(0, edge, n), axis=axis)
    slow, fast = pixels.shape
    return pixels, (-0.5, n * fast - 0.5, n * slow - 0.5, -0.5)


def binned_either_way(difference: Array) -> tuple[Array, Edges]:
    """Of every n x n pixels the one farthest from 0."""
    up, edges = binned(difference)
    down, _ = binned(-difference)
    return np.where(up >= down, up, -down), edges
