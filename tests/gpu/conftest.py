"""Blocks of the GPU's kernels where numba's simulator runs them."""

from __future__ import annotations

import numba
import pytest

FEW = 16


@pytest.fixture(autouse=True)
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator asks each thread of a block over and over whether it waits: a few take a fraction of the time. Slow tests have all."""
    if not numba.config.ENABLE_CUDASIM or request.node.get_closest_marker("slow"):
        return
    from nbnumba.kernel.gpu import adjoint, device, render

    for module in (render, adjoint, device):
        for name in {"THREADS", "TILE"} & vars(module).keys():
            monkeypatch.setattr(module, name, FEW)
