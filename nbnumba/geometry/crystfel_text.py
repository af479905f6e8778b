"""CrystFEL geometry files (.geom) as they are written: every panel in its place, and where its pixels are in an NXmx file (FMT-82).

Panels follow each other along the slow axis of /entry/data/data, which holds images of (panels x slow, fast) pixels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbnumba.experiment.panel import Panel
from nbnumba.experiment.vectors import Array, dot
from nbnumba.geometry.exposure import STRAIGHT, Exposure, Vector
from nbnumba.geometry.of_experiment import exposure_of

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment

DATA = "/entry/data/data"
OF_IMGCIF = np.diag([-1.0, 1.0, -1.0])  # z along the beam, y up
MASK = ("mask0_data = /entry/instrument/detector/pixel_mask", "mask0_badbits = 0x7fffffff")  # bit 31 is of pixels that are interpolated
MOST_REGIONS = 1000  # more of them take CrystFEL long to read
NAME = re.compile(r"(?!bad|group|rigid_group|all$)[A-Za-z0-9_.-]+")


class Region(NamedTuple):
    """First and last pixels that a panel does without."""

    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int


def geom_text(experiment: Experiment, data: str = DATA) -> str:
    """The geometry of an experiment's detector; data: the place of the images in an HDF5 file.

    A detector with ``-curved_det`` is stated as the plane that it touches. Raises ParameterError.
    """
    return "\n".join(geom_lines(panels_of(experiment), exposure_of(experiment.by_panel[0]), data)) + "\n"


def panels_of(experiment: Experiment) -> list[Panel]:
    """The detector's panels, with masks of all that is not rendered."""
    return [replace(panel, mask=rendered(one)) for panel, one in zip(experiment.panels, experiment.by_panel, strict=True)]


def rendered(experiment: Experiment) -> NDArray[np.bool_] | None:
    """The pixels of a panel that its mask and the region of interest leave; None: all."""
    mask, (first_fast, last_fast, first_slow, last_slow) = experiment.sampling.mask, experiment.roi
    inside = np.zeros(experiment.detector.shape, dtype=bool)
    inside[first_slow : last_slow + 1, first_fast : last_fast + 1] = True
    return None if mask is None and inside.all() else inside if mask is None else mask & inside


def geom_lines(panels: Sequence[Panel], exposure: Exposure, data: str = DATA) -> Iterator[str]:
    """The same of panels in the frame of an exposure, whose beam and wavelength are theirs."""
    turn, names = to_crystfel(exposure), names_of(panels)
    panels = [in_frame(panel, turn) for panel in panels]
    rows = list(accumulate((panel.slow_pixels for panel in panels[:-1]), initial=0))
    regions = [list(bad_regions(panel)) for panel in panels]
    few, clen = sum(map(len, regions)) <= MOST_REGIONS, panels[0].origin[2]
    yield "; written by nbnumba"
    yield from () if exposure.wavelength is None else (f"wavelength = {exposure.wavelength * 1e10!r} A",)
    yield from (f"adu_per_photon = {exposure.gain!r}", f"clen = {clen!r} m", f"data = {data}", "dim0 = %", "dim1 = ss", "dim2 = fs")
    yield from () if few else MASK
    for name, panel, row in zip(names, panels, rows, strict=True):
        yield from panel_lines(name, panel, row, clen)
    for name, found, row in zip(names, regions, rows, strict=True):
        yield from region_lines(name, found, row) if few else ()
    yield from group_lines(names, panels)


def panel_lines(name: str, panel: Panel, row: int, clen: float) -> Iterator[str]:
    """A panel in CrystFEL's frame, whose first row of pixels is that one of the data."""
    x, y, z = panel.origin
    stated = {
        "min_fs": 0,
        "max_fs": panel.fast_pixels - 1,
        "min_ss": row,
        "max_ss": row + panel.slow_pixels - 1,
        "res": 1.0 / panel.pixel_size,
        "corner_x": x / panel.pixel_size,
        "corner_y": y / panel.pixel_size,
        "coffset": z - clen,
        "fs": step(panel.fast_axis),
        "ss": step(panel.slow_axis),
        **({"no_index": 1} if panel.mask is not None and not panel.mask.any() else {}),
    }
    yield ""
    yield from (f"{name}/{key} = {value}" for key, value in stated.items())


def to_crystfel(exposure: Exposure) -> Array:
    """Rotation from the exposure's frame to one with z along the beam, which is left as it is if it is so already."""
    if np.allclose(exposure.incident, (0.0, 0.0, 1.0), rtol=0.0, atol=STRAIGHT):
        return np.eye(3)
    return OF_IMGCIF @ exposure.to_imgcif


def in_frame(panel: Panel, turn: Array) -> Panel:
    """The panel, turned with everything."""
    return replace(panel, **{name: dot(turn, np.array(getattr(panel, name))) for name in ("origin", "fast_axis", "slow_axis")})


def step(axis: Vector) -> str:
    """From a pixel to the next; CrystFEL reads no exponents."""
    return " ".join(f"{c:+.18f}{letter}" for c, letter in zip(axis, "xyz", strict=True))


def names_of(panels: Sequence[Panel]) -> list[str]:
    """Those that the panels have, if the file can have them, else p0, p1 ..."""
    names = [panel.name for panel in panels]
    fit = all(map(NAME.fullmatch, names)) and len(set(names)) == len(names)
    return names if fit else [f"p{number}" for number in range(len(panels))]


def bad_regions(panel: Panel) -> Iterator[Region]:
    """Rectangles of what is masked: runs of pixels that rows one after the other have in common; none of a panel that is all masked."""
    if panel.mask is None or not panel.mask.any():
        return
    began: dict[tuple[int, int], int] = {}
    for row in range(panel.slow_pixels + 1):
        here = set(runs(~panel.mask[row])) if row < panel.slow_pixels else set()
        for run in sorted(began.keys() - here):
            yield Region(*run, began.pop(run), row - 1)
        began = dict.fromkeys(here, row) | began


def runs(bad: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of true values."""
    edges = np.flatnonzero(np.diff(bad, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))


def region_lines(name: str, regions: Sequence[Region], row: int) -> Iterator[str]:
    """Bad regions of a panel, in pixels of the data, where its first row is that one."""
    for number, region in enumerate(regions):
        ends = region._replace(min_ss=region.min_ss + row, max_ss=region.max_ss + row)._asdict()
        yield ""
        yield from (f"bad_{name}_{number}/{key} = {value}" for key, value in {**ends, "panel": name}.items())


def group_lines(names: Sequence[str], panels: Sequence[Panel]) -> Iterator[str]:
    """Groups from the innermost outward, the last one of all."""
    members: dict[tuple[str, ...], dict[str, None]] = {(): {}}  # of each group, known by those around it and its own name
    called = group_names(panels, names)
    for name, panel in zip(names, panels, strict=True):
        path = around(panel)
        for depth in range(len(path), -1, -1):
            inside = name if depth == len(path) else called[path[: depth + 1]]
            members.setdefault(path[:depth], {})[inside] = None
    yield ""
    yield from (f"group_{called[path]} = {','.join(members[path])}" for path in sorted(members, key=len, reverse=True))


def around(panel: Panel) -> tuple[str, ...]:
    """The groups that a panel is in, the outermost first."""
    return tuple(filter(None, panel.group.split("/")))


def group_names(panels: Sequence[Panel], taken: Sequence[str]) -> dict[tuple[str, ...], str]:
    """What each group is called: as it is, if that is the name of no other and of no panel, else with all that are around it."""
    paths = {around(panel)[:depth] for panel in panels for depth in range(1, len(around(panel)) + 1)}
    count = Counter([*(path[-1] for path in paths), *taken, "all"])
    names = {path: path[-1] if count[path[-1]] == 1 else "_".join(("all", *path)) for path in paths}
    return {(): "all", **{path: re.sub(r"[^A-Za-z0-9_.-]", "_", name) for path, name in names.items()}}


def unsaid(experiment: Experiment) -> str:
    """What the file does not say of the experiment, in words; empty if it says all."""
    curved = experiment.model.stages.get("geometry") == "curved"
    return left_out(exposure_of(experiment.by_panel[0]), panels_of(experiment), curved)


def left_out(exposure: Exposure, panels: Sequence[Panel], curved: bool = False) -> str:
    """The same of panels and all else of an exposure."""
    along_x = (
        exposure.polarization_axis is None or abs(dot(to_crystfel(exposure), np.array(exposure.polarization_axis))[0]) > 1.0 - STRAIGHT
    )
    left = {
        f"the spectrum of {exposure.colours} wavelengths": exposure.spectrum is not None,
        "the rotation about the spindle": exposure.oscillation != 0.0,
        "the sensor": any(panel.sensor_thickness > 0.0 for panel in panels),
        "the polarization, which is not along x": not along_x,
        "that the detector is curved: it is the plane that it touches": curved,
    }
    said = ", ".join(what for what, there in left.items() if there)
    masks = sum(1 for panel in panels for _ in bad_regions(panel))
    many = f"leaves its masks to pixel_mask of the NXmx file: they have {masks} regions" if masks > MOST_REGIONS else ""
    return "; it ".join(filter(None, (said and f"does not say: {said}", many)))
