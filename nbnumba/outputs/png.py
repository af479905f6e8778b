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
    brightest = float(image.pixels.max()) or 1.0
    shown = np.clip(image.pixels, brightest * 10.0**-DECADES, brightest)
    figure = Figure(figsize=(8.0, max(3.0, 6.6 * slow / fast + 0.9)), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shown, cmap="gray_r", norm=LogNorm(brightest * 10.0**-DECADES, brightest), interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="photons / pixel", shrink=0.8)
    centre_fast, centre_slow = frame.beam_fast / pixel - 0.5, frame.beam_slow / pixel - 0.5
    if -0.5 <= centre_fast <= fast - 0.5 and -0.5 <= centre_slow <= slow - 0.5:
        axes.plot(centre_fast, centre_slow, "+", color="tab:red", markersize=10)
    d = resolution_A(experiment)
    levels = ring_resolutions(d)
    if levels:
        rings = axes.contour(d, levels=levels, colors="tab:blue", linewidths=0.6)
        axes.clabel(rings, fmt="%g Å", fontsize=8)
    axes.set(xlabel="fast / pixel", ylabel="slow / pixel", title=f"{experiment.beam.wavelength * 1e10:g} Å, {frame.distance * 1e3:g} mm")
    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def resolution_A(experiment: Experiment) -> NDArray[np.float64]:
    """Resolution d in Angstrom at every pixel centre, [slow, fast]."""
    frame, pixel = experiment.frame, experiment.detector.pixel_size
    slow, fast = experiment.detector.shape
    s, f = np.ogrid[:slow, :fast]
    position = frame.pix0 + ((f + 0.5) * pixel)[..., np.newaxis] * frame.fast_axis + ((s + 0.5) * pixel)[..., np.newaxis] * frame.slow_axis
    cos_2theta = position @ frame.incident / np.linalg.norm(position, axis=-1)
    sin_theta = np.sqrt(np.clip((1.0 - cos_2theta) / 2.0, 1e-30, 1.0))
    return np.asarray(experiment.beam.wavelength * 1e10 / 2.0 / sin_theta)


def ring_resolutions(d: NDArray[np.float64], rings: int = 4) -> list[float]:
    """Round values of d, increasing, for rings at about equal steps of 1/d within the image."""
    edge = float(1.0 / max(d[0].min(), d[-1].min(), d[:, 0].min(), d[:, -1].min()))
    found = {float(f"{1.0 / (edge * i / rings):.2g}") for i in range(1, rings + 1)}
    return sorted(value for value in found if d.min() < value < d.max())
