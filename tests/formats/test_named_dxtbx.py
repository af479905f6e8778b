"""What dxtbx makes of stills and sweeps of detectors that have a name: panels, gaps, trusted range, sensor, wavelength, scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, mask_sum, read_all_with_dxtbx

import nbnumba
from nbnumba import Experiment, Panel
from nbnumba.cli.main import main
from nbnumba.geometry.catalogue import detector_by_name

OTHERS = ("pilatus-6m", "pilatus4-4m", "eiger2-16m", "rayonix-mx340", "marccd-165", "adsc-q315", "cspad", "epix10k-2m", "jungfrau-4m")
QUICK = ("agipd-1m", "eiger2-1m", "timepix")  # many panels; one with gaps; one without
OF_MAKER = {"pilatus": ".cbf", "eiger": ".cbf", "rayonix": ".img", "adsc": ".img"}
OPTIONS = "-lambda 0.9795 -distance 150 -default_F 1 -cell 50 50 50 90 90 90 -N 1 -oversample 1".split()
SWEEP = "--images 2 --width 0.25 -phi 10 -phisteps 1".split()
CLOSE = 1e-6


@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
@pytest.mark.spec("FMT-100")
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_stills_and_sweeps_of_a_detector(name: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One takes 5 s, of 18 million pixels 30 s; all twelve two and a half minutes."""
    options = ["--detector", name, *OPTIONS]
    assert main(["run", *options, "-o", "still.nxs"]) == 0
    assert main(["sweep", *options, *SWEEP, "-o", "sweep.nxs"]) == 0
    ending = next((ending for maker, ending in OF_MAKER.items() if name.startswith(maker)), "")
    if ending:
        assert main(["sweep", *options, *SWEEP, "-o", f"sweep_####{ending}"]) == 0
    files = ["still.nxs", "sweep.nxs", *([f"sweep_0001{ending}"] if ending else [])]
    experiment, said = nbnumba.experiment_from_options(options), capsys.readouterr().err
    still, *sweeps = read_all_with_dxtbx([in_tmp_path / file for file in files])
    for found, file in zip((still, *sweeps), files, strict=True):
        assert_same_detector(found, experiment)
        saturation = detector_by_name(name).counting.largest_count(0.9795e-10)
        if file.endswith(".img"):  # has words for neither sensor nor saturation, which is said
            assert saturation in (None, 65535) or f"counts are to be trusted from 0 to {saturation:g} only" in said
        else:
            assert_same_response(found, experiment, saturation)
        assert found["wavelengths"] == pytest.approx([0.9795] * found["images"], rel=CLOSE)
    assert still["oscillation"][1] == 0.0
    for sweep in sweeps:
        np.testing.assert_allclose(sweep["spindle"], (1.0, 0.0, 0.0), atol=CLOSE)
        assert sweep["oscillation"] == pytest.approx([10.0, 0.25], rel=CLOSE)
    assert sweeps[0]["images"] == 2


def assert_same_detector(found: dict[str, Any], experiment: Experiment) -> None:
    for panel, there in zip(experiment.panels, found["panels"], strict=True):
        assert_in_place(there, panel, in_imgcif(experiment))
    taken = [np.ones(panel.shape, bool) if panel.mask is None else panel.mask for panel in experiment.panels]
    assert found["mask_sums"] == [mask_sum(one) for one in taken]


def assert_same_response(found: dict[str, Any], experiment: Experiment, saturation: float | None) -> None:
    for panel, there in zip(experiment.panels, found["panels"], strict=True):
        assert saturation is None or there["trusted_range"][1] == saturation
        assert there["thickness"] == pytest.approx(panel.sensor_thickness * 1e3 or CLOSE, rel=CLOSE)
        assert there["material"] == panel.sensor_material or not panel.sensor_thickness


def assert_in_place(there: dict[str, Any], panel: Panel, turn: np.ndarray) -> None:
    np.testing.assert_allclose(there["origin"], turn @ panel.origin * 1e3, atol=CLOSE)
    np.testing.assert_allclose([there["fast"], there["slow"]], [turn @ panel.fast_axis, turn @ panel.slow_axis], atol=CLOSE)
    np.testing.assert_allclose(there["pixel_size"], [panel.pixel_size * 1e3] * 2, rtol=CLOSE)
    assert there["image_size"] == [panel.fast_pixels, panel.slow_pixels]


def in_imgcif(experiment: Experiment) -> np.ndarray:
    """x along the spindle, z to the source."""
    frame = experiment.by_panel[0].frame
    return np.array([frame.spindle_axis, np.cross(-frame.incident, frame.spindle_axis), -frame.incident])
