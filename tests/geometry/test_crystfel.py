"""Reading the geometry of CrystFEL."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from geometry_files import GEOM

import nbnumba
from nbnumba.errors import InputFileError
from nbnumba.geometry.crystfel import read_geom

FS, SS = np.array([0.99995, 0.01, 0.0]), np.array([0.01, -0.99995, 0.0001])


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    text = GEOM
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (folder / "a.geom").write_text(text)
    return folder / "a.geom"


@pytest.mark.spec("FMT-23")
def test_what_a_geometry_says(tmp_path: Path) -> None:
    path = written(tmp_path)
    exposure, reciprocal, cell, notes, panels, files, distance_is_given = read_geom(path)
    assert (reciprocal, cell, panels, exposure.mask, files, distance_is_given) == (None, None, (), None, (), False)
    assert notes == (f"{path}: not used: adu_per_eV", f"{path}: these bad regions hold no pixel: bad_edge")
    assert (exposure.shape, exposure.incident, exposure.polarization_axis) == ((420, 400), (0, 0, 1), (1, 0, 0))
    assert (exposure.polarization_fraction, exposure.spindle_axis) == (None, None)
    assert exposure.wavelength == pytest.approx(12398.42e-10 / 12700)
    assert exposure.pixel_size == pytest.approx(1 / 6666.7, rel=1e-7)
    assert exposure.origin == pytest.approx((-210.5 / 6666.7, 190.25 / 6666.7, 0.121))
    assert exposure.fast_axis == pytest.approx(FS / np.linalg.norm(FS))
    assert exposure.slow_axis == pytest.approx(SS / np.linalg.norm(SS))


@pytest.mark.spec("FMT-23")
@pytest.mark.parametrize("preset", ["reference", "c-parity", "physics"])
def test_pixels_are_where_crystfel_has_them(tmp_path: Path, preset: str) -> None:
    from nbnumba.options.arguments import split_arguments
    from nbnumba.options.experiment import apply_all

    given = split_arguments(["--geom", str(written(tmp_path)), "-cell", "50", "-default_F", "1"]).given
    found = apply_all(given, None, nbnumba.Model(preset=preset)).experiment()
    frame = found.frame
    for fs, ss in ((0.0, 0.0), (400.0, 0.0), (0.5, 419.5), (13.0, 117.25)):
        expected = (np.array([-210.5, 190.25, 0.0]) + fs * FS + ss * SS) / 6666.7 + [0.0, 0.0, 0.121]
        place = frame.pix0 + found.detector.pixel_size * (fs * frame.fast_axis + ss * frame.slow_axis)
        assert np.abs(place - expected).max() < 1e-9  # fs and ss are not quite of unit length
    assert frame.incident.tolist() == [0.0, 0.0, 1.0]
    assert np.abs(frame.pix0 - read_geom(tmp_path / "a.geom").exposure.origin).max() < 1e-12


@pytest.mark.spec("FMT-23")
@pytest.mark.parametrize(
    ("stated", "wavelength"),
    [
        ("wavelength = 1.3 A", 1.3e-10),
        ("wavelength = 1.3e-10 m", 1.3e-10),
        ("photon_energy = 12700", 12398.42e-10 / 12700),
        ("photon_energy = 12700 eV", 12398.42e-10 / 12700),
        ("photon_energy = 0.0127 MeV", 12398.42e-10 / 12700),
        ("photon_energy = /LCLS/photon_energy_eV", None),
        ("wavelength = /entry/wavelength A", None),
        ("", None),
    ],
)
def test_wavelengths(tmp_path: Path, stated: str, wavelength: float | None) -> None:
    path = written(tmp_path, ("photon_energy = 12.7 keV", stated))
    assert read_geom(path).exposure.wavelength == (None if wavelength is None else pytest.approx(wavelength))
    words = f"-default_F 1 -cell 50 -lambda 2 --geom {path}"
    assert nbnumba.experiment_from_options(words).beam.wavelength == pytest.approx(wavelength or 2e-10)


@pytest.mark.spec("FMT-23")
@pytest.mark.parametrize(
    ("changes", "z"),
    [
        ([("clen = 120.5 mm", "clen = 0.12")], 0.1205),
        ([("clen = 120.5 mm", "clen = 0.12 m")], 0.1205),
        ([("p0/coffset = 0.0005", "p0/coffset = 0.5 mm")], 0.121),
        ([("p0/coffset = 0.0005\n", "")], 0.1205),
        ([("p0/coffset = 0.0005", "p0/clen = 0.3")], 0.3),
        ([("clen = 120.5 mm", "coffset = 1.0"), ("p0/coffset = 0.0005", "p0/clen = 0.3\np0/coffset = 0")], 0.3),
    ],
)
def test_distances(tmp_path: Path, changes: list[tuple[str, str]], z: float) -> None:
    assert read_geom(written(tmp_path, *changes)).exposure.origin[2] == pytest.approx(z)


@pytest.mark.spec("FMT-80")
@pytest.mark.parametrize("group", ["group_a", "rigid_group_a"])
def test_a_group_of_what_is_not_there(group: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    stated = [line for line in path.read_text().splitlines() if not line.startswith("group_")]
    path.write_text("\n".join([f"{group} = p7", *stated]))
    with pytest.raises(InputFileError, match=f"^{re.escape(str(path))}, line 1: the group a holds 'p7', which is no panel and no group$"):
        read_geom(path)


@pytest.mark.spec("FMT-23")
def test_a_distance_that_is_in_the_data(tmp_path: Path) -> None:
    path = written(tmp_path, ("clen = 120.5 mm", "clen = /LCLS/detector_1/EncoderValue"))
    with pytest.raises(InputFileError) as raised:
        read_geom(path)
    problem = "clen = /LCLS/detector_1/EncoderValue is a place in a data file; give --geom-data or -distance, or write the number there"
    assert str(raised.value) == f"{path}, line 4: {problem}"
    for words in (f"--geom {path} -distance 200", f"-distance 200 --geom {path}"):
        frame = nbnumba.experiment_from_options(f"-default_F 1 -cell 50 {words}").frame
        assert frame.distance == pytest.approx(0.2, abs=3e-6)  # at the corner, or where the beam meets it
        assert frame.pix0[:2] == pytest.approx((-210.5 / 6666.7, 190.25 / 6666.7))


@pytest.mark.spec("FMT-23")
def test_forms_that_there_are(tmp_path: Path) -> None:
    defaults = written(tmp_path, ("p0/fs = +0.999950x +0.01y", ""), ("p0/ss = +0.01x -0.999950y +0.0001z", ""))
    assert (read_geom(defaults).exposure.fast_axis, read_geom(defaults).exposure.slow_axis) == ((1, 0, 0), (0, 1, 0))
    short = written(tmp_path, ("+0.999950x +0.01y", "-y"), ("+0.01x -0.999950y +0.0001z", "x"))
    assert (read_geom(short).exposure.fast_axis, read_geom(short).exposure.slow_axis) == ((0, -1, 0), (1, 0, 0))
    shifted = written(tmp_path, ("clen =", "detector_shift_x = 1 mm\ndetector_shift_y = -0.002\nclen ="))
    assert read_geom(shifted).exposure.origin[:2] == pytest.approx((-210.5 / 6666.7 + 1e-3, 190.25 / 6666.7 - 2e-3))
    # A default that comes after a panel's first line is too late for it.
    late = written(tmp_path, ("p0/ss", "clen = 3.0\np0/ss"))
    assert read_geom(late).exposure.origin[2] == pytest.approx(0.121)


@pytest.mark.spec("FMT-23")
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("p0/ss", "p1/min_fs = 0\np0/ss", ": p1 has no corner_x; give it"),
        ("res = 6666.7  ;", "; res", ": p0 has no res; give it"),
        ("res = 6666.7 ", "res = 0 ", ": p0/res = 0 must be greater than 0"),
        ("res = 6666.7 ", "res = 6666.7 mm ", ", line 5: res = '6666.7 mm' is not a finite number"),
        ("clen = 120.5 mm\n", "", ": p0 has no clen; give it"),
        ("clen = 120.5 mm", "clen = 120.5 cm", ", line 4: clen = '120.5 cm' is not a finite number in m or mm"),
        ("p0/coffset = 0.0005", "p0/coffset = /a/b", ", line 11: coffset = /a/b is a place in a data file; write the number there"),
        ("clen =", "detector_shift_x = /a\nclen =", ", line 4: detector_shift_x = /a is a place in a data file; write the number there"),
        ("12.7 keV", "12.7 J", ", line 2: photon_energy = '12.7 J' is not a finite number in eV or keV or MeV"),
        ("12.7 keV", "12.7", ", line 2: photon_energy: 12.7 eV is a wavelength of 976.3 A; for 12.7 keV give 12700 eV"),
        ("12.7 keV", "-1 keV", ": photon_energy = -1000 must be greater than 0"),
        ("photon_energy = 12.7 keV", "wavelength = 1.3", ", line 2: wavelength = '1.3' is not a finite number in m or A"),
        ("photon_energy =", "electron_voltage =", ", line 2: electron_voltage: electrons are not simulated; give photon_energy"),
        ("p0/max_fs = 409", "p0/max_fs = 9", ": p0/max_fs - min_fs + 1 = 0 is not a number of pixels from 1 to 100000"),
        ("p0/min_fs = 10", "p0/min_fs = ten", ", line 12: min_fs = 'ten' is not a finite number"),
        ("+0.999950x +0.01y", "1.0", ", line 18: fs = '1.0' is not a sum such as +1.0x -0.002y"),
        ("+0.999950x +0.01y", "", ", line 18: fs = '' is not a sum such as +1.0x -0.002y"),
        ("+0.999950x +0.01y", "0x", ": p0/fs is a zero vector; give a direction"),
        ("+0.999950x +0.01y", "1.1x 0.011y", ": p0/pixel (|fs| / res, |ss| / res) = 0.000165007 0.000149999: pixels must be square"),
        ("+0.999950x +0.01y", "y", ": p0/fs and p0/ss are 179.427 degrees apart; pixels must be square"),
        ("adu_per_eV = 0.0001", "adu_per_eV", ", line 3: 'adu_per_eV' is not KEY = VALUE"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, before: str, after: str, problem: str) -> None:
    path = written(tmp_path, (before, after))
    with pytest.raises(InputFileError) as raised:
        read_geom(path)
    assert str(raised.value) == f"{path}{problem}"


@pytest.mark.spec("FMT-23")
def test_a_detector_at_the_crystal(tmp_path: Path) -> None:
    path = written(tmp_path, ("clen = 120.5 mm", "clen = -0.5 mm"), (" +0.0001z", ""))
    with pytest.raises(InputFileError) as raised:
        read_geom(path)
    assert str(raised.value) == f"{path}: p0/clen + coffset puts the detector plane through the crystal; give a distance"


@pytest.mark.spec("FMT-23")
def test_no_panel(tmp_path: Path) -> None:
    (tmp_path / "a.geom").write_text("clen = 0.1 ; no more\n")
    with pytest.raises(InputFileError, match="the detector has no panels; give PANEL/corner_x and what else places one"):
        read_geom(tmp_path / "a.geom")
