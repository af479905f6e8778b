"""A picture of an image: logarithmic greys, beam centre, resolution rings."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NotAvailableError

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.outputs.image import Image

DECADES = 4.0
MOST = 768  # pixels along an edge that matplotlib is given; what it draws has fewer, and it takes a hundred bytes for each
RING_GRID = 256  # points along an edge for the rings, which are smooth


def png_bytes(image: Image) -> bytes:
    """A PNG file; needs matplotlib (the extra ``plot``)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
    except ImportError:
        raise NotAvailableError("--png: needs matplotlib; install it with: pip install 'nbnumba[plot]'") from None
    experiment, frame = image.experiment, image.experiment.frame
    pixel = experiment.detector.pixel_size
    slow, fast = image.shape
    shown, edges = binned(image.pixels)
    brightest = float(shown.max()) or 1.0
    np.clip(shown, brightest * 10.0**-DECADES, brightest, out=shown)
    figure = Figure(figsize=(8.0, figure_height(6.6 * slow / fast + 0.9)), layout="constrained")
    axes = figure.add_subplot()
    scale = LogNorm(brightest * 10.0**-DECADES, brightest)
    picture = axes.imshow(shown, cmap="gray_r", norm=scale, interpolation="nearest", extent=edges)
    axes.set(xlim=(-0.5, fast - 0.5), ylim=(slow - 0.5, -0.5))
    figure.colorbar(picture, ax=axes, label="photons / pixel", shrink=0.8)
    centre_fast, centre_slow = frame.beam_fast / pixel - 0.5, frame.beam_slow / pixel - 0.5
    if -0.5 <= centre_fast <= fast - 0.5 and -0.5 <= centre_slow <= slow - 0.5:
        axes.plot(centre_fast, centre_slow, "+", color="tab:red", markersize=10)
    d_fast, d_slow, d = resolution_A(experiment)
    levels = ring_resolutions(d)
    if levels and min(d.shape) > 1:
        rings = axes.contour(d_fast, d_slow, d, levels=levels, colors="tab:blue", linewidths=0.6)
        axes.clabel(rings, fmt="%g Å", fontsize=8)
    axes.set(xlabel="fast / pixel", ylabel="slow / pixel", title=f"{experiment.beam.wavelength * 1e10:g} Å, {frame.distance * 1e3:g} mm")
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def figure_height(inches: float) -> float:
    """What a figure of that height has: long and narrow images are drawn in one that is neither."""
    return min(max(3.0, inches), 16.0)


def binned(pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """The brightest of every n x n pixels, n as small as MOST allows, and the edges of that: left, right, bottom, top."""
    n = -(-max(pixels.shape) // MOST)
    for axis, edge in enumerate(pixels.shape):
        pixels = np.maximum.reduceat(pixels, np.arange(0, edge, n), axis=axis)
    slow, fast = pixels.shape
    return pixels, (-0.5, n * fast - 0.5, n * slow - 0.5, -0.5)


def resolution_A(experiment: Experiment) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fast and slow pixel numbers, all or RING_GRID of them from edge to edge, and the resolution d there in Angstrom, [slow, fast]."""
    frame, pixel = experiment.frame, experiment.detector.pixel_size
    slow, fast = (np.linspace(0.0, edge - 1.0, min(edge, RING_GRID)) for edge in experiment.detector.shape)
    s, f = np.ix_(slow, fast)
    position = frame.pix0 + ((f + 0.5) * pixel)[..., np.newaxis] * frame.fast_axis + ((s + 0.5) * pixel)[..., np.newaxis] * frame.slow_axis
    cos_2theta = position @ frame.incident / np.linalg.norm(position, axis=-1)
    sin_theta = np.sqrt(np.clip((1.0 - cos_2theta) / 2.0, 1e-30, 1.0))
    return fast, slow, experiment.beam.wavelength * 1e10 / 2.0 / sin_theta


def ring_resolutions(d: NDArray[np.float64], rings: int = 4) -> list[float]:
    """Round values of d, increasing, for rings at about equal steps of 1/d within the image."""
    edge = float(1.0 / max(d[0].min(), d[-1].min(), d[:, 0].min(), d[:, -1].min()))
    found = {float(f"{1.0 / (edge * i / rings):.2g}") for i in range(1, rings + 1)}
    return sorted(value for value in found if d.min() < value < d.max())
