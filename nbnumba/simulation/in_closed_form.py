"""An experiment of Gaussian spots, rendered (CLO-1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbnumba.closed_form.drawing import Drawing
from nbnumba.closed_form.near import near_sphere
from nbnumba.closed_form.rays import add_background, find_amplitudes, find_rays
from nbnumba.closed_form.smear import Smear, smear_of, turning
from nbnumba.closed_form.spots import Layout, Panel, Rays, layout_of, panel_of, spots_of
from nbnumba.experiment.vectors import Array
from nbnumba.kernel.cpu.device import compiled
from nbnumba.kernel.cpu.work_queue import NOTHING_LEFT, share_out

if TYPE_CHECKING:
    from nbnumba.kernel.device import Area, Progress
    from nbnumba.simulation.scene import Scene

LONGEST_TURN = math.radians(1.0)  # over which spots move on a line, to what is seen of it
BEYOND = 1.05  # the length of the farthest lattice point of which the detector sees something, over that at its corners


def render_spots(scenes: Sequence[Scene], areas: Sequence[Area], threads: int, image: Any, progress: Progress | None = None) -> None:
    """Fill the image, the pixels of all scenes one after the other, with photons."""
    tell, done, wanted = progress or unheard, 0, sum(area.pixels for area in areas)
    tell(0, wanted)
    pixels = image.reshape(-1) if image.flags.c_contiguous else np.empty(image.size)
    pixels.fill(0.0)
    for scene, area in zip(scenes, areas, strict=True):
        of_panel = pixels[area.at : area.at + area.shape[0] * area.shape[1]].reshape(area.shape)
        render_panel(scene, of_panel, threads)
        done += area.pixels
        tell(done, wanted)
    if not np.shares_memory(pixels, image):
        image[...] = pixels.reshape(image.shape)


def unheard(done: int, total: int) -> None:
    """Progress that nobody follows."""


def render_panel(scene: Scene, image: Array, threads: int) -> None:
    """Add background and spots of a panel to an image of zeros."""
    with scene.naming_stages():
        add_water(scene, image, threads)
        for drawing in drawings_of(scene):
            drawing.add_to(image[np.newaxis], threads)
    clear_outside(scene.area, image)


def clear_outside(area: Area, image: Array) -> None:
    """Zeros off the region of interest and the mask, [..., slow, fast]."""
    first_fast, last_fast, first_slow, last_slow = area.roi
    edges = image[..., :first_slow, :], image[..., last_slow + 1 :, :], image[..., :first_fast], image[..., last_fast + 1 :]
    for outside in edges:
        outside.fill(0.0)
    if area.mask is not None:
        image.reshape(-1, area.mask.size)[:, np.flatnonzero(~area.mask)] = 0.0


def drawings_of(scene: Scene) -> list[Drawing]:
    """All that is drawn on a panel, part by part of the turn."""
    found = []
    for smear in smears_of(scene):
        hkl = near_sphere(smear, longest(scene))
        layout = layout_of(smear, panel_in(scene), hkl[amplitudes_of(scene, hkl) != 0.0], scene.experiment.spots.point_spread)
        found.append(drawing_in(scene, smear, layout))
    return found


def drawing_in(scene: Scene, smear: Smear, layout: Layout) -> Drawing:
    """What is drawn where that is decided."""
    spots = spots_of(smear, panel_in(scene), layout, amplitudes_of(scene, layout.hkl), scene.experiment.spots.point_spread)
    return Drawing(smear, layout, spots)


def longest(scene: Scene) -> float:
    """Of the lattice points that are drawn, 1/m."""
    experiment = scene.experiment
    seen = BEYOND / experiment.finest_d
    return min(seen, 1.0 / experiment.sampling.dmin) if experiment.sampling.dmin else seen


def smears_of(scene: Scene) -> list[Smear]:
    """What smears spots in each part of the turn."""
    shape, scaling = scene.stages["lattice_shape"].gaussian(scene.parameters["lattice_shape"]), scene.parameters["scaling"]
    photons, (_, width) = scaling.photons * scene.experiment.steps, turning(scene.experiment)
    parts = max(1, math.ceil(width / LONGEST_TURN))
    return [smear_of(scene.experiment, shape, photons, part, parts) for part in range(parts)]


def panel_in(scene: Scene) -> Panel:
    """The scene's panel."""
    return panel_of(scene.experiment, rays_of(scene))


def arguments_of(scene: Scene) -> Any:
    """The parameters of its stages as kernels take them."""
    return scene.physics.arguments(lambda array, dtype: array)


def incident_of(scene: Scene) -> Array:
    """Direction of the beam."""
    return np.ascontiguousarray(scene.experiment.source_list.incident[0])


def rays_of(scene: Scene) -> Rays:
    """Rays to places on the scene's panel."""
    kernel, p, incident = compiled(find_rays, scene.physics), arguments_of(scene), incident_of(scene)

    def rays(fast: Array, slow: Array, layer: NDArray[np.int64]) -> Array:
        found = np.empty((len(fast), 4))
        kernel(p, incident, fast, slow, layer, found)
        return found

    return rays


def amplitudes_of(scene: Scene, hkl: Array) -> Array:
    """F of reflections."""
    found = np.empty(len(hkl))
    compiled(find_amplitudes, scene.physics)(arguments_of(scene), hkl, float(scene.experiment.source_list.wavelength[0]), found)
    return found


def add_water(scene: Scene, image: Array, threads: int) -> None:
    """Add what the water scatters."""
    scaling = scene.parameters["scaling"]
    if scaling.background_per_term:
        height = scaling.photons * scene.experiment.steps * scaling.background_per_term
        kernel = compiled(add_background, scene.physics)
        work = partial(kernel, arguments_of(scene), incident_of(scene), height, scene.experiment.layers[0], *scene.area.roi, image)
        work(np.full(1, NOTHING_LEFT))
        share_out(threads, work)
