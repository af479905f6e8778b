"""Images of a crystal that is turned: a module of its own, so that other processes can import it."""

from __future__ import annotations

import nbnumba

OPTIONS = "-default_F 10 -cell 50 60 70 -lambda 1 -distance 100 -N 3 -detpixels 16 -oversample 1 -mosaic 0.5 -mosaic_dom 3"


def total(turn: int) -> float:
    """The sum of an image's pixels, the crystal turned by so many degrees."""
    experiment = nbnumba.experiment_from_options(f"{OPTIONS} -misset {turn} 0 0")
    return float(nbnumba.simulate(experiment, threads=2).pixels.sum())
