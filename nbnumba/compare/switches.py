"""Which quirk switches explain that two images differ: by trying them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.compare.images import agree

Pixels = NDArray[np.float64]
Switches = Mapping[str, bool]  # quirk -> whether it is followed


@dataclass
class Trials:
    """Renders one side with switches set otherwise, and keeps how far from the other side that is.

    render(switches): the image with these switches instead of its own; progress(text): what is being tried.
    """

    render: Callable[[Switches], Pixels]
    target: Pixels
    progress: Callable[[str], None] = lambda what: None
    left: dict[frozenset[tuple[str, bool]], float] = field(default_factory=dict)
    explaining: set[frozenset[tuple[str, bool]]] = field(default_factory=set)

    def distance(self, switches: Switches) -> float:
        """Root mean square difference that is left with these switches."""
        key = frozenset(switches.items())
        if key not in self.left:
            self.progress("trying " + " ".join(f"--quirk {name}={on_off(value)}" for name, value in switches.items()))
            pixels = self.render(switches)
            self.left[key] = float(np.sqrt(np.square(pixels - self.target).mean()))
            if agree(pixels, self.target):
                self.explaining.add(key)
        return self.left[key]

    def explains(self, switches: Switches) -> bool:
        """Whether the images agree with these switches."""
        self.distance(switches)
        return frozenset(switches.items()) in self.explaining


def explain(trials: Trials, candidates: Switches, before: float) -> dict[str, Any]:
    """The fewest switches found that make the images agree, and every single one that does; for JSON.

    candidates: what each switch would be set to; before: root mean square difference without any. One switch at a time; if none is
    enough, the one that helps most is kept and the others are tried with it, and so on; at last what is not needed is left out.
    """
    singles = [name for name in candidates if trials.explains({name: candidates[name]})]
    chosen: dict[str, bool] = {singles[0]: candidates[singles[0]]} if singles else {}
    reached = before
    while not singles and not (chosen and trials.explains(chosen)):
        more = {name: trials.distance({**chosen, name: value}) for name, value in candidates.items() if name not in chosen}
        best = min(more, key=lambda name: more[name], default="")
        if not best or not more[best] < reached:
            chosen = {}
            break
        chosen[best], reached = candidates[best], more[best]
    for name in list(chosen):
        fewer = {n: v for n, v in chosen.items() if n != name}
        if fewer and trials.explains(fewer):
            chosen = fewer
    return {
        "switches": chosen,
        "alone_enough": singles,
        "tried": {name: {"set_to": value, "rmse_left": trials.distance({name: value})} for name, value in candidates.items()},
    }


def in_words(found: Mapping[str, Any], settings: Mapping[str, Any], side: str) -> str:
    """What was found in a line; settings: those in which the sides differ; side: the one that was rendered with other switches."""
    switches = " ".join(f"--quirk {name}={on_off(value)}" for name, value in found["switches"].items())
    if not switches:
        tried = f"no quirk switch explains the difference; tried: {', '.join(found['tried'])}"
        others = [f"{name} ({a}, {b})" for name, (a, b) in settings.items()]
        none = "no quirk is at work here that could explain the difference"
        return (tried if found["tried"] else none) + (f"; settings differ: {', '.join(others)}" if others else "")
    if len(found["switches"]) > 1:
        return f"the difference is explained by these switches of {side} together: {switches}"
    if len(found["alone_enough"]) > 1:
        return f"each of these switches of {side} alone explains the difference: {', '.join(found['alone_enough'])}"
    return f"the one switch that explains the difference: {switches} for {side}"


def on_off(value: bool) -> str:
    return "on" if value else "off"
