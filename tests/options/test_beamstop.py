"""Masks of several panels, and the shadow of a beamstop."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geometry_files import REAL_AXES
from many_panels import sixteen

import nbnumba
from nbnumba import Experiment, OptionError
from nbnumba.cli.main import main
from nbnumba.formats.nxmx import nxmx_bytes
from nbnumba.geometry.dials_out import expt_text
from nbnumba.geometry.exposure import Exposure

BASE = "-default_F 1 -cell 50 60 70 90 90 90 -N 3 -lambda 1 -distance 100 -pixel 0.5 -detpixels 40 -oversample 1"
MANY = "--expt a.expt -default_F 1 -N 3 -oversample 1 -phisteps 1"


def experiment(options: str) -> Experiment:
    return nbnumba.experiment_from_options(options)


@pytest.fixture
def panels(in_tmp_path: Path) -> Exposure:
    """Of a.expt, in the folder where commands run; every third has a mask."""
    found = sixteen()
    masked = [replace(one, mask=np.arange(120).reshape(10, 12) % 11 > 0) if n % 3 == 0 else one for n, one in enumerate(found.panels)]
    found = replace(found, panels=tuple(masked))
    Path("a.expt").write_text(expt_text(found, np.linalg.inv(REAL_AXES).T * 1e10))
    return found


def masks_of(found: Experiment) -> list[np.ndarray]:
    return [np.ones(panel.shape, bool) if panel.mask is None else panel.mask for panel in found.detector.panels]


@pytest.mark.spec("FMT-96")
@pytest.mark.parametrize("name", ["mask.npy", "mask.nxs"])
def test_a_mask_of_several_panels_has_them_one_below_the_other(name: str, panels: Exposure) -> None:
    rendered = np.random.default_rng(1).random((160, 12)) > 0.3
    if name == "mask.npy":
        np.save(name, rendered)
    else:
        Path(name).write_bytes(nxmx_bytes([(np.where(rendered, 3, -1).astype(np.int32), panels)]))
    found = masks_of(experiment(f"{MANY} -mask {name}"))
    for n, (mask, panel) in enumerate(zip(found, panels.panels, strict=True)):
        expected = rendered[10 * n : 10 * n + 10]
        np.testing.assert_array_equal(mask, expected if panel.mask is None else expected & panel.mask)


@pytest.mark.spec("FMT-96")
def test_pixels_that_are_masked_are_written_as_not_measured(panels: Exposure) -> None:
    rendered = np.random.default_rng(1).random((160, 12)) > 0.3
    np.save("mask.npy", rendered)
    assert main(["run", *MANY.split(), "-mask", "mask.npy", "-o", "a.nxs", "-o", "a.npy"]) == 0
    own = np.concatenate([np.ones(panel.shape, bool) if panel.mask is None else panel.mask for panel in panels.panels])
    counts = nbnumba.read_image("a.nxs")
    np.testing.assert_array_equal(counts < 0, ~(rendered & own))
    assert np.load("a.npy").shape == (160, 12)


@pytest.mark.spec("FMT-96")
def test_a_mask_of_another_size_is_refused(panels: Exposure) -> None:
    np.save("mask.npy", np.ones((16, 12), bool))
    with pytest.raises(OptionError) as caught:
        experiment(f"{MANY} -mask mask.npy")
    assert str(caught.value) == "-mask mask.npy: has 16 x 12 pixels (slow x fast); the 16 panels, one below the other, have 160 x 12"


@pytest.mark.spec("FMT-96")
def test_a_mask_of_panels_of_one_size_as_an_array_of_them(panels: Exposure) -> None:
    rendered = np.random.default_rng(1).random((16, 10, 12)) > 0.3
    np.save("mask.npy", rendered)
    for mask, panel, expected in zip(masks_of(experiment(f"{MANY} -mask mask.npy")), panels.panels, rendered, strict=True):
        np.testing.assert_array_equal(mask, expected if panel.mask is None else expected & panel.mask)
    np.save("mask.npy", rendered[:1])
    alone = experiment(f"{BASE.replace('-detpixels 40', '')} -mask mask.npy")
    np.testing.assert_array_equal(alone.sampling.mask, rendered[0])


@pytest.mark.spec("FMT-96")
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 10, 12), "-mask mask.npy: has 4 panels; the detector has 16"),
        ((16, 12, 10), "-mask mask.npy: has panels of 12 x 10 pixels (slow x fast); panel 0 has 10 x 12"),
        ((32, 5, 12), "-mask mask.npy: has 32 panels; the detector has 16"),
    ],
)
def test_an_array_of_other_panels_is_refused(shape: tuple[int, ...], message: str, panels: Exposure) -> None:
    np.save("mask.npy", np.ones(shape, bool))
    with pytest.raises(OptionError) as caught:
        experiment(f"{MANY} -mask mask.npy")
    assert str(caught.value) == message


@pytest.mark.spec("FMT-94", "FMT-96")
def test_a_mask_and_that_of_a_geometry_file_count_both(in_tmp_path: Path) -> None:
    one = replace(sixteen(), panels=())
    Path("a.expt").write_text(expt_text(replace(one, mask=np.arange(120).reshape(10, 12) % 2 == 0), np.eye(3) * 1e8))
    np.save("mask.npy", np.arange(120).reshape(10, 12) % 3 == 0)
    np.testing.assert_array_equal(experiment(f"{MANY} -mask mask.npy").sampling.mask, np.arange(120).reshape(10, 12) % 6 == 0)
    np.save("mask.npy", np.ones((4, 4), bool))
    with pytest.raises(OptionError, match=r"^-mask mask.npy: has 4 x 4 pixels \(slow x fast\); the image has 10 x 12$"):
        experiment(f"{MANY} -mask mask.npy")


def shade(x: np.ndarray, y: np.ndarray, radius: float, width: float = 0.0, angle: float = 0.0) -> np.ndarray:
    """The shadow's definition, in mm and deg."""
    to_arm = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
    along, beside = x * to_arm[0] + y * to_arm[1], y * to_arm[0] - x * to_arm[1]
    return (np.hypot(x, y) <= radius) | ((width > 0.0) & (along >= 0.0) & (np.abs(beside) <= width / 2.0))


@pytest.mark.spec("FMT-97")
@pytest.mark.parametrize("beamstop", ["3", "2.1 1.6 0", "2.1 1.6 90", "1.3 0.8 -125"])
def test_a_beamstop_on_a_straight_detector(beamstop: str) -> None:
    found = experiment(f"{BASE} --beamstop {beamstop}")
    frame = found.frame
    middles = (np.arange(40) + 0.5) * 0.5
    x, y = np.meshgrid(middles - frame.beam_fast * 1e3, middles - frame.beam_slow * 1e3)
    assert found.sampling.mask is not None
    np.testing.assert_array_equal(~found.sampling.mask, shade(x, y, *map(float, beamstop.split())))
    assert 0 < (~found.sampling.mask).sum() < 400


@pytest.mark.spec("FMT-97")
def test_its_shadow_is_a_cone(panels: Exposure) -> None:
    """Twice as far away it is twice as wide; on panels it is where rays through the disc and arm meet them."""
    found = experiment(f"{MANY} --beamstop 0.8 0.3 30")
    first = found.by_panel[0].frame
    for mask, panel, before in zip(masks_of(found), found.detector.panels, panels.panels, strict=True):
        slow, fast = np.meshgrid(np.arange(10) + 0.5, np.arange(12) + 0.5, indexing="ij")
        at = panel.origin + panel.pixel_size * (fast[..., None] * np.array(panel.fast_axis) + slow[..., None] * np.array(panel.slow_axis))
        u = first.fast_axis - (first.fast_axis @ first.incident) * first.incident
        u = u / np.linalg.norm(u)
        v = np.cross(first.incident, u)
        v = v if v @ first.slow_axis > 0.0 else -v
        scale = first.distance / (at @ first.incident)
        shaded = shade(at @ u * scale * 1e3, at @ v * scale * 1e3, 0.8, 0.3, 30.0)
        np.testing.assert_array_equal(mask, ~shaded if before.mask is None else ~shaded & before.mask)
    assert sum(int((~mask).sum()) for mask in masks_of(found)) > 200


@pytest.mark.spec("FMT-97")
def test_nothing_behind_the_crystal_is_shadowed() -> None:
    behind = experiment(f"{BASE} --beamstop 3")
    panel = behind.panels[0]
    back = replace(panel, origin=tuple(-np.array(panel.origin)), fast_axis=tuple(-np.array(panel.fast_axis)), mask=None)
    both = replace(behind, detector=nbnumba.Detector(panels=(replace(panel, mask=None), back)), sampling=nbnumba.Sampling())
    from nbnumba.geometry.beamstop import Beamstop, lit

    front, away = lit(Beamstop(3e-3), both)
    np.testing.assert_array_equal(front, behind.sampling.mask)
    assert away.all()


@pytest.mark.spec("FMT-97")
def test_a_beamstop_and_a_mask_count_both(in_tmp_path: Path) -> None:
    left = np.arange(1600).reshape(40, 40) % 7 > 0
    np.save("mask.npy", left)
    alone, together = experiment(f"{BASE} --beamstop 3"), experiment(f"{BASE} --beamstop 3 -mask mask.npy")
    assert alone.sampling.mask is not None
    np.testing.assert_array_equal(together.sampling.mask, alone.sampling.mask & left)
    assert main(["run", *BASE.split(), "--beamstop", "3", "-o", "a.cbf"]) == 0
    np.testing.assert_array_equal(nbnumba.read_image("a.cbf") == -1, ~alone.sampling.mask)


@pytest.mark.spec("FMT-97")
def test_a_shadow_on_more_pixels_than_there_is_memory_for_is_refused() -> None:
    with pytest.raises(nbnumba.NotAvailableError, match="the image needs 80 GB of memory"):
        experiment(f"{BASE.replace('-detpixels 40', '-detpixels 100000')} --beamstop 3")


@pytest.mark.spec("FMT-97")
@pytest.mark.parametrize("values", ["0", "-1", "1 2", "1 0 3", "1 -2 3"])
def test_what_is_no_beamstop(values: str) -> None:
    with pytest.raises(OptionError) as caught:
        experiment(f"{BASE} --beamstop {values}")
    needs = "needs a radius in mm, or radius and width of the arm in mm and its angle in deg; lengths greater than 0"
    assert str(caught.value) == f"--beamstop {values}: {needs}"
