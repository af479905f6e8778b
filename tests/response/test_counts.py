"""One rule from photons to counts."""

import numpy as np
import pytest

from nbnumba.formats.cbf import CBF
from nbnumba.formats.smv import SMV
from nbnumba.formats.write import fitted
from nbnumba.response.counts import INT32, UINT8, UINT16, rounded, whole

HALVES = np.array([0.0, 0.49, 0.5, 1.5, 2.5, 65534.5, 65535.4, 65535.6, -0.4, -3.0, 1e300])


@pytest.mark.spec("FMT-71", "FMT-5")
def test_halves_are_rounded_up_and_limits_cut_off() -> None:
    expected = [0, 0, 1, 2, 3, 65535, 65535, 65535, 0, 0, 65535]
    np.testing.assert_array_equal(rounded(HALVES, UINT16), expected)
    np.testing.assert_array_equal(rounded(HALVES[:9], INT32.simulated), [0, 0, 1, 2, 3, 65535, 65535, 65536, 0])
    np.testing.assert_array_equal(rounded(np.array([-1.0, -0.5, -1.51, 3e9, -3e9]), INT32), [-1, 0, -2, 2**31 - 1, -(2**31)])


@pytest.mark.spec("FMT-71")
def test_sixteen_bits_are_a_sum_of_float32() -> None:
    """3.49999999 + 1/2 is 4 there."""
    near = np.array([3.49999999])
    assert rounded(near, UINT16).tolist() == [4]
    assert rounded(near, INT32).tolist() == [3]


@pytest.mark.spec("FMT-71")
def test_fractions_of_noise_are_dropped() -> None:
    np.testing.assert_array_equal(whole(np.array([40.9, 300.0, -0.1, -5.0]), UINT8), [40, 255, 0, 0])
    assert whole(np.array([2**63 + 5], np.uint64), INT32).tolist() == [2**31 - 1]
    assert whole(np.array([True, False]), UINT16).tolist() == [1, 0]


@pytest.mark.spec("FMT-71", "FMT-24")
@pytest.mark.parametrize("kind", [SMV, CBF])
def test_converted_photons_are_rounded_by_the_same_rule(kind) -> None:
    held, cut = fitted(HALVES, kind)
    np.testing.assert_array_equal(held, rounded(HALVES, kind.counts))
    assert cut == (3 if kind is SMV else 1)  # 65535.6, -3 and 1e300; 1e300
