"""Pictures of images as PNG files, or in a window; matplotlib comes with the extra ``plot``."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbnumba.errors import NotAvailableError
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image.drawing import DECADES, Picture, binned, geometry_line
from nbnumba.image.flat_view import flat_view

if TYPE_CHECKING:
    from nbnumba.image.image import Image

DOTS_PER_INCH = 150


class Drawable(Protocol):
    """What can be drawn."""

    def draw(self, figure: Any) -> int:
        """Draw on an empty figure of matplotlib; returns how many labels are in it."""
        ...


def png_bytes(image: Image) -> bytes:
    """A PNG file of a rendered image (FMT-9). Raises NotAvailableError."""
    pixels, exposure = (image.pixels, exposure_of(image.experiment)) if len(image.panels) == 1 else flat_view(image)
    return png_of(Picture(pixels=pixels, exposure=exposure, title=geometry_line(exposure)), "--png")[0]


def notebook_png(image: Image) -> bytes:
    """A PNG file of a rendered image for a notebook, with whatever is installed."""
    try:
        return png_bytes(image)
    except NotAvailableError:
        return plain_png(image.pixels)


def plain_png(pixels: NDArray[np.float64]) -> bytes:
    """The pixels in greys, dark where photons are, on the logarithmic scale of draw(): a PNG file by Pillow."""
    from PIL import Image as PillowImage

    shown, _ = binned(pixels)
    brightest = float(shown.max()) or 1.0
    decades = np.log10(np.clip(shown / brightest, 10.0**-DECADES, 1.0))
    buffer = BytesIO()
    PillowImage.fromarray((decades * (-255.0 / DECADES)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def png_of(picture: Drawable, asked: str) -> tuple[bytes, int]:
    """A PNG file, and how many labels are in it; asked: by which option, for messages. Raises NotAvailableError."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise without_matplotlib(asked) from None
    figure = Figure(dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a title in letters that the font lacks
        drawn = picture.draw(figure)
        figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
    return buffer.getvalue(), drawn


def without_matplotlib(asked: str) -> NotAvailableError:
    return NotAvailableError(f"{asked}: needs matplotlib; install it with: pip install 'nbnumba[plot]'")


def windows() -> Any:
    """matplotlib's pyplot, if it can open windows. Raises NotAvailableError."""
    try:
        import matplotlib
        from matplotlib.backends import BackendFilter, backend_registry
    except ImportError:
        raise without_matplotlib("--show") from None
    try:
        from matplotlib import pyplot

        pyplot.switch_backend(matplotlib.rcParams["backend"])
        backend = matplotlib.get_backend().lower()
    except ImportError:  # the backend that the user chose, without its toolkit or without a display
        backend = ""
    if backend not in {name.lower() for name in backend_registry.list_builtin(BackendFilter.INTERACTIVE)}:
        raise NotAvailableError("--show: matplotlib finds no display, or no toolkit for windows; leave --show out, which writes a PNG file")
    return pyplot


def show(picture: Drawable, pyplot: Any) -> int:
    """Show the picture in a window until it is closed; returns how many labels are in it."""
    drawn = picture.draw(pyplot.figure(layout="constrained"))
    pyplot.show()
    return drawn
