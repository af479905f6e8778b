"""The gate that an image has to pass to count as nanoBragg's."""

from __future__ import annotations

import numpy as np
import pytest

TOLERANCE = 1e-6
EDGE_PIXELS = 1e-4  # of a top-hat image that may fall on the other side of a spot's edge


def assert_passes_gate(found: np.ndarray, expected: np.ndarray, tophat: bool = False) -> None:
    """Pixels within 1e-6 of the maximum, sums within 1e-6, correlation 1 - 1e-9."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    off = np.abs(found - expected) > TOLERANCE * expected.max()
    assert off.sum() <= (EDGE_PIXELS * off.size if tophat else 0), f"{off.sum()} pixels, first at {np.argwhere(off)[0]}"
    found = np.where(off, expected, found)
    assert found.sum() == pytest.approx(expected.sum(), rel=TOLERANCE, abs=0.0)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= 1.0 - 1e-9
