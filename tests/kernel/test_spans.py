"""Spans cover every pixel to render, once, in scan order."""

from __future__ import annotations

import numpy as np
import pytest

from nbnumba.kernel.cpu.spans import LONGEST, isolate, make_spans, unmasked


def pixels(spans: np.ndarray) -> list[tuple[int, int]]:
    return [(slow, fast) for slow, begin, end in spans for fast in range(begin, end)]


@pytest.mark.spec("EXP-12", "SCA-7")
@pytest.mark.parametrize("roi", [(0, 9, 0, 4), (3, 3, 2, 2), (0, 2462, 5, 6), (0, LONGEST - 1, 0, 0), (0, LONGEST, 0, 0)])
def test_a_region_is_covered_once_in_scan_order(roi: tuple[int, int, int, int]) -> None:
    spans = make_spans(roi, None)
    assert pixels(spans) == [(s, f) for s in range(roi[2], roi[3] + 1) for f in range(roi[0], roi[1] + 1)]
    assert (spans[:, 2] - spans[:, 1]).max() <= LONGEST


def test_a_mask_is_covered_with_short_gaps_filled_and_none_at_the_ends() -> None:
    mask = np.zeros((3, 1000), bool)
    mask[1, [10, 20, 500]] = True
    spans = make_spans((0, 999, 0, 2), mask)
    assert spans.tolist() == [[1, 10, 21], [1, 500, 501]]
    assert pixels(unmasked(spans, mask)) == [(1, 10), (1, 20), (1, 500)]


def test_an_empty_mask_has_no_spans() -> None:
    assert make_spans((0, 9, 0, 9), np.zeros((10, 10), bool)).shape == (0, 3)


@pytest.mark.parametrize("fast", [0, 4, 9])
def test_isolating_a_pixel_changes_nothing_but_the_cuts(fast: int) -> None:
    spans = make_spans((0, 9, 0, 2), None)
    isolated = isolate(spans, 1, fast)
    assert pixels(isolated) == pixels(spans)
    assert [1, fast, fast + 1] in isolated.tolist()
