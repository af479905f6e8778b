"""Images in PyTorch, where that is installed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

import nbnumba
from nbnumba.errors import NotAvailableError
from nbnumba.gradients.losses import least_squares

OPTIONS = (
    "-default_F 100 -cell 70 80 90 85 95 100 -misset 10 20 30 -lambda 1.5 -N 5 -distance 60 -pixel 1 -detpixels 20 -oversample 1 "
    "-Xbeam 10.3 -Ybeam 9.6 -fluence 1e24 -polar 0.5"
)


@pytest.mark.spec("GRA-7")
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_gradients_flow_through_an_image() -> None:
    import torch

    from nbnumba.gradients.torch import render

    experiment, names = nbnumba.experiment_from_options(OPTIONS), ["cell_a", "misset_x", "scale"]
    values = torch.tensor([70e-10, 0.2, 1.5], dtype=torch.float64, requires_grad=True)
    image = render(experiment, names, values)
    ((image - 1.0) ** 2).sum().mul(0.5).backward()
    from nbnumba.gradients.parameters import with_values

    there = with_values(experiment, dict(zip(names, [70e-10, 0.2, 1.5], strict=True)))
    value, gradient = nbnumba.value_and_grad(there, ["cell_a", "misset_x"], least_squares(1.0))
    assert image.detach().numpy() == pytest.approx(nbnumba.simulate(there).pixels)
    assert 0.5 * float(((image.detach() - 1.0) ** 2).sum()) == pytest.approx(value)
    assert values.grad[:2].numpy() == pytest.approx(gradient, rel=1e-9)
    residual = nbnumba.simulate(there).pixels - 1.0
    assert float(values.grad[2]) == pytest.approx(float((residual * (residual + 1.0)).sum()) / 1.5, rel=1e-9)
    assert np.isfinite(values.grad.numpy()).all()


@pytest.mark.spec("GRA-7")
def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "nbnumba.gradients.torch", raising=False)
    with pytest.raises(NotAvailableError, match="torch: is not installed; pip install torch"):
        import_module("nbnumba.gradients.torch")
