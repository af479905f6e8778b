"""What geometry refinement moves: a panel of the detector, or a group of panels as one body (GRA-22)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from nbnumba.errors import ParameterError
from nbnumba.geometry.panel_groups import group_of, middle_of, middles_of_groups
from nbnumba.gradients.variables import Variable, decided_alike

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment
    from nbnumba.experiment.panel import Panel
    from nbnumba.experiment.vectors import Array

MOTION = re.compile(r"panels\[(.*)\]\.(shift|rotation)_([xyz])")
ALL = "*"
STEPS = {"shift": 1e-4, "rotation": 3e-4}  # of differences, m and rad


@dataclass(frozen=True)
class PanelMotion(Variable):
    """One number of how panels have moved as one body: shifted by a vector, and turned about their middle by a rotation vector.

    members: numbers of the panels; reference: these panels where nothing has moved; pivot: the mean of their middles then, m; motion: shift
    or rotation; axis: which component, in the laboratory.
    """

    members: tuple[int, ...] = ()
    reference: tuple[Panel, ...] = ()
    pivot: tuple[float, ...] = (0.0, 0.0, 0.0)
    motion: str = "shift"
    axis: int = 0

    @property
    def sets(self) -> tuple[tuple[Any, ...], ...]:
        """This number of these panels."""
        return (("detector.panels", self.members, self.motion, self.axis),)

    def value(self, experiment: Experiment) -> float:
        """The component, of where the first of the panels is."""
        return float(self.pose(experiment)[self.motion][self.axis])

    def step(self, experiment: Experiment) -> float:
        """Of differences of what is linear in it, or turns with it."""
        return STEPS[self.motion]

    def pose(self, experiment: Experiment) -> dict[str, Array]:
        """shift (m) and rotation vector (rad) of the panels: v becomes pivot + shift + R (v - pivot)."""
        here, there = experiment.panels[self.members[0]], self.reference[0]
        if (here.origin, here.fast_axis, here.slow_axis) == (there.origin, there.fast_axis, there.slow_axis):
            return {"shift": np.zeros(3), "rotation": np.zeros(3)}
        turn = axes_of(here) @ np.linalg.inv(axes_of(there))
        return {
            "shift": middle_of(here) - self.pivot - turn @ (middle_of(there) - self.pivot),
            "rotation": Rotation.from_matrix(turn).as_rotvec(),
        }

    def changed(self, experiment: Experiment, value: Any) -> Experiment:
        """The experiment with the panels where this value, and the other components as they are, put them."""
        pose = self.pose(experiment)
        pose[self.motion][self.axis] = value
        turn, panels = Rotation.from_rotvec(pose["rotation"]).as_matrix(), list(experiment.panels)
        for n, there in zip(self.members, self.reference, strict=True):
            panels[n] = self.placed(panels[n], there, pose["shift"], turn)
        if not experiment.detector.panels:  # whose only panel has mask and region of the experiment
            panels = [replace(panel, mask=None, roi=None) for panel in panels]
        return decided_alike(replace(experiment, detector=replace(experiment.detector, panels=tuple(panels))), experiment)

    def placed(self, panel: Panel, there: Panel, shift: Array, turn: Array) -> Panel:
        """A panel where its reference is put."""
        origin = self.pivot + shift + turn @ (np.array(there.origin) - self.pivot)
        fast, slow = turn @ there.fast_axis, turn @ there.slow_axis
        return replace(panel, origin=tuple(origin.tolist()), fast_axis=tuple(fast.tolist()), slow_axis=tuple(slow.tolist()))

    def of_panel(self, n: int) -> PanelMotion | None:
        """The same for an experiment of the n-th panel alone; None if that is not one of these."""
        return replace(self, members=(0,), reference=(self.reference[self.members.index(n)],)) if n in self.members else None


def axes_of(panel: Panel) -> Array:
    """Columns: fast and slow axis, and what is at right angles to them."""
    return np.array([panel.fast_axis, panel.slow_axis, np.cross(panel.fast_axis, panel.slow_axis)]).T


def motion_of(experiment: Experiment, name: str) -> PanelMotion | None:
    """By ``panels[WHICH].shift_x``, WHICH a panel's name or number, a group, or * for all; None for another name. Raises ParameterError."""
    match = MOTION.fullmatch(name)
    if not match:
        return None
    which, motion, axis = match.groups()
    members = members_of(experiment.panels, which)
    if not members:
        raise ParameterError(
            "parameters", f"{name!r}: no panel and no group of panels is called {which!r}; {known(experiment.panels, which)}"
        )
    pivot = np.mean([middle_of(experiment.panels[n]) for n in members], axis=0)
    unit = "m" if motion == "shift" else "rad"
    reference = tuple(replace(experiment.panels[n], mask=None, roi=None) for n in members)
    return PanelMotion(name, "detector", "panels", None, unit, members, reference, tuple(pivot.tolist()), motion, "xyz".index(axis))


def members_of(panels: Sequence[Panel], which: str) -> tuple[int, ...]:
    """Numbers of the panels of this name, alone or after its groups, else of this group, else of this number."""
    numbered = range(len(panels))
    if which == ALL:
        return tuple(numbered)
    called = tuple(n for n in numbered if which in (panels[n].name, f"{group_of(panels[n])}/{panels[n].name}"))
    grouped = tuple(n for n in numbered if f"{group_of(panels[n])}/".startswith(f"{which}/"))
    counted = (int(which),) if which.isdecimal() and int(which) in numbered else ()
    return (called or grouped or counted) if which else ()


def known(panels: Sequence[Panel], which: str) -> str:
    """What there is, for a message."""
    groups = [group for group in middles_of_groups(panels) if group]
    names = [*groups, *dict.fromkeys(panel.name for panel in panels if panel.name)]
    near = difflib.get_close_matches(which, names, 3) or names[:3]
    return ", ".join([f"there are numbers from 0 to {len(panels) - 1}", f"{ALL} for all", *near])
