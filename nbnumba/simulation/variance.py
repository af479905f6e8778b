"""What a chain of responses makes of the noise of an image (CLI-124)."""

from __future__ import annotations

import numpy as np

from nbnumba.experiment.vectors import Array
from nbnumba.image.image import Block
from nbnumba.response.chain import Prepared, responded
from nbnumba.response.counts import INT32
from nbnumba.response.readout import Frame, Readout

EDGE, MARGIN, BOX = 256, 32, 4  # pixels of the flat images that responses are tried on, of their margins, of squares that are added up
LEVELS = (0.0, *10.0 ** np.linspace(-2.0, 7.0, 55))  # photons of a pixel, so close that a line between them is good for a square
UNKNOWN = 1e200
OFFSET = 1000.0  # counts, so that nothing is cut off at 0, and little where counts end


class Variance:
    """What a chain of responses makes of the variance of flat images, tried on some: in photons, added up over squares of pixels."""

    def __init__(self, stages: Prepared) -> None:
        tried = [squares(stages, level) for level in LEVELS]
        means, levels = np.array([found.mean() for found in tried]), np.array(LEVELS)
        slopes, one = np.gradient(means, levels), int(np.searchsorted(levels, 1.0))
        slopes[:one] = (means[one] - means[0]) / levels[one]  # of fewer photons too few are counted to tell
        variances = np.array([found.var() for found in tried]) * BOX**2 / np.maximum(slopes, 1e-9) ** 2
        self._variances = np.where(slopes > 1e-3 * slopes[0], variances, UNKNOWN)  # where counts end, photons are not measured

    def of(self, photons: Array) -> Array:
        """Of pixels of so many photons."""
        return np.asarray(np.interp(photons, LEVELS, self._variances))


def squares(stages: Prepared, level: float) -> Array:
    """Mean counts of squares of pixels of a flat image; of those that have counts in every pixel."""
    values = np.full((EDGE, EDGE), level)
    everything = np.s_[0:EDGE, 0:EDGE]
    frame = Frame(Readout(1, 1.0, OFFSET, 1, INT32), Block(everything[0], values, everything))
    counts = np.vstack([found for _, found in responded(stages, frame)])[MARGIN:-MARGIN, MARGIN:-MARGIN]
    means = counts.reshape(-1, BOX, counts.shape[1] // BOX, BOX).mean(axis=(1, 3))
    return np.asarray(means[np.isfinite(means)], np.float64)
