"""An experiment as DIALS keeps it (.expt): beam, detector, goniometer, scan and crystal, as dials.py reads them (FMT-95)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from numpy.typing import NDArray

from nbnumba import units
from nbnumba.experiment.panel import Panel
from nbnumba.geometry.dials import ANGSTROM, PARALLAX, PER_METRE
from nbnumba.geometry.exposure import Exposure
from nbnumba.geometry.panel_groups import group_of, middles_of_groups
from nbnumba.geometry.recorded import Array, rotation

SIMPLE = "SimplePxMmStrategy"
ANY_COUNT = (0.0, 2.0**31 - 1.0)  # the range of counts that are trusted, where it is not known
IDENTITY = np.eye(3).ravel().tolist()


def expt_text(exposure: Exposure, reciprocal: Array | None, images: int = 1, template: str = "") -> str:
    """The file of so many images.

    exposure: of the first; reciprocal: (3, 3), rows a*, b*, c* in 1/m at spindle angle 0, in its frame; None: there is no crystal.
    template: of the names of image files, # standing for a digit, seen from this file; empty: there are none.
    """
    models = models_of(exposure, reciprocal, images)
    sets = [image_set(template, images)] if template else []
    experiment = {
        "__id__": "Experiment",
        "identifier": identifier_of(models),
        **dict.fromkeys([*models, *(["imageset"] if sets else [])], 0),
    }
    listed = {name: [models[name]] if name in models else [] for name in ("beam", "detector", "goniometer", "scan", "crystal")}
    rest: dict[str, Any] = {"profile": [], "imageset": sets, "scaling_model": []}
    return json.dumps({"__id__": "ExperimentList", "experiment": [experiment], **listed, **rest}, indent=2) + "\n"


def image_set(template: str, images: int) -> dict[str, Any]:
    """Where images are; of several in one file, which."""
    return {"__id__": "ImageSequence", "template": template, **({} if "#" in template else {"single_file_indices": list(range(images))})}


def identifier_of(models: dict[str, Any]) -> str:
    """What tells an experiment from others, in files that belong to it, too."""
    return str(uuid5(NAMESPACE_OID, json.dumps(models)))


def models_of(exposure: Exposure, reciprocal: Array | None, images: int = 1) -> dict[str, Any]:
    """Beam, detector and so on, of those that there are; arguments: of ``expt_text``."""
    here = exposure.imgcif
    turns = here.spindle_axis is not None and here.oscillation != 0.0
    return {
        "beam": beam(here),
        "detector": detector(here),
        **({"goniometer": goniometer(here), "scan": scan(here, images)} if turns else {}),
        **({} if reciprocal is None else {"crystal": crystal(oriented(here, exposure.to_imgcif @ reciprocal.T))}),
    }


def oriented(here: Exposure, A: Array) -> Array:
    """A crystal's matrix at spindle angle 0, or of a still as it is turned."""
    still = here.spindle_axis is not None and here.oscillation == 0.0
    return rotation(here.spindle_axis, here.phi_start) @ A if still and here.spindle_axis else A


def beam(here: Exposure) -> dict[str, Any]:
    """Its direction is that to the source."""
    found: dict[str, Any] = {"direction": [-v for v in here.incident], "wavelength": (here.wavelength or ANGSTROM) / ANGSTROM}
    if here.polarization_fraction is not None and here.polarization_axis is not None:
        found["polarization_normal"] = np.cross(here.incident, here.polarization_axis).tolist()
        found["polarization_fraction"] = (1.0 + here.polarization_fraction) / 2.0
    return found | {"divergence": 0.0, "sigma_divergence": 0.0}


def detector(here: Exposure) -> dict[str, Any]:
    """Panels, each in the frame of its innermost group, which is not turned in the one around it."""
    panels = here.panels or (here.as_panel("Panel", ""),)
    middles = middles_of_groups(panels)
    nodes = {path: group(path, middle - middles[path.rpartition("/")[0]]) for path, middle in middles.items()}
    for path in middles:
        if path:
            nodes[path.rpartition("/")[0]]["children"].append(nodes[path])
    for number, panel in enumerate(panels):
        nodes[group_of(panel)]["children"].append({"panel": number})
    return {"panels": [panel_of(here, panel, middles[group_of(panel)]) for panel in panels], "hierarchy": nodes[""]}


def group(path: str, origin: Array) -> dict[str, Any]:
    """A group with nothing in it yet."""
    return {**frame((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), origin), "name": path.rpartition("/")[2], "type": "", "children": []}


def frame(fast: Sequence[float], slow: Sequence[float], origin: Array) -> dict[str, Any]:
    return {"fast_axis": list(fast), "slow_axis": list(slow), "origin": (origin * PER_METRE).tolist()}


def panel_of(here: Exposure, panel: Panel, middle: Array) -> dict[str, Any]:
    """A panel in the frame of a group."""
    slow, fast = panel.shape
    mu = 1.0 / panel.sensor_attenuation / PER_METRE if panel.sensor_thickness and panel.sensor_attenuation else 0.0
    return {
        "name": panel.name,
        "type": "SENSOR_PAD",
        **frame(panel.fast_axis, panel.slow_axis, np.array(panel.origin) - middle),
        "raw_image_offset": [0, 0],
        "image_size": [fast, slow],
        "pixel_size": [panel.pixel_size * PER_METRE] * 2,
        "trusted_range": list(here.trusted_range or ANY_COUNT),
        "thickness": panel.sensor_thickness * PER_METRE,
        "material": panel.sensor_material or "",
        "mu": mu,
        "identifier": "",
        "mask": [] if panel.mask is None else list(masked_rectangles(panel.mask)),
        "gain": here.gain,
        "pedestal": here.pedestal,
        "px_mm_strategy": {"type": PARALLAX if mu else SIMPLE},
    }


def masked_rectangles(mask: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Those that cover what is not true: first fast and slow pixel, and the last, which are not in it; of rows that are alike, one each."""
    alike = (mask[1:] == mask[:-1]).all(axis=1)
    edges = [0, *(np.flatnonzero(~alike) + 1).tolist(), len(mask)]
    for first, last in pairwise(edges):
        steps = np.flatnonzero(np.diff(~mask[first], prepend=False, append=False)).tolist()
        yield from ([begin, first, end, last] for begin, end in zip(steps[::2], steps[1::2], strict=True))


def goniometer(here: Exposure) -> dict[str, Any]:
    """One axis, and nothing before or behind it."""
    return {"rotation_axis": list(here.spindle_axis or ()), "fixed_rotation": IDENTITY, "setting_rotation": IDENTITY}


def scan(here: Exposure, images: int) -> dict[str, Any]:
    """All images, as the first of them begins."""
    return {
        "image_range": [here.number, here.number + images - 1],
        "batch_offset": 0,
        "oscillation": [units.degrees(here.phi_start), units.degrees(here.oscillation)],
        "exposure_time": [here.seconds] * images,
        "epochs": [here.seconds * image for image in range(images)],
        "valid_image_ranges": {},
    }


def crystal(A: Array) -> dict[str, Any]:
    """The cell's edges in A; of A the columns are a*, b*, c* in 1/m."""
    edges = np.linalg.inv(A) / ANGSTROM
    return {
        "__id__": "crystal",
        **{f"real_space_{name}": edge.tolist() for name, edge in zip("abc", edges, strict=True)},
        "space_group_hall_symbol": " P 1",
    }
