"""Import numba without what it does not need yet.

When its first function is loaded, numba imports scipy.linalg to see whether BLAS is there: 0.1 s, a fifth of a short run. The
answer is only needed once something multiplies matrices, which then asks again.
"""

from __future__ import annotations

import sys
from contextlib import suppress


def defer_blas() -> None:
    """Load numba's array functions with the question put off."""
    if "numba.np.arraymath" in sys.modules:
        return
    with suppress(ImportError, AttributeError):
        from numba.np import linalg

        ask = linalg.ensure_blas
        linalg.ensure_blas = lambda: None
        try:
            import numba.np.arraymath  # noqa: F401
        finally:
            linalg.ensure_blas = ask
