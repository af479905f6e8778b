"""Memory: what an image takes, what there is, and that what cannot be is refused before anything is written."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nbnumba
from nbnumba import memory
from nbnumba.cli.main import main
from nbnumba.gradients.losses import least_squares

pytestmark = pytest.mark.spec("DEV-22")

OPTIONS = "-default_F 10 -cell 50 -lambda 1 -distance 100 -N 3 -detpixels 100 -mosaic 0.5 -mosaic_dom 1000 -phisteps 10 -osc 1"


@pytest.fixture
def experiment() -> nbnumba.Experiment:
    return nbnumba.experiment_from_options(OPTIONS)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 MB in all."""
    monkeypatch.setattr(memory, "SURELY_THERE", 0)
    monkeypatch.setattr(memory, "available", lambda: 1e6)


def test_what_an_image_takes(experiment: nbnumba.Experiment) -> None:
    hkl = np.array([[-3, -2, 0], [4, 2, 9]])
    table = replace(experiment, structure_factors=nbnumba.StructureFactors(hkl=hkl, F=np.ones(2)))
    assert memory.needed(experiment) == {"image": 80_000, "structure factors": 0, "orientations": 1_680_000}
    assert memory.needed(table)["structure factors"] == 8 * (7 + 3) * (4 + 3) * (9 + 3)
    single = replace(table, sampling=replace(table.sampling, dtype="float32"))
    assert memory.needed(single)["structure factors"] == 12 * (7 + 3) * (4 + 3) * (9 + 3)


@pytest.mark.usefixtures("little_memory")
def test_what_cannot_be_is_refused(experiment: nbnumba.Experiment) -> None:
    told = r"the image needs 0\.00176 GB of memory \(image 8e-05, orientations 0\.00168\), and 0\.001 GB are to be had; take fewer pixels"
    for begin in (nbnumba.simulate, nbnumba.Simulator().render):
        with pytest.raises(nbnumba.NotAvailableError, match=told):
            begin(experiment)
    with pytest.raises(nbnumba.NotAvailableError, match=told):
        nbnumba.value_and_grad(experiment, ["cell_a"], least_squares(np.zeros((100, 100))))


@pytest.mark.usefixtures("little_memory")
def test_an_image_in_memory_of_the_callers_own_is_rendered(experiment: nbnumba.Experiment) -> None:
    out = np.zeros((100, 100))
    assert nbnumba.Simulator().render(experiment, out=out) is out
    assert out.any()


@pytest.mark.usefixtures("little_memory", "in_tmp_path")
def test_the_command_line_says_so_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *OPTIONS.split()]) == 2
    assert "nbnumba: error: the image needs 0.00176 GB of memory" in capsys.readouterr().err
    assert os.listdir() == []


@pytest.mark.spec("CLI-8")
@pytest.mark.usefixtures("little_memory")
def test_explain_tells_that_a_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *OPTIONS.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["estimate"]["memory_MB"] == 1.76
    assert found["estimate"]["memory_available_MB"] == 1.0
    assert "a run is refused: it needs 0.00176 GB of memory" in found["warnings"][-1]


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux has /proc")
def test_there_is_no_more_than_the_machine_has() -> None:
    here = memory.meminfo()
    assert 1e8 < memory.available() <= here["MemTotal"] + here["SwapTotal"]


@pytest.mark.parametrize(
    ("line", "folder", "files"),
    [
        ("0::/job/step", "", {"memory.max": "5000000", "memory.current": "3000000", "memory.stat": "anon 1\ninactive_file 1000000\n"}),
        (
            "5:cpu,memory:/job/step",
            "memory",
            {"memory.limit_in_bytes": "5000000", "memory.usage_in_bytes": "3000000", "memory.stat": "total_inactive_file 1000000\n"},
        ),
    ],
    ids=["version 2", "version 1"],
)
@pytest.mark.parametrize("level", ["", "job", "job/step"])
def test_the_limits_of_control_groups_hold(
    line: str, folder: str, files: dict[str, str], level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the group itself and of those that it is in: a batch system limits the job, a container all that is in it."""
    read = memory.lines_of
    monkeypatch.setattr(memory, "lines_of", lambda path: [line, "9:pids:/"] if path == "/proc/self/cgroup" else read(path))
    monkeypatch.setattr(memory, "GROUPS", {key: (tmp_path / root.name, *names) for key, (root, *names) in memory.GROUPS.items()})
    place = memory.GROUPS[folder][0]
    (place / "job" / "step").mkdir(parents=True)
    for name, text in {"memory.max": "max", "memory.current": "0", "memory.stat": "inactive_file 0\n"}.items():
        (place / name).write_text(text)
    for name, text in files.items():
        (place / level / name).write_text(text)
    swap = memory.meminfo().get("SwapFree", 0)
    assert memory.available() == pytest.approx(3e6 + memory.own() + swap, abs=1e6)
