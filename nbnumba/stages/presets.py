"""Which stage of each kind an experiment takes (specs/presets.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from nbnumba.experiment.quirks import TERM_QUIRKS
from nbnumba.stages.stage import KINDS, Place

if TYPE_CHECKING:
    from nbnumba.experiment.experiment import Experiment


def stage_names(experiment: Experiment, taken: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """kind -> name: the usual one, then what quirks and experiment call for, then what the user names, then what is taken in any case."""
    named = {**experiment.model.stages, **taken}
    usual = {kind.name: kind.usual for kind in KINDS.values() if kind.usual}
    names = {**usual, **suited_to(experiment, named), **named}
    is_deep = any(panel.detector.sensor_thickness > 0.0 for panel in experiment.by_panel)
    if names["geometry"] == "planar" and is_deep and "layer-fronts" not in experiment.quirks:
        names["geometry"] = "planar-depth"
    if names["polarization"] == "none" and experiment.sampling.polarization_per_subpixel and "nopolar-undone" in experiment.quirks:
        names["polarization"] = "kahn"
    if materials := [material.name for material in experiment.background.materials]:
        also = names.get("background", "").split(",")
        names["background"] = ",".join(dict.fromkeys(filter(None, (*materials, *also))))
    return names


def suited_to(experiment: Experiment, named: Collection[str]) -> dict[str, str]:
    """Stages that the kind of data, the sampling, the quirks and the kinds that are named decide (SF-3, SF-6, SF-52, SCA-9, SCA-10)."""
    quirks = experiment.quirks
    suited = {"rotation": "c-parity" if "phi-carryover" in quirks else "spec" if "repeated-domains" in quirks else "even"}
    if experiment.structure_factors.hkl is None:
        suited["structure_factor"] = "constant"
    elif experiment.depends_on_energy:
        suited["structure_factor"] = "nearest-by-energy"
    elif experiment.interpolated:
        suited["structure_factor"] = "tricubic-latch" if "interpolation-latch" in quirks else "tricubic"
    if not quirks >= TERM_QUIRKS or any(KINDS[kind].place is Place.FACTORS for kind in KINDS.keys() & set(named)):
        suited["scaling"] = "per-term"
    elif experiment.sampling.corrects_subpixels:
        suited["scaling"] = "running-product" if "running-product" in quirks else "per-term"
    return suited
