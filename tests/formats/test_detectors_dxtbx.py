"""What dxtbx makes of files of detectors that have a name: pixels, gaps, trusted range, sensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, read_all_with_dxtbx

import nbnumba
from nbnumba import Image
from nbnumba.geometry.catalogue import detector_by_name
from nbnumba.geometry.sensor import attenuation_length

NAMES = (
    *("pilatus-300k", "pilatus-1m", "pilatus3-300k", "pilatus3-1m", "pilatus4-1m", "eiger-1m", "eiger2-1m", "timepix", "lambda-250k"),
    *("lambda-750k", "rayonix-mx225", "marccd-165"),
)
OPTIONS = "-lambda 0.9795 -distance 150 -default_F 1 -cell 50 50 50 90 90 90 -N 2"


@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
@pytest.mark.spec("DET-3", "DET-6", "DET-8")
def test_dxtbx_finds_the_detector(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}_0001{ending}" for name in NAMES for ending in (".cbf", ".nxs")]
    for path in paths:
        experiment = nbnumba.experiment_from_options(f"--detector {path.stem.removesuffix('_0001')} {OPTIONS}")
        Image(pixels=np.zeros(experiment.detector.shape), experiment=experiment, provenance={}).save(path)
    for path, found in zip(paths, read_all_with_dxtbx(paths), strict=True):
        known = detector_by_name(path.stem.removesuffix("_0001"))
        (panel,), (there,), sensor = known.panels, found["panels"], known.sensor
        slow, fast = panel.shape
        assert there["image_size"] == [fast, slow]
        np.testing.assert_allclose(there["pixel_size"], [panel.pixel_size * 1e3] * 2, rtol=1e-6)
        assert found["masked"] == [0 if panel.mask is None else np.count_nonzero(~panel.mask)], path.name
        assert found["wavelength"] == pytest.approx(0.9795, rel=1e-6)
        assert there["thickness"] == pytest.approx(sensor.thickness * 1e3, rel=1e-6, abs=1e-5)
        if (largest := known.counting.largest_count(0.9795e-10)) is not None:
            assert there["trusted_range"][1] == largest
        if sensor.thickness:
            assert there["material"] == sensor.material
            assert there["mu"] * 1e3 * attenuation_length(sensor.material, 0.9795e-10) == pytest.approx(1.0, abs=2e-3)
