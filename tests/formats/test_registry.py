"""A format is one declaration in one module: the house's own, and one that a package adds."""

from pathlib import Path

import numpy as np
import pytest

from nbnumba.campaign.products import contents_of, named_product
from nbnumba.cli.main import main
from nbnumba.errors import NotAvailableError
from nbnumba.formats import registry
from nbnumba.formats.format import Format
from nbnumba.formats.raw import RAW
from nbnumba.formats.read import is_counts, read_image, read_image_file
from nbnumba.options.output import FRAME, GREYS, NOISY_FRAME, PHOTONS

MADE_UP = '''
"""Lines of numbers, after a line that says so."""
import numpy as np
from nbnumba.formats.format import Format, ImageFile, begins_with
from nbnumba.response.counts import CountRange

def read(path, wanted):
    return ImageFile(np.loadtxt(path, dtype=int, skiprows=1, ndmin=2), None)

def write(pixels, exposure):
    return b"MADE UP\\n" + "\\n".join(" ".join(map(str, row)) for row in pixels.tolist()).encode()

MADE_UP = Format(name="made-up", endings=(".mdu",), understand=begins_with(b"MADE UP"), read=read, write=write,
                 counts=CountRange(np.int16, 0, 999), photons=False, geometry="stated", unsaid=lambda exposure: "says nothing")
NOT_ONE = 3
'''
RUN = "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -distance 100 -N 5 -detpixels 12 -pixel 0.5 -oversample 1"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """A package with one format, as pip leaves it."""
    (folder / "made_up_format.py").write_text(MADE_UP)
    info = folder / "made_up_format-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-format\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nbnumba.formats]\nmade_up = {target}\n")
    monkeypatch.syspath_prepend(folder)
    registry.installed.cache_clear()


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    yield lambda target: install(tmp_path / "package", monkeypatch, f"made_up_format:{target}")
    registry.installed.cache_clear()


@pytest.mark.spec("FMT-70")
def test_a_format_of_one_file_is_read_written_drawn_and_compared(made_up, capsys: pytest.CaptureFixture[str]) -> None:
    made_up("MADE_UP")
    np.save("a.npy", np.array([[0.4, 2.5], [1200.0, 7.0]]))
    assert main(["convert", "a.npy", "a.mdu"]) == 0
    said = capsys.readouterr().err
    assert Path("a.mdu").read_text() == "MADE UP\n0 3\n999 7"
    assert "a.mdu: a made-up file states no geometry; --like FILE names an image that does" in said
    assert "a.mdu: a made-up file holds whole counts: photons were rounded in 1 image" in said
    assert "a.mdu: a made-up file cannot hold 1 pixels, which were cut off at its limits" in said
    assert main(["convert", "a.mdu", "b.tif"]) == 0
    np.testing.assert_array_equal(read_image("b.tif"), [[0, 3], [999, 7]])
    assert is_counts("a.mdu")
    assert main(["compare", "a.mdu", "b.tif"]) == 0


@pytest.mark.spec("FMT-70")
def test_a_run_and_a_sweep_write_a_format_of_one_file(made_up) -> None:
    made_up("MADE_UP")
    assert main(["run", *RUN.split(), "-seed", "1", "-o", "a.mdu", "-o", "a.cbf"]) == 0
    np.testing.assert_array_equal(read_image("a.mdu"), np.clip(read_image("a.cbf"), 0, 999))
    assert main(["sweep", *RUN.split(), "--images", "2", "--width", "1", "-o", "s_#.mdu"]) == 0
    assert read_image("s_2.mdu").shape == (12, 12)


@pytest.mark.spec("FMT-70")
def test_a_format_that_is_none_is_refused(made_up, capsys: pytest.CaptureFixture[str]) -> None:
    made_up("NOT_ONE")
    np.save("a.npy", np.zeros((2, 2)))
    assert main(["convert", "a.npy", "a.mdu"]) == 2
    assert (
        capsys.readouterr().err == "nbnumba: error: format made_up_format:NOT_ONE is of type int, not a Format of nbnumba.formats.format\n"
    )


@pytest.mark.spec("FMT-70")
def test_a_format_that_cannot_be_loaded_is_refused(made_up) -> None:
    made_up("MISSING")
    with pytest.raises(NotAvailableError, match=r"format made_up_format:MISSING cannot be loaded: AttributeError"):
        registry.by_ending(Path("a.mdu"))
    assert registry.by_ending(Path("a.cbf")) is not None


@pytest.mark.spec("FMT-70")
@pytest.mark.parametrize("kind", registry.FORMATS, ids=lambda kind: kind.name)
def test_every_declaration_is_whole(kind: Format, tmp_path: Path) -> None:
    """What is written is understood by its own format alone, and read; endings are nobody else's."""
    assert all(ending == ending.lower() and registry.by_ending(Path(f"A{ending.upper()}")) is kind for ending in kind.endings)
    assert kind.write or kind.read
    assert (kind.scan is None) or kind.read is None
    if kind.write is None or kind.geometry == "needed":
        return
    pixels = np.arange(4, dtype=kind.counts.dtype if kind.counts else np.float32).reshape(2, 2)
    path = tmp_path / f"a{kind.endings[0]}"
    path.write_bytes(kind.write(pixels, None))
    assert [other for other in registry.FORMATS if other is not RAW and other.understand(path.read_bytes(), path)] == (
        [] if kind is RAW else [kind]
    )
    if kind.read:
        np.testing.assert_array_equal(read_image_file(path).pixels, pixels)


@pytest.mark.spec("FMT-24", "FMT-4", "FMT-7")
def test_raw_and_greys_are_converted_to(in_tmp_path: Path) -> None:
    pixels = np.array([[0.25, 300.0], [7.5, 1.0]], np.float32)
    np.save("a.npy", pixels)
    assert main(["convert", "a.npy", "a.bin"]) == 0
    assert Path("a.bin").read_bytes() == pixels.tobytes()
    assert main(["convert", "a.npy", "a.pgm"]) == 0
    assert Path("a.pgm").read_bytes() == b"P5\n2 2\n255\n" + bytes([0, 255, 8, 1])


@pytest.mark.spec("FMT-24")
def test_a_scan_is_written_in_formats_of_counts(in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("s_#.bin", "s_#.pgm", "s_#.npz"):
        assert main(["sweep", *RUN.split(), "--images", "1", "--width", "1", "-o", name]) == 2
        assert f"{name}: {name[-4:]} stands for no image format; there are .img, .smv, .cbf" in capsys.readouterr().err


@pytest.mark.spec("FMT-70")
def test_what_a_run_puts_into_a_file_follows_from_its_format() -> None:
    found = {kind.name: (contents_of(kind, noise=True), contents_of(kind, noise=False)) for kind in registry.FORMATS}
    detectors, pixels = (NOISY_FRAME, FRAME), (PHOTONS, PHOTONS)
    assert found == {
        "SMV": detectors, "miniCBF": detectors, "NeXus NXmx": detectors, "TIFF": pixels, "NumPy": pixels, "NumPy (.npz)": pixels,
        "raw": pixels, "PGM": (GREYS, GREYS), "DIALS mask": pixels,
    }  # fmt: skip
    assert named_product(Path("a.bin"), noise=True).holds == PHOTONS
