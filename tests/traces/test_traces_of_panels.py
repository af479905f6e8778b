"""A trace of a pixel on one of several panels is that of this panel alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import Detector, Experiment, ParameterError
from nbnumba.cli.main import main
from nbnumba.traces.tracing import trace

CRYSTAL = "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -N 5 -misset 10 20 30 -osc 1 -phisteps 2 -fluence 1e22 -oversample 1"
PLACES = (
    "-distance 50 -pixel 0.7 -detpixels 12",
    "-distance 40 -pixel 0.5 -detpixels_x 9 -detpixels_y 16 -twotheta 25",
    "-distance 30 -detpixels 8",
)
CALLED = (("q0", "m0"), ("q0/half", "m1"), ("q1", "m0"))
KINDS = {"several": "", "c-parity": "--preset c-parity -phi 0"}


def alone(number: int, more: str = "") -> Experiment:
    return nbnumba.experiment_from_options(f"{CRYSTAL} {PLACES[number]} {more}")


def together(more: str = "") -> Experiment:
    panels = [replace(alone(n, more).panels[0], group=group, name=name) for n, (group, name) in enumerate(CALLED)]
    return replace(alone(0, more), detector=Detector(panels=tuple(panels)))


@pytest.mark.spec("TRA-10")
@pytest.mark.parametrize("more", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(("panel", "number"), [(0, 0), (1, 1), ("m1", 1), ("q0/half/m1", 1), ("q1/m0", 2)])
def test_a_trace_is_that_of_the_panel_alone(panel: int | str, number: int, more: str) -> None:
    image = nbnumba.simulate(together(more)).panels[number]
    slow, fast = (int(n) for n in np.unravel_index(image.pixels.argmax(), image.shape))
    found, expected = trace(together(more), slow, fast, panel=panel), trace(alone(number, more), slow, fast)
    words = {name for name, value in expected.values.items() if isinstance(value, str)}
    assert {name: found.values[name] for name in words} == {name: expected.values[name] for name in words}
    for name in expected.values.keys() - words:
        np.testing.assert_allclose(found.values[name], expected.values[name], rtol=1e-9, atol=1e-14, err_msg=name)
    assert [list(row) for row in found.terms] == [list(row) for row in expected.terms]
    assert list(found.values) == list(expected.values)
    assert found.values["floatimage_accumulated"] == image.float32[slow, fast] > 0.0
    assert found.provenance["panel"] == number
    same = trace(together(more).by_panel[number], slow, fast)
    assert (found.values, found.samples, found.terms) == (same.values, same.samples, same.terms)
    assert "panel" not in same.provenance


@pytest.mark.spec("TRA-10")
def test_a_detector_of_one_panel() -> None:
    one = replace(together(), detector=Detector(panels=together().panels[1:2]))
    assert trace(one, 3, 4, panel="m1").values == trace(one, 3, 4, panel=0).values == trace(one, 3, 4).values


@pytest.mark.spec("TRA-10")
def test_from_the_command_line(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nbnumba.save_experiment(together(), "three.toml")
    expected = trace(together(), 3, 4, panel=1)
    for panel in ("1", "m1", "q0/half/m1"):
        assert main(["trace", "--config", "three.toml", "--panel", panel, "--pixel", "3", "4", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["panel"], found["values"]) == (1, json.loads(json.dumps(expected.values)))
    assert main(["trace", "--config", "three.toml", "--panel", "1", "--pixel", "3", "4", "--bundle", "evidence"]) == 0
    assert ", device cpu, panel 1; " in capsys.readouterr().out.splitlines()[0]
    assert main(["bundle", "verify", "evidence"]) == 0


REFUSED = {
    "none": (None, 0, 0, "is not given, and there are 3; give its number, 0 to 2, or its name"),
    "number": (3, 0, 0, "3: there are 3; numbers begin with 0"),
    "word": ("-1", 0, 0, "'-1' is the name of none"),
    "name": ("m7", 0, 0, "'m7' is the name of none; give its number, 0 to 2, or its groups and name, GROUP/NAME"),
    "empty": ("", 0, 0, "'' is the name of none"),
    "name of two": ("m0", 0, 0, "'m0' is the name of panels 0, 2; give its number, 0 to 2, or its groups and name, GROUP/NAME"),
    "pixel": (1, 3, 9, "slow 3, fast 9 is not on the detector of 16 x 9 pixels"),
}


@pytest.mark.spec("TRA-10", "TRA-7")
@pytest.mark.parametrize(("panel", "slow", "fast", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(
    panel: int | str | None, slow: int, fast: int, message: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ParameterError, match=re.escape(message)):
        trace(together(), slow, fast, panel=panel)
    nbnumba.save_experiment(together(), "three.toml")
    words = [] if panel is None else [f"--panel={panel}"]
    assert main(["trace", "--config", "three.toml", *words, "--pixel", str(slow), str(fast)]) == 2
    option = "pixel" if "slow" in message else "panel"
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"nbnumba: error: {option} (--{option}): {message}")


@pytest.mark.spec("TRA-10")
def test_numbers_do_not_count_from_the_end() -> None:
    with pytest.raises(ParameterError, match="panel: -1: there are 3; numbers begin with 0"):
        trace(together(), 0, 0, panel=-1)


@pytest.mark.spec("TRA-10")
def test_a_mask_is_the_panels_own() -> None:
    experiment = together()
    mask = np.ones((16, 9), bool)
    mask[3, 4] = False
    first, second, third = experiment.panels
    masked = replace(experiment, detector=Detector(panels=(first, replace(second, mask=mask), third)))
    with pytest.raises(ParameterError, match="slow 3, fast 4 is masked and is not rendered"):
        trace(masked, 3, 4, panel=1)
    assert trace(masked, 3, 4, panel=0).values == trace(experiment, 3, 4, panel=0).values
