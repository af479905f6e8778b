"""What pictures of images show."""

from __future__ import annotations

import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import nbnumba
from nbnumba import NotAvailableError
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.of_experiment import exposure_of
from nbnumba.geometry.prediction import Spots
from nbnumba.image.drawing import Picture, binned_either_way, draw, geometry_line, meets_beam
from nbnumba.image.labels import Label, strongest
from nbnumba.image.png import png_of
from nbnumba.image.rings import resolution_A, ring_grid, ring_resolutions_of_part

pytestmark = pytest.mark.spec("FMT-30")

FACING = Exposure(
    shape=(300, 200),
    pixel_size=1e-4,
    origin=(0.1, 0.012, -0.01),
    fast_axis=(0, 0, 1),
    slow_axis=(0, -1, 0),
    incident=(1, 0, 0),
    wavelength=1e-10,
)
TILTED = replace(FACING, fast_axis=(np.sin(0.3), 0.0, np.cos(0.3)))


def drawn(picture: Picture) -> tuple[Figure, int]:
    figure = Figure(layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    labels = draw(figure, picture)
    figure.canvas.draw()
    return figure, labels


def image_of(pixels: np.ndarray, **more: object) -> object:
    return drawn(Picture(pixels=pixels, **more))[0].axes[0].images[0]  # type: ignore[arg-type]


def test_the_exposure_of_an_experiment_has_all_of_its_geometry() -> None:
    experiment = nbnumba.experiment_from_options(
        "-default_F 1 -cell 50 -lambda 1.5 -distance 120 -pixel 0.2 -detpixels_f 40 -detpixels_s 30 -detector_roty 12 -Xbeam 3 -Ybeam 4 "
        "-phi 30 -osc 0.5 -phisteps 5 -polar 0.9 -exposure 2 -detector_thick 320 -detector_abs 200"
    )
    frame, found = experiment.frame, exposure_of(experiment, number=7)
    for name in ("incident", "polarization_axis", "spindle_axis", "fast_axis", "slow_axis"):
        assert getattr(found, name) == pytest.approx(tuple(getattr(frame, name)), abs=0)
    assert found.origin == pytest.approx(tuple(frame.pix0), abs=0)
    assert (found.shape, found.pixel_size, found.number) == ((30, 40), pytest.approx(2e-4), 7)
    assert found.distance == pytest.approx(0.12)
    assert found.close_distance == pytest.approx(frame.close_distance)
    assert found.beam_centre == pytest.approx((frame.beam_fast / 2e-4, frame.beam_slow / 2e-4))
    assert found.close_point == pytest.approx((frame.close_fast / 2e-4, frame.close_slow / 2e-4))
    assert np.degrees((found.phi_start, found.oscillation)) == pytest.approx((30, 0.5))
    assert (found.wavelength, found.polarization_fraction, found.exposure_time) == (pytest.approx(1.5e-10), 0.9, 2.0)
    assert (found.sensor_thickness, found.sensor_attenuation) == (pytest.approx(320e-6), pytest.approx(200e-6))
    left_open = {"exposure_period", "flux", "mask", "sensor_material", "spectrum", "trusted_range"}  # by one of a single wavelength
    assert {field.name for field in fields(found) if getattr(found, field.name) is None} == left_open
    plain = exposure_of(nbnumba.experiment_from_options("-default_F 1 -cell 50"))
    assert (plain.sensor_thickness, plain.sensor_attenuation, plain.oscillation) == (0.0, None, 0.0)


@pytest.mark.parametrize("exposure", [FACING, TILTED])
@pytest.mark.parametrize("window", [None, (20, 59, 200, 239)])
def test_rings_are_where_the_resolution_is(exposure: Exposure, window: tuple[int, int, int, int] | None) -> None:
    figure, _ = drawn(Picture(pixels=np.ones((300, 200)), exposure=exposure, window=window))
    rings = figure.axes[0].collections[0]
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert len(rings.levels) >= 2
    assert texts <= {f"{1.0 / level:g} Å" for level in rings.levels}
    for level, path in zip(rings.levels, rings.get_paths(), strict=True):
        for fast, slow in path.vertices[path.codes != 79][::7]:
            position = (
                exposure.origin + (fast + 0.5) * 1e-4 * np.array(exposure.fast_axis) + (slow + 0.5) * 1e-4 * np.array(exposure.slow_axis)
            )
            theta = np.arccos(position[0] / np.linalg.norm(position)) / 2.0
            assert 1.0 / (2.0 * np.sin(theta)) == pytest.approx(1.0 / level, rel=2e-3)


def test_rings_that_are_asked_for_and_none_where_there_is_no_geometry() -> None:
    pixels = np.ones((300, 200))
    shown = drawn(Picture(pixels=pixels, exposure=FACING, rings=(10.0, 8.0, 8.0, 0.1)))[0].axes[0].collections[0]
    assert 1.0 / shown.levels == pytest.approx((10.0, 8.0))
    for picture in (
        Picture(pixels=pixels, exposure=FACING, rings=()),
        Picture(pixels=pixels, exposure=FACING, rings=(0.1,)),
        Picture(pixels=pixels, exposure=replace(FACING, wavelength=None)),
        Picture(pixels=pixels),
    ):
        assert not drawn(picture)[0].axes[0].collections
    assert drawn(Picture(pixels=pixels[:1, :1], exposure=FACING, window=(0, 0, 0, 0)))[1] == 0


def test_rings_of_a_part_have_as_many_digits_as_they_need() -> None:
    fast = ring_grid(100, 103)
    assert (fast[0], fast[-1]) == (99.5, 103.5)
    d = resolution_A(FACING, fast, ring_grid(280, 283))
    rings = ring_resolutions_of_part(d)
    assert len(rings) >= 3
    assert all(d.min() < ring < d.max() for ring in rings)


def test_the_beam_has_a_cross_where_it_meets_the_detector() -> None:
    def crosses(exposure: Exposure) -> list[tuple[float, float]]:
        lines = drawn(Picture(pixels=np.ones((300, 200)), exposure=exposure))[0].axes[0].lines
        return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]

    assert crosses(FACING) == [pytest.approx((99.5, 119.5))]
    assert crosses(replace(FACING, origin=(0.1, 0.012, -0.05))) == []
    assert crosses(replace(FACING, origin=(-0.1, 0.012, -0.01))) == []
    sideways = replace(FACING, fast_axis=(1.0, 0.0, 0.0), origin=(0.1, 0.012, -0.1))
    assert not meets_beam(sideways)
    assert crosses(sideways) == []
    assert geometry_line(sideways) == "1 Å, 100 mm"
    assert geometry_line(replace(FACING, wavelength=None, oscillation=np.radians(0.5))) == "100 mm, φ 0 to 0.5°"


def test_scales() -> None:
    pixels = np.full((40, 40), 1e-9)
    pixels[3, 4], pixels[0, 0] = 50.0, -2.0
    assert image_of(pixels).get_clim() == pytest.approx((50e-4, 50.0))
    assert image_of(pixels, scale="linear").get_clim() == (-2.0, 50.0)
    assert image_of(pixels, scale="linear", limits=(1.0, 5.0)).get_clim() == (1.0, 5.0)
    assert image_of(pixels, limits=(1.0, 5.0)).get_clim() == (1.0, 5.0)
    assert image_of(pixels, scale="difference").get_clim() == (-2.5, 2.5)
    even = np.linspace(-1.0, 1.0, 1600).reshape(40, 40)
    assert image_of(even, scale="difference").get_clim() == pytest.approx((-0.995, 0.995), abs=1e-3)
    assert image_of(pixels, scale="difference", limits=(-3.0, 3.0)).get_clim() == (-3.0, 3.0)
    assert image_of(pixels, window=(10, 20, 10, 20)).get_clim() == pytest.approx((1e-13, 1e-9))
    assert image_of(pixels, unit="counts").get_clim() == pytest.approx((50e-4, 50.0))
    pixels += 40.0
    assert image_of(pixels, unit="counts").get_clim() == pytest.approx((40.0, 90.0))
    for empty in (np.zeros((3, 3)), np.full((3, 3), -1.0)):
        assert image_of(empty, unit="counts").get_clim() == pytest.approx((1e-4, 1.0))
        assert image_of(empty, scale="difference").get_clim()[1] == -empty.min() or 1.0
        assert np.diff(image_of(empty, scale="linear").get_clim()) == 1.0


@pytest.mark.parametrize("shape", [(20, 30), (4, 400), (400, 4)])
def test_the_bar_says_what_pixels_are(shape: tuple[int, int]) -> None:
    pixels = np.linspace(1.0, 9.0, shape[0] * shape[1]).reshape(shape)
    for picture, label in (
        (Picture(pixels=pixels), "photons / pixel"),
        (Picture(pixels=pixels, unit="counts", limits=(2.0, 5.0)), "counts / pixel"),
        (Picture(pixels=pixels, scale="difference", limits=(-20.0, 20.0)), "difference, photons / pixel"),
    ):
        figure, _ = drawn(picture)
        bars = [*figure.axes[1:], *figure.axes[0].child_axes]
        assert label in {bar.get_ylabel() for bar in bars}
        assert max(figure.get_size_inches()) <= 16.0


def test_a_window_is_shown_pixel_by_pixel_where_it_is() -> None:
    pixels = np.arange(3000.0 * 2000.0).reshape(3000, 2000)
    image = image_of(pixels, window=(100, 399, 2000, 2399), scale="linear")
    np.testing.assert_array_equal(image.get_array(), pixels[2000:2400, 100:400])
    assert tuple(image.get_extent()) == (99.5, 399.5, 2399.5, 1999.5)
    assert image.axes.get_xlim() == (99.5, 399.5)
    assert image.axes.get_ylim() == (2399.5, 1999.5)
    assert image_of(pixels, scale="linear").get_array().shape == (750, 500)


def test_of_a_difference_the_pixel_farthest_from_0_is_shown() -> None:
    difference = np.zeros((1600, 1600))
    difference[0, 0], difference[1, 1], difference[800, 801] = 3.0, -5.0, 2.0
    shown, _ = binned_either_way(difference)
    assert shown[0, 0] == -5.0
    assert shown.max() == 2.0


def test_labels_that_would_overlap_are_left_out() -> None:
    pixels = np.ones((200, 200))
    apart = [Label("1 2 3", 50.0, 50.0), Label("-4 5 -6", 150.0, 150.0), Label("7 8 9", 199.0, 0.0)]
    crowd = [Label(f"{n} 0 0", 100.0 + 0.1 * n, 100.0) for n in range(40)]
    figure, count = drawn(Picture(pixels=pixels, labels=[*apart, *crowd]))
    texts = figure.axes[0].texts
    assert count == len(texts) < 20
    assert [text.get_text() for text in texts[:4]] == [
        "1\u20022\u20023",
        "\u22124\u20025\u2002\u22126",
        "7\u20028\u20029",
        "0\u20020\u20020",
    ]
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
    frame = figure.axes[0].get_window_extent()
    assert all(frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1) for box in boxes)


def test_labels_go_to_the_strongest_and_to_the_nearest_prediction() -> None:
    pixels = np.ones((50, 60))
    pixels[10, 20], pixels[30, 40], pixels[45, 5] = 100.0, 50.0, 500.0
    hkl = np.arange(15).reshape(5, 3)
    places = np.array([(21.4, 10.0), (20.3, 10.2), (40.0, 31.0), (10.0, 40.0), (5.0, 45.0)])
    spots = Spots(hkl=hkl, fast=places[:, 0], slow=places[:, 1], phi=np.zeros(5))
    window = (10, 59, 0, 44)
    assert strongest(spots, pixels, window, 9) == [Label("3 4 5", 20.3, 10.2), Label("6 7 8", 40.0, 31.0)]
    assert strongest(spots, pixels, window, 1) == [Label("3 4 5", 20.3, 10.2)]
    assert strongest(spots, pixels, (0, 59, 0, 49), 1) == [Label("12 13 14", 5.0, 45.0)]
    assert strongest(spots, pixels, (50, 59, 0, 5), 9) == []


def test_titles_are_taken_as_they_are() -> None:
    pixels = np.ones((4, 4))
    for title in ("a$b_{$.img", "\u5149"):
        assert png_of(Picture(pixels=pixels, title=title), "view")[0].startswith(b"\x89PNG")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NotAvailableError, match=r"^view: needs matplotlib; install it with: pip install 'nbnumba\[plot\]'$"):
        png_of(Picture(pixels=np.ones((4, 4))), "view")
