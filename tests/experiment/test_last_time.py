"""What follows from parts that stay the same is worked out once for a series, and never taken from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nbnumba

BASE = "-default_F 100 -cell 60 70 80 -lambda 1 -distance 60 -pixel 1 -detpixels 24 -N 4"


@pytest.mark.spec("DEV-4")
def test_parts_that_stay_the_same_are_resolved_once() -> None:
    experiment = nbnumba.experiment_from_options(BASE)
    turned = replace(experiment, crystal=replace(experiment.crystal, misset=(0.1, 0.0, 0.0)))
    assert turned.frame is experiment.frame
    assert turned.source_list is experiment.source_list
    assert turned.unit_cell is not experiment.unit_cell


@pytest.mark.spec("DEV-4")
def test_parts_that_change_are_resolved_anew() -> None:
    experiment = nbnumba.experiment_from_options(BASE)
    far = replace(experiment, detector=replace(experiment.detector, distance=0.09))
    assert (experiment.frame.distance, far.frame.distance) == (pytest.approx(0.06), pytest.approx(0.09))
    red = replace(experiment, beam=replace(experiment.beam, wavelength=2e-10))
    assert red.source_list.wavelength == pytest.approx([2e-10])
    assert experiment.source_list.wavelength == pytest.approx([1e-10])


@pytest.mark.spec("DEV-4")
def test_what_is_given_instead_is_neither_remembered_nor_passed_over() -> None:
    experiment = nbnumba.experiment_from_options(BASE)
    swung = {**experiment.axes, "incident": np.array([np.sqrt(0.75), 0.5, 0.0])}
    given = experiment.taking(axes=swung)
    assert given.frame.incident == pytest.approx(swung["incident"])
    assert replace(experiment).frame.incident == pytest.approx(experiment.axes["incident"])
