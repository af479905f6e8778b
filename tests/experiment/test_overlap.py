"""Panels that are in each other's way, or seen from the other side than the rest."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from geom_detectors import DETECTORS

import nbnumba
from nbnumba import Detector, Panel
from nbnumba.experiment import advice
from nbnumba.experiment.overlap import overlapping, seen_from_behind
from nbnumba.geometry.crystfel import read_geom

EACH = 100  # pixels along an edge of the panels here


def panel(
    x: float, y: float = 0.0, z: float = 0.1, turn: float = 0.0, swing: float = 0.0, fast: int = EACH, slow: int = EACH, name: str = ""
) -> Panel:
    """Centred on (x, y) pixels of 0.1 mm in the plane z, turned about the beam, and all of it swung about y; degrees."""
    (c, s), (cs, ss) = ((np.cos(a), np.sin(a)) for a in np.radians([turn, swing]))
    about_y = np.array([[cs, 0, ss], [0, 1, 0], [-ss, 0, cs]])
    along, down = about_y @ [c, s, 0.0], about_y @ [-s, c, 0.0]
    origin = about_y @ [x * 1e-4, y * 1e-4, z] - 0.5e-4 * (fast * along + slow * down)
    return Panel(origin=origin, fast_axis=along, slow_axis=down, pixel_size=1e-4, fast_pixels=fast, slow_pixels=slow, name=name)


def mirrored(one: Panel) -> Panel:
    """The same pixels, with rows that run the other way."""
    far = np.array(one.origin) + one.pixel_size * one.fast_pixels * np.array(one.fast_axis)
    return replace(one, origin=tuple(far), fast_axis=tuple(-c for c in one.fast_axis))


def experiment_with(*panels: Panel) -> nbnumba.Experiment:
    base = nbnumba.experiment_from_options("-default_F 1 -cell 50 -lambda 1 -oversample 1 -beam_vector 0 0 1 -polar_vector 1 0 0")
    return replace(base, detector=Detector(convention="custom", panels=panels))


@pytest.mark.spec("FMT-84")
@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (panel(EACH), False),
        (panel(EACH - 0.9), False),
        (panel(EACH - 1.1), True),
        (panel(EACH - 1.1, EACH - 0.9), False),
        (panel(-EACH + 1.1, EACH - 1.1), True),
        (panel(20), True),
        (panel(0), True),
        (panel(0, z=0.2), True),  # behind it
        (panel(148, z=0.2), True),  # seen at half the size
        (panel(149, z=0.2), False),
        (panel(0, z=-0.1), False),  # on the other side of the crystal
        (panel(0, swing=90), False),
        (panel(0, swing=3), True),
        (panel(EACH * 1.19, turn=45), True),  # a corner
        (panel(EACH * 0.86, EACH * 0.86, turn=45), False),  # beside a corner, though near on both axes
        (panel(40, turn=30, fast=1, slow=1), True),
        (panel(400, fast=1), False),
    ],
)  # fmt: skip
def test_two_panels(other: Panel, overlap: bool) -> None:
    assert overlapping([panel(0), other]) == ([(0, 1)] if overlap else [])
    assert overlapping([other, panel(0)]) == ([(0, 1)] if overlap else [])


def covered(one: Panel, directions: np.ndarray) -> np.ndarray:
    """Whether a ray meets the panel more than half a pixel from its edges, by solving for where."""
    fast, slow, origin = (np.array(v) for v in (one.fast_axis, one.slow_axis, one.origin))
    normal = np.cross(fast, slow)
    along = origin @ normal / (directions @ normal)
    met = along[:, None] * directions - origin
    f, s = met @ fast / one.pixel_size, met @ slow / one.pixel_size
    return (
        (along > 0)
        & (np.abs(f - one.fast_pixels / 2) < one.fast_pixels / 2 - 0.5)
        & (np.abs(s - one.slow_pixels / 2) < one.slow_pixels / 2 - 0.5)
    )


@pytest.mark.spec("FMT-84")
def test_random_panels_against_rays() -> None:
    """Panels anywhere about the crystal, some of them wide: pairs that any of many rays meets both of, and no others but by a hair."""
    rng, overlaps = np.random.default_rng(7), 0
    rays = rng.normal(size=(200_000, 3))
    for _ in range(6):
        edges = rng.integers(50, 1500, (14, 2)).tolist()
        places = [(*rng.uniform(-500, 500, 2), rng.uniform(0.03, 0.1), *rng.uniform(0, 360, 2)) for _ in edges]
        panels = [panel(*place, fast=fast, slow=slow) for place, (fast, slow) in zip(places, edges, strict=True)]
        hit = [covered(one, rays) for one in panels]
        met = {(a, b) for a, b in combinations(range(14), 2) if (hit[a] & hit[b]).any()}
        found = set(overlapping(panels))
        assert met <= found
        assert len(found - met) <= 2
        overlaps += len(found)
    assert 100 < overlaps < 400


@pytest.mark.spec("FMT-84")
@pytest.mark.parametrize("name", [name for name, (panels, _) in DETECTORS.items() if panels > 1])
def test_detectors_as_there_are(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.geom").write_text(DETECTORS[name][1]())
    panels = read_geom(tmp_path / "a.geom").panels
    assert (overlapping(panels), seen_from_behind(panels)) == ([], [])


@pytest.mark.spec("FMT-84")
def test_256_panels_are_looked_through_in_no_time() -> None:
    panels = [panel(x * 99.5, y * 99.5) for x in range(16) for y in range(16)]
    began = time.process_time()
    assert overlapping(panels) == []
    assert time.process_time() - began < 1.0  # 0.02 s
    assert len(overlapping([panel(x * 98.5, y * 98.5) for x in range(16) for y in range(16)])) == 2 * 16 * 15 + 2 * 15 * 15


@pytest.mark.spec("FMT-84")
def test_what_is_said_of_panels_in_the_way() -> None:
    alone = experiment_with(panel(0), panel(EACH), panel(2 * EACH))
    assert not [line for line in advice.warnings(alone) if "overlap" in line or "mirror" in line]
    close = [panel(n * (EACH - 5), name="" if n == 1 else f"p{n}") for n in range(6)]
    said = "panels overlap as seen from the crystal, and each counts what the nearer one would stop: "
    assert f"{said}p0 and panel 1, panel 1 and p2, p2 and p3 and 2 more" in advice.warnings(experiment_with(*close))
    unused = [replace(one, mask=np.full((EACH, EACH), n % 2 == 0)) for n, one in enumerate(close)]
    assert not [line for line in advice.warnings(experiment_with(*unused)) if "overlap" in line]


@pytest.mark.spec("FMT-84")
def test_panels_that_are_seen_from_the_other_side(tmp_path: Path) -> None:
    straight = [panel(n * EACH, name=f"p{n}", turn=90.0 * n) for n in range(4)]
    assert seen_from_behind(straight) == []
    assert seen_from_behind([mirrored(one) for one in straight]) == []  # nothing says which side is the front
    assert seen_from_behind([*straight[:2], mirrored(straight[2]), straight[3]]) == [2]
    assert seen_from_behind([mirrored(straight[0]), straight[1]]) == [1]  # the first one's side, of as many of each
    said = "panels are mirror images of the others as seen from the crystal, as if they faced away from it: p2"
    odd = experiment_with(*straight[:2], mirrored(straight[2]), straight[3])
    assert said in advice.warnings(odd)
    text = re.sub(r"m3c4/ss = ([^\n]*)", lambda m: "m3c4/ss = " + m[1].translate(str.maketrans("+-", "-+")), DETECTORS["jungfrau"][1]())
    (tmp_path / "a.geom").write_text(text)
    experiment = nbnumba.experiment_from_options(f"-default_F 1 -cell 50 -oversample 1 --geom {tmp_path / 'a.geom'}")
    assert said.replace("p2", "m3c4") in advice.warnings(experiment)
