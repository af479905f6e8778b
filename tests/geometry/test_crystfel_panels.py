"""CrystFEL geometry files of many panels, held against a reader written from its manual."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from geom_detectors import DETECTORS
from geometry_files import GEOM_PAIR as PAIR
from manual_geom import Sheet, read_manual

import nbnumba
from nbnumba import Panel
from nbnumba.errors import InputFileError, OptionError
from nbnumba.formats.hdf5_mask import stored_mask
from nbnumba.geometry.crystfel import read_geom
from nbnumba.geometry.crystfel_text import geom_lines
from nbnumba.geometry.recorded import RecordedGeometry

CLOSE = 1e-9  # m


def corners(place: Panel) -> np.ndarray:
    """Of every pixel, [slow, fast, xyz]."""
    fast, slow = np.arange(place.shape[1]), np.arange(place.shape[0])
    steps = fast[None, :, None] * np.array(place.fast_axis) + slow[:, None, None] * np.array(place.slow_axis)
    return np.array(place.origin) + place.pixel_size * steps


def panels_of(recorded: RecordedGeometry) -> tuple:
    """Panels; of one, what the exposure says."""
    return recorded.panels or (recorded.exposure,)


def masks_of(recorded: RecordedGeometry) -> list[np.ndarray | None]:
    return [panel.mask for panel in recorded.panels] or [recorded.exposure.mask]


def off(place: Panel, sheet: Sheet) -> float:
    """Of the pixel that is farthest from its place, in m."""
    assert place.shape == sheet.shape
    return float(np.abs(corners(place) - sheet.corners()).max())


def written(folder: Path, text: str) -> Path:
    (folder / "a.geom").write_text(text)
    return folder / "a.geom"


@pytest.mark.spec("FMT-80", "FMT-81", "FMT-83")
@pytest.mark.parametrize("name", DETECTORS)
def test_every_pixel_is_where_the_manual_has_it(name: str, tmp_path: Path) -> None:
    count, make = DETECTORS[name]
    path = written(tmp_path, make())
    found, expected = read_geom(path), read_manual(path)
    assert len(expected.panels) == len(panels_of(found)) == count
    for place, mask, sheet in zip(panels_of(found), masks_of(found), expected.panels.values(), strict=True):
        assert off(place, sheet) < CLOSE
        np.testing.assert_array_equal(np.zeros(sheet.shape, bool) if mask is None else ~mask, sheet.bad)
    assert [panel.name for panel in found.panels] == ([*expected.panels] if count > 1 else [])


@pytest.mark.spec("FMT-80")
def test_groups_of_panels(tmp_path: Path) -> None:
    """Of older files, of newer ones with groups in groups, and where both are stated, which the newer ones win."""
    cspad = read_geom(written(tmp_path, DETECTORS["cspad"][1]())).panels
    assert [cspad[n].group for n in (0, 1, 2, 17, 63)] == ["q0/a0", "q0/a0", "q0/a1", "q1/a8", "q3/a31"]
    agipd = read_geom(written(tmp_path, DETECTORS["agipd"][1]() + "\nrigid_group_x = p0a0\n")).panels
    assert [agipd[n].group for n in (0, 7, 8, 127)] == ["q0/p0", "q0/p0", "q0/p1", "q3/p15"]
    assert {panel.group for panel in read_geom(written(tmp_path, DETECTORS["stacked"][1]())).panels} == {""}
    torn = DETECTORS["stacked"][1]() + "\nrigid_group_a = module0,module1\nrigid_group_b = module1,module2"
    found = read_geom(written(tmp_path, torn))
    assert [panel.group for panel in found.panels] == ["a", "a", "b", ""]
    assert f"{tmp_path / 'a.geom'}: not used: groups that are partly in others: b" in found.notes


@pytest.mark.spec("FMT-80", "FMT-82")
def test_groups_of_one_group(tmp_path: Path) -> None:
    """One with the same panels as the one in it is around it, in whatever order they are stated; those who hold no other, as stated."""
    inward = ["group_m0 = p0", "group_q0 = m0", "group_m1 = p1", "group_q1 = m1", "group_all = q0,q1"]
    for stated in (inward, inward[::-1]):
        found = read_geom(written(tmp_path, PAIR + "\n".join(stated) + "\n"))
        assert [panel.group for panel in found.panels] == ["q0/m0", "q1/m1"]
        again = read_geom(written(tmp_path, "\n".join(geom_lines(found.panels, found.exposure))))
        assert [panel.group for panel in again.panels] == ["q0/m0", "q1/m1"]
    alike = read_geom(written(tmp_path, PAIR + "rigid_group_b = p0,p1\nrigid_group_a = p0,p1\n"))
    assert [panel.group for panel in alike.panels] == ["b/a", "b/a"]


REGION = "bad_a/min_fs = 2\nbad_a/max_fs = 9\nbad_a/min_ss = 2\nbad_a/max_ss = 3\n"


@pytest.mark.spec("FMT-80")
def test_what_is_stated_before_a_panel_begins_is_its_default(tmp_path: Path) -> None:
    text = PAIR.replace("p1/min_ss", "res = 5000\nfs = -y\nss = x\nmax_fs = 7\np1/min_ss") + "adu_per_eV = 1\ncoffset = 2\np0/tilt = 3\n"
    found = read_geom(written(tmp_path, text))
    first, second = found.panels
    assert (first.shape, first.pixel_size, first.fast_axis, first.origin) == ((3, 4), 1e-4, (1, 0, 0), pytest.approx((1e-4, 2e-4, 0.1)))
    assert (second.shape, second.pixel_size, second.fast_axis) == ((3, 8), 2e-4, (0, -1, 0))
    assert (second.slow_axis, second.origin) == ((1, 0, 0), pytest.approx((-1.8e-3, 4e-4, 0.1)))
    assert found.notes == (f"{tmp_path / 'a.geom'}: not used: adu_per_eV, coffset, tilt",)
    assert found.exposure.origin == first.origin
    late = read_geom(written(tmp_path, PAIR.replace("clen = 0.1\n", "") + "clen = 200 mm\n"))  # of the detector, wherever it is stated
    assert [panel.origin[2] for panel in late.panels] == [0.2, 0.2]
    assert late.notes == ()


@pytest.mark.spec("FMT-80")
def test_a_distance_that_is_in_the_data(tmp_path: Path) -> None:
    """It is the first panel's; the others keep what their offsets differ by."""
    path = written(tmp_path, PAIR.replace("clen = 0.1", "clen = /LCLS/detector_1/EncoderValue mm\ncoffset = 0.58") + "p1/coffset = 0.581\n")
    with pytest.raises(
        InputFileError, match="clen = /LCLS/detector_1/EncoderValue mm is a place in a data file; give --geom-data or -distance"
    ):
        read_geom(path)
    for words in (f"--geom {path} -distance 200", f"-distance 200 --geom {path}"):
        panels = nbnumba.experiment_from_options(f"-default_F 1 -cell 50 -lambda 1 {words}").panels
        assert [panel.origin[2] for panel in panels] == pytest.approx([0.2, 0.201])
    path = written(tmp_path, PAIR)
    with pytest.raises(OptionError, match=r"-distance 200: --geom .* has 2 panels in their places; leave -distance out"):
        nbnumba.experiment_from_options(f"-default_F 1 -cell 50 -lambda 1 --geom {path} -distance 200")


@pytest.mark.spec("FMT-80")
def test_pixels_that_are_not_quite_square(tmp_path: Path) -> None:
    """The nearest square ones about the same centre, and how far they are off; refinement leaves panels so."""
    fs, ss = np.array([0.000342, -0.999931, 0.0]), np.array([-0.998976, -0.00005, 0.001])
    text = PAIR.replace("min_fs", "fs = 0.000342x -0.999931y\nss = -0.998976x -0.00005y +0.001z\nmin_fs").replace(
        "max_fs = 3", "max_fs = 1023"
    )
    found = read_geom(written(tmp_path, text))
    panel, (sheet, _) = found.panels[0], read_manual(tmp_path / "a.geom").panels.values()
    far = corners(panel) - sheet.corners()
    assert np.abs(far.mean(axis=(0, 1))).max() < 1e-7  # the middle of corners is half a pixel from that of pixels
    assert np.linalg.norm(far, axis=2).max() == pytest.approx(0.5 * 1024 * 0.000478 * 1e-4, rel=0.05)
    assert abs(np.dot(panel.fast_axis, panel.slow_axis)) < 1e-15
    assert panel.pixel_size == pytest.approx((np.linalg.norm(fs) + np.linalg.norm(ss)) / 2e4, rel=1e-6)
    (note,) = found.notes
    assert note == f"{tmp_path / 'a.geom'}: pixels are taken to be square: up to 0.26 pixels from where the file has them (p0)"


@pytest.mark.spec("FMT-81")
@pytest.mark.parametrize("older", [True, False])
def test_masks_in_files(older: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from the working directory, or beside the geometry file; of good and of bad bits; with an axis of images or without."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    numbers = np.random.default_rng(4).integers(0, 8, (6, 4))
    with h5py.File("mask.h5", "w") as file:
        file["/run/mask"] = numbers
        file["deep"] = np.stack([numbers, numbers + 8])[:1]
    names = ("mask_file", "mask", "mask_good", "mask_bad") if older else ("mask0_file", "mask0_data", "mask0_goodbits", "mask0_badbits")
    stated = f"{names[0]} = mask.h5\n{names[1]} = /run/mask\n{names[2]} = 0x1\n{names[3]} = 4\n"
    path = written(tmp_path, stated + PAIR)
    found, expected = read_geom(path, stored=stored_mask), read_manual(path)
    for panel, sheet in zip(found.panels, expected.panels.values(), strict=True):
        np.testing.assert_array_equal(~panel.mask, sheet.bad)
        assert 0 < sheet.bad.sum() < 12
    np.testing.assert_array_equal(np.concatenate([panel.mask for panel in found.panels]), ((numbers & 1) == 1) & ((numbers & 4) == 0))
    assert found.files == (Path("mask.h5"),)
    assert read_geom(path).notes == (f"{path}: not used: the mask mask.h5, a file that is left alone",)
    second = written(tmp_path, stated.replace("/run/mask", "/deep").replace("mask0", "mask7") + "dim0 = %\ndim1 = ss\ndim2 = fs\n" + PAIR)
    np.testing.assert_array_equal(read_geom(second, stored=stored_mask).panels[1].mask, found.panels[1].mask)
    third = written(tmp_path, stated.replace("/run/mask", "/deep") + "dim1 = ss\ndim2 = fs\n" + PAIR)  # dim0 is no default of slow then
    np.testing.assert_array_equal(read_geom(third, stored=stored_mask).panels[1].mask, found.panels[1].mask)
    path = written(tmp_path, stated + PAIR)
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(read_geom(path, stored=stored_mask).panels[1].mask, found.panels[1].mask)
    words = f"-default_F 1 -cell 50 -lambda 1 --geom {path}"
    np.testing.assert_array_equal(nbnumba.experiment_from_options(words).panels[0].mask, found.panels[0].mask)


@pytest.mark.spec("FMT-81")
@pytest.mark.parametrize(
    ("stated", "notes"),
    [
        ("mask_file = gone.h5\nmask = /m\n", ["not used: the mask gone.h5, a file that is not there"]),
        ("mask3_data = /m\n", ["not used: the mask /m, in the data"]),
        ("mask_bad = 0xff\nmask2_goodbits = 0\n", ["not used: the mask 0, which has bits and no place"]),
        ("mask3_data = /m\nmask4_data = /n\n", ["not used: the mask /m and 1 more, in the data"]),
        ("mask_file = a.geom\nmask = /m/%/n\n", ["not used: the mask /m/%/n, of each image"]),
        (
            "flag_equal = -1\nmax_adu = 9\nbandwidth = 0.1\nsaturation_map = /s\n",
            ["not used: bandwidth, flag_equal, max_adu, saturation_map"],
        ),
        ("bad_a/min_fs = 9\nbad_a/max_fs = 11\nbad_a/min_ss = 0\nbad_a/max_ss = 1\n", ["these bad regions hold no pixel: bad_a"]),
        ("bad_a/min_x = 9\nbad_a/max_x = 11\nbad_a/min_y = 0\nbad_a/max_y = 1\n", ["these bad regions hold no pixel: bad_a"]),
        ("bad_a/min_x = 0\n", ["these bad regions hold no pixel: bad_a"]),
        ("bad_a/radius = 1\n", ["not used: radius of bad regions", "these bad regions hold no pixel: bad_a"]),
        (f"{REGION}bad_a/dim0 = 7\nbad_a/dim1 = ss\nbad_a/dim2 = fs\n", ["these bad regions hold no pixel: bad_a"]),
    ],
)
def test_what_changes_nothing_is_said(stated: str, notes: list[str], tmp_path: Path) -> None:
    found = read_geom(written(tmp_path, stated + PAIR), stored=stored_mask)
    assert found.notes == tuple(f"{tmp_path / 'a.geom'}: {note}" for note in notes)
    assert [panel.mask for panel in found.panels] == [None, None]


@pytest.mark.spec("FMT-81")
def test_a_region_without_a_panel_is_of_the_whole_array(tmp_path: Path) -> None:
    first, second = (panel.mask for panel in read_geom(written(tmp_path, REGION + PAIR)).panels)
    assert [*zip(*np.nonzero(~first), strict=True)] == [(2, 2), (2, 3)]
    assert [*zip(*np.nonzero(~second), strict=True)] == [(0, 2), (0, 3)]


@pytest.mark.spec("FMT-81")
def test_a_region_without_a_panel_says_which_array_it_is_of(tmp_path: Path) -> None:
    region = "".join(f"bad_a/{key} = {value}\n" for key, value in zip(("dim1", "dim2", "dim3"), (2, "ss", "fs"), strict=True))
    region += "bad_a/min_ss = 0\nbad_a/max_ss = 9\nbad_a/min_fs = 20\nbad_a/max_fs = 29\n"
    masks = {panel.name: panel.mask for panel in read_geom(written(tmp_path, f"{DETECTORS['agipd'][1]()}\n{region}")).panels}
    assert (~masks["p2a0"]).sum() == (~masks["p2a0"][:10, 20:30]).sum() == 100
    assert masks["p1a0"] is None
    assert masks["p2a1"] is None


@pytest.mark.spec("FMT-81")
def test_bad_pixels_of_one_panel_are_not_rendered(tmp_path: Path) -> None:
    """With those of -mask."""
    text = DETECTORS["eiger"][1]()
    path, mask = written(tmp_path, text), np.ones((1065, 1030), np.uint8)
    mask[:, 1000:] = 0
    np.save(tmp_path / "mask.npy", mask)
    bad = read_manual(path).panels["p"].bad
    words = f"-default_F 1 -cell 50 --geom {path}"
    experiment = nbnumba.experiment_from_options(words)
    np.testing.assert_array_equal(experiment.sampling.mask, ~bad)
    both = nbnumba.experiment_from_options(f"{words} -mask {tmp_path / 'mask.npy'}")
    np.testing.assert_array_equal(both.sampling.mask, ~bad & (mask == 1))


WHOLE = """clen = 0.05
res = 2000
fs = -0.8x +0.6y
ss = 0.6x +0.8y
min_fs = 0
max_fs = 11
p0/min_ss = 0
p0/max_ss = 9
p0/corner_x = 3.5
p0/corner_y = -6
"""


@pytest.mark.spec("FMT-80", "FMT-81")
def test_a_detector_in_two_parts_is_rendered_as_the_whole(tmp_path: Path) -> None:
    """Rows 4 to 9 as a panel of their own, without a bad region of theirs, and without a panel that is not used."""
    words = "-default_F 100 -cell 50 60 70 90 90 90 -lambda 1 -N 5 -misset 10 20 30 -oversample 1 -fluence 1e24 --geom"
    whole = nbnumba.simulate(nbnumba.experiment_from_options([*words.split(), str(written(tmp_path, WHOLE))])).pixels
    halves = WHOLE.replace("max_ss = 9", "max_ss = 3") + "p1/min_ss = 4\np1/max_ss = 9\np1/corner_x = 5.9\np1/corner_y = -2.8\n"
    bad = "bad_a/panel = p1\nbad_a/min_fs = 2\nbad_a/max_fs = 4\nbad_a/min_ss = 5\nbad_a/max_ss = 6\n"
    unused = "p2/min_ss = 0\np2/max_ss = 3\np2/corner_x = 30\np2/corner_y = -6\np2/no_index = 1\n"
    image = nbnumba.simulate(nbnumba.experiment_from_options([*words.split(), str(written(tmp_path, halves + bad + unused))]))
    first, second, third = (panel.pixels for panel in image.panels)
    np.testing.assert_allclose(first, whole[:4], rtol=1e-9, atol=0.0)
    rendered = np.ones((6, 12), bool)
    rendered[1:3, 2:5] = False
    np.testing.assert_allclose(second, np.where(rendered, whole[4:], 0.0), rtol=1e-9, atol=0.0)
    assert third.max() == 0.0
    assert whole.min() > 0.0


@pytest.mark.spec("FMT-80", "FMT-81")
@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ("p1/fs = 1.1x\n", ": p1/pixel (|fs| / res, |ss| / res) = 0.00011 0.0001: pixels must be square"),
        ("p1/fs = 1.0x +0.02y\n", ": p1/fs and p1/ss are 88.8542 degrees apart; pixels must be square"),
        ("p1/fs = x + 1\n", ", line 13: fs = 'x + 1' is not a sum such as +1.0x -0.002y"),
        ("p1/fs = 0z\n", ": p1/fs is a zero vector; give a direction"),
        ("p1/res = -5\n", ": p1/res = -5 must be greater than 0"),
        ("p1/max_fs = 3.5\n", ": p1/max_fs - min_fs + 1 = 4.5 is not a number of pixels from 1 to 100000"),
        ("p1/coffset = -0.1\n", ": p1/clen + coffset puts the detector plane through the crystal; give a distance"),
        ("p1/coffset = 1 cm\n", ", line 13: coffset = '1 cm' is not a finite number in m or mm"),
        ("p2/corner_x = 1\n", ": p2 has no corner_y; give it"),
        ("p1/dim1 = 3\n", ": p1 has the axes ss 3; give ss and, after it, fs once each"),
        ("p1/dim0 = fs\np1/dim1 = ss\n", ": p1 has the axes fs ss; give ss and, after it, fs once each"),
        ("p1/dim3 = 4\n", ": p1 has no dim2; give it"),
        ("p1/dim0 = slow\n", ", line 13: dim0 = 'slow' is not dimN = ss, fs, % or a number"),
        ("p1/dim = ss\n", ", line 13: dim = 'ss' is not dimN = ss, fs, % or a number"),
        ("p1/no_index = maybe\n", ", line 13: no_index = 'maybe' is neither 1 (true) nor 0 (false)"),
        ("p1/mask_edge_pixels = 1.5\n", ", line 13: mask_edge_pixels = '1.5' is not a number of pixels"),
        ("bad_a/min_x = 1\nbad_a/max_fs = 3\n", ": bad_a is stated along x and y and along fs and ss; give one of both"),
        ("bad_a/min_x = one\n", ", line 13: min_x = 'one' is not a finite number"),
        (f"{REGION}bad_a/panel = p7\n", ", line 17: bad_a/panel = 'p7' is no panel"),
        (f"p1/data = /other\n{REGION}", ": bad_a has no panel, and they are in several arrays; give bad_a/panel"),
        ("group_a = p0,p7\n", ", line 13: the group a holds 'p7', which is no panel and no group"),
        ("rigid_group_a = p0,p7\n", ", line 13: the group a holds 'p7', which is no panel and no group"),
        (
            "rigid_group_a = p0\nrigid_group_collection_c = a,d\n",
            ", line 14: rigid_group_collection_c holds 'd', which is no rigid group",
        ),
        ("group_a = b\ngroup_b = a\n", ", line 14: the group a is in itself"),
        ("group_a/fs = x\n", ", line 13: group_a: a panel's name cannot begin with group or rigid_group"),
        ("/fs = x\n", ", line 13: '/fs = x' is not KEY = VALUE"),
        ("p1/ = x\n", ", line 13: 'p1/ = x' is not KEY = VALUE"),
        ("p1/mask_file = m.h5\n", ", line 13: mask0_file = m.h5 without mask0_data; give the place in that file"),
        ("p1/mask = /m\np1/mask_good = 0xg\n", ", line 14: mask0_goodbits = '0xg' is not a whole number such as 0xff or 255"),
        ("p1/mask = /m\np1/mask_bad = 1e300\n", ", line 14: mask0_badbits = '1e300' is not a whole number such as 0xff or 255"),
        ("p1/mask_file = m.h5\np1/mask = /small\n", ", line 14: the mask /small of 3 x 4 pixels does not hold the panel p1"),
        ("p1/mask_file = m.h5\np1/mask = /flat\n", ", line 14: the mask /flat of 4 pixels does not hold the panel p1"),
        (
            "".join(f"group_g{n} = g{n + 1}\n" for n in range(150)) + "group_g150 = p0\n",
            ", line 113: the group g101 is more than 100 groups deep",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(stated: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("m.h5", "w") as file:
        file["small"], file["flat"] = np.zeros((3, 4), int), np.zeros(4, int)
    path = written(tmp_path, PAIR + stated)
    with pytest.raises(InputFileError) as raised:
        read_geom(path, stored=stored_mask)
    assert str(raised.value) == f"{path}{problem}"


@pytest.mark.spec("FMT-81")
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("/gone", "the mask /gone is missing"),
        ("/group", "the mask /group cannot be read: group is a group, not a value"),
        ("/deep/er", "the mask /deep/er cannot be read: deep is missing"),
        ("/real", "the mask /real holds no whole numbers"),
    ],
)
def test_a_mask_that_cannot_be_read(data: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("m.h5", "w") as file:
        file["real"] = np.zeros((6, 4))
        file.create_group("group")
    path = written(tmp_path, f"mask_file = m.h5\nmask = {data}\n{PAIR}")
    with pytest.raises(InputFileError) as raised:
        read_geom(path, stored=stored_mask)
    assert str(raised.value) == f"m.h5: {problem}"
    Path("m.h5").write_text("no HDF5")
    with pytest.raises(InputFileError, match=r"m\.h5: is not an HDF5 file that can be read"):
        read_geom(path, stored=stored_mask)
