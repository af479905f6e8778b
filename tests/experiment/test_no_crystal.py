"""Experiments of several panels without a crystal, of which a geometry is known all the same."""

from __future__ import annotations

import numpy as np
import pytest
from many_panels import sixteen

import nbnumba
from nbnumba import Crystal, Detector, Experiment, ParameterError, StructureFactors
from nbnumba.geometry.of_experiment import exposure_of

pytestmark = pytest.mark.spec("CLI-86")


def test_where_panels_are_is_known_without_a_crystal() -> None:
    panels = sixteen().panels
    experiment = Experiment(crystal=Crystal(), structure_factors=StructureFactors(default_F=1.0), detector=Detector(panels=panels))
    assert exposure_of(experiment).panels == panels
    np.testing.assert_allclose([one.frame.pix0 for one in experiment.by_panel], [panel.origin for panel in panels], atol=1e-12)
    for one in (experiment, experiment.by_panel[3]):
        with pytest.raises(ParameterError, match="no unit cell"):
            _ = one.cells
    with pytest.raises(ParameterError, match="no unit cell"):
        nbnumba.simulate(experiment)
