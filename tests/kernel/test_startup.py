"""A kernel from the cache is loaded without what numba needs to compile; one that is not there is compiled all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
import numpy as np
from numba import njit
from nbnumba.kernel.startup import cache_first

@cache_first
@njit(cache=True)
def total(a):
    work = np.empty(a.size)
    for i in range(a.size):
        work[i] = 2.0 * a[i]
    return work
"""

USE = """
import sys
import numpy as np
from kernel import total
from numba import njit

assert total(np.arange(3.0)).tolist() == [0.0, 2.0, 4.0]
print(sum(total.stats.cache_hits.values()), "numba.np.linalg" in sys.modules)
solve = njit(lambda a, b: np.linalg.solve(a, b))
assert solve(2.0 * np.eye(2), np.ones(2)).tolist() == [0.5, 0.5]
assert total(np.arange(3)).tolist() == [0.0, 2.0, 4.0]
"""


def test_what_is_in_the_cache_is_loaded_without_what_compiles(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    printed = [subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True) for _ in range(2)]
    assert [(run.stdout.split(), run.stderr) for run in printed] == [(["0", "True"], ""), (["1", "False"], "")]
