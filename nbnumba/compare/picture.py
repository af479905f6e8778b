"""A picture of two images and their difference."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from nbnumba.image.drawing import binned, binned_either_way, figure_height, normalised
from nbnumba.image.png import without_matplotlib


def picture(a: NDArray[np.float64], b: NDArray[np.float64], names: tuple[str, str]) -> bytes:
    """A PNG file: A and B in logarithmic greys on one scale, B - A in colours; needs matplotlib (the extra ``plot``)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise without_matplotlib("a picture") from None
    slow, fast = a.shape
    difference, edges = binned_either_way(b - a)
    images = [binned(image)[0] for image in (a, b)]
    scale = normalised(np.maximum(*images), "log", None)
    figure = Figure(figsize=(15.0, figure_height(4.6 * slow / fast + 1.0)), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, image, name in zip(panels, images, ("A: " + names[0], "B: " + names[1]), strict=False):
        shown = axes.imshow(np.clip(image, scale.vmin, scale.vmax), cmap="gray_r", norm=scale, interpolation="nearest", extent=edges)
        axes.set_title(name if len(name) < 50 else name[:47] + "...", fontsize=9, parse_math=False)
    figure.colorbar(shown, ax=panels[:2], label="photons / pixel", shrink=0.8)
    norm = normalised(difference, "difference", None)
    shown = panels[2].imshow(difference, cmap="RdBu_r", norm=norm, interpolation="nearest", extent=edges)
    figure.colorbar(shown, ax=panels[2], label="B - A", shrink=0.8)
    panels[2].set_title("difference", fontsize=9)
    panels[0].set(xlim=(-0.5, fast - 0.5), ylim=(slow - 0.5, -0.5), ylabel="slow / pixel")
    for axes in panels:
        axes.set_xlabel("fast / pixel")
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
