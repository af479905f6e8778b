"""The picture of an experiment in space: where everything is in it, and that it is there."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from many_panels import sixteen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import proj3d
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from PIL import Image as PillowImage

import nbnumba
from nbnumba import Experiment, NotAvailableError, OutputFileError
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.image import png
from nbnumba.image.in_space import Setup, reach_of, setup_of, told_apart

pytestmark = pytest.mark.spec("CLI-75")

SCAN = "-phi 20 -osc 0.5"
OPTIONS = f"-default_F 1 -cell 50 60 70 90 90 110 -misset 10 20 30 -lambda 1.2 -distance 120 -pixel 0.5 -detpixels 200 -twotheta 15 {SCAN}"


def experiment(options: str = OPTIONS) -> Experiment:
    return nbnumba.experiment_from_options(options)


def drawn(setup: Setup) -> tuple[Figure, int]:
    figure = Figure(layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    labels = setup.draw(figure)
    figure.canvas.draw()
    assert figure.axes[0].get_proj() == pytest.approx(figure.axes[0].M)
    return figure, labels


def texts(figure: Figure) -> dict[str, np.ndarray]:
    """Words in space, and where they are, mm."""
    return {text.get_text(): np.roll(text.get_position_3d(), -1) for text in figure.axes[0].texts if hasattr(text, "get_position_3d")}


def projected(figure: Figure, place: np.ndarray) -> np.ndarray:
    """A place x, y, z, mm, on the paper, and how near it is to the camera; matplotlib's axes are z, x, y."""
    return np.array(proj3d.proj_transform(*np.roll(place, 1, axis=0), figure.axes[0].get_proj()))


def limits(figure: Figure) -> np.ndarray:
    """Of x, y, z, mm, (3, 2)."""
    z, x, y = figure.axes[0].get_xlim(), figure.axes[0].get_ylim(), figure.axes[0].get_zlim()
    return np.array([x, y, z])


def assert_drawn(figure: Figure, there: np.ndarray) -> None:
    """Outlines of panels are the projections of their corners (n, 4, 3), mm, and there is one for each."""
    (found,) = (one for one in figure.axes[0].collections if isinstance(one, Poly3DCollection))
    shown = np.array([path.vertices[:4] for path in found.get_paths()])  # by distance from the camera
    x, y, _ = projected(figure, there.reshape(-1, 3).T)
    expected = np.stack([x, y], axis=-1).reshape(-1, 4, 2)
    order, own = (np.lexsort(np.round(one[:, 0], 7).T) for one in (shown, expected))
    np.testing.assert_allclose(shown[order], expected[own], rtol=0.0, atol=1e-9)


def corners(exposure: Exposure) -> np.ndarray:
    """Of every panel, (n, 4, 3) mm, worked out from the description."""
    found = []
    for panel in exposure.panels or (exposure,):
        slow, fast = panel.shape
        along = np.array([panel.fast_axis, panel.slow_axis]) * panel.pixel_size
        found.append([panel.origin + np.array(place) @ along for place in ((0, 0), (fast, 0), (fast, slow), (0, slow))])
    return np.array(found) * 1e3


def many(number: int) -> Exposure:
    """So many panels on a curved wall, each in a group of its own."""
    panel, *_ = sixteen((20, 30), 1e-4, 0.05, tilt=0.0).panels
    steps = np.arange(number)
    places = [(0.004 * (n % 16) - 0.03, 0.003 * (n // 16) - 0.02, -0.05 + 0.001 * (n % 16 - 8) ** 2 / 8) for n in steps.tolist()]
    panels = tuple(replace(panel, origin=place, name=f"p{n}", group=f"g{n}") for n, place in enumerate(places))
    return replace(sixteen().of_panel(panels[0]), panels=panels)


@pytest.mark.parametrize("exposure", [sixteen((10, 12), tilt=0.3), many(256), exposure_of(experiment()).imgcif], ids=["16", "256", "1"])
def test_every_panel_is_where_it_is(exposure: Exposure) -> None:
    figure, _ = drawn(setup_of(exposure))
    assert_drawn(figure, corners(exposure))
    assert [figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel(), figure.axes[0].get_zlabel()] == ["z / mm", "x / mm", "y / mm"]
    low, high = limits(figure).T
    assert (low <= corners(exposure)).all()
    assert (corners(exposure) <= high).all()
    assert (low <= 0.0).all()
    assert (high >= 0.0).all()


def on_paper(figure: Figure, place: np.ndarray) -> tuple[int, int]:
    """Column and row of the picture's pixel that shows a place, mm."""
    axes = figure.axes[0]
    x, y, _ = projected(figure, place)
    column, row = axes.transData.transform((x, y))
    return round(column), round(figure.bbox.height - row)


def test_panels_are_filled_with_the_colour_of_their_group() -> None:
    """At places away from edges, names and arrows."""
    exposure = sixteen((100, 120), distance=0.05, tilt=0.1)
    figure, _ = drawn(setup_of(exposure))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    picture = np.array(PillowImage.open(buffer).convert("RGB")) / 255.0
    (faces,) = {id(one): one.get_facecolor() for one in figure.axes[0].collections if isinstance(one, Poly3DCollection)}.values()
    assert len({tuple(face) for face in faces}) == 4
    there = corners(exposure)
    places = there[:, 0] + 0.8 * (there[:, 1] - there[:, 0]) + 0.75 * (there[:, 3] - there[:, 0])
    seen = np.array([picture[row, column] for column, row in (on_paper(figure, place) for place in places)])
    colours = {group: seen[[n for n, panel in enumerate(exposure.panels) if panel.group.startswith(group)]] for group in QUADRANTS}
    assert all(np.ptp(found, axis=0).max() < 0.15 for found in colours.values())
    middles = [np.median(found, axis=0) for found in colours.values()]
    assert all(np.abs(a - b).max() > 0.1 for n, a in enumerate(middles) for b in middles[:n])
    assert all(np.ptp(middle) > 0.1 for middle in middles)  # no grey


QUADRANTS = [f"quadrant{row}{column}" for row in (0, 1) for column in (0, 1)]


def test_the_camera_sees_what_the_crystal_sees() -> None:
    """From before the crystal: x to the right, y up; what is nearer to the source is nearer."""
    figure, _ = drawn(setup_of(sixteen()))
    column, row = on_paper(figure, np.zeros(3))
    assert on_paper(figure, np.array([10.0, 0.0, 0.0]))[0] > column
    assert on_paper(figure, np.array([0.0, 10.0, 0.0]))[1] < row
    assert projected(figure, np.array([0.0, 0.0, 10.0]))[2] < projected(figure, np.array([0.0, 0.0, -10.0]))[2]


def test_lengths_are_on_one_scale() -> None:
    figure, _ = drawn(setup_of(sixteen((100, 120), distance=0.05)))
    axes, edges = figure.axes[0], np.ptp(limits(figure), axis=1)
    np.testing.assert_allclose(box(axes) / edges, (box(axes) / edges)[0], rtol=1e-9)


def box(axes: object) -> np.ndarray:
    """Edges of the box that the axes are drawn as, x, y, z."""
    return np.roll(axes._box_aspect, -1)  # type: ignore[attr-defined]


def test_the_way_to_a_detector_that_is_far_away_is_drawn_shorter() -> None:
    figure, _ = drawn(setup_of(sixteen(distance=2.0)))
    axes, edges = figure.axes[0], np.ptp(limits(figure), axis=1)
    (said,) = [text.get_text() for text in axes.texts if text.get_text().startswith("z is drawn")]
    shorter = edges[2] / (2.5 * edges[:2].max())
    assert said == f"z is drawn {shorter:.2g} times shorter than x and y"
    x, _, z = box(axes) / edges
    assert x / z == pytest.approx(shorter)


def test_groups_have_names_in_their_middle() -> None:
    exposure = sixteen()
    figure, labels = drawn(setup_of(exposure))
    found = texts(figure)
    assert labels == 4
    for group in QUADRANTS:
        inside = [n for n, panel in enumerate(exposure.panels) if panel.group.startswith(group)]
        np.testing.assert_allclose(found[group], corners(exposure)[inside].mean(axis=(0, 1)), rtol=0.0, atol=1e-9)
    assert set(found) == {*QUADRANTS, "fast", "slow", "beam"}


def test_what_tells_panels_apart() -> None:
    panels = sixteen().panels
    assert set(told_apart(panels)) == set(QUADRANTS)
    assert told_apart(panels[:2]) == ["quadrant00/half0/r0c0", "quadrant00/half0/r0c1"]
    assert told_apart(panels[:1]) == ["quadrant00/half0"]
    assert told_apart(tuple(replace(panel, group="", name="") for panel in panels)) == [""] * 16
    figure, labels = drawn(setup_of(many(256)))
    assert labels == 0
    assert "256 groups of panels, from g0 to g255" in {text.get_text() for text in figure.axes[0].texts}


def test_names_are_taken_as_they_are() -> None:
    exposure = sixteen()
    odd = replace(exposure, panels=tuple(replace(panel, group=f"$_{n % 2}^{{$") for n, panel in enumerate(exposure.panels)))
    figure, labels = drawn(setup_of(odd, title="$a_{"))
    assert labels == 2
    assert {"$_0^{$", "$_1^{$"} <= set(texts(figure))


def test_beam_spindle_and_crystal() -> None:
    """In imgCIF's laboratory, the crystal turned to the beginning of the image."""
    here = experiment()
    setup = setup_of(exposure_of(here), here)
    figure, _ = drawn(setup)
    axes, found = figure.axes[0], texts(figure)
    reach = 1e3 * reach_of((setup.exposure.as_panel("", ""),))
    assert set(found) == {"a", "b", "c", "beam", "fast", "slow", "spindle"}
    np.testing.assert_allclose(found["spindle"], [1.12 * 0.5 * reach, 0.0, 0.0], atol=1e-9)
    assert found["beam"] @ [0.0, 0.0, 1.0] == pytest.approx(np.linalg.norm(found["beam"]))
    crosses = [np.roll(np.ravel(one.get_data_3d()), -1) for one in axes.lines if one.get_marker() == "x"]
    np.testing.assert_allclose(crosses, [[0.0, 0.0, -1e3 * setup.exposure.distance]], atol=1e-9)
    start = np.array(here.unit_cell.direct) / np.linalg.norm(here.unit_cell.direct[2])
    turned = np.array([turn(v, np.array(here.frame.spindle_axis), np.radians(20.0)) for v in start])
    laboratory = turned @ exposure_of(here).to_imgcif.T
    np.testing.assert_allclose([found[name] for name in "abc"], 1.12 * 0.4 * reach * laboratory, atol=1e-6)
    assert axes.get_title() == "1.2 Å, 120 mm, φ 20 to 20.5°"


def turn(v: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    return axis * (axis @ v) * (1 - np.cos(angle)) + v * np.cos(angle) + np.cross(axis, v) * np.sin(angle)


def test_what_is_not_known_is_not_drawn() -> None:
    still = experiment("-default_F 1 -lambda 1 -distance 100 -pixel 0.5 -detpixels 100 -cell 50")
    assert not {"a", "b", "c"} & set(texts(drawn(setup_of(exposure_of(still)))[0]))
    assert not [one for one in drawn(setup_of(sixteen()))[0].axes[0].lines if one.get_marker() == "x"]  # the beam goes through the gap
    assert "spindle" not in texts(drawn(setup_of(sixteen()))[0])


def test_panels_behind_the_source_or_along_the_beam() -> None:
    """The picture needs no panel across the beam."""
    back = replace(sixteen(), panels=tuple(replace(p, origin=(*p.origin[:2], 0.1)) for p in sixteen().panels))
    side = replace(exposure_of(experiment()).imgcif, origin=(-0.05, -0.06, -0.05), fast_axis=(1.0, 0.0, 0.0), slow_axis=(0.0, 0.0, 1.0))
    for exposure in (back, side):
        figure, _ = drawn(setup_of(exposure))
        assert_drawn(figure, corners(exposure))
        assert not [one for one in figure.axes[0].lines if one.get_marker() == "x"]


@pytest.mark.spec("CLI-76")
def test_a_picture_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbnumba.draw_in_space(tmp_path / "a.png", experiment())
    with PillowImage.open(tmp_path / "a.png") as picture:
        width, height = picture.size
        shown = np.array(picture.convert("RGB")).reshape(-1, 3) / 255.0
    assert min(width, height) > 500
    for colour in ("tab:green", "tab:red", "#c2185b", "#7b1fa2", "#303f9f"):
        assert (np.abs(shown - to_rgb(colour)).max(axis=1) < 0.02).any(), colour
    with pytest.raises(OutputFileError, match=r"no/a\.png: cannot be written: the folder .*no does not exist"):
        nbnumba.draw_in_space(tmp_path / "no/a.png", experiment())
    monkeypatch.setattr(png, "without_matplotlib", lambda asked: NotAvailableError(asked))
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(NotAvailableError, match=r"^draw_in_space$"):
        nbnumba.draw_in_space(tmp_path / "b.png", experiment())
    assert not (tmp_path / "b.png").exists()
