"""A detector of sixteen modules for tests: tilted, with gaps between them, in quadrants of two groups each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from nbnumba import Panel
from nbnumba.geometry.exposure import Exposure

ROWS, COLUMNS = 4, 4
GAP = 0.15  # of a module's edge
BEAM = Exposure(
    shape=(1, 1), pixel_size=1e-4, origin=(0.0, 0.0, -0.1), wavelength=1e-10, polarization_axis=(1.0, 0.0, 0.0), polarization_fraction=0.998
)
# A detector of so many rows of two modules, as a file of the user's has it.
MODULES = """
[modules]
one_panel = false
pixel_size = 1e-3
slow_pixels = 10
fast_pixels = 12
rows = {rows}
columns = 2
slow_gap = 3
fast_gap = 4
"""


def sixteen(shape: tuple[int, int] = (10, 12), pixel: float = 1e-4, distance: float = 0.1, tilt: float = 0.05, **more: Any) -> Exposure:
    """In imgCIF's laboratory; more: of the exposure. tilt: of a module, in rad, about an axis of its own."""
    rng = np.random.default_rng(18)
    first, *others = (
        module(row, column, shape, pixel, distance, Rotation.from_rotvec(tilt * rng.normal(size=3)).as_matrix())
        for row in range(ROWS)
        for column in range(COLUMNS)
    )
    return replace(BEAM.of_panel(first), panels=(first, *others), **more)


def module(row: int, column: int, shape: tuple[int, int], pixel: float, distance: float, turn: np.ndarray) -> Panel:
    slow, fast = shape
    step = pixel * (1.0 + GAP) * np.array([fast, -slow])
    middle = np.array([*step * (column - (COLUMNS - 1) / 2.0, row - (ROWS - 1) / 2.0), -distance])
    fast_axis, slow_axis = turn @ (1.0, 0.0, 0.0), turn @ (0.0, -1.0, 0.0)
    return Panel(
        origin=tuple(middle - pixel / 2.0 * (fast * fast_axis + slow * slow_axis)),
        fast_axis=tuple(fast_axis),
        slow_axis=tuple(slow_axis),
        pixel_size=pixel,
        fast_pixels=fast,
        slow_pixels=slow,
        sensor_thickness=4.5e-4,
        sensor_attenuation=3e-4,
        sensor_material="Si",
        name=f"r{row}c{column}",
        group=f"quadrant{row // 2}{column // 2}/half{row % 2}",
    )


def assert_in_place(found: Panel, expected: Panel, close: float = 1e-12) -> None:
    """The same pixels in the same places."""
    assert found.shape == expected.shape
    assert abs(found.pixel_size / expected.pixel_size - 1.0) <= close
    np.testing.assert_allclose(found.origin, expected.origin, rtol=0.0, atol=close)
    np.testing.assert_allclose([found.fast_axis, found.slow_axis], [expected.fast_axis, expected.slow_axis], rtol=0.0, atol=close)
