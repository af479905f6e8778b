"""A picture of detectors: their modules to scale, as they are seen from the crystal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from nbnumba.geometry.catalogue import KnownDetector
from nbnumba.geometry.layout import corners_of, enclosing
from nbnumba.image.png import without_matplotlib

EDGE, DOTS_PER_INCH = 2.1, 80  # inches of a detector's picture
MARGIN = 1.04


def picture(detectors: Sequence[KnownDetector]) -> bytes:
    """A PNG file, all on one scale; needs matplotlib (the extra ``plot``). Raises NotAvailableError."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise without_matplotlib("--png") from None
    columns = math.ceil(math.sqrt(len(detectors)))
    rows = math.ceil(len(detectors) / columns)
    scale = max(max(detector.size) for detector in detectors) * MARGIN * 1e3
    figure = Figure(figsize=(max(columns, 2) * EDGE, max(rows, 2) * EDGE), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    shown = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, detector in zip(shown, detectors, strict=False):
        draw(axes, detector, scale)
    for axes in shown[len(detectors) :]:
        axes.axis("off")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw(axes: Any, detector: KnownDetector, scale: float) -> None:
    """The modules of a detector in the middle of a square of so many mm."""
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Circle

    least, greatest = enclosing(detector.panels)
    x, y, _ = ((least + greatest) / 2.0 * 1e3).tolist()
    modules = [corners_of(module)[:, :2] * 1e3 - (x, y) for module in detector.modules.each]
    drawn = axes.add_collection(PolyCollection(modules, facecolors="0.8", edgecolors="0.2", linewidths=0.4))
    if detector.modules.diameter > 0.0:
        drawn.set_clip_path(Circle((0.0, 0.0), detector.modules.diameter / 2.0 * 1e3, transform=axes.transData))
    axes.set(xlim=(-scale / 2, scale / 2), ylim=(scale / 2, -scale / 2), aspect="equal")
    axes.set_title(detector.name, fontsize=8, parse_math=False)
    axes.set_xlabel(" x ".join(f"{edge * 1e3:.0f}" for edge in detector.size) + " mm", fontsize=7)
    axes.set(xticks=[], yticks=[])
