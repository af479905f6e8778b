"""The panels of a detector, rendered together: all that differ by nothing but their places in one launch of the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from nbnumba.experiment.by_value import same
from nbnumba.kernel.cpu.device import Cpu
from nbnumba.kernel.device import Device, Progress
from nbnumba.kernel.panels import Panels, fits_a_table
from nbnumba.simulation.in_closed_form import render_spots
from nbnumba.simulation.support import support_of

if TYPE_CHECKING:
    from nbnumba.simulation.scene import Scene


def render_together(scenes: Sequence[Scene], device: Device, image: Any, progress: Progress | None = None) -> None:
    """Fill the image, the pixels of all scenes one after the other, with photons."""
    areas = in_image(scenes)
    wanted, done = sum(area.pixels for area in areas), 0
    if scenes[0].experiment.spots.are_gaussian:
        assert isinstance(device, Cpu)  # others are refused
        render_spots(scenes, areas, device.threads, image, progress)
        return
    if wanted < image.size:
        device.clear(image)
    for launch in launches(scenes):
        scene, panels = scenes[launch[0]], Panels(tuple(scenes[n].parameters["geometry"] for n in launch), tuple(areas[n] for n in launch))
        render_panels(scene, device, panels, image, share(progress, done, wanted))
        done += panels.pixels


def render_panels(scene: Scene, device: Device, panels: Panels, image: Any, progress: Progress | None) -> None:
    """Fill the pixels of panels; where spots are listed, with those first, then with the background (SCA-22)."""
    apart = device.lists and scene.dry is not scene and bool(support_of(scene.dry).any())
    rendered = scene.dry if apart else scene
    inputs = rendered.on(device)
    with scene.naming_stages():
        device.render(rendered.physics, inputs, panels, image, progress)
        if apart:
            background = device.zeros(image.shape)
            device.render(scene.physics, scene.blank, panels, background)
            image += background


def in_image(scenes: Sequence[Scene]) -> list[Any]:
    """The area of every scene, with where it is in the image of all."""
    sizes = [scene.area.shape[0] * scene.area.shape[1] for scene in scenes]
    return [scene.area._replace(at=at) for scene, at in zip(scenes, accumulate(sizes, initial=0), strict=False)]


def launches(scenes: Sequence[Scene]) -> Iterator[list[int]]:
    """Numbers of the scenes of every launch: those that follow each other and differ by the places of their panels alone."""
    launch = [0]
    for n in range(1, len(scenes)):
        if differ_by_place(scenes[launch[0]], scenes[n]):
            launch.append(n)
        else:
            yield launch
            launch = [n]
    yield launch


def differ_by_place(one: Scene, other: Scene) -> bool:
    """Whether two panels of a detector differ by nothing else, and a pixel by nothing that depends on those before it."""
    here, there = one.parameters["geometry"], other.parameters["geometry"]
    if one.experiment.oversample != other.experiment.oversample or not alike(here, there):
        return False
    rest = (kind for kind in one.parameters if kind != "geometry")
    return all(same(one.parameters[kind], other.parameters[kind]) for kind in rest) and not one.depends_on_scan_order


def alike(here: Any, there: Any) -> bool:
    """Whether parameters of a geometry can be rows of one table, of panels with as many layers."""
    one_table = type(here) is type(there) and list(map(type, here)) == list(map(type, there)) and fits_a_table(here)
    return one_table and bool(here.layers == there.layers)


def share(progress: Progress | None, before: int, total: int) -> Progress | None:
    """What the launch after so many pixels of all reports to."""
    return None if progress is None else lambda done, _: progress(before + done, total)
