"""Make numba ready for what is asked of it, and no more.

Before numba looks whether a kernel is in its cache, it registers all functions that it can compile, and imports scipy.linalg to see
whether BLAS is there. Only a kernel that is not in the cache needs the first, only one that multiplies matrices the second. Without
them a short run takes half the time.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

# What of numba's own names is used here; without them kernels load as numba does it.
NEEDED = ("_load_overload", "_guard_against_spurious_io_errors")


class CacheFirst(FunctionCache):  # type: ignore[misc]
    """Numba's disk cache, looked into before numba is made ready to compile."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What is in the cache for a signature; None if nothing is, whereupon numba compiles and makes itself ready for that."""
        found = None
        rtsys.initialize(target_context)  # kernels call numba's runtime
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
        if found is None:
            defer_blas()
        return found


def cache_first(dispatcher: Any) -> Any:
    """A function jitted with ``cache=True``, which numba loads from its cache before it does anything else."""
    if isinstance(getattr(dispatcher, "_cache", None), FunctionCache) and all(hasattr(FunctionCache, name) for name in NEEDED):
        dispatcher._cache = CacheFirst(dispatcher.py_func)
    return dispatcher


def defer_blas() -> None:
    """Load numba's array functions with the question about BLAS put off: what multiplies matrices asks again."""
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
