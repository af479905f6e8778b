"""Files as other programs read them, written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
from conftest import ENVIRONMENT, PROGRAM

import nbnumba
from nbnumba import OutputFileError
from nbnumba.cli.main import main
from nbnumba.files import whole as files
from nbnumba.files.whole import Hidden, Nameless, check_writable, write_all
from nbnumba.formats.pgm import pgm_blocks
from nbnumba.formats.smv import header, header_text, padded, smv_blocks
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image.drawing import binned
from nbnumba.image.png import png_bytes
from nbnumba.image.rings import resolution_A, ring_resolutions
from nbnumba.image.summary import as_text, image_summary
from nbnumba.response.noise import expected_counts

OPTIONS = "-default_F 100 -cell 50 -lambda 2 -N 5 -distance 100 -detpixels_x 40 -detpixels_y 30 -misset 10 20 30 -phi 3 -osc 2 -pixel 0.5"


@pytest.fixture(scope="module")
def image() -> nbnumba.Image:
    return nbnumba.simulate(nbnumba.experiment_from_options(f"{OPTIONS} -roi 5 30 2 25"))


@pytest.mark.spec("FMT-5")
def test_fabio_opens_an_smv_image_and_its_header(image: nbnumba.Image, tmp_path: Path) -> None:
    pixels = np.vstack([*expected_counts(image, 0.0, 40.0)])
    file = tmp_path / "image.img"
    file.write_bytes(b"".join(smv_blocks(image.experiment, [pixels])))
    with fabio.open(str(file)) as opened:
        np.testing.assert_array_equal(opened.data, pixels)
        assert opened.header["SIZE1"] == "40"
        assert opened.header["DISTANCE"] == "100"
        assert opened.header["DIALS_ORIGIN"].count(",") == 2
        assert float(opened.header["OSC_RANGE"]) == 2.0
    assert pixels.max() == 55040
    assert pixels[0, 0] == 0
    assert pixels[2, 5] >= 40


@pytest.mark.spec("FMT-5", "FMT-44")
@pytest.mark.parametrize("kind", ["ADSC's", "nanoBragg's"])
def test_every_line_of_a_header_is_a_keyword_with_its_value(image: nbnumba.Image, kind: str) -> None:
    of_reference = header_text(image.experiment, 512).ljust(512)
    text = header(exposure_of(image.experiment)).decode("ascii") if kind == "ADSC's" else of_reference
    assert len(text) == 512
    assert text.startswith(f"{{\nHEADER_BYTES={len(text)};\nDIM=2;\nBYTE_ORDER={sys.byteorder}_endian;\nTYPE=unsigned_short;\n")
    body, _, padding = text[2:].partition("}\f")
    assert all(re.fullmatch(r"[A-Z0-9_]+=[^=;]+;", line) for line in body.splitlines())
    assert not padding.strip()


@pytest.mark.spec("FMT-5")
def test_a_long_header_takes_another_block(image: nbnumba.Image) -> None:
    detector = replace(image.experiment.detector, pixel_size=1.23456e-5, distance=0.123456789, rotations=(0.1234567, 0.2345678, 0.3456789))
    found = padded(lambda size: header_text(replace(image.experiment, detector=detector), size)).decode("ascii")
    assert len(found) == 1024
    assert "HEADER_BYTES=1024;" in found
    assert found.rstrip().endswith("}")


@pytest.mark.spec("FMT-5", "EXP-12")
def test_counts_are_clipped_to_16_bits(image: nbnumba.Image) -> None:
    assert np.vstack([*expected_counts(image, 1e30, 0.0)]).max() == 65535
    assert np.vstack([*expected_counts(image, 1e-30, -100.0)]).max() == 0


@pytest.mark.spec("FMT-7")
def test_pgm_levels(image: nbnumba.Image) -> None:
    magic, size, comment, most, levels = b"".join(pgm_blocks(image, 0.0)).split(b"\n", 4)
    assert (magic, size, most) == (b"P5", b"40 30", b"255")
    scale = 250.0 / (5.0 * image.statistics.rms_deviation)
    assert comment == f"# pixels scaled by {scale:g}".encode()
    found = np.frombuffer(levels, np.uint8).reshape(30, 40)
    np.testing.assert_array_equal(found, np.minimum(image.float32.astype(float) * scale, 255.0).astype(np.uint8))
    empty = replace(image, pixels=np.zeros_like(image.pixels))
    assert next(pgm_blocks(empty, 0.0, 0.5)).splitlines()[2] == b"# pixels scaled by 0.5"


@pytest.mark.spec("FMT-9")
def test_a_picture_has_rings_at_their_resolution(image: nbnumba.Image) -> None:
    assert png_bytes(image).startswith(b"\x89PNG")
    assert png_bytes(replace(image, pixels=np.zeros_like(image.pixels))).startswith(b"\x89PNG")
    row = nbnumba.experiment_from_options(f"{OPTIONS} -detpixels_y 1")
    assert png_bytes(nbnumba.simulate(row)).startswith(b"\x89PNG")
    d, frame = resolution_A(exposure_of(image.experiment), np.arange(40.0), np.arange(30.0)), image.experiment.frame
    off_beam = np.hypot(0.5 * 5e-4 - frame.beam_fast, 0.5 * 5e-4 - frame.beam_slow)
    assert d[0, 0] == pytest.approx(2.0 / (2.0 * np.sin(np.arctan(off_beam / 0.1) / 2.0)), rel=1e-9)
    assert ring_resolutions(d)
    spot = np.zeros((2000, 1000))
    spot[1999, 997] = 5.0
    shown, edges = binned(spot)
    assert shown.shape == (667, 334)
    assert edges == (-0.5, 1001.5, 2000.5, -0.5)
    assert shown[666, 332] == 5.0
    assert all(d.min() < ring < d.max() for ring in ring_resolutions(d))


@pytest.mark.spec("CLI-8", "FMT-6", "FMT-8")
def test_the_summary_states_geometry_in_every_convention(image: nbnumba.Image) -> None:
    summary = image_summary(image)
    geometry = summary["geometry"]
    assert geometry["xds_orgx_orgy_pixel"] == pytest.approx(
        (geometry["denzo_center_mm"][1] / 0.5 + 0.5, geometry["denzo_center_mm"][0] / 0.5 + 0.5)
    )
    assert geometry["mosflm_center_mm"] == pytest.approx(tuple(v - 0.25 for v in geometry["denzo_center_mm"]))
    assert geometry["adxv_center_mm"][1] == pytest.approx(15 - geometry["denzo_center_mm"][0])
    assert {"program", "preset", "stages", "versions", "statistics", "crystal", "warnings"} <= summary.keys()
    assert summary["statistics"]["pixels"] == 26 * 24
    text = as_text(summary)
    assert "xds_orgx_orgy_pixel" in text
    assert "None" not in text


@pytest.fixture(params=["nameless", "hidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files have no name until they are in place, or, as where the system knows no such files, a hidden one."""
    if request.param == "hidden":
        monkeypatch.setattr(files, "nameless_file", lambda folder: None)
    elif (file := files.nameless_file(Path())) is None:
        pytest.skip("this system knows no files without a name")
    else:
        file.close()


def full_disk() -> Iterator[bytes]:
    yield b"some of it"
    raise OSError(errno.ENOSPC, "No space left on device")


def failing(place: Callable[[Any], None], error: BaseException) -> Callable[[Any], None]:
    """One that cannot put the third file in place."""

    def attempt(self: Nameless | Hidden) -> None:
        if self.target.name == "third":
            raise error
        place(self)

    return attempt


@pytest.mark.spec("FMT-3")
@pytest.mark.usefixtures("way")
def test_either_all_files_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(OutputFileError, match=r"second: cannot be written: No space left on device"):
        write_all({tmp_path / "old": b"new", tmp_path / "second": full_disk()})
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.spec("FMT-60")
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("error", [PermissionError(errno.EPERM, "Operation not permitted"), KeyboardInterrupt()])
def test_what_is_in_place_already_is_taken_back(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o640)
    for kind in (Nameless, Hidden):
        monkeypatch.setattr(kind, "place", failing(kind.place, error))
    with pytest.raises((OutputFileError, KeyboardInterrupt)):
        write_all({tmp_path / "old": b"new", tmp_path / "second": b"2", tmp_path / "third": b"3"})
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


@pytest.mark.spec("FMT-60")
@pytest.mark.usefixtures("way")
def test_a_file_that_takes_the_place_of_another_has_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(b"old")
    (tmp_path / "private").chmod(0o600)
    write_all({tmp_path / "private": b"new", tmp_path / "other": b"new"})
    umask = os.umask(0)
    os.umask(umask)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("private", "other")] == [0o600, 0o666 & ~umask]


@pytest.mark.spec("FMT-60")
@pytest.mark.skipif(sys.platform == "win32", reason="limits")
def test_more_files_than_can_be_open_are_written(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        for content in (b"old", b"new"):
            write_all({tmp_path / f"{number}": content for number in range(300)})
        with pytest.raises(OutputFileError, match="No space left on device"):
            write_all({tmp_path / f"{number}": full_disk() if number == 299 else b"newer" for number in range(300)})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"new"}
    assert len(list(tmp_path.iterdir())) == 300


@pytest.mark.spec("FMT-61")
@pytest.mark.usefixtures("way")
def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    for name, target in (("link", "data/there"), ("dangling", "data/not_yet"), ("second", "link")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/there").write_bytes(b"old")
    check_writable([tmp_path / "second", tmp_path / "dangling"])
    write_all({tmp_path / "second": b"1", tmp_path / "dangling": b"2"})
    assert all((tmp_path / name).is_symlink() for name in ("link", "dangling", "second"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == {"there": b"1", "not_yet": b"2"}


@pytest.mark.spec("FMT-61")
def test_links_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "astray").symlink_to("none/file")
    with pytest.raises(OutputFileError, match="circle: cannot be written: is a link that leads to itself"):
        check_writable([tmp_path / "circle"])
    with pytest.raises(OutputFileError, match=r"astray: cannot be written: the folder .*none does not exist"):
        check_writable([tmp_path / "astray"])
    (tmp_path / "a").symlink_to("b")
    with pytest.raises(OutputFileError, match="two outputs have this name"):
        check_writable([tmp_path / "a", tmp_path / "b"])


RUN = "run -default_F 100 -cell 100 100 100 90 90 90 -lambda 6.2 -N 5 -distance 100 -pixel 0.1 -detpixels 8 -seed 1".split()


@pytest.mark.spec("FMT-61")
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd")
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_standard_output_is_written_to_under_any_name(mode: str, in_tmp_path: Path) -> None:
    Path("dev").mkdir()
    Path("dev/stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout is one
    Path("caught").write_bytes(b"before")
    with Path("caught").open(mode) as caught:
        done = subprocess.run([*PROGRAM, *RUN, "-floatfile", "dev/stdout"], stdout=caught, stderr=subprocess.PIPE, text=True, check=True)
    assert main([*RUN, "-floatfile", "expected"]) == 0
    before = b"before" if mode == "ab" else b""
    assert Path("caught").read_bytes() == before + Path("expected").read_bytes()
    assert Path("dev/stdout").readlink() == Path("/proc/self/fd/1")
    assert [path.name for path in Path("dev").iterdir()] == ["stdout"]
    assert "wrote dev/stdout, intimage.img" in done.stderr


@pytest.mark.spec("FMT-61")
def test_what_permissions_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of somebody who owns nothing here: the administrator, as whom tests may run, is forbidden nothing."""
    monkeypatch.setattr(os, "access", lambda path, mode: bool(os.stat(path).st_mode & stat.S_IWOTH))
    (tmp_path / "closed").mkdir()
    for name, mode in (("closed", 0o755), ("kept", 0o444), (".", 0o777)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    with pytest.raises(OutputFileError, match="kept: cannot be written: no permission to write to it"):
        check_writable([tmp_path / "kept"])
    with pytest.raises(OutputFileError, match=r"new: cannot be written: no permission to write in .*closed"):
        check_writable([tmp_path / "closed/new"])
    check_writable([tmp_path / "new", Path(os.devnull)])  # whose folder is not for everybody


@pytest.mark.spec("FMT-60")
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    dead, folder = tmp_path / f"{files.UNFINISHED}dead", tmp_path / f"{files.UNFINISHED}folder"
    dead.write_bytes(b"some of it")
    folder.mkdir()
    (folder / "0").write_bytes(b"some of it")
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / f"{files.UNFINISHED}link").symlink_to("mine")
    code = (
        "import sys; from pathlib import Path; import nbnumba.files.whole as files; files.nameless_file = lambda folder: None\n"
        "def content(file): print(Path(file.name).parent, flush=True); sys.stdin.read()\n"
        "files.write_all({Path(sys.argv[1]): content})"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "live")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as writing:
        assert writing.stdout is not None
        live = Path(writing.stdout.readline().strip())
        check_writable([tmp_path / "new"])
        assert live.exists()
        assert not dead.exists()
        assert not folder.exists()
        writing.kill()
        writing.wait()
    check_writable([tmp_path / "new"])
    assert not live.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{files.UNFINISHED}link", "mine"]
    assert (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.spec("FMT-60")
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("kills", [25, pytest.param(400, marks=pytest.mark.slow)])
def test_killed_while_files_take_the_place_of_others_each_is_old_or_new(kills: int, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from nbnumba.files.whole import write_all; print(flush=True)\n"
        "while True:\n    for k in b'BCDEF': write_all({Path(n): bytes([k]) * 20000 for n in 'xyz'})"
    )
    left = 0
    for moment in np.random.default_rng(1).uniform(0.0, 0.02, kills):
        for name in "xyz":
            (tmp_path / name).write_bytes(b"A" * 20000)
        with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, env=ENVIRONMENT) as writing:
            assert writing.stdout is not None
            writing.stdout.readline()
            time.sleep(moment)
            writing.kill()
        for name in "xyz":
            content = (tmp_path / name).read_bytes()
            assert len(content) == 20000
            assert len(set(content)) == 1
        left += len(list(tmp_path.iterdir())) > 3
        check_writable([tmp_path / "x"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y", "z"]
    assert left <= kills / 5


@pytest.mark.spec("FMT-3")
@pytest.mark.parametrize("target", ["file", "pipe"])
def test_files_come_in_blocks_and_a_failure_between_two_leaves_all_as_it_was(target: str, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    write_all({tmp_path / "old": iter([b"one ", b"two"]), tmp_path / "new": b"three"})
    assert [(tmp_path / name).read_bytes() for name in ("old", "new")] == [b"one two", b"three"]

    def failing() -> Iterator[bytes]:
        yield b"1"
        raise MemoryError

    reader = threading.Thread(target=lambda: (tmp_path / target).read_bytes())
    if target == "pipe":
        os.mkfifo(tmp_path / "pipe")
        reader.start()
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(MemoryError):
        write_all({tmp_path / "old": b"newer", tmp_path / "third": b"3", tmp_path / target: failing()})
    if target == "pipe":
        reader.join(timeout=10)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert (tmp_path / "old").read_bytes() == b"one two"


@pytest.mark.spec("FMT-3")
def test_pipes_and_devices_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    check_writable([pipe, Path(os.devnull)])
    write_all({pipe: b"photons", Path(os.devnull): b"nothing", tmp_path / "file": b"more"})
    reader.join(timeout=10)
    assert read == [b"photons"]
    assert pipe.is_fifo()
    assert Path(os.devnull).is_char_device()
    assert (tmp_path / "file").read_bytes() == b"more"


@pytest.mark.spec("FMT-3")
def test_targets_are_checked_before_rendering(tmp_path: Path) -> None:
    with pytest.raises(OutputFileError, match=r"x.img: cannot be written: the folder .*none does not exist"):
        check_writable([tmp_path / "none" / "x.img"])
    with pytest.raises(OutputFileError, match="is a folder"):
        check_writable([tmp_path])
    with pytest.raises(OutputFileError, match="two outputs have this name"):
        check_writable([tmp_path / "a", tmp_path / "a"])
