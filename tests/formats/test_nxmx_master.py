"""A scan in data files that a master file draws together."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from formats.dxtbx_reader import MISSING, has_dxtbx, read_pixels_with_dxtbx, with_filters
from many_panels import BEAM

from nbnumba.campaign.series import Series
from nbnumba.cli.main import main
from nbnumba.files.whole import write_all
from nbnumba.formats import nxmx_files
from nbnumba.formats.chunks import chunk_bytes
from nbnumba.formats.read import read_image, read_image_file

OPTIONS = "-default_F 50 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 10 -detpixels 64 -pixel 0.5 -phi 5 -phisteps 1 -oversample 1"
SWEEP = ["sweep", *OPTIONS.split(), "--images", "5", "--width", "0.5"]
DATA = [f"scan_data_00000{n}.h5" for n in (1, 2, 3)]
MASTER = "scan_master.h5"


@pytest.fixture
def two_images_a_file(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(nxmx_files, "IMAGES_PER_FILE", 2)
    return in_tmp_path


@pytest.fixture
def swept(two_images_a_file: Path) -> Path:
    assert main([*SWEEP, "-o", MASTER]) == 0
    return two_images_a_file


def pixels_of(name: str) -> list[np.ndarray]:
    return [read_image(f"{name}:{number}") for number in range(1, 6)]


@pytest.mark.spec("FMT-101")
def test_data_files_and_their_master(swept: Path) -> None:
    assert sorted(file.name for file in swept.iterdir()) == [*DATA, MASTER, f"{MASTER}.json"]
    assert main([*SWEEP, "-o", "one.h5"]) == 0
    np.testing.assert_array_equal(pixels_of(MASTER), pixels_of("one.h5"))
    ours, expected = (read_image_file(f"{name}:4").exposure for name in (MASTER, "one.h5"))
    assert ours == expected
    with h5py.File(MASTER) as file, h5py.File("one.h5") as one:
        assert file["entry/data/data"].is_virtual
        assert [source.file_name for source in file["entry/data/data"].virtual_sources()] == DATA
        np.testing.assert_array_equal(file["entry/data/data"], one["entry/data/data"])
        np.testing.assert_array_equal(file["entry/data/data_000002"], one["entry/data/data"][2:4])
    for name, images in zip(DATA, (2, 2, 1), strict=True):
        with h5py.File(name) as file:
            assert file["entry/data/data"].shape == (images, 64, 64)


@pytest.mark.spec("FMT-101")
def test_the_same_images_make_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second later, too."""
    monkeypatch.setattr(nxmx_files, "IMAGES_PER_FILE", 2)
    exposure, counts = replace(BEAM, shape=(4, 5), spindle_axis=None), np.arange(20, dtype=np.int32).reshape(4, 5)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_all(nxmx_files.files_of(tmp_path / name / MASTER, [exposure] * 3, np.int32, [chunk_bytes(counts)] * 3))
        time.sleep(1.1)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == [*DATA[:2], MASTER]
    for name in (*DATA[:2], MASTER):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.spec("FMT-101")
def test_a_thousand_images_to_a_file() -> None:
    files = [nxmx_files.file_of(Path("a/scan_master.h5"), number).as_posix() for number in (1, 1000, 1001)]
    assert files == ["a/scan_data_000001.h5", "a/scan_data_000001.h5", "a/scan_data_000002.h5"]
    assert nxmx_files.file_of(Path("master.h5"), 1001) == Path("master.h5")


@pytest.mark.spec("FMT-101")
@pytest.mark.skipif(not has_dxtbx(), reason=MISSING)
def test_dials_reads_them(swept: Path) -> None:
    (found,) = read_pixels_with_dxtbx(swept / MASTER)
    np.testing.assert_array_equal(found["pixels"], pixels_of(MASTER))
    assert found["oscillation"] == pytest.approx([5.0, 0.5])
    done = subprocess.run(["dials.import", MASTER], capture_output=True, text=True, cwd=swept, env=with_filters())
    assert "num images: 5" in done.stdout
    assert "sweep:    1" in done.stdout


@pytest.mark.spec("FMT-101")
def test_files_that_are_missing(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = read_image(f"{MASTER}:4")
    Path("away").mkdir()
    for name in DATA:
        Path(name).rename(f"away/{name}")
    capsys.readouterr()
    for words in (["convert", MASTER, "a.npy"], ["view", f"{MASTER}:1", "-o", "a.png"]):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f"{DATA[-1]} is missing")
    shutil.copy(f"away/{DATA[1]}", ".")
    with h5py.File(MASTER) as file:
        assert (file["entry/data/data"][0] == -1).all()
    assert main(["convert", MASTER, "there_#.npy"]) == 0
    np.testing.assert_array_equal(read_image("there_2.npy"), expected)


@pytest.mark.spec("FMT-101", "CLI-14")
@pytest.mark.parametrize(("missing", "rendered"), [(DATA[1], 2), (DATA[2], 1), (MASTER, 0)])
def test_what_is_missing_is_rendered_again(missing: str, rendered: int, swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.read_bytes() for file in swept.iterdir()}
    (swept / missing).unlink()
    assert main([*SWEEP, "-o", MASTER]) == 0
    assert f"5 images, {rendered} rendered now" in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in swept.iterdir()} == before


@pytest.mark.spec("FMT-101", "CLI-20")
def test_another_sweep_leaves_none_of_its_files(swept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fewer = [*SWEEP, "-seed", "2", "--images", "3", "-o", MASTER]
    assert main(fewer) == 2
    before = {file.name: file.read_bytes() for file in swept.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Series, "finish", interrupt)
        patch.setattr("nbnumba.campaign.series.Stack.finish", interrupt)
        assert main([*fewer, "--overwrite"]) == 130
    assert {name: (swept / name).read_bytes() for name in before} == before
    assert main([*fewer, "--overwrite"]) == 0
    assert "3 images, 0 rendered now" in capsys.readouterr().out
    assert sorted(file.name for file in swept.iterdir()) == [*DATA[:2], MASTER, f"{MASTER}.json"]
    shutil.copy(DATA[0], "strange.h5")
    assert main([*SWEEP, "-o", MASTER, "--overwrite"]) == 0
    shutil.copy("strange.h5", DATA[0])
    assert main([*SWEEP, "-o", MASTER]) == 2
    assert f"{DATA[0]}: is not of the sweep that {MASTER}.json is of; give another name, or --overwrite" in capsys.readouterr().err


def interrupt(*anything: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.spec("FMT-101", "CLI-16")
def test_convert_writes_and_reads_them(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", MASTER, "plain_##.cbf"]) == 0
    assert main(["convert", *(f"plain_0{number}.cbf" for number in range(1, 6)), "back_master.nxs"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5 images; wrote back_master.nxs to back_data_000003.nxs"
    np.testing.assert_array_equal(pixels_of("back_master.nxs"), pixels_of(MASTER))
    Path("back_master.nxs").unlink()
    assert main(["convert", "plain_01.cbf", "back_master.nxs"]) == 2
    assert "back_data_000001.nxs: is there already; give another OUTPUT" in capsys.readouterr().err
