"""CrystFEL geometry files that are written, read back by a reader written from CrystFEL's manual and by nbnumba's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geom_detectors import DETECTORS
from manual_geom import read_manual

import nbnumba
from nbnumba import Detector, Experiment, Image, Panel
from nbnumba.campaign.write import write_image
from nbnumba.cli.main import main
from nbnumba.geometry.crystfel import read_geom
from nbnumba.geometry.crystfel_text import geom_text, unsaid

CLOSE = 1e-9  # m
CRYSTAL = "-default_F 1 -cell 50 -lambda 1.1 -oversample 1"


def written(folder: Path, experiment: Experiment, name: str = "out.geom") -> Path:
    (folder / name).write_text(geom_text(experiment))
    return folder / name


def corners(panel: Panel) -> np.ndarray:
    """Of every pixel, [slow, fast, xyz]."""
    fast, slow = np.arange(panel.fast_pixels), np.arange(panel.slow_pixels)
    steps = fast[None, :, None] * np.array(panel.fast_axis) + slow[:, None, None] * np.array(panel.slow_axis)
    return np.array(panel.origin) + panel.pixel_size * steps


def laboratory(x: tuple[float, ...], z: tuple[float, ...]) -> np.ndarray:
    """Rows x, y, z."""
    return np.array([x, np.cross(z, x), z])


@pytest.mark.spec("FMT-82", "FMT-83")
@pytest.mark.parametrize("name", DETECTORS)
def test_what_was_read_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    """In the same frame, whichever reader reads it: places, bad pixels, names, groups."""
    (tmp_path / "in.geom").write_text(DETECTORS[name][1]())
    experiment = nbnumba.experiment_from_options(f"{CRYSTAL} --geom {tmp_path / 'in.geom'}")
    out = written(tmp_path, experiment)
    before, after = read_manual(tmp_path / "in.geom"), read_manual(out)
    row = 0
    for panel, first, second in zip(experiment.panels, before.panels.values(), after.panels.values(), strict=True):
        assert np.abs(second.corners() - first.corners()).max() < CLOSE
        assert np.abs(second.corners() - corners(panel)).max() < CLOSE
        np.testing.assert_array_equal(second.bad, first.bad)
        assert (second.data, second.dims, second.first) == ("/entry/data/data", ["%", "ss", "fs"], (row, 0))
        row += second.shape[0]
    again = read_geom(out)
    assert again.notes == (f"{out}: not used: adu_per_photon",)
    assert again.exposure.wavelength == pytest.approx(experiment.beam.wavelength, rel=1e-15)
    assert after.wavelength == again.exposure.wavelength
    if experiment.detector.panels:
        assert list(after.panels) == [panel.name for panel in experiment.detector.panels]
        assert [panel.group for panel in again.panels] == [panel.group for panel in experiment.detector.panels]
        assert written(tmp_path, replace(experiment, detector=replace(experiment.detector, panels=again.panels)), "2.geom").read_text()


@pytest.mark.spec("FMT-82")
@pytest.mark.parametrize(
    ("words", "x", "z"),
    [
        ("-mosflm -twotheta 20 -detector_rotz 3", (0, 0, -1), (1, 0, 0)),  # x against the spindle, as NXmx has it
        ("-xds -ORGX 5 -ORGY 20", (1, 0, 0), (0, 0, 1)),  # z is along the beam already
        ("-adxv -detector_rotx 5", (1, 0, 0), (0, 0, 1)),
        ("-dials", (1, 0, 0), (0, 0, 1)),
    ],
)
def test_one_panel_in_the_frame_of_crystfel(words: str, x: tuple[float, ...], z: tuple[float, ...], tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(
        f"{CRYSTAL} {words} -distance 80 -pixel 0.17 -detpixels_x 31 -detpixels_y 23 --preset physics"
    )
    (sheet,) = read_manual(written(tmp_path, experiment)).panels.values()
    frame, pixel = experiment.frame, experiment.detector.pixel_size
    place = frame.pix0 + pixel * (7 * frame.fast_axis + 11 * frame.slow_axis)
    assert np.abs(sheet.corners()[11, 7] - laboratory(x, z) @ place).max() < CLOSE
    assert sheet.shape == (23, 31)
    assert not sheet.bad.any()


PAIR = """wavelength = 1.1 A
res = 5000
clen = 0.08
min_fs = 0
max_fs = 8
fs = x
ss = y
p0/min_ss = 0
p0/max_ss = 6
p0/corner_x = 3
p0/corner_y = 2
p1/min_ss = 7
p1/max_ss = 13
p1/corner_x = -13
p1/corner_y = 2
"""


def two(**more) -> Experiment:
    """Two panels of different sizes, one beside the other."""
    base = nbnumba.experiment_from_options(f"{CRYSTAL} -distance 80 -pixel 0.2 -detpixels_x 9 -detpixels_y 7")
    (panel,) = base.panels
    beside = tuple(np.array(panel.origin) + 12 * panel.pixel_size * np.array(panel.fast_axis))
    return replace(base, detector=Detector(panels=(panel, replace(panel, origin=beside, fast_pixels=5, **more))))


@pytest.mark.spec("FMT-82")
def test_masks_are_written_as_rectangles(tmp_path: Path) -> None:
    mask = np.ones((7, 5), bool)
    mask[2:4, 1:] = mask[4, 3] = mask[6, :2] = mask[6, 4] = False
    out = written(tmp_path, two(mask=mask))
    first, second = read_manual(out).panels.values()
    assert not first.bad.any()
    np.testing.assert_array_equal(second.bad, ~mask)
    assert second.first == (7, 0)
    assert out.read_text().count("/panel = p1") == 4
    region = replace(two(mask=mask), sampling=replace(two().sampling, roi=(1, 3, 0, 5)))
    first, second = read_manual(written(tmp_path, region)).panels.values()
    inside = np.zeros((7, 9), bool)
    inside[:6, 1:4] = True
    np.testing.assert_array_equal(first.bad, ~inside)
    np.testing.assert_array_equal(second.bad, ~(mask & inside[:, :5]))
    nothing = written(tmp_path, two(mask=np.zeros((7, 5), bool))).read_text()
    assert "p1/no_index = 1" in nothing
    assert "bad_" not in nothing


@pytest.mark.spec("FMT-82")
def test_a_mask_of_very_many_pieces_is_left_to_the_nxmx_file(tmp_path: Path) -> None:
    base = nbnumba.experiment_from_options(f"{CRYSTAL} -distance 80 -pixel 0.2 -detpixels 70")
    mask = np.indices((70, 70)).sum(axis=0) % 2 == 0
    experiment = replace(base, sampling=replace(base.sampling, mask=mask))
    text = geom_text(experiment)
    assert "mask0_data = /entry/instrument/detector/pixel_mask\nmask0_badbits = 0x7fffffff\n" in text
    assert "bad_" not in text
    assert unsaid(experiment) == "leaves its masks to pixel_mask of the NXmx file: they have 2450 regions"
    import h5py

    write_image(tmp_path / "a.nxs", Image(np.ones((70, 70)), experiment, {}), seed=1)
    with h5py.File(tmp_path / "a.nxs") as file:
        np.testing.assert_array_equal(file["/entry/instrument/detector/pixel_mask"][()] & 0x7FFFFFFF != 0, ~mask)
        assert file["/entry/data/data"].shape == (1, 70, 70)


@pytest.mark.spec("FMT-82")
@pytest.mark.parametrize(
    ("groups", "lines"),
    [
        (("", ""), ["group_all = p0,p1"]),
        (("q", "q"), ["group_q = p0,p1", "group_all = q"]),
        (
            ("q0/m0", "q1/m0"),
            ["group_all_q0_m0 = p0", "group_all_q1_m0 = p1", "group_q0 = all_q0_m0", "group_q1 = all_q1_m0", "group_all = q0,q1"],
        ),
        (("q0/all", "my group"), ["group_all_q0_all = p0", "group_q0 = all_q0_all", "group_my_group = p1", "group_all = q0,my_group"]),
        (("p1", ""), ["group_all_p1 = p0", "group_all = all_p1,p1"]),
    ],
)
def test_groups(groups: tuple[str, str], lines: list[str]) -> None:
    experiment = two()
    panels = tuple(replace(panel, group=group) for panel, group in zip(experiment.detector.panels, groups, strict=True))
    text = geom_text(replace(experiment, detector=Detector(panels=panels)))
    assert [line for line in text.splitlines() if line.startswith("group_")] == lines


@pytest.mark.spec("FMT-82")
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a", "b.1"), ["a", "b.1"]),
        (("a", "a"), ["p0", "p1"]),
        (("bad1", "b"), ["p0", "p1"]),
        (("rigid_groups", "b"), ["p0", "p1"]),
        (("my panel", "b"), ["p0", "p1"]),
        (("all", "b"), ["p0", "p1"]),
    ],
)
def test_names_that_a_file_cannot_have(names: tuple[str, str], expected: list[str], tmp_path: Path) -> None:
    experiment = two()
    panels = tuple(replace(panel, name=name) for panel, name in zip(experiment.detector.panels, names, strict=True))
    assert list(read_manual(written(tmp_path, replace(experiment, detector=Detector(panels=panels)))).panels) == expected


@pytest.mark.spec("FMT-82")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", ""),
        ("-osc 1 -phisteps 3", "does not say: the rotation about the spindle"),
        ("-detector_thick 300", "does not say: the sensor"),
        ("-polar_vector 0 1 0", "does not say: the polarization, which is not along x"),
        ("-curved_det", "does not say: that the detector is curved: it is the plane that it touches"),
        ("-osc 1 -phisteps 3 -detector_thick 300", "does not say: the rotation about the spindle, the sensor"),
    ],
)
def test_what_a_file_does_not_say(words: str, said: str) -> None:
    assert unsaid(nbnumba.experiment_from_options(f"{CRYSTAL} -distance 80 -pixel 0.2 -detpixels 9 {words}")) == said


@pytest.mark.spec("FMT-82")
def test_a_curved_detector_is_the_plane_that_it_touches() -> None:
    flat, curved = (
        nbnumba.experiment_from_options(f"{CRYSTAL} -distance 80 -pixel 0.2 -detpixels 9 {words}") for words in ("", "-curved_det")
    )
    assert geom_text(curved) == geom_text(flat)


@pytest.mark.spec("FMT-82")
def test_written_from_python(tmp_path: Path) -> None:
    experiment = nbnumba.experiment_from_options(f"{CRYSTAL} -distance 80 -pixel 0.2 -detpixels 9")
    write_image(tmp_path / "a.geom", nbnumba.simulate(experiment))
    assert (tmp_path / "a.geom").read_text() == geom_text(experiment)
    assert "data = /data/images\n" in geom_text(two(), "/data/images")
    with pytest.raises(nbnumba.OutputFileError, match=r"a\.geom: needs a geometry, which an array does not have"):
        write_image(tmp_path / "a.geom", np.ones((3, 3)))


@pytest.mark.spec("FMT-82")
def test_written_beside_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line, which says what the file does not; a bundle holds it, and is verified."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.geom").write_text(PAIR)
    words = f"{CRYSTAL} --geom in.geom -osc 1 -phisteps 1"
    assert main(f"run {words} -o out.geom -o a.png --bundle b".split()) == 0
    assert "nbnumba: warning: out.geom: a CrystFEL geometry does not say: the rotation about the spindle\n" in capsys.readouterr().err
    assert Path("out.geom").read_text() == geom_text(nbnumba.experiment_from_options(words))
    assert main(["bundle", "verify", "b"]) == 0
    assert "out.geom" in capsys.readouterr().out
