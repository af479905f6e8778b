"""Sweeps: what is in their images, and what is left of them when they are interrupted."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ROOT

from nbnumba import experiment_from_options, simulate
from nbnumba.cli.main import main
from nbnumba.inputs.image import read_image, read_picture
from nbnumba.outputs.counter_noise import CounterNoise
from nbnumba.outputs.series import series_of

OPTIONS = "-default_F 50 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 10 -detpixels 64 -pixel 0.5 -phi 5 -phisteps 3 -oversample 1"
SWEEP = [*OPTIONS.split(), "--images", "4", "--width", "0.5"]
NAMES = ("scan_####.cbf", "scan_###.img", "scan_##.tif", "scan_#.npy", "scan.nxs")


def image_names(name: str, images: int) -> list[str]:
    """Files of a sweep's images as they are read."""
    digits = name.count("#")
    return [name.replace("#" * digits, f"{i:0{digits}d}") if digits else f"{name}:{i}" for i in range(1, images + 1)]


@pytest.mark.spec("CLI-13")
@pytest.mark.parametrize("name", NAMES)
def test_image_i_is_what_a_run_half_a_step_later_renders(name: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, "-seed", "7", "-o", name]) == 0
    assert "4 images, 4 rendered now; wrote scan" in capsys.readouterr().out
    for number, file in enumerate(image_names(name, 4), 1):
        expected = simulate(experiment_from_options(f"{OPTIONS} -phi {5 + (number - 1) * 0.5 + 0.25 / 3} -osc 0.5"))
        drawn = CounterNoise(7, number).draw(next(expected.blocks()))
        np.testing.assert_array_equal(read_image(file), drawn)


@pytest.mark.spec("CLI-13")
def test_without_noise_photons_are_scaled_and_rounded(in_tmp_path: Path) -> None:
    assert main(["sweep", *SWEEP, "-nonoise", "-scale", "0.5", "-adc", "3", "-o", "scan.npy"]) == 0
    expected = simulate(experiment_from_options(f"{OPTIONS} -phi {5.5 + 0.25 / 3} -osc 0.5")).float32
    np.testing.assert_array_equal(read_image("scan_0002.npy"), np.rint(expected * 0.5) + 3)


@pytest.mark.spec("CLI-13")
@pytest.mark.parametrize("name", ["scan_####.cbf", "scan_####.img", "scan.nxs"])
def test_headers_state_geometry_and_angles(name: str, in_tmp_path: Path) -> None:
    assert main(["sweep", *SWEEP, "-o", name]) == 0
    for number, file in enumerate(image_names(name, 4), 1):
        found = read_picture(file).exposure
        assert found is not None
        assert np.degrees([found.phi_start, found.oscillation]) == pytest.approx([5 + 0.5 * (number - 1), 0.5], abs=1e-9)
        assert found.shape == (64, 64)
        assert [found.pixel_size, found.wavelength, found.distance] == pytest.approx([5e-4, 1e-10, 0.1], rel=1e-9)
        assert found.beam_centre == pytest.approx((33.0, 33.0), abs=1e-6)  # MOSFLM's default: (32 + 1/2) + 1/2 pixels
        assert found.imgcif.spindle_axis == (1.0, 0.0, 0.0)


@pytest.mark.spec("FMT-26")
def test_an_nxmx_file_is_compressed_an_image_a_chunk(in_tmp_path: Path) -> None:
    assert main(["sweep", *SWEEP, "-o", "scan.nxs"]) == 0
    with h5py.File("scan.nxs") as file:
        data = file["entry/data/data"]
        assert data.shape == (4, 64, 64)
        assert data.chunks == (1, 64, 64)
        assert data.compression == "gzip"
        assert data.shuffle
        layout = h5py.VirtualLayout((8, 64, 64), data.dtype)
        layout[:4], layout[4:] = h5py.VirtualSource(data), h5py.VirtualSource(data)
        expected = data[:]
    with h5py.File("both.h5", "w") as both:
        both.create_virtual_dataset("data", layout)
    with h5py.File("both.h5") as both:
        np.testing.assert_array_equal(both["data"][4:], expected)


@pytest.mark.spec("CLI-13", "FMT-27")
def test_the_record_says_what_was_rendered(in_tmp_path: Path) -> None:
    assert main(["sweep", *SWEEP, "-o", "scan_####.cbf"]) == 0
    record = json.loads(Path("scan.cbf.json").read_text())
    assert (record["images"], record["width_deg"], record["noise_seed"], record["phi_steps"]) == (4, 0.5, 1, 3)
    assert record["phi_start_deg"] == pytest.approx(5.0)
    assert record["stages"]["rotation"] == "spec"
    assert sorted(path.name for path in Path().iterdir()) == sorted(["scan.cbf.json", *image_names("scan_####.cbf", 4)])


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize("name", ["scan_####.cbf", "scan.nxs"])
def test_the_same_command_again_renders_what_is_missing(name: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", *SWEEP, "-o", name]
    assert main(command) == 0
    whole = contents(in_tmp_path)
    file = in_tmp_path / image_names(name, 4)[2].partition(":")[0]
    file.unlink()
    assert main(command) == 0
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(";")[0] for line in said] == [
        "4 images, 4 rendered now", f"4 images, {1 if '#' in name else 4} rendered now", "4 images, 0 rendered now",
    ]  # fmt: skip
    assert contents(in_tmp_path) == whole


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-phi", "6"], "scan.npy.json: is of another sweep, with phi_start_deg 5.0 instead of 6.0"),
        (["-seed", "2"], "scan.npy.json: is of another sweep, with noise_seed 1 instead of 2"),
        (["-N", "9"], "scan.npy.json: is of a sweep of another experiment; give another name, or --overwrite"),
        (["--preset", "physics"], "scan.npy.json: is of another sweep, with preset reference instead of physics"),
        (["--images", "5"], "scan.npy.json: is of another sweep, with images 4 instead of 5"),
    ],
)
def test_another_sweep_is_refused(change: list[str], message: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", *SWEEP, "-o", "scan_####.npy"]
    assert main(command) == 0
    before = contents(in_tmp_path)
    assert main([*command, *change]) == 2
    assert message in capsys.readouterr().err
    assert contents(in_tmp_path) == before
    assert main([*command, *change, "--overwrite"]) == 0
    assert contents(in_tmp_path) != before


@pytest.mark.spec("CLI-14")
def test_files_of_unknown_origin_are_refused(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("scan_0002.cbf").write_text("mine")
    assert main(["sweep", *SWEEP, "-o", "scan.cbf"]) == 2
    assert "scan_0002.cbf: is there already, and scan.cbf.json that would say of which sweep is not" in capsys.readouterr().err
    Path("scan_0002.cbf").unlink()
    Path("scan.cbf.json").write_text("[]")
    assert main(["sweep", *SWEEP, "-o", "scan.cbf"]) == 2
    assert "scan.cbf.json: is not the record of a sweep; give another name, or --overwrite" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["scan.cbf.json"]


@pytest.mark.spec("CLI-14")
def test_sweeps_of_other_formats_are_their_own(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("scan.nxs", "scan_####.npy", "scan_##.tif"):
        assert main(["sweep", *SWEEP, "-o", name]) == 0
    assert main(["sweep", *SWEEP, "-phi", "77", "-o", "scan.nxs", "--overwrite"]) == 0
    assert main(["sweep", *SWEEP, "-phi", "77", "-o", "scan_####.npy"]) == 2
    assert main(["sweep", *SWEEP, "-o", "scan_###.npy"]) == 2
    assert "scan.npy.json: is of another sweep, with output scan_####.npy instead of scan_###.npy" in capsys.readouterr().err


@pytest.mark.spec("CLI-14")
def test_what_waits_for_another_sweep_is_not_taken(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, "-o", "scan.nxs"]) == 0
    whole = contents(in_tmp_path)
    Path("scan.nxs").unlink()
    Path("scan.nxs.json").unlink()
    Path(".scan.nxs.unfinished").mkdir()
    Path(".scan.nxs.unfinished/000001.chunk").write_bytes(b"of another sweep")
    assert main(["sweep", *SWEEP, "-o", "scan.nxs"]) == 0
    assert contents(in_tmp_path) == whole


@pytest.mark.spec("CLI-14")
def test_a_file_that_is_not_of_the_sweep_is_not_taken_for_it(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, "-o", "scan.nxs"]) == 0
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0
    assert main(["convert", "scan.nxs:1", "scan.nxs", "--overwrite"]) == 2
    assert main(["convert", "scan.nxs:1", "one.nxs"]) == 0
    Path("one.nxs").replace("scan.nxs")
    assert main(["sweep", *SWEEP, "-o", "scan.nxs"]) == 2
    assert "scan.nxs: is not of the sweep that scan.nxs.json is of; give another name, or --overwrite" in capsys.readouterr().err


@pytest.mark.spec("CLI-14")
def test_overwriting_leaves_nothing_of_a_longer_sweep(in_tmp_path: Path) -> None:
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0
    assert main(["sweep", *SWEEP, "--images", "2", "-o", "scan.npy", "--overwrite"]) == 0
    assert sorted(contents(in_tmp_path)) == ["scan.npy.json", "scan_0001.npy", "scan_0002.npy"]


@pytest.mark.spec("CLI-14")
def test_an_edited_plugin_is_another_sweep(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = (ROOT / "examples" / "lorentz_plugin" / "lorentz.py").read_text()
    Path("p.py").write_text(plugin)
    words = ["sweep", *SWEEP, "--plugin-file", "p.py", "--plugin", "lattice_shape=lorentz", "-o", "scan.npy"]
    assert main(words) == 0
    Path("p.py").write_text(plugin + "\n")
    assert main(words) == 2
    assert "scan.npy.json: is of another sweep, with plugin_files_sha256" in capsys.readouterr().err


@pytest.mark.spec("CLI-14")
def test_two_at_once(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = series_of(Path("scan.npy"))
    other.lock()
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    assert "scan.npy.json: another process is writing this sweep" in capsys.readouterr().err
    other.unlock()
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0


@pytest.mark.spec("CLI-13")
def test_a_file_that_cannot_be_written(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if "0003" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    assert "scan_0003.npy: cannot be written: No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(in_tmp_path)
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0
    assert "4 images, 2 rendered now" in capsys.readouterr().out


@pytest.mark.spec("SF-4")
def test_terms_outside_the_table_are_said(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("few.hkl").write_text("".join(f"{h} {k} {l} 10\n" for h in range(-2, 3) for k in range(-2, 3) for l in range(-2, 3)))
    options = OPTIONS.replace("-default_F 50", "-hkl few.hkl -interpolate --quirk interpolation-latch=off")
    assert main(["sweep", *options.split(), "--images", "2", "--width", "0.5", "-o", "scan.npy"]) == 0
    assert "terms lie outside the table of structure factors; they took the nearest" in capsys.readouterr().err


@pytest.mark.spec("CLI-13")
def test_files_of_a_run_are_not_written(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, "-floatfile", "a.bin", "-xds", "-o", "scan.npy"]) == 0
    said = capsys.readouterr().err
    assert "warning: -floatfile a.bin: changes nothing; a sweep writes --output" in said
    assert "header-centre" not in said


@pytest.mark.spec("CLI-13")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a_#_##.cbf"], "a_#_##.cbf: has # in two places; give one run of them, for the digits"),
        (["-o", "scan.xyz"], "scan.xyz: .xyz stands for no image format; there are .img, .smv, .cbf"),
        (["-o", "nowhere/scan.cbf"], "nowhere/scan.cbf.json: cannot be written: the folder nowhere does not exist"),
        (["--width", "nan"], "--width nan: must be a finite angle of 0 deg or more"),
        (["--width=-1"], "--width -1: must be a finite angle of 0 deg or more"),
        (["--images", "0"], "0 is not in the range 1<=x<=100000"),
    ],
)
def test_bad_input(words: list[str], message: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())


@pytest.mark.spec("CLI-13")
@pytest.mark.parametrize(("width", "steps"), [("0.5", 10), ("0", 1)])
def test_phi_steps_where_none_are_given(width: str, steps: int, in_tmp_path: Path) -> None:
    words = OPTIONS.replace("-phisteps 3 ", "").split()
    assert main(["sweep", *words, "--images", "1", "--width", width, "-o", "scan.npy"]) == 0
    assert json.loads(Path("scan.npy.json").read_text())["phi_steps"] == steps


@pytest.mark.spec("CLI-13")
def test_the_width_of_an_image_is_that_of_the_experiment(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *OPTIONS.split(), "--images", "2", "-o", "a.npy"]) == 2
    assert "--width: is missing; give the spindle angle of each image in deg, as --width or -osc" in capsys.readouterr().err
    assert main(["sweep", *OPTIONS.split(), "-osc", "0.5", "--images", "2", "-o", "a.npy"]) == 0
    assert main(["sweep", *SWEEP, "-o", "b.npy"]) == 0
    np.testing.assert_array_equal(read_image("a_0002.npy"), read_image("b_0002.npy"))


@pytest.mark.spec("CLI-13")
def test_what_a_file_cannot_hold_is_said(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, "-twotheta", "10", "-nonoise", "-scale", "1e6", "-o", "scan.img"]) == 0
    said = capsys.readouterr().err
    assert "warning: scan.img: a SMV file cannot say that the detector is not straight in the beam" in said
    assert "pixels have more than 65535 counts, which SMV cannot hold" in said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    return subprocess.Popen(
        [sys.executable, "-m", "nbnumba.cli.main", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize(
    ("name", "kills"),
    [
        ("scan_####.cbf", 2),
        ("scan.nxs", 2),
        pytest.param("scan_####.img", 25, marks=pytest.mark.slow),
        pytest.param("scan.h5", 25, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_it_goes_on(name: str, kills: int, tmp_path: Path) -> None:
    words = ["sweep", *OPTIONS.split(), "-detpixels", "300", "--images", "40", "--width", "0.5", "-o", name]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert start(words, whole).wait() == 0  # compiles
    for file in whole.iterdir():
        file.unlink()
    began = time.monotonic()
    assert start(words, whole).wait() == 0
    duration = time.monotonic() - began
    cut_short = 0
    for moment in np.random.default_rng(3).uniform(0.3, 1.0, kills):
        folder = tmp_path / f"{moment:.9f}"
        folder.mkdir()
        process = start(words, folder)
        time.sleep(moment * duration)
        process.send_signal(signal.SIGKILL)
        cut_short += process.wait() == -signal.SIGKILL
        for file in folder.glob(f"*{Path(name).suffix}"):
            assert file.read_bytes() == (whole / file.name).read_bytes()  # what is there is whole
        assert start(words, folder).wait() == 0
        assert contents(folder) == contents(whole)
    assert cut_short > kills / 2
