"""Files as other programs read them, written whole or not at all."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import fabio
import numpy as np
import pytest

import nbnumba
from nbnumba import OutputFileError
from nbnumba.files import check_writable, write_all
from nbnumba.outputs.drawing import binned
from nbnumba.outputs.exposure import exposure_of
from nbnumba.outputs.pgm import pgm_blocks
from nbnumba.outputs.png import png_bytes
from nbnumba.outputs.rings import resolution_A, ring_resolutions
from nbnumba.outputs.smv import counts, header, smv_blocks
from nbnumba.outputs.summary import as_text, image_summary

OPTIONS = "-default_F 100 -cell 50 -lambda 2 -N 5 -distance 100 -detpixels_x 40 -detpixels_y 30 -misset 10 20 30 -phi 3 -osc 2 -pixel 0.5"


@pytest.fixture(scope="module")
def image() -> nbnumba.Image:
    return nbnumba.simulate(nbnumba.experiment_from_options(f"{OPTIONS} -roi 5 30 2 25"))


@pytest.mark.spec("FMT-5")
def test_fabio_opens_an_smv_image_and_its_header(image: nbnumba.Image, tmp_path: Path) -> None:
    pixels = np.vstack([*counts(image, 0.0, 40.0)])
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


@pytest.mark.spec("FMT-5")
def test_a_dxtbx_type_reader_finds_its_keywords(image: nbnumba.Image) -> None:
    """Header bytes in the first 512, one KEY=VALUE; a line, closed by } and a form feed."""
    text = header(image.experiment).decode("ascii")
    assert len(text) == 512
    assert text.startswith("{\nHEADER_BYTES=512;\nDIM=2;\nBYTE_ORDER=")
    body = text[2 : text.index("}\f")]
    assert all(line.endswith(";") and "=" in line for line in body.splitlines())
    assert f"BYTE_ORDER={sys.byteorder}_endian;" in body


@pytest.mark.spec("FMT-5")
def test_a_long_header_takes_another_block(image: nbnumba.Image) -> None:
    detector = replace(image.experiment.detector, pixel_size=1.23456e-5, distance=0.123456789, rotations=(0.1234567, 0.2345678, 0.3456789))
    found = header(replace(image.experiment, detector=detector)).decode("ascii")
    assert len(found) % 512 == 0
    assert f"HEADER_BYTES={len(found)};" in found
    assert found.rstrip().endswith("}")


@pytest.mark.spec("FMT-5", "EXP-12")
def test_counts_are_clipped_to_16_bits(image: nbnumba.Image) -> None:
    assert np.vstack([*counts(image, 1e30, 0.0)]).max() == 65535
    assert np.vstack([*counts(image, 1e-30, -100.0)]).max() == 0


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


@pytest.mark.spec("FMT-3")
def test_either_all_files_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_bytes(b"old")
    original = Path.open

    def full_disk(self: Path, mode: str) -> IO[Any]:
        if ".second." in self.name:
            raise OSError(28, "No space left on device")
        return original(self, mode)

    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(OutputFileError, match=r"second: cannot be written: No space left on device"):
        write_all({tmp_path / "old": b"new", tmp_path / "second": b"2"})
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


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
