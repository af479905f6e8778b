"""Several panels on one plane: each pixel shows what its ray meets, and rings are where the pixels' own places have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from many_panels import sixteen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nbnumba import Panel
from nbnumba.geometry.exposure import Exposure
from nbnumba.image.drawing import Picture, draw, geometry_line
from nbnumba.image.flat_view import laid_out

TILTED = sixteen((40, 48), 1e-4, 0.02, tilt=0.25)


def rays_of(plane: Exposure) -> np.ndarray:
    """To the centres of a plane's pixels, [slow, fast, 3]."""
    slow, fast = (np.arange(edge) + 0.5 for edge in plane.shape)
    along = fast[:, np.newaxis] * plane.fast_axis + slow[:, np.newaxis, np.newaxis] * np.array(plane.slow_axis)
    return np.asarray(plane.origin + plane.pixel_size * along)


@pytest.mark.spec("EXP-36")
def test_every_pixel_shows_what_its_ray_meets() -> None:
    """Of tilted panels, worked out by solving o + F p f + S p s = t ray for each; some overlap as they are seen, the last is shown."""
    overlapping = replace(TILTED.panels[0], origin=tuple(np.add(TILTED.panels[0].origin, (0.002, -0.001, 0.003))))
    exposure = replace(TILTED, panels=(*TILTED.panels, overlapping))
    images = [np.random.default_rng(n).random(panel.shape) + 1.0 for n, panel in enumerate(exposure.panels)]
    view, plane = laid_out(exposure.by_panel, images)
    rays = rays_of(plane)
    expected, met = np.zeros(plane.shape), np.zeros(plane.shape, int)
    for panel, pixels in zip(exposure.panels, images, strict=True):
        column, row, inside = where_met(panel, rays)
        met += inside
        expected[inside] = pixels[row[inside].astype(int), column[inside].astype(int)]
    np.testing.assert_array_equal(view, expected)
    assert {0, 1, 2} == set(np.unique(met))


def where_met(panel: Panel, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fast and slow coordinate in pixels from the corner of a panel, and whether they are on it."""
    p, f, s = panel.pixel_size, np.array(panel.fast_axis), np.array(panel.slow_axis)
    by_t = rays @ np.linalg.inv(np.column_stack([p * f, p * s, panel.origin])).T  # column / t, row / t, 1 / t
    column, row = by_t[..., 0] / by_t[..., 2], by_t[..., 1] / by_t[..., 2]
    return column, row, (by_t[..., 2] > 0.0) & (column >= 0.0) & (column < panel.fast_pixels) & (row >= 0.0) & (row < panel.slow_pixels)


@pytest.mark.spec("CLI-78", "EXP-36")
def test_rings_meet_the_pixels_of_tilted_panels_that_have_their_resolution() -> None:
    """To a pixel, d = wavelength / (2 sin theta) of the place of the pixel that is shown under the ring; in gaps the rings go on."""
    view, plane = laid_out(TILTED.by_panel, [np.ones(panel.shape) for panel in TILTED.panels])
    figure = Figure(dpi=100)
    FigureCanvasAgg(figure)
    draw(figure, Picture(pixels=view, exposure=plane))
    rings = figure.axes[0].collections[0]
    assert len(rings.levels) >= 3
    crossed, gaps = set(), 0
    for level, path in zip(rings.levels, rings.get_paths(), strict=True):
        fast, slow = path.vertices[path.codes != 79].T + 0.5
        rays = plane.origin + plane.pixel_size * (fast[:, np.newaxis] * plane.fast_axis + slow[:, np.newaxis] * np.array(plane.slow_axis))
        on_any = np.zeros(len(rays), bool)
        for number, panel in enumerate(TILTED.panels):
            column, row, inside = where_met(panel, rays)
            on_any |= inside
            middle = (np.floor([column[inside], row[inside]]) + 0.5).T @ [
                panel.fast_axis,
                panel.slow_axis,
            ] * panel.pixel_size + panel.origin
            far = np.linalg.norm(middle, axis=1)
            two_theta = np.arccos(middle @ np.array(TILTED.incident) / far)
            ring = 2.0 * np.arcsin(TILTED.wavelength * 1e10 / 2.0 * level)
            assert (np.abs(two_theta - ring) * far <= panel.pixel_size).all()
            crossed |= {number} if inside.any() else set()
        gaps += int((~on_any).sum())
    assert len(crossed) >= 12
    assert gaps > 0


@pytest.mark.spec("EXP-36")
def test_the_distance_is_that_of_the_panel_in_the_beam() -> None:
    """Of a panel turned about the beam's foot, which is 100 mm away whatever the turn; not of one that is farther off, beside the beam."""
    turned = Panel(
        origin=(-0.016, -0.02, 0.088),
        fast_axis=(0.8, 0.0, 0.6),
        slow_axis=(0.0, 1.0, 0.0),
        pixel_size=1e-3,
        fast_pixels=40,
        slow_pixels=40,
    )
    beside = replace(turned, origin=(0.05, -0.02, 0.15), fast_axis=(1.0, 0.0, 0.0))
    beam = Exposure(shape=(1, 1), pixel_size=1e-3, origin=(0.0, 0.0, 0.1), incident=(0.0, 0.0, 1.0), wavelength=1e-10)
    for panels, distance in (((turned, beside), 0.1), ((beside, turned), 0.1), ((beside,) * 2, 0.15)):
        exposure = replace(beam.of_panel(panels[0]), panels=panels)
        plane = laid_out(exposure.by_panel, [np.ones((40, 40))] * 2)[1]
        assert plane.distance == pytest.approx(distance, rel=1e-12)
        assert geometry_line(plane) == geometry_line(exposure) == f"1 Å, {distance * 1e3:g} mm"
