"""Panels that one launch of a kernel renders: where they are as a table, and the parameters of the geometry of one of them out of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.kernel.product import made

if TYPE_CHECKING:
    from nbnumba.kernel.device import Area, Physics


class Panels(NamedTuple):
    """What panels that are rendered together differ by: their geometry's parameters, and which pixels of theirs are wanted."""

    geometry: tuple[Any, ...]
    areas: tuple[Area, ...]

    @property
    def pixels(self) -> int:
        """How many are wanted."""
        return sum(area.pixels for area in self.areas)


class PanelTable(NamedTuple):
    """The parameters of the geometry of every panel, (panels, fields); never without a column, since there are no empty arrays on a GPU."""

    numbers: NDArray[np.float64]
    wholes: NDArray[np.int64]


class PanelTables:
    """What with_panels() made last, for as long as the same is asked for: a series of images of one scene needs it once."""

    def __init__(self) -> None:
        self._last: tuple[Physics, Sequence[Any], Physics] | None = None

    def of(self, physics: Physics, geometry: Sequence[Any]) -> Physics:
        """The same as with_panels()."""
        if self._last is None or self._last[0] is not physics or self._last[1] is not geometry:
            self._last = physics, geometry, with_panels(physics, geometry)
        return self._last[2]


def with_panels(physics: Physics, geometry: Sequence[Any]) -> Physics:
    """The same with the geometry of all panels as a table, and what takes one of them out of it.

    Where a field is no number, there is one panel, whose parameters stay as they are.
    """
    first = geometry[0]
    if not fits_a_table(first):
        return replace(physics, parameters={**physics.parameters, "geometry": first}, bind={**physics.bind, "of_panel": itself})
    whole = whole_fields(first)
    rows = np.array([tuple(parameters) for parameters in geometry], np.float64)
    wholes = np.array([[value for value, is_whole in zip(parameters, whole, strict=True) if is_whole] for parameters in geometry])
    table = PanelTable(with_a_column(rows[:, ~np.array(whole)], np.float64), with_a_column(wholes, np.int64))
    bind = {**physics.bind, "of_panel": taker(type(first), whole)}  # type: ignore[arg-type]
    return replace(physics, parameters={**physics.parameters, "geometry": table}, bind=bind)


def fits_a_table(parameters: Any) -> bool:
    """Whether every field is a number."""
    return all(issubclass(kind, int | float | np.integer | np.floating) for kind in set(map(type, parameters)))


def whole_fields(parameters: Any) -> tuple[bool, ...]:
    """Of every field whether it is a whole number."""
    return tuple(isinstance(value, int | np.integer) for value in parameters)


def with_a_column(rows: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The same, with zeros if there is none."""
    return np.ascontiguousarray(rows, dtype) if rows.shape[1] else np.zeros((len(rows), 1), dtype)


@lru_cache(maxsize=64)
def taker(fields: Callable[..., Any], whole: tuple[bool, ...]) -> Callable[..., Any]:
    """of_panel(table, panel), the NamedTuple of a panel; whole: which of its fields are whole numbers."""
    at = {True: count(), False: count()}
    columns = [f"table.{'wholes' if is_whole else 'numbers'}[panel, {next(at[is_whole])}]" for is_whole in whole]
    return made(f"def of_panel(table, panel):\n    return Fields({', '.join(columns)})", {"Fields": fields})


def itself(table: Any, panel: int) -> Any:
    """of_panel() of what is no table."""
    return table
