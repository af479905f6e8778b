"""``nbnumba detectors``: the list, and what is known of one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nbnumba.cli.main import main
from nbnumba.geometry import catalogue


@pytest.mark.spec("CLI-61")
def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "PIXELS", "PANELS", "PIXEL/um", "SIZE/mm", "SENSOR"]
    assert [row.split()[0] for row in rows] == catalogue.names()
    found = {row.split()[0]: " ".join(row.split()) for row in rows}
    assert found["eiger2-16m"] == "eiger2-16m 4148 x 4362 1 75 311.1 x 327.1 Si 450 um"
    assert found["jungfrau-4m"] == "jungfrau-4m 1030 x 514 8 75 165.3 x 172.4 Si 320 um"
    assert found["rayonix-mx225"] == "rayonix-mx225 3072 x 3072 1 73.242 225.0 x 225.0 -"


@pytest.mark.spec("CLI-61")
@pytest.mark.parametrize("name", catalogue.names())
def test_what_is_known_of_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{name}: ")
    assert len(re.findall("^    from .{10}", text, re.MULTILINE)) >= 2
    assert "    pixel_size = " in text
    assert "None" not in text
    assert main(["detectors", "pilatus-6m"]) == 0
    shown = capsys.readouterr().out
    assert "    bit_depth = 20 bit: of a pixel's number\n" in shown
    assert "    count_rate = 2000000.0 1/s: most photons of a pixel in a second\n" in shown


@pytest.mark.spec("CLI-61", "DET-15")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timepix", "as stated"),
        ("cspad", "full_well, in photons of the beam's energy; a bit_depth is of numbers before their gain, and not used"),
        ("eiger2-1m", "none, for none is known, or none that bit_depth leaves to files"),
    ],
)
def test_what_files_state_of_one(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors", name]) == 0
    line = f"    saturation in files: {said}; other numbers of counting are for --response detector"
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.spec("CLI-61")
def test_one_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text('like = "eiger-1m"\ndescription = "a\\u001bb"')
    assert main(["detectors", str(tmp_path / "mine.toml")]) == 0
    assert capsys.readouterr().out.startswith("mine: a\\x1bb\npixels 1030 x 1065  panels 1  ")
    assert main(["detectors", "eiger"]) == 2
    assert "nbnumba: error: detector eiger: there is none of this name; the nearest are eiger-" in capsys.readouterr().err


@pytest.mark.spec("CLI-61")
def test_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "d.png"
    assert main(["detectors", "jungfrau-1m", "--png", str(file)]) == 0
    assert capsys.readouterr().out.startswith("jungfrau-1m: ")
    grey = np.asarray(Image.open(file).convert("L")) == 204
    rows = np.flatnonzero(grey.sum(axis=1) > grey.shape[1] // 4)
    # Two modules of 38.55 mm with 2.7 mm and the lines around them between.
    assert np.count_nonzero(np.diff(rows) > 2) == 1
    assert 2.7 / 79.8 < np.diff(rows).max() / (rows[-1] - rows[0]) < 2.7 / 79.8 + 5 / (rows[-1] - rows[0])
    assert main(["detectors", "--png", str(tmp_path / "no" / "d.png")]) == 2
    assert "cannot be written: the folder" in capsys.readouterr().err


@pytest.mark.spec("CLI-61")
def test_a_picture_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["detectors", "--png", str(tmp_path / "d.png")]) == 2
    assert capsys.readouterr().err == "nbnumba: error: --png: needs matplotlib; install it with: pip install 'nbnumba[plot]'\n"
