"""Sweeps: what is in their images, and what is left of them when they are interrupted."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import pytest
from conftest import ROOT

from nbnumba import Experiment, Image, StructureFactors, experiment_from_options, simulate
from nbnumba.campaign import series
from nbnumba.campaign.series import Series, Stack, series_of
from nbnumba.campaign.sweep import Counting, Sweep, code_digests, digest
from nbnumba.cli.main import main
from nbnumba.files import whole as files
from nbnumba.formats import nxmx_files
from nbnumba.formats.chunks import pixels_of
from nbnumba.formats.read import read_image, read_image_file
from nbnumba.response.counter_noise import CounterNoise
from nbnumba.response.counts import UINT16, CountRange
from nbnumba.stages.kinds import LatticeShape

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
        found = read_image_file(file).exposure
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
        assert list(data._filters) == ["32008"]  # bitshuffle, with LZ4
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


FOUR = "[modules]\none_panel = false\npixel_size = 1e-3\nslow_pixels = 10\nfast_pixels = 12\nrows = 2\ncolumns = 2\n"


@pytest.mark.spec("CLI-87")
@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ("rows = 1", "-oversample 2", "detector panels 4 instead of 2"),
        ("fast_pixels = 14", "-N 9 -oversample 2", "geometry panel_0 pixels_fast_slow [12, 10] instead of [14, 10]"),
        ("", "-distance 110", "geometry panel_0 distance_mm 100.0 instead of 110.0"),
        ("", "-lambda 1.4 -N 9", "crystal cells [10, 10, 10] instead of [9, 9, 9]"),
        ("", "-lambda 1.4 -oversample 2", "beam wavelength_A 1.5 instead of 1.4"),
    ],
)
def test_what_differs_of_a_sweep_on_several_panels(
    changed: str, options: str, message: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The detector first, and not the quirks that are met for it."""
    Path("a.toml").write_text(FOUR)
    command = "sweep --detector ./a.toml -distance 100 -default_F 50 -cell 60 70 80 90 90 90 -lambda 1.5 -N 10 -oversample 1 --images 2"
    command += " --width 1 -phisteps 1 -o scan.nxs"
    assert main(command.split()) == 0
    name = changed.partition(" =")[0] or "nothing"
    Path("a.toml").write_text("\n".join(changed if line.startswith(name) else line for line in FOUR.splitlines()))
    assert main([*command.split(), *options.split()]) == 2
    assert f"experiment, with {message}; give another name" in capsys.readouterr().err


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-phi", "6"], "scan.npy.json: is of another sweep, with phi_start_deg 5.0 instead of 6.0"),
        (["-seed", "2"], "scan.npy.json: is of another sweep, with noise_seed 1 instead of 2"),
        (["-N", "9"], "scan.npy.json: is of a sweep of another experiment, with crystal cells [10, 10, 10] instead of [9, 9, 9]; give"),
        (
            ["-default_F", "51"],
            "of a sweep of another experiment, with structure_factors default_F 50.0 instead of 51.0; give another name",
        ),
        (
            ["-roi", "0", "9", "0", "9"],
            "experiment, with sampling roi_fast_fast_slow_slow [0, 63, 0, 63] instead of [0, 9, 0, 9]; give another",
        ),
        (["--preset", "physics"], "scan.npy.json: is of another sweep, with preset reference instead of physics"),
        (
            ["--quirk", "spot-width=off"],
            "scan.npy.json: is of another sweep, with quirks spot-width True instead of False; give another",
        ),
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
@pytest.mark.parametrize("change", ["F", "default_F", "hkl"])
def test_a_sweep_with_other_amplitudes_is_another(change: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where nothing but the numbers in a file of the same name differs."""
    Path("a.hkl").write_text("1 2 3 40\n4 5 6 70\n")
    command = ["sweep", *SWEEP, "-hkl", "a.hkl", "-o", "scan.npy"]
    assert main(command) == 0
    before = contents(in_tmp_path)
    Path("a.hkl").write_text({"F": "1 2 3 40\n4 5 6 71\n", "hkl": "1 2 3 40\n4 5 7 70\n"}.get(change, "1 2 3 40\n4 5 6 70\n"))
    assert main([*command, *(["-default_F", "50.5"] if change == "default_F" else [])]) == 2
    how = ", with structure_factors default_F 50.0 instead of 50.5" if change == "default_F" else ""
    assert f"scan.npy.json: is of a sweep of another experiment{how}; give another name, or --overwrite" in capsys.readouterr().err
    assert {**contents(in_tmp_path), "a.hkl": b""} == {**before, "a.hkl": b""}


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize(
    "change",
    [
        lambda one: replace(one, structure_factors=replace(one.structure_factors, F=one.structure_factors.F * (1.0 + 1e-15))),
        lambda one: replace(one, structure_factors=replace(one.structure_factors, hkl=one.structure_factors.hkl + 1)),
        lambda one: replace(one, structure_factors=replace(one.structure_factors, default_F=2.5)),
        lambda one: replace(one, structure_factors=replace(one.structure_factors, interpolate=True)),
        lambda one: replace(one, sampling=replace(one.sampling, mask=np.arange(64 * 64).reshape(64, 64) > 0)),
        lambda one: replace(one, beam=replace(one.beam, wavelength=one.beam.wavelength * (1.0 + 1e-15))),
        lambda one: replace(one, model=replace(one.model, parameters={"fudge": 1.5})),
    ],
)
def test_all_that_decides_pixels_is_in_the_sum(change: Callable[[Experiment], Experiment]) -> None:
    factors = StructureFactors(hkl=np.array([[1, 2, 3], [4, 5, 6]]), F=np.array([40.0, 70.0]), default_F=2.0)
    one = replace(experiment_from_options(OPTIONS), structure_factors=factors)
    assert digest(one) == digest(replace(one))
    assert digest(change(one)) != digest(one)


@pytest.mark.spec("CLI-14")
def test_the_source_of_stages_is_part_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every file of the package that a stage comes from, and of this one."""
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange/__init__.py").write_text("from strange.more import shape, ready\n")
    (tmp_path / "strange/more.py").write_text("def shape(p, x, y, z): return x\ndef ready(experiment): return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strange", raising=False)
    import strange  # type: ignore[import-not-found]

    stage = LatticeShape("strange", "", prepare=strange.ready, function=strange.shape)
    before = code_digests([stage])
    assert list(before) == ["nbnumba", "strange"]
    with (tmp_path / "strange/more.py").open("a") as more:
        more.write("# edited\n")
    assert code_digests([stage]) == {**before, "strange": code_digests([stage])["strange"]} != before


@pytest.mark.spec("CLI-20")
@pytest.mark.parametrize("name", ["scan.npy", "scan.nxs"])
def test_what_is_replaced_stays_until_all_of_the_new_is_there(
    name: str, in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", *SWEEP, "-o", name]
    assert main([*command, "-seed", "2"]) == 0
    new = contents(in_tmp_path)
    assert main([*command, "--images", "6", "--overwrite"]) == 0
    old = contents(in_tmp_path)
    put, done = Series.put if name == "scan.npy" else Stack.put, []

    def interrupted(self: Series, number: int, *image: Any) -> None:
        if number == 3:
            raise KeyboardInterrupt
        put(self, number, *image)
        done.append(number)

    monkeypatch.setattr(Series if name == "scan.npy" else Stack, "put", interrupted)
    assert main([*command, "-seed", "2", "--overwrite"]) == 130
    assert "interrupted; 2 of 4 images are there, the same command goes on" in capsys.readouterr().err
    assert contents(in_tmp_path) == old
    monkeypatch.undo()
    monkeypatch.chdir(in_tmp_path)
    assert main([*command, "-seed", "2", "--overwrite"]) == 0
    assert "4 images, 2 rendered now" in capsys.readouterr().out
    assert {**contents(in_tmp_path), f"{name}.json": b""} == {**new, f"{name}.json": b""}
    assert list(in_tmp_path.iterdir()) == list(in_tmp_path.glob("scan*"))


@pytest.mark.spec("CLI-20")
@pytest.mark.parametrize("third", [False, True])
def test_images_of_two_sweeps_do_not_pass_for_one(
    third: bool, in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted while new images take the place of others."""
    command = ["sweep", *SWEEP, "-o", "scan.npy"]
    assert main([*command, "-seed", "2"]) == 0
    new = contents(in_tmp_path)
    assert main([*command, "--images", "6", "--overwrite"]) == 0
    old = contents(in_tmp_path)
    move = series.move

    def interrupted(waiting: Path, target: Path) -> None:
        if "0003" in target.name:
            raise KeyboardInterrupt
        move(waiting, target)

    with monkeypatch.context() as patch:
        patch.setattr(series, "move", interrupted)
        assert main([*command, "-seed", "2", "--overwrite"]) == 130
    found = contents(in_tmp_path)
    assert [found[f"scan_000{n}.npy"] == new[f"scan_000{n}.npy"] for n in range(1, 5)] == [True, True, False, False]
    assert found["scan_0003.npy"] == old["scan_0003.npy"]
    assert main([*command, "--images", "6"]) == 2
    assert "scan.npy.json: is of another sweep, with images 4 instead of 6" in capsys.readouterr().err
    if third:  # is begun and given up
        with monkeypatch.context() as patch:
            patch.setattr("nbnumba.campaign.series.Series.finish", interrupt)
            assert main([*command, "-seed", "3", "--overwrite"]) == 130
        assert {**contents(in_tmp_path), "scan.npy.json": b""} == {**new, "scan.npy.json": b""}
    capsys.readouterr()
    assert main([*command, "-seed", "2"]) == 0
    assert "4 images, 0 rendered now" in capsys.readouterr().out
    assert {**contents(in_tmp_path), "scan.npy.json": b""} == {**new, "scan.npy.json": b""}
    assert not Path(".scan.npy.unfinished").exists()


@pytest.mark.spec("CLI-20")
@pytest.mark.parametrize("name", ["scan.npy", "scan.nxs"])
def test_a_sweep_that_is_given_up_leaves_the_one_before(name: str, in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits of one sweep is taken for no other."""
    command = ["sweep", *SWEEP, "-o", name]
    assert main(command) == 0
    old = contents(in_tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("nbnumba.campaign.series.Series.finish", interrupt)
        patch.setattr("nbnumba.campaign.series.Stack.finish", interrupt)
        assert main([*command, "-seed", "2", "--overwrite"]) == 130
    assert (in_tmp_path / f".{name}.unfinished/000001.waiting").exists()
    for image in in_tmp_path.glob("scan*.n[px][ys]"):
        image.unlink()
    assert main(command) == 0
    assert contents(in_tmp_path) == old


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize(
    "record",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"images": 1' + "0" * 5000 + "}",
        '{"images": NaN}',
        "{}",
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
)
def test_strange_records(record: str | bytes, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("scan.npy.json").write_bytes(record.encode() if isinstance(record, str) else record)
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "scan.npy.json: is " in said
    assert "give another name, or --overwrite" in said
    assert main(["sweep", *SWEEP, "-o", "scan.npy", "--overwrite"]) == 0
    assert json.loads(Path("scan.npy.json").read_text())["images"] == 4


@pytest.mark.spec("CLI-14")
@pytest.mark.parametrize("images", [10**12, -5, True, "many"])
def test_a_record_of_more_images_than_there_can_be(images: object, in_tmp_path: Path) -> None:
    Path("scan.npy.json").write_text(json.dumps({"images": images}))
    began = time.monotonic()
    assert main(["sweep", *SWEEP, "-o", "scan.npy", "--overwrite"]) == 0
    assert time.monotonic() - began < 20.0


@pytest.mark.spec("CLI-14")
def test_a_record_that_is_a_pipe_is_not_waited_for(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("scan.npy.json")
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    assert "scan.npy.json: is not the record of a sweep" in capsys.readouterr().err


@pytest.mark.spec("CLI-14")
def test_what_is_not_of_the_sweep_stays(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/thesis.waiting").write_text("mine")
    Path(".scan.npy.unfinished").symlink_to("elsewhere")
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    assert ".scan.npy.unfinished: is a link; a sweep works in a folder of this name: remove the link" in capsys.readouterr().err
    assert [path.name for path in Path("elsewhere").iterdir()] == ["thesis.waiting"]
    Path(".scan.npy.unfinished").unlink()
    Path(".scan.npy.unfinished").write_text("a file")
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    assert ".scan.npy.unfinished: cannot be written: File exists" in capsys.readouterr().err
    Path(".scan.npy.unfinished").unlink()
    Path(".scan.npy.unfinished/folder").mkdir(parents=True)
    Path(".scan.npy.unfinished/thesis.txt").write_text("mine")
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0
    assert sorted(path.name for path in Path(".scan.npy.unfinished").iterdir()) == ["folder", "thesis.txt"]


@pytest.mark.spec("FMT-61")
def test_images_are_written_where_links_lead(in_tmp_path: Path) -> None:
    Path("data").mkdir()
    for number in (1, 2):
        Path(f"scan_000{number}.npy").symlink_to(f"data/{number}.npy")
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0
    assert main(["sweep", *SWEEP, "-seed", "2", "-o", "scan.npy", "--overwrite"]) == 0
    assert main(["sweep", *SWEEP, "-seed", "2", "-o", "plain.npy"]) == 0
    assert Path("scan_0002.npy").is_symlink()
    assert Path("data/2.npy").read_bytes() == Path("plain_0002.npy").read_bytes()
    assert main(["sweep", *SWEEP, "--images", "1", "-o", "scan.npy", "--overwrite"]) == 0
    assert [path.name for path in Path("data").iterdir()] == ["1.npy"]


@pytest.mark.spec("CLI-21")
def test_the_folder_is_made(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *SWEEP, "-o", "data/lysozyme/scan.nxs"]) == 0
    assert sorted(path.name for path in Path("data/lysozyme").iterdir()) == ["scan.nxs", "scan.nxs.json"]
    Path("file").write_text("")
    assert main(["sweep", *SWEEP, "-o", "file/scan.nxs"]) == 2
    assert "file/scan.nxs.json: cannot be written: file is no folder" in capsys.readouterr().err
    assert main(["sweep", *SWEEP, "-lambda", "-1", "-o", "other/scan.nxs"]) == 2
    assert not Path("other").exists()


@pytest.mark.spec("FMT-111")
@pytest.mark.parametrize(
    ("words", "ends", "wanted"),
    [
        ("--save-geom q.expt", "in .expt", ".geom"),
        ("--save-refl q.txt", "in .txt", ".refl"),
        ("--save-expt q", "in nothing", ".expt"),
        ("--save-geom a.geom --save-expt b.geom", "in .geom", ".expt"),
    ],
)
def test_files_of_other_programs_have_their_endings(
    words: str, ends: str, wanted: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *SWEEP, "-o", "scan.nxs", *words.split()]) == 2
    named = " ".join(words.split()[-2:])
    assert capsys.readouterr().err == f"nbnumba: error: {named}: ends {ends}; give a name that ends in {wanted}\n"
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.spec("CLI-21")
def test_people_read_what_was_rendered(in_tmp_path: Path) -> None:
    words = ["sweep", *SWEEP, "-misset", "10", "20", "30", "-o", "scan.npy", "--json", "all.json", "--save-config", "scan.toml"]
    assert main(words) == 0
    about = json.loads(Path("scan.npy.json").read_text())["about"]
    assert shlex.split(about["command"]) == ["nbnumba", *words]
    assert about["crystal"]["cell_A_deg"] == pytest.approx([50, 60, 70, 90, 90, 90])
    assert about["crystal"]["misset_deg"] == pytest.approx([10, 20, 30])
    assert np.linalg.norm([about["crystal"][f"{axis}_A"] for axis in "abc"], axis=1) == pytest.approx([50, 60, 70])
    assert about["geometry"]["distance_mm"] == pytest.approx(100)
    assert about["beam"]["wavelength_A"] == pytest.approx(1)
    everything = json.loads(Path("all.json").read_text())
    assert (everything["images"], everything["rendered_now"], everything["pixels_cut_off"]) == (4, 4, 0)
    assert everything["crystal"] == about["crystal"]
    assert main(["sweep", "--config", "scan.toml", *"--images 4 --width 0.5 -o again.npy".split()]) == 0
    for number in range(1, 5):
        assert Path(f"again_000{number}.npy").read_bytes() == Path(f"scan_000{number}.npy").read_bytes()
    assert main([*words[:-4], "--threads", "1"]) == 0  # the same sweep in other words


@pytest.mark.spec("FMT-62")
@pytest.mark.parametrize("name", ["scan_####.cbf", "scan_####.tif", "scan_####.npy", "scan.nxs", "scan_####.img"])
def test_pixels_that_are_not_rendered_have_no_counts(name: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.random.default_rng(1).random((64, 64)) < 0.9
    write_mask(mask)
    region = np.zeros((64, 64), bool)
    region[5:61, 3:51] = True
    assert main(["sweep", *SWEEP, "-adc", "7", "-mask", "mask.img", "-roi", "3", "50", "5", "60", "-o", name]) == 0
    found = read_image_file(image_names(name, 4)[1]).pixels
    said = capsys.readouterr().err
    rendered = mask & region
    assert found[rendered].min() >= 7
    if name.endswith("img"):
        assert f"scan_####.img: nothing marks the {np.count_nonzero(~rendered)} pixels that are not rendered (-roi, -mask)" in said
        assert set(found[~rendered].tolist()) == {0, 7}
    else:
        assert "not rendered" not in said
        assert set(found[~rendered].tolist()) == {-1}


@pytest.mark.spec("CLI-13")
def test_the_limit_itself_is_no_count_too_many() -> None:
    experiment = experiment_from_options("-default_F 1 -cell 50 -lambda 1 -N 5 -distance 100 -detpixels 4 -pixel 0.5")
    pixels = np.full((4, 4), 65534.0)
    pixels[0, :3] = 65535.0, 65536.0, 1e9
    counts, cut = Counting(seed=None).counts(Image(pixels=pixels, experiment=experiment, provenance={}), 1, UINT16)
    assert cut == 2
    assert counts[0].tolist() == [65535, 65535, 65535, 65534]


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
    Path(".scan.nxs.unfinished/000001.waiting").write_bytes(b"of another sweep")
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
    assert "scan.npy.json: is of another sweep, with code_sha256 nbnumba_plugin_file_p " in capsys.readouterr().err


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
    fill = files.fill

    def full(file: IO[bytes], content: files.Content) -> None:
        if len(list(in_tmp_path.glob("*.npy"))) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fill(file, content)

    monkeypatch.setattr(files, "fill", full)
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 2
    assert "scan_0003.npy: cannot be written: No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(in_tmp_path)
    assert main(["sweep", *SWEEP, "-o", "scan.npy"]) == 0
    assert "4 images, 2 rendered now" in capsys.readouterr().out


@pytest.mark.spec("DEV-40")
@pytest.mark.parametrize("name", ["scan.npy", "scan.nxs"])
def test_an_image_is_written_while_the_next_is_rendered(name: str, in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = [threading.Event() for _ in range(5)]
    image, counts = Sweep.image, Counting.counts

    def begun(self: Sweep, number: int) -> Experiment:
        rendering[number].set()
        return image(self, number)

    def after_the_next_has_begun(self: Counting, rendered: Image, number: int, held: CountRange) -> Any:
        assert number == 4 or rendering[number + 1].wait(30.0)
        return counts(self, rendered, number, held)

    assert main(["sweep", *SWEEP, "-o", name]) == 0
    expected = contents(in_tmp_path)
    monkeypatch.setattr(Sweep, "image", begun)
    monkeypatch.setattr(Counting, "counts", after_the_next_has_begun)
    assert main(["sweep", *SWEEP, "-o", name, "--overwrite"]) == 0
    assert contents(in_tmp_path) == {**expected, f"{name}.json": contents(in_tmp_path)[f"{name}.json"]}


@pytest.mark.spec("FMT-112")
def test_of_the_pixels_that_a_sweep_lacks_one_image_tells(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(nxmx_files, "pixels_of", lambda *chunk: looked_at.append(1) or pixels_of(*chunk))
    assert main(["sweep", *SWEEP, "-roi", "3", "50", "0", "60", "-o", "scan.nxs"]) == 0
    with h5py.File("scan.nxs") as file:
        images, mask = file["entry/data/data"][:], file["entry/instrument/detector/pixel_mask"][:]
    assert len(looked_at) == 1
    assert (mask[:61, 3:51] == 0).all()
    assert mask.sum() == 64 * 64 - 61 * 48
    assert [np.array_equal(image < 0, mask > 0) for image in images] == [True] * 4


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
        (["--json", "nowhere/a.json"], "nowhere/a.json: cannot be written: the folder nowhere does not exist"),
        (["--json", "sweep_0001.cbf"], "sweep_0001.cbf: two outputs have this name; give each its own"),
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
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def interrupt(*given: object) -> None:
    raise KeyboardInterrupt


def write_mask(mask: np.ndarray) -> None:
    """As mask.img; its header states no more than its size."""
    slow, fast = mask.shape
    header = f"{{\nHEADER_BYTES=512;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nSIZE1={fast};\nSIZE2={slow};\n}}\n"
    Path("mask.img").write_bytes(header.ljust(512).encode() + mask.astype("<u2").tobytes())


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
