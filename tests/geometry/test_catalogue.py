"""Detectors by name: their figures against the published ones, their panels, and what a file of one may say."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from nbnumba.errors import InputFileError, OptionError
from nbnumba.experiment.panel import Panel
from nbnumba.geometry import catalogue
from nbnumba.geometry.catalogue import KnownDetector, detector_by_name
from nbnumba.geometry.layout import corners_of

# Pixels (fast, slow) of the one panel, number of modules, pixel in um, sensor: what makers and the programs of others say.
ONE_PANEL = {
    "eiger-1m": (1030, 1065, 2, 75, "Si 450"),
    "eiger-4m": (2070, 2167, 8, 75, "Si 450"),
    "eiger-9m": (3110, 3269, 18, 75, "Si 450"),
    "eiger-16m": (4150, 4371, 32, 75, "Si 450"),
    "eiger2-1m": (1028, 1062, 2, 75, "Si 450"),
    "eiger2-4m": (2068, 2162, 8, 75, "Si 450"),
    "eiger2-9m": (3108, 3262, 18, 75, "Si 450"),
    "eiger2-16m": (4148, 4362, 32, 75, "Si 450"),
    "pilatus-300k": (487, 619, 3, 172, "Si 320"),
    "pilatus-1m": (981, 1043, 10, 172, "Si 320"),
    "pilatus-2m": (1475, 1679, 24, 172, "Si 320"),
    "pilatus-6m": (2463, 2527, 60, 172, "Si 320"),
    "pilatus3-300k": (487, 619, 3, 172, "Si 450"),
    "pilatus3-1m": (981, 1043, 10, 172, "Si 450"),
    "pilatus3-2m": (1475, 1679, 24, 172, "Si 450"),
    "pilatus3-6m": (2463, 2527, 60, 172, "Si 450"),
    "pilatus4-1m": (1033, 1080, 8, 150, "Si 450"),
    "pilatus4-2m": (1553, 1630, 18, 150, "Si 450"),
    "pilatus4-4m": (2073, 2180, 32, 150, "Si 450"),
    "rayonix-mx225": (3072, 3072, 1, 73.242, ""),
    "rayonix-mx300": (4096, 4096, 1, 73.242, ""),
    "rayonix-mx340": (3840, 3840, 1, 88.5417, ""),
    "marccd-165": (2048, 2048, 1, 79.348, ""),
    "adsc-q315": (3072, 3072, 1, 102.6, ""),
    "timepix": (516, 516, 1, 55, "Si 300"),
    "lambda-250k": (516, 516, 1, 55, "Si 300"),
    "lambda-750k": (1556, 516, 1, 55, "Si 300"),
    "lambda-2m": (1556, 1556, 3, 55, "Si 300"),
}
# Number of panels, their pixels (fast, slow), pixel in um, sensor, width and height of all in mm, in how many groups.
PANELS = {
    "jungfrau-1m": (2, 1030, 514, 75, "Si 320", (77.25, 79.8), 1),
    "jungfrau-4m": (8, 1030, 514, 75, "Si 320", (165.261, 172.4334), 4),
    "jungfrau-16m": (32, 1030, 514, 75, "Si 320", (316.2, 332.4), 4),
    "agipd-1m": (16, 128, 526, 200, "Si 500", (218.5, 251.2), 4),
    "cspad": (32, 391, 185, 109.92, "Si 500", (185.9, 185.9), 4),
    "epix10k-2m": (16, 387, 355, 100, "Si 500", (169.3, 169.3), 4),
}
# Masks of dxtbx: lines of pixels from 1 that are in gaps, (first, last) along fast and slow.
GAPS = {
    "pilatus-6m": (
        [(488, 494), (982, 988), (1476, 1482), (1970, 1976)],
        [(196, 212), (408, 424), (620, 636), (832, 848), (1044, 1060), (1256, 1272), (1468, 1484), (1680, 1696), (1892, 1908),
         (2104, 2120), (2316, 2332)],
    ),
    "pilatus-2m": (
        [(488, 494), (982, 988)],
        [(196, 212), (408, 424), (620, 636), (832, 848), (1044, 1060), (1256, 1272), (1468, 1484)],
    ),
    "pilatus-300k": ([], [(196, 212), (408, 424)]),
    "eiger-16m": (
        [(1031, 1040), (2071, 2080), (3111, 3120)],
        [(515, 551), (1066, 1102), (1617, 1653), (2168, 2204), (2719, 2755), (3270, 3306), (3821, 3857)],
    ),
    "eiger2-4m": ([(1029, 1040)], [(513, 550), (1063, 1100), (1613, 1650)]),
}  # fmt: skip


@pytest.mark.spec("DET-2")
def test_there_are_these_names() -> None:
    assert catalogue.names() == sorted([*ONE_PANEL, *PANELS])


@pytest.mark.spec("DET-2", "DET-3")
@pytest.mark.parametrize("name", ONE_PANEL)
def test_detectors_of_one_panel(name: str) -> None:
    fast, slow, modules, pixel, sensor = ONE_PANEL[name]
    found = detector_by_name(name)
    (panel,) = found.panels
    assert panel.shape == (slow, fast)
    assert panel.pixel_size * 1e6 == pytest.approx(pixel)
    assert found.modules.rows * found.modules.columns == modules
    assert sensor_of(found) == sensor
    inside = found.modules.slow_pixels * found.modules.fast_pixels * modules
    assert (panel.mask is None) == (modules == 1 and name != "marccd-165")
    if name != "marccd-165":
        assert inside == (slow * fast if panel.mask is None else panel.mask.sum())


@pytest.mark.spec("DET-3")
def test_a_round_detector() -> None:
    (panel,) = detector_by_name("marccd-165").panels
    mask = panel.mask
    assert mask is not None
    # A disc of 165 mm in a square of 162.5 mm.
    half = 2048 * 79.348e-3 / 2.0
    segment = 82.5**2 * np.arccos(half / 82.5) - half * np.sqrt(82.5**2 - half**2)
    assert mask.sum() * 79.348e-3**2 == pytest.approx(np.pi * 82.5**2 - 4.0 * segment, rel=1e-5)
    assert mask[1024].all()
    assert not mask[0, 0]
    np.testing.assert_array_equal(mask, mask[::-1].T)


@pytest.mark.spec("DET-2", "DET-3")
@pytest.mark.parametrize("name", PANELS)
def test_detectors_of_several_panels(name: str) -> None:
    number, fast, slow, pixel, sensor, size, groups = PANELS[name]
    found = detector_by_name(name)
    assert {panel.shape for panel in found.panels} == {(slow, fast)}
    assert [panel.name for panel in found.panels] == [f"module{n}" for n in range(number)]
    assert found.panels[0].pixel_size * 1e6 == pytest.approx(pixel)
    assert all(panel.mask is None for panel in found.panels)
    assert sensor_of(found) == sensor
    assert np.array(found.size) * 1e3 == pytest.approx(size, abs=0.05)
    assert len({panel.group for panel in found.panels}) == groups
    assert found.pixels == number * fast * slow


def sensor_of(detector: KnownDetector) -> str:
    return f"{detector.sensor.material} {detector.sensor.thickness * 1e6:g}" if detector.sensor.thickness else ""


@pytest.mark.spec("DET-3")
@pytest.mark.parametrize("name", GAPS)
def test_gaps_are_those_of_the_makers_files(name: str) -> None:
    (panel,) = detector_by_name(name).panels
    mask = np.ones(panel.shape, bool)
    columns, rows = GAPS[name]
    for first, last in columns:
        mask[:, first - 1 : last] = False
    for first, last in rows:
        mask[first - 1 : last] = False
    np.testing.assert_array_equal(panel.mask, mask)


@pytest.mark.spec("DET-3")
@pytest.mark.parametrize("name", PANELS)
def test_panels_do_not_overlap(name: str) -> None:
    panels = detector_by_name(name).panels
    assert not any(overlap(a, b) for a, b in itertools.combinations(panels, 2))
    assert overlap(panels[0], panels[0])
    for panel in panels:  # they face the crystal
        np.testing.assert_allclose(np.cross(panel.fast_axis, panel.slow_axis), [0, 0, 1], atol=1e-8)


def overlap(a: Panel, b: Panel) -> bool:
    """Whether two panels of a plane share more than an edge: no line along an edge of either has them on different sides."""
    axes = [np.array(axis)[:2] for panel in (a, b) for axis in (panel.fast_axis, panel.slow_axis)]
    for axis in axes:
        reach = [corners_of(panel)[:, :2] @ axis for panel in (a, b)]
        if reach[0].max() <= reach[1].min() + 1e-9 or reach[1].max() <= reach[0].min() + 1e-9:
            return False
    return True


@pytest.mark.spec("DET-3")
def test_a_hole_lets_the_beam_through() -> None:
    """All detectors of modules around a hole have one of a millimetre at least."""
    for name in PANELS.keys() - {"jungfrau-1m"}:
        point = Panel(origin=(-5e-4, -5e-4, 0), fast_axis=(1, 0, 0), slow_axis=(0, 1, 0), pixel_size=1e-3, fast_pixels=1, slow_pixels=1)
        assert not any(overlap(panel, point) for panel in detector_by_name(name).panels), name


@pytest.mark.spec("DET-3")
def test_turns() -> None:
    """The right half of a JUNGFRAU 4M is the left one, turned by half a turn."""
    panels = detector_by_name("jungfrau-4m").panels
    for left, right in zip(panels[:4], panels[4:], strict=True):
        np.testing.assert_array_equal(corners_of(right), -corners_of(left) + 0.0)


@pytest.mark.spec("DET-3")
def test_quarter_turns(tmp_path: Path) -> None:
    """From the fast axis to the slow one, and on."""
    file = tmp_path / "four.toml"
    file.write_text("[modules]\none_panel = false\nturns = 4\n[[modules.grids]]\norigin = [1e-3, 2e-3, 3e-3]")
    panels = detector_by_name(str(file)).panels
    assert [panel.origin for panel in panels] == [(1e-3, 2e-3, 3e-3), (-2e-3, 1e-3, 3e-3), (-1e-3, -2e-3, 3e-3), (2e-3, -1e-3, 3e-3)]
    assert [panel.fast_axis for panel in panels] == [(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)]
    assert [panel.slow_axis for panel in panels] == [(0, 1, 0), (-1, 0, 0), (0, -1, 0), (1, 0, 0)]
    assert [panel.group for panel in panels] == ["grid0", "grid1", "grid2", "grid3"]


# Chips along fast and slow of a module, pixels of a chip (fast, slow), how many times as wide as the others those are at which chips meet.
CHIPS = {
    "jungfrau-1m": ((4, 2), (256, 256), 2.0),
    "jungfrau-4m": ((4, 2), (256, 256), 2.0),
    "jungfrau-16m": ((4, 2), (256, 256), 2.0),
    "timepix": ((2, 2), (256, 256), 3.0),
    "lambda-250k": ((2, 2), (256, 256), 3.0),
    "lambda-750k": ((6, 2), (256, 256), 3.0),
    "lambda-2m": ((6, 2), (256, 256), 3.0),
    "cspad": ((2, 1), (194, 185), 2.5),
}


def edges_of_pixels(chips: int, pixels: int, wide: float) -> np.ndarray:
    """Where the pixels of a row of chips begin and end, in the widths of ordinary ones."""
    widths = np.ones((chips, pixels))
    widths[:-1, -1] = widths[1:, 0] = wide
    return np.concatenate([[0.0], widths.ravel().cumsum()])


@pytest.mark.spec("DET-10")
@pytest.mark.parametrize("name", CHIPS)
def test_pixels_are_where_chips_have_them(name: str) -> None:
    """Of a module, along both edges: ordinary pixels, larger ones as the middle of those that they are taken for, and the module's end."""
    chips, pixels, wide = CHIPS[name]
    modules = detector_by_name(name).modules
    module = modules.each[0]
    for along, (number, of_chip) in enumerate(zip(chips, pixels, strict=True)):
        edges, half_covered = edges_of_pixels(number, of_chip, wide), 0.05 if wide % 1.0 and number > 1 else 0.0
        assert edges[-1] == (module.fast_pixels, module.slow_pixels)[along]
        axis = np.array((module.fast_axis, module.slow_axis)[along])
        centres = np.array(module.origin) + module.pixel_size * (np.arange(edges[-1]) + 0.5)[:, np.newaxis] * axis  # of the panel's pixels
        for first, last in itertools.pairwise(edges):
            expected = module.origin + module.pixel_size * (first + last) / 2.0 * axis
            parts = np.clip(np.minimum(np.arange(edges[-1]) + 1, last) - np.maximum(np.arange(edges[-1]), first), 0.0, None)
            assert parts.sum() == last - first
            found = np.average(centres, axis=0, weights=parts)
            np.testing.assert_allclose(found, expected, rtol=0.0, atol=half_covered * module.pixel_size + 1e-12)
            if last - first == 1.0:
                assert sorted(parts)[-2:] == [0.0, 1.0]


@pytest.mark.spec("DET-10")
def test_the_larger_pixels_of_epix10k_are_half_a_pixel_too_many_either_way() -> None:
    module = detector_by_name("epix10k-2m").modules.each[0]
    assert edges_of_pixels(2, 192, 2.25)[-1] == module.fast_pixels - 0.5
    assert edges_of_pixels(2, 176, 2.25)[-1] == module.slow_pixels - 0.5


@pytest.mark.spec("DET-1")
@pytest.mark.parametrize("name", [*ONE_PANEL, *PANELS])
def test_every_number_has_a_source(name: str) -> None:
    found = detector_by_name(name)
    assert found.description
    assert len(found.modules.source) > 10
    assert bool(found.sensor.source) == bool(found.sensor.thickness)
    assert len(found.counting.source) > 10


@pytest.mark.spec("DET-1")
def test_a_file_of_the_users(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('like = "eiger2-1m"\ndescription = "ours"\n[sensor]\nmaterial = "CdTe"\nthickness = 750e-6\n')
    found, like = detector_by_name(str(file)), detector_by_name("eiger2-1m")
    assert (found.name, found.description, found.modules) == ("mine", "ours", like.modules)
    assert (found.sensor.material, found.sensor.thickness) == ("CdTe", 750e-6)
    assert found.counting == like.counting

    file.write_text(
        """[modules]
        one_panel = false
        pixel_size = 1e-4
        slow_pixels = 3
        fast_pixels = 4
        columns = 2
        fast_gap = 1
        [[modules.grids]]
        origin = [1e-3, 2e-3, 3e-3]
        fast_axis = [0, 1, 0]
        slow_axis = [-1, 0, 0]
        group = "left"
        """
    )
    first, second = detector_by_name(str(file)).panels
    assert (first.origin, first.fast_axis, first.shape, first.group) == ((1e-3, 2e-3, 3e-3), (0.0, 1.0, 0.0), (3, 4), "left")
    assert second.origin == pytest.approx((1e-3, 2.5e-3, 3e-3))


@pytest.mark.spec("CLI-60")
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("eiger2-16M", "the nearest are eiger2-16m"),
        ("eiger2_16m", "the nearest are eiger2-16m"),
        ("jungfrau4m", "the nearest are jungfrau-4m"),
        ("xyz", "'nbnumba detectors' lists those there are"),
    ],
)
def test_the_nearest_names(name: str, near: str) -> None:
    with pytest.raises(OptionError, match=f"^detector {name}: there is none of this name; {re.escape(near)}.*; a file ends in .toml$"):
        detector_by_name(name)


WRONG = {
    "not TOML": ("[modules", "is not TOML"),
    "not text": ("\0", "zero bytes"),
    "nothing": ("", r"has no table \[modules\] and no like; give one of them"),
    "a key of no use": ("[modules]\n[sensors]\n", r"has no use for 'sensors'; there are like, description, \[modules\], \[sensor\]"),
    "no table": ("modules = 3", r"modules = 3 must be a table, \[modules\]"),
    "description": ("description = 3\n[modules]", "description = 3 is not a text"),
    "like nothing": ('like = "eiger9"', "like = 'eiger9' is not the name of another detector; 'nbnumba detectors' lists them"),
    "like a number": ("like = 3", "like = 3 is not the name of another detector"),
    "like a list": ("like = [1]", r"like = \[1\] is not the name of another detector"),
    "field": ("[modules]\npixels = 3", "modules: has no 'pixels'; it has pixel_size, slow_pixels"),
    "text for a number": ('[modules]\npixel_size = "75 um"', "modules.pixel_size: '75 um' is not a number"),
    "nothing left": ("[modules]\npixel_size = 0", "modules.pixel_size: 0 m: must be greater than 0"),
    "half a pixel": ("[modules]\nrows = 1.5", "modules.rows: 1.5: must be a whole number"),
    "infinite": ("[modules]\npixel_size = inf", "modules.pixel_size: inf m: must be a finite number"),
    "flag": ("[modules]\none_panel = 3", "modules.one_panel: 3 must be true or false"),
    "too many pixels": (
        "[modules]\nrows = 1000\nslow_pixels = 1000\nfast_pixels = 101", "modules: are a panel of 101000000 pixels; 100000000 are the most"
    ),
    "too long": ("[modules]\nrows = 1000\nslow_pixels = 101", "panel.slow_pixels: 101000: must be at most 100000"),
    "too many panels": (
        "[modules]\none_panel = false\nrows = 1000\ncolumns = 1000", "modules: are 1000000 panels; 1000 are the most"
    ),
    "one panel of several grids": (
        "[modules]\n[[modules.grids]]\n[[modules.grids]]", "modules.one_panel: is true, and one panel has one grid; give one_panel = false"
    ),
    "disc of panels": (
        "[modules]\none_panel = false\ndiameter = 1", "modules.diameter: is of one panel, and each module is one; leave it out"
    ),
    "grids": ("[modules]\ngrids = 3", r"modules.grids: 3 must be tables, \[\[modules.grids\]\]"),
    "grid": ("[modules]\none_panel = false\ngrids = [3]", r"modules.grids: \[3\] must be tables"),
    "grid's field": ("[modules]\none_panel = false\n[[modules.grids]]\nplace = 3", "grid: has no 'place'; it has origin, fast_axis"),
    "grid's group": ("[modules]\none_panel = false\n[[modules.grids]]\ngroup = 3", "grid.group: 3 is not a text"),
    "grid's place": ("[modules]\none_panel = false\n[[modules.grids]]\norigin = [1, 2]", r"grid.origin: needs 3 numbers, got \[1, 2\]"),
    "grid's axis": (
        "[modules]\none_panel = false\n[[modules.grids]]\nfast_axis = [2, 0, 0]", "panel.fast_axis: has the length 2; give a unit vector"
    ),
    "grid's axes": (
        "[modules]\none_panel = false\n[[modules.grids]]\nslow_axis = [1, 0, 0]", "panel.slow_axis: is not at right angles to"
    ),
    "material": ('[modules]\n[sensor]\nmaterial = "white mud"', "sensor.material: 'white mud' is not a chemical formula such as Si"),
    "material is a number": ("[modules]\n[sensor]\nmaterial = 14", "sensor.material: 14 is not a text"),
    "no material": ("[modules]\n[sensor]\nthickness = 1e-3", "sensor.material: is missing, and a thickness alone absorbs nothing"),
    "thickness": ('[modules]\n[sensor]\nmaterial = "Si"\nthickness = -1', "sensor.thickness: -1 m: must be at least 0"),
    "thickness in um": ('[modules]\n[sensor]\nmaterial = "Si"\nthickness = 320', "sensor.thickness: 320 m: must be at most 0.1$"),
    "pixel in mm": ("[modules]\npixel_size = 0.075", "modules.pixel_size: 0.075 m: must be at most 0.01$"),
    "depth": ("[modules]\n[counting]\nbit_depth = 65", "counting.bit_depth: 65 bit: must be at most 64"),
    "source": ("[modules]\nsource = 3", "modules.source: 3 is not a text"),
}  # fmt: skip


@pytest.mark.spec("DET-9")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_is_wrong(wrong: str, tmp_path: Path) -> None:
    text, problem = WRONG[wrong]
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputFileError, match=f"^{re.escape(str(file))}: .*{problem}") as error:
        detector_by_name(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.spec("DET-9")
def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"mine\.toml: .*(no such|not|cannot)"):
        detector_by_name(str(tmp_path / "mine.toml"))
