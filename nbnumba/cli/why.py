"""Why two sides of a comparison differ: quirk switches, by trying them, and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbnumba.cli.sides import Images, OptionSet, Side, StoredImage
from nbnumba.cli.terminal import say

if TYPE_CHECKING:
    from nbnumba.simulation.simulator import Simulator


def explanation(a: Side, b: Side, own: OptionSet | None, images: Images, simulator: Simulator) -> dict[str, Any]:
    """Which switches would make the images agree; own: options of the command line where they are neither side."""
    import numpy as np

    from nbnumba.compare.settings import differing_settings
    from nbnumba.compare.switches import Trials, explain, in_words

    if any(isinstance(side, StoredImage) and side.holds_counts for side in (a, b)):
        return untried("switches are not tried on counts: compare the float images")
    if isinstance(a, OptionSet):
        side, other, target, name = a, b, images.b, "A"
    elif isinstance(b, OptionSet):
        side, other, target, name = b, a, images.a, "B"
    elif own is None:
        return untried("to try quirk switches, give the options of one of the images")
    elif (n := rendered_by(own, images, simulator)) is None:
        return untried("the options render neither of the images, so that no switches are tried")
    else:
        side, other, target, name = own, (b, a)[n], (images.b, images.a)[n], "AB"[n]
    told = other if isinstance(other, OptionSet) else None
    trials = Trials(lambda switches: side.image(simulator, switches=switches).pixels, target, say)
    found = explain(trials, side.switches(told), float(np.sqrt(np.square(images.a - images.b).mean())))
    settings = differing_settings(side.experiment(), told.experiment()) if told else {}
    return {"text": in_words(found, settings, name), **found, "settings": settings}


def rendered_by(own: OptionSet, images: Images, simulator: Simulator) -> int | None:
    """Which of the images the options render."""
    from nbnumba.compare.images import agree

    pixels = own.image(simulator).pixels
    return next((n for n, image in enumerate((images.a, images.b)) if pixels.shape == image.shape and agree(pixels, image)), None)


def untried(reason: str) -> dict[str, Any]:
    return {"text": reason, "switches": {}}
