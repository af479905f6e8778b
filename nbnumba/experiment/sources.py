"""Where the beam comes from: divergence, dispersion, or a list of sources."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nbnumba.errors import ParameterError
from nbnumba.experiment.part import Limits, Part, described, flag, quantity, shown

if TYPE_CHECKING:
    import numpy as np

    from nbnumba.experiment.divergence import Divergence

MOST_STEPS = 100_000
FARTHEST = 1e12  # m, of a source from the crystal
FAINTEST = 1e-100  # least weight of a source that has one


class Grid(NamedTuple):
    """Evenly spaced values from -span / 2 on."""

    span: float
    step: float
    steps: int


@described
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sources(Part):
    """Points that the beam comes from, and their wavelengths.

    A grid over divergence and dispersion, or a list: positions (n, 3) in m from the crystal, weights (n,), wavelengths (n,) in m;
    NaN in a list stands for the beam's own direction, weight 1, the beam's own wavelength.
    """

    horizontal_range: float | None = quantity(None, "rad", "divergence in the plane of polarization", Limits(0.0, math.pi))
    horizontal_step: float | None = quantity(None, "rad", "angle between sources in that plane", Limits(0.0, math.pi))
    horizontal_steps: int | None = quantity(None, "", "number of sources in that plane", Limits(0, MOST_STEPS), whole=True)
    vertical_range: float | None = quantity(None, "rad", "divergence across the plane of polarization", Limits(0.0, math.pi))
    vertical_step: float | None = quantity(None, "rad", "angle between sources across that plane", Limits(0.0, math.pi))
    vertical_steps: int | None = quantity(None, "", "number of sources across that plane", Limits(0, MOST_STEPS), whole=True)
    round: bool = flag(True, "leave out the corners of the divergence grid")
    dispersion: float = quantity(0.0, "", "width of the spectrum, as a fraction of the wavelength", Limits(0.0, 2.0, open_high=True))
    dispersion_steps: int | None = quantity(None, "", "number of wavelengths in the spectrum", Limits(0, MOST_STEPS), whole=True)
    positions: np.ndarray | None = field(default=None, metadata={"unit": "m", "meaning": "positions of listed sources, (n, 3)"})
    weights: np.ndarray | None = field(default=None, metadata={"unit": "", "meaning": "weights of listed sources, (n,)"})
    wavelengths: np.ndarray | None = field(default=None, metadata={"unit": "m", "meaning": "wavelengths of listed sources, (n,)"})
    path: Path | None = field(default=None, metadata={"unit": "", "meaning": "file that the list comes from"})
    divergence: Divergence | None = field(default=None, metadata={"unit": "", "meaning": "of directions, in place of the divergence grid"})
    divergence_steps: int | None = quantity(
        None,
        "",
        "cells along each axis that the divergence is sampled in; 0: as many as spots need; not given: its directions, one by one",
        Limits(0, MOST_STEPS),
        whole=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {name: getattr(self, name) for name in ("positions", "weights", "wavelengths")}
        if any(v is not None for v in given.values()):
            if any(v is None for v in given.values()):
                raise ParameterError(self.where("positions"), "positions, weights and wavelengths have to be given together")
            self._check_list(**given)
        if self.divergence is not None:
            self._check_divergence()

    def _check_divergence(self) -> None:
        """It takes the place of the grid, and there is no list."""
        if not hasattr(self.divergence, "angles"):
            raise ParameterError(self.where("divergence"), f"{shown(self.divergence)} is not a Divergence")
        if self.positions is not None:
            raise ParameterError(self.where("divergence"), "listed sources have directions of their own; leave one of them out")
        for axis in ("horizontal", "vertical"):
            if any(getattr(self, f"{axis}_{name}") is not None for name in ("range", "step", "steps")):
                raise ParameterError(self.where("divergence"), f"and a {axis} grid of sources are given; leave one of them out")

    def _check_list(self, positions: np.ndarray, weights: np.ndarray, wavelengths: np.ndarray) -> None:
        import numpy as np

        try:
            arrays = [np.array(v, dtype=np.float64) for v in (positions, weights, wavelengths)]
        except (TypeError, ValueError, OverflowError):
            raise ParameterError(self.where("positions"), "positions, weights and wavelengths must be arrays of numbers") from None
        places, brightness, lengths = arrays
        if places.ndim != 2 or places.shape[1] != 3 or not len(places) or not (brightness.shape == lengths.shape == places.shape[:1]):
            shapes = ", ".join(str(v.shape) for v in arrays)
            raise ParameterError(self.where("positions"), f"needs positions (n, 3), weights (n,) and wavelengths (n,); got {shapes}")
        if (np.abs(places) > FARTHEST).any():
            raise ParameterError(
                self.where("positions"), f"must be at most {FARTHEST:g} m from the crystal, or NaN where the beam's own are meant"
            )
        if not ((np.isnan(lengths)) | ((lengths >= 1e-14) & (lengths <= 1e-6))).all():
            raise ParameterError(self.where("wavelengths"), "must be between 1e-14 and 1e-6 m, or NaN where the beam's own is meant")
        known = np.where(np.isnan(brightness), 1.0, brightness)
        if not ((known == 0.0) | ((known >= FAINTEST) & (known <= 1.0 / FAINTEST))).all() or not known.any():
            raise ParameterError(self.where("weights"), f"must be 0 or between {FAINTEST:g} and {1.0 / FAINTEST:g}, and not all of them 0")
        for name, array in zip(("positions", "weights", "wavelengths"), arrays, strict=True):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def horizontal(self) -> Grid:
        """Divergence in the plane of polarization (EXP-13)."""
        return angular_grid(self.horizontal_range, self.horizontal_step, self.horizontal_steps)

    @property
    def vertical(self) -> Grid:
        """Divergence across the plane of polarization (EXP-13)."""
        return angular_grid(self.vertical_range, self.vertical_step, self.vertical_steps)

    @property
    def dispersion_grid(self) -> Grid:
        """Dispersion (EXP-13)."""
        return angular_grid(self.dispersion, None, self.dispersion_steps)


def angular_grid(span: float | None, step: float | None, steps: int | None) -> Grid:
    """What is not given follows from what is; nothing given, or a zero, is a single value (EXP-13)."""
    step = step or None
    if span is None and step is None:
        span, step, steps = (1.0, 1.0 / steps, steps) if steps else (0.0, 0.0, 1)
    elif span is None:
        span, steps = step, 2
    elif step is None:
        steps = max(steps or 2, 2)
        step = span / (steps - 1)
    elif not steps:
        steps = math.ceil(min(span / step, 2.0 * MOST_STEPS))
    assert span is not None
    assert step is not None
    assert steps is not None
    if steps > MOST_STEPS:
        raise ParameterError("sources", f"a step of {step:g} rad divides {span:g} rad into more than {MOST_STEPS} sources")
    return Grid(span, step, steps) if span > 0.0 and step > 0.0 and steps > 0 else Grid(0.0, 0.0, 1)
