"""Every format into every other: what is kept, what is cut off or refused, and that it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from many_panels import assert_in_place, sixteen

from nbnumba.cli.convert_geometry import recorded
from nbnumba.cli.main import main
from nbnumba.formats.read import read_image_file
from nbnumba.formats.registry import by_ending
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.sensor import attenuation_length

pytestmark = pytest.mark.filterwarnings("ignore:.*not used. adu_per_photon")
IMAGES, GEOMETRIES = (".img", ".cbf", ".nxs", ".h5", ".tif", ".npy"), (".geom", ".expt")
STATING = (".img", ".cbf", ".nxs", ".h5")  # a geometry
OF_PANELS = (".nxs", ".h5", ".tif", ".npy")
COUNTS = np.arange(30, dtype=np.int32).reshape(5, 6) * 1000
COUNTS[0, :3] = 70_000, -1, -2
STRAIGHT = Exposure(
    shape=(5, 6), pixel_size=1e-4, origin=(-0.001, 0.002, -0.1), wavelength=1e-10, spindle_axis=(1.0, 0.0, 0.0), phi_start=0.3,
    oscillation=0.01, exposure_time=0.5, polarization_axis=(1.0, 0.0, 0.0), polarization_fraction=0.998,
)  # fmt: skip
PANELS = sixteen((5, 6), trusted_range=(0.0, 1e5))


def made(name: str, pixels: np.ndarray, exposure: Exposure) -> np.ndarray:
    """A file, and the pixels that it holds."""
    kind = by_ending(Path(name))
    assert kind is not None
    assert kind.write is not None
    assert kind.counts is not None
    held = np.clip(pixels, kind.counts.least, kind.counts.most).astype(kind.counts.dtype)
    Path(name).write_bytes(kind.write(held, exposure))
    return held


def converted(source: str, target: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said."""
    capsys.readouterr()
    assert main(["convert", source, target]) == 0
    return capsys.readouterr().err


@pytest.mark.spec("CLI-70")
@pytest.mark.parametrize("target", [*IMAGES, *GEOMETRIES])
@pytest.mark.parametrize("source", IMAGES)
def test_one_panel(source: str, target: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = made(f"a_1{source}", COUNTS, STRAIGHT)
    if source not in STATING and target in (*STATING, *GEOMETRIES) and target != ".img":
        assert main(["convert", f"a_1{source}", f"b_1{target}"]) == 2
        assert f"a_1{source}: says nothing of geometry, which OUTPUT has to state; --like FILE" in capsys.readouterr().err
        assert not Path(f"b_1{target}").exists()
        return
    said = converted(f"a_1{source}", f"b_1{target}", capsys)
    if target in GEOMETRIES:
        assert_same(recorded(Path(f"b_1{target}")), target)
        return
    found = read_image_file(f"b_1{target}")
    expected = np.clip(held, 0, 65535) if target == ".img" else held
    np.testing.assert_array_equal(found.pixels, expected)
    cut = np.count_nonzero(expected != held)
    assert (f"cannot hold {cut} pixels, which were cut off at its limits" in said) == bool(cut)
    if target in STATING and source in STATING:
        assert found.exposure is not None
        assert_same(found.exposure, target)
    elif target in STATING:
        assert "a SMV file states no geometry; --like FILE names an image that does" in said
    else:
        assert ("says nothing of geometry or scan" in said) == (source in STATING)


def assert_same(found: Exposure, target: str) -> None:
    """Angles as far as SMV states them."""
    here = found.imgcif
    np.testing.assert_allclose(here.origin, STRAIGHT.origin, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose([here.fast_axis, here.slow_axis], [STRAIGHT.fast_axis, STRAIGHT.slow_axis], atol=1e-9)
    assert (here.shape, here.pixel_size) == (STRAIGHT.shape, pytest.approx(1e-4, rel=1e-9))
    assert here.wavelength == pytest.approx(1e-10, rel=1e-9)
    if target != ".geom":
        assert (here.phi_start, here.oscillation) == (pytest.approx(0.3, abs=1e-8), pytest.approx(0.01, abs=1e-8))


@pytest.mark.spec("CLI-70", "FMT-93")
@pytest.mark.parametrize("target", [*IMAGES, *GEOMETRIES])
@pytest.mark.parametrize("source", OF_PANELS)
def test_many_panels(source: str, target: str, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.arange(16 * 30, dtype=np.int32).reshape(80, 6)
    pixels[7, 1:3] = -1
    made(f"a_1{source}", pixels, PANELS)
    stated = source in STATING
    if (stated and target in (".img", ".cbf")) or (not stated and target in (".cbf", ".nxs", ".h5", *GEOMETRIES)):
        assert main(["convert", f"a_1{source}", f"b_1{target}"]) == 2
        problem = "has 16 panels; a" if stated else "says nothing of geometry, which OUTPUT has to state"
        assert f"a_1{source}: {problem}" in capsys.readouterr().err
        return
    converted(f"a_1{source}", f"b_1{target}", capsys)
    if target in GEOMETRIES:
        panels = recorded(Path(f"b_1{target}")).panels
    else:
        found = read_image_file(f"b_1{target}")
        np.testing.assert_array_equal(found.pixels, np.maximum(pixels, 0) if target == ".img" else pixels)
        panels = found.exposure.panels if found.exposure else ()
    for ours, expected in zip(panels, PANELS.panels if target in (*GEOMETRIES, ".nxs", ".h5") else (), strict=True):
        assert_in_place(ours, expected, 1e-9)
        if target == ".expt":
            assert (ours.sensor_thickness, ours.sensor_material) == (pytest.approx(4.5e-4), "Si")
            assert ours.sensor_attenuation == pytest.approx(attenuation_length("Si", 1e-10), rel=1e-9)


@pytest.mark.spec("CLI-70")
@pytest.mark.parametrize("target", [".cbf", ".nxs", ".img"])
@pytest.mark.parametrize("source", [".cbf", ".nxs", ".img"])
def test_scans(source: str, target: str, in_tmp_path: Path) -> None:
    for number in (1, 2, 3):
        one = replace(STRAIGHT, number=number, phi_start=0.3 + 0.01 * (number - 1))
        made(f"a_{number}.cbf", np.abs(COUNTS) % 60_000 + number, one)
    first = ["a.nxs"] if source == ".nxs" else [f"b_{number}{source}" for number in (1, 2, 3)]
    assert main(["convert", "a_1.cbf", "a_2.cbf", "a_3.cbf", "a.nxs" if source == ".nxs" else f"b_#{source}"]) == 0
    assert main(["convert", *first, "c.nxs" if target == ".nxs" else f"c_#{target}"]) == 0
    for number in (1, 2, 3):
        found = read_image_file(f"c.nxs:{number}" if target == ".nxs" else f"c_{number}{target}")
        np.testing.assert_array_equal(found.pixels, np.abs(COUNTS) % 60_000 + number)
        assert found.exposure is not None
        assert found.exposure.phi_start == pytest.approx(0.3 + 0.01 * (number - 1), abs=1e-8)
